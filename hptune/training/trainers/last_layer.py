"""Whether the last layer fits the target: how many values it gives per sample, and their range."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from hptune.base.errors import KeyPath, Problem, SpecError
from hptune.training.core.results import makes_its_own_loss
from hptune.training.data import Data
from hptune.training.models.bounds import UNBOUNDED, activation_of, bounds_of, calls_otherwise, last_activation

BY_CLASS = ("SparseCategoricalCrossentropy", "CategoricalCrossentropy")
"""The losses that need a value for each class."""


def check_last_layer(
    model: Any, loss: Any, *, data: Data, path: KeyPath, columns: Mapping[str, int] = MappingProxyType({})
) -> None:
    """Raise SpecError, with the remedy, where the model's last layer can't give what the target and the loss need.

    path: the last layer's place in the YAML. columns: for several outputs, the column of the target that each learns.
    Models whose shapes are known only once they ran, and those that compute their own loss, are not checked. Under a
    loss of the user's, which may be over embeddings, only the range of the output is. An activation of the user's may
    give any value.
    """
    if makes_its_own_loss(model):
        return
    if columns:
        for name, column in columns.items():
            if data.task == "regression":
                _check_range(model.output[name], data, path, column=column, name=name)
        return
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or not shape or isinstance(shape[0], tuple):
        return
    output = _only_output(model)
    if not _is_keras_own(loss):
        if data.task == "regression" and data.target_scale is not None:
            _check_range(output, data, path)
        return
    _check_size(shape, loss, data=data, path=path)
    activation = last_activation(model)
    if activation == "softmax" and shape[-1] == 1:
        problem = "a softmax over one value is always 1"
        _refuse(problem, "Say activation: sigmoid" if data.task != "regression" else "Drop the activation", path)
    if data.task == "regression":
        _check_range(output, data, path)
    elif activation is not None:
        _check_probabilities(activation, loss, data=data, path=path)


def range_note(model: Any, data: Data, *, columns: Mapping[str, int] = MappingProxyType({})) -> str | None:
    """A note on a network for a standardised target that is not known to give numbers of either sign; or None."""
    if data.task != "regression" or data.target_scale is None or makes_its_own_loss(model):
        return None
    outputs = {name: model.output[name] for name in columns} or {"": _only_output(model)}
    for name, output in outputs.items():
        if output is None or bounds_of(output) is None:
            layer = f"{name}'s last layer" if name else "the last layer"
            problem = f"the target is standardised while training, and whether {layer} gives values on both sides of 0"
            return f"{problem} is not known. Say data.scale: none if it does not."
    return None


def _only_output(model: Any) -> Any:
    """The only output; None where it is not known."""
    return model.outputs[0] if getattr(model, "outputs", None) and not calls_otherwise(model) else None


def _is_keras_own(loss: Any) -> bool:
    return (loss if callable(loss) and hasattr(loss, "__name__") else type(loss)).__module__.split(".")[0] == "keras"


# --- how many values -------------------------------------------------------------------------------------------------


def _check_size(shape: tuple[Any, ...], loss: Any, *, data: Data, path: KeyPath) -> None:
    """Classes need one value each (one sigmoid will do for two); one-hot rows, labels and outputs one per column."""
    got = 1 if len(shape) == 1 else shape[-1]
    y = data.train.y
    if data.task != "classes":
        if len(shape) == y.ndim + 1 and shape[1:] == (*y.shape[1:], 1):
            return  # Keras leaves the last axis out
        wanted = 1 if y.ndim == 1 else y.shape[-1]
        if got != wanted or len(shape) > 2:
            sigmoid = ", activation: sigmoid" if data.task == "labels" else ""
            kind = "labels" if data.task == "labels" else "values a sample"
            _refuse_shape(path, shape, target=f"the target has {wanted} {kind}", dense=f"{{units: {wanted}{sigmoid}}}")
        return
    assert data.labels is not None
    classes = len(data.labels)
    if len(shape) > 2:
        remedy = "Put Flatten or a pooling layer before the last layer"
        _refuse(_gives(shape, "the target is one class a sample"), remedy, path)
    if y[0].size == 1 and classes == 2 and got == 1 and type(loss).__name__ not in BY_CLASS:
        return
    if y[0].size == 1 and classes == 2 and got == 1:
        problem = _gives(shape, f"{type(loss).__name__} wants one for each of the 2 classes")
        binary = "End with Dense: {units: 1, activation: sigmoid} and say training.loss: binary_crossentropy"
        _refuse(problem, f"{binary}, or end with Dense: {{units: 2, activation: softmax}}", path)
    if got != classes:
        remedy = f"{{units: {classes}, activation: softmax}}"
        remedy += " or {units: 1, activation: sigmoid}" if classes == 2 else ""
        _refuse_shape(path, shape, target=f"the target has {classes} classes", dense=remedy)


def _refuse_shape(path: KeyPath, shape: tuple[Any, ...], *, target: str, dense: str) -> NoReturn:
    _refuse(_gives(shape, target), f"End with Dense: {dense}", path)


def _gives(shape: tuple[Any, ...], target: str) -> str:
    return f"the last layer gives {' x '.join(str(size) for size in shape[1:])} values a sample, but {target}"


def _refuse(problem: str, remedy: str, path: KeyPath) -> NoReturn:
    raise SpecError(Problem(f"{problem}. {remedy}.", path))


# --- which values ----------------------------------------------------------------------------------------------------


def _check_range(output: Any, data: Data, path: KeyPath, *, column: int | None = None, name: str = "") -> None:
    """The output must reach the target's numbers, which lie on both sides of 0 where they are standardised."""
    bounds = bounds_of(output)
    if bounds is None or bounds == UNBOUNDED:
        return
    low, high = bounds
    source = activation_of(output) or "the last layer"
    problem = f"{name}'s {source}" if name else source
    problem += f" gives values from {low:g} to {high:g}"
    if data.target_scale is not None:
        remedy = "Drop the activation, or say data.scale: none"
        _refuse(f"{problem}, and the target is standardised while training", remedy, path)
    y = data.train.y if column is None else data.train.y[:, column]
    least, most = float(y.min()), float(y.max())
    if least < low or most > high:
        _refuse(f"{problem}, and the target has {least:g} to {most:g}", "Drop the activation", path)


def _check_probabilities(activation: str, loss: Any, *, data: Data, path: KeyPath) -> None:
    """A cross-entropy takes probabilities; with `from_logits` it computes them itself."""
    kind = type(loss).__name__
    if kind not in (*BY_CLASS, "BinaryCrossentropy"):
        return
    logits = bool(loss.get_config().get("from_logits", False))
    right = "softmax" if kind in BY_CLASS else "sigmoid"
    if logits and activation in ("softmax", "sigmoid"):
        problem = f"the loss applies its own {right} (from_logits: true), and the last layer has {activation} already"
        _refuse(problem, "Drop one of the two", path)
    if logits:
        return
    if data.task == "labels" and activation == "softmax":
        problem = "softmax makes the labels exclude each other, and several may hold at once"
        _refuse(problem, "Say activation: sigmoid", path)
    if kind in BY_CLASS and activation == "sigmoid":
        problem = f"{kind} wants probabilities that add up to 1, and the last layer has sigmoid"
        _refuse(problem, "Say activation: softmax", path)
    if activation not in ("softmax", "sigmoid", "hard_sigmoid"):
        has = "no activation" if activation == "linear" else f"activation {activation}"
        problem = f"{kind} wants probabilities, and the last layer has {has}"
        _refuse(problem, f"Say activation: {right}, or loss: {{{kind}: {{from_logits: true}}}}", path)
