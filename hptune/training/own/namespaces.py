"""Puts back what the user's modules, classes and functions hold, so that a trial runs as in a process of its own.

Small objects that can be copied (settings, counters, random generators, objects with attributes) are put back in place,
since others may hold them too; variables get their first values; a `tf.function` is traced anew. Large objects, and
those that can't be copied, stay as they are, and so do entries added to a dictionary that are no plain values: caches.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import gc
import io
import pickle
import random
import types
from collections import deque
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

import numpy as np

from hptune.training.own.attributes import answers, attributes
from hptune.training.own.reach import variables_in
from hptune.training.own.sameness import is_graph_function, is_known
from hptune.training.runtime import keras

MOST_BYTES = 2**20
"""An object whose pickle is larger is data, or a network, and stays as it is."""


class _Bounded(io.BytesIO):
    """A buffer of at most `MOST_BYTES`."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > MOST_BYTES:
            raise OverflowError("too large to be copied before each call")
        return super().write(data)


class _Pickler(pickle.Pickler):
    """Refuses bound methods: a copy would be bound to a copy of the object, not to the object itself."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, types.MethodType):
            raise pickle.PicklingError("a bound method")
        return NotImplemented


class Namespace:
    """What a module, class, object, function, dict or list holds, by name, as it was when first seen."""

    def __init__(self, obj: Any) -> None:
        self._thing = obj
        self._is_own = _is_own(obj)
        self._was = {name: value for name, value in _held(obj).items() if answers(value)}
        self._copies = {name: copied for name, value in self._was.items() if (copied := _copied(value)) is not None}
        values = [value for value in self._was.values() if not isinstance(value, types.ModuleType | type)]
        self._graphs = [value for value in values if is_graph_function(value)]
        self._caches = [value for value in values if isinstance(value, functools._lru_cache_wrapper)]
        self._variables = [(variable, variable.numpy()) for variable in variables_in(values)]

    def put_back(self) -> None:
        """Put back what it held: added plain values are removed, and its graphs and caches are emptied."""
        now = {name: value for name, value in _held(self._thing).items() if answers(value)}
        for name in [name for name, value in now.items() if name not in self._was and _is_plain(value)]:
            if self._is_own:
                _remove(self._thing, name)
        for name, was in self._was.items():
            copied = self._copies.get(name)
            if copied is None:
                if self._is_own and (name not in now or now[name] is not was):
                    _set(self._thing, name, was)
            elif name not in now or _pickled(now[name]) != copied:
                then = pickle.loads(copied)  # written by this process
                if name not in now or not _put_into(now[name], then):
                    _set(self._thing, name, then)
        for variable, value in self._variables:
            variable.assign(value)
        for function in self._graphs:
            _forget_traces(function)
        for cache in self._caches:
            if not all(map(_is_data, _kept_by(cache))):
                cache.cache_clear()

    def differs(self) -> bool:
        """Whether a name stands for another object than it did, or its object, where that is copied, has changed."""
        now = {name: value for name, value in _held(self._thing).items() if answers(value)}
        if now.keys() != self._was.keys() or any(now[name] is not was for name, was in self._was.items()):
            return True
        return any(_pickled(now[name]) != copied for name, copied in self._copies.items())


_SEEN: dict[int, Namespace] = {}
"""By identity: a process may have several builders of one module, and this is its state before the first."""


def namespaces(obj: Any) -> Iterator[Namespace]:
    """The namespaces of a module, its classes and the functions in both; of any other object its own."""
    for part in _inside(obj):
        if id(part) not in _SEEN:
            _SEEN[id(part)] = Namespace(part)
        yield _SEEN[id(part)]


def forget_namespaces(some: Iterable[Namespace]) -> None:
    """Forget these namespaces and their objects."""
    gone = {id(one) for one in some}
    for key in [key for key, one in _SEEN.items() if id(one) in gone]:
        del _SEEN[key]


def seen_now(obj: Any) -> list[Namespace]:
    """As `namespaces`, but of the present state, whatever it was before."""
    return [Namespace(one) for one in _inside(obj)]


def _inside(obj: Any) -> Iterator[Any]:
    seen: set[int] = set()
    waiting = [obj]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting += [value for value in _parts(part) if _is_apart(value, part)]


def _parts(obj: Any) -> list[Any]:
    """What an object holds; the functions of class and static methods; the members of an enum."""
    held = list(filter(answers, _held(obj).values()))
    return [value.__func__ if isinstance(value, staticmethod | classmethod) else value for value in held]


def _is_apart(value: Any, holder: Any) -> bool:
    """Whether a value gets a namespace of its own, since it can't be copied with its holder.

    Layers get none: they are put back with the models that hold them.
    """
    if isinstance(value, types.FunctionType):
        return not is_known(value)
    if isinstance(value, type):
        return value.__module__ == getattr(
            holder, "__name__" if isinstance(holder, types.ModuleType) else "__module__", ""
        )
    if isinstance(value, types.ModuleType | keras().layers.Layer | keras().Variable):
        return False
    if isinstance(value, enum.Enum):
        return not is_known(type(value))
    if _copied(value) is not None:
        return False
    if isinstance(value, dict | list):
        return True
    return hasattr(type(value), "__dict__") and (_is_own(value) or isinstance(holder, types.ModuleType))


def _is_own(obj: Any) -> bool:
    """Whether it is the user's, or a plain container: objects of installed packages keep what they make themselves."""
    if isinstance(obj, dict | list | types.ModuleType | type | types.FunctionType):
        return True
    return not is_known(type(obj))


def _held(obj: Any) -> dict[Any, Any]:
    if isinstance(obj, dict):
        return dict(obj)
    if isinstance(obj, list):
        return dict(enumerate(obj))
    if not isinstance(obj, types.FunctionType):
        return {name: value for name, value in attributes(obj).items() if not name.startswith("__")}
    cells = {
        f"cell {i}": cell.cell_contents for i, cell in enumerate(obj.__closure__ or ()) if cell != types.CellType()
    }
    return {**cells, "__defaults__": obj.__defaults__, "__kwdefaults__": obj.__kwdefaults__, **vars(obj)}


def _set(obj: Any, name: Any, value: Any) -> None:
    if isinstance(obj, dict | list):
        if isinstance(obj, list) and name >= len(obj):
            obj.append(value)
        else:
            obj[name] = value
        return
    if isinstance(obj, types.FunctionType) and name.startswith("cell "):
        (obj.__closure__ or ())[int(name.removeprefix("cell "))].cell_contents = value
        return
    with contextlib.suppress(AttributeError, TypeError):  # a class may forbid it
        setattr(obj, name, value)


def _remove(obj: Any, name: Any) -> None:
    if isinstance(obj, list):
        obj.pop()
    elif isinstance(obj, dict):
        del obj[name]
    else:
        with contextlib.suppress(AttributeError, TypeError):
            delattr(obj, name)


def _kept_by(cache: Any) -> list[Any]:
    """The results that a `functools.cache` holds; for a bounded cache the arguments too."""
    own = (vars(cache), cache.__wrapped__)
    referents = [
        one for one in gc.get_referents(cache) if type(one) not in (type, object) and all(one is not o for o in own)
    ]
    if cache.cache_parameters()["maxsize"] is None:
        return [value for by_arguments in referents for value in by_arguments.values()]
    return [
        one for one in referents if not (isinstance(one, dict) and set(map(_kind, one.values())) == {"_lru_list_elem"})
    ]


def _kind(obj: Any) -> str:
    return type(obj).__name__


def _is_data(value: Any) -> bool:
    """Whether a cache may keep it: what code does not change, and layers, which are put back by themselves."""
    if isinstance(value, tuple):
        return all(map(_is_data, value))
    if isinstance(value, np.ndarray | keras().layers.Layer):
        return True
    if value is None or isinstance(value, str | bytes | int | float | bool | np.generic):
        return True
    return type(value).__module__.partition(".")[0] in ("tensorflow", "pandas", "pyarrow")


def _pickled(value: Any) -> bytes | None:
    """The value as bytes, the same for the same value in one process; None where it must not be copied."""
    if isinstance(value, types.ModuleType | types.FunctionType | type | functools.partial) or _is_of_keras(value):
        return None
    if isinstance(value, np.ndarray) and value.nbytes > MOST_BYTES:
        return None
    file = _Bounded()
    try:
        _Pickler(file, protocol=5).dump(value)
    except Exception:  # noqa: BLE001  # what can't be pickled raises anything, the user's code too
        return None
    return file.getvalue()


def _copied(value: Any) -> bytes | None:
    """As `_pickled`, but None where the bytes can't be loaded again."""
    copied = _pickled(value)
    try:
        return copied if copied is None or pickle.loads(copied) is not copied else None
    except Exception:  # noqa: BLE001  # as above
        return None


def _is_of_keras(value: Any) -> bool:
    """Whether it is a layer, a loss, an optimizer, …: Keras pickles them by their incomplete configs."""
    return any(one.__module__.partition(".")[0] in ("keras", "tensorflow") for one in type(value).__mro__)


def _put_into(now: Any, then: Any) -> bool:
    """Give an object its former content in place, since others may hold it; False where it can't be changed."""
    if type(now) is not type(then):
        return False
    if isinstance(now, MutableMapping):
        for key in [key for key, value in now.items() if key not in then and _is_plain(value)]:
            del now[key]
        for key, value in then.items():  # update() of a Counter adds
            now[key] = value
    elif isinstance(now, list | deque | bytearray):
        now.clear()
        now.extend(then)
    elif isinstance(now, set):
        now.clear()
        now |= then
    elif isinstance(now, np.ndarray):
        if now.shape != then.shape or now.dtype != then.dtype or not now.flags.writeable:
            return False
        now[...] = then
    elif isinstance(now, np.random.Generator):
        now.bit_generator.state = then.bit_generator.state
    elif isinstance(now, np.random.RandomState):
        now.set_state(then.get_state())
    elif isinstance(now, random.Random):
        now.setstate(then.getstate())
    elif isinstance(now, tuple):
        return len(now) == len(then) and all(a == b or _put_into(a, b) for a, b in zip(now, then, strict=True))
    else:
        return _put_into_attributes(now, then)
    return True


def _put_into_attributes(now: Any, then: Any) -> bool:
    try:
        held, was = (object.__getattribute__(one, "__dict__") for one in (now, then))
    except AttributeError:
        return False
    held.clear()
    held.update(was)
    return True


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple | set | deque):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, str | bytes | int | float | bool | np.generic)


def _forget_traces(function: Any) -> None:
    """Let a `tf.function` be traced anew: the Python values that it read may have changed."""
    for name in ("_function_cache", "_function_captures"):
        setattr(function, name, type(getattr(function, name))())
    function._variable_creation_config = function._no_variable_creation_config = function._created_variables = None
