"""Variables that the user's code reads or changes: what functions close over and read, what objects hold."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hptune.training.own.attributes import answers, attributes
from hptune.training.own.code_text import names_read
from hptune.training.own.sameness import is_known
from hptune.training.runtime import keras


def variables_in(objects: Iterable[Any]) -> list[Any]:
    """TensorFlow's and Keras's variables within reach of the objects, each once.

    Installed packages are not looked into, except for changing state in Keras's own objects; hptune's own objects
    never, since their variables are not the user's state.
    """
    kinds = _kinds_of_variables()
    return [one for one in reached(objects) if isinstance(one, kinds)]


def reached(objects: Iterable[Any]) -> list[Any]:
    """The objects and all within their reach, each once. Keras's own among these objects are not looked into."""
    kinds, seen = _kinds_of_variables(), {}
    waiting = list(objects)
    roots = {id(one) for one in waiting}
    while waiting:
        obj = waiting.pop()
        if id(obj) in seen or not answers(obj):
            continue
        seen[id(obj)] = obj
        if not isinstance(obj, kinds):
            waiting += held_by(obj)
            if id(obj) not in roots:
                waiting += _moving_in(obj)
    return list(seen.values())


def _kinds_of_variables() -> tuple[type, ...]:
    import tensorflow as tf

    return (tf.Variable, keras().Variable)


def _moving_in(obj: Any) -> list[Any]:
    """The state that an object of Keras or TensorFlow changes in use: of a generator, a metric's sums, a mean."""
    import tensorflow as tf

    if isinstance(obj, keras().random.SeedGenerator):
        return [obj.state]
    if isinstance(obj, tf.random.Generator):
        return [obj.state]
    if isinstance(obj, keras().metrics.Metric | keras().optimizers.Optimizer):
        return list(obj.variables)
    if isinstance(obj, keras().layers.Layer):
        each = obj._flatten_layers()
        return [one for layer in each for one in (*layer._non_trainable_variables, *layer._seed_generators)]
    return []


def held_by(obj: Any) -> Iterator[Any]:
    """What an object holds, closes over, reads or is made of; nothing for installed code."""
    if isinstance(obj, list | tuple | set | frozenset):
        yield from obj
    elif isinstance(obj, Mapping):
        yield from obj.values()
    elif isinstance(obj, functools.partial):
        yield from (obj.func, obj.args, obj.keywords)
    elif isinstance(obj, types.MethodType):
        yield from (obj.__func__, obj.__self__)
    elif isinstance(obj, types.FunctionType):
        if not _is_closed(obj):
            yield from _read_by(obj)
    elif isinstance(obj, type):
        if not _is_closed(obj):
            yield from vars(obj).values()
    elif isinstance(obj, staticmethod | classmethod):
        yield obj.__func__
    elif hasattr(type(obj), "__wrapped__") or hasattr(type(obj), "python_function"):  # a cache, a tf.function
        yield getattr(obj, "__wrapped__", None) or getattr(obj, "python_function", None)
    elif not isinstance(obj, types.ModuleType | str | bytes) and not _is_closed(type(obj)):
        yield from attributes(obj).values()
        yield type(obj)


def _is_closed(obj: Any) -> bool:
    return is_known(obj) or (getattr(obj, "__module__", None) or "").startswith("hptune.")


def _read_by(function: types.FunctionType) -> Iterator[Any]:
    yield from (cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType())
    yield from (function.__defaults__, function.__kwdefaults__, vars(function))
    yield from (function.__globals__[name] for name in names_read(function.__code__) if name in function.__globals__)
