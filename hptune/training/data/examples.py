"""Raw samples, ordinary and odd, to check that an exported model prepares them as training did."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hptune.training.data.arrays import Array, Rows
from hptune.training.data.inputs import Encoding, Preparation
from hptune.training.data.raw import Column, Raw, take

ORDINARY = 64
"""How many of the training part's first samples are taken."""

ODD = 512
"""How many odd samples are taken at most."""

LOOKED_AT = 2**17
"""Rows of a table that are searched for odd ones."""

MOST_NUMBERS = 2**22
"""About how many values of an array are searched for its extremes."""


def examples_of(raw: Raw, train: Rows, preparation: Preparation) -> Array | tuple[Column, ...]:
    """The first samples of the training part, and those in which a column is least, greatest, missing or of each
    category; for a table also a row of unknown categories, and one in which all that may be missing is missing.
    """
    if not isinstance(raw.x, tuple):
        return take(raw.x, _chosen(train, [_ends(raw.x, train)]))
    odd_rows = [_odd(column, encoding, train) for column, encoding in zip(raw.x, preparation.encodings, strict=True)]
    rows = take(raw.x, _chosen(train, odd_rows))
    assert isinstance(rows, tuple)
    pairs = zip(rows, preparation.encodings, strict=True)
    return tuple(replace(one, values=_with_strange(one.values, encoding)) for one, encoding in pairs)


def _chosen(train: Rows, odd_rows: list[Rows]) -> Rows:
    odd = np.concatenate(odd_rows)[:ODD] if odd_rows else train[:0]
    return np.concatenate([train[:ORDINARY], odd])


def _ends(x: Any, train: Rows) -> Rows:
    """The rows of an array that hold the least and the greatest value at each place of the last axis."""
    searched = np.sort(train[: max(ORDINARY, MOST_NUMBERS // int(np.prod(x.shape[1:])))])
    values = np.asarray(x[searched]).reshape(len(searched), -1, x.shape[-1])
    ends = (np.argmin(values.min(axis=1), axis=0), np.argmax(values.max(axis=1), axis=0))
    rows: Rows = searched[np.unique(np.concatenate(ends))]
    return rows


def _odd(column: Column, encoding: Encoding, train: Rows) -> Rows:
    if encoding.kind == "text":
        return train[:0]
    searched = train[:LOOKED_AT]
    values = np.asarray(column.values[searched])
    if encoding.kind == "category":
        first = dict(zip(reversed(values.tolist()), reversed(range(len(searched))), strict=True))
        return searched[sorted(first.values())]
    missing = np.isnan(values)
    if missing.all():
        return searched[:1]
    ends = [int(np.nanargmin(values)), int(np.nanargmax(values)), int(missing.argmax())]
    return searched[sorted(set(ends))]


def _with_strange(values: Array, encoding: Encoding) -> Array:
    """The values and two more: an unknown category, and a missing value where one may be missing."""
    strange: Any = values[0]
    if encoding.kind == "category":
        strange = "[UNK]"
        while strange in encoding.categories:
            strange += "?"
    missing: Any = values[0]
    if encoding.fill is not None:
        missing = "" if encoding.kind == "category" else np.nan
    return np.concatenate([values, np.array([strange, missing], values.dtype)])
