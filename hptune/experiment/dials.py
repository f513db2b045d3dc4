"""The table of dials: which number of which stock class can be turned without a new graph, and in which range.

A number is a dial where Keras's own Python code does the same for every number of a range; the graph reads it when it
runs. Outside that range (a clipping of 0, which is none; a dropout of 1) the number is structure: it stands in the
layer or optimizer as a plain number, and Keras itself does, or refuses, what it always does. What is not in this table
is structure too, so that what Keras adds later is right before it is fast. None is never a dial.

What 0 and the default mean:

- A rate of dropout or noise at 0 is a mask that lets everything through; Keras leaves it out, with the same result.
- A strength of L1 or L2 at 0 adds a penalty of 0, as Keras does, or leaves out. A plain name (`l2`) is structure.
- An optimizer's number is a dial where it is given, whatever it is. A momentum of 0 has slots of zeros, where Keras
  makes none, with the same result.
- A beta_2 below one half makes Adam's step a quotient of noise: it is structure, and Keras's own operations compute it.
- Clipping at 0 is off in Keras, and so is None: both are structure.

The differential suite (`tests/equal`) trains each of them at 0, at its default and at another value, as the first trial
of a program and as the second, beside Keras's `fit`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

ArgumentPath: TypeAlias = tuple[str | int, ...]
"""Where something stands among the arguments of a layer: `("kernel_regularizer", "L2", "l2")`."""


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from `low` to `high`.

    >>> Range(0, below=1).holds(0), Range(0, below=1).holds(1), Range(above=0).holds(0)
    (True, False, False)
    """

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def holds(self, value: Any) -> bool:
        """Whether the value is a number in the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return self.low <= value <= self.high and self.above < value < self.below


DialRanges: TypeAlias = Mapping[str, Range]

_ANY, _POSITIVE, _NOT_NEGATIVE, _BELOW_ONE = Range(), Range(above=0), Range(low=0), Range(low=0, below=1)

LAYERS: Mapping[str, DialRanges] = {
    "Dropout": {"rate": _BELOW_ONE},
    "SpatialDropout1D": {"rate": _BELOW_ONE},
    "SpatialDropout2D": {"rate": _BELOW_ONE},
    "SpatialDropout3D": {"rate": _BELOW_ONE},
    "GaussianDropout": {"rate": _BELOW_ONE},
    "AlphaDropout": {"rate": _BELOW_ONE},
    "GaussianNoise": {"stddev": Range(low=0, high=1)},
}

REGULARIZERS: Mapping[str, DialRanges] = {
    "L1": {"l1": _NOT_NEGATIVE},
    "L2": {"l2": _NOT_NEGATIVE},
    "L1L2": {"l1": _NOT_NEGATIVE, "l2": _NOT_NEGATIVE},
}

_CLIPPING = dict.fromkeys(("clipnorm", "global_clipnorm", "clipvalue"), _POSITIVE)
_COMMON = {"weight_decay": _ANY, **_CLIPPING}
_ADAM = {**_COMMON, "beta_1": _ANY, "beta_2": Range(low=0.5, below=1), "epsilon": _ANY}

OPTIMIZERS: Mapping[str, DialRanges] = {
    "SGD": {**_COMMON, "momentum": Range(low=0, high=1)},
    "RMSprop": {**_COMMON, "momentum": _NOT_NEGATIVE, "rho": _ANY, "epsilon": _ANY},
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "Adamax": _ADAM,
    "Nadam": _ADAM,
    "Lamb": _ADAM,
    "ScheduleFreeAdamW": _ADAM,
    "Lion": {**_COMMON, "beta_1": Range(above=0, high=1), "beta_2": _ANY},
    "Adagrad": {**_COMMON, "epsilon": _ANY},
    "Adadelta": {**_COMMON, "rho": _ANY, "epsilon": _ANY},
    "Adafactor": _COMMON,
    "Ftrl": _COMMON,
    "Muon": _COMMON,
}

NESTED_LAYERS = ("layer", "forward_layer", "backward_layer", "cell", "cells", "layers")
"""The arguments in which a layer holds others."""

_BY_LOWER: Mapping[str, Mapping[str, DialRanges]] = {
    "regularizers": {name.lower(): arguments for name, arguments in REGULARIZERS.items()},
    "optimizers": {name.lower(): arguments for name, arguments in OPTIMIZERS.items()},
}


def of_regularizer(name: str) -> DialRanges:
    """The dials of a regulariser, by any name that Keras has for it (`L2`, `l2`); none of one that is not known."""
    return _BY_LOWER["regularizers"].get(name.replace("_", "").lower(), {})


def of_optimizer(name: str) -> DialRanges:
    """The dials of an optimizer, by any name that Keras has for it."""
    return _BY_LOWER["optimizers"].get(name.replace("_", "").lower(), {})


def is_stock(layer: str) -> bool:
    """Whether the name is Keras's own. What a layer of the user's does with its numbers is not known."""
    return ":" not in layer


def in_arguments(layer: str, arguments: Mapping[str, Any]) -> Iterator[tuple[ArgumentPath, float]]:
    """(path, number) of each dial among a layer's arguments, those of the layers inside it included.

    >>> list(in_arguments("Bidirectional", {"layer": {"LSTM": {"units": 4, "kernel_regularizer": {"L2": {"l2": 0}}}}}))
    [(('layer', 'LSTM', 'kernel_regularizer', 'L2', 'l2'), 0.0)]
    """
    if not is_stock(layer):
        return
    for name, number_range in LAYERS.get(layer, {}).items():
        if number_range.holds(arguments.get(name)):
            yield (name,), float(arguments[name])
    for key in sorted(arguments):
        value = arguments[key]
        if key.endswith("_regularizer") and _is_call(value):
            ((kind, numbers),) = value.items()
            for name, number_range in of_regularizer(kind).items():
                if number_range.holds((numbers or {}).get(name)):
                    yield (key, kind, name), float(numbers[name])
        elif key in NESTED_LAYERS:
            for path, (inner, inner_arguments) in nested(key, value):
                for place, number in in_arguments(inner, inner_arguments):
                    yield (*path, *place), number


def nested(key: str, value: Any) -> Iterator[tuple[ArgumentPath, tuple[str, Mapping[str, Any]]]]:
    """(path to its arguments, (name, arguments)) of each layer that stands in an argument as `{Name: {arguments}}`."""
    if isinstance(value, list):
        for index, entry in enumerate(value):
            if _is_call(entry):
                ((name, arguments),) = entry.items()
                yield (key, index, name), (name, arguments or {})
    elif _is_call(value):
        ((name, arguments),) = value.items()
        yield (key, name), (name, arguments or {})


def bare(layer: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that make a layer's initial weights: without dials, and without penalties, which draw nothing.

    All that a layer of the user's own is given counts: what it does with it is not known.
    """
    if not is_stock(layer):
        return dict(arguments)
    turned = LAYERS.get(layer, {})
    return {
        key: [_bare_layer(entry) for entry in value]
        if key in NESTED_LAYERS and isinstance(value, list)
        else _bare_layer(value)
        if key in NESTED_LAYERS
        else value
        for key, value in arguments.items()
        if key not in turned and not key.endswith("_regularizer")
    }


def _bare_layer(value: Any) -> Any:
    if not _is_call(value):
        return value
    ((name, arguments),) = value.items()
    return {name: bare(name, arguments or {})}


def _is_call(value: Any) -> bool:
    """Whether it is `{Name: {arguments}}`."""
    return isinstance(value, Mapping) and len(value) == 1 and isinstance(next(iter(value.values())), Mapping | None)
