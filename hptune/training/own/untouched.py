"""The user's objects that outlive a builder's calls: a network at module level, a base kept in a cache.

All models that the builder makes with such an object share it, so that training one would change all. Before each call
these objects are put back as they were, and they get no dials. What the user's modules hold is put back too
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
"""Returns the object as long as it lives, then None."""

_PutBack: TypeAlias = Callable[[Any], None]
"""Puts an object back as it was when first seen."""


class Untouched:
    """What a builder's calls share: everything in a model that existed before the call that made it."""

    def __init__(self, own: Iterable[Any] = ()) -> None:
        """To be made after the user's module is loaded, and before it builds anything.

        changed: whether a call changed what an earlier one had made, such as a cached network, whose first state is not
        known. patched: whether the last call put code of its own in place of Keras's.

        own: the user's modules and objects, whose plain values and variables are put back too.
        """
        self._kept = [kept for obj in own for kept in namespaces(obj)]
        self._environ = dict(os.environ)
        self._patches = Patches()
        self.patched = False
        self._first: dict[int, tuple[_Itself, _PutBack]] = {}
        self._shared: set[int] = set()
        self._there: frozenset[int] = frozenset()
        self._made_here: set[int] = set()
        self.changed = False
        for obj in _all_there():
            self._see(obj)
            for variable in getattr(obj, "variables", ()):
                self._see(variable)

    def __contains__(self, obj: Any) -> bool:
        """Whether a layer or a regulariser of the last model existed before the builder was called for it."""
        return id(obj) in self._there and self._is_known(obj)

    def forget(self) -> None:
        """Forget the user's modules: they are no longer put back."""
        forget_namespaces(self._kept)
        self._kept = []

    def before(self) -> None:
        """Put everything shared back. To be called before each call of the builder."""
        self._first = {key: one for key, one in self._first.items() if one[0]() is not None}
        self._shared &= self._first.keys()
        self._made_here &= self._first.keys()
        self._there = frozenset(self._first)
        for key in self._shared:
            itself, put_back = self._first[key]
            if (obj := itself()) is not None:
                put_back(obj)
        for kept in self._kept:
            kept.put_back()
        self.before_imports()

    def before_imports(self) -> None:
        """As `before`, but only what lies outside the user's modules: the environment, and Keras's replaced code."""
        if self._patches.any_patched():
            self._patches.undo()
        if dict(os.environ) != self._environ:
            os.environ.clear()
            os.environ.update(self._environ)

    def after(self, model: Any) -> bool:
        """To be called with what the builder made. True: it holds objects of an earlier call, which may have been
        trained since, so that the builder must be called again.
        """
        self.patched = self._patches.any_patched()
        inside = list(_inside(model))
        for obj in inside:
            if not self._is_known(obj):  # another object, now gone, may have had its identity
                self._there -= {id(obj)}
                self._shared.discard(id(obj))
                self._made_here.discard(id(obj))
                self._see(obj)
        shared_now = {id(obj) for obj in inside if id(obj) in self._there} - self._shared
        self._shared |= shared_now
        again = shared_now & self._made_here
        self.changed |= any(id(one) in self._shared & self._made_here and self._is_other(one) for one in inside)
        self._made_here |= {id(obj) for obj in inside} - self._there
        return bool(again)

    def _is_other(self, obj: Any) -> bool:
        """Whether a variable's value differs from the one that it was put back to."""
        if not isinstance(obj, keras().Variable):
            return False
        now = obj.numpy()
        self._first[id(obj)][1](obj)
        other = not np.array_equal(now, obj.numpy(), equal_nan=True)
        obj.assign(now)
        return other

    def _is_known(self, obj: Any) -> bool:
        first = self._first.get(id(obj))
        return first is not None and first[0]() is obj

    def _see(self, obj: Any) -> None:
        try:
            itself: _Itself = ref(obj)
        except TypeError:  # it has slots
            itself = lambda: obj  # noqa: E731
        self._first[id(obj)] = (itself, _remembered(obj))


def _all_there() -> list[Any]:
    """The layers and regularisers of this process, found by `type`: asking an object for its class may run its code."""
    kinds = (keras().layers.Layer, keras().regularizers.Regularizer)
    known: dict[type, bool] = {}
    tracked = []
    for obj in gc.get_objects():
        kind = type(obj)
        if kind not in known:
            known[kind] = issubclass(kind, kinds)
        if known[kind]:
            tracked.append(obj)
    return tracked


def names_there() -> set[str]:
    """The names of all layers of this process."""
    return {one.name for one in _all_there() if isinstance(one, keras().layers.Layer) and "name" in vars(one)}


def _inside(model: Any) -> Iterator[Any]:
    """The layers, their regularisers and their variables."""
    for layer in model._flatten_layers():
        yield layer
        yield from (one for one in vars(layer).values() if isinstance(one, keras().regularizers.Regularizer))
    yield from model.variables


def _remembered(obj: Any) -> _PutBack:
    return _of_variable(obj) if isinstance(obj, keras().Variable) else _of_layer(obj)


def _of_variable(variable: Any) -> _PutBack:
    value, trained = variable.numpy(), variable.trainable

    def put_back(target: Any) -> None:
        target.assign(value)
        target.trainable = trained

    return put_back


def _of_layer(layer: Any) -> _PutBack:
    """A layer's options, or a regulariser's, and whether it is trained."""
    trained = getattr(layer, "_trainable", None)
    options = {name: value for name, value in vars(layer).items() if name[0] != "_" and name not in _BY_BUILDING}

    def put_back(target: Any) -> None:
        if trained is not None:
            target._trainable = trained
        for name, value in options.items():
            now = vars(target).get(name, value)
            if now is not value and _is_option(value) and _is_option(now):
                setattr(target, name, value)

    return put_back


_BY_BUILDING = ("built", "input_spec")
"""Attributes that a layer sets when it is built."""


def _is_option(value: Any) -> bool:
    """Whether it is an argument of a layer, and not something that it makes when it is built."""
    kinds = (keras().regularizers.Regularizer, keras().constraints.Constraint, keras().initializers.Initializer)
    return value is None or isinstance(value, (bool, int, float, str, *kinds)) or inspect.isroutine(value)
