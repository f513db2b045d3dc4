"""Tables in files: each format has a module of its own here, with one function that reads it whole or piece by piece.

That function, the `sheets` of the options' class, takes the file (as spelled in messages), its path, the names of the
columns (None: all), and the `rows` of a piece (None: all at once). It yields `Sheet`s, and raises `SpecError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hptune.base.rows import load_row
from hptune.experiment.data import TableData
from hptune.training.data.raw import Raw
from hptune.training.data.reading import Reading
from hptune.training.data.table.table import Sheet, read_table, used_columns


def read_table_file(spec: TableData, reading: Reading) -> Raw:
    """The used columns of a table. Raises `SpecError` with the problems of the first step that finds any."""
    return read_table(
        spec, open_table(type(spec), spec.file, path=reading.folder / spec.file, names=used_columns(spec))
    )


def open_table(kind: type[TableData], file: str, *, path: Path, names: Sequence[str] | None = None) -> Sheet:
    """The columns `names` of a table (None: all), as far as it has them. Raises `SpecError`."""
    (sheet,) = sheets(kind, file, path=path, names=names)
    return sheet


def sheets(
    kind: type[TableData], file: str, *, path: Path, names: Sequence[str] | None, rows: int | None = None
) -> Iterator[Sheet]:
    """The table piece by piece, `rows` at a time (None: all at once). Raises `SpecError`."""
    pieces: Iterator[Sheet] = load_row("hptune.training.data.sources", kind.sheets)(file, path, names, rows=rows)
    return pieces
