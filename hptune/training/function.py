"""Trials of `model: {function: module:name}`: any Python function, called with the values as keywords."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hptune import seeds
from hptune.errors import SegmentFailed, spec_error
from hptune.spec.experiment import Experiment
from hptune.spec.model import FunctionModel
from hptune.spec.sections import Asha, Hyperband
from hptune.training.trainer import OnEpoch
from hptune.trial import Segment, SegmentResult
from hptune.user_code import load_object


class FunctionTrainer:
    """Calls the function once an epoch (1 to `training.epochs`); one that takes no `epoch` has a single epoch.

    A function keeps no state: what epoch 7 returns depends on the values and on 7 alone, so a segment that goes on from
    epoch 6 just calls it with 7.
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
        if not self._takes_epoch:
            self._check_one_epoch(experiment.model.function)

    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        started = time.perf_counter()
        if segment.purpose == "probe":
            told = {"task": None, **({} if self._takes_epoch else {"epochs": 1})}
            return SegmentResult(segment, 0, {}, time.perf_counter() - started, facts=told)
        curves: dict[str, list[float]] = {}
        for epoch in range(segment.from_epoch, segment.to_epoch):
            metrics = self._call(segment, epoch)
            for name, value in metrics.items():
                curves.setdefault(name, []).append(value)
            if on_epoch is not None:
                on_epoch(segment, epoch + 1, metrics)
        full = {name: tuple(values) for name, values in curves.items()}
        facts: dict[str, Any] = {}
        if segment.purpose in ("best", "baseline"):
            facts["test"] = {name: values[-1] for name, values in full.items()}
        return SegmentResult(segment, segment.to_epoch, full, time.perf_counter() - started, facts=facts)

    def _call(self, segment: Segment, epoch: int) -> dict[str, float]:
        extra: dict[str, int] = {"epoch": epoch + 1} if self._takes_epoch else {}
        if self._takes_seed:
            extra["seed"] = seeds.derive(self.experiment.seed, "function", dict(segment.values), segment.replica)
        found = self._function(**segment.values, **extra)
        metrics = found if isinstance(found, Mapping) else {"score": found}
        return {str(name): _number(str(name), value) for name, value in metrics.items()}

    def _check_parameters(self, parameters: Mapping[str, inspect.Parameter]) -> None:
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return
        given = [*self.experiment.search_space, *(["epoch"] if self._takes_epoch else [])]
        strange = [name for name in given if name not in parameters]
        if strange:
            takes = ", ".join(parameters)
            raise spec_error(f"takes no {strange[0]!r} (it takes {takes}). Add it, or drop it.", "model", "function")
        for name, parameter in parameters.items():
            required = parameter.default is inspect.Parameter.empty and name not in ("epoch", "seed")
            always = name in given and not self.experiment.search_space[name].when if name != "epoch" else True
            if required and not always:
                told = f"needs {name!r}, which search_space does not always give"
                raise spec_error(f"{told}. Declare it there, or give it a default.", "model", "function")

    def _check_one_epoch(self, name: str) -> None:
        """Nothing is asked for that only a function of the epoch can do."""
        training, strategy = self.experiment.training, self.experiment.strategy
        if isinstance(strategy, Hyperband | Asha):
            told = f"{strategy.name} trains trials epoch by epoch, and {name} takes no `epoch`"
            raise spec_error(f"{told}. Give it that parameter, or choose another strategy.", "strategy", "name")
        if "epochs" in training.model_fields_set and training.epochs != 1:
            told = f"has no effect, since {name} takes no `epoch` and is called once a trial"
            raise spec_error(f"{told}. Drop it, or give the function that parameter.", "training", "epochs")


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise SegmentFailed(f"the function returned {value!r} for {name!r}; a number is wanted") from error
    if math.isnan(number):
        raise SegmentFailed(f"the function returned NaN for {name!r}")
    return number
