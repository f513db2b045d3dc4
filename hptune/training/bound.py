"""Whether what a model is compiled with belongs to that very model: then no copy of it can train in its place.

A loss that reads a layer's weights, a metric over a hidden layer's output, a rate that follows a bias: of a copy they
would go on reading the model that they were made beside. So would an optimizer that was built, and holds state.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from hptune.training.compiled import scaled_by
from hptune.training.reach import held_by, variables_in
from hptune.training.runtime import keras
from hptune.training.variables import is_of_keras


def is_bound(model: Any) -> bool:
    """Whether the loss, the metrics or the optimizer of a compiled model reach it, or the optimizer holds state."""
    if not model.compiled:
        return False
    optimizer = scaled_by(getattr(model, "optimizer", None))
    if optimizer is not None and _holds_state(optimizer):
        return True
    given = [*_given(model), optimizer]
    layers = list(model._flatten_layers())
    if _reaches(given, {id(one) for one in [*layers, *model.variables]}):
        return True
    theirs = {id(one) for one in variables_in(given)} - {id(one) for one in getattr(optimizer, "variables", ())}
    own = [one for layer in layers if not is_of_keras(layer) for one in (layer, type(layer))]
    return bool(theirs) and not theirs.isdisjoint(id(one) for one in variables_in(own))


def _given(model: Any) -> Iterator[Any]:
    """The losses and metrics as the user's code gave them."""
    loss, metrics = model._compile_loss, model._compile_metrics
    given = [loss._user_loss] if loss is not None else []
    given += [metrics._user_metrics, metrics._user_weighted_metrics] if metrics is not None else []
    yield from keras().tree.flatten(given)


def _holds_state(optimizer: Any) -> bool:
    """Whether it was built, and its step or its slots were set: a fresh one begins with zeros."""
    rate = getattr(optimizer, "_learning_rate", None)
    return optimizer.built and any(np.any(one.numpy()) for one in optimizer.variables if one is not rate)


def _reaches(things: Iterable[Any], targets: set[int]) -> bool:
    seen: set[int] = set()
    waiting = list(things)
    while waiting:
        thing = waiting.pop()
        if id(thing) in targets:
            return True
        if id(thing) in seen or isinstance(thing, str | bytes | int | float | np.ndarray | types.ModuleType):
            continue
        seen.add(id(thing))
        waiting += _within(thing)
    return False


def _within(thing: Any) -> Iterator[Any]:
    """What a thing holds. Of Keras's own objects what was given to them, which is a user's; the layers of models."""
    if isinstance(thing, keras().layers.Layer):
        yield from (one for one in thing._flatten_layers() if one is not thing)
        yield from thing.variables
    if is_of_keras(thing) and not isinstance(thing, type):
        held = getattr(thing, "__dict__", {})
        yield from (one for one in held.values() if callable(one) or isinstance(one, list | tuple | Mapping))
    yield from held_by(thing)
