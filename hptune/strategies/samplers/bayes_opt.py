"""The bayesian-optimization package as a sampler: the one place that knows how it is driven. An extra of hptune.

Every parameter is shown on the scale of its domain, as a number in [0, 1], so that one length of the Gaussian process's
kernel suits them all; a choice without an order as one 0/1 column for each value. The kernel sees listed values where
they are and nothing between them, so that it learns no slope where there are steps.

A fresh optimizer is made for each question and given every trial: a running one scores the best of those known (a
constant liar: Ginsbourger et al. 2010), a failed one the worst. A parameter that is not active stands at its default.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np
from bayes_opt import BayesianOptimization, acquisition
from bayes_opt.parameter import BayesParameter, CategoricalParameter, FloatParameter

from hptune.base.seeds import derive
from hptune.base.trial import ENDED, Value, Values
from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import BayesOpt
from hptune.experiment.space.space import ChoiceDomain, Domain, Space
from hptune.run.history import History
from hptune.strategies.sampler import Point, Setup
from hptune.strategies.samplers.calm import calm


class _ListedParameter(FloatParameter):
    """`count` values in order, at equal distances in (0, 1)."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(name, (0.0, 1.0))
        self._count = count

    def kernel_transform(self, value: Any) -> Any:
        bucket = np.clip(np.floor(np.asarray(value) * self._count), 0, self._count - 1)
        return (bucket + 0.5) / self._count


class _Category(CategoricalParameter):
    """A choice without an order. The kernel rounds to one value, so that gradients along it are 0: as good as none."""

    @property
    def is_continuous(self) -> bool:
        """Whether the gradient search may run: otherwise the package turns to one that takes seconds."""
        return True


def _parameter(name: str, domain: Domain) -> BayesParameter:
    values = domain.values()
    if isinstance(domain, ChoiceDomain) and not domain.ordered and len(domain.values()) > 1:
        return _Category(name, [str(i) for i in range(len(domain.values()))])
    return FloatParameter(name, (0.0, 1.0)) if values is None else _ListedParameter(name, len(values))


class BayesOptSampler:
    """Random points first, then those with the best acquisition."""

    def __init__(self, experiment: Experiment, space: Space) -> None:
        assert isinstance(experiment.strategy, BayesOpt)
        self._options = experiment.strategy
        self._seed = experiment.seed
        self._space = space
        self._parameters = {name: _parameter(name, domain) for name, domain in space.domains.items()}

    def suggest(self, history: History) -> Point:
        """A random point until `initial_points` trials are known, then the one with the best acquisition."""
        seed = derive(self._seed, "suggest", len(history.trials))
        known = self._known(history)
        if len(known) < self._options.initial_points or not self._parameters:
            rng = Random(seed)
            return self._space.choose(lambda _, domain: domain.from_unit(rng.random()))
        with calm():  # the fit warns where few points lie on a line
            optimizer = BayesianOptimization(
                f=None,
                pbounds=self._parameters,  # type: ignore[arg-type]  # its own parameters are not in the type
                acquisition_function=self._acquisition(),
                random_state=seed,
                verbose=0,
                allow_duplicate_points=True,
            )
            for values, cost in known:
                optimizer.register(self._encode(values), -cost)
            raw = optimizer.suggest()
        return self._space.choose(lambda name, domain: self._decode(domain, raw[name]))

    def _acquisition(self) -> Any:
        options = self._options
        if options.acquisition == "ucb":
            return acquisition.UpperConfidenceBound(kappa=options.kappa if options.kappa is not None else 2.576)
        kinds = {"ei": acquisition.ExpectedImprovement, "poi": acquisition.ProbabilityOfImprovement}
        return kinds[options.acquisition](xi=options.xi if options.xi is not None else 0.01)

    def _known(self, history: History) -> list[tuple[Values, float]]:
        """The trials and their costs, or none while there are no scores."""
        trials = [*history.earlier, *history.trials]
        scores = [history.score(trial) for trial in trials]
        finite = [history.objective.cost(score) for score in scores if score is not None and math.isfinite(score)]
        if not finite:
            return []
        worst, lie = max(finite), min(finite)
        known = []
        for trial, score in zip(trials, scores, strict=True):
            cost = history.objective.cost(score) if score is not None else worst if trial.state in ENDED else lie
            known.append((trial.values, cost if math.isfinite(cost) else worst))
        return known

    def _encode(self, values: Values) -> dict[str, Any]:
        whole = {name: values.get(name, domain.default_value()) for name, domain in self._space.domains.items()}
        return {name: self._coordinate(name, value) for name, value in whole.items()}

    def _coordinate(self, name: str, value: Value) -> Any:
        domain = self._space.domains[name]
        at = domain.to_unit(value)
        return str(int(at * len(domain.values() or ()))) if isinstance(self._parameters[name], _Category) else at

    @staticmethod
    def _decode(domain: Domain, raw: Any) -> Value:
        if isinstance(raw, str):
            return (domain.values() or ())[int(raw)]
        return domain.from_unit(min(max(float(raw), 0.0), 1.0))


def sampler(setup: Setup) -> BayesOptSampler:
    """`strategy: bayes_opt`."""
    return BayesOptSampler(setup.experiment, setup.space)
