"""Which class serves which strategy of the YAML, imported when it is asked for: libraries take seconds to load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import (
    Asha,
    Bayesian,
    BayesOpt,
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
from hptune.experiment.space.space import Space
from hptune.strategies.sampler import Point, Sampler
from hptune.strategies.strategy import Strategy, check


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
