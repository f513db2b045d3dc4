"""Whether the config of a model built elsewhere holds all of it: then a copy may train in its place."""

from __future__ import annotations

from typing import Any

from hptune.training.runtime import keras


def is_known(model: Any) -> bool:
    """Whether its class is Keras's own for a stack or a graph of layers, and its methods are Keras's."""
    from keras.src.models.functional import Functional

    own = ("call", "train_step", "test_step", "compute_loss", "compute_metrics", "predict_step")
    return type(model) in (keras().Sequential, Functional) and not vars(model).keys() & set(own)


def is_as_configured(model: Any) -> bool:
    """Whether the constraints and penalties of its weights are those of its layers, which the config holds.

    A builder may set others on a variable, or on a layer when its variables are there.
    """
    kinds = (keras().constraints.Constraint, keras().regularizers.Regularizer)
    layers = list(model._flatten_layers(include_self=False))
    held = {
        id(value)
        for layer in layers
        for name, value in vars(layer).items()
        if isinstance(value, kinds) and name != "activity_regularizer"
    }
    used = {
        id(one)
        for layer in layers
        for variable in layer._trainable_variables + layer._non_trainable_variables
        for one in (getattr(variable, "constraint", None), getattr(variable, "regularizer", None))
        if one is not None
    }
    return held == used
