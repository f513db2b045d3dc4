"""Why Keras's own `fit` must train a model: where it can't be shown that a copy, or a graph of another trial, may.

A loss that reads a layer's weights, a metric over a hidden layer, or a rate that follows a bias would, in a copy, go on
reading the model that they were made with. An optimizer that was built holds state. Python that runs with a graph keeps
what it counts from trial to trial. And what can't be looked into may do any of these.
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
"""Names that bring Python, or a shared random generator, into a graph."""

_RATE = frozenset({"learning_rate", "_learning_rate", "lr"})

_READS = "is compiled with what reads that very model"


def why_by_fit(model: Any) -> str | None:
    """Why `fit` must train it, in words that follow "the model"; None where it need not."""
    layers = list(model._flatten_layers())
    own = [layer for layer in layers if not is_known(type(layer))]
    kinds = [type(layer) for layer in own]
    held = [one for layer in layers for one in own_in_stock(layer).values()]
    on_weights = [one for weight in model.weights for one in (weight.regularizer, weight.constraint)]
    held += [one for one in on_weights if one is not None and _is_own(one)]
    compiled_with = _compiled_with(model) if model.compiled else []
    with visited() as by_compile:
        of_compile = unproved(described(compiled_with))
    if of_compile:
        return f"is compiled with {', '.join(of_compile)}, which can't be looked into"
    with visited() as by_code:
        of_layers = unproved([of_own_parts(model), described(kinds), described(_added_to(model))])
    if of_layers:
        return f"holds {', '.join(of_layers)}, which can't be looked into"
    targets = {id(one) for one in layers} | {id(one) for variable in model.variables for one in _forms(variable)}
    if not targets.isdisjoint(_with_layers(by_compile)):
        return _READS
    if (
        compiled_with
        and (theirs := _variables(compiled_with, model))
        and not theirs.isdisjoint(map(id, variables_in([*own, *kinds])))
    ):
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
        described(compiled_with[:-1])
    if model.compiled and not _of_optimizer(model).isdisjoint(map(id, [*by_scores, *by_code, *by_name])):
        return "holds, or is compiled with, what reads that very optimizer"
    if any(_RUNS_PYTHON & names for names in reads):
        return "runs Python of yours, or draws from a generator that all share, as it trains"
    if model.compiled and model.run_eagerly and (own or held or _functions(by_compile)):
        return "runs code of yours eagerly, which may keep what it counts"
    return None


def python_state(model: Any) -> dict[tuple[str, int, str], str]:
    """The plain Python values (numbers, text, lists) in the user's objects, by (class, object, attribute)."""
    compiled_with = _compiled_with(model)[:-1] if model.compiled else []
    parts = [one for one in [*model._flatten_layers(), *compiled_with] if _is_own(one)]
    held = [(part, name, value) for part in parts for name, value in _by_name(part).items() if name not in _usual()]
    return {(type(part).__name__, id(part), name): repr(value) for part, name, value in held if _is_plain(value)}


def _by_name(part: Any) -> dict[str, Any]:
    """The attributes of an object's user-made classes, and the object's own, by name."""
    classes = [kind for kind in reversed(type(part).__mro__) if not is_known(kind)]
    return {**{name: value for kind in classes for name, value in vars(kind).items()}, **attributes(part)}


def changed_in_tracing(
    before: Mapping[tuple[str, int, str], str], after: Mapping[tuple[str, int, str], str]
) -> list[str]:
    """The attributes, as `Class.name`, that code changed while it was traced, and so not when the graph runs.

    One that was not there before may have been set at the first call for good.
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
    """The attributes of a model of the user's class, without layers and what Keras keeps in every model."""
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


def _compiled_with(model: Any) -> list[Any]:
    """The losses, the metrics and, last, the optimizer as the user's code passed them to `compile`."""
    loss, metrics = model._compile_loss, model._compile_metrics
    user_objects = [loss._user_loss] if loss is not None else []
    user_objects += [metrics._user_metrics, metrics._user_weighted_metrics] if metrics is not None else []
    return [*keras().tree.flatten(user_objects), scaled_by(model.optimizer)]


def _with_layers(objects: Iterable[Any]) -> set[int]:
    """The identities of the objects, and of the layers inside those that are layers or models."""
    layers = [one for obj in objects if isinstance(obj, keras().layers.Layer) for one in obj._flatten_layers()]
    return {id(one) for some in (objects, layers) for one in some}


def _forms(variable: Any) -> tuple[Any, ...]:
    """A Keras variable, and TensorFlow's variable in it."""
    return variable, variable.value, getattr(variable, "_value", None)


def _variables(compiled_with: list[Any], model: Any) -> set[int]:
    """The identities of variables that the losses and metrics reach, except the optimizer's own."""
    own = {id(one) for one in getattr(scaled_by(model.optimizer), "variables", ())}
    return {id(one) for one in variables_in(compiled_with)} - own


def _of_optimizer(model: Any) -> set[int]:
    """The identities of the compiled optimizer, of one inside it, and of their variables."""
    every = {id(one): one for one in (model.optimizer, scaled_by(model.optimizer)) if one is not None}.values()
    variables = [form for one in every for variable in one.variables for form in _forms(variable)]
    return {id(one) for one in (*every, *variables)}


def _holds_state(optimizer: Any) -> bool:
    """Whether it was built and its step or slots are not zeros, as a fresh one's are."""
    rate = getattr(optimizer, "_learning_rate", None)
    return optimizer.built and any(np.any(one.numpy()) for one in optimizer.variables if one is not rate)


def _is_own(obj: Any) -> bool:
    """Whether it is the user's code, or an object of a class of theirs."""
    return not is_known(obj if isinstance(obj, types.FunctionType | types.MethodType) else type(obj))


def _functions(objects: Iterable[Any]) -> list[types.FunctionType]:
    """The user's functions among the objects."""
    return [one for one in objects if isinstance(one, types.FunctionType) and not is_known(one)]
