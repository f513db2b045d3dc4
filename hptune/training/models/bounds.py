"""Which values the output of a symbolic model can have, as far as its last layers tell."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, TypeAlias

from hptune.training.runtime import keras

Bounds: TypeAlias = tuple[float, float]
"""(the least, the greatest) value, both included."""

UNBOUNDED: Bounds = (-inf, inf)

RANGES: dict[str, Bounds] = {
    **dict.fromkeys(("sigmoid", "softmax", "hard_sigmoid", "sparse_sigmoid", "sparsemax"), (0.0, 1.0)),
    **dict.fromkeys(("relu", "softplus", "exponential", "squareplus", "sparse_plus"), (0.0, inf)),
    **dict.fromkeys(("tanh", "softsign", "hard_tanh"), (-1.0, 1.0)),
    **dict.fromkeys(("log_sigmoid", "log_softmax"), (-inf, 0.0)),
    **dict.fromkeys(("elu", "celu"), (-1.0, inf)),
    "relu6": (0.0, 6.0),
    "selu": (-1.7581, inf),
    "gelu": (-0.17, inf),
    **dict.fromkeys(("silu", "hard_silu"), (-0.375, inf)),
    "mish": (-0.309, inf),
}
"""What an activation can give at its defaults, where that is bounded; a little more where it has no round figure."""

_PASSING = frozenset(
    {
        *("Reshape", "Flatten", "Permute", "Identity", "Dropout", "ActivityRegularization", "RepeatVector"),
        *("GaussianNoise", "GaussianDropout", "AlphaDropout", "Masking"),
        *("Concatenate", "Average", "Maximum", "Minimum", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"),
        *(f"{kind}{n}D" for kind in ("Cropping", "UpSampling", "SpatialDropout") for n in (1, 2, 3)),
        *(f"{kind}Pooling{n}D" for kind in ("Average", "Max", "GlobalAverage", "GlobalMax") for n in (1, 2, 3)),
    }
)
"""Keras's layers that give nothing beyond what they are given, but for 0, once the model is trained."""

_ONE_INPUT = _PASSING - {"Concatenate", "Average", "Maximum", "Minimum"}


def last_activation(model: Any) -> str | None:
    """The name of Keras's own activation that the only output comes out of; None where that is not known."""
    outputs = getattr(model, "outputs", None)
    return activation_of(outputs[0]) if outputs else None


def activation_of(tensor: Any) -> str | None:
    """The name of Keras's own activation that a symbolic tensor comes out of; None where that is not known."""
    layer, given = _made_by(tensor)
    if _is_of_keras(layer) and type(layer).__name__ in _ONE_INPUT:
        return activation_of(given[0])
    if isinstance(layer, keras().layers.Softmax):
        return "softmax"
    if isinstance(layer, keras().layers.ReLU):
        return "relu" if layer.negative_slope == 0 else None
    return _own(layer)


def _own(layer: Any) -> str | None:
    """The name of the activation of Keras's own that a layer ends in."""
    own = getattr(layer, "activation", None)
    name = getattr(own, "__name__", None)
    return name if name is not None and own is getattr(keras().activations, name, None) else None


def bounds_of(tensor: Any) -> Bounds:
    """Between which values a symbolic tensor lies, whatever the weights and samples; what is not known is unbounded."""
    layer, given = _made_by(tensor)
    return UNBOUNDED if layer is None else _bounds(layer, [bounds_of(one) for one in given])


def _bounds(layer: Any, given: list[Bounds]) -> Bounds:
    """What a layer gives of inputs in these bounds."""
    if not _is_of_keras(layer):
        return UNBOUNDED
    kind = type(layer).__name__
    if kind in _PASSING:
        return _hull(given)
    if kind in _OF_SEVERAL:
        return _OF_SEVERAL[kind](given)
    if kind == "Rescaling" and isinstance(layer.scale, int | float) and isinstance(layer.offset, int | float):
        ends = sorted(_scaled(end, layer.scale) + layer.offset for end in given[0])
        return ends[0], ends[1]
    if kind in ("ReLU", "LeakyReLU") and layer.negative_slope == 0:
        return 0.0, getattr(layer, "max_value", None) or inf
    if kind == "Softmax":
        return RANGES["softmax"]
    if kind == "TimeDistributed":
        return _bounds(layer.layer, given)
    if kind in ("LSTM", "GRU", "SimpleRNN"):
        return _of_recurrent(layer)
    if kind == "Bidirectional":
        ways = [_of_recurrent(one) for one in (layer.forward_layer, layer.backward_layer)]
        return {"sum": _sum, "mul": _product}.get(layer.merge_mode, _hull)(ways)
    activation = _own(layer)
    if kind == "Dense" and activation == "linear" and _is_never_negative(layer):
        return (0.0, inf) if given[0][0] >= 0 else UNBOUNDED
    if kind == "Activation" and activation == "linear":
        return given[0]
    return RANGES.get(activation or "", UNBOUNDED)


def _of_recurrent(layer: Any) -> Bounds:
    """What a gate lets through of an activation, and the zeros that it begins with."""
    return _hull([(0.0, 0.0), RANGES.get(_own(layer) or "", UNBOUNDED)])


def _made_by(tensor: Any) -> tuple[Any, list[Any]]:
    """The layer that a symbolic tensor comes out of, and what that was given; (None, []) where it is not known."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return None, []
    layer = history.operation
    if isinstance(layer, keras().Model):
        outputs = getattr(layer, "outputs", None)
        return _made_by(outputs[history.tensor_index]) if outputs else (None, [])
    return layer, list(layer._inbound_nodes[history.node_index].input_tensors)


def _is_of_keras(layer: Any) -> bool:
    """Whether it is a layer of Keras's. Of operations (`x * 200`) it is not known what else they are given."""
    return isinstance(layer, keras().layers.Layer) and type(layer).__module__.startswith("keras.")


def _is_never_negative(dense: Any) -> bool:
    """Whether its weights are held at 0 and above."""
    kept = keras().constraints.NonNeg
    return isinstance(dense.kernel_constraint, kept) and (not dense.use_bias or isinstance(dense.bias_constraint, kept))


def _hull(given: list[Bounds]) -> Bounds:
    lows, highs = zip(*given, strict=True)
    return min(lows), max(highs)


def _sum(given: list[Bounds]) -> Bounds:
    lows, highs = zip(*given, strict=True)
    return sum(lows), sum(highs)


def _product(given: list[Bounds]) -> Bounds:
    low, high = given[0]
    for other in given[1:]:
        ends = [_scaled(a, b) for a in (low, high) for b in other]
        low, high = min(ends), max(ends)
    return low, high


def _dot(given: list[Bounds]) -> Bounds:
    """A sum of products, of which it is not known how many."""
    low, high = _product(given)
    return (0.0 if low >= 0 else -inf), (0.0 if high <= 0 else inf)


def _scaled(end: float, by: float) -> float:
    """A product in which 0 takes away the infinite."""
    return 0.0 if 0 in (end, by) else end * by


def _difference(given: list[Bounds]) -> Bounds:
    (low, high), (other_low, other_high) = given
    return low - other_high, high - other_low


_OF_SEVERAL: dict[str, Callable[[list[Bounds]], Bounds]] = {
    "Add": _sum,
    "Multiply": _product,
    "Subtract": _difference,
    "Dot": _dot,
}
