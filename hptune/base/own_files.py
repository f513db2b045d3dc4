"""Which code is the user's: all that is not Python's own, an installed package's or hptune's."""

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
