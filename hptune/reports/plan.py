"""The dry run: what a search would do, as JSON data (`hptune plan --json`) and drawn for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hptune.base.user_code import load_object
from hptune.experiment import schedules
from hptune.experiment.data import DataSpec, part_sizes
from hptune.experiment.defaults import known_task
from hptune.experiment.experiment import Experiment
from hptune.experiment.model import MODEL_KINDS
from hptune.experiment.reading.load import to_json
from hptune.experiment.recipe import resolve, speaks_of_epochs
from hptune.experiment.sections import Evaluation, Grid, Guided
from hptune.experiment.space.references import concrete
from hptune.experiment.space.space import FloatDomain, Space
from hptune.experiment.training import Schedule
from hptune.reports.console import duration
from hptune.reports.spelling import number
from hptune.run.differences import spell_json
from hptune.run.record import filled, joined_space
from hptune.strategies.plan import Plan, plan

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT = 60, 6
_LINE = 100
"""Characters: what fits is shown on one line."""


def plan_data(experiment: Experiment, facts: Mapping[str, Any] | None = None, folder: Path = Path()) -> dict[str, Any]:
    """What `hptune plan --json` prints. facts: the probe's; None where nothing was run. folder: of the YAML file.

    `space_size` is null for a continuous space, and where code declares the space and nothing was run; `trials` and
    `epochs` are null where only time ends the search, `epochs` also where a function was not asked whether it takes
    `epoch`; the learning rates where only the data or the user's code determine them, and `note` says why. Raises
    SpecError where the strategy can't serve the space.
    """
    experiment = filled(experiment, facts) if facts is not None else _filled_as_known(experiment)
    declared = experiment.model.declares and facts is None
    space = joined_space(experiment, facts or {})
    planned = _plan_undeclared(experiment, space) if declared else plan(experiment, space)
    if facts is None and experiment.model.epochs is None and not speaks_of_epochs(experiment):
        planned = Plan((), planned.trials if experiment.budget.epochs is None else None, None)
    return {
        "space_size": None if declared else space.size,
        "trials": planned.trials,
        "epochs": planned.epochs,
        "rungs": [{"epochs": rung.epochs, "trials": rung.trials} for rung in planned.rungs],
        **_finalists(experiment.evaluation, planned.trials),
        "experiment": to_json(experiment.model_copy(update={"search_space": space.domains})),
        "schedule": _schedule(experiment, space, facts=facts, folder=folder),
    }


def _finalists(evaluation: Evaluation, trials: int | None) -> dict[str, Any]:
    """What the finalists come to, on top of the search: how many, and their trainings in all; under folds each repeat
    is a whole cross-validation.
    """
    asked = evaluation.finalists
    if asked is None:
        return {}
    top = asked.top if trials is None else min(asked.top, trials)
    each = asked.repeats * (evaluation.folds or 1)
    return {"finalists": {"trials": top, "repeats": asked.repeats, "trainings": top * each}}


def _filled_as_known(experiment: Experiment) -> Experiment:
    """The defaults that need no look at the data; those that do stay null."""
    known = known_task(experiment)
    if known is None and experiment.data is not None:
        return experiment
    labels = None if known is None or known.classes is None else list(range(known.classes))
    return filled(experiment, {"task": known.task if known is not None else None, "classes": labels})


def _plan_undeclared(experiment: Experiment, space: Space) -> Plan:
    """The plan where the model's code declares more of the space: how large it is can't be known yet."""
    if isinstance(experiment.strategy, Grid | Guided):
        return Plan((), None, None)
    unknown = FloatDomain(type="float", min=0, max=1)  # stands for what the code will declare
    return plan(experiment, Space({**space.domains, "declared by the code": unknown}))


def _schedule(experiment: Experiment, space: Space, *, facts: Mapping[str, Any] | None, folder: Path) -> dict[str, Any]:
    """The rate at the first step of each epoch, for the default values; nothing for a model that has none."""
    if not experiment.model.keras:
        return {"learning_rate_by_epoch": [], "note": None}
    recipe = resolve(experiment, space.defaults())
    schedule = recipe.schedule
    rows = facts["rows"]["train"] if facts is not None else training_rows(experiment.data)
    own_rate = experiment.model.declares and "optimizer" not in experiment.training.model_fields_set
    if own_rate and (facts or {}).get("learning_rate") is None:
        return _unknown("the model's code sets it" + ("; give --probe" if facts is None else ""))
    if schedule.name == "python" and facts is None:
        return _unknown(f"{schedule.python} is not called without --probe")
    if schedules.counts_steps(schedule) and rows is None:
        return _unknown("it counts steps, and how many an epoch has is known once the data is read: give --probe")
    rates = schedules.by_epoch(
        schedule,
        base_rate=(facts or {})["learning_rate"] if own_rate else concrete(recipe.training.optimizer.learning_rate),
        epochs=concrete(recipe.training.epochs),
        steps_per_epoch=None if rows is None else math.ceil(rows / concrete(recipe.training.batch_size)),
        function=load_object(concrete(schedule.python), folder, ("schedule", "python")) if schedule.python else None,
    )
    return {"learning_rate_by_epoch": rates, "note": _lowered_later(schedule)}


def training_rows(data: DataSpec | None) -> int | None:
    """How many samples the training part has; None where only the data itself can say."""
    rows = data.known.rows if data is not None else None
    if data is None or rows is None:
        return None
    rows = min(rows, data.limit) if data.limit is not None else rows
    return part_sizes(rows, validation=data.validation, test=data.test)[0]


def _unknown(why: str) -> dict[str, Any]:
    return {"learning_rate_by_epoch": None, "note": why}


def _lowered_later(schedule: Schedule) -> str | None:
    """What the curve can't show, because it follows from the training."""
    if schedule.name == "plateau":
        return f"multiplied by {schedule.factor} whenever {schedule.monitor} stops improving"
    if schedule.name == "ramp" and schedule.epoch == "auto":
        return f"divided by {schedule.factor} from the epoch on that train-best finds"
    return None


# --- drawn ----------------------------------------------------------------------------------------------------------


def plan_lines(planned: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> Iterator[str]:
    """The plan in words: its size, the rungs, the learning rate drawn, every default."""
    size = planned["space_size"]
    model = planned["experiment"]["model"]
    by_code = facts is None and any(kind.declares for key, kind in MODEL_KINDS.items() if key in model)
    endless = "declared by code, which --probe runs" if by_code else "continuous"
    yield f"space: {endless if size is None else f'{size:,} points'}"
    epochs = _or_open(planned["epochs"])
    if planned["epochs"] is None and planned["trials"] is not None:
        epochs = "one a call, more where the function takes `epoch`; --probe tells"
    yield f"trials: {_or_open(planned['trials'])}, epochs: {epochs}"
    for rung in planned["rungs"]:
        yield f"  {rung['trials']:>6,} × up to epoch {rung['epochs']}"
    if (finalists := planned.get("finalists")) is not None:
        folds = planned["experiment"]["evaluation"].get("folds")
        each = f"{finalists['repeats']} times{f' {folds} folds' if folds else ''}"
        yield f"finalists: {finalists['trials']:,}, each {each}: {finalists['trainings']:,} trainings in full on top"
    if facts:
        yield f"data: {', '.join(f'{part} {rows:,}' for part, rows in facts.get('rows', {}).items()) or 'none'}"
        yield from (f"note: {note}" for note in facts.get("notes", ()))
        yield from _cost(planned["epochs"], facts)
    rates, note = planned["schedule"]["learning_rate_by_epoch"], planned["schedule"]["note"]
    if rates is None:
        yield ""
        yield f"learning rate: not known yet; {note}"
    elif rates:
        yield ""
        yield "learning rate at the first step of each epoch, for the default values:"
        yield from curve(rates)
        yield from [f"        {note}"] if note else []
    yield ""
    yield "every setting, the defaults filled in:"
    experiment = dict(planned["experiment"])
    if "schedule" in experiment:  # a scikit-learn model has none
        experiment["schedule"] = {name: value for name, value in experiment["schedule"].items() if value is not None}
    yield from _tree(experiment, "  ")


def _cost(epochs: int | None, facts: Mapping[str, Any]) -> Iterator[str]:
    """Time and memory, from what the probe trained: at the default values, by one worker."""
    if "epoch_s" not in facts:
        return
    each = facts["epoch_s"]
    whole = "" if epochs is None else f", {duration(epochs * each + facts['first_epoch_s'])} for all {epochs:,}"
    yield f"time: {duration(each)} an epoch at the default values{whole}, on one worker"
    yield f"memory: {facts['memory_mb']:,.0f} MB; the model has {facts['parameters']:,} parameters"


def _or_open(number: int | None) -> str:
    return "until the budget ends it" if number is None else f"{number:,}"


def curve(rates: Sequence[float], *, width: int = _WIDTH, height: int = _HEIGHT, axis: str | None = None) -> list[str]:
    r"""`rates` (one an epoch) as block characters, the highest and the lowest rate beside them.

    axis: what stands below it in place of the epochs.

    >>> print("\n".join(curve([0.0, 0.5, 1.0, 0.5], height=2)))
            1 |  █ |
            0 | ███|
              epochs 1 to 4
    """
    shown = [rates[i * len(rates) // min(width, len(rates))] for i in range(min(width, len(rates)))]
    top = max(shown)
    levels = [round(rate / top * height * 8) if top > 0 and math.isfinite(rate) else 0 for rate in shown]
    lines = []
    for row in range(height - 1, -1, -1):
        label = number(max(rates)) if row == height - 1 else number(0.0) if row == 0 else ""
        cells = "".join(_BLOCKS[min(max(level - row * 8, 0), 8)] for level in levels)
        lines.append(f"{label:>9} |{cells}|")
    return [*lines, f"          {axis or f'epochs 1 to {len(rates)}'}"]


def _tree(value: Any, indent: str) -> Iterator[str]:
    """JSON data as YAML-like lines; short lists and mappings on one line."""
    for key, inner in value.items():
        flat = spell_json(inner)
        if isinstance(inner, dict) and inner and len(flat) > _LINE:
            yield f"{indent}{key}:"
            yield from _tree(inner, indent + "  ")
        elif isinstance(inner, list) and len(flat) > _LINE:
            yield f"{indent}{key}:"
            yield from (f"{indent}  - {spell_json(item)}" for item in inner)
        else:
            yield f"{indent}{key}: {flat}"
