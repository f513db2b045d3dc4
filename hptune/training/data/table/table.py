"""A table of any file format: which columns are used and for what, problems in their cells, and the resulting samples.

Formats differ in how a column is read and how a row is named; all else is the same and is here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, cast

import numpy as np

from hptune.base.errors import KeyPath, Problem, SpecError, spec_error, unknown
from hptune.experiment.data import Kind, TableData, TextColumn
from hptune.training.data.arrays import Array
from hptune.training.data.raw import Column, Fill, Raw
from hptune.training.data.store.spool import spooled
from hptune.training.data.table.cells import (
    COMMA_NUMBER,
    Cells,
    Content,
    Typed,
    are_integers,
    one_spelling,
    read_cells,
)

SHOWN = 10
"""The most problems of a file that are listed; the others are counted."""

Role: TypeAlias = Literal["features", "target", "sample_weight", "group", "time"]

_FILLS: Mapping[str | None, Fill] = {"mean": "mean", "median": "median", "most_frequent": "most_frequent"}


class Sheet(Protocol):
    """A file's table."""

    @property
    def key(self) -> str:
        """The key of the `data` section that names the file."""
        ...

    @property
    def file(self) -> str:
        """The file's path, as the YAML has it."""
        ...

    @property
    def header(self) -> Sequence[str]:
        """The names of all columns, in the order of the file."""
        ...

    @property
    def is_large(self) -> bool:
        """Whether its columns are too large to be in memory all at once."""
        ...

    @property
    def is_sparse(self) -> bool:
        """Whether rows may leave columns out, so that one which none of them has counts as missing in all."""
        ...

    def place(self, row: int) -> str:
        """The place of a row (from 0), for messages."""
        ...

    def column(self, name: str) -> Content:
        """All cells of a column of the header."""
        ...


@dataclass(frozen=True, slots=True)
class _Used:
    """A column and its role. path: the key that names it."""

    name: str
    role: Role
    path: KeyPath


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A used column, how it is read, and its rule in `data.missing`: a fill, `drop` or None.

    cells: None for an input of a large table, which is read once more later.
    """

    used: _Used
    kind: Kind
    words: TextColumn | None
    rule: str | None
    cells: Cells | None


def targets_of(spec: TableData) -> list[str]:
    """The columns to predict."""
    return spec.target if isinstance(spec.target, list) else [spec.target]


def used_columns(spec: TableData) -> list[str] | None:
    """The names of all columns that are read; None where the header decides that."""
    if spec.features is None:
        return None
    others = [spec.sample_weight, spec.group, spec.time]
    return list(dict.fromkeys([*spec.features, *targets_of(spec), *(name for name in others if name is not None)]))


def read_table(spec: TableData, sheet: Sheet) -> Raw:
    """The samples of a table. Raises `SpecError` with the problems of the first step that finds any."""
    used = _uses(spec, sheet)
    _check_rules(spec, [use.name for use in used])
    columns: list[_Read] = []
    problems: list[tuple[int, str]] = []
    dropped: list[Array] = []
    for use in used:
        cells = _cells(use, spec, sheet)
        declared = spec.columns.get(use.name)
        words = (
            None if cells.kind != "text" else declared if isinstance(declared, TextColumn) else TextColumn(kind="text")
        )
        rule = _rule(use, cells, spec)
        problems += _wrong(use, cells, rule=rule, spec=spec)
        if rule == "drop":
            dropped.append(cells.missing)
        again = sheet.is_large and use.role == "features"
        columns.append(_Read(use, cells.kind, words, rule, None if again else cells))
    refuse(sheet, problems)
    return _raw(spec, sheet, columns=columns, keep=~np.any(dropped, axis=0) if dropped else None)


# --- which columns ---------------------------------------------------------------------------------------------------


def _uses(spec: TableData, sheet: Sheet) -> list[_Used]:
    """Every use of a column, checked: features, targets and others."""
    targets = targets_of(spec)
    listed = isinstance(spec.target, list)
    uses = [_Used(name, "target", ("data", "target", i) if listed else ("data", "target"))
            for i, name in enumerate(targets)]  # fmt: skip
    named: dict[Role, str | None] = {"sample_weight": spec.sample_weight, "group": spec.group, "time": spec.time}
    uses += [_Used(name, role, ("data", role)) for role, name in named.items() if name is not None]
    problems = [_unknown(one, sheet) for one in uses if one.name not in sheet.header]
    problems += [
        Problem(f"{one.name!r} is the target and can't be the {one.role} too. Name another column.", one.path)
        for one in uses
        if one.role != "target" and one.name in targets
    ]
    problems += [
        Problem(f"{name!r} stands here twice. Drop one.", ("data", "target", i))
        for i, name in enumerate(targets)
        if name in targets[:i]
    ]
    if problems:
        raise SpecError(*problems)
    features = _features(spec, sheet, taken={one.name for one in uses})
    _check_columns_key(spec, sheet, [*features, *uses])
    return [*features, *uses]


def _features(spec: TableData, sheet: Sheet, taken: set[str]) -> list[_Used]:
    """The input columns; unless they are named, all columns without another role."""
    if spec.features is None:
        if "" in sheet.header:
            message = f"{sheet.file}: column {list(sheet.header).index('') + 1} has no name in the header."
            raise spec_error(f"{message} Name it, or list the columns to use in data.features.", "data", sheet.key)
        features = [name for name in sheet.header if name not in taken]
    else:
        features = spec.features
    uses = [_Used(name, "features", ("data", "features", i)) for i, name in enumerate(features)]
    problems = []
    for i, use in enumerate(uses if spec.features is not None else ()):
        if use.name in targets_of(spec):
            problems.append(Problem(f"{use.name!r} is the target and can't be an input too. Drop it here.", use.path))
        elif use.name not in sheet.header:
            problems.append(_unknown(use, sheet))
        elif use.name in features[:i]:
            problems.append(Problem(f"{use.name!r} stands here twice. Drop one.", use.path))
    if not uses:
        problems.append(Problem("no column is left as an input. Name at least one.", ("data", "features")))
    if problems:
        raise SpecError(*problems)
    return uses


def _unknown(use: _Used, sheet: Sheet) -> Problem:
    return Problem(f"{sheet.file}: {unknown('column', use.name, sheet.header)}", use.path)


def _check_columns_key(spec: TableData, sheet: Sheet, uses: Sequence[_Used]) -> None:
    """Check `data.columns`, which says how inputs and targets are read. Raises `SpecError`."""
    problems = []
    inputs = [one.name for one in uses if one.role == "features"]
    for name, declared in spec.columns.items():
        kind = _kind(declared)
        path = ("data", "columns", name)
        if name not in sheet.header:
            problems.append(Problem(f"{sheet.file}: {unknown('column', name, sheet.header)}", path))
        elif name in targets_of(spec) and kind in ("date", "text"):
            problems.append(Problem(f"a target is number or category, got {kind}. Choose one of them.", path))
        elif name not in [*inputs, *targets_of(spec)]:
            problems.append(Problem(f"{name!r} is neither an input nor the target. Drop it here.", path))
        elif isinstance(declared, TextColumn) and declared.length is not None and len(inputs) > 1:
            problem = "output_mode: int makes x the numbers of words, beside which no other column can stand."
            problems.append(
                Problem(f"{problem} Make data.features [{name}], or choose multi_hot, count or tf_idf.", path)
            )
    if problems:
        raise SpecError(*problems)


def _kind(declared: Kind | TextColumn | None) -> Kind | None:
    return declared.kind if isinstance(declared, TextColumn) else declared


# --- their cells -----------------------------------------------------------------------------------------------------


def _cells(used: _Used, spec: TableData, sheet: Sheet) -> Cells:
    """The cells of one column, read for its role."""
    content = sheet.column(used.name)
    declared = spec.columns.get(used.name)
    listed = isinstance(spec.target, list)
    if used.role == "features":
        cells = read_cells(content, _kind(declared))
    elif used.role == "target":
        kind = "number" if listed else _kind(declared)
        cells = read_cells(content, kind, names=not listed, classes=spec.task == "classes")
        remedy = "Name columns of numbers." if listed else "Say data.columns: {%s: category} if it names classes."
        _check_kind(cells, ("number", "category"), used=used, sheet=sheet, remedy=remedy)
    elif used.role == "group":
        cells = _groups(content, _kind(declared))
    elif used.role == "time":
        cells = read_cells(content, None)
        _check_kind(
            cells,
            ("number", "date"),
            used=used,
            sheet=sheet,
            remedy="Name a column of numbers or of dates such as 2025-01-31.",
        )
    else:
        cells = read_cells(content, "number")
    if cells.missing.all():
        path = ("data", "features" if spec.features is not None else sheet.key)
        message = f"{sheet.file}: column {used.name!r} is empty. Choose another, or leave it out of data.features."
        raise spec_error(message, *(path if used.role == "features" else used.path))
    return cells


def _groups(content: Content, kind: Kind | None) -> Cells:
    """The groups of a column; 7, 7.0 and 007 are one group, unless `data.columns` says that they are names."""
    if isinstance(content, Typed):
        return read_cells(content, None)
    return read_cells(content if kind == "category" else one_spelling(content), "category")


def _check_kind(cells: Cells, wanted: tuple[Kind, ...], *, used: _Used, sheet: Sheet, remedy: str) -> None:
    if cells.kind not in wanted:
        holds = "dates" if cells.kind == "date" else "text"
        problem = f"{sheet.file}: column {used.name!r} holds {holds} and can't be the {used.role}."
        raise spec_error(f"{problem} {remedy.replace('%s', used.name)}", *used.path)


def _rule(used: _Used, cells: Cells, spec: TableData) -> str | None:
    """The rule of `data.missing` for a column: a fill, `drop` or None. Only inputs are ever filled in."""
    by_column = spec.missing if isinstance(spec.missing, dict) else {}
    rule: str | None = by_column.get(used.name) if by_column else spec.missing
    if rule in (None, "drop"):
        return rule
    if used.role != "features":
        if used.name in by_column and used.role == "target":
            message = f"the target can't be filled in by {rule}: it would be learnt as if it were true. Say drop."
            raise spec_error(message, "data", "missing", used.name)
        return None
    if cells.kind == "text":
        if used.name in by_column:
            message = f"free text can't be filled in by {rule}: without words it is a text too. Say drop, or nothing."
            raise spec_error(message, "data", "missing", used.name)
        return None
    if rule in ("mean", "median") and cells.kind == "category":
        if not cells.missing.any() and not by_column:
            return None  # a rule for all, and this column needs none
        message = f"column {used.name!r} is text and has no {rule}. Say {{{used.name}: most_frequent}} or drop."
        raise spec_error(message, "data", "missing")
    return rule


def _check_rules(spec: TableData, names: Sequence[str]) -> None:
    for name in spec.missing if isinstance(spec.missing, dict) else ():
        if name not in names:
            raise spec_error(unknown("column", name, names), "data", "missing", name)


def _wrong(used: _Used, cells: Cells, *, rule: str | None, spec: TableData) -> Iterator[tuple[int, str]]:
    """(row, message) for the cells that can't be used."""
    for row in np.flatnonzero(cells.odd).tolist():
        yield row, _odd(used, cells, row=row, spec=spec)
    if rule is None and cells.kind != "text":
        message = f"column {used.name!r}: missing value. {_missing_remedy(used, cells)}"
        for row in np.flatnonzero(cells.missing).tolist():
            yield row, message
    if used.role == "sample_weight":
        prefix = f"column {used.name!r}: a weight must be at least 0, got "
        for row in np.flatnonzero(cells.values < 0).tolist():
            yield row, f"{prefix}{cells.spelled(row)}. Correct it."


def refuse(sheet: Sheet, problems: Sequence[tuple[int, str]]) -> None:
    """Raise the problems, each (row from 0, message), if there are any."""
    if not problems:
        return
    shown = [Problem(message, place=sheet.place(row)) for row, message in sorted(problems)[:SHOWN]]
    if len(problems) > SHOWN:
        more = f"{len(problems) - SHOWN} more problems like these, {len(problems)} in all."
        shown.append(Problem(more, place=sheet.file))
    raise SpecError(*shown)


def _odd(used: _Used, cells: Cells, *, row: int, spec: TableData) -> str:
    """The message for a cell that is not of its column's kind."""
    name, text, role = used.name, cells.spelled(row), used.role
    if COMMA_NUMBER.fullmatch(text) and cells.kind == "number":
        return f"column {name!r}: {text!r} has a comma. Write numbers as 1234.5."
    ways = {
        "target": "say data.task: classes",
        "features": "leave the column out of data.features",
        "sample_weight": "name another column",
        "group": "name another column",
        "time": "name another column",
    }
    remedy = "give a list of columns of numbers" if role == "target" and isinstance(spec.target, list) else ways[role]
    rule = "date (such as 2025-01-31 or 2025-01-31T12:00)" if cells.kind == "date" else "finite number"
    seen = "" if name in spec.columns or role == "sample_weight" else f" where most values are {cells.kind}s"
    return f"column {name!r}: not a {rule}, got {text!r}{seen}. Correct it, or {remedy}."


def _missing_remedy(used: _Used, cells: Cells) -> str:
    if used.role != "features":
        return f"Say data.missing: {{{used.name}: drop}} to leave out such rows, or fill it in."
    rules = "drop or most_frequent" if cells.kind == "category" else "drop, mean, median or most_frequent"
    return f"Say data.missing: {rules} (for all, or {{{used.name}: …}}), or fill it in."


# --- the samples -----------------------------------------------------------------------------------------------------


def _raw(spec: TableData, sheet: Sheet, *, columns: Sequence[_Read], keep: Array | None) -> Raw:
    """The samples without the dropped rows. keep: bool, for every row; None: all are kept."""
    if keep is not None and not keep.any():
        raise spec_error(f"{sheet.file}: every row has a missing value, so drop leaves none.", "data", "missing")
    roles: dict[Role, list[Array]] = {}
    for column in columns:
        if column.used.role != "features":
            roles.setdefault(column.used.role, []).append(_kept(_values(column, spec), keep))
    made = tuple(_column(column, sheet, keep) for column in columns if column.used.role == "features")
    weights = roles.get("sample_weight", [None])[0]
    if weights is not None and not weights.any():
        raise spec_error("every weight is 0: there is nothing to learn. Name another column.", "data", "sample_weight")
    y = roles["target"]
    return Raw(
        x=made,
        y=np.stack(y, axis=1) if isinstance(spec.target, list) else y[0],
        features=tuple(column.name for column in made),
        x_path=("data", sheet.key),
        y_path=("data", "target"),
        outputs=tuple(targets_of(spec)),
        weights=None if weights is None else weights.astype(np.float64),
        groups=roles.get("group", [None])[0],
        times=roles.get("time", [None])[0],
    )


def _column(column: _Read, sheet: Sheet, keep: Array | None) -> Column:
    """An input; the numbers of a large table are in a file from here on."""
    cells = column.cells if column.cells is not None else read_cells(sheet.column(column.used.name), column.kind)
    values = _kept(cells.values, keep)
    spool = sheet.is_large and column.kind in ("number", "date")
    values = cast(Array, spooled(values)) if spool else values
    return Column(column.used.name, column.kind, values, _FILLS.get(column.rule), column.words)


def _kept(values: Array, keep: Array | None) -> Array:
    return values if keep is None else values[keep]


def _values(column: _Read, spec: TableData) -> Array:
    """A column's values: labels and groups that floats would merge stay distinct; numbers are floats nevertheless."""
    assert column.cells is not None, "only inputs are read again"
    cells, role = column.cells, column.used.role
    names = role == "group" or (role == "target" and len(targets_of(spec)) == 1 and spec.task != "regression")
    exact = cells.exactly() if names else None
    if exact is not None and (
        role == "group" or spec.task == "classes" or exact.dtype != object or are_integers(exact)
    ):
        return exact
    if role == "target" and isinstance(cells.content, Typed) and cells.kind == "number":
        if cells.content.kind == "boolean":
            truth: Array = cells.values == 1.0  # a missing one is dropped, or was refused
            return truth
        return cells.content.as_given
    return cells.values
