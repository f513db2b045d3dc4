"""The best epoch of a running training, and the variables after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from hptune.experiment.objective import Objective
from hptune.training.core.state import State


class HasState(Protocol):
    """A model whose variables can be copied."""

    def state(self) -> State:
        """A copy of its variables as they are now."""
        ...


class Best:
    """The best epoch so far by an objective: the first of equals, as in `history.best_epoch`.

    above: only epochs with a better score count; None: the first always counts.
    epoch: 0 before any. state: a copy of the variables after that epoch.
    """

    def __init__(self, objective: Objective, above: float | None = None) -> None:
        self._objective = objective
        self._score = above
        self.epoch = 0
        self.state: State | None = None

    def take(self, trained: HasState, epoch: int, metrics: Mapping[str, float]) -> None:
        """Compare an epoch with the best one; as long as none has a score, the latest counts."""
        score = metrics.get(self._objective.metric, math.nan)
        if self._score is None or self._objective.better(score, self._score):
            self._score = None if math.isnan(score) else score
            self.epoch, self.state = epoch, trained.state()
