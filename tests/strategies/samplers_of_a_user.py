"""Optuna samplers as a user may write them, and as Optuna's docs do: all of them keep something."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class Independent(BaseSampler):
    """Asked parameter by parameter."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        low, high = param_distribution.low, param_distribution.high
        value = low + (high - low) * self.share(study, trial)
        return value if isinstance(param_distribution, FloatDistribution) else round(value)

    def share(self, study: Study, trial: FrozenTrial) -> float:
        raise NotImplementedError


class Counts(Independent):
    """Keeps its place in itself."""

    def __init__(self) -> None:
        self._asked = 0

    def share(self, study: Study, trial: FrozenTrial) -> float:
        self._asked += 1
        return (self._asked * 0.37) % 1


class Learns(Independent):
    """Keeps what it is told after each trial."""

    def __init__(self) -> None:
        self._sum = 0.0

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._sum += 1.0 if values is None else float(values[0])

    def share(self, study: Study, trial: FrozenTrial) -> float:
        return (self._sum * 0.61 + 0.1 * len(trial.params)) % 1


class NearTheBest(Independent):
    """Asks the study for its best trial, and the running one for its number."""

    def share(self, study: Study, trial: FrozenTrial) -> float:
        if not any(one.state == TrialState.COMPLETE for one in study.trials):
            return 0.3
        assert study.trials[-1].number == trial.number
        return float(study.best_value * 0.7 + 0.013 * trial.number) % 1


class InTheStudy(Independent):
    """Keeps its place in the study's and the trial's attributes."""

    def share(self, study: Study, trial: FrozenTrial) -> float:
        place = study.user_attrs.get("place", 0) + 1
        study.set_user_attr("place", place)
        study._storage.set_trial_system_attr(trial._trial_id, "place", place)
        earlier = [one.system_attrs.get("place", 0) for one in study.trials]
        return float(0.29 * place + 0.01 * sum(earlier)) % 1


class Shared(Independent):
    """Draws from the shared generators."""

    def share(self, study: Study, trial: FrozenTrial) -> float:
        return (random.random() + float(np.random.rand())) % 1


class Annealing(BaseSampler):
    """From Optuna's tutorial on user-defined samplers."""

    def __init__(self, temperature: float = 100.0, seed: int | None = None) -> None:
        self._rng = np.random.RandomState(seed)
        self._temperature = temperature
        self._current: FrozenTrial | None = None

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        if not search_space:
            return {}
        previous = study.trials[-2]
        if previous.state != TrialState.COMPLETE:
            return {}
        assert previous.value is not None
        if self._rng.uniform(0, 1) <= self._chance(study, previous.value):
            self._current = previous
        params = {}
        assert self._current is not None
        for name, distribution in search_space.items():
            current, width = self._current.params[name], (distribution.high - distribution.low) * 0.1
            low, high = max(distribution.low, current - width), min(distribution.high, current + width)
            params[name] = self._rng.uniform(low, high)
        self._temperature *= 0.9
        return params

    def _chance(self, study: Study, value: float) -> float:
        if self._current is None or self._current.value is None:
            return 1.0
        return 1.0 if value < self._current.value else float(np.exp((self._current.value - value) / self._temperature))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        trials = [one for one in study.trials if one.state == TrialState.COMPLETE]
        return dict(trials[0].distributions) if trials else {}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        return RandomSampler(seed=self._rng.randint(2**31)).sample_independent(
            study, trial, param_name, param_distribution
        )
