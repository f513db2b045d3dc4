"""The learning rate as a pure function of the epoch, a real number, so that it is exact to the optimizer step.

A schedule is laid over the full training whatever part of it a segment trains. Warm-up stands before any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from hptune.spec.references import concrete
from hptune.spec.training import Schedule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Epochs: TypeAlias = NDArray[np.float64]

Shape: TypeAlias = "Callable[[Epochs, float], Epochs]"
"""(epochs done since the end of the warm-up, epochs of the training after it) -> a factor of the base rate."""


def rates(schedule: Schedule, *, base_rate: float, epochs: int, at: Sequence[float] | Epochs) -> Epochs:
    """float64 [len(at)]: the learning rate at each of the epochs `at`, real numbers in [0, epochs).

    epochs: the full training's, the warm-up included.

    >>> rates(Schedule(name="cosine"), base_rate=0.1, epochs=4, at=[0, 2]).round(3).tolist()
    [0.1, 0.05]
    """
    import numpy as np

    when = np.asarray(at, np.float64)
    warmup = concrete(schedule.warmup.epochs) if schedule.warmup is not None else 0.0
    start = concrete(schedule.warmup.start) if schedule.warmup is not None else 0.0
    after = base_rate * _SHAPES[concrete(schedule.name)](schedule)(np.maximum(when - warmup, 0.0), epochs - warmup)
    if warmup == 0:
        return after
    return np.where(when < warmup, start + (base_rate - start) * when / warmup, after)


def table(schedule: Schedule, *, base_rate: float, epochs: int, steps_per_epoch: int) -> Epochs:
    """float64 [epochs · steps_per_epoch]: the learning rate of every optimizer step of the full training."""
    import numpy as np

    return rates(schedule, base_rate=base_rate, epochs=epochs, at=np.arange(epochs * steps_per_epoch) / steps_per_epoch)


def by_epoch(schedule: Schedule, *, base_rate: float, epochs: int) -> list[float]:
    """The learning rate at the first step of each epoch.

    >>> by_epoch(Schedule.model_validate({"warmup": {"epochs": 2}}), base_rate=0.1, epochs=3)
    [0.0, 0.05, 0.1]
    """
    found: list[float] = rates(schedule, base_rate=base_rate, epochs=epochs, at=range(epochs)).tolist()
    return found


def _constant(schedule: Schedule) -> Shape:  # noqa: ARG001  # every shape is made from its schedule
    import numpy as np

    return lambda e, _: np.ones_like(e)


def _cosine(schedule: Schedule) -> Shape:
    """Loshchilov & Hutter 2017, arXiv:1608.03983, one cycle: (1 − alpha)·½(1 + cos πe/E) + alpha."""
    import numpy as np

    alpha = concrete(schedule.alpha) if schedule.alpha is not None else 0.0
    return lambda e, total: (1 - alpha) * 0.5 * (1 + np.cos(np.pi * e / total)) + alpha


_SHAPES: dict[Any, Callable[[Schedule], Shape]] = {"constant": _constant, "cosine": _cosine}
