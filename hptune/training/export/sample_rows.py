"""Samples like those of a winner's training data, drawn from its signature, to test converted files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.training.data.inputs import Encoding
from hptune.training.export.signature import Signature

_SAMPLES = 8


def sample_rows(inputs: Sequence[Any], signature: Signature) -> list[list[NDArray[Any]]]:
    """For each of a few samples, the value [1, …] of each input.

    Numbers lie a few deviations around the mean of the training part; categories come in turn, with a missing value
    where such are filled. Where nothing is known of the inputs, they are ones, numbers around 0, up to 1 and up to 255.
    """
    rng, preparation = np.random.default_rng(0), signature.preparation
    ones = [[_ones(one) for one in inputs], *([draw(one) for one in inputs] for draw in _drawn(rng))]
    if not signature.raw:
        return ones
    if signature.is_table:
        if len(inputs) != len(preparation.encodings):
            return ones
        starts = np.cumsum([0, *(encoding.width for encoding in preparation.encodings)])
        columns = list(zip(inputs, preparation.encodings, starts, strict=False))
        return [
            [
                _cell(one, encoding, scale=_scale(signature, start), number=number, rng=rng)
                for one, encoding, start in columns
            ]
            for number in range(_SAMPLES)
        ]
    if preparation.scale is None or len(inputs) != 1:
        return ones
    offset, divisor = preparation.scale
    shape = _ones(inputs[0]).shape
    drawn = [offset + divisor * rng.normal(size=shape) for _ in range(_SAMPLES)]
    return [[np.asarray(one).reshape(shape).astype(inputs[0].dtype)] for one in drawn]


def _drawn(rng: np.random.Generator) -> list[Callable[[Any], NDArray[Any]]]:
    """Ways to draw an input of which nothing is known; whole numbers and texts are ones."""

    def draw(tensor: Any, distribution: Callable[..., Any]) -> NDArray[Any]:
        shape = [size or 1 for size in tensor.shape]
        return np.asarray(distribution(size=shape), tensor.dtype) if "float" in str(tensor.dtype) else _ones(tensor)

    ways = (rng.normal, partial(rng.uniform, 0.0, 1.0), partial(rng.uniform, 0.0, 255.0))
    return [partial(draw, distribution=of) for of in ways]


def _scale(signature: Signature, start: int) -> tuple[float, float]:
    """The mean and the deviation of a column's first number."""
    if signature.preparation.scale is None:
        return 0.0, 1.0
    offset, divisor = (
        np.broadcast_to(np.ravel(one), signature.preparation.width) for one in signature.preparation.scale
    )
    return float(offset[start]), float(divisor[start])


def _cell(
    tensor: Any, encoding: Encoding, *, scale: tuple[float, float], number: int, rng: np.random.Generator
) -> NDArray[Any]:
    gap = number == _SAMPLES - 1 and encoding.fill is not None
    if encoding.kind == "category":
        return np.full((1, 1), "" if gap else encoding.categories[number % len(encoding.categories)], object)
    if encoding.vocabulary is not None:
        words = encoding.vocabulary.words
        return np.full((1, 1), " ".join(words[number % len(words) :][:3]) if words else "", object)
    offset, divisor = scale
    return np.full((1, 1), np.nan if gap else offset + divisor * rng.normal(), tensor.dtype)


def _ones(tensor: Any) -> NDArray[Any]:
    shape = [size or 1 for size in tensor.shape]
    return np.full(shape, b"one", object) if tensor.dtype == "string" else np.ones(shape, tensor.dtype)
