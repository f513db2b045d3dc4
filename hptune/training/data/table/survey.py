"""What a table holds: which of its columns can be inputs, of which kind, and what its target is.

It reads the table as training will, so that a starter fitted to it trains at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hptune.base.errors import spec_error, unknown
from hptune.base.trial import Value
from hptune.experiment.data import CsvData, Kind, table_format
from hptune.training.data.inputs import MOST_CATEGORIES
from hptune.training.data.sources.table_files import open_table
from hptune.training.data.table.cells import Cells, read_cells
from hptune.training.data.table.table import Sheet, read_table
from hptune.training.data.target import read_target

_NAMES_ROWS = re.compile(r"(.*[_\W])?(id|uuid|guid|key|index|row)|unnamed: \d+|", re.IGNORECASE)
"""Names of columns that only identify rows, the empty name among them."""

_FILLS: Mapping[Kind, str] = {"number": "median", "date": "median", "category": "most_frequent"}

_WORDS = 3.0
"""A column with more words per cell than this on average, most of whose cells differ, is free text."""


@dataclass(frozen=True, slots=True)
class ColumnSurvey:
    """One column. gaps: whether a value is missing. unused: why it is not an input; None: it is one."""

    name: str
    kind: Kind
    gaps: bool
    unused: str | None


@dataclass(frozen=True, slots=True)
class Survey:
    """A table. key: of the `data` section, for such a file. classes: how many rows each has; None for a regression.

    target_gaps: whether rows lack a target. rows: how many have one.
    """

    key: str
    inputs: tuple[ColumnSurvey, ...]
    target: str
    target_gaps: bool
    rows: int
    classes: Mapping[Value, int] | None


def survey(path: Path, target: str | None) -> Survey:
    """Survey the table in a file, which is read as CSV unless its suffix says otherwise.

    Raises SpecError where it can't be read, or has no column `target`.
    """
    key, kind = table_format(path.suffix.lower()) or ("csv", CsvData)
    sheet = open_table(kind, str(path), path=path)
    if target is None:
        raise spec_error(f"--target is required with --data. Its columns: {', '.join(sheet.header)}.")
    if target not in sheet.header:
        raise spec_error(f"--target: {unknown('column', target, sheet.header)}")
    inputs = tuple(_survey_column(name, sheet) for name in sheet.header if name != target)
    used = [one for one in inputs if one.unused is None]
    if not used:
        reasons = "; ".join(f"{one.name!r} {one.unused}" for one in inputs)
        raise spec_error(f"--data: {path} has no column to learn from beside the target ({reasons}).")
    gaps = bool(read_cells(sheet.column(target), None, names=True).missing.any())
    surveyed = Survey(key, inputs, target, gaps, 0, None)
    spec = kind(**{key: str(path), **data_options(surveyed)})
    raw = read_table(spec, sheet)
    learnt = read_target(raw, task=None, one_hot=False)
    surveyed = replace(surveyed, rows=len(learnt.codes))
    if learnt.labels is None:
        return surveyed
    counts = np.bincount(learnt.codes, minlength=len(learnt.labels)).tolist()
    return replace(surveyed, classes=dict(zip(learnt.labels, counts, strict=True)))


def data_options(table: Survey) -> dict[str, Any]:
    """The keys of the `data` section for the table, beside the one that names its file."""
    used = [one for one in table.inputs if one.unused is None]
    rules = {one.name: _FILLS[one.kind] for one in used if one.gaps and one.kind != "text"}
    rules |= {table.target: "drop"} if table.target_gaps else {}
    return {
        "target": table.target,
        **({"features": [one.name for one in used]} if len(used) < len(table.inputs) else {}),
        **({"columns": texts} if (texts := {one.name: "text" for one in used if one.kind == "text"}) else {}),
        **({"missing": rules} if rules else {}),
    }


def _survey_column(name: str, sheet: Sheet) -> ColumnSurvey:
    cells = read_cells(sheet.column(name), None)
    present = cells.values[~cells.missing]
    odd = np.flatnonzero(cells.odd).tolist()
    if not len(present):
        return ColumnSurvey(name, cells.kind, True, "is empty")
    if odd:
        return ColumnSurvey(
            name, cells.kind, False, f"holds {cells.spelled(odd[0])!r} among {cells.kind}s ({sheet.place(odd[0])})"
        )
    distinct = len(set(present.tolist()))
    if distinct == 1:
        return ColumnSurvey(name, cells.kind, False, "is the same in every row")
    if distinct == len(present) and _NAMES_ROWS.fullmatch(name) and not _is_measure(cells):
        return ColumnSurvey(name, cells.kind, False, "only identifies rows")
    kind: Kind = "text" if _is_free_text(cells, distinct) else cells.kind
    if kind == "category" and distinct > min(MOST_CATEGORIES, len(present) / 2):
        return ColumnSurvey(name, kind, False, f"holds {distinct} different texts in {len(present)} rows")
    return ColumnSurvey(name, kind, bool(cells.missing.any()), None)


def _is_measure(cells: Cells) -> bool:
    """Whether the cells have fractions: then they are measurements, whatever the column's name."""
    values = cells.values[~cells.missing]
    return cells.kind == "number" and bool((values != np.floor(values)).any())


def _is_free_text(cells: Cells, distinct: int) -> bool:
    if cells.kind != "category":
        return False
    texts = cells.values[~cells.missing].tolist()
    return 2 * distinct > len(texts) and sum(len(text.split()) for text in texts) >= _WORDS * len(texts)
