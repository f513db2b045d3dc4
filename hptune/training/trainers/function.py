"""Trials of `model: {function: module:name}`: any Python function, called with the values as keywords."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hptune.base import generators, seeds
from hptune.base.errors import SegmentFailed, spec_error
from hptune.base.trial import Curves, Segment, SegmentResult
from hptune.base.user_code import load_object
from hptune.experiment.experiment import Experiment
from hptune.experiment.model import FunctionModel
from hptune.experiment.objective import leading
from hptune.experiment.recipe import full_epochs, speaks_of_epochs
from hptune.run.curves import whole_epochs
from hptune.run.history import best_epoch
from hptune.run.usable import UNTOLD
from hptune.training.trainers.trainer import OnEpoch


def trainer(experiment: Experiment, folder: Path, *_: Any) -> FunctionTrainer:
    """The trainer of a function, which needs neither the run's folder nor samples."""
    return FunctionTrainer(experiment, folder)


class FunctionTrainer:
    """Calls the function once an epoch (1 to `training.epochs`), or once a segment where it takes no `epoch`.

    The latter has a single epoch, unless the spec asks for more; then its value counts for each of them. A function
    keeps no state: what epoch 7 returns depends on the values and on 7 alone, so a segment that goes on from epoch 6
    just calls it with 7. A metric that it does not return at an epoch is NaN there in the curves (a NaN that it returns
    fails the trial), and an epoch without an objective has no score.
    """

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        assert isinstance(experiment.model, FunctionModel)
        self.experiment = experiment
        self._function = load_object(experiment.model.function, folder, ("model", "function"))
        if not callable(self._function):
            raise spec_error(f"{experiment.model.function} is no function. Name one.", "model", "function")
        parameters = inspect.signature(self._function).parameters
        self._takes_epoch = "epoch" in parameters
        self._takes_seed = "seed" in parameters
        self._check_parameters(parameters)

    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        """As in `Trainer`. The final trainings (`best`, `baseline`) give the figures of their best epoch too."""
        started = time.perf_counter()
        if segment.purpose == "probe":
            return SegmentResult(segment, 0, {}, time.perf_counter() - started, facts=self._facts())
        by_epoch: list[dict[str, float]] = []
        epochs = range(segment.from_epoch, segment.to_epoch)
        for epoch in epochs if self._takes_epoch else epochs[:1]:
            metrics = self._call(segment, epoch)
            by_epoch.append(metrics)
            if on_epoch is not None:
                on_epoch(segment, epoch + 1, metrics)
        times = 1 if self._takes_epoch else len(epochs)
        full = {name: values * times for name, values in _curves(by_epoch).items()}
        facts = self._gaps(full)
        if segment.purpose in ("best", "baseline"):
            facts["test"] = self._at_best(by_epoch)
        return SegmentResult(segment, segment.to_epoch, full, time.perf_counter() - started, facts=facts)

    def _gaps(self, curves: Curves) -> dict[str, Any]:
        """The fact that names the metrics without a value in some epoch, and the objectives without a value in any."""
        gaps = [name for name, curve in curves.items() if any(map(math.isnan, curve))]
        gaps += [one.metric for one in self.experiment.objectives if one.metric not in (*curves, "seconds")]
        return {UNTOLD: gaps} if gaps and curves else {}

    def _at_best(self, by_epoch: list[dict[str, float]]) -> dict[str, float]:
        """The metrics of the epoch that the score is of."""
        objectives = self.experiment.objectives
        return by_epoch[best_epoch(whole_epochs(_curves(by_epoch), objectives), leading(objectives)) - 1]

    def _facts(self) -> dict[str, Any]:
        """The probe's facts. epochs: how many there are, where neither the function nor the spec says so."""
        if self._takes_epoch:
            return {"task": None}
        if not speaks_of_epochs(self.experiment):
            return {"task": None, "epochs": 1}
        if full_epochs(self.experiment, {}) == 1:
            return {"task": None}
        return {"task": None, "notes": ["the function takes no `epoch`: its value is taken for every epoch of a trial"]}

    def _call(self, segment: Segment, epoch: int) -> dict[str, float]:
        extra: dict[str, int] = {"epoch": epoch + 1} if self._takes_epoch else {}
        seed = seeds.derive(self.experiment.seed, "function", dict(segment.values), segment.replica)
        if self._takes_seed:
            extra["seed"] = seed
        with generators.begun(seeds.derive(seed, "epoch", epoch)):
            returned = self._function(**segment.values, **extra)
        metrics = returned if isinstance(returned, Mapping) else {"score": returned}
        if "seconds" in metrics and any(one.metric == "seconds" for one in self.experiment.objectives):
            problem = "the function tells a metric `seconds`, and the objective of that name is how long a trial takes"
            raise SegmentFailed(f"{problem}. Give yours another name")
        return {str(name): _number(str(name), value) for name, value in metrics.items()}

    def _check_parameters(self, parameters: Mapping[str, inspect.Parameter]) -> None:
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return
        arguments = [*self.experiment.search_space, *(["epoch"] if self._takes_epoch else [])]
        strange = [name for name in arguments if name not in parameters]
        if strange:
            takes = ", ".join(parameters)
            raise spec_error(f"takes no {strange[0]!r} (it takes {takes}). Add it, or drop it.", "model", "function")
        for name, parameter in parameters.items():
            required = parameter.default is inspect.Parameter.empty and name not in ("epoch", "seed")
            always = name in arguments and not self.experiment.search_space[name].when if name != "epoch" else True
            if required and not always:
                problem = f"needs {name!r}, which search_space does not always give"
                raise spec_error(f"{problem}. Declare it there, or give it a default.", "model", "function")


def _curves(by_epoch: list[dict[str, float]]) -> dict[str, tuple[float, ...]]:
    """The metrics by name, each with a value for every epoch: NaN where the function returned none.

    >>> _curves([{"a": 1.0}, {"a": 2.0, "b": 3.0}])
    {'a': (1.0, 2.0), 'b': (nan, 3.0)}
    """
    names = dict.fromkeys(name for metrics in by_epoch for name in metrics)
    return {name: tuple(metrics.get(name, math.nan) for metrics in by_epoch) for name in names}


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise SegmentFailed(f"the function returned {value!r} for {name!r}; a number is wanted") from error
    except OverflowError as error:  # a whole number beyond floats
        raise SegmentFailed(f"the function returned a number beyond floats for {name!r}") from error
    if math.isnan(number):
        raise SegmentFailed(f"the function returned NaN for {name!r}")
    return number
