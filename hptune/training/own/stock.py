"""Whether a model that was built elsewhere is what its config tells: then a copy of it may train in its place."""

from __future__ import annotations

from typing import Any

from hptune.training.runtime import keras


def is_known(model: Any) -> bool:
    """Whether it is of Keras's own class for a stack or a graph of layers, with Keras's own methods."""
    from keras.src.models.functional import Functional

    own = ("call", "train_step", "test_step", "compute_loss", "compute_metrics", "predict_step")
    return type(model) in (keras().Sequential, Functional) and not vars(model).keys() & set(own)


def is_as_configured(model: Any) -> bool:
    """Whether the constraints and penalties of its weights are those of its layers, which the config tells.

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
