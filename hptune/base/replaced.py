"""The names in Python's own modules and NumPy, and the objects they stand for: user code may replace any of them.

`os.environ = {}`, `sys.path = None` or `builtins.float = None` change what every later line means, hptune's included.
Objects are compared by identity, never by `==`, which user code can define; and Python's own names are put back before
any of them is used.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping
from operator import is_
from types import ModuleType
from typing import Any, TypeAlias

_WATCHED = (
    *(
        "builtins",
        "sys",
        "os",
        "time",
        "math",
        "random",
        "threading",
        "signal",
        "warnings",
        "json",
        "pickle",
        "datetime",
    ),
    "numpy.random",
)
"""By their names in `sys.modules`; those that are loaded are looked at. The costs are 13 ns a name."""

_OTHERS = frozenset(
    (
        *("stdin", "stdout", "stderr"),  # of sys: streams are seen to by themselves
        *("last_type", "last_value", "last_traceback", "last_exc"),
        *("tzname", "timezone", "altzone", "daylight"),  # of time, which `time.tzset` sets
        "__warningregistry__",
    )
)
"""Names that Python itself sets anew, or that are settings of their own."""

_MISSING = object()


class Copy:
    """The names of one module at one moment. Two are equal where each name stands for the very same object."""

    __slots__ = ("_live", "module", "name", "names")
    __hash__ = None  # type: ignore[assignment]  # compared alone

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name, self.module = name, module
        self._live = vars(module)
        self.names = dict(self._live)

    def holds(self) -> bool:
        """Whether all is still as it was then."""
        live, held = self._live, self.names
        return len(live) == len(held) and all(map(is_, live.values(), held.values()))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Copy) and self.module is other.module and not _differing(self.names, other.names)

    def put(self) -> None:
        """Make each name stand for what it stood for, and remove those added since; loaded submodules stay."""
        live, held = self._live, self.names
        for name in _differing(live, held):
            if name in held:
                live[name] = held[name]
            else:
                del live[name]


Copies: TypeAlias = tuple[Copy, ...]

_known: dict[str, Copy] = {}
"""The last copies, which are made anew only where something has changed."""


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names that stand for something else, or are in one alone; that a package's part was loaded is no change."""
    names = [*dict.fromkeys([*one, *other])]
    pairs = [(name, one.get(name, _MISSING), other.get(name, _MISSING)) for name in names if name not in _OTHERS]
    return [name for name, a, b in pairs if a is not b and not (_is_added(a, b) or _is_added(b, a))]


def _is_added(value: object, before: object) -> bool:
    return before is _MISSING and issubclass(type(value), ModuleType)  # `isinstance` would ask the value


def names_now() -> Copies:
    """A copy of the names in each watched module that is loaded. Modules that have not changed keep their last copy."""
    for name in _WATCHED:
        known = _known.get(name)
        if known is not None:
            if not known.holds():
                _known[name] = Copy(name, known.module)
        elif (module := sys.modules.get(name)) is not None:
            _known[name] = Copy(name, module)
    return tuple(_known.values())


def names_hold(copies: Copies) -> bool:
    """Whether all these names, and the modules' own, stand for what they stood for."""
    return all(copy.holds() and sys.modules.get(copy.name) is copy.module for copy in copies)


def put_names(copies: Copies) -> None:
    """Put all back; Python's own names first, using none of them: any may be gone."""
    live, held = _BUILTINS, copies[0].names
    if live != held:
        for name, value in held.items():
            live[name] = value
    for copy in copies:
        if not copy.holds():
            copy.put()
    for copy in copies:
        sys.modules[copy.name] = copy.module


_BUILTINS = vars(builtins)


# --- the modules that are loaded ------------------------------------------------------------------------------------

Modules: TypeAlias = dict[str, ModuleType]

_modules: Modules = {}


def modules_now() -> Modules:
    """What `sys.modules` holds. Only their number is compared: comparing thousands would cost 0.05 ms."""
    global _modules
    if len(sys.modules) != len(_modules):
        _modules = dict(sys.modules)
    return _modules


def put_modules(modules: Modules) -> None:
    """Put back those that are gone."""
    for name, module in modules.items():
        sys.modules.setdefault(name, module)
