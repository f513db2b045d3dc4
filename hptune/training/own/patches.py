"""Detects and undoes what a user's builder puts in place of Keras's and TensorFlow's code."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from operator import is_not
from typing import Any

_KINDS = (types.FunctionType, types.BuiltinFunctionType, property, staticmethod, classmethod, type)
"""The code in a module or class, which counts here. The rest are values, such as `keras.config` keeps."""

_OF_TENSORFLOW = ("tensorflow._api.v2", "tensorflow.python.ops")
"""Where TensorFlow's functions are; more than half of its modules run graphs and have none that is replaced."""


_TABLES = ("ALL_OBJECTS_DICT",)
"""The tables in which Keras looks up names such as `relu`."""


class _Snapshot:
    """A module or a class, with its code as it was. Names that a module gains replace nothing."""

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
        for name, original in self._code.items():
            if vars(self.owner).get(name) is not original:
                setattr(self.owner, name, original)
        for name, table in self._tables.items():
            held = vars(self.owner)[name]
            if held != table:
                held.clear()
                held.update(table)

    def _gained(self) -> list[str]:
        return [name for name, one in vars(self.owner).items() if isinstance(one, _KINDS) and name not in self._code]


class Patches:
    """A snapshot of all of their code that is loaded; to be made before the user's builder is called."""

    def __init__(self) -> None:
        self._there: dict[int, _Snapshot] = {}
        self._loaded = 0
        self._see_what_is_new()
        self._patched: list[_Snapshot] = []

    def any_patched(self) -> bool:
        """Whether any of the code was replaced. Modules loaded since are taken as they are."""
        if len(sys.modules) != self._loaded:
            self._see_what_is_new()
        self._patched = [space for space in self._there.values() if space.is_other()]
        return bool(self._patched)

    def _see_what_is_new(self) -> None:
        for owner in _owners():
            if id(owner) not in self._there:
                self._there[id(owner)] = _Snapshot(owner)
        self._loaded = len(sys.modules)

    def undo(self) -> None:
        """Put the replaced code back."""
        while self._patched:
            self._patched.pop().undo()


def _owners() -> Iterator[Any]:
    """The loaded modules of Keras with their classes, and TensorFlow's modules of functions."""
    for name, module in list(sys.modules.items()):
        if not isinstance(module, types.ModuleType):
            continue
        if name == "keras" or name.startswith("keras."):
            yield module
            yield from (one for one in list(vars(module).values()) if isinstance(one, type) and one.__module__ == name)
        elif name == "tensorflow" or name.startswith(_OF_TENSORFLOW):
            yield module
