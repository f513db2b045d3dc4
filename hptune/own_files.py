"""Which code is the user's: all that is not Python's own, an installed package's or hptune's."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import hptune

_INSTALLED = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
_NOT_THE_USERS = (*_INSTALLED, str(Path(hptune.__file__).parent), "<")
"""The last: code that has no file."""


def is_own_file(file: str) -> bool:
    """Whether a file of code, as code objects name it, is the user's."""
    return not file.startswith(_NOT_THE_USERS)


def is_installed(file: str) -> bool:
    """Whether a file is Python's own or of an installed package."""
    return file.startswith(_INSTALLED)
