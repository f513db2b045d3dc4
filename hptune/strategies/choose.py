"""Which class serves which strategy of the YAML, imported when it is asked for: libraries take seconds to load.

A new strategy takes its options in `experiment/sections.py`, a module here and a row in `ROWS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from hptune.base import seeds
from hptune.base.errors import RunError
from hptune.base.quiet import off_stdout
from hptune.base.surroundings import Apart
from hptune.base.trial import Trial
from hptune.base.user_code import load_object, packages_of, sources_of
from hptune.experiment import sections
from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import StrategyOptions
from hptune.experiment.space.space import Space
from hptune.run.history import History, HistoryChanged
from hptune.strategies.plan import rungs_of
from hptune.strategies.sampled import Points, Sampled, first_points
from hptune.strategies.sampler import Sampler, Setup
from hptune.strategies.samplers.by_rung import ByRung
from hptune.strategies.strategy import Decision, Strategy, check

ROWS: dict[type[StrategyOptions], str] = {
    sections.Random: "samplers.keras_tuner:random",
    sections.Grid: "samplers.keras_tuner:grid",
    sections.Bayesian: "samplers.keras_tuner:bayesian",
    sections.KerasTunerOracle: "samplers.oracle:oracle",
    sections.Tpe: "samplers.optuna:sampler",
    sections.CmaEs: "samplers.optuna:sampler",
    sections.Qmc: "samplers.optuna:sampler",
    sections.Nsga2: "samplers.optuna:sampler",
    sections.OptunaClass: "samplers.optuna_class:UserSampler",
    sections.BayesOpt: "samplers.bayes_opt:sampler",
    sections.Narrowing: "samplers.narrowing:sampler",
    sections.Guided: "guided:sampler",
    sections.Hyperband: "hyperband:strategy",
    sections.Asha: "asha:strategy",
    sections.PythonStrategy: "own:strategy",
}
"""By the options: `module:function` in this package; those of other packages name their own class.

The function makes a Sampler of a Setup, whose points are trained in full; called `strategy` it makes a Strategy of a
Setup and of what makes the points to try.
"""


def load_library(experiment: Experiment) -> None:
    """Import what the strategy needs, which may take seconds; a caller that waits for something else calls it early."""
    module, _ = _row(experiment.strategy.source)
    if hasattr(module, "library"):
        module.library()


def code_of(experiment: Experiment, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Of the user's code that chooses the points: the fingerprints by file, and the versions of the installed packages
    that it needs. Raises SpecError if it can't be loaded.
    """
    options = experiment.strategy.source
    if options.code is None and not options.maker:
        return {}, {}
    reference, key = (options.maker, "name") if options.code is None else (getattr(options, options.code), options.code)
    with _apart(options).at_work(), _calmly():
        load_object(reference, folder, ("strategy", key))
        return sources_of(reference, folder), packages_of(reference, folder)


def choose(experiment: Experiment, space: Space, *, folder: Path = Path()) -> Strategy:
    """The strategy that the experiment names, for `space` (the YAML's and what a model's code declares, joined).

    `experiment.objective` is filled in. `folder`: the YAML file's, where a module that it names is looked for first.
    Raises `SpecError` where the strategy can't serve the space or a class that it names can't be used.
    """
    check(experiment, space)
    options = experiment.strategy.source
    if options.code is None and not options.maker:
        return _make(experiment, space, folder)
    beside = Beside(experiment, _apart(options))
    with beside.at_work("made"):
        beside.strategy = _make(experiment, space, folder)
    return beside


class Beside:
    """A strategy that runs the user's code: what the code sets in the process affects no trial and no file.

    What it draws from shared generators follows from the experiment's seed and the history, as `Strategy` wants it.
    """

    strategy: Strategy

    def __init__(self, experiment: Experiment, apart: Apart) -> None:
        self._seed, self._apart = experiment.seed, apart

    def next(self, history: History) -> Decision:
        """As `Strategy` has it, with the process's settings put back afterwards."""
        with self.at_work("next", len(history.trials)), history.unchanged():
            return self.strategy.next(history)

    def may_continue(self, trial: Trial, history: History) -> bool:
        """As `Strategy` has it, with the process's settings put back afterwards."""
        with self.at_work("may_continue", trial.number, len(history.trials)), history.unchanged():
            return self.strategy.may_continue(trial, history)

    @contextmanager
    def at_work(self, *labels: object) -> Iterator[None]:
        """For the user's code to run in. labels: what is asked of it."""
        with self._apart.at_work(), _calmly(), seeds.drawing(seeds.derive(self._seed, "strategy", *labels)):
            yield


@contextmanager
def _calmly() -> Iterator[None]:
    """Keep the user's code from ending the process, from writing to stdout and from changing what it is shown. Raises
    RunError.
    """
    try:
        with off_stdout():
            yield
    except HistoryChanged as changed:
        raise RunError(f"the code that chooses points {changed}, and run the same command again.") from changed
    except SystemExit as ended:
        reason = f"the code that chooses points ended the process: sys.exit({ended.code!r:.100})"
        raise RunError(f"{reason}. Fix it and run the same command again.") from ended


def _apart(options: StrategyOptions) -> Apart:
    code = str(getattr(options, options.code)) if options.code is not None else options.maker
    return _APART.setdefault(code, Apart())


_APART: dict[str, Apart] = {}
"""By the code's name, as long as the process lasts."""


def _make(experiment: Experiment, space: Space, folder: Path) -> Strategy:
    first = first_points(experiment, space)
    setup = Setup(experiment, space, experiment.strategy, first, folder)
    module, maker = _row(setup.options)
    if maker == "strategy":
        made: Strategy = module.strategy(setup, lambda: Points(experiment, space, _inner_sampler(setup), first=first))
        return made
    sampler = getattr(module, maker)(setup)
    points = Points(experiment, space, sampler, first=first)
    return Sampled(experiment, points, why=getattr(sampler, "why", None))


def _inner_sampler(setup: Setup) -> Sampler:
    """Where the points of a strategy that halves come from: one that learns is asked about one rung at a time."""
    options = setup.options.source
    module, maker = _row(options)
    sampler: Any = getattr(module, maker)(replace(setup, options=options))
    by_rung = "epochs" in signature(sampler.suggest).parameters
    return ByRung(sampler, rungs_of(setup.experiment, setup.space)) if by_rung else sampler


def _row(options: Any) -> tuple[Any, str]:
    """The module, loaded, and the name of what makes the sampler or strategy."""
    place, _, maker = ROWS.get(type(options), "own:strategy").partition(":")
    return import_module(f"hptune.strategies.{place}"), maker
