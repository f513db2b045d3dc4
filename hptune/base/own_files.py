"""Which code is the user's: everything that is not Python's own, an installed package's or hptune's."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path

import hptune

_PYTHONS = ("stdlib", "platstdlib", "purelib", "platlib")
_HELD_IN = ("site-packages", "dist-packages")
"""Folders of installed packages, wherever they lie: the user's own, a second one of a virtual environment, Debian's."""


def _targets() -> Iterator[str]:
    """What packages have put into other folders on Python's path (`pip install --target`)."""
    for entry in map(Path, filter(None, sys.path)):
        if not entry.is_dir() or not {*_HELD_IN}.isdisjoint(entry.parts):
            continue
        for about in entry.glob("*.dist-info"):
            tops = {file.parts[0] for file in PathDistribution(about).files or ()}
            yield from (str(entry / top) + os.sep for top in tops if top.isidentifier())
            yield from (str(entry / top) for top in tops if top.endswith(".py"))


_INSTALLED = (*(sysconfig.get_path(kind) + os.sep for kind in _PYTHONS), *_targets())
_HPTUNE = str(Path(hptune.__file__).parent) + os.sep


def is_own_file(file: str) -> bool:
    """Whether a file of code, as code objects name it, is the user's; code that has no file is nobody's."""
    return not (is_installed(file) or file.startswith((_HPTUNE, "<")))


def is_installed(file: str) -> bool:
    """Whether a file is Python's own or of an installed package."""
    return file.startswith(_INSTALLED) or any(f"{os.sep}{folder}{os.sep}" in file for folder in _HELD_IN)


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
