"""How x is prepared: missing values filled, text and dates made numbers, numbers scaled; learnt from the training part.

A category that the training part has not is all zeros among its columns in the other parts. Under `scale: auto` the
columns of a table (or floats [n, d]) are standardised, uint8 of three dimensions or more goes to [0, 1], and the rest
stays as it is: integers (token ids) as int32, other floats (pictures, sequences) as float32. For scikit-learn, which
computes in float64, nothing is made narrower: whole numbers keep their type, and everything else is float64.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from hptune.errors import SpecError, spec_error
from hptune.spec.data import Kind
from hptune.training.data.parts import Array
from hptune.training.data.raw import Column, Raw
from hptune.training.data.split import Rows
from hptune.training.data.stream import Mapped, Source, blocks
from hptune.training.data.words import Vocabulary, learn_words

Scale: TypeAlias = Literal["auto", "none", "standardize", "unit"]

STRETCH = 2**21
"""About so many numbers are looked at together for what all of them show."""

MOST_CATEGORIES = 1000
"""More different texts than this in a column are names or free text, which one-hot columns don't serve."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the training part says of one column of a table: how its raw value becomes `width` numbers.

    In this order: a missing value (NaN, or "" among texts) becomes `fill`, where that is not None; then, by kind,
    number: the value itself. One number.
    date: days since 1970-01-01 (UTC), the time of day as a fraction. One number.
    category: one number for each of `categories`, sorted: 1 for the one that the value is, 0 for the others; all 0 for
        a value that is none of them.
    text: what `vocabulary` makes of it.
    Then `Preparation.scale` is applied, which leaves the columns of categories and texts as they are.
    """

    name: str
    kind: Kind
    fill: float | str | None = None
    categories: tuple[str, ...] = ()
    vocabulary: Vocabulary | None = None

    @property
    def width(self) -> int:
        """How many columns of x it makes."""
        if self.vocabulary is not None:
            return self.vocabulary.width
        return len(self.categories) if self.kind == "category" else 1


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """Everything that was learnt from the training part; turns raw samples into x.

    encodings: one for each column of a table, whose columns of x stand side by side in this order; () for an array.
    scale: (offset, divisor), float64, broadcastable to x: x = (raw − offset) / divisor; None: x is raw.
    width: the columns of x, of a table. words: x is the numbers of words, in their order, and nothing else
        (`output_mode: int`). wide: x keeps all digits, as scikit-learn takes it; else it has Keras's types.
    """

    encodings: tuple[Encoding, ...]
    scale: tuple[Array, Array] | None
    wide: bool = False

    @property
    def width(self) -> int:
        return sum(encoding.width for encoding in self.encodings)

    @property
    def words(self) -> bool:
        return any(e.vocabulary is not None and e.vocabulary.length is not None for e in self.encodings)

    def __call__(self, x: Source, rows: Rows) -> Array:
        """The samples `rows`, prepared: float32 or int32 (float64 or integers where `wide`), C-contiguous."""
        width = self.width if isinstance(x, tuple) else int(np.prod(x.shape[1:]))
        stretches = np.array_split(rows, -(-len(rows) * width // STRETCH) or 1)
        if len(stretches) == 1:
            return self._prepared(x, rows)
        found, done = np.empty(0), 0
        for stretch in stretches:  # float64 on the way: never of all of them at once
            part = self._prepared(x, stretch)
            found = found if done else np.empty((len(rows), *part.shape[1:]), part.dtype)
            found[done : done + len(part)] = part
            done += len(part)
        return found

    def _prepared(self, x: Source, rows: Rows) -> Array:
        part = _matrix(x, rows, self.encodings) if isinstance(x, tuple) else x[rows]
        if self.scale is None:
            return np.ascontiguousarray(part, self._kept(part.dtype))
        # Bytes are exact in float32, which halves the memory of pictures; statistics are applied in float64.
        offset, divisor = self.scale
        scaled = part.astype(np.float32 if part.dtype == np.uint8 and not self.wide else np.float64)
        np.subtract(scaled, offset, out=scaled, casting="same_kind")
        np.divide(scaled, divisor, out=scaled, casting="same_kind")
        return np.ascontiguousarray(scaled, np.float64 if self.wide else np.float32)

    def _kept(self, given: np.dtype[Any]) -> Any:
        """The type of what is not scaled."""
        if self.wide and not self.words:
            return given if given.kind in "iu" else np.float64
        return np.int32 if given.kind in "iu" or self.words else np.float32

    def as_json(self) -> dict[str, Any]:
        """JSON data; `from_json` makes an equal one of it."""
        scale = None if self.scale is None else [np.asarray(a, np.float64).tolist() for a in self.scale]
        encodings = [dataclasses.asdict(one) for one in self.encodings]
        return {"encodings": encodings, "scale": scale, **({"wide": True} if self.wide else {})}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Preparation:
        """What `as_json` gave, read back."""
        scale = None if told["scale"] is None else tuple(np.asarray(a, np.float64) for a in told["scale"])
        encodings = tuple(
            Encoding(
                one["name"],
                one["kind"],
                one["fill"],
                tuple(one["categories"]),
                None if one["vocabulary"] is None else _vocabulary(one["vocabulary"]),
            )
            for one in told["encodings"]
        )
        assert scale is None or len(scale) == 2
        return cls(encodings, scale, told.get("wide", False))


def _vocabulary(told: Mapping[str, Any]) -> Vocabulary:
    return Vocabulary(tuple(told["words"]), told["output_mode"], tuple(told["idf"]), told["length"])


def learn(raw: Raw, train: Rows, scale: Scale, *, wide: bool = False) -> Preparation:
    """What the rows `train` say about x. wide: for scikit-learn. Raises `SpecError` where they don't say enough."""
    if not isinstance(raw.x, tuple):
        rule = _rule(raw.x, scale)
        if not wide:
            _check_range(raw, rule)
        if rule == "unit" and raw.x.dtype == np.uint8:
            return Preparation((), (np.asarray(0.0), np.asarray(255.0)), wide)
        return Preparation((), None if rule == "none" else _scale(raw.x, train, (), rule), wide)
    train = np.sort(train)  # columns on the disk are read from their beginning to their end
    encodings = tuple(_encoding(column, train, raw) for column in raw.x)
    learnt = Preparation(encodings, None, wide)
    if scale == "none" or learnt.words:
        return learnt
    offset, divisor = _scale(raw.x, train, encodings, "standardize" if scale == "auto" else scale)
    plain = np.concatenate([np.full(e.width, e.kind in ("category", "text")) for e in encodings])
    return Preparation(encodings, (np.where(plain, 0.0, offset), np.where(plain, 1.0, divisor)), wide)


def statistics(values: Array) -> tuple[Array, Array]:
    """(mean, standard deviation) over the first axis, float64; the deviation of a constant is 1."""
    return _moments(lambda: [values])


def _moments(blocks: Callable[[], Iterable[Array]]) -> tuple[Array, Array]:
    """`statistics` of the rows of all blocks; goes over them twice."""
    found = [(len(b), b.min(axis=0), b.max(axis=0), np.add.reduce(b, axis=0, dtype=np.float64)) for b in blocks()]
    sizes, lows, highs, sums = zip(*found, strict=True)
    mean = np.asarray(sum(sums) / sum(sizes))
    squares = sum(np.add.reduce((b.astype(np.float64) - mean) ** 2, axis=0) for b in blocks())
    constant = np.min(lows, axis=0) == np.max(highs, axis=0)
    return mean, np.where(constant, 1.0, np.sqrt(squares / sum(sizes)))


def _extremes(blocks: Iterable[Array]) -> tuple[Array, Array]:
    """(least, greatest) of each column, float64."""
    edges = [(block.min(axis=0), block.max(axis=0)) for block in blocks]
    low, high = (np.asarray(one, np.float64) for one in zip(*edges, strict=True))
    return low.min(axis=0), high.max(axis=0)


def _rule(x: Array | Mapped, scale: Scale) -> Literal["none", "standardize", "unit"]:
    if scale != "auto":
        return scale
    if x.dtype == np.uint8 and x.ndim >= 3:
        return "unit"
    return "standardize" if x.dtype.kind == "f" and x.ndim == 2 else "none"


def _scale(
    x: Source, train: Rows, encodings: tuple[Encoding, ...], rule: Literal["standardize", "unit"]
) -> tuple[Array, Array]:
    """One (offset, divisor) for each place of the last axis, as `keras.layers.Normalization` has them."""

    def columns() -> Iterator[Array]:
        width = sum(e.width for e in encodings) if isinstance(x, tuple) else int(np.prod(x.shape[1:]))
        for rows in np.array_split(train, min(len(train), -(-len(train) * width // STRETCH))):
            part = _matrix(x, rows, encodings) if isinstance(x, tuple) else x[rows]
            yield part.reshape(-1, part.shape[-1])

    if rule == "standardize":
        return _moments(columns)
    low, high = _extremes(columns())
    return low, np.where(high == low, 1.0, high - low)


def _check_range(raw: Raw, rule: str) -> None:
    """Refuse integers that int32 would silently turn into others."""
    assert not isinstance(raw.x, tuple)
    if rule != "none" or raw.x.dtype.kind not in "iu":
        return
    edges = [(int(part.min()), int(part.max())) for _, part in blocks(raw.x)]
    low, high, limit = min(a for a, _ in edges), max(b for _, b in edges), np.iinfo(np.int32)
    if low < limit.min or high > limit.max:
        message = f"integers must fit into 32 bits, got {low} to {high}."
        raise spec_error(f"{message} Save them as floats, or say scale: standardize.", *raw.x_path)


def _encoding(column: Column, train: Rows, raw: Raw) -> Encoding:
    values = column.values[train]
    if column.words is not None:
        vocabulary = learn_words(values.tolist(), column.words)
        if not vocabulary.words:
            raise _without_values(column, raw, "word")
        return Encoding(column.name, column.kind, None, (), vocabulary)
    present = values[values != ""] if column.kind == "category" else values[~np.isnan(values)]
    if not len(present):
        raise _without_values(column, raw, "value")
    if column.kind != "category":
        return Encoding(column.name, column.kind, _fill(column, present))
    categories = tuple(sorted(set(present.tolist())))
    if len(categories) > MOST_CATEGORIES:
        message = f"column {column.name!r} holds {len(categories)} different texts, more than {MOST_CATEGORIES}."
        ways = f"Leave it out of data.features, or say data.columns: {{{column.name}: text}} if it is free text."
        raise spec_error(f"{message} {ways}", *raw.x_path)
    return Encoding(column.name, column.kind, _fill(column, present), categories)


def _without_values(column: Column, raw: Raw, what: str) -> SpecError:
    message = f"column {column.name!r} has no {what} in the training part. Leave it out of data.features."
    return spec_error(message, *raw.x_path)


def _fill(column: Column, present: Array) -> float | str | None:
    if column.fill is None:
        return None
    if column.fill == "most_frequent":
        counts: Counter[float | str] = Counter(present.tolist())
        return min(counts, key=lambda value: (-counts[value], value))  # the smallest of equals
    return float(np.mean(present) if column.fill == "mean" else np.median(present))


def _matrix(columns: tuple[Column, ...], rows: Rows, encodings: tuple[Encoding, ...]) -> Array:
    """float64 [rows, width]: filled and encoded, not yet scaled."""
    width = sum(encoding.width for encoding in encodings)
    matrix = np.empty((len(rows), width), np.float64)
    start = 0
    for column, encoding in zip(columns, encodings, strict=True):
        matrix[:, start : start + encoding.width] = encode(column.values[rows], encoding)
        start += encoding.width
    return matrix


def encode(values: Array, encoding: Encoding) -> Array:
    """[n, width] numbers of one column's raw values (floats, or str objects), filled and encoded, not yet scaled."""
    if encoding.vocabulary is not None:
        return encoding.vocabulary(values.tolist())
    if encoding.kind != "category":
        filled = values if encoding.fill is None else np.where(np.isnan(values), encoding.fill, values)
        return filled.reshape(-1, 1)
    index = {category: i for i, category in enumerate(encoding.categories)}
    if encoding.fill is not None:
        index[""] = index[str(encoding.fill)]
    codes = np.array([index.get(text, -1) for text in values.tolist()])
    return np.asarray(codes[:, None] == np.arange(len(encoding.categories)), np.float64)
