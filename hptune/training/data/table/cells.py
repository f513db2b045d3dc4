"""The cells of one column, read as numbers, dates or text: their kind, which are missing and which don't fit.

All tables read their columns so: a text file holds texts, a typed file numbers, dates or texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import numpy as np

from hptune.experiment.data import Kind
from hptune.training.data.arrays import Array

MISSING = frozenset({"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"})
"""pandas' missing-value markers, except "None", which tables use as a category. The same in every source."""

COMMA_NUMBER = re.compile(r"[+-]?[\d.]*(,\d+)+")
_DATE = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)([T ](?P<time>\d\d:\d\d(:\d\d)?)(?P<fraction>(?<=:\d\d:\d\d)\.\d{1,9})?"
    r" ?(?P<zone>Z|UTC|[+-]\d\d(:?\d\d)?)?)?",
    re.ASCII,
)
"""Dates as in ISO 8601, PostgreSQL (an offset of hours alone) and pandas (up to nanoseconds)."""
_WHOLE = re.compile(r"[+-]?\d+")
_WITH_FRACTION = re.compile(r"(-?(?:0|[1-9]\d*))(\.\d+)")
_EXACT = 2.0**53  # above it floats have gaps between integers
_BOOLEANS = {"true": 1.0, "false": 0.0}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_A_DAY = 86400.0
_SHORT = 15  # up to so many digits, each number is a different float
_PLAIN = 1e16  # from here on floats are written with an exponent


@dataclass(frozen=True, slots=True, eq=False)
class Typed:
    """A column of a typed file: floats [n], NaN where a value is missing.

    kind: boolean: 0.0 and 1.0; date: days since 1970-01-01 (UTC). whole: the numbers are integers. exact: where floats
    would lose digits, the integers themselves, 0 where one is missing (for decimals with a fraction: texts); for dates
    their microseconds. own: the dtype of the file's floats, where `values` have a wider one.
    """

    values: Array
    kind: Literal["number", "boolean", "date"]
    whole: bool = False
    exact: Array | None = None
    own: Any = None

    @property
    def as_given(self) -> Array:
        """The numbers in the dtype that they have in the file."""
        return self.values if self.own is None else self.values.astype(self.own)

    def at(self, row: int) -> Typed:
        """The column with this row alone."""
        here = slice(row, row + 1)
        return replace(self, values=self.values[here], exact=None if self.exact is None else self.exact[here])


Content: TypeAlias = Sequence[str] | Typed
"""A column as read from a file: texts, "" where one is missing; or typed values."""


def text_of(written: str) -> str:
    """A text as every source reads it: without spaces around it, and "" where it marks a missing value.

    >>> text_of(" red "), text_of("N/A "), text_of("None")
    ('red', '', 'None')
    """
    text = written.strip()
    return "" if text in MISSING else text


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A column as it was read.

    values: for numbers and dates floats [n] (days since 1970-01-01), NaN where one is missing; for categories and text
        str objects [n], "" where one is missing. missing, odd: bool [n], which are missing, and which don't fit the
        kind. content: as the file has it.
    """

    kind: Kind
    values: Array
    missing: Array
    odd: Array
    content: Content

    def spelled(self, row: int) -> str:
        """A cell as the file has it."""
        if isinstance(self.content, Typed):
            typed = self.content
            plain = typed.kind == "number" and typed.exact is None
            return str(typed.as_given[row]) if plain else _spelled(typed.at(row))[0]
        return self.content[row]

    def exactly(self) -> Array | None:
        """The exact values of a column of numbers that floats would round; None where floats will do.

        Integers [n] as `integers` makes them, 0 where one is missing. For numbers with fractions texts [n], where two
        of them would be one float.
        """
        if self.kind != "number" or self.odd.any():
            return None
        if isinstance(self.content, Typed):
            return self.content.exact
        large = bool((np.abs(self.values) >= _EXACT).any())
        if large and all(_WHOLE.fullmatch(text) for text in self.content if text):
            return integers([int(text or 0) for text in self.content])
        if not large and all(len(text) <= _SHORT for text in self.content):
            return None
        numbers = {text: Decimal(text) for text in set(self.content) if text}
        if len(set(numbers.values())) == len(set(map(float, numbers))):
            return None
        if all(number == number.to_integral_value() for number in numbers.values()):
            return integers([int(numbers.get(text, 0)) for text in self.content])
        first: dict[Decimal, str] = {}
        spelled = {text: first.setdefault(numbers[text], text) for text in self.content if text}
        return np.array([spelled.get(text, "") for text in self.content], object)


def integers(values: Sequence[int]) -> Array:
    """int64 or uint64 [n]; Python's own, as objects, where neither holds all of them."""
    low, high = min(values), max(values)
    for kind in (np.int64, np.uint64):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.array(values, kind)
    return np.array(values, object)


def are_integers(values: Array) -> bool:
    """Whether they are integers of more than 64 bits, as `integers` makes them."""
    return values.dtype.kind == "O" and values.size > 0 and isinstance(values.flat[0], int)


def shortest(number: float | np.floating[Any]) -> float | int:
    """A number as it is shown: in the fewest digits of its own type, whole ones without a fraction or an exponent.

    >>> shortest(np.float32(0.1)), shortest(3.0), shortest(1e30)
    (0.1, 3, 1e+30)
    """
    value = float(str(number))
    return int(value) if value.is_integer() and abs(value) < _PLAIN else value


def same_spelling(text: str) -> str:
    """A common form of a value's spellings in text files and typed files: a number without zeros at the end of its
    fraction, true and false in small letters.

    >>> [same_spelling(text) for text in ("1.0", "1", "01.0", "2.50", "True")]
    ['1', '1', '01.0', '2.5', 'true']
    """
    if text.lower() in _BOOLEANS:
        return text.lower()
    match = _WITH_FRACTION.fullmatch(text)
    return text if match is None else match[1] + match[2].rstrip("0").rstrip(".")


def read_cells(content: Content, kind: Kind | None, *, names: bool = False, classes: bool = False) -> Cells:
    """Read a column as `kind`; None: as the kind that it looks like.

    Text looks like numbers (or dates) where more than half of the cells that are not missing are such; any other cell
    is then odd. Text of only true and false looks like numbers, 1 and 0. names: the column may name classes; true and
    false are then names too. classes: it names classes, unless all of it is numbers.
    """
    if isinstance(content, Typed):
        return _typed(content, kind)
    missing = np.fromiter((text == "" for text in content), bool, len(content))
    numbers = np.empty(0)
    if kind in (None, "number"):
        numbers = _booleans(content) if not names and _are_booleans(content) else _floats(content)
    if kind is None:
        kind = _look(content, numbers, missing, classes=classes)
    if kind == "number":
        return Cells(kind, numbers, missing, ~np.isfinite(numbers) & ~missing, content)
    if kind == "date":
        days = np.array([_days(text) for text in content])
        return Cells(kind, days, missing, np.isnan(days) & ~missing, content)
    return Cells(kind, np.array(content, object), missing, np.zeros(len(content), bool), content)


def _typed(content: Typed, kind: Kind | None) -> Cells:
    values = content.values
    missing = np.isnan(values)
    if kind == "category":
        texts = np.where(missing, "", np.array(_spelled(content), object))
        return Cells(kind, texts, missing, np.zeros(len(values), bool), content)
    own: Kind = "date" if content.kind == "date" else "number"
    odd = ~np.isfinite(values) & ~missing
    return Cells(own, values, missing, odd if kind in (None, own) else ~missing, content)


def _spelled(content: Typed) -> list[str]:
    """The cells as in a text file: numbers in the fewest digits of their type, without a fraction where all numbers of
    the column are whole; dates as 2025-01-31, with the time of day where there is one.
    """
    values = content.as_given
    if content.kind == "date":
        return _dates(content)
    if content.exact is not None:
        return [str(value) for value in content.exact.tolist()]
    if content.kind == "boolean":
        return [str(value == 1.0) for value in values.tolist()]
    known = values[np.isfinite(values)]
    if content.whole or (known == np.floor(known)).all():
        return [str(shortest(value)) for value in values]
    return [str(value) for value in values]


def _dates(content: Typed) -> list[str]:
    microseconds = content.values * (_SECONDS_A_DAY * 1e6) if content.exact is None else content.exact
    moments = np.where(np.isnan(content.values), 0, microseconds).round().astype(np.int64).astype("M8[us]")
    days, seconds = moments.astype("M8[D]"), moments.astype("M8[s]")
    texts = np.where(moments == seconds, seconds.astype(str), moments.astype(str))
    texts = np.where(moments == days, days.astype(str), texts)
    return [text.replace("T", " ") for text in texts.tolist()]


def _look(content: Sequence[str], numbers: Array, missing: Array, *, classes: bool) -> Kind:
    present = len(content) - int(missing.sum())
    odd = np.flatnonzero(~np.isfinite(numbers) & ~missing).tolist()
    if classes:
        return "category" if odd else "number"
    if 2 * len(odd) < present or (odd and all(COMMA_NUMBER.fullmatch(content[i]) for i in odd)):
        return "number"
    dates = sum(_DATE.fullmatch(text) is not None for text in content)
    return "date" if 2 * dates > present else "category"


def _are_booleans(texts: Sequence[str]) -> bool:
    return all(text.lower() in ("true", "false", "") for text in texts)  # ends at the first that is none


def _booleans(texts: Sequence[str]) -> Array:
    return np.array([_BOOLEANS.get(text.lower(), math.nan) for text in texts])


def _floats(texts: Sequence[str]) -> Array:
    """float64 [n]: NaN for missing cells, infinity or NaN for cells that are no finite number."""
    try:
        values = np.array([float(text or "nan") for text in texts])
    except ValueError:
        values = np.array([_number(text) for text in texts])
    whole = "".join(texts)
    if "_" in whole or not whole.isascii():  # Python alone reads 1_000, and the digits of other scripts, as numbers
        values[np.fromiter(("_" in text or not text.isascii() for text in texts), bool, len(texts))] = math.nan
    return values


def _number(text: str) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _days(text: str) -> float:
    """Days since 1970-01-01 of an ISO date or date and time, in UTC unless it says otherwise; NaN for anything else.

    Fractions of a microsecond are dropped, as in the dates of Parquet files.

    >>> _days("1970-01-03"), _days("1970-01-01T18:00"), _days("1970-01-01 18:00:00+06"), _days("03.01.1970")
    (2.0, 0.75, 0.5, nan)
    """
    match = _DATE.fullmatch(text)
    if match is None:
        return math.nan
    day, time, fraction, zone = match.group("day", "time", "fraction", "zone")
    zone = "+00:00" if zone in (None, "Z", "UTC") else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{time or '00:00'}{(fraction or '')[:7]}{zone}")
    except ValueError:  # such as 2025-02-30
        return math.nan
    return (moment - _EPOCH).total_seconds() / _SECONDS_A_DAY


def one_spelling(content: Sequence[str]) -> list[str]:
    """The texts with each number, date, true or false spelled as at its first occurrence; unchanged where other texts
    are among them.

    >>> one_spelling(["7", "10", "7.0", "007", ""]), one_spelling(["7", "7.0", "7a"])
    (['7', '10', '7', '7', ''], ['7', '7.0', '7a'])
    """
    cells = read_cells(content, None)
    if cells.kind not in ("number", "date") or cells.odd.any():
        return list(content)
    first: dict[Any, str] = {"": ""}
    known: dict[str, str] = {}
    for text in dict.fromkeys(content):
        known[text] = first.setdefault(_meant(text, cells.kind), text)
    return [known[text] for text in content]


def _meant(text: str, kind: Kind) -> Any:
    """A value that is equal for equal numbers, or for equal points in time."""
    if text == "" or kind == "date":
        return _days(text) if text else text
    return text.lower() if text.lower() in _BOOLEANS else Decimal(text)
