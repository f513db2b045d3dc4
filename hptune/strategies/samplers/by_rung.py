"""A sampler that learns from one rung: the longest training that enough trials have had.

Scores after 3 epochs and after 81 don't compare, so a model of all of them mixed learns little but who was promoted.

References: Falkner et al. 2018, arXiv:1807.01774 (BOHB keeps a model for each budget and uses the largest).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hptune.base.trial import Trial
from hptune.run.history import History
from hptune.strategies.follow import Follower
from hptune.strategies.sampler import RESULTS, Point


class LearnsFrom(Protocol):
    """A sampler that can compare trials after a given number of epochs."""

    def suggest(self, history: History, epochs: int | None = None) -> Point:
        """As `Sampler.suggest`, from the scores after `epochs` epochs of the trials that got there."""
        ...


class ByRung:
    """Asks `sampler` about the highest of `rungs` (epochs, rising) that has `RESULTS` results, or about the first."""

    def __init__(self, sampler: LearnsFrom, rungs: Sequence[int]) -> None:
        self._sampler = sampler
        self._rungs = rungs
        self._follower = Follower(self._forget, reported=self._count)

    def suggest(self, history: History) -> Point:
        """The inner sampler's point, learnt from the highest rung with enough results."""
        self._follower.follow(history)
        known = [rung for rung, results in zip(self._rungs, self._results, strict=True) if results >= RESULTS]
        return self._sampler.suggest(history, max(known, default=self._rungs[0]))

    def _forget(self, history: History | None) -> None:
        self._results = [0] * len(self._rungs)
        self._through: dict[int, int] = {}  # trial -> on how many rungs it has a score
        for trial in history.earlier if history is not None else ():
            self._count(trial)

    def _count(self, trial: Trial, history: History | None = None) -> None:  # noqa: ARG002
        before, now = self._through.get(trial.number, 0), self._rungs_of(trial)
        for rung in range(len(self._rungs)):
            self._results[rung] += (rung < now) - (rung < before)
        self._through[trial.number] = now

    def _rungs_of(self, trial: Trial) -> int:
        if trial.state == "failed":
            return 0
        return sum(trial.state == "completed" or rung <= trial.epochs for rung in self._rungs)
