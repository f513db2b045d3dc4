"""Hyperband: successive halving in brackets, with KerasTuner's sizes; its state is read from the history.

Trials belong to brackets by their numbers, and who is promoted follows from the scores alone, so with random points
neither the number of workers nor the order in which they finish changes what is trained. A promotion continues the
trial.

A failed trial is passed over, never replaced by a new one: a search has as many trials as `hptune plan` says, and ends
where all fail. It costs no promotion either: a round takes the best of those that are left, and where a promoted trial
fails, the next best of its round takes its place.

References: Li et al. 2018, arXiv:1603.06560.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from hptune.base.trial import Trial
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import full_epochs
from hptune.experiment.sections import Hyperband
from hptune.experiment.space.space import Space
from hptune.run.history import History
from hptune.strategies.follow import Follower
from hptune.strategies.plan import Rung, brackets
from hptune.strategies.sampled import Points
from hptune.strategies.sampler import Setup
from hptune.strategies.strategy import Continue, Decision, Done, Start, Wait, bounded


@dataclass(frozen=True, slots=True)
class _Bracket:
    """One bracket of one iteration: the trials with numbers from `begin` up to, not including, `end`."""

    begin: int
    end: int
    rungs: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class _Round:
    """Who takes part in a round, and whether all of them have got through it or failed."""

    rung: Rung
    members: tuple[int, ...]
    complete: bool


class HyperbandStrategy:
    """Fills the brackets with the points of `points`, and promotes.

    What it keeps between calls are caches of the history, dropped for another one.
    """

    def __init__(self, experiment: Experiment, space: Space, points: Points) -> None:
        assert isinstance(experiment.strategy, Hyperband)
        self._points = points
        self._table = brackets(full_epochs(experiment, space.defaults()), experiment.strategy.factor)
        self._ends = list(accumulate(bracket[0].trials for bracket in self._table))
        self._iterations = experiment.strategy.iterations or (None if bounded(experiment.budget) else 1)
        self._follower = Follower(self._forget, reported=self._drop)

    def next(self, history: History) -> Decision:
        """Promote from the first open bracket that can; else start the next trial of the brackets; else wait or end."""
        end = self._read(history)
        number = len(history.trials)
        for index in self._open(number):
            promotion = self._promotion(index, history)
            if promotion is not None:
                return promotion
        if end is None:
            point = self._points.next(history)
            if isinstance(point, dict):
                return Start(point, self._bracket(self._index(number)).rungs[0].epochs)
            assert isinstance(point, Done), "random points wait for nothing"
            end = point
        return Wait() if next(history.running(), None) is not None else end

    def may_continue(self, trial: Trial, history: History) -> bool:
        """Whether its bracket has a place for it: it waits to be promoted, or a promoted one may still fail."""
        self._read(history)
        for round_ in self._rounds(self._index(trial.number), history):
            if trial.number not in round_.members:
                return not round_.complete
        return not round_.complete

    # --- which bracket ------------------------------------------------------------------------------------------

    def _index(self, number: int) -> int:
        """The bracket, counted over all iterations, of trial `number`."""
        iteration, within = divmod(number, self._ends[-1])
        return iteration * len(self._ends) + next(i for i, end in enumerate(self._ends) if within < end)

    def _bracket(self, index: int) -> _Bracket:
        iteration, i = divmod(index, len(self._ends))
        end = iteration * self._ends[-1] + self._ends[i]
        return _Bracket(end - self._table[i][0].trials, end, self._table[i])

    def _open(self, number: int) -> Iterator[int]:
        """The brackets with trials in them that are not all through."""
        last = self._index(number - 1) if number else -1
        return (index for index in range(self._through, last + 1) if index not in self._finished)

    # --- reading the history ------------------------------------------------------------------------------------

    def _forget(self, history: History | None) -> None:  # noqa: ARG002  # its points alone learn of earlier runs
        self._ended = False  # no trial is started any more
        self._known: dict[int, tuple[_Round, ...]] = {}  # the rounds of full brackets, until a trial of theirs reports
        self._finished: set[int] = set()
        self._through = 0  # every bracket before this one is finished

    def _drop(self, trial: Trial, history: History) -> None:  # noqa: ARG002
        """What is known of a bracket in which something happened."""
        self._known.pop(self._index(trial.number), None)

    def _read(self, history: History) -> Done | None:
        """Take in what has happened; why no trial is started any more, or None."""
        self._follower.follow(history)
        end = self._points.end(history) or self._end_of_iterations(len(history.trials))
        self._ended = end is not None
        while self._through in self._finished:
            self._finished.remove(self._through)
            self._through += 1
        return end

    def _end_of_iterations(self, number: int) -> Done | None:
        if self._iterations is None or number < self._iterations * self._ends[-1]:
            return None
        iterations = "the iteration" if self._iterations == 1 else f"all {self._iterations} iterations"
        return Done(f"{iterations} of hyperband went through every bracket")

    def _promotion(self, index: int, history: History) -> Continue | None:
        """The next trial of the bracket to be trained on, or None while none is ready."""
        last = self._rounds(index, history)[-1]
        if last.complete:
            self._finished.add(index)
            return None
        for member in last.members:
            trial = history.trials[member]
            if trial.state == "paused" and not _reached(trial, last.rung):
                return Continue(member, last.rung.epochs)
        return None

    def _rounds(self, index: int, history: History) -> tuple[_Round, ...]:
        if index in self._known:
            return self._known[index]
        bracket = self._bracket(index)
        rounds = tuple(self._play(bracket, history))
        if len(history.trials) >= bracket.end:
            self._known[index] = rounds
        return rounds

    def _play(self, bracket: _Bracket, history: History) -> Iterator[_Round]:
        """The rounds of a bracket up to the first that is not complete."""
        members = history.trials[bracket.begin : bracket.end]
        complete = self._ended or len(history.trials) >= bracket.end
        for i, rung in enumerate(bracket.rungs):
            complete = complete and all(_reached(t, rung) or t.state == "failed" for t in members)
            yield _Round(rung, tuple(t.number for t in members), complete)
            if not complete or i + 1 == len(bracket.rungs):
                return
            members = _promoted(members, rung, following=bracket.rungs[i + 1], history=history)


def _reached(trial: Trial, rung: Rung) -> bool:
    """Whether the trial is through a round; one that ended by itself is through every round."""
    return trial.epochs >= rung.epochs or trial.state == "completed"


def _promoted(members: list[Trial], rung: Rung, *, following: Rung, history: History) -> list[Trial]:
    """The best of a complete round, as many as the following one has places; who fails there holds none.

    Who was promoted stays so, whatever is learnt later: the journal is the truth.
    """

    def rank(trial: Trial) -> tuple[bool, float, int]:
        score = history.score(trial, rung.epochs)  # None where it failed since: it was promoted, and stays so
        cost = float("inf") if score is None or score != score else history.objective.cost(score)
        return (trial.to_epoch <= rung.epochs, cost, trial.number)

    chosen: list[Trial] = []
    places = following.trials
    for trial in sorted((t for t in members if _reached(t, rung)), key=rank):
        if places == 0:
            break
        chosen.append(trial)
        places -= trial.state != "failed" or _reached(trial, following)
    return chosen


def strategy(setup: Setup, points: Callable[[], Points]) -> HyperbandStrategy:
    """`strategy: hyperband`."""
    return HyperbandStrategy(setup.experiment, setup.space, points())
