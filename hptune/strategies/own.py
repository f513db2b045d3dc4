"""Strategies by their class: `strategy: {name: python, strategy: module:Class}`, and those of other packages.

The class has the methods of a Strategy. It is made of the experiment and the space (and its options, as keywords), and
asked as hptune's own are. What holds for every strategy holds for it too: `enqueue` comes first, its points are points
of the space, none comes twice, and the number of trials is bounded.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from hptune.base.errors import KeyPath, RunError, spec_error
from hptune.base.trial import Trial, Values
from hptune.base.user_code import load_object
from hptune.experiment.recipe import full_epochs
from hptune.experiment.sections import PythonStrategy, StrategyOptions
from hptune.experiment.space.space import point_key
from hptune.run.history import History
from hptune.strategies.sampled import Points
from hptune.strategies.sampler import Setup
from hptune.strategies.strategy import Continue, Decision, Done, Start, Wait


class OwnStrategy:
    """A strategy by its class, held to the rules.

    reference: the class, `module:Class`. keywords: its options. place: where the YAML names it. Raises SpecError where
    there is none of it, or it can't be made.
    """

    def __init__(self, setup: Setup, reference: str, *, keywords: Mapping[str, Any], place: KeyPath) -> None:
        self._name, self._setup = reference, setup
        self._points = Points(setup.experiment, setup.space, self, first=setup.first)  # for the rules, not for points
        loaded = load_object(reference, setup.folder, place)
        lacks = [name for name in ("next", "may_continue") if not callable(getattr(loaded, name, None))]
        if not isinstance(loaded, type) or lacks:
            reason = f"{reference} must be a class with next(history) and may_continue(trial, history)"
            reason += f", and has no {lacks[0]}" if lacks else ""
            raise spec_error(f"{reason}. Add it, as hptune.strategies.strategy has it.", *place)
        try:
            self._inner: Any = loaded(setup.experiment, setup.space, **keywords)
        except Exception as error:  # the class is anybody's
            reason = f"{reference} can't be constructed: {type(error).__name__}: {error}"
            raise spec_error(f"{reason}. It is given the experiment, the space, and the options.", *place) from error

    def next(self, history: History) -> Decision:
        """The class's decision, checked; the points of `enqueue` come first.

        Raises `RunError` where the class raises, or decides what a strategy may not.
        """
        number = len(history.trials)
        if number < len(self._setup.first):
            point = self._setup.first[number]
            return Start(point, full_epochs(self._setup.experiment, point))
        end = self._points.end(history)
        if end is not None and not any(trial.state in ("running", "paused") for trial in history.trials):
            return end
        decision: Decision = self._call(lambda: self._inner.next(history), history)
        match decision:  # which is anything, whatever its type says
            case Start():
                return end if end is not None else self._start(decision, history)
            case Continue():
                return self._continue(decision, history)
            case Wait():
                if not any(True for _ in history.running()):
                    return Done(f"{self._name} waits for trials, and none is running")
            case Done(why):
                return Done(self._why(why, history) or f"{self._name} has ended it")
            case _:
                raise self._error(history, f"must give Start, Continue, Wait or Done, gave {decision!r}")
        return decision

    def suggest(self, history: History) -> NoReturn:  # noqa: ARG002  # a Sampler's
        """Never called: `next` gives the points."""
        raise AssertionError("its points come by `next`")

    def may_continue(self, trial: Trial, history: History) -> bool:
        """What the class answers, as a bool. Raises `RunError` where it raises."""
        return bool(self._call(lambda: self._inner.may_continue(trial, history), history))

    def _start(self, decision: Start, history: History) -> Start:
        space = self._setup.space
        if not isinstance(decision.values, Mapping):
            raise self._error(history, f"must give values by name, gave {decision.values!r}")
        values = dict(decision.values)
        wrong = [
            name
            for name, value in values.items()
            if name not in space.domains or not space.domains[name].contains(value)
        ]
        if wrong:
            raise self._error(history, f"{wrong[0]} = {values[wrong[0]]!r} is no value of the search space")
        missing = [name for name in space.defaults() if name not in values and not space.domains[name].when]
        if missing:
            raise self._error(history, f"gave no {missing[0]}, which the search space always has")
        point = space.own(values)
        if not space.contains(point):
            raise self._error(history, f"{values!r} is no point of the search space: it holds what is not active")
        known = {point_key(trial.values): trial.number for trial in history.trials}
        if (twice := known.get(point_key(point))) is not None:
            raise self._error(history, f"gave the point of trial {twice} again")
        return Start(point, self._epoch(decision.to_epoch, point, history), self._why(decision.why, history))

    def _continue(self, decision: Continue, history: History) -> Continue:
        trials, number = history.trials, self._whole(decision.trial, "a trial's number", history)
        if not 0 <= number < len(trials) or trials[number].state != "paused":
            raise self._error(history, f"trial {number} is not paused, and can't be trained on")
        to_epoch = self._epoch(decision.to_epoch, trials[number].values, history)
        if to_epoch <= trials[number].epochs:
            raise self._error(history, f"trial {number} is trained to epoch {trials[number].epochs} already")
        return Continue(number, to_epoch, self._why(decision.why, history))

    def _epoch(self, value: Any, point: Values, history: History) -> int:
        to_epoch, most = self._whole(value, "an epoch", history), full_epochs(self._setup.experiment, point)
        if not 1 <= to_epoch <= most:
            raise self._error(history, f"must train up to an epoch from 1 to training.epochs ({most}), gave {to_epoch}")
        return to_epoch

    def _whole(self, value: Any, what: str, history: History) -> int:
        try:
            if not isinstance(value, bool):
                return operator.index(value)
        except TypeError:
            pass
        raise self._error(history, f"{what} must be a whole number, got {value!r}")

    def _why(self, why: Any, history: History) -> str | None:
        if why is not None and not isinstance(why, str):
            raise self._error(history, f"why must be a text, got {why!r}")
        return why

    def _call(self, question: Callable[[], Any], history: History) -> Any:
        try:
            return question()
        except Exception as error:  # the class is anybody's
            raise self._error(history, f"raised {type(error).__name__}: {error}") from error

    def _error(self, history: History, reason: str) -> RunError:
        number = len(history.trials)
        return RunError(f"strategy: {self._name} for trial {number}: {reason}. Fix it and run the same command again.")


def strategy(setup: Setup, points: Callable[[], Points]) -> OwnStrategy:  # noqa: ARG001  # it has its own
    """The class that `strategy: {name: python, …}` names, or that another package's options do."""
    options: StrategyOptions = setup.options
    if isinstance(options, PythonStrategy):
        return OwnStrategy(setup, options.strategy, keywords=options.options, place=("strategy", "strategy"))
    keywords = {name: value for name, value in options if name != "name"}
    return OwnStrategy(setup, options.maker, keywords=keywords, place=("strategy", "name"))
