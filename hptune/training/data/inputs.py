"""How x is prepared: missing values filled, text and dates made numbers, numbers scaled; learnt from the training part.

A category that the training part lacks is all zeros in the other parts. Scaling is in `scaling`. What is not scaled
becomes int32 (whole numbers) or float32. For scikit-learn, which computes in float64, nothing is narrowed: whole
numbers keep their type, and everything else is float64.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hptune.base.errors import SpecError, spec_error
from hptune.experiment.data import Kind
from hptune.training.data.arrays import Array, Rows
from hptune.training.data.needs import PLAIN, Needs
from hptune.training.data.raw import Column, Raw, Source
from hptune.training.data.scaling import (
    STRETCH,
    Rule,
    Scale,
    check_range,
    check_scale,
    learnt_by,
    rule_of,
    statistics,
    stretches,
)
from hptune.training.data.store.stream import Mapped
from hptune.training.data.table.words import Vocabulary, learn_words

MOST_CATEGORIES = 1000
"""More different texts than this in a column are names or free text, for which one-hot columns are no use."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the training part taught about one column of a table: how its raw value becomes `width` numbers.

    In this order: a missing value (NaN, or "" among texts) becomes `fill`, where that is not None; then, by kind,
    number: the value itself. One number.
    date: days since 1970-01-01 (UTC), the time of day as a fraction. One number.
    category: one number for each of `categories`, sorted: 1 for the value's own, 0 for the others; all 0 for an unknown
        value.
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
        """How many columns of x it becomes."""
        if self.vocabulary is not None:
            return self.vocabulary.width
        return len(self.categories) if self.kind == "category" else 1


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """Everything that was learnt from the training part; turns raw samples into x.

    encodings: one for each column of a table, whose columns of x stand side by side in this order; () for an array.
    scale: (offset, divisor), float64, broadcastable to x: x = (raw − offset) / divisor; None: x is raw.
    width: the columns of x, of a table. words: x is the numbers of words, in their order, and nothing else
        (`output_mode: int`). wide: x keeps all digits, as scikit-learn takes it; else it has Keras's types. codes: a
        table's numbers stand for words, and have no fractions.
    """

    encodings: tuple[Encoding, ...]
    scale: tuple[Array, Array] | None
    wide: bool = False
    codes: bool = False

    @property
    def width(self) -> int:
        """How many columns x has for a table; 0 for an array."""
        return sum(encoding.width for encoding in self.encodings)

    @property
    def words(self) -> bool:
        """Whether x is the numbers of words, in their order."""
        return any(e.vocabulary is not None and e.vocabulary.length is not None for e in self.encodings)

    def __call__(self, x: Source, rows: Rows) -> Array:
        """The samples `rows`, prepared: float32 or int32 (float64 or integers where `wide`), C-contiguous."""
        width = self.width if isinstance(x, tuple) else int(np.prod(x.shape[1:]))
        stretches = np.array_split(rows, -(-len(rows) * width // STRETCH) or 1)
        if len(stretches) == 1:
            return self._prepared(x, rows)
        result, done = np.empty(0), 0
        for stretch in stretches:  # intermediate float64, so never all rows at once
            part = self._prepared(x, stretch)
            result = result if done else np.empty((len(rows), *part.shape[1:]), part.dtype)
            result[done : done + len(part)] = part
            done += len(part)
        return result

    def _prepared(self, x: Source, rows: Rows) -> Array:
        part = _matrix(x, rows, self.encodings) if isinstance(x, tuple) else x[rows]
        if self.scale is None:
            return self._checked(part, self._kept(part.dtype))
        # Bytes are exact in float32, which halves the memory of pictures; statistics are applied in float64.
        offset, divisor = self.scale
        scaled = part.astype(np.float32 if part.dtype == np.uint8 and not self.wide else np.float64)
        with np.errstate(over="ignore"):
            np.subtract(scaled, offset, out=scaled, casting="same_kind")
            np.divide(scaled, divisor, out=scaled, casting="same_kind")
        return self._checked(scaled, np.float64 if self.wide else np.float32)

    def _checked(self, part: Array, dtype: Any) -> Array:
        """The part in that dtype, C-contiguous. Raises `SpecError` where a number is too large for it."""
        with np.errstate(over="ignore"):
            converted = np.ascontiguousarray(part, dtype)
        if converted.dtype.kind == "f" and not (finite := np.isfinite(converted)).all():
            column = int(np.argwhere(~finite)[0][-1])
            names = [e.name for e in self.encodings for _ in range(e.width)]
            which = f"column {names[column]!r}" if names else "x"
            scaled = "" if self.scale is None else " (scaled as the training part says)"
            problem = f"{which} holds numbers{scaled} that {converted.dtype.name} takes for infinite."
            raise spec_error(f"{problem} Give it in another unit, or leave it out.", "data")
        return converted

    def _kept(self, dtype: np.dtype[Any]) -> Any:
        """The dtype of x where it is not scaled."""
        if self.wide and not self.words:
            return dtype if dtype.kind in "iu" else np.float64
        return np.int32 if dtype.kind in "iu" or self.words else np.float32

    def as_json(self) -> dict[str, Any]:
        """JSON data, from which `from_json` makes an equal preparation."""
        scale = None if self.scale is None else [np.asarray(a, np.float64).tolist() for a in self.scale]
        encodings = [dataclasses.asdict(one) for one in self.encodings]
        flags = {name: True for name in ("wide", "codes") if getattr(self, name)}
        return {"encodings": encodings, "scale": scale, **flags}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Preparation:
        """The preparation from what `as_json` returned."""
        scale = None if stored["scale"] is None else tuple(np.asarray(a, np.float64) for a in stored["scale"])
        encodings = tuple(
            Encoding(
                one["name"],
                one["kind"],
                one["fill"],
                tuple(one["categories"]),
                None if one["vocabulary"] is None else _vocabulary(one["vocabulary"]),
            )
            for one in stored["encodings"]
        )
        assert scale is None or len(scale) == 2
        return cls(encodings, scale, stored.get("wide", False), stored.get("codes", False))


def _vocabulary(stored: Mapping[str, Any]) -> Vocabulary:
    return Vocabulary(tuple(stored["words"]), stored["output_mode"], tuple(stored["idf"]), stored["length"])


def learn(raw: Raw, train: Rows, *, scale: Scale, needs: Needs = PLAIN) -> Preparation:
    """The preparation of x, learnt from the rows `train`. Raises `SpecError` where these are not enough."""
    x = raw.x
    if not isinstance(x, tuple):
        learnt = _learnt_of_array(x, train, rule_of(x, scale, needs))
        check_scale(learnt, raw.features, raw.x_path)
        if learnt is None and not needs.wide:
            check_range(raw)
        return Preparation((), learnt, needs.wide)
    train = np.sort(train)  # columns on the disk are read from their beginning to their end
    encodings = tuple(_encoding(column, train, raw) for column in x)
    made = Preparation(encodings, None, needs.wide)
    if scale == "none" or made.words:
        return made
    if scale == "auto" and needs.raw:
        codes = needs.numbers is False and not needs.prepares
        if codes:
            _check_codes(x, raw)
        return replace(made, codes=codes)
    columns = stretches(train, made.width, lambda rows: _matrix(x, rows, encodings))
    learnt = learnt_by("standardize" if scale == "auto" else scale, columns)
    assert learnt is not None, "a rule that scales"
    plain = np.concatenate([np.full(e.width, e.kind in ("category", "text")) for e in encodings])
    offset, divisor = np.where(plain, 0.0, learnt[0]), np.where(plain, 1.0, learnt[1])
    check_scale((offset, divisor), [e.name for e in encodings for _ in range(e.width)], raw.x_path)
    return Preparation(encodings, (offset, divisor), needs.wide)


def _check_codes(columns: tuple[Column, ...], raw: Raw) -> None:
    """Numbers that stand for words must be whole, and small enough for float32. Raises SpecError."""
    for column in columns:
        values = column.values[:] if column.kind in ("number", "date") else np.empty(0)
        present = values[~np.isnan(values)]
        if (present != np.floor(present)).any() or (np.abs(present) > 2**24).any():
            problem = f"column {column.name!r} holds fractions, or numbers above {2**24:,}, and a layer takes words."
            raise spec_error(f"{problem} Leave it out of data.features, or say data.scale: standardize.", *raw.x_path)
        if len(present) < len(values) and column.fill in ("mean", "median"):
            problem = f"the {column.fill} of column {column.name!r} is no word, which a layer takes it for."
            raise spec_error(f"{problem} Say missing: most_frequent, or drop.", "data", "missing")


def _learnt_of_array(x: Array | Mapped, train: Rows, rule: Rule) -> tuple[Array, Array] | None:
    learnt = learnt_by(rule, stretches(train, int(np.prod(x.shape[1:])), lambda rows: x[rows]))
    if learnt is not None and learnt[1].ndim == 0 and learnt[1] == 1.0 and x.dtype.kind == "f":
        return None  # pictures that lie in [0, 1] already
    return learnt


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


def unknown_categories(raw: Raw, others: Rows, prepare: Preparation) -> Iterator[str]:
    """A note for each column in which other parts have categories that the training part lacks.

    others: the rows of the other parts. `predict` refuses such rows; here they count in the scores.
    """
    columns = raw.x if isinstance(raw.x, tuple) else ()
    for column, encoding in zip(columns, prepare.encodings, strict=True) if columns else ():
        if encoding.kind != "category":
            continue
        known = {"", *encoding.categories}
        strange = [value for value in column.values[others].tolist() if value not in known]
        if strange:
            examples = ", ".join(repr(value) for value in sorted(set(strange))[:3])
            note = (
                f"column {column.name!r}: {len(strange)} of {len(others)} rows that are not trained on have a category"
            )
            yield f"{note} that the training part lacks ({examples}). They count as having none of its categories"


def _without_values(column: Column, raw: Raw, kind: str) -> SpecError:
    message = f"column {column.name!r} has no {kind} in the training part. Leave it out of data.features."
    return spec_error(message, *raw.x_path)


def _fill(column: Column, present: Array) -> float | str | None:
    if column.fill is None:
        return None
    if column.fill == "most_frequent":
        counts: Counter[float | str] = Counter(present.tolist())
        return min(counts, key=lambda value: (-counts[value], value))  # the smallest of equals
    return float(statistics(present)[0] if column.fill == "mean" else np.median(present))


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
        filled = values.astype(np.float64)  # a fill has more digits than float32
        if encoding.fill is not None:
            filled = np.where(np.isnan(filled), encoding.fill, filled)
        return filled.reshape(-1, 1)
    index = {category: i for i, category in enumerate(encoding.categories)}
    if encoding.fill is not None:
        index[""] = index[str(encoding.fill)]
    codes = np.array([index.get(text, -1) for text in values.tolist()])
    return np.asarray(codes[:, None] == np.arange(len(encoding.categories)), np.float64)
