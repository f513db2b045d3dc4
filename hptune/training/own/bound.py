"""Why Keras's own `fit` must train a model: where it can't be shown that a copy, or a graph of another trial, may.

A loss that reads a layer's weights, a metric over a hidden layer, a rate that follows a bias would of a copy go on
reading the model that they were made beside; an optimizer that was built holds state; Python that runs while a graph
does keeps what it counts from trial to trial; and what can't be looked into may do any of these.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hptune.training.models.compiled import scaled_by
from hptune.training.own.attributes import attributes
from hptune.training.own.code_text import names_read
from hptune.training.own.reach import variables_in
from hptune.training.own.sameness import described, is_known, of_own_parts, own_in_stock, unproved, visited
from hptune.training.runtime import keras

_RUNS_PYTHON = frozenset({"numpy_function", "py_function", "py_func", "get_global_generator"})
"""What brings Python, or a generator that all share, into a graph."""

_RATE = frozenset({"learning_rate", "_learning_rate", "lr"})

_READS = "is compiled with what reads that very model"


def why_by_fit(model: Any) -> str | None:
    """Why, in words that follow "the model"; None where it need not be."""
    layers = list(model._flatten_layers())
    own = [layer for layer in layers if not is_known(type(layer))]
    kinds = [type(layer) for layer in own]
    held = [one for layer in layers for one in own_in_stock(layer).values()]
    on_weights = [one for weight in model.weights for one in (weight.regularizer, weight.constraint)]
    held += [one for one in on_weights if one is not None and _is_own(one)]
    given = _given(model) if model.compiled else []
    with visited() as by_compile:
        of_compile = unproved(described(given))
    if of_compile:
        return f"is compiled with {', '.join(of_compile)}, which can't be looked into"
    with visited() as by_code:
        of_layers = unproved([of_own_parts(model), described(kinds), described(_added_to(model))])
    if of_layers:
        return f"holds {', '.join(of_layers)}, which can't be looked into"
    targets = {id(one) for one in layers} | {id(one) for variable in model.variables for one in _forms(variable)}
    if not targets.isdisjoint(_with_layers(by_compile)):
        return _READS
    if given and (theirs := _variables(given, model)) and not theirs.isdisjoint(map(id, variables_in([*own, *kinds]))):
        return _READS
    with visited() as by_name:  # what a layer holds is its own; what its code finds elsewhere may be another build's
        described([*kinds, *held])
    if not targets.isdisjoint(_with_layers(by_name)):
        return "holds code that reads its layers by other ways than its own"
    if any(getattr(one, "overwrite_with_gradient", False) for one in model.trainable_weights):
        return "has weights that gradients overwrite"
    optimizer = scaled_by(getattr(model, "optimizer", None)) if model.compiled else None
    if optimizer is not None and _holds_state(optimizer):
        return "is compiled with an optimizer that holds state"
    reads = [set(names_read(one.__code__)) for one in _functions([*by_compile, *by_code, *by_name])]
    if any("assign" in names and _RATE & names for names in reads):
        return "has code of yours that sets the learning rate as it trains"
    with visited() as by_scores:
        described(given[:-1])
    if model.compiled and not _of_optimizer(model).isdisjoint(map(id, [*by_scores, *by_code, *by_name])):
        return "holds, or is compiled with, what reads that very optimizer"
    if any(_RUNS_PYTHON & names for names in reads):
        return "runs Python of yours, or draws from a generator that all share, as it trains"
    if model.compiled and model.run_eagerly and (own or held or _functions(by_compile)):
        return "runs code of yours eagerly, which may keep what it counts"
    return None


def python_state(model: Any) -> dict[tuple[str, int, str], str]:
    """What objects of the user's classes hold in plain Python, by class, object and attribute: numbers, text, lists."""
    given = _given(model)[:-1] if model.compiled else []
    parts = [one for one in [*model._flatten_layers(), *given] if _is_own(one)]
    found = [(part, name, value) for part in parts for name, value in _by_name(part).items() if name not in _usual()]
    return {(type(part).__name__, id(part), name): repr(value) for part, name, value in found if _is_plain(value)}


def _by_name(part: Any) -> dict[str, Any]:
    """What the user's classes say of an object, and what it holds of its own."""
    classes = [kind for kind in reversed(type(part).__mro__) if not is_known(kind)]
    return {**{name: value for kind in classes for name, value in vars(kind).items()}, **attributes(part)}


def counted(before: Mapping[tuple[str, int, str], str], after: Mapping[tuple[str, int, str], str]) -> list[str]:
    """The attributes, as `Class.name`, that code has changed as a graph was made of it, and so not as it runs.

    One that was not there before may be what code sets at its first call and leaves as it is.
    """
    changed = [key for key, value in after.items() if before.get(key, value) != value]
    return [f"{kind}.{name}" for kind, _, name in changed]


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(one) for pair in value.items() for one in pair)
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def _added_to(model: Any) -> dict[str, Any]:
    """What a model of a class of the user's holds beside layers and what Keras keeps in every model."""
    if is_known(type(model)):
        return {}
    usual, parts = _usual(), keras().layers.Layer | keras().Variable
    held = attributes(model).items()
    return {name: value for name, value in held if name not in usual and not isinstance(value, parts)}


@functools.cache
def _usual() -> frozenset[str]:
    """The attributes of Keras's own models, compiled and called, and of its bare layers, metrics and losses."""
    layer, inputs = keras().layers.Dense(1), keras().Input((1,))
    made = [keras().Sequential([inputs, layer]), keras().Model(inputs, layer(inputs)), keras().Model()]
    for model in made:
        model.compile("sgd", "mse")
    bare = [keras().layers.Layer(), keras().metrics.Metric(), keras().losses.Loss()]
    return frozenset(name for one in [*made, *bare] for name in vars(one))


def _given(model: Any) -> list[Any]:
    """The losses, metrics and, at the end, the optimizer as the user's code gave them."""
    loss, metrics = model._compile_loss, model._compile_metrics
    given = [loss._user_loss] if loss is not None else []
    given += [metrics._user_metrics, metrics._user_weighted_metrics] if metrics is not None else []
    return [*keras().tree.flatten(given), scaled_by(model.optimizer)]


def _with_layers(things: Iterable[Any]) -> set[int]:
    """The identities of the things, and of the layers in those that are layers or models."""
    layers = [one for thing in things if isinstance(thing, keras().layers.Layer) for one in thing._flatten_layers()]
    return {id(one) for some in (things, layers) for one in some}


def _forms(variable: Any) -> tuple[Any, ...]:
    """Keras's variable, and TensorFlow's in it."""
    return variable, variable.value, getattr(variable, "_value", None)


def _variables(given: list[Any], model: Any) -> set[int]:
    """Those that the losses and metrics reach, less the optimizer's own."""
    own = {id(one) for one in getattr(scaled_by(model.optimizer), "variables", ())}
    return {id(one) for one in variables_in(given)} - own


def _of_optimizer(model: Any) -> set[int]:
    """The identities of the compiled optimizer, of one that it scales for, and of their variables."""
    every = {id(one): one for one in (model.optimizer, scaled_by(model.optimizer)) if one is not None}.values()
    variables = [form for one in every for variable in one.variables for form in _forms(variable)]
    return {id(one) for one in (*every, *variables)}


def _holds_state(optimizer: Any) -> bool:
    """Whether it was built, and its step or its slots were set: a fresh one begins with zeros."""
    rate = getattr(optimizer, "_learning_rate", None)
    return optimizer.built and any(np.any(one.numpy()) for one in optimizer.variables if one is not rate)


def _is_own(one: Any) -> bool:
    """Whether it is code of the user's, or an object of a class of his."""
    return not is_known(one if isinstance(one, types.FunctionType | types.MethodType) else type(one))


def _functions(things: Iterable[Any]) -> list[types.FunctionType]:
    """The user's among what was looked into."""
    return [one for one in things if isinstance(one, types.FunctionType) and not is_known(one)]
