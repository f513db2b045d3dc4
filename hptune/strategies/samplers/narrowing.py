"""Random trials over the whole space, then in the neighbourhood of the best, which narrows as it gets better.

The neighbourhood of a value is half of it to twice of it on a logarithmic scale and for whole numbers, a window around
it elsewhere, its neighbours in a choice that has an order. Each better point is the new centre and makes the
neighbourhood a fifth narrower; where none comes for a while, the search goes back to the whole space and begins again
around the best of all.

References: F. Ferlitsch, Deep Learning Patterns and Practices (2021), chapter 10.
"""

from __future__ import annotations

import math
from random import Random

from hptune.base.seeds import derive
from hptune.base.trial import Trial, Value
from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import Narrowing
from hptune.experiment.space.space import ChoiceDomain, Domain, IntDomain, Space
from hptune.run.history import History
from hptune.strategies.follow import Follower
from hptune.strategies.sampler import Point, Setup

SHRINK = 0.8
"""How wide the next neighbourhood is, against the last."""

WINDOW = 0.25
"""Half the width of the first window, as a share of the range."""

STRAY = 0.2
"""How often a choice without an order leaves the best value for any of them."""


class NarrowingSampler:
    """Follows the journal: which trials were sent where, and how narrow the neighbourhood is by now.

    What it keeps between calls are caches of the history, dropped for another one.
    """

    def __init__(self, experiment: Experiment, space: Space) -> None:
        assert isinstance(experiment.strategy, Narrowing)
        self._options = experiment.strategy
        self._seed = experiment.seed
        self._space = space
        self._follower = Follower(self._forget, started=self._send, reported=self._learn)

    def suggest(self, history: History) -> Point:
        """A random point of the whole space, or of the neighbourhood of the best point."""
        self._follower.follow(history)
        rng = Random(derive(self._seed, "suggest", len(history.trials)))
        if self._exploring:
            return self._space.choose(lambda _, domain: domain.from_unit(rng.random()))
        assert self._best is not None, "explores while there is no best"
        centre, width = self._best.values, SHRINK**self._depth
        return self._space.choose(
            lambda name, domain: (
                near(domain, centre[name], width=width, rng=rng) if name in centre else domain.from_unit(rng.random())
            )
        )

    def why(self, history: History) -> str:
        """The reason for the next point."""
        self._follower.follow(history)
        if not self._exploring:
            assert self._best is not None, "explores while there is no best"
            wide = f", {SHRINK**self._depth:.0%} as wide as the first" if self._depth else ""
            return f"around {_name(self._best)}, the best so far, in a neighbourhood{wide}"
        if self._left is None:
            return "over the whole space first"
        return f"back to the whole space, as {self._left}"

    # --- following the history ----------------------------------------------------------------------------------

    def _forget(self, history: History | None) -> None:
        self._best: Trial | None = None
        self._cost = math.inf  # the best's
        self._begin(None)
        if history is not None:
            for trial in history.earlier:
                self._learn(trial, history)

    def _begin(self, left: str | None) -> None:
        """Go (back) to the whole space. left: why the neighbourhood was left."""
        self._left = left
        self._to_explore, self._exploited = self._options.explore, 0
        self._depth = 0
        self._stale = 0
        self._near: set[int] = set()  # the trials that were sent near the best since

    @property
    def _exploring(self) -> bool:
        return self._to_explore > 0 or self._best is None

    def _send(self, number: int, history: History) -> None:  # noqa: ARG002
        if self._exploring:
            self._to_explore -= 1
        else:
            self._near.add(number)
            self._exploited += 1
            if self._options.exploit is not None and self._exploited >= self._options.exploit:
                self._begin(f"{self._exploited} trials were spent around the best")

    def _learn(self, trial: Trial, history: History) -> None:
        score = history.score(trial)
        cost = math.inf if score is None else history.objective.cost(score)
        if cost < self._cost:
            self._best, self._cost = trial, cost
            self._depth += trial.number in self._near
            self._stale = 0
        elif trial.number in self._near:
            self._stale += 1
        if self._stale >= self._options.patience:
            self._begin(f"{self._stale} trials around {_name(self._best)} brought nothing better")


def _name(trial: Trial | None) -> str:
    assert trial is not None, "nothing is near a best that there is not"
    return f"trial {trial.number}" if trial.number >= 0 else "the best trial of an earlier run"


def near(domain: Domain, value: Value, *, width: float, rng: Random) -> Value:
    """A value of `domain` in the neighbourhood of one of its values. width: in (0, 1], against the first one's."""
    if isinstance(domain, ChoiceDomain) and not domain.ordered:
        return domain.from_unit(rng.random()) if rng.random() < STRAY else value
    if isinstance(domain, IntDomain) and domain.log:
        low, high = _whole_neighbours(domain, value, 2.0**width)
    else:
        at, (below, above) = domain.to_unit(value), _reach(domain, value, width)
        low, high = max(at - below, 0.0), min(at + above, 1.0)
    return domain.from_unit(low + rng.random() * (high - low))


def _whole_neighbours(domain: IntDomain, value: Value, factor: float) -> tuple[float, float]:
    """Where the whole numbers within a factor of `value`, and its neighbours, begin and end on a logarithmic scale."""
    mirrored = domain.log == "reverse"
    number = domain.min + domain.max - int(value) if mirrored else int(value)  # type: ignore[arg-type]  # a number
    least = max(min(math.ceil(number / factor), number - 1), domain.min)
    most = min(max(math.floor(number * factor), number + 1), domain.max)
    low, high = domain.log_unit(least - 0.5), domain.log_unit(most + 0.5)
    return (1.0 - high, 1.0 - low) if mirrored else (low, high)


def _reach(domain: Domain, value: Value, width: float) -> tuple[float, float]:
    """How far the neighbourhood goes below and above a value, as shares of the range; to its neighbours at least."""
    values = domain.values()
    least = 1.5 / len(values) if values is not None else 0.0
    if isinstance(domain, ChoiceDomain) or domain.min == domain.max:
        return least, least
    factor = 2.0**width
    if domain.log:
        below = above = math.log(factor) / math.log(domain.max / domain.min)
    elif isinstance(domain, IntDomain) and domain.min > 0:
        share = float(value) / (len(domain.values()) * (domain.step or 1))  # type: ignore[arg-type]  # a number
        below, above = share * (1 - 1 / factor), share * (factor - 1)
    else:
        below = above = WINDOW * width
    return max(below, least), max(above, least)


def sampler(setup: Setup) -> NarrowingSampler:
    """`strategy: narrowing`."""
    return NarrowingSampler(setup.experiment, setup.space)
