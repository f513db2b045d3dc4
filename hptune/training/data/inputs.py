"""How x is prepared: missing values filled, text one-hot encoded, numbers scaled, all learnt from the training part.

Text becomes one column of 0 and 1 for each category of the training part, sorted; a category that the training part
has not is all zeros, as an unknown one will be when the model is used. Under `scale: auto` the columns of a table (csv,
or floats [n, d]) are standardised, uint8 of three dimensions or more goes to [0, 1], and the rest stays as it is:
integers (token ids) as int32, other floats (pictures, sequences) as float32.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from hptune.errors import spec_error
from hptune.training.data.parts import Array
from hptune.training.data.raw import Column, Raw
from hptune.training.data.split import Rows

Scale: TypeAlias = Literal["auto", "none", "standardize", "unit"]

MOST_CATEGORIES = 1000
"""More different texts than this in a column are names or free text, which one-hot columns don't serve."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the training part says of one column. fill: in place of a missing value; categories: of a text column."""

    fill: float | str | None
    categories: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """Everything that was learnt from the training part; turns raw samples into x.

    encodings: one for each column of a table; () for an array.
    scale: (offset, divisor), float64: x = (raw − offset) / divisor; None: x is raw.
    """

    encodings: tuple[Encoding, ...]
    scale: tuple[Array, Array] | None

    def __call__(self, x: Array | tuple[Column, ...], rows: Rows) -> Array:
        """The samples `rows`, prepared: float32 or int32, C-contiguous."""
        part = x[rows] if isinstance(x, np.ndarray) else _matrix(x, rows, self.encodings)
        if self.scale is None:
            return np.ascontiguousarray(part, np.int32 if part.dtype.kind in "iu" else np.float32)
        # Bytes are exact in float32, which halves the memory of pictures; statistics are applied in float64.
        offset, divisor = self.scale
        scaled = part.astype(np.float32 if part.dtype == np.uint8 else np.float64)
        np.subtract(scaled, offset, out=scaled, casting="same_kind")
        np.divide(scaled, divisor, out=scaled, casting="same_kind")
        return np.ascontiguousarray(scaled, np.float32)


def learn(raw: Raw, train: Rows, scale: Scale) -> Preparation:
    """What the rows `train` say about x. Raises `SpecError` where they don't say enough."""
    if isinstance(raw.x, np.ndarray):
        rule = _rule(raw.x, scale)
        _check_range(raw, rule)
        if rule == "unit" and raw.x.dtype == np.uint8:
            return Preparation((), (np.asarray(0.0), np.asarray(255.0)))
        return Preparation((), None if rule == "none" else _scale(raw.x[train], rule))
    encodings = tuple(_encoding(column, train, raw) for column in raw.x)
    if scale == "none":
        return Preparation(encodings, None)
    offset, divisor = _scale(_matrix(raw.x, train, encodings), "standardize" if scale == "auto" else scale)
    one_hot = np.concatenate([np.full(len(e.categories or "1"), e.categories is not None) for e in encodings])
    return Preparation(encodings, (np.where(one_hot, 0.0, offset), np.where(one_hot, 1.0, divisor)))


def statistics(values: Array) -> tuple[Array, Array]:
    """(mean, standard deviation) over the first axis, float64; the deviation of a constant is 1."""
    values = values.astype(np.float64)
    constant = values.max(axis=0) == values.min(axis=0)
    return np.asarray(values.mean(axis=0)), np.where(constant, 1.0, values.std(axis=0))


def _rule(x: Array, scale: Scale) -> Literal["none", "standardize", "unit"]:
    if scale != "auto":
        return scale
    if x.dtype == np.uint8 and x.ndim >= 3:
        return "unit"
    return "standardize" if x.dtype.kind == "f" and x.ndim == 2 else "none"


def _scale(train: Array, rule: Literal["standardize", "unit"]) -> tuple[Array, Array]:
    """One (offset, divisor) for each place of the last axis, as `keras.layers.Normalization` has them."""
    columns = train.reshape(-1, train.shape[-1])
    if rule == "standardize":
        return statistics(columns)
    low, high = (np.asarray(edge, np.float64) for edge in (columns.min(axis=0), columns.max(axis=0)))
    return low, np.where(high == low, 1.0, high - low)


def _check_range(raw: Raw, rule: str) -> None:
    """Refuse integers that int32 would silently turn into others."""
    assert isinstance(raw.x, np.ndarray)
    if rule != "none" or raw.x.dtype.kind not in "iu":
        return
    low, high, limit = int(raw.x.min()), int(raw.x.max()), np.iinfo(np.int32)
    if low < limit.min or high > limit.max:
        message = f"integers must fit into 32 bits, got {low} to {high}."
        raise spec_error(f"{message} Save them as floats, or say scale: standardize.", *raw.x_path)


def _encoding(column: Column, train: Rows, raw: Raw) -> Encoding:
    values = column.values[train]
    present = values[~np.isnan(values)] if column.numeric else values[values != ""]
    if not len(present):
        message = f"column {column.name!r} has no value in the training part. Leave it out of data.features."
        raise spec_error(message, *raw.x_path)
    if column.numeric:
        return Encoding(_fill(column, present), None)
    categories = tuple(sorted(set(present.tolist())))
    if len(categories) > MOST_CATEGORIES:
        message = f"column {column.name!r} holds {len(categories)} different texts, more than {MOST_CATEGORIES}."
        raise spec_error(f"{message} Leave it out of data.features.", *raw.x_path)
    return Encoding(_fill(column, present), categories)


def _fill(column: Column, present: Array) -> float | str | None:
    if column.fill is None:
        return None
    if column.fill == "most_frequent":
        counts: Counter[float | str] = Counter(present.tolist())
        return min(counts, key=lambda value: (-counts[value], value))  # the smallest of equals
    return float(np.mean(present) if column.fill == "mean" else np.median(present))


def _matrix(columns: tuple[Column, ...], rows: Rows, encodings: tuple[Encoding, ...]) -> Array:
    """float64 [rows, width]: filled and one-hot encoded, not yet scaled."""
    blocks = [_block(c.values[rows], encoding) for c, encoding in zip(columns, encodings, strict=True)]
    return np.concatenate(blocks, axis=1)


def _block(values: Array, encoding: Encoding) -> Array:
    if encoding.categories is None:
        filled = values if encoding.fill is None else np.where(np.isnan(values), encoding.fill, values)
        return filled.reshape(-1, 1)
    index = {category: i for i, category in enumerate(encoding.categories)}
    if encoding.fill is not None:
        index[""] = index[str(encoding.fill)]
    codes = np.array([index.get(text, -1) for text in values.tolist()])
    return np.asarray(codes[:, None] == np.arange(len(encoding.categories)), np.float64)
