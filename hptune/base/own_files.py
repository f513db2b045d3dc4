"""Which code is the user's: everything that is not Python's own, an installed package's or hptune's."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import hptune

INSTALLED = tuple(sysconfig.get_path(kind) + os.sep for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
"""Where Python's own code lies, and that of installed packages."""

_NOT_THE_USERS = (*INSTALLED, str(Path(hptune.__file__).parent) + os.sep, "<")
"""The last: code that has no file."""


def is_own_file(file: str) -> bool:
    """Whether a file of code, as code objects name it, is the user's."""
    return not file.startswith(_NOT_THE_USERS)


def is_installed(file: str) -> bool:
    """Whether a file is Python's own or of an installed package."""
    return file.startswith(INSTALLED)


_GENERATED = "__autograph_generated_file"
"""Modules that TensorFlow writes for each function that it traces."""


def is_own_module(module: object) -> bool:
    """Whether a loaded module is the user's: by its file; for a folder without `__init__.py` by where it lies. A module
    that was made by hand, not by an importer, is.
    """
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return is_own_file(file) and not os.path.basename(file).startswith(_GENERATED)  # noqa: PTH119
    if getattr(module, "__spec__", None) is None:
        return True
    return any(is_own_file(str(folder) + os.sep) for folder in list(getattr(module, "__path__", None) or ()))
