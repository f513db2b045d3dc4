"""`warm_start`: what a search takes over from earlier runs in the same folder; it goes into the head of its journal.

So the search depends on its own journal alone, whatever becomes of those runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hptune.errors import SpecError, spec_error
from hptune.record import Record, replay
from hptune.rundir import find_run
from hptune.spec.experiment import Experiment
from hptune.spec.space import Space


def earlier_trials(experiment: Experiment, space: Space, runs: Path) -> list[dict[str, Any]]:
    """The trials of the runs under `warm_start` that were trained to their end, with the run and the number of each.

    Those are left out whose values are no point of `space`, or which were scored by something else. `runs`: the folder
    that holds the runs. Raises `SpecError` for a run that is not there, and where none of its trials fits.
    """
    found: list[dict[str, Any]] = []
    for i, name in enumerate(experiment.warm_start):
        try:
            record = replay(find_run(runs, name))
        except SpecError as error:
            told = str(error).removeprefix("--run: ")
            raise spec_error(told, "warm_start", i) from error
        fitting = list(_fitting(record, experiment, space, name))
        if not fitting:
            objectives = ", ".join(objective.metric for objective in experiment.objectives)
            told = f"none of the {len(record.history.trials)} trials of {name!r} is complete, has values within this "
            raise spec_error(f"{told}search space and was scored by {objectives}. Drop it.", "warm_start", i)
        found += fitting
    return found


def _fitting(record: Record, experiment: Experiment, space: Space, run: str) -> Any:
    metrics = [objective.metric for objective in experiment.objectives]
    for trial in record.history.trials:
        if trial.state != "completed" or not space.contains(trial.values):
            continue
        known = [{m: list(curve[m]) for m in metrics if m in curve} for curve in trial.curves]
        facts = {m: trial.facts[m] for m in metrics if m in trial.facts}
        if all(m == "seconds" or m in facts or all(m in curve for curve in known) for m in metrics):
            yield {
                "run": run,
                "trial": trial.number,
                "values": dict(trial.values),
                "epochs": trial.epochs,
                "curves": known,
                "seconds": trial.seconds,
                "facts": facts,
            }
