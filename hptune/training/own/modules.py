"""The user's modules that their code reaches, and those that it imports only as it runs."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from hptune.base import surroundings
from hptune.base.finders import Load, behind, first, loading
from hptune.base.own_files import is_own_file


def own_modules(reference: str, folder: Path | None) -> list[ModuleType]:
    """The module of `module:name`, all of the user's that it has imported, and all others loaded from the folder; None:
    no others.
    """
    beside = folder.resolve() if folder is not None else None
    loaded = [one for one in list(sys.modules.values()) if isinstance(one, ModuleType) and one.__name__ != "__main__"]
    named = reference.partition(":")[0]
    waiting = [one for one in loaded if one.__name__ == named or (beside is not None and _lies_in(beside, one))]
    modules: dict[int, ModuleType] = {}
    while waiting:
        module = waiting.pop()
        if id(module) not in modules:
            modules[id(module)] = module
            held = [*map(_module_of, list(vars(module).values())), *map(sys.modules.get, _imported_by(module))]
            waiting += [one for one in held if one is not None and _is_own(one)]
    return list(modules.values())


def _imported_by(module: ModuleType) -> Iterator[str]:
    """The names of the modules that its source imports, anywhere in it, and of the packages around them."""
    try:
        tree = ast.parse(Path(getattr(module, "__file__", None) or "").read_bytes())
    except (OSError, SyntaxError, ValueError):  # it has no source
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = (module.__package__ or "").split(".")
            around = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*around, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{one.name}" for one in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def forget(modules: Iterable[ModuleType]) -> None:
    """Have the modules imported anew at their next import."""
    gone = {module.__name__: None for module in modules if sys.modules.get(module.__name__) is module}
    if gone:
        with surroundings.importing():  # else they are put back as a trial ends
            for name in gone:
                del sys.modules[name]


@contextlib.contextmanager
def imported(keep: Callable[[ModuleType], None]) -> Iterator[None]:
    """Within the block, `keep` is called with each of the user's modules after it is loaded."""
    with first(_ImportWatch(keep)):
        yield


class _ImportWatch:
    """Finds modules as Python does. After the usual loader has loaded a module, `keep` is called with it."""

    def __init__(self, keep: Callable[[ModuleType], None]) -> None:
        self._keep = keep

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = behind(self, name, path, target)
        if spec is None or spec.origin is None or not is_own_file(spec.origin):
            return spec

        def around(load: Load, module: ModuleType) -> None:
            load(module)
            self._keep(module)

        return loading(spec, around)


def _module_of(value: Any) -> ModuleType | None:
    """The module itself, or the module of a class or function."""
    if isinstance(value, ModuleType):
        return value
    return sys.modules.get(getattr(value, "__module__", None) or "") if callable(value) else None


def _is_own(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and module.__name__ != "__main__" and is_own_file(file)


def _lies_in(folder: Path, module: ModuleType) -> bool:
    return _is_own(module) and Path(module.__file__ or "").is_relative_to(folder)
