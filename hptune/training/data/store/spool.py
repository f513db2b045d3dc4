"""Tables that are too large for memory, in files: their columns as they were read, and x as it was prepared."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

import numpy as np

from hptune.training.data.arrays import Array
from hptune.training.data.inputs import Preparation
from hptune.training.data.raw import Column, Source
from hptune.training.data.store.kept import Output, kept
from hptune.training.data.store.stream import Mapped, scratch

ROWS = 2**16
"""Rows prepared at once."""


def spooled(values: Array) -> Mapped:
    """Numbers [n] in a file without a name, which is gone when nothing uses it any more, or this process ends."""
    handle, name = tempfile.mkstemp(suffix=".column", dir=scratch())
    with os.fdopen(handle, "wb") as file:
        values.tofile(file)
    column = Mapped(Path(name), values.dtype, values.shape)
    Path(name).unlink()
    return column


def is_spooled(x: Source) -> TypeGuard[tuple[Column, ...]]:
    """Whether the samples are a table with columns in files."""
    return isinstance(x, tuple) and any(isinstance(column.values, Mapped) for column in x)


def prepared_on_disk(x: tuple[Column, ...], prepare: Preparation, *, fingerprint: str, folder: Path | None) -> Mapped:
    """All samples of a table, prepared, in the order in which they were read; written unless the file exists.

    fingerprint: of the samples. folder: where the file is kept; None: a temporary one.
    """
    folder = folder if folder is not None else scratch()
    learnt = json.dumps([fingerprint, prepare.as_json()])
    path = folder / f"table-{hashlib.sha256(learnt.encode()).hexdigest()[:16]}.x"
    rows = len(x[0].values)
    first = prepare(x, np.arange(min(rows, 1)))

    def write(out: Output) -> None:
        for at in _stretches(rows):
            out.write(np.ascontiguousarray(prepare(_stretch(x, at), np.arange(len(range(rows)[at])))))

    kept(path, write)
    return Mapped(path, first.dtype, (rows, *first.shape[1:]))


def _stretches(rows: int) -> Iterable[slice]:
    return (slice(start, start + ROWS) for start in range(0, rows, ROWS))


def _stretch(x: tuple[Column, ...], at: slice) -> tuple[Column, ...]:
    return tuple(Column(one.name, one.kind, one.values[at], one.fill, one.words) for one in x)
