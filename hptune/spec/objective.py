"""What a search optimises: a metric and the direction that is better, written by the user or known from a fixed table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from hptune.spec.base import Spec

Goal = Literal["minimize", "maximize"]


class Objective(Spec):
    """A metric and its goal.

    metric: as the curves name it: `val_accuracy`, `val_loss`, `score`; also `seconds` and `parameters`.
    """

    metric: str
    goal: Goal

    def better(self, a: float, b: float) -> bool:
        """Whether a is strictly better than b."""
        return a > b if self.goal == "maximize" else a < b

    def best(self, values: Iterable[float]) -> float:
        """The best of `values`, NaN passed over; NaN where nothing else is there."""
        numbers = [v for v in values if v == v]
        if not numbers:
            return float("nan")
        return max(numbers) if self.goal == "maximize" else min(numbers)

    def cost(self, score: float) -> float:
        """The score with its sign set so that smaller is better."""
        return -score if self.goal == "maximize" else score
