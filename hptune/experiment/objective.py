"""What a search optimises: a metric and the direction that is better, written down or known from a fixed table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from hptune.experiment.base import Spec
from hptune.experiment.directions import Goal, direction


class Objective(Spec):
    """A metric and its goal.

    metric: as the curves name it: `val_accuracy`, `val_loss`, `score`; also `seconds` and `parameters`.
    """

    metric: str
    goal: Goal
    """Which way is better; known for every metric of Keras unless given."""

    @model_validator(mode="before")
    @classmethod
    def _known_goal(cls, raw: Any) -> Any:
        return with_goal(raw, "metric")

    def better(self, a: float, b: float) -> bool:
        """Whether a is strictly better than b."""
        return a > b if self.goal == "maximize" else a < b

    def best(self, values: Sequence[float]) -> float:
        """The best of `values`, NaN passed over; NaN where nothing else is there."""
        numbers = values if sum(values) < math.inf else [v for v in values if v == v]  # a sum with NaN is NaN
        if not numbers:
            return math.nan
        return max(numbers) if self.goal == "maximize" else min(numbers)

    def cost(self, score: float) -> float:
        """The score with its sign set so that smaller is better."""
        return -score if self.goal == "maximize" else score


def leading(objectives: Sequence[Objective]) -> Objective:
    """What decides the best epoch: the first objective that has a value each epoch, or else the validation loss."""
    each_epoch = [objective for objective in objectives if objective.metric not in ("seconds", "parameters")]
    return each_epoch[0] if each_epoch else Objective(metric="val_loss", goal="minimize")


def with_goal(section: Any, key: str, default: str | None = None) -> Any:
    """`section` with `goal` filled in from the table of directions, where it was left out.

    key: the field that names the metric; default: its default.
    """
    if not isinstance(section, dict) or section.get("goal") is not None:
        return section
    metric = section.get(key, default)
    if not isinstance(metric, str):
        return section
    goal = direction(metric)
    if goal is None:
        message = (
            f"goal is required: whether more {metric} is better is not known. Say goal: minimize or goal: maximize."
        )
        raise PydanticCustomError("goal", "{message}", {"message": message})
    return {**section, "goal": goal}
