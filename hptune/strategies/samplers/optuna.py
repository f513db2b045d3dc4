"""Optuna's samplers: the one place that knows how they are driven.

Each question is put to a fresh sampler, seeded from the number of the trial, over a fresh study whose trials are those
of the history; nothing that Optuna writes into its study outlives the question. Two samplers do keep state there:
CMA-ES pickles it into the attributes of trials, NSGA-II numbers generations. For them the journal is followed in its
order and each trial that started is asked for again, so that their state comes out the same.

- A finished trial is complete, one that runs is running (a constant liar keeps TPE away from it), and a failed one is
  pruned before its first report, which TPE takes for worse than any other; CMA-ES and NSGA-II pass it over.
- Numbers on a list (steps, ordered choices) are shown as the whole numbers from 0, other choices as categories of
  such numbers, so that None, True, 1 and 1.0 stay what they are.
- Conditions are what Optuna calls define-by-run: a parameter that is not active is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, QMCSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hptune.base.seeds import derive
from hptune.base.trial import ENDED, Trial, Value, Values
from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import CmaEs, Nsga2, Qmc, Tpe
from hptune.experiment.space.conditions import Conditions
from hptune.experiment.space.space import ChoiceDomain, Domain, FloatDomain, IntDomain, Space
from hptune.run.history import History
from hptune.strategies.follow import Follower
from hptune.strategies.sampler import RESULTS, Point, Setup
from hptune.strategies.samplers.calm import calm

Options: TypeAlias = Tpe | CmaEs | Qmc | Nsga2

Attributes: TypeAlias = dict[str, Any]
"""The state that a sampler keeps, by its own keys."""

_THEN = datetime(2000, 1, 1)  # Optuna wants a time; no sampler reads it


# --- how a space is shown to a sampler ------------------------------------------------------------------------------


class _Code(Protocol):
    """How a domain is shown."""

    distribution: BaseDistribution

    def encode(self, value: Value) -> Value: ...

    def decode(self, raw: Any) -> Value: ...


class _Plain:
    """A domain that Optuna has too."""

    def __init__(self, domain: FloatDomain | IntDomain) -> None:
        self._domain = domain
        self.distribution: BaseDistribution = (
            FloatDistribution(domain.min, domain.max, log=bool(domain.log))
            if isinstance(domain, FloatDomain)
            else IntDistribution(domain.min, domain.max, log=bool(domain.log))
        )

    def encode(self, value: Value) -> Value:
        return self._inside(value)

    def decode(self, raw: Any) -> Value:
        """The value as plain Python, inside the range that a logarithm may have rounded it over."""
        return self._inside(float(raw) if isinstance(self._domain, FloatDomain) else int(raw))

    def _inside(self, value: Any) -> Value:
        """A reversed logarithmic scale is shown mirrored, as a plain one: Optuna has no other."""
        low, high = self._domain.min, self._domain.max
        mirrored = low + high - value if self._domain.log == "reverse" else value
        number: Value = min(max(mirrored, low), high)
        return number


class _Indexed:
    """A domain of listed values, which the sampler sees as the whole numbers from 0, in order or as categories."""

    def __init__(self, domain: Domain, values: Sequence[Value]) -> None:
        self._domain, self._values = domain, values
        ordered = not isinstance(domain, ChoiceDomain) or domain.ordered
        self.distribution: BaseDistribution = (
            IntDistribution(0, len(values) - 1) if ordered else CategoricalDistribution(range(len(values)))
        )

    def encode(self, value: Value) -> int:
        return int(self._domain.to_unit(value) * len(self._values))

    def decode(self, raw: Any) -> Value:
        return self._values[int(raw)]


def _code(domain: Domain) -> _Plain | _Indexed:
    values = domain.values()
    if values is None or (isinstance(domain, IntDomain) and domain.log):
        assert not isinstance(domain, ChoiceDomain), "a choice has a list"
        return _Plain(domain)
    return _Indexed(domain, values)


class Coding:
    """A space as Optuna's distributions, and points of it there and back."""

    def __init__(self, space: Space, code: Callable[[Domain], _Code | None] = lambda _: None) -> None:
        """code: how a domain is shown; None: as below."""
        self.space = space
        self._codes: dict[str, _Code] = {name: code(domain) or _code(domain) for name, domain in space.domains.items()}
        self.distributions = {name: code.distribution for name, code in self._codes.items()}

    def trial(
        self,
        number: int,
        values: Values,
        *,
        state: TrialState,
        scores: Sequence[float] | None = None,
        attributes: Attributes | None = None,
    ) -> FrozenTrial:
        """A trial as Optuna has it. scores: one an objective, of a trial that is complete."""
        return FrozenTrial(
            number=number,
            trial_id=number,
            state=state,
            value=None,
            values=scores,
            datetime_start=_THEN,
            datetime_complete=_THEN if state.is_finished() else None,
            params={name: self._codes[name].encode(value) for name, value in values.items()},
            distributions={name: self.distributions[name] for name in values},
            user_attrs={},
            system_attrs=attributes or {},
            intermediate_values={},
        )

    def point(self, raw: Callable[[str, BaseDistribution], Any]) -> Point:
        """The active parameters in the space's order; `raw` says each as Optuna does."""

        def pick(name: str, _: Domain) -> Value:
            code = self._codes[name]
            return code.decode(raw(name, code.distribution))

        return self.space.choose(pick)


# --- one question ---------------------------------------------------------------------------------------------------


class _Storage(optuna.storages.InMemoryStorage):
    """Optuna's in-memory storage over given trials; what samplers write into it can be read."""

    def __init__(self, trials: Sequence[FrozenTrial], books: Attributes) -> None:
        super().__init__()
        self._shown = trials
        self.books = dict(books)
        self.attributes: Attributes = {}

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:  # noqa: ARG002
        return [trial for trial in self._shown if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:  # noqa: ARG002
        self.attributes[key] = value

    def get_study_system_attrs(self, study_id: int) -> Attributes:  # noqa: ARG002
        return self.books

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: ARG002
        self.books[key] = value


class _Answer(NamedTuple):
    """A suggested point, and what the sampler wrote down of the trial and of the whole study."""

    point: Point
    attributes: Attributes
    books: Attributes


class _Qmc(QMCSampler):
    """Optuna's, with the number of the trial in place of its own count of points."""

    def __init__(self, number: int, **options: Any) -> None:
        super().__init__(**options)
        self._number = number

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:  # noqa: ARG002
        return self._number


@contextmanager
def quietly() -> Iterator[None]:
    """No warning that an option is experimental, no word that a study was made, one thread."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with calm():
            yield
    finally:
        optuna.logging.set_verbosity(before)


# --- the sampler ----------------------------------------------------------------------------------------------------


class OptunaSampler:
    """The points of one of Optuna's samplers. What it keeps between questions are caches of the history."""

    def __init__(
        self,
        experiment: Experiment,
        space: Space,
        *,
        options: Options,
    ) -> None:
        self._seed = experiment.seed
        self._options = options
        self._coding = Coding(space)
        conditions = Conditions(space.domains)
        self._always = {name for name in space.domains if conditions.always(name)}
        self._conditional = len(self._always) < len(space.domains)
        self._epochs: int | None = None
        self._follower = Follower(self._forget, started=self._write_down, reported=self._finish)

    def suggest(self, history: History, epochs: int | None = None) -> Point:
        """The values of trial number `len(history.trials)`.

        epochs: learn from the scores after so many epochs, of the trials that got there (None: from each trial's own).
        """
        if epochs != self._epochs:
            self._epochs = epochs
            self._follower.restart(history)
        with quietly():
            self._follower.follow(history)
            return self._ask(len(history.trials), self._running(history)).point

    # --- following the history ----------------------------------------------------------------------------------

    def _forget(self, history: History | None) -> None:
        self._directions = [
            StudyDirection.MAXIMIZE if objective.goal == "maximize" else StudyDirection.MINIMIZE
            for objective in (history.objectives if history is not None else ())
        ]
        self._finished: dict[int, FrozenTrial] = {}
        self._attributes: dict[int, Attributes] = {}  # what the sampler wrote down of trials that run
        self._books: Attributes = {}  # what it wrote down of the study
        # Trials of earlier runs stand before the first; to NSGA-II they are of its first generation.
        if history is None:
            return
        for trial in history.earlier:
            if isinstance(self._options, Nsga2):
                self._attributes[trial.number] = {NSGAIISampler._get_generation_key(): 0}
            self._finish(trial, history)

    def _write_down(self, number: int, history: History) -> None:  # noqa: ARG002
        """Recreate what a sampler that keeps state wrote when it was asked for this trial."""
        if isinstance(self._options, CmaEs | Nsga2):
            answer = self._ask(number, [])
            self._attributes[number], self._books = answer.attributes, answer.books

    def _finish(self, trial: Trial, history: History) -> None:
        attributes = self._attributes.pop(trial.number, None)
        scores = history.scores(trial, self._epochs)
        if trial.state in ENDED and scores is None:
            self._finished[trial.number] = self._coding.trial(trial.number, trial.values, state=TrialState.PRUNED)
        elif scores is not None:
            self._finished[trial.number] = self._coding.trial(
                trial.number,
                trial.values,
                state=TrialState.COMPLETE,
                scores=list(scores.values()),
                attributes=attributes,
            )

    def _running(self, history: History) -> list[FrozenTrial]:
        return [
            self._coding.trial(trial.number, trial.values, state=TrialState.RUNNING)
            for trial in history.running()
            if trial.number not in self._finished  # it has its score after `epochs`, and is trained on
        ]

    # --- asking -------------------------------------------------------------------------------------------------

    def _ask(self, number: int, running: list[FrozenTrial]) -> _Answer:
        """What a fresh sampler proposes for trial `number`, given the finished trials and those that run."""
        seen = sorted([*self._finished.values(), *running], key=lambda trial: trial.number)
        storage = _Storage(seen, self._books)
        study = optuna.create_study(storage=storage, directions=self._directions)
        sampler = self._sampler(number)
        trial = self._coding.trial(number, {}, state=TrialState.RUNNING)
        sampler.before_trial(study, trial)
        relative = sampler.sample_relative(study, trial, self._together(sampler, study, trial))

        def raw(name: str, distribution: BaseDistribution) -> Any:
            if name in relative:
                return relative[name]
            return sampler.sample_independent(study, trial, name, distribution)

        return _Answer(self._coding.point(raw), storage.attributes, storage.books)

    def _together(self, sampler: BaseSampler, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are sampled together; what Optuna would find by going through every trial."""
        kinds = {name: kind for name, kind in sorted(self._coding.distributions.items()) if not kind.single()}
        always = {name: kind for name, kind in kinds.items() if name in self._always}
        match self._options:
            case Tpe() if len(self._directions) > 1:
                return {}
            case Tpe() if self._conditional:
                return sampler.infer_relative_search_space(study, trial)  # it has groups, and remembers them
            case Qmc():
                return kinds  # a parameter has its coordinate though it be inactive
            case CmaEs():
                return {n: k for n, k in always.items() if not isinstance(k, CategoricalDistribution)}
            case _:
                return always

    def _sampler(self, number: int) -> BaseSampler:
        seed = derive(self._seed, "suggest", number)
        match self._options:
            case Tpe(initial_points=initial, candidates=candidates):
                enough = initial if self._epochs is None else min(initial, RESULTS)
                group = self._conditional and len(self._directions) == 1  # else each parameter is taken by itself
                return TPESampler(n_startup_trials=enough, n_ei_candidates=candidates, group=group, seed=seed)
            case CmaEs(population=population):
                return CmaEsSampler(popsize=population, seed=seed, warn_independent_sampling=False)
            case Nsga2(population=population, crossover=crossover, mutation=mutation):
                return NSGAIISampler(
                    population_size=population, crossover_prob=crossover, mutation_prob=mutation, seed=seed
                )
            case Qmc(sequence=sequence):
                fixed = derive(self._seed, "suggest")  # one sequence for the whole search
                return _Qmc(number, qmc_type=sequence, scramble=True, seed=fixed)
        raise AssertionError(f"{self._options.name} has no sampler here")


def sampler(setup: Setup) -> OptunaSampler:
    """`strategy: tpe`, `cmaes`, `qmc` and `nsga2`."""
    return OptunaSampler(setup.experiment, setup.space, options=setup.options)
