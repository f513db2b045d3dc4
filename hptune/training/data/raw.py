"""What a source reads: the samples before any split, fill or scaling; and their fingerprint."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hptune.base.errors import KeyPath, Problem, SpecError, spec_error
from hptune.base.trial import Value
from hptune.experiment.data import Kind, TextColumn
from hptune.training.data.arrays import Array
from hptune.training.data.store.stream import Mapped, blocks

Fill: TypeAlias = Literal["mean", "median", "most_frequent"]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of a table.

    kind, values: number: floats [n]; date: floats [n], days since 1970-01-01 (UTC), the time of day as a fraction;
        category and text: str objects [n]. A missing value is NaN, or "" among texts. For a large table, the floats
        are on the disk: a `Mapped`, which is indexed like an array.
    fill: the rule for missing values; None: there are none (in free text they are texts without words).
    words: how free text becomes numbers; None for the other kinds.
    """

    name: str
    kind: Kind
    values: Array
    fill: Fill | None = None
    words: TextColumn | None = None


Source: TypeAlias = Array | Mapped | tuple[Column, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """All samples of a source.

    x: an array of numbers [n, …], in memory or on the disk, or the columns of a table.
    y: numbers, booleans or str [n]; or numbers [n, k].
    labels: where the source names its classes; y is then the index into them.
    x_path, y_path: the keys of the YAML that errors about them point to.
    outputs: the names of y's columns (of its one column too); () where it has none.
    weights: float64 [n], how much each sample counts; groups: [n], comparable values, equal ones of which stay in one
        part; times: floats [n], by which the parts are ordered. None where there is no such column.
    own_validation, own_test: the rows of these parts, where the source has them; None: they are divided here.
    notes: notes for the user on how the source was read.
    """

    x: Source
    y: Array
    features: tuple[str, ...]
    x_path: KeyPath
    y_path: KeyPath
    labels: tuple[Value, ...] | None = None
    outputs: tuple[str, ...] = ()
    weights: Array | None = None
    groups: Array | None = None
    times: Array | None = None
    own_validation: NDArray[np.int64] | None = None
    own_test: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()


def take(x: Source, rows: NDArray[np.int64]) -> Array | tuple[Column, ...]:
    """The samples of these rows, as they are."""
    if not isinstance(x, tuple):
        return x[rows]
    return tuple(replace(column, values=column.values[rows]) for column in x)


def unreadable(file: str, path: Path, *, error: OSError, key: str) -> SpecError:
    """The error for a data file that can't be opened. `file`: as the YAML names it."""
    if isinstance(error, FileNotFoundError):
        message = f"no such file: {file} (looked for {path}). A relative path starts at the YAML file's folder."
    elif isinstance(error, IsADirectoryError):
        message = f"must be a file, got the folder {file} ({path}). Name the file in it."
    else:
        message = f"can't read {file}: {error.strerror or error}. Check the path and its permissions."
    return spec_error(message, "data", key)


def fingerprint(raw: Raw, options: Mapping[str, Any]) -> str:
    """sha256 (hex) of every raw value in order, of the names, and of `options` (JSON data).

    Equal on every machine: numbers are hashed little-endian, integers as 64 bits, every NaN as the same.
    """
    digest = hashlib.sha256()
    digest.update(_json([options, raw.features, raw.labels, raw.outputs]))
    arrays = [column.values for column in raw.x] if isinstance(raw.x, tuple) else [raw.x]
    others = [array for array in (raw.weights, raw.groups, raw.times) if array is not None]
    for array in [*arrays, raw.y, *others]:
        if array.dtype.kind in "OUT":
            digest.update(_json(["text", list(array.shape)]))
            digest.update(_json(array[:].tolist()))
            continue
        digest.update(_json([_canonical(array[:1]).dtype.str, list(array.shape)]))
        for _, part in blocks(array):
            digest.update(np.ascontiguousarray(_canonical(part)).tobytes())
    return digest.hexdigest()


def _canonical(array: Array) -> Array:
    kind = array.dtype.kind
    if kind in "iu":
        return array.astype("<u8" if kind == "u" else "<i8")
    if kind == "f":
        return np.where(np.isnan(array), np.nan, array).astype(array.dtype.newbyteorder("<"))
    return array


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@contextlib.contextmanager
def text_file(file: str, path: Path, *, key: str) -> Iterator[None]:
    """For a text file to be read in: SpecError, with its place, where it can't be opened, or is not UTF-8.

    file: the path as the YAML has it. key: of the `data` section.
    """
    try:
        yield
    except OSError as error:
        raise unreadable(file, path, error=error, key=key) from error
    except UnicodeDecodeError as error:
        place = f"{file}:{_undecodable_line(path)}"
        raise SpecError(Problem(f"not UTF-8 ({error.reason}). Save the file as UTF-8.", place=place)) from error


def _undecodable_line(path: Path) -> int:
    """The first line that is not UTF-8."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    raise AssertionError(f"{path} changed while it was read")
