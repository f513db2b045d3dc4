"""Arrays in a .npz file, as `numpy.savez` writes it; nothing in it is ever unpickled.

A small array is read. A large one is mapped from the file; a compressed one is first unpacked into a file of its own.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from hptune.base.errors import spec_error, unknown
from hptune.experiment.data import NpzData
from hptune.training.data.arrays import Array
from hptune.training.data.raw import Raw, unreadable
from hptune.training.data.reading import Reading
from hptune.training.data.store.kept import kept
from hptune.training.data.store.stream import Mapped, scratch
from hptune.training.data.table.labels import plain_labels, refuse_long_doubles

SMALL_BYTES = 2**26
"""Arrays up to this size are read whole."""


def read_npz(spec: NpzData, reading: Reading) -> Raw:
    """x: numbers [n, …] ([n] is read as [n, 1]); y: numbers, booleans or text, [n] or [n, k].

    A large compressed array is unpacked into `how.cache`.
    """
    path = reading.folder / spec.npz
    try:
        if path.suffix == ".npy" or not zipfile.is_zipfile(path):
            _refuse_other(spec, path)
        with zipfile.ZipFile(path) as archive:
            x = _array(archive, spec, key="x", cache=reading.cache)
            y = _array(archive, spec, key="y", cache=reading.cache)[:]
    except OSError as error:
        raise unreadable(spec.npz, path, error=error, key="npz") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        message = f"{spec.npz} is no readable .npz file ({error}). Write it with numpy.savez(x=…, y=…)."
        raise spec_error(message, "data", "npz") from error
    if len(x) != len(y):
        message = f"{spec.x!r} has {len(x)} samples and {spec.y!r} has {len(y)}. They must be as long as each other."
        raise spec_error(message, "data", "npz")
    if x.dtype.kind not in "biuf" or not all(x.shape):
        message = f"{spec.x!r} must hold numbers and at least one, got {x.dtype} of shape {list(x.shape)}."
        raise spec_error(message, "data", "x")
    if y.dtype.kind not in "biufU" or y.ndim > 2 or not y.size:
        message = f"{spec.y!r} must be numbers, booleans or text, [n] or [n, k], got {y.dtype} {list(y.shape)}."
        raise spec_error(message, "data", "y")
    for key, array in (("x", x), ("y", y)):
        refuse_long_doubles(array, repr(getattr(spec, key)), ("data", key))
    if y.dtype.kind == "U":
        y = plain_labels(y, repr(spec.y), ("data", "y"))
    return Raw(x[:].reshape(-1, 1) if x.ndim == 1 else x, y, (), ("data", "x"), ("data", "y"))


def _refuse_other(spec: NpzData, path: Path) -> None:
    """Raise an error that says what the file is, since it is not a .npz file."""
    with path.open("rb") as file:
        head = file.read(len(npy.MAGIC_PREFIX))
    if head == npy.MAGIC_PREFIX:
        raise spec_error(f"{spec.npz} holds one array. Write it with numpy.savez(x=…, y=…).", "data", "npz")
    raise zipfile.BadZipFile("it is no zip file")


def _array(archive: zipfile.ZipFile, spec: NpzData, *, key: str, cache: Path | None) -> Array | Mapped:
    name: str = getattr(spec, key)
    names = [one.removesuffix(".npy") for one in archive.namelist()]
    if name not in names:
        raise spec_error(f"{spec.npz}: {unknown('array', name, names)}", "data", key)
    member = archive.getinfo(archive.namelist()[names.index(name)])
    with archive.open(member) as stream:
        dtype, shape, _ = _header(stream)
        if dtype.hasobject:
            message = f"{name!r} in {spec.npz} holds Python objects. Save plain numbers, such as x.astype('float32')."
            raise spec_error(message, "data", key)
        if not shape:
            message = f"{name!r} in {spec.npz} is a single value. Its first axis must be the samples."
            raise spec_error(message, "data", key)
    return stored_array(archive, member, cache)


def stored_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, cache: Path | None) -> Array | Mapped:
    """A member's array: read where it is small, else mapped. Raises ValueError for one of Python objects."""
    with archive.open(member) as stream:
        dtype, shape, fortran = _header(stream)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        start = stream.tell()
        if member.file_size <= SMALL_BYTES:
            stream.seek(0)
            small: Array = npy.read_array(stream, allow_pickle=False)
            return small
        if member.compress_type == zipfile.ZIP_STORED:
            path, start = Path(str(archive.filename)), _begins(archive, member) + start
        else:
            stream.seek(0)
            path = _unpacked(stream, archive, member=member, cache=cache if cache is not None else scratch())
    return Mapped(path, dtype, shape, offset=start, order="F" if fortran else "C")


def _header(stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """(type, shape, whether the first axis runs fastest) of the array that follows in the stream."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return dtype, shape, fortran


def _begins(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Where in the file the member's own bytes begin: after its local header, whose last two fields vary in length."""
    with Path(str(archive.filename)).open("rb") as file:
        file.seek(member.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return member.header_offset + 30 + int(name) + int(extra)


def _unpacked(stream: IO[bytes], archive: zipfile.ZipFile, *, member: zipfile.ZipInfo, cache: Path) -> Path:
    """The member in a file of its own; written where that is missing or damaged."""
    source = Path(str(archive.filename))
    status = source.stat()
    identity = repr((str(source.absolute()), status.st_size, status.st_mtime_ns, member.filename, member.CRC))
    path = cache / f"array-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npy"
    kept(path, lambda out: shutil.copyfileobj(stream, out, 2**20))
    return path
