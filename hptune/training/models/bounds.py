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
        *(f"{kind}{n}D" for kind in ("Cropping", "UpSampling", "SpatialDropout") for n in (1, 2, 3)),
        *(f"{kind}Pooling{n}D" for kind in ("Average", "Max", "GlobalAverage", "GlobalMax") for n in (1, 2, 3)),
    }
)
"""Keras's layers whose output stays within the bounds of their input, once the model is trained."""

_WEIGHTED = frozenset(
    {
        *("Dense", "EinsumDense", "Embedding"),
        *(f"{kind}{n}D" for kind in ("Conv", "SeparableConv", "DepthwiseConv") for n in (1, 2, 3)),
        *(f"Conv{n}DTranspose" for n in (1, 2, 3)),
    }
)
"""Keras's layers whose weights can make any number of their input, before the activation."""

_ON_BOTH_SIDES = frozenset({"linear", "leaky_relu", "hard_shrink", "soft_shrink", "tanh_shrink", "glu"})
"""The activations that give any number, great or small, where their input may be any."""


def last_activation(model: Any) -> str | None:
    """The name of Keras's own activation that the only output comes from; None where it is not known."""
    outputs = getattr(model, "outputs", None)
    return activation_of(outputs[0]) if outputs and not calls_otherwise(model) else None


def activation_of(tensor: Any) -> str | None:
    """The name of Keras's own activation that a symbolic tensor comes from; None where it is not known."""
    layer, inputs = _made_by(tensor)
    if _is_of_keras(layer) and type(layer).__name__ in _PASSING:
        return activation_of(inputs[0])
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


def bounds_of(tensor: Any) -> Bounds | None:
    """The bounds of a symbolic tensor, whatever the weights and samples.

    `UNBOUNDED` where it may be any number, great or small; None where it is not known.
    """
    layer, inputs = _made_by(tensor)
    return _bounds(layer, inputs) if _is_of_keras(layer) else None


def _bounds(layer: Any, inputs: list[Any]) -> Bounds | None:
    """The bounds of a layer's output over these inputs, looked at only where they matter (not under weights)."""
    kind, activation = type(layer).__name__, _own(layer)
    if kind in _WEIGHTED:
        return _of_weights(layer, inputs)
    if kind in ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"):
        return _of_recurrent(layer)
    if kind == "Bidirectional":
        ways = [_of_recurrent(one) for one in (layer.forward_layer, layer.backward_layer)]
        return _together({"sum": _sum, "mul": _product}.get(layer.merge_mode, _hull), ways)
    if kind in ("TimeDistributed", "SpectralNormalization"):
        return _bounds(layer.layer, inputs) if _is_of_keras(layer.layer) else None
    if kind in ("ReLU", "LeakyReLU") and layer.negative_slope == 0:
        return 0.0, getattr(layer, "max_value", None) or inf
    if kind == "Softmax":
        return RANGES["softmax"]
    if kind == "ELU":
        return -float(layer.alpha), inf
    if kind == "BatchNormalization" and (layer.center or layer.scale):
        return UNBOUNDED if layer.trainable else None
    if kind in _OF_SEVERAL:
        return _of_several(kind, inputs)
    if kind == "Activation" and activation in RANGES:
        return RANGES[activation]
    if kind.startswith("UpSampling") and getattr(layer, "interpolation", "nearest") not in ("nearest", "bilinear"):
        return None  # these interpolate beyond the input's range
    if not (kind in _PASSING or kind in _OF_ONE or kind.startswith("ZeroPadding")):
        return None
    before = bounds_of(inputs[0])
    if kind == "Activation":
        return _of_activation(activation, before)
    if kind == "Rescaling":
        return _rescaled(layer, before)
    if kind in _OF_ONE:  # those that pass part of what is below 0
        return UNBOUNDED if before == UNBOUNDED and not getattr(layer, "max_value", None) else None
    return before if kind in _PASSING else _together(_hull, [(0.0, 0.0), before])


_OF_ONE = frozenset({"Activation", "Rescaling", "ReLU", "LeakyReLU", "PReLU"})


def _of_several(kind: str, inputs: list[Any]) -> Bounds | None:
    each = [bounds_of(one) for one in inputs]
    bounds = _together(_OF_SEVERAL[kind], each)
    if bounds != UNBOUNDED:
        return bounds
    free = all(one == UNBOUNDED for one in each) if kind == "Concatenate" else _independent(inputs)
    return UNBOUNDED if free else None


def _together(rule: Rule, each: list[Bounds | None]) -> Bounds | None:
    known = [one for one in each if one is not None]
    return rule(known) if len(known) == len(each) else None


def _of_weights(layer: Any, inputs: list[Any]) -> Bounds | None:
    names = ("kernel", "depthwise", "pointwise", "embeddings")
    held = any(getattr(layer, f"{name}_constraint", None) for name in names)
    free_bias = getattr(layer, "use_bias", False) and layer.bias_constraint is None
    before: Bounds | None = None
    if layer.trainable and (free_bias or not held):
        before = UNBOUNDED
    elif layer.trainable and type(layer).__name__ == "Dense" and _is_never_negative(layer):
        before_weights = bounds_of(inputs[0])
        before = (0.0, inf) if before_weights is not None and before_weights[0] >= 0 else None
    return _of_activation(_own(layer), before) if hasattr(layer, "activation") else before


def _of_activation(name: str | None, before: Bounds | None) -> Bounds | None:
    """name: of Keras's own; None for one of the user's."""
    if name in RANGES:
        return RANGES[name]
    if name == "linear":
        return before
    return UNBOUNDED if name in _ON_BOTH_SIDES and before == UNBOUNDED else None


def _of_recurrent(layer: Any) -> Bounds | None:
    """The bounds of an activation behind gates between 0 and 1, and the zeros that it begins with."""
    gate = getattr(layer, "recurrent_activation", None)  # SimpleRNN has none
    gated = gate is None or any(gate is getattr(keras().activations, name) for name in ("sigmoid", "hard_sigmoid"))
    own = _of_activation(_own(layer), UNBOUNDED)
    return None if own is None or not gated else _hull([(0.0, 0.0), own])


def _rescaled(layer: Any, bounds: Bounds | None) -> Bounds | None:
    if bounds is None or not (isinstance(layer.scale, int | float) and isinstance(layer.offset, int | float)):
        return None
    low, high = sorted(_scaled(end, layer.scale) + layer.offset for end in bounds)
    return low, high


def _independent(tensors: list[Any]) -> bool:
    """Whether each tensor has weights of its own, so that a product or sum of them may lie on either side of 0."""
    sources = [_weights_of(tensor) for tensor in tensors]
    return all(source is not None for source in sources) and len({id(source) for source in sources}) == len(sources)


def _weights_of(tensor: Any) -> Any:
    """The layer with weights that a tensor comes from, through those that pass their input on."""
    layer, inputs = _made_by(tensor)
    kind = type(layer).__name__ if _is_of_keras(layer) else ""
    if kind in _PASSING or kind == "Rescaling":
        return _weights_of(inputs[0])
    return layer if kind in _WEIGHTED or kind == "BatchNormalization" else None


def _made_by(tensor: Any) -> tuple[Any, list[Any]]:
    """(the layer that a symbolic tensor comes from, its inputs); (None, []) where it is not known."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return None, []
    layer = history.operation
    if history.tensor_index and not isinstance(layer, keras().Model):
        return None, []  # a state, and not the layer's output
    if isinstance(layer, keras().Model):
        outputs = getattr(layer, "outputs", None) if not calls_otherwise(layer) else None
        return _made_by(outputs[history.tensor_index]) if outputs else (None, [])
    return layer, list(layer._inbound_nodes[history.node_index].input_tensors)


def calls_otherwise(model: Any) -> bool:
    """Whether its class has a `call` of its own, which need not follow its outputs."""
    return not type(model).call.__module__.startswith("keras.")


def _is_of_keras(layer: Any) -> bool:
    """Whether it is one of Keras's layers. An operation (`x * 200`) is none: its other operands are not known."""
    return isinstance(layer, keras().layers.Layer) and type(layer).__module__.startswith("keras.")


def _is_never_negative(dense: Any) -> bool:
    """Whether its weights are held at 0 and above."""
    kept = keras().constraints.NonNeg
    return isinstance(dense.kernel_constraint, kept) and (not dense.use_bias or isinstance(dense.bias_constraint, kept))


Rule: TypeAlias = Callable[[list[Bounds]], Bounds]
"""From the bounds of several inputs to those of the output."""


def _each(of_lows: Callable[..., float], of_highs: Callable[..., float]) -> Rule:
    def rule(bounds: list[Bounds]) -> Bounds:
        lows, highs = zip(*bounds, strict=True)
        return of_lows(lows), of_highs(highs)

    return rule


_hull, _sum = _each(min, max), _each(sum, sum)


def _product(bounds: list[Bounds]) -> Bounds:
    low, high = bounds[0]
    for other in bounds[1:]:
        ends = [_scaled(a, b) for a in (low, high) for b in other]
        low, high = min(ends), max(ends)
    return low, high


def _dot(bounds: list[Bounds]) -> Bounds:
    """A sum of products, how many of them is not known."""
    low, high = _product(bounds)
    return (0.0 if low >= 0 else -inf), (0.0 if high <= 0 else inf)


def _scaled(end: float, by: float) -> float:
    """A product in which 0 times infinity is 0."""
    return 0.0 if 0 in (end, by) else end * by


def _difference(bounds: list[Bounds]) -> Bounds:
    (low, high), (other_low, other_high) = bounds
    return low - other_high, high - other_low


_OF_SEVERAL: dict[str, Rule] = {
    "Concatenate": _hull,
    "Average": _hull,
    "Maximum": _each(max, max),
    "Minimum": _each(min, min),
    "Add": _sum,
    "Multiply": _product,
    "Subtract": _difference,
    "Dot": _dot,
}
