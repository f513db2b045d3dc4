"""Objects of the user's that outlive a builder's calls: a network at module level, a base that is kept in a cache.

Every model that the builder makes with such an object shares it, so that training one would change all. Before each
call they are put back to what they were, and they are given no dials. So are the plain values and the variables of the
user's modules: a counter, a setting that a builder changes.
"""

from __future__ import annotations

import copy
import gc
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias
from weakref import ref

from hptune.training.reach import variables_in
from hptune.training.runtime import keras
from hptune.training.sameness import attributes, is_graph_function

_Itself: TypeAlias = Callable[[], Any]
"""Gives the object as long as it lives."""

_PutBack: TypeAlias = Callable[[Any], None]
"""Puts an object back to what it was when it was first seen."""


class Untouched:
    """What a builder's calls share: all of a model that was there before the call that made it."""

    def __init__(self, own: Iterable[Any] = ()) -> None:
        """To be made when the user's module is loaded, and before it is asked to build anything.

        own: modules and objects of the user's, whose plain values and variables are put back too.
        """
        self._kept = [kept for thing in own for kept in _namespaces(thing)]
        self._first: dict[int, tuple[_Itself, _PutBack]] = {}
        self._shared: set[int] = set()
        self._there: frozenset[int] = frozenset()
        self._made_here: set[int] = set()
        for thing in _all_there():
            self._see(thing)
            for variable in getattr(thing, "variables", ()):
                self._see(variable)

    def __contains__(self, thing: Any) -> bool:
        """Whether a layer or a regulariser of the last model was there before the builder was called for it."""
        return id(thing) in self._there and self._is_known(thing)

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

    def after(self, model: Any) -> bool:
        """To be called with what the builder made. True: it holds what an earlier call has made, which may have been
        trained since; the builder is to be called again."""
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
        self._made_here |= {id(thing) for thing in inside} - self._there
        return bool(again)

    def _is_known(self, thing: Any) -> bool:
        first = self._first.get(id(thing))
        return first is not None and first[0]() is thing

    def _see(self, thing: Any) -> None:
        try:
            itself: _Itself = ref(thing)
        except TypeError:  # it has slots
            itself = lambda: thing  # noqa: E731
        self._first[id(thing)] = (itself, _remembered(thing))


class _Kept:
    """The plain values and the variables of a module, a class or an object, as they were when it was first seen.

    What is added to it later stays where it is no plain value: a cache, which each call may use.
    """

    def __init__(self, thing: Any) -> None:
        self._thing = thing
        names = {name: value for name, value in attributes(thing).items() if not name.startswith("__")}
        self._plain = {name: copy.deepcopy(value) for name, value in names.items() if _is_plain(value)}
        held = [value for value in names.values() if not isinstance(value, types.ModuleType | type)]
        self._graphs = [value for value in held if is_graph_function(value)]
        self._variables = [(variable, variable.numpy()) for variable in variables_in(held)]

    def put_back(self) -> None:
        now = attributes(self._thing)
        for name, value in self._plain.items():
            if name not in now or (now[name] is not value and not _same(now[name], value)):
                found = now.get(name)
                if not _put_into(found, value):
                    setattr(self._thing, name, copy.deepcopy(value))
        for variable, value in self._variables:
            variable.assign(value)
        for function in self._graphs:
            _forget_traces(function)


def _forget_traces(function: Any) -> None:
    """Let a `tf.function` be traced anew: the Python values that it has read may be others now."""
    for name in ("_function_cache", "_function_captures"):
        setattr(function, name, type(getattr(function, name))())
    function._variable_creation_config = function._no_variable_creation_config = function._created_variables = None


_SEEN: dict[int, _Kept] = {}
"""By identity: a process may have several builders of one module, and it was as it is told here before the first."""


def _namespaces(thing: Any) -> Iterator[_Kept]:
    """Of a module itself and its classes; of an object itself."""
    inner = vars(thing).values() if isinstance(thing, types.ModuleType) else ()
    for one in [thing, *(kind for kind in inner if isinstance(kind, type) and kind.__module__ == thing.__name__)]:
        if id(one) not in _SEEN:
            _SEEN[id(one)] = _Kept(one)
        yield _SEEN[id(one)]


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple, set):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, value.values()))
    return value is None or type(value) in (str, bytes, int, float, bool)


def _same(now: Any, then: Any) -> bool:
    return type(now) is type(then) and _is_plain(now) and repr(now) == repr(then)


def _put_into(now: Any, then: Any) -> bool:
    """Make a container what it was, in its place, since others may hold it; False where it is none."""
    if type(now) is not type(then) or type(now) not in (list, set, dict):
        return False
    if type(now) is dict:
        for key in [key for key, value in now.items() if key not in then and _is_plain(value)]:
            del now[key]
        now.update(copy.deepcopy(then))
        return True
    if not _is_plain(now):
        return True
    now.clear()
    now.extend(copy.deepcopy(then)) if isinstance(now, list) else now.update(then)
    return True


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


def _inside(model: Any) -> Iterator[Any]:
    """The layers, their regularisers and their variables."""
    for layer in model._flatten_layers():
        yield layer
        yield from (one for one in vars(layer).values() if isinstance(one, keras().regularizers.Regularizer))
    yield from model.variables


def _remembered(thing: Any) -> _PutBack:
    if isinstance(thing, keras().Variable):
        value, trained = thing.numpy(), thing.trainable

        def put_back(variable: Any) -> None:
            variable.assign(value)
            variable.trainable = trained

        return put_back
    trained = getattr(thing, "_trainable", None)
    return lambda one: None if trained is None else setattr(one, "_trainable", trained)
