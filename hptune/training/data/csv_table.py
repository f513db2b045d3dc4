"""A table in a text file: a header line, then one line a row; every problem is told with its line.

UTF-8 (a byte-order mark is passed over); separated by comma, semicolon, tab or bar, whichever cuts the first rows most
evenly; quotes as RFC 4180 has them, lines within quotes included. Blank lines are passed over, and so are spaces around
a cell. A column is numeric where more than half of its values are numbers (any other value in it is then an error, not
a category), else text. Missing is the empty cell, and the words in `MISSING`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from hptune.errors import Problem, SpecError, spec_error, unknown
from hptune.spec.data import CsvData
from hptune.training.data.parts import Array
from hptune.training.data.raw import Column, Fill, Raw, unreadable

MISSING = frozenset({"", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"})
"""What pandas takes for missing too, less "None", which tables use as a category."""

SEPARATORS = ",;\t|"
SHOWN = 10
"""So many problems of a file are told one by one; of the rest, how many there are."""

_FILLS: Mapping[str | None, Fill] = {"mean": "mean", "median": "median", "most_frequent": "most_frequent"}
_COMMA_NUMBER = re.compile(r"[+-]?[\d.]*(,\d+)+")


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The cells as text: one row for each record, and the line of the file on which it starts."""

    header: list[str]
    rows: list[list[str]]
    lines: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """One column as read. missing, odd: which cells are missing, and which of a numeric column are not numbers."""

    name: str
    texts: Sequence[str]
    values: Array
    missing: Array
    odd: Array
    numeric: bool


def read_csv(spec: CsvData, folder: Path) -> Raw:
    """The used columns of a CSV file. Raises `SpecError` with the problems of the first step that found any."""
    path = folder / spec.csv
    try:
        sheet = _sheet(spec.csv, path)
    except OSError as error:
        raise unreadable(spec.csv, path, error, "csv") from error
    except UnicodeDecodeError as error:
        place = f"{spec.csv}:{_undecodable_line(path)}"
        raise SpecError(Problem(f"not UTF-8 ({error.reason}). Save the file as UTF-8.", place=place)) from error
    names = [*_features(spec, sheet.header), spec.target]
    at = [sheet.header.index(name) for name in names]
    texts = [[row[i].strip() for row in sheet.rows] for i in at]
    columns = [_cells(n, t, target=n == spec.target, spec=spec) for n, t in zip(names, texts, strict=True)]
    rules = {column.name: _rule(column, spec, names) for column in columns}
    _check_cells(spec, sheet, columns, rules)
    return _raw(spec, columns, rules)


# --- the file --------------------------------------------------------------------------------------------------------


def _sheet(file: str, path: Path) -> _Sheet:
    records = _records(file, path, _separator(file, path))
    line, header = next(((line, cells) for line, cells in records if cells), (1, []))
    header = [name.strip() for name in header]
    if not header:
        raise spec_error(f"{file} is empty. It needs a header line and rows.", "data", "csv")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        message = f"the header names {twice[0]!r} more than once. Give each column its own name."
        raise SpecError(Problem(message, place=f"{file}:{line}"))
    rows, lines, ragged = [], [], []
    for line, cells in records:
        if not cells:
            continue
        if len(cells) != len(header):
            message = f"{len(cells)} cells, where the header has {len(header)}. Quote cells that hold the separator."
            ragged.append((line, message))
        rows.append(cells)
        lines.append(line)
    _refuse(file, ragged)
    if not rows:
        raise spec_error(f"{file} has a header line and no rows. Add rows.", "data", "csv")
    return _Sheet(header, rows, lines)


def _records(file: str, path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which it starts, cells) of each record, from line 1; a blank line has no cells."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=separator, skipinitialspace=True, strict=True)
        start = 1
        try:
            for cells in reader:
                yield start, cells
                start = reader.line_num + 1
        except csv.Error as error:
            message = f'can\'t be read as CSV ({error}). Check the quotes: each needs its end, and "" stands for one.'
            raise SpecError(Problem(message, place=f"{file}:{start}")) from error


def _separator(file: str, path: Path) -> str:
    """The separator that cuts the first records evenly, into the most cells; else the header into the most cells."""

    def fit(separator: str) -> tuple[bool, int]:
        widths: list[int] = []
        try:
            for _, cells in islice(_records(file, path, separator), 20):
                if cells:
                    widths.append(len(cells))
            even = len(set(widths)) == 1 and widths[0] > 1
        except SpecError:  # not with this separator; if with none, reading the rows will say so
            even = False
        return even, widths[0] if widths else 0

    return max(SEPARATORS, key=fit)  # the first of equals


def _undecodable_line(path: Path) -> int:
    """The first line that is no UTF-8."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    raise AssertionError(f"{path} changed while it was read")


def _refuse(file: str, problems: Sequence[tuple[int, str]]) -> None:
    """Raise the problems, each (line, message), if there are any."""
    if not problems:
        return
    told = [Problem(message, place=f"{file}:{line}") for line, message in sorted(problems)[:SHOWN]]
    if len(problems) > SHOWN:
        told.append(Problem(f"{len(problems) - SHOWN} more problems like these, {len(problems)} in all.", place=file))
    raise SpecError(*told)


# --- its columns -----------------------------------------------------------------------------------------------------


def _features(spec: CsvData, header: list[str]) -> list[str]:
    """The names of the input columns, checked."""
    if spec.target not in header:
        raise spec_error(f"{spec.csv}: {unknown('column', spec.target, header)}", "data", "target")
    if spec.features is None:
        if "" in header:
            message = f"{spec.csv}: column {header.index('') + 1} has no name in the header."
            raise spec_error(f"{message} Name it, or list the columns to use in data.features.", "data", "csv")
        features = [name for name in header if name != spec.target]
    else:
        features = spec.features
    problems = []
    for i, name in enumerate(spec.features or ()):
        path = ("data", "features", i)
        if name == spec.target:
            problems.append(Problem(f"{name!r} is the target and can't be an input too. Drop it here.", path))
        elif name not in header:
            problems.append(Problem(f"{spec.csv}: {unknown('column', name, header)}", path))
        elif name in features[:i]:
            problems.append(Problem(f"{name!r} stands here twice. Drop one.", path))
    if not features:
        problems.append(Problem("no column is left as an input. Name at least one.", ("data", "features")))
    if problems:
        raise SpecError(*problems)
    return features


def _cells(name: str, texts: Sequence[str], *, target: bool, spec: CsvData) -> _Cells:
    """Tell numbers from text. A target with `task: classes` is text unless all of it is numbers."""
    values, missing, odd = _numbers(texts)
    present = len(texts) - int(missing.sum())
    if present == 0:
        path = "target" if target else "features" if spec.features is not None else "csv"
        message = f"{spec.csv}: column {name!r} is empty. Choose another, or leave it out of data.features."
        raise spec_error(message, "data", path)
    if target and spec.task == "classes":
        numeric = not odd.any()
    else:
        comma = bool(odd.any()) and all(_COMMA_NUMBER.fullmatch(texts[i]) for i in np.flatnonzero(odd).tolist())
        numeric = comma or 2 * int(odd.sum()) < present
    return _Cells(name, texts, values, missing, odd & numeric, numeric)


def _numbers(texts: Sequence[str]) -> tuple[Array, Array, Array]:
    """(values float64, NaN where there is none; which are missing; which are there and no finite number)."""
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        values = np.array([_number(text) for text in texts])
    missing = np.isnan(values)
    if missing.any():
        missing &= np.fromiter((text in MISSING for text in texts), bool, len(texts))
    odd = ~np.isfinite(values) & ~missing
    if "_" in "".join(texts):  # Python alone reads 1_000 as a number
        odd |= np.fromiter(("_" in text for text in texts), bool, len(texts))
    return values, missing, odd


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


# --- what is wrong with them -----------------------------------------------------------------------------------------


def _rule(column: _Cells, spec: CsvData, names: list[str]) -> str | None:
    """What `data.missing` says for a column: a fill, `drop` or None. A target is never filled in."""
    by_column = spec.missing if isinstance(spec.missing, dict) else {}
    for name in by_column:
        if name not in names:
            raise spec_error(unknown("column", name, names), "data", "missing", name)
    given: str | None = by_column.get(column.name) if by_column else spec.missing
    if column.name == spec.target and given != "drop":
        if column.name in by_column:
            message = f"the target can't be filled in by {given}: it would be learnt as if it were true. Say drop."
            raise spec_error(message, "data", "missing", column.name)
        return None
    if given in ("mean", "median") and not column.numeric:
        if not column.missing.any() and not by_column:
            return None  # a rule for all, and this column needs none
        message = f"column {column.name!r} is text and has no {given}. Say {{{column.name}: most_frequent}} or drop."
        raise spec_error(message, "data", "missing")
    return given


def _check_cells(spec: CsvData, sheet: _Sheet, columns: list[_Cells], rules: dict[str, str | None]) -> None:
    problems = []
    for column in columns:
        target = column.name == spec.target
        for i in np.flatnonzero(column.odd).tolist():
            problems.append((sheet.lines[i], _not_a_number(column.name, column.texts[i], target=target)))
        if rules[column.name] is None:
            message = f"column {column.name!r}: missing value. {_missing_remedy(column, target=target)}"
            problems.extend((sheet.lines[i], message) for i in np.flatnonzero(column.missing).tolist())
    _refuse(spec.csv, problems)


def _not_a_number(name: str, text: str, *, target: bool) -> str:
    if _COMMA_NUMBER.fullmatch(text):
        return f"column {name!r}: {text!r} has a comma. Write numbers as 1234.5."
    way = "say data.task: classes" if target else "leave the column out of data.features"
    return f"column {name!r}: not a finite number, got {text!r} where most values are numbers. Correct it, or {way}."


def _missing_remedy(column: _Cells, *, target: bool) -> str:
    if target:
        return f"Say data.missing: {{{column.name}: drop}} to leave out such rows, or fill it in."
    rules = "drop, mean, median or most_frequent" if column.numeric else "drop or most_frequent"
    return f"Say data.missing: {rules} (for all, or {{{column.name}: …}}), or fill it in."


def _raw(spec: CsvData, columns: list[_Cells], rules: dict[str, str | None]) -> Raw:
    """The columns without the rows that are to be dropped."""
    dropped = [column.missing for column in columns if rules[column.name] == "drop"]
    keep = ~np.any(dropped, axis=0) if dropped else np.ones(len(columns[0].texts), bool)
    if not keep.any():
        raise spec_error(f"{spec.csv}: every row has a missing value, so drop leaves none.", "data", "missing")
    made = [
        Column(c.name, "number" if c.numeric else "category", _values(c)[keep], _FILLS.get(rules[c.name]))
        for c in columns
    ]
    features = tuple(column.name for column in made[:-1])
    return Raw(tuple(made[:-1]), made[-1].values, features, ("data", "csv"), ("data", "target"))


def _values(column: _Cells) -> Array:
    if column.numeric:
        return column.values
    texts = np.array(column.texts, object)
    texts[column.missing] = ""
    return texts
