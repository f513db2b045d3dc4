"""Objects of the user's that outlive a builder's calls: a network at module level, a base that is kept in a cache.

Every model that the builder makes with such an object shares it, so that training one would change all. Before each
call they are put back to what they were, and they are given no dials. So is what the user's modules hold
(`namespaces`).
"""

from __future__ import annotations

import gc
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias
from weakref import ref

import numpy as np

from hptune.training.own.namespaces import forget_namespaces, namespaces
from hptune.training.own.patches import Patches
from hptune.training.runtime import keras

_Itself: TypeAlias = Callable[[], Any]
"""Gives the object as long as it lives."""

_PutBack: TypeAlias = Callable[[Any], None]
"""Puts an object back to what it was when it was first seen."""


class Untouched:
    """What a builder's calls share: all of a model that was there before the call that made it."""

    def __init__(self, own: Iterable[Any] = ()) -> None:
        """To be made when the user's module is loaded, and before it is asked to build anything.

        changed: whether a call has changed what an earlier one has made, such as a cached network: what that was in
        the beginning is not known. patched: whether the last call has put code of its own in the place of Keras's.

        own: modules and objects of the user's, whose plain values and variables are put back too.
        """
        self._kept = [kept for thing in own for kept in namespaces(thing)]
        self._environ = dict(os.environ)
        self._patches = Patches()
        self.patched = False
        self._first: dict[int, tuple[_Itself, _PutBack]] = {}
        self._shared: set[int] = set()
        self._there: frozenset[int] = frozenset()
        self._made_here: set[int] = set()
        self.changed = False
        for thing in _all_there():
            self._see(thing)
            for variable in getattr(thing, "variables", ()):
                self._see(variable)

    def __contains__(self, thing: Any) -> bool:
        """Whether a layer or a regulariser of the last model was there before the builder was called for it."""
        return id(thing) in self._there and self._is_known(thing)

    def forget(self) -> None:
        """Let go of the user's modules, which are not to be put back any more."""
        forget_namespaces(self._kept)
        self._kept = []

    def before(self) -> None:
        """To be called before each call of the builder: put everything shared back."""
        self._first = {key: one for key, one in self._first.items() if one[0]() is not None}
        self._shared &= self._first.keys()
        self._made_here &= self._first.keys()
        self._there = frozenset(self._first)
        for key in self._shared:
            itself, put_back = self._first[key]
            if (thing := itself()) is not None:
                put_back(thing)
        for kept in self._kept:
            kept.put_back()
        self.before_imports()

    def before_imports(self) -> None:
        """As `before`, of what is no module's of the user's: the environment, and what stands in Keras's place."""
        if self._patches.found():
            self._patches.undo()
        if dict(os.environ) != self._environ:
            os.environ.clear()
            os.environ.update(self._environ)

    def after(self, model: Any) -> bool:
        """To be called with what the builder made. True: it holds what an earlier call has made, which may have been
        trained since; the builder is to be called again.
        """
        self.patched = self._patches.found()
        inside = list(_inside(model))
        for thing in inside:
            if not self._is_known(thing):  # another may have had its identity, and be gone
                self._there -= {id(thing)}
                self._shared.discard(id(thing))
                self._made_here.discard(id(thing))
                self._see(thing)
        found = {id(thing) for thing in inside if id(thing) in self._there} - self._shared
        self._shared |= found
        again = found & self._made_here
        self.changed |= any(id(one) in self._shared & self._made_here and self._is_other(one) for one in inside)
        self._made_here |= {id(thing) for thing in inside} - self._there
        return bool(again)

    def _is_other(self, thing: Any) -> bool:
        """Whether a variable has another value than it was put back to."""
        if not isinstance(thing, keras().Variable):
            return False
        now = thing.numpy()
        self._first[id(thing)][1](thing)
        other = not np.array_equal(now, thing.numpy(), equal_nan=True)
        thing.assign(now)
        return other

    def _is_known(self, thing: Any) -> bool:
        first = self._first.get(id(thing))
        return first is not None and first[0]() is thing

    def _see(self, thing: Any) -> None:
        try:
            itself: _Itself = ref(thing)
        except TypeError:  # it has slots
            itself = lambda: thing  # noqa: E731
        self._first[id(thing)] = (itself, _remembered(thing))


def _all_there() -> list[Any]:
    """The layers and regularisers of this process. Asked by type: to ask an object for its class may run its code."""
    kinds = (keras().layers.Layer, keras().regularizers.Regularizer)
    known: dict[type, bool] = {}
    found = []
    for thing in gc.get_objects():
        kind = type(thing)
        if kind not in known:
            known[kind] = issubclass(kind, kinds)
        if known[kind]:
            found.append(thing)
    return found


def names_there() -> set[str]:
    """The names of all layers of this process."""
    return {one.name for one in _all_there() if isinstance(one, keras().layers.Layer) and "name" in vars(one)}


def _inside(model: Any) -> Iterator[Any]:
    """The layers, their regularisers and their variables."""
    for layer in model._flatten_layers():
        yield layer
        yield from (one for one in vars(layer).values() if isinstance(one, keras().regularizers.Regularizer))
    yield from model.variables


def _remembered(thing: Any) -> _PutBack:
    return _of_variable(thing) if isinstance(thing, keras().Variable) else _of_layer(thing)


def _of_variable(variable: Any) -> _PutBack:
    value, trained = variable.numpy(), variable.trainable

    def put_back(one: Any) -> None:
        one.assign(value)
        one.trainable = trained

    return put_back


def _of_layer(layer: Any) -> _PutBack:
    """A layer's options, or a regulariser's, and whether it is trained."""
    trained = getattr(layer, "_trainable", None)
    given = {name: value for name, value in vars(layer).items() if name[0] != "_" and name not in _BY_BUILDING}

    def put_back(one: Any) -> None:
        if trained is not None:
            one._trainable = trained
        for name, value in given.items():
            now = vars(one).get(name, value)
            if now is not value and _is_option(value) and _is_option(now):
                setattr(one, name, value)

    return put_back


_BY_BUILDING = ("built", "input_spec")
"""Attributes that a layer changes when it is built."""


def _is_option(value: Any) -> bool:
    """Whether it is what a layer is given, and not what it makes for itself when it is built."""
    kinds = (keras().regularizers.Regularizer, keras().constraints.Constraint, keras().initializers.Initializer)
    return value is None or isinstance(value, (bool, int, float, str, *kinds)) or inspect.isroutine(value)
