"""Asynchronous successive halving: who is trained on is decided whenever a worker is free, out of what is known then.

A rung of n results has passed on n // factor of them, the best first: the highest rung that may pass one on does, and
where none may, a new trial is started. So no worker waits for a rung to fill, and how many trials each rung gets
follows from the number of trials alone, as `hptune plan` shows it. (The paper's rule passes on whatever enters the
best n // factor of its rung later too; how many those are is a matter of luck.)

A failed trial costs no place: where a promoted one fails, the next best of its rung takes its place. When no more
trials are started, each rung passes on its best at least, so that a search ends with one that is trained in full.

References: Li et al. 2020, arXiv:1810.05934.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator

from hptune.base.trial import Trial
from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import Asha
from hptune.experiment.space.space import Space
from hptune.run.history import History
from hptune.strategies.follow import Follower
from hptune.strategies.plan import rungs_of
from hptune.strategies.sampled import Points
from hptune.strategies.sampler import Setup
from hptune.strategies.strategy import Continue, Decision, Done, Start, Wait


class AshaStrategy:
    """Starts the points of `points` at the first rung, and promotes.

    What it keeps between calls are caches of the history, dropped for another one: a report costs the logarithm of
    the number of trials.
    """

    def __init__(self, experiment: Experiment, space: Space, points: Points) -> None:
        assert isinstance(experiment.strategy, Asha)
        self._points = points
        self._factor = experiment.strategy.factor
        self._rungs = rungs_of(experiment, space)
        self._follower = Follower(self._forget, reported=self._take_in)

    def next(self, history: History) -> Decision:
        """Promote from the highest rung that can; else start a new trial; else promote the last ones, rung by rung."""
        self._follower.follow(history)
        promotion = self._promotion(history)
        if promotion is not None:
            return promotion
        end = self._points.end(history)
        if end is None:
            point = self._points.next(history)
            if isinstance(point, dict):
                return Start(point, self._rungs[0])
            assert isinstance(point, Done), "these samplers wait for nothing"
            end = point
        if next(history.running(), None) is not None:
            return Wait()
        return self._last_promotion(history) or end

    def may_continue(self, trial: Trial, history: History) -> bool:  # noqa: ARG002 - the protocol's
        """Any paused trial, until no more are started and none is left to promote."""
        self._follower.follow(history)
        if self._points.end(history) is None or next(history.running(), None) is not None:
            return True
        return (self._promotion(history) or self._last_promotion(history)) is not None

    # --- reading the history ------------------------------------------------------------------------------------

    def _forget(self, history: History | None) -> None:  # noqa: ARG002  # its points alone learn of earlier runs
        self._results = [0] * len(self._rungs)  # how many trials have got through each rung
        self._waiting: list[list[tuple[float, int]]] = [[] for _ in self._rungs]  # (cost, trial), the best first
        self._places: dict[int, tuple[int, float]] = {}  # trial -> how many rungs it is through, its cost there

    def _take_in(self, trial: Trial, history: History) -> None:
        """Put a trial that has reported where it stands now."""
        before, cost = self._places.pop(trial.number, (0, 0.0))
        if before:
            waiting = self._waiting[before - 1]
            at = bisect_left(waiting, (cost, trial.number))
            if waiting[at : at + 1] == [(cost, trial.number)]:
                del waiting[at]
        reached = trial.to_epoch if trial.state == "completed" else trial.epochs
        through = sum(epochs <= reached for epochs in self._rungs)
        for rung in range(before, through):
            self._results[rung] += 1
        score = history.score(trial, self._rungs[through - 1]) if through else None
        cost = float("inf") if score is None else history.objective.cost(score)
        self._places[trial.number] = through, cost
        if trial.state == "paused":
            insort(self._waiting[through - 1], (cost, trial.number))

    # --- promoting ----------------------------------------------------------------------------------------------

    def _promotion(self, history: History) -> Continue | None:
        """Of the highest rung that has passed on too few, the best that waits."""
        under_way = [0] * len(self._rungs)  # by the rung that they come from
        for trial in history.running():
            if through := self._places.get(trial.number, (0, 0.0))[0]:
                under_way[through - 1] += 1
        for rung in reversed(range(len(self._rungs) - 1)):
            if self._results[rung + 1] + under_way[rung] < self._results[rung] // self._factor:
                for trial in self._able(rung, history):
                    return Continue(trial.number, self._rungs[rung + 1])
        return None

    def _last_promotion(self, history: History) -> Continue | None:
        """Where nothing runs and nothing is started any more: the best of the highest rung that passed on none."""
        for rung in reversed(range(len(self._rungs) - 1)):
            if not self._results[rung + 1]:
                for trial in self._able(rung, history):
                    return Continue(trial.number, self._rungs[rung + 1])
        return None

    def _able(self, rung: int, history: History) -> Iterator[Trial]:
        """The trials that wait at a rung, the best first."""
        for _, number in self._waiting[rung]:
            if history.trials[number].state == "paused":  # else it runs, or was stopped
                yield history.trials[number]


def strategy(setup: Setup, points: Callable[[], Points]) -> AshaStrategy:
    """`strategy: asha`."""
    return AshaStrategy(setup.experiment, setup.space, points())
