"""The cells of one column, read as numbers, dates or text: what kind they are, which are missing and which don't fit.

Both kinds of tables read their columns so: a text file gives texts, a typed file its own numbers, dates or texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import numpy as np

from hptune.spec.data import Kind
from hptune.training.data.parts import Array

MISSING = frozenset({"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"})
"""What pandas takes for missing too, less "None", which tables use as a category; in every source alike."""

COMMA_NUMBER = re.compile(r"[+-]?[\d.]*(,\d+)+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?")
_WHOLE = re.compile(r"[+-]?\d+")
_EXACT = 2.0**53  # above it floats have gaps between integers
_BOOLEANS = {"true": 1.0, "false": 0.0}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_A_DAY = 86400.0


@dataclass(frozen=True, slots=True, eq=False)
class Typed:
    """A column of a file that knows types: floats [n], NaN where a value is missing.

    kind: boolean: 0.0 and 1.0; date: days since 1970-01-01 (UTC). whole: the numbers are integers. exact: the integers
    themselves, 0 where one is missing, where floats have not all of their digits.
    """

    values: Array
    kind: Literal["number", "boolean", "date"]
    whole: bool = False
    exact: Array | None = None


Content: TypeAlias = Sequence[str] | Typed
"""A column as a file gives it: texts, "" where one is missing; or values of a type."""


def text_of(written: str) -> str:
    """A text as every source reads it: without the spaces around it, "" where it says that a value is missing.

    >>> text_of(" red "), text_of("N/A "), text_of("None")
    ('red', '', 'None')
    """
    text = written.strip()
    return "" if text in MISSING else text


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A column as it was read.

    values: floats [n], NaN where there is none (days since 1970-01-01, of dates); str objects [n], "" where one is
        missing, of a category and of text. missing, odd: bool [n], which are missing, and which don't fit the kind.
    content: as the file has it.
    """

    kind: Kind
    values: Array
    missing: Array
    odd: Array
    content: Content

    def spelled(self, row: int) -> str:
        """A cell as the file has it."""
        if isinstance(self.content, Typed):
            return str((self.content.values if self.content.exact is None else self.content.exact)[row])
        return self.content[row]

    def whole_numbers(self) -> Array | None:
        """Of a column of integers, some of which floats have not all digits of: int64 or uint64 [n], 0 where one is
        missing. Else None."""
        if self.kind != "number" or self.odd.any() or not (np.abs(self.values) >= _EXACT).any():
            return None
        if isinstance(self.content, Typed):
            return self.content.exact
        if not all(_WHOLE.fullmatch(text) for text in self.content if text):
            return None
        found = [int(text or 0) for text in self.content]
        low, high = min(found), max(found)
        for kind in (np.int64, np.uint64):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return np.array(found, kind)
        return None


def read_cells(content: Content, kind: Kind | None, *, names: bool = False, classes: bool = False) -> Cells:
    """Read a column as `kind`; None: as what it looks like.

    Text looks like numbers (or dates) where more than half of what is not missing is one; any other cell is then odd.
    So does text that is true and false alone, which are 1 and 0. names: the column may name classes, which true and
    false then do too. classes: it does, unless all of it is numbers.
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
    """Numbers as categories are spelled as they are written, whole ones without a fraction."""
    values = content.values
    missing = np.isnan(values)
    if kind == "category" and content.kind != "date":
        given = values if content.exact is None else np.where(missing, "", content.exact.astype(str))
        texts = np.array([_spell(value, content) for value in given.tolist()], object)
        return Cells(kind, texts, missing, np.zeros(len(values), bool), content)
    own: Kind = "date" if content.kind == "date" else "number"
    odd = ~np.isfinite(values) & ~missing
    return Cells(own, values, missing, odd if kind in (None, own) else ~missing, content)


def _spell(value: float | str, content: Typed) -> str:
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return ""
    if content.kind == "boolean":
        return str(value == 1.0)
    return str(int(value)) if content.whole else str(value)


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
    """float64 [n]: NaN for what is missing, infinity or NaN for what is no finite number."""
    try:
        values = np.array([float(text or "nan") for text in texts])
    except ValueError:
        values = np.array([_number(text) for text in texts])
    if "_" in "".join(texts):  # Python alone reads 1_000 as a number
        values[np.fromiter(("_" in text for text in texts), bool, len(texts))] = math.nan
    return values


def _number(text: str) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _days(text: str) -> float:
    """Days since 1970-01-01 of an ISO date or date and time, in UTC unless it says otherwise; NaN for anything else.

    >>> _days("1970-01-03"), _days("1970-01-01T18:00"), _days("03.01.1970")
    (2.0, 0.75, nan)
    """
    if _DATE.fullmatch(text) is None:
        return math.nan
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # such as 2025-02-30
        return math.nan
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH).total_seconds() / _SECONDS_A_DAY
