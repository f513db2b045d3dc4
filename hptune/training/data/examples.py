"""Raw samples that show whether an exported model prepares them as the trained one's were: ordinary and odd ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hptune.training.data.arrays import Array, Rows
from hptune.training.data.inputs import Encoding, Preparation
from hptune.training.data.raw import Column, Raw, take

ORDINARY = 64
"""How many of the first samples of the training part are taken."""

ODD = 512
"""How many others are taken at most."""

LOOKED_AT = 2**17
"""Rows of a table that are searched for odd ones."""

MOST_NUMBERS = 2**22
"""Values of an array that are searched for its extremes, about."""


def examples_of(raw: Raw, train: Rows, preparation: Preparation) -> Array | tuple[Column, ...]:
    """The first samples of the training part; those in which a column is least, greatest, missing or of each category;
    and of a table a row with categories that it has not, and one in which all that may be missing is.
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
    """Of an array, the rows that hold the least and the greatest of each place of the last axis."""
    some = np.sort(train[: max(ORDINARY, MOST_NUMBERS // int(np.prod(x.shape[1:])))])
    values = np.asarray(x[some]).reshape(len(some), -1, x.shape[-1])
    ends = (np.argmin(values.min(axis=1), axis=0), np.argmax(values.max(axis=1), axis=0))
    rows: Rows = some[np.unique(np.concatenate(ends))]
    return rows


def _odd(column: Column, encoding: Encoding, train: Rows) -> Rows:
    if encoding.kind == "text":
        return train[:0]
    some = train[:LOOKED_AT]
    values = np.asarray(column.values[some])
    if encoding.kind == "category":
        first = dict(zip(reversed(values.tolist()), reversed(range(len(some))), strict=True))
        return some[sorted(first.values())]
    missing = np.isnan(values)
    if missing.all():
        return some[:1]
    ends = [int(np.nanargmin(values)), int(np.nanargmax(values)), int(missing.argmax())]
    return some[sorted(set(ends))]


def _with_strange(values: Array, encoding: Encoding) -> Array:
    """Two rows more: of a category that there is not, and without a value where one may be missing."""
    strange: Any = values[0]
    if encoding.kind == "category":
        strange = "[UNK]"
        while strange in encoding.categories:
            strange += "?"
    missing: Any = values[0]
    if encoding.fill is not None:
        missing = "" if encoding.kind == "category" else np.nan
    return np.concatenate([values, np.array([strange, missing], values.dtype)])
