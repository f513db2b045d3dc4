"""`strategy: {name: keras_tuner, oracle: module:Class}`: any Oracle class as a sampler.

An Oracle may keep state between questions, so it alone is rebuilt by replaying the history in the journal's order:
each trial that started is asked for again, each report is passed on, and a question that started nothing leaves no
trace. It is asked through `populate_space` and updated through its fields and `score_trial`; a class that overrides
`create_trial`, `update_trial` or `end_trial` expects calls that it would never get, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from hptune.base.errors import RunError, SpecError, spec_error, unknown
from hptune.base.seeds import derive
from hptune.base.trial import Trial
from hptune.base.user_code import load_object
from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import KerasTunerOracle
from hptune.experiment.space.space import Space
from hptune.run.history import History
from hptune.strategies.follow import Follower
from hptune.strategies.sampler import Point, Setup
from hptune.strategies.samplers.keras_tuner import Coding, library, objective_of
from hptune.strategies.strategy import Done, Wait, trial_limit

_NEVER_CALLED = ("create_trial", "update_trial", "end_trial")


class _Place(NamedTuple):
    """A place in the journal: how many trials had started and how many reports had come."""

    started: int
    reported: int


class OracleSampler:
    """The points of an Oracle class that the user named.

    enqueued: how many of the first trials are not the Oracle's own; it sees them as trials like any other.
    Raises `SpecError` where the class can't be loaded, constructed or driven, and `RunError` where a question fails.
    """

    def __init__(self, experiment: Experiment, space: Space, *, folder: Path, enqueued: int) -> None:
        assert isinstance(experiment.strategy, KerasTunerOracle)
        self._experiment = experiment
        self._name = experiment.strategy.oracle
        self._class = _load(self._name, folder)
        self._coding = Coding(space)
        self._enqueued = enqueued
        self._asked: tuple[_Place, Mapping[str, Any]] | None  # the last question and its answer
        self._follower = Follower(self._forget, started=self._take_start, reported=self._report)

    def suggest(self, history: History) -> Point | Wait | Done:
        """The Oracle's answer, asked once for each state of the history. Raises `RunError` where it fails."""
        if not self._asked_for(history):
            self._follower.restart(history)
        self._follower.follow(history)
        place = _Place(len(history.trials), len(history.reports))
        if self._asked is None:
            self._asked = place, self._ask(place.started)
        return self._read(self._asked[1], place.started)

    # --- following the history ----------------------------------------------------------------------------------

    def _forget(self, history: History | None) -> None:  # noqa: ARG002  # an Oracle knows of no earlier runs
        self._asked = None
        self._oracle = self._construct()

    def _take_start(self, number: int, history: History) -> None:
        if number >= self._enqueued and self._asked is None:
            self._ask(number)
        self._start(history.trials[number])
        self._asked = None

    def _asked_for(self, history: History) -> bool:
        """Whether the last question is what the history goes on with; if not, it must be as if never asked."""
        if self._asked is None:
            return True
        place, _ = self._asked
        if len(history.trials) > place.started:
            return history.reports_before[place.started] == place.reported
        return len(history.reports) == place.reported

    # --- driving the Oracle -------------------------------------------------------------------------------------

    def _construct(self) -> Any:
        experiment = self._experiment
        assert isinstance(experiment.strategy, KerasTunerOracle)
        (objective,) = experiment.objectives
        keywords = {
            "objective": objective_of(objective),
            "hyperparameters": self._coding.hyperparameters.copy(),
            "max_trials": trial_limit(experiment),
            "seed": 1 + derive(experiment.seed, "oracle"),  # an Oracle takes 0 for "any"
        }
        try:
            return self._class(**{**keywords, **experiment.strategy.options})
        except Exception as error:  # the user's class may raise anything
            message = f"{self._name} can't be constructed: {type(error).__name__}: {error}. It is given "
            message += f"{', '.join(keywords)} and the options, as keywords."
            raise spec_error(message, "strategy", "oracle") from error

    def _ask(self, number: int) -> Mapping[str, Any]:
        self._oracle._seed_state = derive(self._experiment.seed, "suggest", number)
        try:
            answer = self._oracle.populate_space(_id(number))
        except Exception as error:  # the user's class may raise anything
            reason = f"raised {type(error).__name__}: {error}"
            raise self._error(number, reason) from error
        if not isinstance(answer, Mapping) or answer.get("status") not in ("RUNNING", "IDLE", "STOPPED"):
            raise self._error(number, f"must give status RUNNING, IDLE or STOPPED with the values, gave {answer!r}")
        return answer

    def _read(self, answer: Mapping[str, Any], number: int) -> Point | Wait | Done:
        if answer["status"] == "STOPPED":
            return Done(f"{self._name} has stopped")
        if answer["status"] == "IDLE":
            return Wait()
        raw = answer.get("values")
        if not isinstance(raw, Mapping):
            raise self._error(number, f"must give values as a dict of name to value, gave {raw!r}")
        strange = next((name for name in raw if name not in self._coding.space.domains), None)
        if strange is not None:
            raise self._error(number, unknown("parameter", strange, self._coding.space.domains))
        rng = Random(derive(self._experiment.seed, "missing", number))
        try:
            return self._coding.decode(raw, lambda _, domain: domain.from_unit(rng.random()))
        except (ValueError, TypeError) as error:
            raise self._error(number, str(error)) from error

    def _start(self, trial: Trial) -> None:
        """What `create_trial` does to an Oracle's fields."""
        oracle = self._oracle
        hps = oracle.get_space()
        hps.values = self._coding.encode(trial.values)
        shown = library().engine.trial.Trial(hyperparameters=hps, trial_id=_id(trial.number))
        oracle._record_values(shown)
        oracle.trials[shown.trial_id] = shown
        oracle.ongoing_trials[shown.trial_id] = shown
        oracle.start_order.append(shown.trial_id)

    def _report(self, trial: Trial, history: History) -> None:
        """What `update_trial` and `end_trial` do: a failed trial keeps no metric, and is not tried again."""
        oracle, objective = self._oracle, history.objective
        shown = oracle.trials[_id(trial.number)]
        score = history.score(trial)
        if score is not None and math.isfinite(score):
            shown.metrics.register(objective.metric, "max" if objective.goal == "maximize" else "min")
            shown.metrics.update(objective.metric, score, step=trial.epochs)
            shown.status = "COMPLETED"
            oracle.score_trial(shown)
        else:
            shown.status, shown.message = "FAILED", trial.error
        oracle.end_order.append(shown.trial_id)
        oracle.ongoing_trials.pop(shown.trial_id, None)

    def _error(self, number: int, reason: str) -> RunError:
        place = f"strategy.oracle: {self._name}.populate_space for trial {number}"
        return RunError(f"{place}: {reason}. Fix it and run the same command again.")


def _id(number: int) -> str:
    return f"{number:04d}"


def _load(reference: str, folder: Path) -> Any:
    """The Oracle class that `reference` names. Raises `SpecError` where it is none that can be driven."""
    path = ("strategy", "oracle")
    loaded = load_object(reference, folder, path)
    oracles = library().oracles
    base = library().Oracle
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise spec_error(f"must be a subclass of keras_tuner.Oracle, got {loaded!r}. Name such a class.", *path)
    for builtin, name in ((oracles.GridSearchOracle, "grid"), (oracles.HyperbandOracle, "hyperband")):
        if issubclass(loaded, builtin):
            message = (
                f"{reference} keeps books of its own that break on resume and under failures. Use strategy: {name}."
            )
            raise spec_error(message, *path)
    overridden = [method for method in _NEVER_CALLED if getattr(loaded, method) is not getattr(base, method)]
    if overridden:
        message = f"{reference} overrides {', '.join(overridden)}, and only populate_space and score_trial are called. "
        raise SpecError(*spec_error(message + "Move what it does there.", *path).problems)
    return loaded


def oracle(setup: Setup) -> OracleSampler:
    """`strategy: {name: keras_tuner, oracle: module:Class}`."""
    return OracleSampler(setup.experiment, setup.space, folder=setup.folder, enqueued=len(setup.first))
