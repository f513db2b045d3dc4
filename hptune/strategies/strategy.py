"""The Strategy protocol and its decisions; which class serves which name stands in `choose`.

Nothing heavy is imported here: `check` and what else `hptune validate` and `hptune plan` ask is plain arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from hptune.base.errors import SpecError
from hptune.base.trial import Trial, Values
from hptune.experiment.checks.search import unserved
from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import (
    Asha,
    Bayesian,
    BayesOpt,
    Budget,
    CmaEs,
    Grid,
    Guided,
    Hyperband,
    KerasTunerOracle,
    Narrowing,
    Nsga2,
    Qmc,
    Random,
    Tpe,
)
from hptune.experiment.space.roles import miscast
from hptune.experiment.space.space import Space
from hptune.run.history import History

if TYPE_CHECKING:
    from hptune.strategies.sampled import Point, Sampler


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
    if bounded(experiment.budget) or isinstance(strategy, Grid | Hyperband | Guided):
        return experiment.budget.trials
    return DEFAULT_TRIALS


def order_is_free(experiment: Experiment) -> bool:
    """Whether each trial is trained in one go on a point that no result can change, so that any order will do."""
    return isinstance(experiment.strategy, Random | Grid | Qmc) and experiment.budget.patience is None


def load_library(experiment: Experiment) -> None:
    """Import what the strategy needs, which may take seconds; whoever waits for something else calls it early."""
    match getattr(experiment.strategy, "sampler", experiment.strategy):
        case Tpe() | CmaEs() | Qmc() | Nsga2():
            from hptune.strategies.samplers import optuna  # noqa: F401
        case BayesOpt():
            from hptune.strategies.samplers import bayes_opt  # noqa: F401
        case Random() | Grid() | Bayesian() | KerasTunerOracle():
            from hptune.strategies.samplers import keras_tuner

            keras_tuner.library()


def check(experiment: Experiment, space: Space) -> None:
    """Raise `SpecError`, with every problem, where the strategy can't serve the space."""
    problems = list(unserved(experiment.strategy.name, space.domains))
    if isinstance(experiment.strategy, Guided):
        problems += miscast(experiment, space.domains)
    if problems:
        raise SpecError(*problems)


def choose(experiment: Experiment, space: Space, *, folder: Path = Path()) -> Strategy:
    """The strategy that the experiment names, for `space` (the YAML's and what a model's code declares, joined).

    `experiment.objective` is filled in. `folder`: the YAML file's, where a module that it names is looked for first.
    Raises `SpecError` where the strategy can't serve the space or the Oracle that it names can't be used.
    """
    from hptune.strategies.asha import AshaStrategy
    from hptune.strategies.hyperband import HyperbandStrategy
    from hptune.strategies.sampled import Points, Sampled, first_points

    check(experiment, space)
    first = first_points(experiment, space)
    sampler = _sampler(experiment, space, folder=folder, first=first)
    points = Points(experiment, space, sampler, first=first)
    match experiment.strategy:
        case Hyperband():
            return HyperbandStrategy(experiment, space, points)
        case Asha():
            return AshaStrategy(experiment, space, points)
        case _:
            return Sampled(experiment, points, why=getattr(sampler, "why", None))


def _sampler(experiment: Experiment, space: Space, *, folder: Path, first: Sequence[Point]) -> Sampler:
    """Where the strategy's points come from. first: those that come before them."""
    from hptune.strategies.samplers import keras_tuner

    options = experiment.strategy
    source = options.sampler if isinstance(options, Hyperband | Asha) else options
    match source:
        case Random():
            return keras_tuner.RandomSampler(experiment, space)
        case Grid():
            return keras_tuner.GridSampler(space, skip=first)
        case Bayesian():
            return keras_tuner.BayesianSampler(experiment, space)
        case KerasTunerOracle():
            from hptune.strategies.samplers.oracle import OracleSampler

            return OracleSampler(experiment, space, folder=folder, enqueued=len(first))
        case BayesOpt():
            from hptune.strategies.samplers.bayes_opt import BayesOptSampler

            return BayesOptSampler(experiment, space)
        case Guided():
            from hptune.strategies.guided import GuidedSampler

            return GuidedSampler(experiment, space)
        case Narrowing():
            from hptune.strategies.samplers.narrowing import NarrowingSampler

            return NarrowingSampler(experiment, space)
        case Tpe() | CmaEs() | Qmc() | Nsga2():
            from hptune.strategies.plan import rungs_of
            from hptune.strategies.samplers.by_rung import ByRung
            from hptune.strategies.samplers.optuna import OptunaSampler

            sampler = OptunaSampler(experiment, space, source)
            return sampler if source is options else ByRung(sampler, rungs_of(experiment, space))
    raise AssertionError(f"{source.name} is no sampler")
