"""What other installed packages add: named objects, as entry points of a group (`hptune.executors`, …)."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hptune.base.errors import KeyPath, spec_error


def offered(group: str) -> list[str]:
    """The names in a group, in alphabetical order."""
    return sorted({entry.name for entry in entry_points(group=group)})


def load_offered(group: str, name: str, path: KeyPath) -> Any:
    """The object of a name that is `offered`. path: where the YAML asks for it.

    Raises SpecError where several packages bring the name, or the package can't be imported.
    """
    entries = {entry.value: entry for entry in entry_points(group=group) if entry.name == name}
    if len(entries) > 1:
        packages = " and ".join(_package(entry) for entry in entries.values())
        raise spec_error(f"{name} is brought by {packages}. Uninstall all of them but one.", *path)
    ((_, entry),) = entries.items()
    try:
        return entry.load()
    except Exception as error:  # another package's import may raise anything
        reason = f"{name} of {_package(entry)} can't be loaded: {type(error).__name__}: {error}"
        raise spec_error(f"{reason}. Install that package anew, or use another.", *path) from error


def _package(entry: EntryPoint) -> str:
    return entry.value if entry.dist is None else str(entry.dist.name)
