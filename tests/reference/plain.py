"""Preparation written plainly, in long doubles, so that numpy's own rounding is none of the differences."""

from __future__ import annotations

from typing import Any

import numpy as np

from .draw import Array


def wide(values: Any) -> Array:
    """Long doubles: integers of 64 bits keep their digits, and squares of 1e300 are none too large."""
    return np.asarray(values).astype(np.longdouble)


def moments(values: Any) -> tuple[Array, Array]:
    """(mean, deviation) over the first axis; the deviation of a constant is 1."""
    exact = wide(values)
    mean = exact.mean(axis=0)
    deviation = np.sqrt(((exact - mean) ** 2).mean(axis=0))
    return mean, np.where((exact == exact[:1]).all(axis=0), 1, deviation)


def standardised(values: Any, train: Array) -> Array:
    """All rows, by the mean and the deviation of the training part."""
    mean, deviation = moments(np.asarray(values)[train])
    return np.asarray((wide(values) - mean) / deviation)


def in_unit(values: Any, train: Array) -> Array:
    """All rows, by the least and the greatest of the training part; a constant's width is 1."""
    exact = wide(values)
    low, high = exact[train].min(axis=0), exact[train].max(axis=0)
    return np.asarray((exact - low) / np.where(high == low, 1, high - low))
