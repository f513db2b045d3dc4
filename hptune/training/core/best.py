"""The best epoch of a training as it runs, and the variables after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from hptune.experiment.objective import Objective
from hptune.training.core.state import State


class HasState(Protocol):
    """What is trained."""

    def state(self) -> State:
        """A copy of its variables as they are now."""
        ...


class Best:
    """The best epoch so far by an objective: the first of equals, as `history.best_epoch` has it.

    above: an epoch counts only where its score is better than this; None: the first does whatever it has.
    epoch: 0 before any. state: copied each time that an epoch is the best so far.
    """

    def __init__(self, objective: Objective, above: float | None = None) -> None:
        self._objective = objective
        self._score = above
        self.epoch = 0
        self.state: State | None = None

    def take(self, trained: HasState, epoch: int, metrics: Mapping[str, float]) -> None:
        """Take in an epoch; where none has had a score yet, the last is what is left."""
        score = metrics.get(self._objective.metric, math.nan)
        if self._score is None or self._objective.better(score, self._score):
            self._score = None if math.isnan(score) else score
            self.epoch, self.state = epoch, trained.state()
