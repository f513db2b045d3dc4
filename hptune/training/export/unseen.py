"""Unseen samples, read from files for a model that takes them as they are there; every problem with its place.

Files are read piece by piece, so that memory stays flat however long they are. What training did not see is refused: a
missing column, a new category, a missing value where there was none.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from hptune.base.errors import Problem, SpecError, nearest, spec_error
from hptune.experiment.data import DATA_KINDS, TableData, table_format
from hptune.training.data.arrays import Array
from hptune.training.data.inputs import Encoding
from hptune.training.data.raw import Column
from hptune.training.data.sources.images import read_picture
from hptune.training.data.sources.npz import stored_array
from hptune.training.data.sources.picture_headers import Undecodable
from hptune.training.data.sources.table_files import sheets
from hptune.training.data.store.stream import Mapped
from hptune.training.data.table.cells import Cells, read_cells, same_spelling
from hptune.training.data.table.labels import refuse_long_doubles
from hptune.training.data.table.table import SHOWN, Sheet, refuse
from hptune.training.export.signature import PICTURE, Signature

ROWS = 8192
"""Rows of a table read at once."""

PIECE = 64 * 2**20
"""Bytes of an array, counted as float32, predicted at once."""

AT_ONCE = 256
"""Pictures read at once."""

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
"""The suffixes of single pictures; in a folder, every file that is not hidden counts as one."""

RawSamples: TypeAlias = Array | tuple[Column, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Consecutive samples. known: bool [n], which of the n can be predicted; `samples` holds those alone.

    files: for pictures, the file of each.
    """

    samples: RawSamples
    known: Array
    files: tuple[str, ...] = ()


def read_unseen(signature: Signature, path: Path) -> Iterator[Piece]:
    """The samples of a file, in order. Raises `SpecError` with the problems of the first piece that has any."""
    if not path.exists():
        raise spec_error(f"--input: no such file or folder: {path}. Check the path.")
    suffix = path.suffix.lower()
    if signature.features and (known_format := table_format(suffix)) is not None:
        return _rows(signature, sheets(known_format[1], str(path), path=path, names=signature.features, rows=ROWS))
    if not signature.is_table and suffix in (".npz", ".npy"):
        return _arrays(signature, path)
    if signature.picture is not None and (path.is_dir() or suffix in PICTURES):
        return _pictures(signature, signature.picture, path)
    raise spec_error(f"--input: {path} is not what this model takes. Give it {_takes(signature)}.")


def _takes(signature: Signature) -> str:
    """A message part on the kinds of files that a model takes."""
    pictures = (
        f"a folder of pictures, one picture ({', '.join(PICTURES)}), or " if signature.picture is not None else ""
    )
    arrays = (
        f"{pictures}a .npz file with an array {signature.array!r} of shape {_shape(signature)}, or such a .npy file"
    )
    tables = [kind.suffixes[0] for kind in DATA_KINDS.values() if issubclass(kind, TableData)]
    table = f"a {' or '.join(tables)} file with its columns"
    if signature.is_table:
        return table
    return f"{arrays}, or {table}" if signature.features else arrays


def _shape(signature: Signature) -> str:
    return f"[{', '.join(['n', *map(str, signature.shape)])}]"


# --- tables ----------------------------------------------------------------------------------------------------------


def _rows(signature: Signature, sheets: Iterator[Sheet]) -> Iterator[Piece]:
    """The pieces of a table; as arrays where the model takes them."""
    encodings = signature.preparation.encodings or [Encoding(name, "number") for name in signature.features]
    for sheet in sheets:
        _check_header(sheet, signature.features)
        cells = [_cells(sheet, encoding) for encoding in encodings]
        gaps = [
            one.missing for one, encoding in zip(cells, encodings, strict=True) if encoding.name in signature.dropped
        ]
        known = ~np.any(gaps, axis=0) if gaps else np.ones(len(cells[0].missing), bool)
        _check_cells(sheet, encodings, cells=cells, known=known, codes=signature.preparation.codes)
        if signature.is_table:
            yield Piece(tuple(_column(e, c, known) for e, c in zip(encodings, cells, strict=True)), known)
        else:
            yield Piece(np.stack([one.values for one in cells], axis=1), known)


def _cells(sheet: Sheet, encoding: Encoding) -> Cells:
    """A column with its categories spelled as in training, which may have had integers where these are floats."""
    cells = read_cells(sheet.column(encoding.name), encoding.kind)
    if encoding.kind != "category":
        return cells
    known = {same_spelling(one): one for one in encoding.categories} | {one: one for one in encoding.categories}
    texts = [known.get(one, known.get(same_spelling(one), one)) for one in cells.values.tolist()]
    return replace(cells, values=np.array(texts, object))


def _column(encoding: Encoding, cells: Cells, known: Array) -> Column:
    return Column(encoding.name, encoding.kind, cells.values[known])


def _check_header(sheet: Sheet, names: Sequence[str]) -> None:
    problems = []
    for name in names:
        if name not in sheet.header and not sheet.is_sparse:
            close = nearest(name, sheet.header)
            hint = f" Is it {close!r}?" if close is not None else ""
            problem = f"column {name!r} is missing, which the model was trained on.{hint}"
            problems.append(Problem(f"{problem} Columns here: {', '.join(sheet.header)}.", place=sheet.file))
    if problems:
        raise SpecError(*problems)


def _check_cells(
    sheet: Sheet, encodings: Sequence[Encoding], *, cells: Sequence[Cells], known: Array, codes: bool
) -> None:
    wrong_cells = [
        (row, message)
        for encoding, column in zip(encodings, cells, strict=True)
        for row, message in (*_wrong(encoding, column), *(_fractions(encoding, column) if codes else ()))
        if known[row]
    ]
    refuse(sheet, wrong_cells)


def _wrong(encoding: Encoding, cells: Cells) -> Iterator[tuple[int, str]]:
    """(row, message) for the cells that no column of the training data held."""
    prefix = f"column {encoding.name!r}: "
    for row in np.flatnonzero(cells.odd).tolist():
        yield row, f"{prefix}must be a {encoding.kind}, got {cells.spelled(row)!r}. Correct it."
    if encoding.fill is None and encoding.kind != "text":
        for row in np.flatnonzero(cells.missing).tolist():
            yield (
                row,
                f"{prefix}missing value, which the training data had none of. Fill it in, or train with data.missing.",
            )
    if encoding.kind == "category":
        new = set(np.unique(cells.values[~cells.missing]).tolist()) - set(encoding.categories)
        for row in np.flatnonzero(np.isin(cells.values, list(new))).tolist() if new else ():
            yield (
                row,
                f"{prefix}{cells.values[row]!r} was not in the training data. {_known(cells.values[row], encoding)}",
            )


def _fractions(encoding: Encoding, cells: Cells) -> Iterator[tuple[int, str]]:
    """(row, message) for the fractions in a column whose numbers stand for words."""
    if encoding.kind != "number":
        return
    for row in np.flatnonzero(~cells.missing & ~cells.odd & (cells.values != np.floor(cells.values))).tolist():
        yield row, f"column {encoding.name!r}: must be a whole number, got {cells.spelled(row)!r}. Correct it."


def _known(text: str, encoding: Encoding) -> str:
    close = nearest(text, encoding.categories)
    if close is not None:
        return f"Did you mean {close!r}?"
    shown = ", ".join(map(repr, encoding.categories[:12]))
    return f"It knows {shown}{', …' if len(encoding.categories) > 12 else ''}."


# --- arrays ----------------------------------------------------------------------------------------------------------


def _arrays(signature: Signature, path: Path) -> Iterator[Piece]:
    x = _load(signature, path)
    flat = signature.shape == (1,) and len(x.shape) == 1
    if x.dtype.kind not in "biuf" or (tuple(x.shape[1:]) != signature.shape and not flat):
        got = f"{x.dtype} of shape [{', '.join(map(str, x.shape))}]"
        raise spec_error(f"--input: {path} must hold numbers of shape {_shape(signature)}, as in training; got {got}.")
    refuse_long_doubles(x, f"--input: {path}", ())
    size = max(1, PIECE // (4 * max(1, int(np.prod(signature.shape)))))
    for start in range(0, len(x), size):
        piece = x[start : start + size].reshape(-1, *signature.shape)
        yield Piece(_checked(piece, start, signature=signature, path=path), np.ones(len(piece), bool))


def _load(signature: Signature, path: Path) -> Array | Mapped:
    """The file's array; a large one is mapped, not read."""
    try:
        if path.suffix.lower() == ".npy":
            alone: Array = np.load(path, mmap_mode="r", allow_pickle=False)
            return alone
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if signature.array not in names:
                held = ", ".join(names)
                problem = f"{path} has no array {signature.array!r}, which the model takes; it has {held}."
                raise spec_error(f"--input: {problem}")
            return stored_array(archive, archive.infolist()[names.index(signature.array)], None)
    except OSError as error:
        raise spec_error(f"--input: {path} can't be read: {error.strerror or error}.") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        problem = f"{path} is no readable array file ({error}). Write it with numpy.savez({signature.array}=…)."
        raise spec_error(f"--input: {problem}") from error


def _checked(x: Array, start: int, *, signature: Signature, path: Path) -> Array:
    """The samples. Raises `SpecError` for values that are not finite, or not whole where training had whole numbers."""
    bad = x != np.floor(x) if signature.integers and x.dtype.kind == "f" else ~np.isfinite(x)
    if signature.integers and not signature.preparation.wide and signature.preparation.scale is None:
        limit = np.iinfo(np.int32)
        bad |= (x < limit.min) | (x > limit.max)
    if not bad.any():
        return x
    sample = start + int(bad.reshape(len(x), -1).any(axis=1).argmax())
    rule = "finite numbers"
    if signature.integers:
        size = " of 32 bits" if (np.isfinite(x) & (np.abs(x, dtype=np.float64) > 2**31 - 1)).any() else ""
        rule = f"whole numbers{size} alone, as in training"
    raise spec_error(f"sample {sample} must hold {rule}, and does not. Correct it.", place=str(path))


# --- pictures --------------------------------------------------------------------------------------------------------


def _pictures(signature: Signature, shape: tuple[int, int, int], path: Path) -> Iterator[Piece]:
    """The pictures of a folder and its subfolders, by name. An undecodable one is refused, or counts as not known."""
    files = [path]
    if path.is_dir():
        inside = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
        files = [path / file for file in inside if not any(part.startswith(".") for part in file.parts)]
        if not files:
            raise spec_error(f"--input: {path} holds no file. Put the pictures in it.")
    for start in range(0, len(files), AT_ONCE):
        batch = files[start : start + AT_ONCE]
        read = [_picture(file, shape) for file in batch]
        problems = [problem for problem in read if isinstance(problem, Problem)]
        if problems and PICTURE not in signature.dropped:
            raise SpecError(*problems[:SHOWN], *_more(problems, path))
        known = np.array([not isinstance(one, Problem) for one in read])
        pictures = [one for one in read if not isinstance(one, Problem)]
        samples = np.stack(pictures) if pictures else np.empty((0, *shape), np.uint8)
        yield Piece(samples, known, tuple(str(file) for file in batch))


def _picture(file: Path, shape: tuple[int, int, int]) -> Array | Problem:
    try:
        return read_picture(file, shape[:2], shape[2])
    except (Undecodable, OSError) as error:
        return Problem(f"can't be decoded: {error}. Fix or remove it.", place=str(file))


def _more(problems: Sequence[Problem], path: Path) -> list[Problem]:
    if len(problems) <= SHOWN:
        return []
    return [Problem(f"{len(problems) - SHOWN} more problems like these, {len(problems)} in all.", place=str(path))]
