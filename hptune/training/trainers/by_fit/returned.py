"""What a HyperModel's own `fit` returned: the trial's curves, and which weights have earned its score.

It may be what KerasTuner takes: a History, a dict of metrics, a number (the value of the objective), or a list of
these, whose mean counts. Weights of another epoch than the one that earned the score are never handed out.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hptune.base.errors import SegmentFailed
from hptune.base.trial import Curves
from hptune.experiment.objective import Objective
from hptune.training.core.state import State

WANTED = "a History, a dict of metrics, a number or a list of these is wanted"


@dataclass(frozen=True, slots=True)
class EpochLogs:
    """What Keras reported to the callbacks after an epoch (from 1) of the last training in the `fit`.

    state: the variables of the trial's model then; None where they are not kept. mark: a digest of them where another
    model was trained, which may share them.
    """

    epoch: int
    logs: Mapping[str, float]
    state: State | None = None
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Earned:
    """curves: one value per epoch. epoch: whose weights earned the score; state: they, None: as `fit` left them.

    last: the score of those weights, where the trial's is a mean over `trainings`. lost: the score of the best epoch,
    where its weights were not kept, so that the last epoch's score counts.
    """

    curves: Curves
    epoch: int
    state: State | None
    trainings: int = 1
    last: float | None = None
    lost: float | None = None


class Tally:
    """Records what the callbacks hear of one training, and keeps the epoch that is best by `objective`.

    before: the best epoch of earlier trainings, for a `fit` that calls `model.fit` one epoch at a time.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.epochs: list[EpochLogs] = []
        self.best: EpochLogs | None = None
        self.before: EpochLogs | None = None
        self.asked: list[Mapping[str, Any]] = []
        """Of each training, what Keras's `fit` was asked for: `epochs`, and `steps` of each (None: not known)."""

    def begin(self) -> None:
        """Another training begins: the earlier records are not of the model that is left."""
        metric = self._objective.metric
        if self.best is not None:
            first = self.before is None
            if first or self._objective.better(self.best.logs[metric], self.before.logs[metric]):  # type: ignore[union-attr]
                self.before = self.best
        self.epochs, self.best = [], None

    def confirm(self, mark: str) -> None:
        """Forget the best epoch where another model was trained and the trial's own did not follow it: then nothing is
        known of its weights at any epoch. mark: of the trial's model as it was left.
        """
        marks = [one.mark for one in (self.best, self.epochs[-1] if self.epochs else None) if one is not None]
        if any(one is not None for one in marks) and mark not in marks:
            self.best = None

    def better(self, epoch: int, logs: Mapping[str, float]) -> bool:
        """Whether this epoch is the best so far; where epochs begin again, another training has begun."""
        if self.epochs and epoch <= self.epochs[-1].epoch:
            self.begin()
        score, metric = logs.get(self._objective.metric), self._objective.metric
        if score is None or math.isnan(score):
            return False
        return self.best is None or self._objective.better(score, self.best.logs[metric])

    def take(
        self, epoch: int, logs: Mapping[str, float], *, best: bool, state: State | None = None, mark: str | None = None
    ) -> None:
        """Record an epoch. best: it is the best so far; `state` and `mark` are then those of its weights."""
        self.epochs.append(EpochLogs(epoch, logs, mark=mark))
        if best:
            self.best = EpochLogs(epoch, logs, state, mark)


def numbers(returned: Any, objective: Objective) -> dict[str, Any]:
    """{metric: its value, or its values by epoch}. Raises SegmentFailed for what KerasTuner does not take."""
    if isinstance(returned, list):
        if not returned:
            raise SegmentFailed(f"the HyperModel's fit returned an empty list; {WANTED}")
        every = [_scores(numbers(one, objective), objective) for one in returned]
        names = dict.fromkeys(name for one in every for name in one)
        return {name: float(np.mean([one[name] for one in every if name in one])) for name in names}
    if isinstance(returned, int | float | np.number):
        return {objective.metric: float(returned)}
    history = getattr(returned, "history", returned)
    if not isinstance(history, Mapping):
        more = " (did you forget to return the metrics?)" if returned is None else ""
        raise SegmentFailed(f"the HyperModel's fit returned {type(returned).__name__}; {WANTED}{more}")
    metrics = {str(name): _floats(value) for name, value in history.items()}
    return {name: value for name, value in metrics.items() if value is not None and value != ()}


def earned(returned: Any, tally: Tally, objective: Objective, *, epochs: int, asked: bool = False) -> Earned:
    """The result of a `fit`. epochs: how many it was asked to train. asked: whether the returned metrics must hold the
    objective, as for KerasTuner. Raises SegmentFailed.
    """
    values = numbers(returned, objective)
    lists = [value for value in values.values() if isinstance(value, tuple)]
    epochs = max(map(len, lists), default=0) or len(tally.epochs) or epochs
    logged = _curves(tally.epochs) if len(tally.epochs) == epochs else {}
    at = {name: [n for n, last_earned in enumerate(tally.epochs) if name in last_earned.logs] for name in values}
    curves = {**logged, **{name: _stretched(value, epochs, at[name]) for name, value in values.items()}}
    last = epochs
    if objective.metric not in values:
        if asked:
            names = ", ".join(values) or "nothing"
            raise SegmentFailed(f"the HyperModel's fit returned {names}, and not {objective.metric}, the objective")
        return Earned(curves, last, None)
    metric = objective.metric
    if isinstance(returned, list):
        last_earned = earned(returned[-1], tally, objective, epochs=epochs)
        score = objective.best(last_earned.curves[metric]) if metric in last_earned.curves else None
        return Earned(curves, last_earned.epoch, last_earned.state, len(returned), score)
    score = objective.best(curves[metric])
    best = tally.best
    if not isinstance(values[metric], tuple):  # the score of the model as it was left, or of its best epoch
        final = tally.epochs[-1].logs.get(metric) if tally.epochs else None
        if metric in logged and _equal(objective.best(logged[metric]), score):
            curves[metric] = logged[metric]
        if best is not None and _equal(best.logs[metric], score) and (final is None or not _equal(final, score)):
            return Earned(curves, best.epoch, best.state)
        before = tally.before
        if before is not None and _equal(before.logs[metric], score) and (final is None or not _equal(final, score)):
            return Earned(curves, last, before.state)
        return Earned(curves, last, None)
    if best is not None and _equal(best.logs[metric], score):
        return Earned(curves, best.epoch, best.state)
    # No weights were kept by this metric: what is left of the training is the last epoch's, and so is the score.
    lost = None if _equal(curves[metric][-1], score) else score
    return Earned({**curves, metric: (curves[metric][-1],) * epochs}, last, None, lost=lost)


def _scores(values: Mapping[str, Any], objective: Objective) -> dict[str, float]:
    """Each metric at the best epoch, as in KerasTuner."""
    curve = values.get(objective.metric)
    at = -1
    if isinstance(curve, tuple):
        at = curve.index(objective.best(curve))
    return {
        name: value[at] if isinstance(value, tuple) and -len(value) <= at < len(value) else _last(value)
        for name, value in values.items()
    }


def _last(value: Any) -> float:
    return float(value[-1] if isinstance(value, tuple) else value)


def _floats(value: Any) -> float | tuple[float, ...] | None:
    """The value, or values, as floats; None for anything but numbers, which is no metric."""
    try:
        value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
        return tuple(map(float, value)) if isinstance(value, list | tuple) else float(value)
    except (TypeError, ValueError):
        return None


def _curves(epochs: Sequence[EpochLogs]) -> dict[str, tuple[float, ...]]:
    """The metrics that were reported after every epoch."""
    names = [name for name in epochs[0].logs if all(name in one.logs for one in epochs)] if epochs else []
    return {name: tuple(one.logs[name] for one in epochs) for name in names}


def _stretched(value: float | tuple[float, ...], epochs: int, at: Sequence[int]) -> tuple[float, ...]:
    """One value per epoch; a value measured in some epochs only (`validation_freq`) stands until the next, the first
    one also before it. at: the epochs, from 0, in which it was reported; where they don't match, steps count as even.

    >>> _stretched((0.5, 0.6), 5, [1, 3])
    (0.5, 0.5, 0.5, 0.6, 0.6)
    """
    if not isinstance(value, tuple):
        return (value,) * epochs
    if len(at) == len(value) < epochs and at[-1] < epochs:
        return tuple(value[max(0, bisect_right(at, epoch) - 1)] for epoch in range(epochs))
    return tuple(value[max(0, epoch * len(value) // epochs - 1)] for epoch in range(1, epochs + 1))


def _equal(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)
