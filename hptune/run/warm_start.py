"""`warm_start`: what a search takes over from earlier runs in the same folder; it goes into the head of its journal.

So the search depends on its own journal alone, whatever becomes of those runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from hptune.base.errors import SpecError, spec_error
from hptune.base.trial import Trial, Values
from hptune.experiment.experiment import Experiment
from hptune.experiment.space.space import Space
from hptune.run import circumstances
from hptune.run.events import EarlierTrial, TakenOver
from hptune.run.record import Record, replay
from hptune.run.resume import trained_otherwise
from hptune.run.rundir import find_run
from hptune.run.same_scores import Scored, measured_otherwise


def earlier_trials(
    experiment: Experiment, space: Space, runs: Path, *, facts: Mapping[str, Any]
) -> tuple[list[EarlierTrial], list[TakenOver]]:
    """The trials of the runs under `warm_start` that were trained to their end, with the run and the number of each.

    Their values are as `space` spells them. Those are left out whose values are no point of it, or whose scores do not
    compare: by something else (`same_scores`), or on other data than this search's. facts: this search's, of the probe.
    The second list says for each run how many trials were taken over, how many were not (by reason), and its seed
    where that differs. `runs`: the folder that holds the runs. Raises `SpecError` for a run that is not there or
    whose experiment can't be read, and where none of its trials fits.
    """
    trials: list[EarlierTrial] = []
    taken: list[TakenOver] = []
    now = Scored(experiment, [circumstances.current(facts)], own_fit="left_out" in facts)
    for i, name in enumerate(experiment.warm_start):
        try:
            record = replay(find_run(runs, name))
            before = record.head.experiment
        except SpecError as error:
            reason = str(error).removeprefix("--run: ")
            raise spec_error(reason, "warm_start", i) from error
        fitting, left_out = _fitting(record, now, space, fingerprint=facts.get("fingerprint"))
        if not fitting:
            why = f" can be taken over: {counted(left_out)}" if left_out else ""
            raise spec_error(
                f"none of the {len(record.history.trials)} trials of {name!r}{why}. Drop it.", "warm_start", i
            )
        trials += [cast(EarlierTrial, {"run": name, **trial}) for trial in fitting]
        taken.append({"run": name, "taken": len(fitting), "left_out": dict(left_out)})
        if before.seed != experiment.seed:
            taken[-1]["seed"] = before.seed
    return trials, taken


def _fitting(
    record: Record, now: Scored, space: Space, *, fingerprint: str | None
) -> tuple[list[EarlierTrial], Counter[str]]:
    """The trials that fit, and how many do not, by reason."""
    metrics = [objective.metric for objective in now.experiment.objectives]
    facts = record.head.facts
    all_of_them = "trained on other data" if facts.get("fingerprint") != fingerprint else None
    if all_of_them is None and trained_otherwise(record.head):
        all_of_them = "trained by a version of hptune that trained differently"
    before = Scored(record.head.experiment, record.sittings, own_fit="left_out" in facts)
    all_of_them = all_of_them or measured_otherwise(before, now, task=facts.get("task"))
    fitting: list[EarlierTrial] = []
    left_out: Counter[str] = Counter()
    for trial in record.history.trials:
        why = all_of_them or _unfit(trial, metrics)
        if why is None:
            try:
                fitting.append(_spelled(trial, _own(space, trial.values, now.experiment), metrics))
            except ValueError as error:
                why = str(error)
        if why is not None:
            left_out[why] += 1
    return fitting, left_out


def _own(space: Space, values: Values, experiment: Experiment) -> Values:
    """The values as the space spells them. Raises ValueError where they are no point of it, or another model.

    scikit-learn takes 1 and 1.0 for different things: `max_features` of 1 is one feature, of 1.0 all of them.
    """
    own = space.own(values)
    if experiment.model.exact:
        for name, value in own.items():
            if isinstance(value, float) != isinstance(values[name], float):
                raise ValueError(f"{name} is {values[name]!r} there and {value!r} here, which scikit-learn tells apart")
    return own


def _unfit(trial: Trial, metrics: list[str]) -> str | None:
    """Why nothing can be learnt from a trial, whatever its values; None where something can."""
    if trial.state != "completed":
        return "failed" if trial.state == "failed" else "not trained to the end"
    for metric in metrics:
        if metric != "seconds" and metric not in trial.facts and not all(metric in curve for curve in trial.curves):
            return f"not scored by {metric}"
    return None


def _spelled(trial: Trial, values: Values, metrics: list[str]) -> EarlierTrial:
    """A trial as the head holds it."""
    return {
        "trial": trial.number,
        "values": dict(values),
        "epochs": trial.epochs,
        "curves": [{m: list(curve[m]) for m in metrics if m in curve} for curve in trial.curves],
        "seconds": trial.seconds,
        "facts": {m: trial.facts[m] for m in metrics if m in trial.facts},
    }


def taken_over(entry: TakenOver) -> str:
    """One entry of `Head.warm_start` in words.

    >>> taken_over({"run": "first", "taken": 9, "left_out": {"failed": 2, "x has no value": 1}})
    'warm_start: 9 of the 12 trials of first are taken over; left out: 2 (failed), 1 (x has no value)'
    >>> taken_over({"run": "first", "taken": 9, "left_out": {}, "seed": 7})
    'warm_start: 9 of the 9 trials of first are taken over (of another seed: 7)'
    """
    left_out = entry["left_out"]
    all_trials = entry["taken"] + sum(left_out.values())
    line = f"warm_start: {entry['taken']} of the {all_trials} trials of {entry['run']} are taken over"
    line += f" (of another seed: {entry['seed']})" if "seed" in entry else ""
    return f"{line}; left out: {counted(left_out)}" if left_out else line


def counted(reasons: Mapping[str, int]) -> str:
    """How many trials each reason left out, the most frequent first."""
    often = sorted(reasons.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{count} ({reason})" for reason, count in often)
