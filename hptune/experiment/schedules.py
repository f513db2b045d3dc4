"""The learning rate as a pure function of the epoch, a real number, so that it is exact to the optimizer step.

A schedule is laid over the full training whatever part of it a segment trains. Warm-up stands before any of them: what
follows counts its epochs from the end of the warm-up, and ends with the training. Only the epochs that `ramp` and
`piecewise` name count from the very start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from hptune.base.errors import SegmentFailed
from hptune.experiment.directions import Goal
from hptune.experiment.space.references import Ref, concrete
from hptune.experiment.training import Schedule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    EpochArray: TypeAlias = NDArray[np.float64]

T = TypeVar("T")

Function: TypeAlias = Callable[..., Any]
"""The user's: f(step, total_steps, base_rate) -> rate; with `per: epoch` f(epoch, rate) -> rate."""

_SLACK = 1e-9
"""In epochs; so that k/n, a step's place, is not missed by its last bit."""

PLATEAU_MIN_DELTA = 1e-4
"""The least change of the watched metric that counts as an improvement, as in Keras."""


def rates(
    schedule: Schedule,
    *,
    base_rate: float,
    epochs: float,
    at: Sequence[float] | EpochArray,
    steps_per_epoch: int | None = None,
    function: Function | None = None,
) -> EpochArray:
    """float64 [len(at)]: the learning rate at each of the epochs `at`, real numbers in [0, epochs).

    epochs: the full training's, the warm-up included. steps_per_epoch: where `counts_steps`. function: where the
    schedule is the user's, what its `python` names; SegmentFailed where it raises, or gives no rate.

    `plateau` is its base rate here, to be multiplied by `plateau_multiplier`, and so is `ramp` with `epoch: auto`,
    before its epoch was found.

    >>> rates(Schedule(name="cosine"), base_rate=0.1, epochs=4, at=[0, 2]).round(3).tolist()
    [0.1, 0.05]
    """
    import numpy as np

    when = np.asarray(at, np.float64)
    warmup = concrete(schedule.warmup.epochs) if schedule.warmup is not None else 0.0
    start = concrete(schedule.warmup.start) if schedule.warmup is not None else 0.0
    course = _Course(base_rate, when, warmup, epochs, steps_per_epoch, function)
    after = _SHAPES[concrete(schedule.name)](schedule, course)
    if warmup == 0:
        return after
    return np.where(when < warmup, start + (base_rate - start) * when / warmup, after)


def table(
    schedule: Schedule, *, base_rate: float, epochs: int, steps_per_epoch: int, function: Function | None = None
) -> EpochArray:
    """float64 [epochs · steps_per_epoch]: the learning rate of every optimizer step of the full training."""
    import numpy as np

    return rates(
        schedule,
        base_rate=base_rate,
        epochs=epochs,
        at=np.arange(epochs * steps_per_epoch) / steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        function=function,
    )


def by_epoch(
    schedule: Schedule,
    *,
    base_rate: float,
    epochs: int,
    steps_per_epoch: int | None = None,
    function: Function | None = None,
) -> list[float]:
    """The learning rate at the first step of each epoch.

    >>> by_epoch(Schedule.model_validate({"warmup": {"epochs": 2}}), base_rate=0.1, epochs=3)
    [0.0, 0.05, 0.1]
    """
    first_rates: list[float] = rates(
        schedule,
        base_rate=base_rate,
        epochs=epochs,
        at=range(epochs),
        steps_per_epoch=steps_per_epoch,
        function=function,
    ).tolist()
    return first_rates


def counts_steps(schedule: Schedule) -> bool:
    """Whether the rates depend on how many steps an epoch has.

    >>> counts_steps(Schedule(name="time_decay", decay=0.1)), counts_steps(Schedule(name="cosine"))
    (True, False)
    """
    return schedule.per == "step"


def cycle_ends(schedule: Schedule, epochs: float) -> list[float]:
    """The epochs, counted from the very start, at which the cycles of `cosine_restarts` end; the last is `epochs`.

    >>> cycle_ends(Schedule(name="cosine_restarts", cycles=2, multiply=2.0), 6)
    [2.0, 6.0]
    """
    warmup = concrete(schedule.warmup.epochs) if schedule.warmup is not None else 0.0
    ends = _cycle_shares(_option(schedule.cycles), _option(schedule.multiply))
    return [warmup + (epochs - warmup) * end for end in ends[:-1]] + [float(epochs)]


def plateau_multiplier(values: Sequence[float], *, factor: float, patience: int, goal: Goal = "minimize") -> float:
    """What `plateau` multiplies the base rate by, after the epochs whose watched metric was `values`.

    As Keras's ReduceLROnPlateau with min_delta 1e-4, no cooldown and `goal` as its mode: `patience` epochs in a row
    without an improvement (NaN is none) multiply it by `factor`, and the count begins again. The schedule's `min` is
    left to the caller.

    >>> plateau_multiplier([1.0, 0.5, 0.6, 0.6, 0.6], factor=0.5, patience=2)
    0.5
    """
    sign = 1.0 if goal == "minimize" else -1.0
    best, waited, times = math.inf, 0, 0
    for value in values:
        waited += 1
        if sign * value < best - PLATEAU_MIN_DELTA:
            best, waited = sign * value, 0
        elif waited >= patience:
            waited, times = 0, times + 1
    return factor**times


# --- shapes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Course:
    """What a schedule is laid over. when: epochs since the very start; warmup and epochs: how long each lasts."""

    base: float
    when: EpochArray
    warmup: float
    epochs: float
    steps_per_epoch: int | None
    function: Function | None

    @property
    def since(self) -> EpochArray:
        """e: epochs done since the end of the warm-up."""
        import numpy as np

        return np.maximum(self.when - self.warmup, 0.0)

    @property
    def total(self) -> float:
        """E: epochs of the training after the warm-up."""
        return self.epochs - self.warmup

    @property
    def done(self) -> EpochArray:
        """e/E."""
        return self.since / self.total

    def steps(self, epochs: Any) -> Any:
        """How many steps so many epochs have."""
        assert self.steps_per_epoch is not None, "the caller gives steps_per_epoch where counts_steps"
        return epochs * self.steps_per_epoch


Shape: TypeAlias = Callable[[Schedule, _Course], "EpochArray"]


def _option(value: T | Ref | None) -> T:
    option = concrete(value)
    assert option is not None, "the schedule has this option, and the spec's check lets none without it through"
    return option


def _cosine_between(first: Any, last: Any, share: EpochArray) -> EpochArray:
    """Half a cosine from `first` at share 0 to `last` at share 1."""
    import numpy as np

    between: EpochArray = last + (first - last) * 0.5 * (1 + np.cos(np.pi * share))
    return between


def _constant(_: Schedule, course: _Course) -> EpochArray:
    import numpy as np

    return np.full_like(course.when, course.base)


def _linear(_: Schedule, course: _Course) -> EpochArray:
    return course.base * (1 - course.done)


def _time_decay(schedule: Schedule, course: _Course) -> EpochArray:
    """r/(1 + decay·t); compounding: r_t = r_{t−1}/(1 + decay·t) over whole steps or epochs t = 1, 2 and so on."""
    import numpy as np

    decay = _option(schedule.decay)
    time = course.steps(course.since) if schedule.per == "step" else course.since
    if not concrete(schedule.compounding):
        return course.base / (1 + decay * time)
    whole = np.floor(time + _SLACK).astype(np.int64)
    shrunk = np.cumprod(1 / (1 + decay * np.arange(whole.max(initial=0) + 1)))
    return np.asarray(course.base * shrunk[whole])


def _ramp(schedule: Schedule, course: _Course) -> EpochArray:
    import numpy as np

    epoch = concrete(schedule.epoch)
    assert epoch is not None, "ramp requires it"
    if isinstance(epoch, str):  # auto: not found yet
        return _constant(schedule, course)
    return course.base / np.where(course.when >= epoch - _SLACK, _option(schedule.factor), 1.0)


def _piecewise(schedule: Schedule, course: _Course) -> EpochArray:
    import numpy as np

    epochs = np.asarray([concrete(epoch) for epoch in _option(schedule.epochs)])
    factors = np.asarray([1.0, *(concrete(factor) for factor in _option(schedule.factors))])
    return course.base * factors[np.searchsorted(epochs - _SLACK, course.when, side="right")]


def _exponential(schedule: Schedule, course: _Course) -> EpochArray:
    import numpy as np

    return course.base * np.power(_option(schedule.factor), course.since / _option(schedule.per_epochs))


def _polynomial(schedule: Schedule, course: _Course) -> EpochArray:
    import numpy as np

    end = _option(schedule.end)
    return (course.base - end) * np.power(1 - course.done, _option(schedule.power)) + end


def _cosine(schedule: Schedule, course: _Course) -> EpochArray:
    """Loshchilov & Hutter 2017, arXiv:1608.03983, one cycle: r((1 − alpha)·½(1 + cos πe/E) + alpha)."""
    return course.base * _cosine_between(1.0, _option(schedule.alpha), course.done)


def _cosine_restarts(schedule: Schedule, course: _Course) -> EpochArray:
    """The same paper's SGDR; the peak and the floor of each cycle are `decay` times the last one's."""
    import numpy as np

    ends = np.asarray(_cycle_shares(_option(schedule.cycles), _option(schedule.multiply)))
    starts = np.concatenate([[0.0], ends[:-1]])
    cycle = np.minimum(np.searchsorted(ends - _SLACK / course.total, course.done, side="right"), len(ends) - 1)
    widths = np.maximum(ends - starts, np.finfo(float).tiny)  # one that is as good as nothing has some too
    share = np.clip((course.done - starts[cycle]) / widths[cycle], 0.0, None)
    peak = course.base * _option(schedule.decay) ** cycle
    return peak * _cosine_between(1.0, _option(schedule.alpha), share)


def _cycle_shares(cycles: int, multiply: float) -> list[float]:
    """Where each cycle ends, as a share of all; each is `multiply` times as long as the last."""
    try:
        lengths = [multiply**i for i in range(cycles)]
    except OverflowError:  # seen from the last one, the first are as good as nothing
        lengths = [multiply ** (i + 1 - cycles) for i in range(cycles)]
    return [math.fsum(lengths[: i + 1]) / math.fsum(lengths) for i in range(cycles)]


def _one_cycle(schedule: Schedule, course: _Course) -> EpochArray:
    """Smith & Topin 2018, arXiv:1708.07120: cosine up from `start` to the base rate, cosine down to `end`."""
    import numpy as np

    start, end = concrete(schedule.start), concrete(schedule.end)
    start = course.base / 25 if start is None else start
    end = course.base / 1e4 if end is None else end
    peak, done = _option(schedule.peak_at), course.done
    up = _cosine_between(start, course.base, done / peak)
    down = _cosine_between(course.base, end, (done - peak) / (1 - peak))
    return np.where(done < peak, up, down)


# --- the user's function ----------------------------------------------------------------------------------------------


def _python(schedule: Schedule, course: _Course) -> EpochArray:
    """Asked once for each step, or epoch by epoch from the first; both counted from the end of the warm-up, from 0."""
    import numpy as np

    if schedule.per == "step":
        first = math.ceil(course.steps(course.warmup) - _SLACK)
        total = round(course.steps(course.epochs)) - first
        steps = np.maximum(np.floor(course.steps(course.when) + _SLACK).astype(np.int64) - first, 0)
        asked = {step: _ask_function(course, step, total, course.base) for step in np.unique(steps).tolist()}
        return np.asarray([asked[step] for step in steps.tolist()], np.float64)
    epochs = np.floor(course.since + _SLACK).astype(np.int64)
    rate, asked_rates = course.base, []
    for epoch in range(int(epochs.max(initial=-1)) + 1):
        rate = _ask_function(course, epoch, rate)
        asked_rates.append(rate)
    return np.asarray(asked_rates, np.float64)[epochs]


def _ask_function(course: _Course, time: int, *rest: float) -> float:
    assert course.function is not None, "the caller loads what `python` names"
    try:
        rate = float(course.function(time, *rest))
    except Exception as error:  # the user's function may raise anything
        message = f"called with {(time, *rest)} it raised {type(error).__name__}: {error}"
        raise SegmentFailed(f"schedule.python: {message}. Fix the function.") from error
    if not math.isfinite(rate) or rate < 0:
        message = f"must give a finite rate of at least 0, got {rate} for {(time, *rest)}"
        raise SegmentFailed(f"schedule.python: {message}. Fix the function.")
    return rate


_SHAPES: Mapping[str, Shape] = {
    "constant": _constant,
    "linear": _linear,
    "time_decay": _time_decay,
    "ramp": _ramp,
    "piecewise": _piecewise,
    "exponential": _exponential,
    "polynomial": _polynomial,
    "cosine": _cosine,
    "cosine_restarts": _cosine_restarts,
    "one_cycle": _one_cycle,
    "plateau": _constant,
    "python": _python,
}
