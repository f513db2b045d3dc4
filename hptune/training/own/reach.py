"""Variables that code of the user's reads or moves: what functions close over and read, what objects hold."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hptune.training.own.attributes import answers, attributes
from hptune.training.own.code_text import names_read
from hptune.training.own.sameness import is_known
from hptune.training.runtime import keras


def variables_in(things: Iterable[Any]) -> list[Any]:
    """TensorFlow's and Keras's variables within reach of the things, each once.

    Installed packages are not looked into but for what moves in Keras's own objects, and hptune's own objects not at
    all, whose variables are no state of the user's.
    """
    kinds = _kinds_of_variables()
    return [one for one in reached(things) if isinstance(one, kinds)]


def reached(things: Iterable[Any]) -> list[Any]:
    """All within reach of the things, and these, each once. Of Keras's own objects among the things nothing else."""
    kinds, found = _kinds_of_variables(), {}
    waiting = list(things)
    given = {id(one) for one in waiting}
    while waiting:
        thing = waiting.pop()
        if id(thing) in found or not answers(thing):
            continue
        found[id(thing)] = thing
        if not isinstance(thing, kinds):
            waiting += held_by(thing)
            if id(thing) not in given:
                waiting += _moving_in(thing)
    return list(found.values())


def _kinds_of_variables() -> tuple[type, ...]:
    import tensorflow as tf

    return (tf.Variable, keras().Variable)


def _moving_in(thing: Any) -> list[Any]:
    """What an object of Keras's or TensorFlow's changes as it is used: a generator's state, a metric's sums, a mean."""
    import tensorflow as tf

    if isinstance(thing, keras().random.SeedGenerator):
        return [thing.state]
    if isinstance(thing, tf.random.Generator):
        return [thing.state]
    if isinstance(thing, keras().metrics.Metric | keras().optimizers.Optimizer):
        return list(thing.variables)
    if isinstance(thing, keras().layers.Layer):
        each = thing._flatten_layers()
        return [one for layer in each for one in (*layer._non_trainable_variables, *layer._seed_generators)]
    return []


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
