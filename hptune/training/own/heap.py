"""Whether anything that the user's modules hold is other than it was: what refers to what, and the bytes of arrays.

What `namespaces` puts back it puts back by kinds, and there are always more. Here all that Python's garbage collector
sees from the modules is walked, so that a change of any kind is seen; what it does not see (the state of a generator,
of an iterator) is asked for. Installed packages are not walked; of Keras's objects values and options are compared.
"""

from __future__ import annotations

import collections
import contextvars
import functools
import gc
import io
import logging
import pickle
import random
import re
import struct
import sys
import threading
import types
import zlib
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.training.own.attributes import answers, attributes
from hptune.training.own.sameness import is_known
from hptune.training.runtime import keras

_LEAVES = (int, float, complex, str, bytes, bool, type(None), range, type(...), type(NotImplemented))
_PASSED_OVER = (types.CodeType, types.FrameType, types.GetSetDescriptorType)
_CONTAINERS = (dict, list, tuple, set, frozenset)
_UNCHANGING = (re.Pattern, struct.Struct, np.dtype, np.ufunc)
"""Made in C, without any state."""
_OF_MODULES = frozenset(
    {"__builtins__", "__spec__", "__loader__", "__warningregistry__", "__cached__", "__file__", "__annotations__"}
)


_MANY = 1000
"""Containers with at least this many things (a vocabulary, with a vector a word) are compared by identity alone."""

_ITERATORS = (enumerate, zip, map, filter, reversed)

_OF_CLASSES = frozenset({"__dict__", "__weakref__", "__module__", "__doc__", "__annotations__"})


class Heap:
    """Of some modules and objects, as they are when this is made."""

    def __init__(self, things: Iterable[Any]) -> None:
        self._things = list(things)
        self._was = dict(_walked(self._things))

    def changed(self) -> list[str]:
        """The names in the modules through which something else is reached now, or something that is otherwise."""
        now = dict(_walked(self._things))
        other = [key for key, (_, fact, _) in now.items() if key not in self._was or self._was[key][1] != fact]
        gone = [key for key in self._was if key not in now]
        names = [now[key][2] for key in other] + [self._was[key][2] for key in gone]
        return sorted(set(names))


def _walked(things: Iterable[Any]) -> Iterator[tuple[int, tuple[Any, Any, str]]]:
    """(identity, (the object, so that it keeps it, what is told of it, the name that led to it))."""
    seen: set[int] = set()
    waiting: collections.deque[tuple[Any, str]] = collections.deque()
    for thing in things:
        name = getattr(thing, "__name__", type(thing).__name__)
        if isinstance(thing, types.ModuleType):
            held = {key: value for key, value in vars(thing).items() if key not in _OF_MODULES}
            yield id(thing), (thing, tuple((key, _key(value)) for key, value in held.items()), name)
            waiting += [(value, f"{name}.{key}") for key, value in held.items()]
        else:
            waiting.append((thing, name))
    while waiting:
        thing, name = waiting.popleft()
        if id(thing) in seen or not answers(thing) or _is_passed_over(thing):
            continue
        seen.add(id(thing))
        try:
            fact, inside = _told(thing)
        except Exception:  # noqa: BLE001  # an object may raise anything as it is looked into; it then counts as changed
            fact, inside = object(), []
        yield id(thing), (thing, (type(thing), fact, _keys(inside)), name)
        if len(inside) < _MANY:
            waiting += [(one, name) for one in inside if type(one) not in _LEAVES]


def _keys(inside: list[Any]) -> Any:
    """What stands for all that a thing refers to: of a great many the identities alone, which are not looked into."""
    return tuple(map(_key, inside)) if len(inside) < _MANY else (len(inside), hash(tuple(map(id, inside))))


def _key(thing: Any) -> Any:
    """A plain value by what it is, anything else by its identity."""
    return (type(thing), repr(thing)) if type(thing) in _LEAVES else id(thing)


def _is_passed_over(thing: Any) -> bool:
    if type(thing) in _LEAVES or isinstance(thing, (*_PASSED_OVER, types.ModuleType)):
        return True
    if isinstance(thing, type | types.FunctionType):
        return is_known(thing)
    if isinstance(thing, threading.local):
        return False
    if isinstance(thing, types.BuiltinFunctionType):
        return thing.__self__ is None or isinstance(thing.__self__, types.ModuleType)
    return type(thing).__module__ in ("_abc", "_weakref", "weakref")


def _told(thing: Any) -> tuple[Any, list[Any]]:
    """(what its references do not tell, what it refers to)."""
    root = _root(type(thing))
    if isinstance(thing, np.ndarray):
        mask = np.ma.getmaskarray(thing) if isinstance(thing, np.ma.MaskedArray) else np.empty(0, bool)
        return (thing.shape, str(thing.dtype), _sum(np.asarray(thing)), _sum(mask)), []
    if root in ("keras", "tensorflow") and not isinstance(thing, dict | list | tuple | set):
        return _of_keras(thing)
    if root == "pandas":
        return _of_pandas(thing), []
    if isinstance(thing, logging.Logger):
        return (thing.level, thing.disabled, len(thing.handlers)), []
    if isinstance(thing, contextvars.ContextVar):
        held = thing.get(None)
        return _key(held), [] if type(held) in _LEAVES else [held]
    if isinstance(thing, random.Random):
        return thing.getstate(), []
    if isinstance(thing, np.random.RandomState):
        return repr(thing.get_state()), []
    if isinstance(thing, np.random.Generator):
        return None, [thing.bit_generator]
    if isinstance(thing, np.random.BitGenerator):
        return repr(thing.state), [thing.seed_seq]
    if isinstance(thing, np.random.SeedSequence):
        return repr(thing.state), []
    if isinstance(thing, PurePath):
        return str(thing), []
    if isinstance(thing, io.IOBase):
        return (thing.closed, None if thing.closed or not thing.seekable() else thing.tell()), []
    if isinstance(thing, types.GeneratorType):
        frame = thing.gi_frame
        return (None, []) if frame is None else ((frame.f_lasti, *frame.f_locals), list(frame.f_locals.values()))
    if isinstance(thing, types.FunctionType):
        held = [thing.__code__, thing.__defaults__, thing.__kwdefaults__, thing.__closure__, *vars(thing).values()]
        return (id(thing.__code__), *vars(thing)), held
    if isinstance(thing, type):
        held = {key: value for key, value in vars(thing).items() if key not in _OF_CLASSES}
        return tuple(held), list(held.values())
    if root == "itertools" or type(thing).__name__.endswith("iterator") or isinstance(thing, _ITERATORS):
        return repr(thing.__reduce__() if hasattr(thing, "__reduce__") else thing), gc.get_referents(thing)
    if isinstance(thing, collections.OrderedDict):
        return tuple(map(_key, thing)), list(thing.values())
    if any(one.__module__ == "_ctypes" for one in type(thing).__mro__):
        return None if type(thing).__name__ == "CField" else zlib.crc32(memoryview(thing)), gc.get_referents(thing)
    if type(thing).__name__ == "SRE_Scanner":  # it does not tell how far it is
        return object(), []
    if type(thing).__module__ == "_thread" and not isinstance(
        thing, threading.local
    ):  # a lock; it tells if it is taken
        return repr(thing), []
    if isinstance(thing, set | frozenset):
        return frozenset(map(_key, thing)), sorted(thing, key=id)
    held = attributes(thing) if not isinstance(thing, _CONTAINERS) else {}
    inside = [one for one in (*held.values(), *gc.get_referents(thing)) if one is not type(thing)]
    if not inside and not isinstance(thing, (*_CONTAINERS, *_UNCHANGING)) and _has_room(type(thing)):
        return _of_other_languages(thing)
    return tuple(held), inside


def _of_other_languages(thing: Any) -> tuple[Any, list[Any]]:
    """What holds nothing that Python sees: its bytes, or its pickle. What has neither can't be known, so that it counts
    as changed.
    """
    try:
        return zlib.crc32(memoryview(thing)), []
    except (TypeError, BufferError):
        return zlib.crc32(pickle.dumps(thing)), []


def _has_room(kind: type) -> bool:
    """Whether its objects hold anything beside what Python's attributes are kept in."""
    if any("__slots__" in vars(one) for one in kind.__mro__):
        return False
    places = sum(getattr(kind, name) > 0 for name in ("__dictoffset__", "__weakrefoffset__"))
    return kind.__itemsize__ > 0 or kind.__basicsize__ - places * struct.calcsize("P") > object.__basicsize__


def _of_pandas(thing: Any) -> Any:
    pd: Any = sys.modules["pandas"]  # it is there, as the thing is of it
    if isinstance(thing, pd.DataFrame):
        columns = (thing.iloc[:, place] for place in range(thing.shape[1]))
        return tuple(map(_of_pandas, (thing.index, thing.columns, *columns)))
    if isinstance(thing, pd.Series | pd.Index):
        plain = isinstance(thing.dtype, np.dtype)
        return str(thing.dtype), _sum(np.asarray(thing) if plain else pd.util.hash_pandas_object(thing).to_numpy())
    return repr(thing)


def _of_keras(thing: Any) -> tuple[Any, list[Any]]:
    """The values of its variables, and its options: what it makes for itself as it is built is left."""
    if _is_variable(thing):
        return _value(thing), []
    if not hasattr(type(thing), "__dict__"):
        return None, []
    if hasattr(type(thing), "python_function"):  # what it was traced to tells nothing but what that does
        return None, [thing.python_function]
    if type(thing).__name__.endswith(("Iterator", "Queue")):  # it has no state that can be read
        return object(), []
    if hasattr(type(thing), "export") and hasattr(type(thing), "size"):  # a table that words can be added to
        return repr([held.numpy().tolist() for held in thing.export()]), []
    held = {name: value for name, value in attributes(thing).items() if name in _COUNT or name not in _made_by_keras()}
    options = {name: _key(value) for name, value in held.items() if type(value) in _LEAVES}
    variables = [*getattr(thing, "variables", ()), *(value for value in held.values() if _is_variable(value))]
    words = thing.get_vocabulary() if hasattr(type(thing), "get_vocabulary") and thing.built else None
    rest = [value for name, value in held.items() if not (_is_variable(value) or type(value) in _LEAVES)]
    return (tuple(options.items()), tuple(map(_value, variables)), zlib.crc32(repr(words).encode())), rest


_COUNT = ("built", "_trainable")


@functools.cache
def _made_by_keras() -> frozenset[str]:
    """The attributes that Keras's objects make for themselves."""
    bare = keras().layers.Layer(), keras().metrics.Metric(), keras().losses.Loss(), keras().Sequential()
    return frozenset(name for one in bare for name in vars(one)) | {"name", "path"}


def _is_variable(thing: Any) -> bool:
    import tensorflow as tf

    return isinstance(thing, keras().Variable | tf.Variable)


def _value(variable: Any) -> Any:
    return _sum(np.asarray(variable.numpy()))


def _sum(array: NDArray[Any]) -> int:
    if array.dtype == object:  # which objects they are
        array = np.fromiter(map(id, array.ravel()), np.uint64, array.size)
    if array.dtype.kind in "biufc":
        return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return zlib.crc32(array.tobytes() if array.dtype.kind in "SUVmM" else repr(array.tolist()).encode())


def _root(kind: type) -> str:
    """The package that an object's class, or one that it derives from, is of, where that is told by it alone."""
    roots = [one.__module__.partition(".")[0] for one in kind.__mro__]
    return next((root for root in roots if root in ("keras", "tensorflow", "pandas", "itertools")), "")
