"""Results computed once from the data and kept in files: written whole before use, and made again where damaged."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from hptune.base import files

_AT_ONCE = 2**20


class Output(Protocol):
    """A file, or what else takes bytes."""

    def write(self, data: Any, /) -> int:
        """Write the bytes of `data`, and return how many were written."""
        ...


class _Summed:
    """A file that keeps the size and checksum of what is written to it."""

    def __init__(self, file: Output) -> None:
        self._file = file
        self.size, self.crc = 0, 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._file.write(data)
        self.size, self.crc = self.size + size, zlib.crc32(data, self.crc)
        return size


def kept(path: Path, write: Callable[[Output], Any]) -> Any:
    """Make the file `path` by `write`, unless it exists; returns what `write` returned (JSON data), now or then.

    The file's folder must not be a link. A file beside it, `<path>.json`, is written last: it holds the returned data,
    the size, and a checksum of both (CRC-32), by which damage is seen. Raises RunError where the file can't be written,
    and what `write` raises.
    """
    below, marker = path.parent.parent, path.with_name(f"{path.name}.json")
    there, said = _said(path, marker, below)
    if there:
        return said
    files.remove(marker, below=below)
    with files.whole_file(path, below=below) as file:
        summed = _Summed(file)
        said = write(summed)
    text = json.dumps({"bytes": summed.size, "crc": _with_said(summed.crc, said), "said": said})
    files.write_whole(marker, text, below=below)
    return said


def _said(path: Path, marker: Path, below: Path) -> tuple[bool, Any]:
    """(whether the file exists and is whole, what `write` returned when it was written)."""
    if not (files.is_file(path, below=below) and files.is_file(marker, below=below)):
        return False, None
    try:
        record = json.loads(files.read_bytes(marker, below=below))
        expected = record["bytes"], record["crc"], record["said"]
    except (ValueError, TypeError, KeyError):
        return False, None
    size, crc = 0, 0
    try:
        with files.open_file(path, below=below) as file:
            while block := file.read(_AT_ONCE):
                size, crc = size + len(block), zlib.crc32(block, crc)
    except OSError:  # a disk that can't read it has damaged it
        return False, None
    return (size, _with_said(crc, expected[2])) == expected[:2], expected[2]


def _with_said(crc: int, said: Any) -> int:
    """The checksum of a file, carried on over what `write` returned."""
    return zlib.crc32(json.dumps(said).encode(), crc)
