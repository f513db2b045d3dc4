"""From YAML values to Keras objects: layers, optimizers, losses and metrics by their names.

A nested object stands in the YAML as its name alone or as `{Name: {arguments}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hptune.training.runtime import keras

_MODULE_OF_ARGUMENT = {
    "layer": "layers",
    "forward_layer": "layers",
    "backward_layer": "layers",
    "cell": "layers",
    "cells": "layers",
    "initializer": "initializers",
    "regularizer": "regularizers",
    "constraint": "constraints",
}


def make_layer(name: str, arguments: Mapping[str, Any]) -> Any:
    """A `keras.layers` layer, with the objects among its arguments made too."""
    return getattr(keras().layers, name)(**{key: _argument(key, value) for key, value in arguments.items()})


def _argument(key: str, value: Any) -> Any:
    module = _MODULE_OF_ARGUMENT.get(key) or _MODULE_OF_ARGUMENT.get(key.rsplit("_", 1)[-1])
    if module is None or value is None:
        return tuple(value) if isinstance(value, list) else value
    if isinstance(value, list):
        return [_argument(key, one) for one in value]
    return _named(module, value)


def _named(module: str, value: Any) -> Any:
    if isinstance(value, str):
        if module == "layers":
            return make_layer(value, {})
        return getattr(keras(), module).get(value)
    ((name, arguments),) = value.items()
    if module == "layers":
        return make_layer(name, arguments or {})
    cls = getattr(getattr(keras(), module), name, None)
    if cls is None:
        return getattr(keras(), module).get({"class_name": name, "config": dict(arguments or {})})
    return cls(**(arguments or {}))


def make_regularizer(value: Any) -> Any:
    """A regulariser from its name, or {Name: {arguments}}."""
    return _named("regularizers", value)


def make_optimizer(name: str, arguments: Mapping[str, Any]) -> Any:
    """An optimizer by its short name (`adam`, `sgd`, `adamw`, …)."""
    arguments = {key: float(value) if type(value) is int else value for key, value in arguments.items()}
    return keras().optimizers.get({"class_name": name.replace("_", ""), "config": dict(arguments)})


def make_loss(loss: Any) -> Any:
    """A loss object, its reduction over the batch the mean."""
    losses = keras().losses
    if isinstance(loss, Mapping):
        ((name, arguments),) = loss.items()
        return losses.get({"class_name": name, "config": dict(arguments or {})})
    found = losses.get(loss)
    return _object_of(found) if callable(found) and not isinstance(found, losses.Loss) else found


def _object_of(function: Any) -> Any:
    """The loss class that wraps a plain loss function, so that its options can be dials."""
    name = "".join(part.capitalize() for part in function.__name__.split("_"))
    cls = getattr(keras().losses, name, None)
    return cls() if cls is not None else function


def make_metric(metric: Any) -> Any:
    """A metric as `model.compile` takes it: a name stays a name, so that Keras fits `accuracy` to the output."""
    if isinstance(metric, Mapping):
        ((name, arguments),) = metric.items()
        return keras().metrics.get({"class_name": name, "config": dict(arguments or {})})
    return metric
