"""What a model needs of its samples, as far as the YAML shows it: which numbers it takes as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from hptune.experiment.dials import NESTED_LAYERS
from hptune.experiment.experiment import Experiment
from hptune.experiment.graph import FROM, INPUT
from hptune.experiment.keras_table import layer_arguments, names, table
from hptune.experiment.model import ModelOptions
from hptune.experiment.space.references import concrete, texts_in
from hptune.training.data import Data
from hptune.training.data.needs import Needs

OF_CODES = frozenset(
    {"Embedding", "ReversibleEmbedding", "IntegerLookup", "Hashing", "HashedCrossing", "CategoryEncoding"}
)
"""Keras's layers that take whole numbers as words or categories."""

PREPARING = frozenset({"Rescaling", "Normalization", "Discretization"})
"""Keras's layers whose arguments are in the unit of raw samples, where these are their input."""

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
"""Those that divide by the target, or by its length, and by Keras's epsilon at least."""

OF_OWN_SCALE = frozenset(names("losses")) - OF_DIFFERENCES - {"LogCosh"}
"""Keras's losses that take values from 0 on, in [0, 1] or of a certain length, or divide by the target."""

OF_SIZE = frozenset({"mae", "MAE", "mean_absolute_error", "MeanAbsoluteError"})
"""Those that have the target's unit, and sum no squares of it on the way."""


def needs_of(experiment: Experiment) -> Needs:
    """What the experiment's model needs of its samples."""
    model, training = experiment.model, experiment.training
    if model.exact:
        return Needs(wide=True, numbers=True)
    losses = [*texts_in(training.loss, experiment.search_space)]
    own_scale = tuple(name for name in losses if name in OF_OWN_SCALE) or _with_delta(training.loss)
    if model.as_it_is:
        return Needs(own_scale=own_scale)
    layers = [*_calls(model.stack)]
    metrics = [name for name in texts_in(training.metrics, experiment.search_space) if name in _FIGURES or ":" in name]
    return Needs(
        numbers=None if any(":" in name for name, _ in layers) else not {name for name, _ in layers} & OF_CODES,
        prepares=next((name for name, arguments in _raw(layers, model.input_names) if _prepares(name, arguments)), "")
        or _of_bytes(layers),
        squares=not set(metrics) <= OF_SIZE,
        differences=set(metrics) <= OF_DIFFERENCES,
        own_scale=own_scale,
        own_losses=tuple(name for name in losses if ":" in name),
        floors=tuple(name for name in (*metrics, *losses) if name in OF_QUOTIENTS),
    )


_FIGURES = frozenset({*names("metrics"), *names("losses")})

Call: TypeAlias = tuple[str, Mapping[str, Any]]
"""A layer's class, and its arguments as the YAML has them."""


def _calls(items: Any) -> Iterator[Call]:
    """The layers that a list names, in order, those in repeats and inside wrappers included."""
    for item in items if isinstance(items, list) else [items]:
        for name, arguments in (
            item.items() if isinstance(item, dict) else [(item, {})] if isinstance(item, str) else []
        ):
            nested = arguments if isinstance(arguments, dict) else {}
            yield name, nested
            for key in NESTED_LAYERS:
                if key in nested:
                    yield from _calls(nested[key])


def _raw(layers: Iterable[Call], inputs: Iterable[str]) -> Iterator[Call]:
    """The layers whose input is samples, or what layers without weights made of them. A class of the user's may have no
    weights, so that the layers behind it count too.
    """
    raw = {INPUT, *inputs}
    before = True
    for name, arguments in layers:
        sources = arguments.get(FROM)
        source_names = sources if isinstance(sources, list) else [sources]
        is_raw = (
            before if sources is None else bool(raw & {source for source in source_names if isinstance(source, str)})
        )
        if is_raw:
            yield name, arguments
        before = is_raw and not _learns(name)
        if isinstance(arguments.get("name"), str):
            (raw.add if before else raw.discard)(arguments["name"])


def _learns(name: str) -> bool:
    """Whether a layer of Keras's has weights, so that its output is no longer a sample."""
    known = name in names("layers")
    return known and any(argument.endswith("_initializer") for argument in layer_arguments(name))


def _prepares(name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a layer has arguments in the unit of raw samples; one without them gets none from the YAML."""
    return name in PREPARING and (name == "Rescaling" or bool({"mean", "bin_boundaries"} & set(arguments)))


def _with_delta(loss: Any) -> tuple[str, ...]:
    """The names of Huber's losses with a `delta`, which is in the target's unit."""
    if not isinstance(loss, dict):
        return ()
    for name in ("Huber", "huber"):
        if isinstance(loss.get(name), dict) and "delta" in loss[name]:
            return (f"{name} with a delta",)
    return tuple(name for part in loss.values() for name in _with_delta(part))


def _of_bytes(layers: Iterable[Call]) -> str:
    """A layer that takes pictures from 0 to 255, as Keras's layers with a `value_range` do by default; or ""."""
    for name, arguments in layers:
        known = layer_arguments(name) if name in table()["layers"] else {}
        if "value_range" in known and list(arguments.get("value_range", [0, 255])) != [0, 1]:
            return name
    return ""


def notes_for_code(data: Data, experiment: Experiment) -> list[str]:
    """Notes on where the user's code gets, or is compiled with, something other than in a plain program.

    Whether the code prepares samples itself, or computes with class numbers, can't always be seen: hence the notes.
    """
    model = experiment.model
    if model.as_it_is:
        code = figures = "the model's code" if model.code is not None else "the model"
    else:
        named = texts_in([experiment.training.loss, experiment.training.metrics], experiment.search_space)
        code = ", ".join(dict.fromkeys(_own_on_samples(model)))
        figures = ", ".join(dict.fromkeys(name for name in named if ":" in name))
    return [
        *_replaced_optimizer(experiment),
        *(_scaled_samples(data, code) if code and getattr(experiment.data, "scale", "none") == "auto" else ()),
        *(_numbered_classes(data, figures) if figures else ()),
    ]


def _replaced_optimizer(experiment: Experiment) -> Iterator[str]:
    training, optimizer = experiment.training, experiment.training.optimizer
    names_none = "optimizer" in training.model_fields_set and "name" not in optimizer.model_fields_set
    if experiment.model.code is not None and names_none:
        note = f"training.optimizer has no name: {concrete(optimizer.name)} takes the place of what the code compiled"
        yield f"{note}. Give it one if another is meant."


def _scaled_samples(data: Data, code: str) -> Iterator[str]:
    if data.input_scale is not None:
        offset, divisor = data.input_scale
        pictures = np.ndim(divisor) == 0 and float(offset) == 0.0
        done = f"pictures are divided by {float(divisor):g}" if pictures else "columns of numbers are standardised"
        yield f"{done} before {code} is given them. Say data.scale: none if it is meant for raw ones."


def _numbered_classes(data: Data, code: str) -> Iterator[str]:
    labels = data.labels if data.task == "classes" and data.train.flow is None else None
    if labels is not None and _are_numbers(labels):
        more = ", …" if len(labels) > 5 else ""
        shown, numbers = (", ".join(map(str, some)) + more for some in (labels[:5], range(min(len(labels), 5))))
        note = f"the classes {shown} are numbered {numbers} before {code} is given them"
        yield f"{note}. Say data.task: regression if it counts with their values."


def _are_numbers(labels: tuple[Any, ...]) -> bool:
    """Whether they are numbers other than 0, 1, … in order."""
    return all(isinstance(one, int | float) for one in labels) and labels != tuple(range(len(labels)))


def _own_on_samples(model: ModelOptions) -> Iterator[str]:
    """The user's own classes whose input is samples, with no layer before them that learns."""
    return (name for name, _ in _raw(_calls(model.stack), model.input_names) if ":" in name)
