"""Arrays in a .npz file, as `numpy.savez` writes it; nothing in it is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from hptune.errors import spec_error, unknown
from hptune.spec.data import NpzData
from hptune.training.data.parts import Array
from hptune.training.data.raw import Raw, unreadable


def read_npz(spec: NpzData, folder: Path) -> Raw:
    """x: numbers [n, …] ([n] is read as [n, 1]); y: numbers, booleans or text, [n] or [n, k]."""
    path = folder / spec.npz
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise spec_error(f"{spec.npz} holds one array. Write it with numpy.savez(x=…, y=…).", "data", "npz")
        with archive:
            x, y = (_array(archive, spec, key) for key in ("x", "y"))
    except OSError as error:
        raise unreadable(spec.npz, path, error, "npz") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        message = f"{spec.npz} is no readable .npz file ({error}). Write it with numpy.savez(x=…, y=…)."
        raise spec_error(message, "data", "npz") from error
    if len(x) != len(y):
        message = f"{spec.x!r} has {len(x)} samples and {spec.y!r} has {len(y)}. They must be as long as each other."
        raise spec_error(message, "data", "npz")
    if x.dtype.kind not in "biuf" or not x.size:
        message = f"{spec.x!r} must hold numbers and at least one, got {x.dtype} of shape {list(x.shape)}."
        raise spec_error(message, "data", "x")
    if y.dtype.kind not in "biufU" or y.ndim > 2 or not y.size:
        message = f"{spec.y!r} must be numbers, booleans or text, [n] or [n, k], got {y.dtype} {list(y.shape)}."
        raise spec_error(message, "data", "y")
    return Raw(x.reshape(-1, 1) if x.ndim == 1 else x, y, (), ("data", "x"), ("data", "y"))


def _array(archive: np.lib.npyio.NpzFile, spec: NpzData, key: str) -> Array:
    name: str = getattr(spec, key)
    if name not in archive.files:
        raise spec_error(f"{spec.npz}: {unknown('array', name, archive.files)}", "data", key)
    try:
        array: Array = archive[name]
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        message = f"{name!r} in {spec.npz} holds Python objects. Save plain numbers, such as x.astype('float32')."
        raise spec_error(message, "data", key) from error
    if array.ndim == 0:
        raise spec_error(f"{name!r} in {spec.npz} is a single value. Its first axis must be the samples.", "data", key)
    return array
