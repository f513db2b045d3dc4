"""Early stopping as a pure function of a curve, so that resuming needs no state for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


def by_cycle(values: Sequence[float], ends: Sequence[float], *, goal: Literal["minimize", "maximize"]) -> list[float]:
    """The best value of each complete cycle. ends: the epochs, from the start, at which the cycles end.

    >>> by_cycle([3.0, 1.0, 2.0, 4.0, 5.0], [2, 4, 8], goal="minimize")
    [1.0, 2.0]
    """
    best = min if goal == "minimize" else max
    over = [round(end) for end in ends if round(end) <= len(values)]
    return [best(values[a:b]) for a, b in zip([0, *over], over, strict=False) if b > a]


def has_stopped(
    values: Sequence[float], *, patience: int, min_delta: float = 0.0, goal: Literal["minimize", "maximize"]
) -> bool:
    """Whether training ends after these epochs: the best value is more than `patience` - 1 epochs old.

    As Keras's EarlyStopping: an epoch improves where it beats the best so far by more than `min_delta`.

    >>> has_stopped([3.0, 2.0, 2.5, 2.6], patience=2, goal="minimize")
    True
    >>> has_stopped([3.0, 2.0, 2.5], patience=2, goal="minimize")
    False
    """
    sign = 1.0 if goal == "minimize" else -1.0
    best, waited = float("inf"), 0
    for value in values:
        if sign * value < best - min_delta:
            best, waited = sign * value, 0
        else:
            waited += 1
        if waited >= patience:
            return True
    return False
