"""The samples of one experiment in this process: read when they are first needed, kept, shared with other workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from hptune.base import seeds
from hptune.base.stopwatch import counts
from hptune.experiment.data import PythonData
from hptune.experiment.dials import NESTED_LAYERS
from hptune.experiment.experiment import Experiment
from hptune.experiment.graph import FROM, INPUT
from hptune.experiment.keras_table import layer_arguments, names, table
from hptune.experiment.model import ApplicationModel, LayersModel, SklearnModel
from hptune.training.data import Data, Part, load_data, load_folds, load_joined
from hptune.training.data.needs import Needs
from hptune.training.data.sources import flow
from hptune.training.data.split.folds import lacking
from hptune.training.data.store.shared import SharedData

T = TypeVar("T")

OF_CODES = frozenset(
    {"Embedding", "ReversibleEmbedding", "IntegerLookup", "Hashing", "HashedCrossing", "CategoryEncoding"}
)
"""Keras's layers that take whole numbers for words or categories."""

PREPARING = frozenset({"Rescaling", "Normalization", "Discretization"})
"""Keras's layers whose numbers are those of raw samples, where these are what they are given."""

_BEFORE = frozenset({"Input", "InputLayer", "Reshape", "Flatten", "Permute", "Resizing", "CenterCrop", "Identity"})
"""Layers that leave the numbers of samples as they are."""

OF_DIFFERENCES = frozenset(
    {
        *("mse", "MSE", "mean_squared_error", "MeanSquaredError", "mae", "MAE", "mean_absolute_error"),
        *("MeanAbsoluteError", "root_mean_squared_error", "RootMeanSquaredError", "rmse", "RMSE"),
        *("r2_score", "R2Score", "log_cosh", "log_cosh_error", "LogCoshError", "huber", "Huber"),
    }
)
"""Keras's metrics and losses that are the same when target and prediction move together, whatever their arguments."""

OF_QUOTIENTS = frozenset(
    {
        *("mape", "MAPE", "mean_absolute_percentage_error", "MeanAbsolutePercentageError"),
        *("cosine_similarity", "CosineSimilarity"),
    }
)
"""Those that divide by the target, or by its length, and by no less than Keras's epsilon."""

OF_OWN_SCALE = frozenset(names("losses")) - OF_DIFFERENCES - {"LogCosh"}
"""Keras's losses that take values from 0 on, in [0, 1] or of a certain length, or divide by the target."""

OF_SIZE = frozenset({"mae", "MAE", "mean_absolute_error", "MeanAbsoluteError"})
"""Those that are of the target's unit, and no sums of its squares on the way."""


def needs_of(experiment: Experiment) -> Needs:
    """What the experiment's model needs of its samples."""
    model = experiment.model
    if isinstance(model, SklearnModel):
        return Needs(wide=True, numbers=True)
    training = experiment.training
    loss = training.loss if training is not None else None
    losses = [*loss, *loss.values()] if isinstance(loss, dict) else [loss]  # one with arguments, or one for each output
    losses = [name for one in losses if isinstance(one, str | dict) for name in _metrics(one)]
    losses = [name for one in losses for name in _choices(one, experiment)]
    own_scale = tuple(name for name in losses if name in OF_OWN_SCALE) or _with_delta(loss)
    if not isinstance(model, LayersModel | ApplicationModel):
        return Needs(own_scale=own_scale)
    layers = set(_layers(model.layers)) if isinstance(model, LayersModel) else set()
    own = any(":" in name for name in layers)
    first = _first(model.layers, model.inputs or ()) if isinstance(model, LayersModel) else ()
    told = training.metrics if training is not None else None
    metrics = [name for one in (told.values() if isinstance(told, dict) else [told or []]) for name in _metrics(one)]
    return Needs(
        numbers=None if own else not layers & OF_CODES,
        prepares=next((name for name in first if name in PREPARING), "") or _of_bytes(model),
        squares=not set(metrics) <= OF_SIZE,
        differences=set(metrics) <= OF_DIFFERENCES,
        own_scale=own_scale,
        own_losses=tuple(name for name in losses if ":" in name),
        floors=tuple(name for name in (*metrics, *losses) if name in OF_QUOTIENTS),
    )


def _layers(items: Any) -> Iterator[str]:
    """The classes that a list of layers names, in repeats and inside wrappers too."""
    for one in items if isinstance(items, list) else [items]:
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            for name, given in one.items():
                yield name
                inside = given if isinstance(given, dict) else {}
                yield from (
                    found for key in ("layers", *NESTED_LAYERS) if key in inside for found in _layers(inside[key])
                )


def _first(items: Sequence[Any], inputs: Iterable[str]) -> Iterator[str]:
    """The layers that are given the samples: the first of a list, behind what leaves their numbers as they are, and all
    that name an input."""
    named = {INPUT, *inputs}
    begins = True
    for one in items:
        name, given = next(iter(one.items())) if isinstance(one, dict) and one else (one, {})
        sources = given.get(FROM) if isinstance(given, dict) else None
        of = sources if isinstance(sources, list) else [sources]
        if begins or named & {source for source in of if isinstance(source, str)}:
            yield name
        begins = begins and name in _BEFORE


def _choices(name: str, experiment: Experiment) -> list[str]:
    """What a name can be, where it is a `$name` of the search space."""
    domain = experiment.search_space.get(name[1:]) if name.startswith("$") else None
    values = getattr(domain, "values", [name])
    return [value for value in values if isinstance(value, str)]


def _with_delta(loss: Any) -> tuple[str, ...]:
    """Huber's loss with a `delta`, which is in the target's unit."""
    if not isinstance(loss, dict):
        return ()
    given = [name for name in ("Huber", "huber") if isinstance(loss.get(name), dict) and "delta" in loss[name]]
    return (
        (f"{given[0]} with a delta",) if given else tuple(found for one in loss.values() for found in _with_delta(one))
    )


def _of_bytes(model: LayersModel | ApplicationModel) -> str:
    """A layer that takes pictures from 0 to 255, as Keras's layers with a `value_range` do unless they are told."""
    for one in model.layers if isinstance(model, LayersModel) else []:
        name, given = next(iter(one.items())) if isinstance(one, dict) and one else (one, None)
        known = layer_arguments(name) if name in table()["layers"] else {}
        if "value_range" in known and list((given or {}).get("value_range", [0, 255])) != [0, 1]:
            return str(name)
    return ""


def _metrics(items: Any) -> Iterator[str]:
    """The metrics that a list names."""
    for one in items if isinstance(items, list) else [items]:
        yield from [one] if isinstance(one, str) else one


class Samples:
    """One split of the samples, or under `evaluation.folds` one for each fold.

    folder: the YAML file's. shared: where workers hand the samples over; None where there is one worker alone.
    cache: where what is decoded or unpacked is kept.
    """

    def __init__(
        self, experiment: Experiment, folder: Path, shared: SharedData | None = None, cache: Path | None = None
    ) -> None:
        assert experiment.data is not None, "the spec's check asks for data"
        self._spec = experiment.data
        self._folder = folder
        self._seed = experiment.seed
        self._folds = experiment.evaluation.folds
        self._shared = shared
        self._cache = cache
        self._needs = needs_of(experiment)

    def data(self, fold: int | None = None) -> Data:
        """The samples without the test part, split as for the fold, or once. Raises SpecError for unusable ones."""
        return self._split if fold is None else self._folded[fold]

    @counts("data")
    def test(self) -> Part | None:
        """The test part, prepared as the training part of the one split says; None where there is none."""
        return load_data(self._spec, **self._how, with_test=True).test

    @counts("data")
    def joined(self) -> Data:
        """All but the test part to train on, and the test part."""
        return load_joined(self._spec, **self._how)

    @cached_property
    def _split(self) -> Data:
        return self._once(self._read_split) if self._folds is None else self._read_split()

    @cached_property
    def _folded(self) -> tuple[Data, ...]:
        return self._once(self._read_folds)

    @counts("data")
    def _read_split(self) -> Data:
        return load_data(self._spec, **self._how)

    @counts("data")
    def _read_folds(self) -> tuple[Data, ...]:
        assert self._folds is not None, "asked for a fold where there are none"
        first, *others = folds = load_folds(self._spec, **self._how, folds=self._folds)
        return (replace(first, notes=(*first.notes, *lacking(folds))), *others)

    @property
    def _how(self) -> dict[str, Any]:
        return {"folder": self._folder, "seed": self._seed, "cache": self._cache, "needs": self._needs}

    def _once(self, read: Callable[[], T]) -> T:
        """What the first worker reads is handed over to the others: what the search's segments train on.

        Where a function of the user's brings it, and leaves something for the model's code to find, each calls it.
        """
        if self._shared is None:
            return read()
        found, leaves = self._shared.get(lambda: (read(), self._leaves))
        if leaves:
            self.left()
        return found

    @property
    def _leaves(self) -> bool:
        return isinstance(self._spec, PythonData) and flow.leaves(self._spec.python)

    def left_again(self) -> None:
        """As `left`, where the function was seen to leave anything."""
        if self._leaves:
            self.left()

    def left(self) -> None:
        """Have what the user's function leaves behind, where it is not: its module may have been imported anew."""
        if isinstance(self._spec, PythonData) and not flow.was_called(self._spec.python):
            flow.called(self._spec.python, self._folder, seeds.derive(self._seed, "data"))
