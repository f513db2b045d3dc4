"""(x − offset) / divisor as stock `Rescaling` layers that are exact for any column: farads, nanoseconds since 1970.

Keras holds a layer's numbers in float32 whatever the layer computes in, and its `Normalization` divides by 1e-7 at
least. So powers of two and sums of float32 numbers stand for what one float32 can't represent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hptune.training.data.arrays import Array
from hptune.training.runtime import keras

CLOSE = 1e-6
"""How much of a column's spread float32 may lose before the column becomes a float64 input."""

_MOST = 100
"""The largest exponent of two of a factor, so that it is well within float32."""

_TERMS = 3
"""How many float32 numbers sum up to all digits of a float64."""


def needs_float64(values: Array, divisor: Any) -> bool:
    """Whether float32 would lose more than `CLOSE` of the spread at some value (NaN ignored), or is near its limits,
    where TensorFlow takes the smallest numbers for 0.
    """
    if (np.abs(np.log2(divisor)) > _MOST).any():
        return True
    with np.errstate(over="ignore", under="ignore"):
        lost = np.abs(values.astype(np.float32).astype(np.float64) - values.astype(np.float64))
        return bool((lost > CLOSE * np.abs(divisor)).any())


def in_float32(offset: Array, divisor: Array) -> list[Any]:
    """The layers for raw values that float32 holds; the offset in two steps, as it may far exceed the spread."""
    near = offset.astype(np.float32)
    rest = (offset - near) / divisor
    return [
        _layer(1.0, (-near).tolist(), "float32"),
        _layer((1 / divisor).tolist(), (-rest).tolist(), "float32"),
    ]


def in_float64(offset: Array, divisor: Array) -> list[Any]:
    """The layers for other raw values: scaled to about 1, shifted near 0, divided by the spread; all in float64."""
    offset, divisor = np.broadcast_arrays(np.asarray(offset, np.float64), np.asarray(divisor, np.float64))
    exponents = -np.round(np.log2(np.maximum(np.abs(offset), divisor)))
    layers = [_layer(factor.tolist(), 0.0, "float64") for factor in _powers(exponents)]
    left = np.ldexp(offset, exponents.astype(int))
    for _ in range(_TERMS):
        term = left.astype(np.float32)
        layers.append(_layer(1.0, (-term).tolist(), "float64"))
        left = left - term
    spread = np.ldexp(divisor, exponents.astype(int))
    times = max(1, int(np.ceil(np.max(np.abs(np.log2(spread))) / _MOST)))
    factor = np.exp2(-np.log2(spread) / times)
    return [*layers, *(_layer(factor.tolist(), 0.0, "float64") for _ in range(times))]


def added(offset: Array, name: str) -> list[Any]:
    """The layers that add a constant with more digits than float32 has; float64 from there on."""
    layers, left = [], np.asarray(offset, np.float64)
    for i in range(_TERMS):
        term = left.astype(np.float32)
        layers.append(keras().layers.Rescaling(1.0, offset=term.tolist(), name=f"{name}_offset_{i}", dtype="float64"))
        left = left - term
    return layers


def _powers(exponents: Array) -> list[Array]:
    """Powers of two whose product is 2**exponents, each a float32."""
    times = max(1, int(np.ceil(np.max(np.abs(exponents)) / _MOST)))
    shares = [np.trunc(exponents * (i + 1) / times) - np.trunc(exponents * i / times) for i in range(times)]
    return [np.exp2(share) for share in shares]


def _layer(scale: Any, offset: Any, dtype: str) -> Any:
    return keras().layers.Rescaling(scale, offset=offset, dtype=dtype)
