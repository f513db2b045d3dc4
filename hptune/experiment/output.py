"""`Output`: a layer whose size is the data's. It stands in `layers` until the data is known, then a Dense does.

A softmax over the classes, a sigmoid for each of several labels, a plain number for each value of a regression.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hptune.experiment.experiment import Experiment
from hptune.experiment.keras_table import OUTPUT

_ACTIVATION = {"classes": "softmax", "labels": "sigmoid", "regression": "linear"}


def dense_for(task: str, size: int) -> dict[str, Any]:
    """The arguments of the Dense layer that `Output` is. size: how many classes, labels or values there are.

    >>> dense_for("classes", 10)
    {'units': 10, 'activation': 'softmax'}
    """
    return {"units": size, "activation": _ACTIVATION[task]}


def output_size(task: str | None, classes: int | None, outputs: int | None) -> int | None:
    """How many values the model gives for a sample; None where the data is not known yet.

    classes: how many; outputs: the values of one sample of the target.
    """
    return classes if task == "classes" else outputs


def with_output(experiment: Experiment, task: str | None, size: int | None) -> Experiment:
    """`experiment` with a Dense layer in the place of each `Output`; itself where the size is not known yet."""
    model = experiment.model
    if task is None or size is None or not model.layered:
        return experiment
    layers = _replaced(model.stack, dense_for(task, size))
    if layers == model.stack:
        return experiment
    return experiment.model_copy(update={"model": model.model_copy(update={"layers": layers})})


def _replaced(layers: list[Any], dense: Mapping[str, Any]) -> list[Any]:
    return [_layer(layer, dense) for layer in layers]


def _layer(layer: Any, dense: Mapping[str, Any]) -> Any:
    if layer == OUTPUT:
        return {"Dense": dict(dense)}
    if isinstance(layer, dict) and OUTPUT in layer:
        return {"Dense": {**dense, **(layer[OUTPUT] or {})}}
    if isinstance(layer, dict) and "repeat" in layer:
        return {"repeat": {**layer["repeat"], "layers": _replaced(layer["repeat"]["layers"], dense)}}
    return layer
