"""Loading what the YAML names as `module:name`; modules are looked for beside the YAML file first."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from hptune.errors import KeyPath, Problem, SpecError, nearest


def load_object(reference: str, folder: Path, path: KeyPath) -> Any:
    """The object that `reference` names. `path` is where it stands in the YAML, for the SpecError that this raises."""
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        told = f"must be module:name, got {reference!r}. Write for example {module_name or 'module'}:build."
        raise SpecError(Problem(told, path))
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        where = f"no module {error.name!r} beside the YAML file ({folder}) or among the installed packages"
        raise SpecError(Problem(f"{where}. Check the name, or put {error.name}.py there.", path)) from error
    except Exception as error:  # the user's module may raise anything while it is imported
        told = f"importing {module_name!r} failed: {type(error).__name__}: {error}. Mend the module."
        raise SpecError(Problem(told, path)) from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            close = nearest(part, [n for n in dir(found) if not n.startswith("_")])
            hint = f" Did you mean {close!r}?" if close else ""
            raise SpecError(Problem(f"{module_name!r} has no {part!r}.{hint}", path))
        found = getattr(found, part)
    return found
