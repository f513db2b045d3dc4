"""Variables that code of the user's reads or moves: what functions close over and read, what objects hold."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hptune.training.code_text import names_read
from hptune.training.runtime import keras
from hptune.training.sameness import attributes, is_known


def variables_in(things: Iterable[Any]) -> list[Any]:
    """TensorFlow's and Keras's variables within reach of the things, each once.

    Installed packages are not looked into, and hptune's own objects, whose variables are no state of the user's.
    """
    import tensorflow as tf

    kinds = (tf.Variable, keras().Variable)
    found: dict[int, Any] = {}
    seen: set[int] = set()
    waiting = list(things)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, kinds):
            found[id(thing)] = thing
        else:
            waiting += held_by(thing)
    return list(found.values())


def held_by(thing: Any) -> Iterator[Any]:
    """What a thing holds, closes over, reads or is made of; nothing for what is installed."""
    if isinstance(thing, list | tuple | set | frozenset):
        yield from thing
    elif isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, functools.partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif isinstance(thing, types.MethodType):
        yield from (thing.__func__, thing.__self__)
    elif isinstance(thing, types.FunctionType):
        if not _is_closed(thing):
            yield from _read_by(thing)
    elif isinstance(thing, type):
        if not _is_closed(thing):
            yield from vars(thing).values()
    elif isinstance(thing, staticmethod | classmethod):
        yield thing.__func__
    elif hasattr(type(thing), "__wrapped__") or hasattr(type(thing), "python_function"):  # a cache, a tf.function
        yield getattr(thing, "__wrapped__", None) or getattr(thing, "python_function", None)
    elif not isinstance(thing, types.ModuleType | str | bytes) and not _is_closed(type(thing)):
        yield from attributes(thing).values()
        yield type(thing)


def _is_closed(thing: Any) -> bool:
    return is_known(thing) or (getattr(thing, "__module__", None) or "").startswith("hptune.")


def _read_by(function: types.FunctionType) -> Iterator[Any]:
    yield from (cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType())
    yield from (function.__defaults__, function.__kwdefaults__, vars(function))
    yield from (function.__globals__[name] for name in names_read(function.__code__) if name in function.__globals__)
