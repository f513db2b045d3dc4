"""Keras's classes and functions as they were: what a user's builder puts in their place is seen, and undone."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from operator import is_not
from typing import Any

_KINDS = (types.FunctionType, property, staticmethod, classmethod, type)
"""What of a namespace counts: code. The rest are values, which `keras.config` and the like keep."""


class _Space:
    """A module or a class, and its code as it was."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self._code = _code(owner)
        self._names, self._size = list(self._code), len(vars(owner))

    def is_other(self) -> bool:
        held = vars(self.owner)
        if len(held) != self._size:  # more names, which need not be code
            if _code(self.owner).keys() != self._code.keys():
                return True
            self._size = len(held)
        return any(map(is_not, map(held.get, self._names), self._code.values()))

    def undo(self) -> None:
        for name in _code(self.owner).keys() - self._code.keys():
            delattr(self.owner, name)
        for name, one in self._code.items():
            if vars(self.owner).get(name) is not one:
                setattr(self.owner, name, one)


class Patches:
    """A look at the code of all that is loaded of Keras; to be made before the user's builder is called."""

    def __init__(self) -> None:
        self._there = {id(owner): _Space(owner) for owner in _owners()}
        self._patched: list[_Space] = []

    def found(self) -> bool:
        """Whether any of it is another now. What was loaded since is taken as it is."""
        for owner in _owners():
            if id(owner) not in self._there:
                self._there[id(owner)] = _Space(owner)
        self._patched = [space for space in self._there.values() if space.is_other()]
        return bool(self._patched)

    def undo(self) -> None:
        """Put back what was found."""
        while self._patched:
            self._patched.pop().undo()


def _owners() -> Iterator[Any]:
    """Keras's modules that are loaded, and the classes that stand in them."""
    for name, module in list(sys.modules.items()):
        if (name == "keras" or name.startswith("keras.")) and isinstance(module, types.ModuleType):
            yield module
            for one in list(vars(module).values()):
                if isinstance(one, type) and one.__module__ == name:
                    yield one


def _code(owner: Any) -> dict[str, Any]:
    return {name: one for name, one in vars(owner).items() if isinstance(one, _KINDS)}
