"""Which points are tried: a `Sampler` proposes, `Points` sees to the rules that hold for every strategy.

The rules: `enqueue` comes first, no point is tried twice, a space is used up to its last point, and the number of
trials is bounded. So a sampler (KerasTuner's Oracles here, others later) is one method and need know none of them.
`Sampled` is the strategy that trains each point in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from hptune.base.errors import Problem, SpecError, unknown
from hptune.base.seeds import derive
from hptune.base.trial import Trial, Value
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import full_epochs
from hptune.experiment.space.space import Domain, Space, point_key
from hptune.run.history import History
from hptune.strategies.follow import Follower
from hptune.strategies.sampler import Point, PointKey, Sampler
from hptune.strategies.strategy import Decision, Done, Start, Wait, trial_limit


def enqueued(experiment: Experiment, space: Space) -> list[Point]:
    """The points of `enqueue` in order, what is left out drawn at random; a point that comes twice is left out.

    Raises `SpecError` for a name or a value that the space doesn't have.
    """
    problems = [
        Problem(_misfit(name, value, space), ("enqueue", i, name))
        for i, entry in enumerate(experiment.enqueue)
        for name, value in entry.items()
        if name not in space.domains or not space.domains[name].contains(value)
    ]
    if problems:
        raise SpecError(*problems)
    points: dict[PointKey, Point] = {}
    for i, entry in enumerate(experiment.enqueue):
        rng = Random(derive(experiment.seed, "enqueue", i))
        point = space.complete(entry, lambda _, domain, rng=rng: domain.from_unit(rng.random()))
        points.setdefault(point_key(point), point)
    return list(points.values())


def first_points(experiment: Experiment, space: Space) -> list[Point]:
    """The points that are tried first: those of `enqueue`, then the defaults.

    The defaults are among them where one differs from the middle or the first choice and the strategy learns from its
    trials; grid begins with them itself.
    """
    points = enqueued(experiment, space)
    sampler = experiment.strategy.source
    defaults = space.defaults()
    known = point_key(defaults) in map(point_key, points)
    if sampler.learns and not known and any(map(_says_more, space.domains.values())):
        points.append(defaults)
    return points


def _says_more(domain: Domain) -> bool:
    """Whether the default differs from the one that it would have if it were left out."""
    return domain.default_value() != domain.middle()


def _misfit(name: str, value: Value, space: Space) -> str:
    if name not in space.domains:
        return unknown("parameter", name, space.domains)
    return f"{name} must be one of {space.domains[name]}, got {value!r}. Choose one of them."


class Points:
    """The points to try, one for each trial, in order: those of `first`, then the sampler's, none twice.

    All are in the space's own form, whatever the sampler's library makes of a number.

    first: the points of `enqueue`. Holds caches that grow with the history and are dropped for another one.
    """

    LISTED = 100_000
    """A space of at most so many points is listed when chance finds no untried one any more."""

    def __init__(self, experiment: Experiment, space: Space, sampler: Sampler, *, first: Sequence[Point]) -> None:
        self._seed = experiment.seed
        self._space = space
        self._sampler = sampler
        self.first = first
        self._size = space.size
        self._limit = trial_limit(experiment)
        budgeted = self._limit is None or self._limit == experiment.budget.trials
        self._why = "the budget's number" if budgeted else "as many as this strategy starts without a budget"
        self._follower = Follower(self._forget, started=self._take_in)

    def next(self, history: History) -> Point | Wait | Done:
        """The point for trial number `len(history.trials)`; `Done` where there is none."""
        end = self.end(history)
        if end is not None:
            return end
        number = len(history.trials)
        if number < len(self.first):
            return self.first[number]
        suggestion = self._sampler.suggest(history)
        if isinstance(suggestion, Wait | Done):
            return suggestion
        point = self._space.own(suggestion)
        return point if point_key(point) not in self._tried else self._untried(number)

    def end(self, history: History) -> Done | None:
        """Why no new trial may be started any more, or None. Once given it stays."""
        self._follower.follow(history)
        if self._limit is not None and len(history.trials) >= self._limit:
            return Done(f"{self._limit} trials were started, {self._why}")
        if self._size is not None and len(self._tried) >= self._size:
            return Done("every point of the space was tried")
        return None

    def _forget(self, history: History | None) -> None:  # noqa: ARG002  # of earlier runs nothing is tried
        self._tried: set[PointKey] = set()
        self._left: dict[PointKey, Point] | None = None  # the untried points, once they are listed

    def _take_in(self, number: int, history: History) -> None:
        key = point_key(history.trials[number].values)
        self._tried.add(key)
        if self._left is not None:
            self._left.pop(key, None)

    def _untried(self, number: int) -> Point | Done:
        """An untried point, for a sampler that repeats itself: drawn by chance, then out of a list of what is left.

        Chance keeps the space's own odds (log scales); the list makes sure that the last points are found.
        """
        rng = Random(derive(self._seed, "untried", number))
        listed = self._size is not None and self._size <= self.LISTED
        for point in self._draws(rng, 100 if listed else 10_000):
            if point_key(point) not in self._tried:
                return point
        if not listed:
            return Done("10,000 points drawn at random had all been tried")
        if self._left is None:
            points = ((point_key(point), point) for point in self._space.points())
            self._left = {key: point for key, point in points if key not in self._tried}
        return list(self._left.values())[rng.randrange(len(self._left))]

    def _draws(self, rng: Random, count: int) -> Iterator[Point]:
        for _ in range(count):
            yield self._space.choose(lambda _, domain: domain.from_unit(rng.random()))


class Sampled:
    """The strategy that trains every point in full and asks a sampler for the next.

    why: gives the sampler's reason for its next point.
    """

    def __init__(self, experiment: Experiment, points: Points, *, why: Callable[[History], str] | None = None) -> None:
        self._experiment = experiment
        self._points = points
        self._why = why

    def next(self, history: History) -> Decision:
        """Start the sampler's next point and train it in full; wait or end where the sampler says so."""
        point = self._points.next(history)
        if isinstance(point, Done):
            return point
        if isinstance(point, Wait):
            running = any(True for _ in history.running())
            return point if running else Done("the strategy waits for trials, and none is running")
        is_first = len(history.trials) < len(self._points.first)
        why = self._why(history) if self._why is not None and not is_first else None
        return Start(point, full_epochs(self._experiment, point), why)

    def may_continue(self, trial: Trial, history: History) -> bool:  # noqa: ARG002 - the protocol's
        """Always False: every trial is trained in full at once."""
        return False
