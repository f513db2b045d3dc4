"""KerasTuner's Oracles as samplers: the one place that knows how they are driven.

An Oracle is asked through `populate_space` alone, with its seed state derived from the number of the trial and what it
should know of other trials put in place; `create_trial` and `end_trial` lock, write files and count. Nothing is left to
an Oracle that it is known to get wrong (found in 1.4.8; tests/strategies/test_keras_tuner.py shows each):

- `seed=0` turns into a random seed: the seed state is set, never passed.
- A stepped float misses its end and its bucket, a choice holds one type and no None: `Coding` gives it indices.
- Points repeat and small spaces end early: `Points` (sampled.py) sees to both; the Oracle sees no tried point.
- Grid's linked list is lost on resume: the Oracle is asked for the successor of one point, its list holding that alone.
- Bayesian takes a running trial for superb and an infinite score for 0: it is shown every trial as finished, with a
  score that makes sense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from hptune.base.quiet import quietly
from hptune.base.seeds import derive
from hptune.base.trial import ENDED, Value, Values
from hptune.experiment.experiment import Experiment
from hptune.experiment.objective import Objective
from hptune.experiment.sections import Bayesian
from hptune.experiment.space.space import ChoiceDomain, Domain, FloatDomain, IntDomain, Space, point_key
from hptune.run.history import History
from hptune.strategies.sampler import Point, Setup
from hptune.strategies.samplers.calm import calm
from hptune.strategies.strategy import Done

ANY_SEED = 1
"""What Oracles are constructed with where the seed state is set before each question: anything but 0."""


@cache
def library() -> Any:
    """The KerasTuner module. Importing it imports TensorFlow: seconds, and much noise."""
    with quietly():
        import keras_tuner as module
    return module


def objective_of(objective: Objective) -> Any:
    """KerasTuner's Objective; the direction is ours, which it would guess from the name."""
    return library().Objective(objective.metric, "max" if objective.goal == "maximize" else "min")


# --- how a space is shown to an Oracle ------------------------------------------------------------------------------


class _Plain:
    """A domain that KerasTuner has too: the Oracle sees the values themselves."""

    def __init__(self, name: str, domain: Domain) -> None:
        self._name, self._domain = name, domain

    def parameter(self, conditions: list[Any]) -> Any:
        kinds = library().engine.hyperparameters
        domain = self._domain
        common = {"name": self._name, "default": domain.default_value(), "conditions": conditions}
        if isinstance(domain, ChoiceDomain):
            return kinds.Choice(values=list(domain.values()), **common)
        sampling = {False: "linear", True: "log", "reverse": "reverse_log"}[domain.log]
        common |= {"min_value": domain.min, "max_value": domain.max, "sampling": sampling}
        if isinstance(domain, FloatDomain):
            return kinds.Float(**common)
        return kinds.Int(step=None if domain.log else domain.step, **common)

    def encode(self, value: Value) -> Value:
        return value

    def decode(self, raw: Any) -> Value:
        """The value as plain Python. KerasTuner's logarithms may round it over an end, an Int's by 1."""
        domain = self._domain
        value: Value = raw.item() if hasattr(raw, "item") else raw  # numpy's scalars
        if isinstance(domain, FloatDomain) and isinstance(value, int | float):
            inside = min(max(float(value), domain.min), domain.max)
            close = 1e-9 * domain.max if domain.log == "reverse" else 0.0  # there it is a difference of large numbers
            value = inside if math.isclose(inside, value, rel_tol=1e-9, abs_tol=close) else value
        elif isinstance(domain, IntDomain) and domain.log and value in (domain.min - 1, domain.max + 1):
            value = min(max(value, domain.min), domain.max)
        return _member(self._name, domain, value)


class _Indexed:
    """A domain of listed values that the Oracle sees as the whole numbers from 0."""

    def __init__(self, name: str, domain: Domain, default: Value) -> None:
        self._name, self._domain = name, domain
        self._values: Sequence[Value] = domain.values() or ()
        self._index = {(type(value), value): i for i, value in enumerate(self._values)}
        self._default = self.encode(default)

    def parameter(self, conditions: list[Any]) -> Any:
        last = len(self._values) - 1
        kinds = library().engine.hyperparameters
        return kinds.Int(self._name, 0, last, default=self._default, conditions=conditions)

    def encode(self, value: Value) -> int:
        index = self._index.get((type(value), value))
        return index if index is not None else int(self._domain.to_unit(value) * len(self._values))

    def decode(self, raw: Any) -> Value:
        if not 0 <= raw < len(self._values):
            raise ValueError(f"{self._name} must be an index from 0 to {len(self._values) - 1}, got {raw!r}")
        return self._values[int(raw)]


class Coding:
    """A space as KerasTuner's `hyperparameters`, and points of it there and back.

    indexed: show every parameter as an index (they must all be listed); otherwise only those KerasTuner can't hold.
    """

    def __init__(self, space: Space, *, indexed: bool = False) -> None:
        self.space = space
        self._codes: dict[str, _Plain | _Indexed] = {
            name: _Indexed(name, domain, _first(domain)) if indexed else _code(name, domain)
            for name, domain in space.domains.items()
        }
        self.hyperparameters = library().HyperParameters()
        for name, domain in space.domains.items():
            # Not through `conditional_scope`, which knows one parent and its own parents alone.
            conditions = [self._condition(parent, wanted) for parent, wanted in domain.when.items()]
            self.hyperparameters.merge([self._codes[name].parameter(conditions)])

    def _condition(self, parent: str, wanted: Any) -> Any:
        from keras_tuner.src.engine.conditions import Parent  # it has no public name

        options = wanted if isinstance(wanted, list) else [wanted]
        return Parent(parent, [self._codes[parent].encode(option) for option in options])

    def encode(self, values: Values) -> dict[str, Value]:
        """A point of the space as KerasTuner holds it: indices for the parameters that are shown as one."""
        return {name: self._codes[name].encode(value) for name, value in values.items()}

    def decode(self, raw: Mapping[str, Any], missing: Callable[[str, Domain], Value] | None = None) -> Point:
        """The active parameters in the space's order; `missing` gives those that `raw` leaves out (none by default).

        Raises `ValueError` for what is no member of its domain.
        """

        def pick(name: str, domain: Domain) -> Value:
            if missing is not None and name not in raw:
                return missing(name, domain)
            return self._codes[name].decode(raw[name])

        return self.space.choose(pick)


def _code(name: str, domain: Domain) -> _Plain | _Indexed:
    if isinstance(domain, FloatDomain):
        plain = domain.values() is None
    elif isinstance(domain, ChoiceDomain):
        types = {type(value) for value in domain.values()}
        plain = len(types) == 1 and types <= {int, float, str}
    else:
        plain = True
    return _Plain(name, domain) if plain else _Indexed(name, domain, domain.default_value())


def _member(name: str, domain: Domain, value: Value) -> Value:
    if not domain.contains(value):
        raise ValueError(f"{name} must be one of {domain}, got {value!r}")
    return domain.own(value)


def _first(domain: Domain) -> Value:
    """What grid tries first: the default where one was given, else the first value, as KerasTuner does."""
    return domain.default_value() if "default" in domain.model_fields_set else (domain.values() or ())[0]


# --- the samplers ---------------------------------------------------------------------------------------------------


class RandomSampler:
    """Independent random points, from KerasTuner's RandomSearchOracle."""

    def __init__(self, experiment: Experiment, space: Space) -> None:
        self._seed = experiment.seed
        self._coding = Coding(space)
        self._oracle = library().oracles.RandomSearchOracle(hyperparameters=self._coding.hyperparameters, seed=ANY_SEED)

    def suggest(self, history: History) -> Point:
        """A random point; its seed follows from the number of the trial."""
        self._oracle._seed_state = derive(self._seed, "suggest", len(history.trials))
        return self._coding.decode(self._oracle.populate_space("next")["values"])


class GridSampler:
    """Every point in the order of KerasTuner's GridSearchOracle: defaults first, the last parameter turning fastest.

    skip: the points of `enqueue`, which the history holds first. All trials after them are the grid's own, so that the
    last of them says where it stands: nothing else has to be remembered or rebuilt on resume.
    """

    def __init__(self, space: Space, *, skip: Sequence[Point]) -> None:
        self._coding = Coding(space, indexed=True)
        self._skipped = len(skip)
        self._skip = {point_key(point) for point in skip}
        self._oracle = library().oracles.GridSearchOracle(hyperparameters=self._coding.hyperparameters, seed=ANY_SEED)

    def suggest(self, history: History) -> Point | Done:
        """The point after the last trial's, passing over those of `enqueue`; `Done` after the last one."""
        own = len(history.trials) > self._skipped
        point = self._after(history.trials[-1].values if own else None)
        while point is not None and point_key(point) in self._skip:
            point = self._after(point)
        return point if point is not None else Done("every point of the grid was tried")

    def _after(self, values: Values | None) -> Point | None:
        """The successor of a point (None: the first point), or None after the last."""
        from keras_tuner.src.tuners.gridsearch import LinkedList

        oracle = self._oracle
        oracle._ordered_ids = LinkedList()
        oracle.trials, oracle.start_order, oracle._populate_next = {}, [], []
        if values is not None:
            oracle.trials["last"] = _trial(self._coding.encode(values), "last")
            oracle.start_order, oracle._populate_next = ["last"], ["last"]
            oracle._ordered_ids.insert("last")
        raw = oracle.populate_space("next")["values"]
        return None if raw is None else self._coding.decode(raw)


class BayesianSampler:
    """KerasTuner's Gaussian process (BayesianOptimizationOracle), after some random points.

    A running trial is shown with the best of the scores so far (the constant liar that does best in Ginsbourger et al.
    2010, "Kriging is well-suited to parallelize optimization": with the median, what lies around a good point that runs
    is taken for bad); a failed one, or one whose score is infinite, with the worst, so that the search moves away.
    """

    def __init__(self, experiment: Experiment, space: Space) -> None:
        options = experiment.strategy
        assert isinstance(options, Bayesian)
        (objective,) = experiment.objectives
        self._seed = experiment.seed
        self._coding = Coding(space)
        self._initial = options.initial_points or max(3 * len(space.domains), 3)
        self._oracle = library().oracles.BayesianOptimizationOracle(
            objective=objective_of(objective),
            num_initial_points=self._initial,
            alpha=options.alpha,
            beta=options.beta,
            hyperparameters=self._coding.hyperparameters,
            seed=ANY_SEED,
        )

    def suggest(self, history: History) -> Point:
        """The Oracle's point after it was shown every trial; its seed follows from the number of the trial."""
        from numpy.random import RandomState

        oracle = self._oracle
        seed = derive(self._seed, "suggest", len(history.trials))
        oracle._seed_state, oracle._random_state = seed, RandomState(seed)
        oracle.trials = {str(number): trial for number, trial in enumerate(self._known(history))}
        with calm():  # the fit warns where few points lie on a line
            return self._coding.decode(oracle.populate_space("next")["values"])

    def _known(self, history: History) -> list[Any]:
        """The trials as the Oracle may see them: all with a finite score, or none while there are too few."""
        trials = [*history.earlier, *history.trials]
        scores = [history.score(trial) for trial in trials]
        finite = [score for score in scores if score is not None and math.isfinite(score)]
        if len(finite) < self._initial:
            return []
        worst = max(finite, key=history.objective.cost)
        lie = min(finite, key=history.objective.cost)
        known = []
        for trial, score in zip(trials, scores, strict=True):
            if score is None:
                score = worst if trial.state in ENDED else lie
            shown = _trial(self._coding.encode(trial.values), str(trial.number))
            shown.status = "COMPLETED"
            shown.score = score if math.isfinite(score) else worst
            known.append(shown)
        return known


def _trial(raw: dict[str, Value], trial_id: str) -> Any:
    """KerasTuner's Trial with these values; a space of its own, which costs a copy, is not looked at."""
    hps = library().HyperParameters()
    hps.values = raw
    return library().engine.trial.Trial(hyperparameters=hps, trial_id=trial_id)


def random(setup: Setup) -> RandomSampler:
    """`strategy: random`."""
    return RandomSampler(setup.experiment, setup.space)


def grid(setup: Setup) -> GridSampler:
    """`strategy: grid`."""
    return GridSampler(setup.space, skip=setup.first)


def bayesian(setup: Setup) -> BayesianSampler:
    """`strategy: bayesian`."""
    return BayesianSampler(setup.experiment, setup.space)
