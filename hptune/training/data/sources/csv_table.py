"""A table in a text file: a header line, then one line per row; every problem is reported with its line.

UTF-8 (a byte-order mark is ignored); separated by comma, semicolon, tab or bar, whichever divides the first rows most
evenly; quotes as in RFC 4180, line breaks in them included. Blank lines are ignored, and so are spaces around a cell.
Missing is the empty cell, and the words in `cells.MISSING`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hptune.base.errors import Problem, SpecError, spec_error
from hptune.training.data.raw import text_file
from hptune.training.data.table.cells import text_of
from hptune.training.data.table.table import SHOWN

SEPARATORS = ",;\t|"


@dataclass(frozen=True, slots=True)
class CsvSheet:
    """A file's table, as texts.

    columns: the requested ones, by their place in the header. lines: the line of the file on which each row starts.
    """

    file: str
    header: list[str]
    columns: dict[int, list[str]]
    lines: list[int]
    key: str = "csv"
    is_large: bool = False  # it was read as text, which takes more room than its columns do
    is_sparse: bool = False  # a row may leave a column out, and so may all

    def place(self, row: int) -> str:
        """`file:line`, with the line on which the row starts."""
        return f"{self.file}:{self.lines[row]}"

    def column(self, name: str) -> list[str]:
        """The cells of a column as texts, with spaces around them removed."""
        if self.is_sparse and name not in self.header:
            return [""] * len(self.lines)
        return [text_of(text) for text in self.columns[self.header.index(name)]]


def csv_sheets(file: str, path: Path, names: Sequence[str] | None, *, rows: int | None = None) -> Iterator[CsvSheet]:
    """The columns `names` of a CSV file (None: all), as far as it has them; the `sheets` of `CsvData`."""
    with text_file(file, path, key="csv"):
        yield from _sheets(file, path, names=names, rows=rows)


def _sheets(file: str, path: Path, *, names: Sequence[str] | None, rows: int | None) -> Iterator[CsvSheet]:
    records = _records(file, path, _separator(file, path))
    header = _header(file, records)
    body = (record for record in records if record[1])
    first = True
    while piece := list(islice(body, rows)):
        first = False
        _refuse_ragged(file, [(line, len(cells)) for line, cells in piece if len(cells) != len(header)], len(header))
        columns = {
            i: [cells[i] for _, cells in piece] for i, name in enumerate(header) if names is None or name in names
        }
        yield CsvSheet(file, header, columns, [line for line, _ in piece])
    if first:
        raise spec_error(f"{file} has a header line and no rows. Add rows.", "data", "csv")


def _header(file: str, records: Iterator[tuple[int, list[str]]]) -> list[str]:
    line, header = next(((line, cells) for line, cells in records if cells), (1, []))
    header = [name.strip() for name in header]
    if not header:
        raise spec_error(f"{file} is empty. It needs a header line and rows.", "data", "csv")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        message = f"the header names {twice[0]!r} more than once. Give each column its own name."
        raise SpecError(Problem(message, place=f"{file}:{line}"))
    return header


def _refuse_ragged(file: str, ragged: list[tuple[int, int]], width: int) -> None:
    if not ragged:
        return
    rule = f"cells, where the header has {width}. Quote cells that hold the separator."
    problems = [Problem(f"{cells} {rule}", place=f"{file}:{line}") for line, cells in ragged[:SHOWN]]
    if len(ragged) > SHOWN:
        more = f"{len(ragged) - SHOWN} more problems like these, {len(ragged)} in all."
        problems.append(Problem(more, place=file))
    raise SpecError(*problems)


def _records(file: str, path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which it starts, cells) of each record; lines count from 1; a blank line has no cells."""
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
    """The separator that divides the first records evenly, into the most cells; else the header into the most cells."""

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
