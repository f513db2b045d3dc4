"""Whether anything that the user's modules hold has changed: what refers to what, and the bytes of arrays.

`namespaces` puts objects back by kinds, and there are always more kinds. Here everything that Python's garbage
collector reaches from the modules is walked, so that any change is seen; state that it does not see (of a generator, of
an iterator) is asked for. Installed packages are not walked; of Keras's objects values and options are compared.
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
"""Objects made in C without any state."""
_OF_MODULES = frozenset(
    {"__builtins__", "__spec__", "__loader__", "__warningregistry__", "__cached__", "__file__", "__annotations__"}
)


_MANY = 1000
"""Containers of at least this many objects (such as a vocabulary's vectors) are compared by identity alone."""

_ITERATORS = (enumerate, zip, map, filter, reversed)

_OF_CLASSES = frozenset({"__dict__", "__weakref__", "__module__", "__doc__", "__annotations__"})


class Heap:
    """The state of some modules and objects at the time when this is made."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self._things = list(objects)
        self._was = dict(_walked(self._things))

    def changed(self) -> list[str]:
        """The names in the modules through which a different or changed object is reached now."""
        now = dict(_walked(self._things))
        other = [key for key, (_, state, _) in now.items() if key not in self._was or self._was[key][1] != state]
        gone = [key for key in self._was if key not in now]
        names = [now[key][2] for key in other] + [self._was[key][2] for key in gone]
        return sorted(set(names))


def _walked(objects: Iterable[Any]) -> Iterator[tuple[int, tuple[Any, Any, str]]]:
    """(identity, (the object itself, so that it keeps its identity, its state, the name that led to it))."""
    seen: set[int] = set()
    waiting: collections.deque[tuple[Any, str]] = collections.deque()
    for obj in objects:
        name = getattr(obj, "__name__", type(obj).__name__)
        if isinstance(obj, types.ModuleType):
            held = {key: value for key, value in vars(obj).items() if key not in _OF_MODULES}
            yield id(obj), (obj, tuple((key, _key(value)) for key, value in held.items()), name)
            waiting += [(value, f"{name}.{key}") for key, value in held.items()]
        else:
            waiting.append((obj, name))
    while waiting:
        obj, name = waiting.popleft()
        if id(obj) in seen or not answers(obj) or _is_passed_over(obj):
            continue
        seen.add(id(obj))
        try:
            state, inside = _state_of(obj)
        except Exception:  # noqa: BLE001  # an object may raise anything when it is inspected; it then counts as changed
            state, inside = object(), []
        yield id(obj), (obj, (type(obj), state, _keys(inside)), name)
        if len(inside) < _MANY:
            waiting += [(one, name) for one in inside if type(one) not in _LEAVES]


def _keys(inside: list[Any]) -> Any:
    """A key for all that an object refers to; of very many the identities alone, which are not looked into."""
    return tuple(map(_key, inside)) if len(inside) < _MANY else (len(inside), hash(tuple(map(id, inside))))


def _key(obj: Any) -> Any:
    """A plain value by its type and value, anything else by its identity."""
    return (type(obj), repr(obj)) if type(obj) in _LEAVES else id(obj)


def _is_passed_over(obj: Any) -> bool:
    if type(obj) in _LEAVES or isinstance(obj, (*_PASSED_OVER, types.ModuleType)):
        return True
    if isinstance(obj, type | types.FunctionType):
        return is_known(obj)
    if isinstance(obj, threading.local):
        return False
    if isinstance(obj, types.BuiltinFunctionType):
        return obj.__self__ is None or isinstance(obj.__self__, types.ModuleType)
    return type(obj).__module__ in ("_abc", "_weakref", "weakref")


def _state_of(obj: Any) -> tuple[Any, list[Any]]:
    """(the object's state beside its references, the objects that it refers to)."""
    root = _root(type(obj))
    if isinstance(obj, np.ndarray):
        mask = np.ma.getmaskarray(obj) if isinstance(obj, np.ma.MaskedArray) else np.empty(0, bool)
        return (obj.shape, str(obj.dtype), _sum(np.asarray(obj)), _sum(mask)), []
    if root in ("keras", "tensorflow") and not isinstance(obj, dict | list | tuple | set):
        return _of_keras(obj)
    if root == "pandas":
        return _of_pandas(obj), []
    if isinstance(obj, logging.Logger):
        return (obj.level, obj.disabled, len(obj.handlers)), []
    if isinstance(obj, contextvars.ContextVar):
        held = obj.get(None)
        return _key(held), [] if type(held) in _LEAVES else [held]
    if isinstance(obj, random.Random):
        return obj.getstate(), []
    if isinstance(obj, np.random.RandomState):
        return repr(obj.get_state()), []
    if isinstance(obj, np.random.Generator):
        return None, [obj.bit_generator]
    if isinstance(obj, np.random.BitGenerator):
        return repr(obj.state), [obj.seed_seq]
    if isinstance(obj, np.random.SeedSequence):
        return repr(obj.state), []
    if isinstance(obj, PurePath):
        return str(obj), []
    if isinstance(obj, io.IOBase):
        return (obj.closed, None if obj.closed or not obj.seekable() else obj.tell()), []
    if isinstance(obj, types.GeneratorType):
        frame = obj.gi_frame
        return (None, []) if frame is None else ((frame.f_lasti, *frame.f_locals), list(frame.f_locals.values()))
    if isinstance(obj, types.FunctionType):
        held = [obj.__code__, obj.__defaults__, obj.__kwdefaults__, obj.__closure__, *vars(obj).values()]
        return (id(obj.__code__), *vars(obj)), held
    if isinstance(obj, type):
        held = {key: value for key, value in vars(obj).items() if key not in _OF_CLASSES}
        return tuple(held), list(held.values())
    if root == "itertools" or type(obj).__name__.endswith("iterator") or isinstance(obj, _ITERATORS):
        return repr(obj.__reduce__() if hasattr(obj, "__reduce__") else obj), gc.get_referents(obj)
    if isinstance(obj, collections.OrderedDict):
        return tuple(map(_key, obj)), list(obj.values())
    if any(one.__module__ == "_ctypes" for one in type(obj).__mro__):
        return None if type(obj).__name__ == "CField" else zlib.crc32(memoryview(obj)), gc.get_referents(obj)
    if type(obj).__name__ == "SRE_Scanner":  # its position can't be read
        return object(), []
    if type(obj).__module__ == "_thread" and not isinstance(
        obj, threading.local
    ):  # a lock; its repr shows whether it is held
        return repr(obj), []
    if isinstance(obj, set | frozenset):
        return frozenset(map(_key, obj)), sorted(obj, key=id)
    held = attributes(obj) if not isinstance(obj, _CONTAINERS) else {}
    inside = [one for one in (*held.values(), *gc.get_referents(obj)) if one is not type(obj)]
    if not inside and not isinstance(obj, (*_CONTAINERS, *_UNCHANGING)) and _has_room(type(obj)):
        return _of_other_languages(obj)
    return tuple(held), inside


def _of_other_languages(obj: Any) -> tuple[Any, list[Any]]:
    """The state of an object that holds nothing Python sees: its bytes, or its pickle. One that has neither raises, and
    so counts as changed.
    """
    try:
        return zlib.crc32(memoryview(obj)), []
    except (TypeError, BufferError):
        return zlib.crc32(pickle.dumps(obj)), []


def _has_room(kind: type) -> bool:
    """Whether its objects have memory beside that of Python's attributes."""
    if any("__slots__" in vars(one) for one in kind.__mro__):
        return False
    places = sum(getattr(kind, name) > 0 for name in ("__dictoffset__", "__weakrefoffset__"))
    return kind.__itemsize__ > 0 or kind.__basicsize__ - places * struct.calcsize("P") > object.__basicsize__


def _of_pandas(obj: Any) -> Any:
    pd: Any = sys.modules["pandas"]  # it is loaded, since the object is of it
    if isinstance(obj, pd.DataFrame):
        columns = (obj.iloc[:, place] for place in range(obj.shape[1]))
        return tuple(map(_of_pandas, (obj.index, obj.columns, *columns)))
    if isinstance(obj, pd.Series | pd.Index):
        plain = isinstance(obj.dtype, np.dtype)
        return str(obj.dtype), _sum(np.asarray(obj) if plain else pd.util.hash_pandas_object(obj).to_numpy())
    return repr(obj)


def _of_keras(obj: Any) -> tuple[Any, list[Any]]:
    """The values of its variables, and its options; not what it makes for itself when it is built."""
    if _is_variable(obj):
        return _value(obj), []
    if not hasattr(type(obj), "__dict__"):
        return None, []
    if hasattr(type(obj), "python_function"):  # its traces add nothing to the Python function
        return None, [obj.python_function]
    if type(obj).__name__.endswith(("Iterator", "Queue")):  # it has no state that can be read
        return object(), []
    if hasattr(type(obj), "export") and hasattr(type(obj), "size"):  # a table that words can be added to
        return repr([held.numpy().tolist() for held in obj.export()]), []
    held = {name: value for name, value in attributes(obj).items() if name in _COUNT or name not in _made_by_keras()}
    options = {name: _key(value) for name, value in held.items() if type(value) in _LEAVES}
    variables = [*getattr(obj, "variables", ()), *(value for value in held.values() if _is_variable(value))]
    words = obj.get_vocabulary() if hasattr(type(obj), "get_vocabulary") and obj.built else None
    rest = [value for name, value in held.items() if not (_is_variable(value) or type(value) in _LEAVES)]
    return (tuple(options.items()), tuple(map(_value, variables)), zlib.crc32(repr(words).encode())), rest


_COUNT = ("built", "_trainable")


@functools.cache
def _made_by_keras() -> frozenset[str]:
    """The attributes that Keras's objects make for themselves."""
    bare = keras().layers.Layer(), keras().metrics.Metric(), keras().losses.Loss(), keras().Sequential()
    return frozenset(name for one in bare for name in vars(one)) | {"name", "path"}


def _is_variable(obj: Any) -> bool:
    import tensorflow as tf

    return isinstance(obj, keras().Variable | tf.Variable)


def _value(variable: Any) -> Any:
    return _sum(np.asarray(variable.numpy()))


def _sum(array: NDArray[Any]) -> int:
    if array.dtype == object:  # the identities of the objects
        array = np.fromiter(map(id, array.ravel()), np.uint64, array.size)
    if array.dtype.kind in "biufc":
        return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return zlib.crc32(array.tobytes() if array.dtype.kind in "SUVmM" else repr(array.tolist()).encode())


def _root(kind: type) -> str:
    """The package of an object's class, or of a base class, among those that are treated alike; else ""."""
    roots = [one.__module__.partition(".")[0] for one in kind.__mro__]
    return next((root for root in roots if root in ("keras", "tensorflow", "pandas", "itertools")), "")
