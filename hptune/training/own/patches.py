"""Keras's and TensorFlow's code as it was: what a user's builder puts in its place is seen, and undone."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from operator import is_not
from typing import Any

_KINDS = (types.FunctionType, types.BuiltinFunctionType, property, staticmethod, classmethod, type)
"""What of a module or class counts: code. The rest are values, which `keras.config` and the like keep."""

_OF_TENSORFLOW = ("tensorflow._api.v2", "tensorflow.python.ops")
"""Where its functions stand; more than half of its modules make graphs run, and are no functions to replace."""


_TABLES = ("ALL_OBJECTS_DICT",)
"""What Keras looks names up in, such as `relu`."""


class _Space:
    """A module or a class, and its code as it was. Names that a module gains replace nothing."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        held = vars(owner)
        self._code = {name: one for name, one in held.items() if isinstance(one, _KINDS)}
        self._tables = {name: dict(one) for name, one in held.items() if name in _TABLES}
        self._names, self._size = list(self._code), len(held)

    def is_other(self) -> bool:
        held = vars(self.owner)
        gained = isinstance(self.owner, type) and len(held) != self._size and bool(self._gained())
        if any(held.get(name) != table for name, table in self._tables.items()):
            return True
        return gained or any(map(is_not, map(held.get, self._names), self._code.values()))

    def undo(self) -> None:
        for name in self._gained() if isinstance(self.owner, type) else ():
            delattr(self.owner, name)
        for name, one in self._code.items():
            if vars(self.owner).get(name) is not one:
                setattr(self.owner, name, one)
        for name, table in self._tables.items():
            held = vars(self.owner)[name]
            if held != table:
                held.clear()
                held.update(table)

    def _gained(self) -> list[str]:
        return [name for name, one in vars(self.owner).items() if isinstance(one, _KINDS) and name not in self._code]


class Patches:
    """A look at all that is loaded of their code; to be made before the user's builder is called."""

    def __init__(self) -> None:
        self._there: dict[int, _Space] = {}
        self._loaded = 0
        self._see_what_is_new()
        self._patched: list[_Space] = []

    def found(self) -> bool:
        """Whether any of it is another now. What was loaded since is taken as it is."""
        if len(sys.modules) != self._loaded:
            self._see_what_is_new()
        self._patched = [space for space in self._there.values() if space.is_other()]
        return bool(self._patched)

    def _see_what_is_new(self) -> None:
        for owner in _owners():
            if id(owner) not in self._there:
                self._there[id(owner)] = _Space(owner)
        self._loaded = len(sys.modules)

    def undo(self) -> None:
        """Put back what was found."""
        while self._patched:
            self._patched.pop().undo()


def _owners() -> Iterator[Any]:
    """Keras's modules that are loaded and the classes that stand in them, and TensorFlow's modules of functions."""
    for name, module in list(sys.modules.items()):
        if not isinstance(module, types.ModuleType):
            continue
        if name == "keras" or name.startswith("keras."):
            yield module
            yield from (one for one in list(vars(module).values()) if isinstance(one, type) and one.__module__ == name)
        elif name == "tensorflow" or name.startswith(_OF_TENSORFLOW):
            yield module
