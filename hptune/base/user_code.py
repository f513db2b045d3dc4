"""Loads what the YAML names as `module:name`; modules are looked for beside the YAML file first.

A module beside the YAML file wins over one of the same name elsewhere. Where it can't, because Python or a library has
loaded another under that name, that is an error: the wrong one is never taken in silence.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from hptune.base import surroundings
from hptune.base.errors import KeyPath, Problem, SpecError, message_of, nearest
from hptune.base.fingerprints import (
    file_of,
    fingerprints,
    imports,
    own_loaded,
    packages,
    parsed,
    with_nul,
    with_parents,
)
from hptune.base.own_files import is_installed


def load_object(reference: str, folder: Path, path: KeyPath) -> Any:
    """The object that `reference` names. `path` is where it stands in the YAML, for the SpecError that this raises."""
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        message = f"must be module:name, got {reference!r}. Write for example {module_name or 'module'}:build."
        raise SpecError(Problem(message, path))
    loaded: Any = _LOADED.get((module_name, folder))
    if loaded is None or sys.modules.get(module_name) is not loaded:
        with surroundings.importing():
            loaded = _LOADED[module_name, folder] = _load_module(module_name, folder.resolve(), path)
    for part in name.split("."):
        if not hasattr(loaded, part):
            close = nearest(part, [n for n in dir(loaded) if not n.startswith("_")])
            hint = f" Did you mean {close!r}?" if close else ""
            raise SpecError(Problem(f"{module_name!r} has no {part!r}.{hint}", path))
        loaded = getattr(loaded, part)
    return loaded


_LOADED: dict[tuple[str, Path], ModuleType] = {}
"""What was loaded and looked at, by name and the YAML file's folder."""


def _load_module(name: str, folder: Path, path: KeyPath) -> ModuleType:
    """folder: the YAML file's, resolved."""
    if sys.path[:1] != [str(folder)]:
        sys.path[:] = [str(folder), *(entry for entry in sys.path if entry != str(folder))]
    importlib.invalidate_caches()
    _forget_others(folder)
    for module_name in with_parents([name]):
        _refuse_another(module_name, folder, path)
    try:
        with surroundings.only_this_process(), _bringing(name, folder):
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        _refuse_another(str(error.name), folder, path)
        where = f"no module {error.name!r} beside the YAML file ({folder}) or among the installed packages"
        raise SpecError(Problem(f"{where}. Check the name, or put {error.name}.py there.", path)) from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything while it is imported
        where = f" ({at})" if lacks_its_place(error) and (at := with_nul([name])) else ""
        message = f"importing {name!r} failed: {type(error).__name__}: {message_of(error)}{where}. Fix the module."
        raise SpecError(Problem(message, path)) from error
    for module_name in with_parents([name]):
        _refuse_another(module_name, folder, path)
    for imported, by in _imported_beside(name, folder):
        _refuse_another(imported, folder, path, by=by)
    return module


def lacks_its_place(error: BaseException) -> bool:
    """Whether it says that Python can't read code, but not where: a null byte, to early 3.11s a ValueError."""
    if isinstance(error, SyntaxError):
        return not error.filename
    return isinstance(error, ValueError) and "null bytes" in message_of(error)


def beside(name: str, folder: Path) -> Path | None:
    """The file of the module `name`, with dots where it lies in a package, in the folder; None where there is none."""
    at = folder.joinpath(*name.split("."))
    return next((file for file in (at / "__init__.py", at.with_name(f"{at.name}.py")) if file.is_file()), None)


def _comes_from(module: ModuleType, file: Path) -> bool:
    loaded = getattr(module, "__file__", None)
    return loaded is not None and Path(loaded).resolve() == file.resolve()


def _forget_others(folder: Path) -> None:
    """Forget modules that an experiment in another folder loaded under the name of one of this folder's.

    In a process that runs several experiments, Python would use the first module for all.
    """
    names = {entry.stem for entry in folder.iterdir()} - {"__main__"}
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        file, loaded = beside(name, folder), getattr(sys.modules.get(name), "__file__", None)
        if file is None or loaded is None or is_installed(loaded) or _comes_from(sys.modules[name], file):
            continue
        for module in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
            surroundings.unload(module)


def _refuse_another(name: str, folder: Path, path: KeyPath, *, by: Path | None = None) -> None:
    """Raises SpecError where another module is loaded under the name of one beside the YAML file.

    by: the file of the user's that imports it; None: the YAML names it.
    """
    file, module = beside(name, folder), sys.modules.get(name)
    if file is None or (module is not None and _comes_from(module, file)):
        return
    package = name.rpartition(".")[0]
    if module is None and package in sys.modules:  # of another package of that name, which has no such module
        around, own = sys.modules[package], beside(package, folder)
        inside = str(folder / package.replace(".", "/")) in getattr(around, "__path__", ())
        module = None if inside or (own is not None and _comes_from(around, own)) else around
    elsewhere = None
    if module is None and package not in sys.modules:
        top = name.partition(".")[0]  # which wins over a folder of its name, whatever it has inside
        elsewhere = file_of(name) or (file_of(top) if beside(top, folder) is None else None)
    if module is None and (elsewhere is None or elsewhere.resolve() == file.resolve()):
        return
    where = elsewhere or getattr(module, "__file__", None) or "built into Python"
    who, called = "" if by is None else f"{by.name} imports {name!r}, and ", getattr(module, "__name__", name)
    message = f"{who}beside the YAML file is {file}, but another module {called!r} is loaded already ({where})"
    top = name.partition(".")[0]
    raise SpecError(Problem(f"{message}. Rename yours, to my_{top} say, here and where it is imported.", path))


def _imported_beside(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """The modules beside the YAML file that the module `name` there imports, and those that these import; by which."""
    waiting, seen = [*with_parents([name])], {*with_parents([name])}
    while waiting:
        importing = waiting.pop()
        file = beside(importing, folder)
        code = None if file is None else parsed(file)  # if it can't be read, that is an error when it is loaded
        if file is None or code is None:
            continue
        package = importing if file.name == "__init__.py" else importing.rpartition(".")[0]
        for imported in with_parents(imports(code, package)):
            if imported not in seen and beside(imported, folder) is not None:
                seen.add(imported)
                waiting.append(imported)
                yield imported, file


# --- what the code is -----------------------------------------------------------------------------------------------


_Brought: TypeAlias = tuple[set[str], set[str]]

_BROUGHT: dict[tuple[str, Path], _Brought] = {}
"""By a module's name and the YAML file's folder: the modules of the user's that importing it has loaded, and all of the
user's that were loaded when it was done."""


def is_own(name: str, folder: Path) -> bool:
    """Whether a module of that name is the user's, loaded or not; nothing is imported for it."""
    return name in own_loaded() or beside(name.partition(".")[0], folder) is not None


def sources(folder: Path, named: Set[str] = frozenset(), *, but: Set[str] = frozenset()) -> dict[str, str]:
    """A fingerprint of each of the user's modules that the YAML of the folder has loaded, and that these import.

    named: others that it names, loaded or not. but: modules that count only where they are among these.
    """
    with _first_on_path(folder):
        return fingerprints(*_with_brought((_named(folder) - but) | named, folder))


def packages_behind(folder: Path, named: Set[str] = frozenset(), *, but: Set[str] = frozenset()) -> dict[str, str]:
    """The versions of the installed packages that the YAML of the folder names, or that the user's modules import.

    named, but: as for `sources`.
    """
    with _first_on_path(folder):
        return packages(_with_brought((_named(folder) - but) | named, folder)[0])


def sources_of(reference: str, folder: Path) -> dict[str, str]:
    """As `sources`, for one module that `load_object` has loaded (`module:name`)."""
    return fingerprints(*_with_brought({reference.partition(":")[0]}, folder))


def packages_of(reference: str, folder: Path) -> dict[str, str]:
    """As `packages_behind`, for one module alone that `load_object` has loaded (`module:name`)."""
    return packages(_with_brought({reference.partition(":")[0]}, folder)[0])


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    was = [*sys.path]
    sys.path[:] = [str(folder.resolve()), *was]  # where nothing was loaded from it yet
    try:
        yield
    finally:
        sys.path[:] = was


def _with_brought(names: set[str], folder: Path) -> tuple[set[str], set[str]]:
    """The modules, with those that importing them has loaded; and all that were loaded when it was done."""
    brought: set[str] = set()
    loaded: set[str] = set()
    for name in names:
        with_it, by_then = _BROUGHT.get((name, folder.resolve()), (set(), set()))
        brought |= with_it
        loaded |= by_then
    return {*names, *brought}, loaded


def nul_in_code(folder: Path) -> str | None:
    """`FILE:LINE` of a null byte in the experiment's code, where there is one."""
    return with_nul(_named(folder))


def _named(folder: Path) -> set[str]:
    return {name for name, at in _LOADED if at.resolve() == folder.resolve()}


@contextlib.contextmanager
def _bringing(name: str, folder: Path) -> Iterator[None]:
    """Remember which modules are loaded in the block."""
    before = own_loaded()
    yield
    after = own_loaded()
    brought, loaded = _BROUGHT.setdefault((name, folder), (set(), set()))
    brought |= after - before
    loaded |= after
