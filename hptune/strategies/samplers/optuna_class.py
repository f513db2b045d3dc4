"""A sampler class that the user names, driven as Optuna's own `ask` and `tell` drive it.

One object over one study, which the history is followed into in the journal's order: a trial that starts is asked for,
one that has ended is told. What the object keeps in itself, in the study or in its trials so comes out the same in a
search that was stopped; what it draws from shared generators follows from the number of the trial. Where a trial has
other values than were proposed for it (those of `enqueue`, say), the study has these. A failed trial is told as failed.

The class sees the space as `suggest_float`, `suggest_int` and `suggest_categorical` would declare it.
"""

from __future__ import annotations

import copy
from inspect import signature
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from hptune.base import seeds
from hptune.base.errors import RunError, spec_error
from hptune.base.trial import ENDED, Trial, Value, Values
from hptune.base.user_code import load_object
from hptune.experiment.space.space import ChoiceDomain, Domain, FloatDomain
from hptune.run.history import History
from hptune.strategies.follow import Follower
from hptune.strategies.sampler import Point, Setup
from hptune.strategies.samplers.optuna import Coding, quietly
from hptune.strategies.strategy import Done


class _AsDeclared:
    """A domain that Optuna has too, or a choice."""

    def __init__(self, distribution: BaseDistribution) -> None:
        self.distribution = distribution

    def encode(self, value: Value) -> Value:
        return value

    def decode(self, raw: Any) -> Value:
        value: Value = raw
        return value


class _Numbered:
    """A choice among values that Python takes for equal (1 and True), by their places in the list."""

    def __init__(self, domain: ChoiceDomain) -> None:
        self._domain, self._values = domain, domain.values()
        self.distribution: BaseDistribution = CategoricalDistribution(range(len(self._values)))

    def encode(self, value: Value) -> int:
        return int(self._domain.to_unit(value) * len(self._values))

    def decode(self, raw: Any) -> Value:
        return self._values[int(raw)]


def _declared(domain: Domain) -> _AsDeclared | _Numbered | None:
    """None: Optuna has no such domain (a logarithm with steps or reversed), which is shown as to the other samplers."""
    if isinstance(domain, ChoiceDomain):
        values = domain.values()
        distinct = all(one != other for i, one in enumerate(values) for other in values[:i])
        return _AsDeclared(CategoricalDistribution(values)) if distinct else _Numbered(domain)
    if domain.log == "reverse" or (domain.log and domain.step is not None):
        return None
    log, greatest = bool(domain.log), domain.greatest
    if isinstance(domain, FloatDomain):
        return _AsDeclared(FloatDistribution(domain.min, greatest, log=log, step=domain.step))
    return _AsDeclared(IntDistribution(domain.min, greatest, log=log, step=domain.step or 1))


class UserSampler:
    """The points of a sampler class that the user names.

    Raises SpecError where there is no such class, or it can't be made, and RunError where it fails at a question.
    """

    def __init__(self, setup: Setup) -> None:
        options = setup.options
        self._name, self._options, path = options.sampler, options.options, ("strategy", "sampler")
        loaded = load_object(self._name, setup.folder, path)
        if not (isinstance(loaded, type) and issubclass(loaded, BaseSampler)):
            message = f"must be a subclass of optuna.samplers.BaseSampler, got {loaded!r}. Name such a class."
            raise spec_error(message, *path)
        self._class = loaded
        self._seed, self._first = setup.experiment.seed, len(setup.first)
        self._coding = Coding(setup.space, _declared)
        try:
            self._make()
        except Exception as error:  # the class may be anybody's
            message = f"{self._name} can't be constructed: {type(error).__name__}: {error}"
            way = "It is given the options as keywords, and a seed where it takes one"
            raise spec_error(f"{message}. {way}.", "strategy", "options") from error
        self._follower = Follower(self._begin, started=self._start, reported=self._tell)

    def suggest(self, history: History) -> Point | Done:
        """As `Sampler` has it. Done where the class has stopped the study. Raises `RunError` where the class raises."""
        number = len(history.trials)
        try:
            with quietly():
                self._follower.follow(history)
                if self._is_stale:  # what was asked for before the last reports came was not tried then
                    self._follower.restart(history)
                    self._follower.follow(history)
                if number not in self._asked:
                    self._ask(number)
        except Exception as error:  # the class may be anybody's
            reason = f"strategy.sampler: {self._name} for trial {number} raised {type(error).__name__}: {error}"
            raise RunError(f"{reason}. Fix it and run the same command again.") from error
        return Done(f"{self._name} has stopped the study") if self._has_stopped else self._points[number]

    def _make(self) -> BaseSampler:
        takes = "seed" in signature(self._class.__init__).parameters and "seed" not in self._options
        seed = seeds.derive(self._seed, "suggest")
        with quietly(), seeds.drawing(seed):
            return self._class(**{**({"seed": seed} if takes else {}), **copy.deepcopy(self._options)})

    # --- following the history --------------------------------------------------------------------------------------

    def _begin(self, history: History | None) -> None:
        self._asked: dict[int, optuna.Trial] = {}
        self._points: dict[int, Point] = {}
        self._waiting: int | None = None
        self._is_stale = self._has_stopped = False
        if history is None:
            return
        with quietly():
            goals = [objective.goal for objective in history.objectives]
            self._study = optuna.create_study(sampler=self._make(), directions=goals)
            self._study._thread_local.in_optimize_loop = True  # so that the class may stop it
            for trial in history.earlier:
                if (scores := history.scores(trial)) is not None:
                    values = [*scores.values()]
                    shown = self._coding.trial(0, trial.values, state=TrialState.COMPLETE, scores=values)
                    self._study.add_trial(shown)

    def _start(self, number: int, history: History) -> None:
        values = history.trials[number].values
        if number < self._first:
            self._study.enqueue_trial(self._coding.trial(number, values, state=TrialState.RUNNING).params)
        if number not in self._asked:
            self._ask(number)
        self._waiting = None
        if dict(values) != self._points[number]:
            self._put(self._asked[number], values)

    def _ask(self, number: int) -> None:
        with seeds.drawing(seeds.derive(self._seed, "suggest", number)):
            trial = self._study.ask()
            self._points[number] = self._coding.space.own(self._coding.point(trial._suggest))
        self._asked[number], self._waiting = trial, number
        self._has_stopped = self._study._stop_flag

    def _put(self, trial: optuna.Trial, values: Values) -> None:
        """Let the study's trial have these values."""
        storage: Any = self._study._storage
        changed = copy.copy(storage._get_trial(trial._trial_id))
        shown = self._coding.trial(changed.number, values, state=TrialState.RUNNING)
        changed.params, changed.distributions = shown.params, shown.distributions
        storage._set_trial(trial._trial_id, changed)

    def _tell(self, trial: Trial, history: History) -> None:
        self._is_stale = self._is_stale or self._waiting is not None
        scores = history.scores(trial)
        asked = self._asked[trial.number]
        if self._study.trials[asked.number].state.is_finished() or (scores is None and trial.state not in ENDED):
            return
        with seeds.drawing(seeds.derive(self._seed, "told", trial.number)):
            if scores is None:
                self._study.tell(asked, state=TrialState.FAIL)
            else:
                self._study.tell(asked, [*scores.values()])
        self._has_stopped = self._study._stop_flag
