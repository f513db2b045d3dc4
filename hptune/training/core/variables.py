"""The state that a trial begins with, carries on and leaves: more than what Keras counts as a model's variables."""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hptune.training.own.reach import reached, variables_in
from hptune.training.own.sameness import is_known, own_in_stock
from hptune.training.runtime import keras


def own_state(model: Any) -> list[Any]:
    """State that Keras does not count as a model's variables, but that the user's code may carry on.

    That is TensorFlow's own variables in the user's layers, all variables of the user's metrics, and the variables that
    the loss, the metrics, functions in layers and the schedule read.
    """
    kept = [variable for metric in parts_of(model.metrics) if not is_of_keras(metric) for variable in metric.variables]
    optimizers = [variable for optimizer in _optimizers(model) for variable in optimizer.variables]
    variables = {id(one): one for one in [*plain_variables(model), *kept, *optimizers, *variables_in(code_of(model))]}
    optimizer = getattr(model, "optimizer", None)
    variables = {
        k: v for k, v in variables.items() if optimizer is None or all(v is not one for one in optimizer.variables)
    }
    known = {id(one) for variable in model.variables for one in (variable, variable.value)}
    return [one for key, one in variables.items() if key not in known]


def parts_of(metrics: Iterable[Any]) -> list[Any]:
    """The metrics, with Keras's container for `compile` replaced by the metrics in it."""
    return [one for metric in metrics for one in getattr(metric, "metrics", [metric])]


def begun_otherwise(model: Any) -> list[Any]:
    """The compiled metrics that `reset_state` would set to other values than those that they were made with.

    Such is a maximum that begins at -inf and has no `reset_state` of its own, so that it is reset to 0.
    """
    compiled = [id(one) for one in parts_of([model._compile_metrics])] if model._compile_metrics is not None else []
    own = [one for one in parts_of(model.metrics) if id(one) in compiled and not is_of_keras(one)]
    return [metric for metric in own if _reset_differs(metric)]


def _reset_differs(metric: Any) -> bool:
    made = [variable.numpy() for variable in metric.variables]
    metric.reset_state()
    reset = [variable.numpy() for variable in metric.variables]
    put(metric.variables, made)
    return any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(made, reset, strict=True))


def code_of(model: Any) -> list[Any]:
    """The user's code beside layers: the loss, functions of metrics, functions in layers, a schedule."""
    tree = keras().tree
    loss, metrics = model._compile_loss, model._compile_metrics
    compiled_parts = [loss._user_loss] if loss is not None else []
    compiled_parts += [metrics._user_metrics, metrics._user_weighted_metrics] if metrics is not None else []
    compiled = [one for some in compiled_parts for one in tree.flatten(some)]
    functions = [getattr(one, name, None) for one in compiled for name in ("fn", "_fn")]
    layers = [own_in_stock(layer) for layer in model._flatten_layers() if is_of_keras(layer)]
    own = [vars(layer) for layer in model._flatten_layers() if not is_of_keras(layer)]
    code: list[Any] = [value for held in own for value in held.values() if isinstance(value, types.FunctionType)]
    code += [type(layer) for layer in model._flatten_layers() if not is_of_keras(layer)]
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
    own_kinds = [
        kind for kind in type(optimizer).__mro__ if not (is_known(kind) or kind.__module__.startswith("hptune."))
    ]
    held = vars(optimizer).values() if optimizer is not None else ()
    code.append([value for value in held if own_kinds or isinstance(value, types.FunctionType | types.MethodType)])
    code += own_kinds
    return [*compiled, *functions, *layers, *code, getattr(optimizer, "_learning_rate", None)]


def plain_variables(model: Any) -> list[Any]:
    """TensorFlow's own variables in the user's layers: Keras neither counts nor saves them."""
    import tensorflow as tf

    held = [one for one in _held(model) if isinstance(one, tf.Variable)]
    known = {id(one) for variable in model.variables for one in (variable, variable.value)}
    return [one for one in {id(one): one for one in held}.values() if id(one) not in known]


def _optimizers(model: Any) -> list[Any]:
    """The optimizers that a user's model holds for a step of its own, beside the compiled one."""
    optimizers = [one for one in _held(model) if isinstance(one, keras().optimizers.Optimizer)]
    return [
        one for one in {id(one): one for one in optimizers}.values() if one is not getattr(model, "optimizer", None)
    ]


def _held(model: Any) -> list[Any]:
    own = [layer for layer in model._flatten_layers() if not is_of_keras(layer)]
    return [one for layer in own for value in vars(layer).values() for one in _inside(value)]


def _inside(value: Any) -> list[Any]:
    """The value itself, or all values in a list or dictionary."""
    if isinstance(value, list | tuple):
        return [one for inner in value for one in _inside(inner)]
    return [one for inner in value.values() for one in _inside(inner)] if isinstance(value, dict) else [value]


def is_of_keras(obj: Any) -> bool:
    """Whether its class is Keras's or hptune's, and not the user's."""
    return type(obj).__module__.split(".")[0] in ("keras", "hptune")


def seeded(model: Any) -> set[int]:
    """The identities of variables that are states of random generators with a seed of their own."""
    generators = [
        generator
        for layer in model._flatten_layers()
        for generator in layer._seed_generators
        if not getattr(layer, DREW_A_SEED, False)
    ]
    generators += [one for one in reached(code_of(model)) if isinstance(one, keras().random.SeedGenerator)]
    return {id(one.state) for one in generators if one._initial_seed is not None}


DREW_A_SEED = "drew_a_seed"
"""Set on a layer without a seed whose config has one nevertheless: `RandomCrop` draws one when it is made."""


def put(variables: Sequence[Any], values: Sequence[Any]) -> None:
    """Assign to Keras's variables through TensorFlow's own, in a third of the time, which matters for dense nets."""
    import tensorflow as tf

    for variable, value in zip(variables, values, strict=True):
        inner = variable if isinstance(variable, tf.Variable) else variable.value
        inner.assign(tf.cast(value, variable.dtype), read_value=False)
