"""The Strategy protocol and its decisions; which class serves which name stands in `choose.py`.

Nothing heavy is imported here: `check` and what else `hptune validate` and `hptune plan` ask is plain arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from hptune.base.errors import SpecError
from hptune.base.trial import Trial, Values
from hptune.experiment.checks.search import unserved
from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import (
    BayesOpt,
    Budget,
    Guided,
)
from hptune.experiment.space.roles import miscast
from hptune.experiment.space.space import Space
from hptune.run.history import History


@dataclass(frozen=True, slots=True)
class Start:
    """Start a new trial with `values` (every active parameter, in the space's order) and train it up to `to_epoch`."""

    values: Values
    to_epoch: int
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Continue:
    """Train trial number `trial`, which is paused, on up to `to_epoch`."""

    trial: int
    to_epoch: int
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until a running trial reports."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing left to start, though trials may still run. `why`: one clause for the user ("… was tried")."""

    why: str


Decision: TypeAlias = Start | Continue | Wait | Done


class Strategy(Protocol):
    """Decides what to try next from the History alone.

    `next` is a function: of the experiment, its seed and the history, nothing else. A fresh object given the same
    history answers the same. It never trains, stores, sleeps or prints. It ends the search itself (`Done`) at
    `budget.trials` or at the number that stands for it where no budget is given (`trial_limit`): only so can the trials
    that were started be promoted to their end. The other budgets are the caller's.

    Constructors raise `SpecError` where the strategy can't serve the space; `next` raises `RunError` where code that
    the user named (an Oracle) fails, and nothing else.
    """

    def next(self, history: History) -> Decision:
        """What to do with a free worker. Never repeats a point, never `Wait`s while nothing runs."""
        ...

    def may_continue(self, trial: Trial, history: History) -> bool:
        """Whether a paused trial may still be promoted; where not, it is stopped and its state is removed."""
        ...


DEFAULT_TRIALS = 20
"""How many trials a search gets where no budget is given and the strategy knows no end of its own."""


def bounded(budget: Budget) -> bool:
    """Whether the budget ends every search by itself; a `target` alone may never be reached."""
    return any(limit is not None for limit in (budget.trials, budget.time, budget.epochs, budget.patience))


def trial_limit(experiment: Experiment) -> int | None:
    """How many trials are started at most: `budget.trials`, or without any budget 20; None: no such limit.

    `grid`, `hyperband` and `guided` end by themselves (the whole space, one iteration, all steps), `bayes_opt` after
    its `iterations`.
    """
    strategy = experiment.strategy
    if isinstance(strategy, BayesOpt) and strategy.iterations is not None:
        own = strategy.initial_points + strategy.iterations
        return min(own, experiment.budget.trials or own)
    if bounded(experiment.budget) or strategy.ends:
        return experiment.budget.trials
    return DEFAULT_TRIALS


def order_is_free(experiment: Experiment) -> bool:
    """Whether each trial is trained in one go on a point that no result can change, so that any order will do."""
    return experiment.strategy.fixed and experiment.budget.patience is None


def check(experiment: Experiment, space: Space) -> None:
    """Raise `SpecError`, with every problem, where the strategy can't serve the space."""
    problems = list(unserved(experiment.strategy.name, space.domains))
    if isinstance(experiment.strategy, Guided):
        problems += miscast(experiment, space.domains)
    if problems:
        raise SpecError(*problems)
