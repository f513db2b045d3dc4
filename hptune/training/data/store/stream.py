"""Samples that are not held in memory: arrays in files, read row by row, and prepared as they are gathered.

A fixed rule decides whether samples are streamed, so that a machine's load changes no result: `data.stream` where it is
true or false, else how many bytes they would take when prepared.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hptune.training.data.arrays import Array, Rows

HELD_BYTES = 2**30
"""Prepared samples of more bytes than this, all parts together, are streamed."""

BLOCK_BYTES = 2**24
"""Bytes read at once where all of an array is read."""

_RETURNED_BYTES = 2**26
"""Bytes read from a memory map before its pages are released, so that a process does not hold the whole file."""

_PAGE_BYTES = 4096


class Mapped:
    """An array [n, …] in a file; only the rows last asked for are in memory.

    Indexed by a slice or by row numbers [k]; both give a copy. It is pickled as its place in the file.
    """

    def __init__(
        self, path: Path, dtype: Any, shape: tuple[int, ...], *, offset: int = 0, order: Literal["C", "F"] = "C"
    ) -> None:
        """offset: of its first value in the file, in bytes.

        Raises OSError where the file can't be read, ValueError where it is too short.
        """
        self._place = (path, np.dtype(dtype), shape, offset, order)
        self.dtype, self.shape, self.ndim = np.dtype(dtype), shape, len(shape)
        self._file = path.open("rb")
        self._row_bytes = self.dtype.itemsize * int(np.prod(shape[1:]))
        if os.fstat(self._file.fileno()).st_size < offset + len(self) * self._row_bytes:
            raise ValueError(f"{path} is too short for {self.dtype} {list(shape)}")
        if order == "F":
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            self._array: Array = np.ndarray(shape, self.dtype, self._map, offset, order=order)
        self._touched = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | Rows) -> Array:
        if self._place[-1] == "F":
            return self._from_map(index)
        rows = np.arange(*index.indices(len(self))) if isinstance(index, slice) else np.asarray(index)
        if not len(rows):
            return np.empty((0, *self.shape[1:]), self.dtype)
        first, last = int(rows.min()), int(rows.max())
        if (last + 1 - first) * self._row_bytes <= max(self._row_bytes, _PAGE_BYTES) * len(rows):
            together = self._read(np.empty((last + 1 - first, *self.shape[1:]), self.dtype), first)
            return together if len(rows) == len(together) and _rise(rows) else together[rows - first]
        picked = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for at, row in enumerate(rows.tolist()):
            self._read(picked[at : at + 1], row)
        return picked

    def _read(self, into: Array, first: int) -> Array:
        """Fill `into` with the rows from `first` on. A memory map would hold their surroundings, megabytes each."""
        view, at = into.reshape(-1).view(np.uint8).data, self._place[3] + first * self._row_bytes
        while len(view):
            count = os.preadv(self._file.fileno(), [view], at)
            assert count, f"{self._place[0]} was cut short while it was in use"
            view, at = view[count:], at + count
        return into

    def _from_map(self, index: slice | Rows) -> Array:
        """Rows whose values are spread over the file."""
        rows = np.array(self._array[index]) if isinstance(index, slice) else self._array.take(index, axis=0)
        self._touched += max(self._row_bytes, _PAGE_BYTES) * len(rows)
        if self._touched > _RETURNED_BYTES:
            self._touched = 0
            self._map.madvise(mmap.MADV_DONTNEED)  # they stay in the system's cache as long as there is room
        return rows

    def __reduce__(self) -> Any:
        path, dtype, shape, offset, order = self._place
        return _mapped, (path, dtype, shape, offset, order)


def _rise(rows: Rows) -> bool:
    return bool((np.diff(rows) == 1).all())


def _mapped(path: Path, dtype: Any, shape: tuple[int, ...], offset: int, order: Literal["C", "F"]) -> Mapped:
    return Mapped(path, dtype, shape, offset=offset, order=order)


def blocks(x: Array | Mapped) -> Iterator[tuple[int, Array]]:
    """(number of its first row, rows) of one block after the other, a few megabytes each."""
    row_bytes = max(1, x.dtype.itemsize * int(np.prod(x.shape[1:])))
    step = max(1, BLOCK_BYTES // row_bytes)
    for start in range(0, len(x), step):
        yield start, x[start : start + step]


@cache
def scratch() -> Path:
    """A folder for temporary copies of data; removed when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="hptune-")
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: list[Any] = []
