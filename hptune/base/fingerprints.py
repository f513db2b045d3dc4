"""Which of the user's modules an experiment depends on, and a fingerprint of each, which shows changes.

They are found in two ways. By their text: what the modules that the YAML names import, anywhere in them, and what that
imports. And by what was loaded as those were imported, whose names code may have computed. Both depend on the files
alone, and on nothing that functions import as they run: so what is taken at the beginning of two sittings compares.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from pathlib import Path
from typing import Any

from hptune.base.own_files import is_own_file

LATER = "later "
"""What the fingerprint of a module begins with that was not loaded as the others were imported: a function imports it,
or what was tried in its place was found."""


def own_loaded() -> set[str]:
    """The names of all modules of the user's that are loaded."""
    return {
        name
        for name, module in list(sys.modules.items())
        if name != "__main__" and is_own_file(getattr(module, "__file__", None) or "<")
    }


def fingerprints(modules: Iterable[str], loaded: set[str]) -> dict[str, str]:
    """The fingerprint of each of the user's modules among these, and of those that they import, by its file as the
    module's name has it (`helper/parts.py`, wherever it lies). loaded: the modules that were loaded once all these had
    been imported.

    Comments, documentation and layout don't count. What can't be read as Python is known by its bytes.
    """
    by_file = {}
    for name, file in _reached(modules):
        key = name.replace(".", "/") + ("/__init__" if file.stem == "__init__" else "") + file.suffix
        by_file[key] = ("" if name in loaded else LATER) + _fingerprint(file)
    return dict(sorted(by_file.items()))


def with_nul(modules: Iterable[str]) -> str | None:
    """`FILE:LINE` of the first null byte in one of the modules' files, for which Python gives no place."""
    for _, file in _reached(modules):
        text = _bytes(file)
        if (at := text.find(b"\0")) >= 0 and file.suffix == ".py":
            line = text.count(b"\n", 0, at) + 1
            return f"{file.name}:{line}"
    return None


def packages(modules: Iterable[str]) -> dict[str, str]:
    """The versions of the installed packages that these modules are of, or that the user's among them import."""
    others: set[str] = set()
    for _ in _reached(modules, others):
        pass
    installed = packages_distributions()
    found: dict[str, str] = {}
    for top in others - sys.stdlib_module_names - {"hptune"}:
        versions = {name: _version(name, top) for name in (*installed.get(top, ()), top)}
        known = {name: one for name, one in versions.items() if one is not None}
        found |= known or {top: _of_code(top)}
    return dict(sorted(found.items()))


def _version(name: str, top: str) -> str | None:
    """The version of the distribution of this name, where the package `top` lies in its folder, and none hides it."""
    try:
        about = distribution(name)
        told = version(name)
    except (PackageNotFoundError, ValueError, KeyError):  # none of that name, or one that was installed in part
        return None
    root = Path(str(about.locate_file(""))).resolve()
    return told if any(one.resolve().is_relative_to(root) for one in _code_of(top)) else None


def _code_of(top: str) -> list[Path]:
    """The file of a module, or the folders of a package."""
    file = file_of(top)
    return [file] if file is not None and file.stem != "__init__" else [Path(place) for place in _places(top)]


def _of_code(top: str) -> str:
    """A fingerprint of the code of a package of which no metadata tells a version."""
    code = _code_of(top)
    inside = (one for place in code if place.is_dir() for one in sorted(place.rglob("*")))
    files = [*filter(Path.is_file, code), *(one for one in inside if one.suffix in (".py", ".so", ".pyd"))]
    return hashlib.sha256(b"".join(_bytes(one) for one in files[:_MOST_FILES])).hexdigest()[:16]


_MOST_FILES = 2000
"""The most files of a package that are read for its fingerprint."""


def _reached(modules: Iterable[str], others: set[str] | None = None) -> Iterator[tuple[str, Path]]:
    """Each module of the user's among these, and that these import, with its file.

    others: takes the names of the packages that are not the user's.
    """
    waiting = [*modules]
    seen: set[str] = set()
    others = set() if others is None else others
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        top = name.partition(".")[0]
        file = None if top in others else file_of(name)
        if file is None or not is_own_file(str(file)):
            if file is not None:
                others.add(top)
            continue
        yield name, file
        package = name if file.stem == "__init__" else name.rpartition(".")[0]
        code = parsed(file)
        waiting += [] if code is None else with_parents(imports(code, package))


def file_of(name: str) -> Path | None:
    """Where the module is loaded from, or would be; nothing is imported for it."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return Path(file) if isinstance(file, str) else None
    parent = name.rpartition(".")[0]
    places = _places(parent) if parent else None
    try:
        spec = PathFinder.find_spec(name, places) if places is None or places else None
    except Exception:  # noqa: BLE001  # strange names, and folders that can't be read
        return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin is not None else None


def _places(package: str) -> list[str]:
    """The folders in which a package's modules are looked for."""
    loaded = sys.modules.get(package)
    if loaded is not None:
        return [*getattr(loaded, "__path__", ())]
    file = file_of(package)
    if file is not None:
        return [str(file.parent)] if file.stem == "__init__" else []
    inside = package.replace(".", "/")  # a package without an __init__.py
    return [str(place) for entry in sys.path if (place := Path(entry) / inside).is_dir()]


def with_parents(names: Iterable[str]) -> Iterator[str]:
    """The names of modules, each behind those of the packages that it lies in.

    >>> list(with_parents(["a.b.c", "d"]))
    ['a', 'a.b', 'a.b.c', 'd']
    """
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[: n + 1]) for n in range(len(parts)))


def parsed(file: Path) -> ast.Module | None:
    """The code of a file; None where Python could not read it either."""
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


_IMPORTING = ("__import__", "import_module", "resolve_name")
"""Python's functions that import what they are given the name of."""


def imports(code: ast.AST, package: str = "") -> Iterator[str]:
    r"""The names of all modules that code imports, wherever in it, and of what may be modules: what it has from them.

    package: that of the code's own module, from which relative imports count.

    >>> list(imports(ast.parse("import a.b\nfrom . import c\nfrom ..d import e"), "p.q"))
    ['a.b', 'p.q', 'p.q.c', 'p.d', 'p.d.e']
    >>> list(imports(ast.parse("__import__('f'); importlib.import_module('g.h'); import_module(name)")))
    ['f', 'g.h']
    >>> list(imports(ast.parse("from importlib import import_module as m; m('.h', 'p'); m(name='i:j')")))
    ['importlib', 'importlib.import_module', 'p.h', 'i']
    """
    by = _importing(code)
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            above = ".".join([*base, *([node.module] if node.module else [])])
            if above:
                yield above
                yield from (f"{above}.{alias.name}" for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call) and (name := _imported_by_call(node, by, package)) is not None:
            yield name


def _importing(code: ast.AST) -> set[str]:
    """Python's functions that import by name, as the code calls them."""
    aliases = {alias for node in ast.walk(code) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return {*_IMPORTING, *(alias.asname for alias in aliases if alias.asname is not None and alias.name in _IMPORTING)}


def _imported_by_call(node: ast.Call, by: set[str], package: str) -> str | None:
    """The module that `import_module("name")` and the like name literally."""
    if ast.unparse(node.func).rpartition(".")[2] not in by:
        return None
    arguments = {str(n): arg for n, arg in enumerate(node.args)} | {
        str(keyword.arg): keyword.value for keyword in node.keywords
    }
    name = _text(arguments.get("0", arguments.get("name")))
    if name is None or not name.startswith("."):
        return None if name is None else name.partition(":")[0] or None
    above = _text(arguments.get("1", arguments.get("package"))) or package
    dots = len(name) - len(name.lstrip("."))
    parts = above.split(".")
    return ".".join([*parts[: len(parts) - dots + 1], name.lstrip(".")])


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _fingerprint(file: Path) -> str:
    code = parsed(file)
    try:
        text = _bytes(file) if code is None else ast.dump(_without_texts(code)).encode("utf-8", "backslashreplace")
    except (RecursionError, MemoryError):  # it is nested too deep
        text = _bytes(file)
    return hashlib.sha256(text).hexdigest()[:16]


def _bytes(file: Path) -> bytes:
    """The bytes of a file, or of the archive in which it lies; none where there is neither."""
    for place in (file, *file.parents):
        if place.is_file():
            try:
                return place.read_bytes()
            except OSError:
                break
    return b""


def _without_texts(code: ast.Module) -> ast.Module:
    """The code without its documentation."""
    for node in ast.walk(code):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [statement for statement in body if not _is_text(statement)]  # type: ignore[attr-defined]  # asked for above
    return code


def _is_text(statement: Any) -> bool:
    """Whether the statement is a bare text, as documentation is."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def spelled(file: str, then: str | None, now: str | None) -> str:
    """A change of a module's fingerprint in words; None: it was, or is now, no part of the code.

    >>> spelled("m.py", "later 1f", "1f")
    'm.py is loaded with the code now, and was not'
    """
    if then is None:
        return f"{file} is part of the code now, and was not"
    if now is None:
        return f"{file} was part of the code, and is not any more"
    if then.removeprefix(LATER) != now.removeprefix(LATER):
        return f"the code in {file} has changed"
    if then.startswith(LATER):
        return f"{file} is loaded with the code now, and was not"
    return f"{file} was loaded with the code, and is not any more"
