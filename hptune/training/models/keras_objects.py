"""From YAML values to Keras objects: layers, optimizers, losses and metrics by their names.

A nested object is its name alone or `{Name: {arguments}}` in the YAML; `module:Name` is the user's own, looked for in
`folder` first (the YAML file's).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hptune.base.errors import KeyPath, spec_error
from hptune.base.user_code import load_object
from hptune.experiment.dials import of_regularizer
from hptune.experiment.keras_table import CHOSEN_BY_KERAS
from hptune.training.core.variables import DREW_A_SEED
from hptune.training.models.dials import placed
from hptune.training.runtime import keras

_MODULE_OF_ARGUMENT = {
    "layer": "layers",
    "layers": "layers",
    "forward_layer": "layers",
    "backward_layer": "layers",
    "cell": "layers",
    "cells": "layers",
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
}


def make_layer(name: str, arguments: Mapping[str, Any], folder: Path = Path()) -> Any:
    """A `keras.layers` layer or the user's own, with the objects among its arguments made too.

    A `Dial` may stand wherever the table of dials has one, in the layers inside it too.
    """
    if ":" in name:
        built = {key: _argument(key, v, folder) if _is_call(v) else v for key, v in arguments.items()}
        return load_object(name, folder, ("model", "layers"))(**built)
    built = {key: _argument(key, value, folder) for key, value in arguments.items()}
    layer = placed(getattr(keras().layers, name), built)
    if arguments.get("seed") is None and getattr(layer, "seed", None) is not None:
        setattr(layer, DREW_A_SEED, True)
    return layer


def _is_call(value: Any) -> bool:
    """Whether it is `{Name: {arguments}}`, which the user's own class can't be expected to know."""
    return isinstance(value, Mapping) and len(value) == 1 and isinstance(next(iter(value.values())), Mapping)


def _argument(key: str, value: Any, folder: Path) -> Any:
    module = _MODULE_OF_ARGUMENT.get(key) or _MODULE_OF_ARGUMENT.get(key.rsplit("_", 1)[-1])
    if module is None or value is None:
        return tuple(value) if isinstance(value, list) else value
    if module != "layers" and _is_call(value) and not hasattr(getattr(keras(), module), next(iter(value))):
        return value  # a dictionary that means something else
    if isinstance(value, list):
        return [_argument(key, one, folder) for one in value]
    return _named(module, value, folder)


def _named(module: str, value: Any, folder: Path = Path()) -> Any:
    if isinstance(value, str):
        if module == "layers":
            return make_layer(value, {}, folder)
        return getattr(keras(), module).get(value)
    ((name, arguments),) = value.items()
    if module == "layers":
        return make_layer(name, arguments or {}, folder)
    cls = getattr(getattr(keras(), module), name, None)
    if module == "regularizers" and of_regularizer(name):
        return placed(type(keras().regularizers.get({"class_name": name, "config": {}})), arguments or {})
    if cls is None:
        return getattr(keras(), module).get({"class_name": name, "config": dict(arguments or {})})
    return cls(**(arguments or {}))


def make_regularizer(value: Any) -> Any:
    """A regulariser from its name, or {Name: {arguments}}."""
    return _named("regularizers", value)


def make_optimizer(name: str, arguments: Mapping[str, Any]) -> Any:
    """An optimizer by its short name (`adam`, `sgd`, `adamw`, …), its options converted to its signature's types.

    YAML spells a float without a fraction as a whole number (`momentum: 0`), which Keras refuses.
    """
    kind = _optimizers()[name.replace("_", "").lower()]
    defaults = {key: one.default for key, one in inspect.signature(kind).parameters.items()}

    def typed(key: str, value: Any) -> Any:
        wants_float = isinstance(defaults.get(key), float) or key in _FLOATS
        return float(value) if type(value) is int and wants_float else value

    return kind(**{key: typed(key, value) for key, value in arguments.items()})


@cache
def _optimizers() -> dict[str, type]:
    """Keras's optimizers by their names in small letters."""
    module = keras().optimizers
    by_name = {name.lower(): getattr(module, name) for name in dir(module)}
    return {name: one for name, one in by_name.items() if inspect.isclass(one) and issubclass(one, module.Optimizer)}


_FLOATS = ("learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor")
"""The options of optimizers that are floats although their default is None."""


def make_loss(loss: Any, folder: Path = Path()) -> Any:
    """A loss object that takes the mean over the batch.

    A name whose meaning Keras chooses by the shapes of target and output (`crossentropy`) stays a name.
    """
    losses = keras().losses
    name, arguments = next(iter(loss.items())) if isinstance(loss, Mapping) else (loss, None)
    if name in CHOSEN_BY_KERAS["losses"]:
        return name
    if isinstance(name, str) and ":" in name:
        return _own(losses.Loss, name, arguments=arguments, folder=folder, path=("training", "loss"))
    kind = losses.get(name) if not hasattr(losses, name) or name[0].islower() else getattr(losses, name)
    kind = kind if inspect.isclass(kind) else _class_of(kind)
    if not inspect.isclass(kind):
        return kind
    known = inspect.signature(
        kind
    ).parameters  # a function may have options, without effect by default, that its class lacks
    return kind(**{name: value for name, value in (arguments or {}).items() if name in known or value is not None})


def _own(base: type, reference: str, *, arguments: Mapping[str, Any] | None, folder: Path, path: KeyPath) -> Any:
    """The user's own loss or metric: an object of the class with these arguments, or the function itself."""
    own = load_object(reference, folder, path)
    if inspect.isclass(own):
        return own(**(arguments or {}))
    if arguments:
        problem = f"{reference} is not a class, so it takes no arguments ({', '.join(arguments)}). Drop them."
        raise spec_error(problem, *path)
    if not callable(own) and not isinstance(own, base):
        raise spec_error(f"{reference} is neither a function nor a {base.__name__}. Name one of these.", *path)
    return own


def _class_of(loss: Any) -> Any:
    """The class of a loss, or the one that wraps a plain loss function; the function itself where there is none."""
    losses = keras().losses
    if isinstance(loss, losses.Loss):
        return type(loss)
    classes = {name.lower(): one for name, one in vars(losses).items() if inspect.isclass(one)}
    return classes.get(loss.__name__.replace("_", "").lower(), loss)


def make_metric(metric: Any, folder: Path = Path()) -> Any:
    """A metric as `model.compile` takes it: a name stays a name, so that Keras fits `accuracy` to the output."""
    name, arguments = next(iter(metric.items())) if isinstance(metric, Mapping) else (metric, None)
    if isinstance(name, str) and ":" in name:
        return _own(keras().metrics.Metric, name, arguments=arguments, folder=folder, path=("training", "metrics"))
    if isinstance(metric, Mapping):
        return keras().metrics.get({"class_name": name, "config": dict(arguments or {})})
    return metric
