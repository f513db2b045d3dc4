"""Numbers that a graph reads when it runs: where they stand, and that they count as Python's own would."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

from hptune.experiment import dials as table
from hptune.experiment.keras_table import arguments, names
from hptune.training.models.dials import Dial, attach, in_config, in_model
from hptune.training.models.keras_objects import make_layer
from hptune.training.runtime import keras


def traced(function: Any) -> Any:
    """What it gives inside a graph, where dials are read."""
    import tensorflow as tf

    return tf.function(function, autograph=False)()


def dial(value: float) -> Dial:
    keras()
    made = Dial()
    made.set(value)
    return made


def test_the_table_names_what_keras_has() -> None:
    for layer, numbers in table.LAYERS.items():
        assert numbers.keys() <= arguments("layers", layer).keys()
    for regularizer, numbers in table.REGULARIZERS.items():
        assert numbers.keys() <= arguments("regularizers", regularizer).keys()
    known = {name for name in names("optimizers") if name[0].isupper()}
    for optimizer, numbers in table.OPTIMIZERS.items():
        if optimizer in known:  # others are Keras's own without a public name
            assert numbers.keys() <= arguments("optimizers", optimizer).keys()
    assert known <= table.OPTIMIZERS.keys()


def test_a_dial_that_was_never_turned_is_nan() -> None:
    keras()
    forgotten = Dial()
    assert np.isnan(traced(lambda: forgotten * np.ones(3, np.float32)).numpy()).all()
    assert np.isnan(float(dial(0.5))), "Python code that computes with it must not get a number"


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_counts_as_a_number_of_pythons_does(operation: Any, dtype: str) -> None:
    import tensorflow as tf

    value, number = tf.constant([0.5, 3.0], dtype), 0.999
    turned = dial(number)
    for dialled, plain in (
        (lambda: operation(value, turned), lambda: operation(value, number)),
        (lambda: operation(turned, value), lambda: operation(number, value)),
        (lambda: operation(1, turned) * value, lambda: operation(1, number) * value),
        (lambda: value * operation(turned, 0.25), lambda: value * operation(number, 0.25)),
    ):
        ours, theirs = traced(dialled), traced(plain)
        assert ours.dtype == theirs.dtype
        noise = 2e-7 if dtype == "float32" else 0.0  # division by a constant becomes a multiplication in the graph
        np.testing.assert_allclose(np.asarray(ours, np.float64), np.asarray(theirs, np.float64), rtol=noise)


def test_one_less_a_number_keeps_its_digits() -> None:
    """In float32 1 - 0.999 is off in the fifth digit; Keras computes it in Python."""
    turned = dial(0.999)
    assert traced(lambda: (1 - turned) * np.ones(1, np.float32)).numpy()[0] == np.float32(1 - 0.999)


NESTED = {
    "LSTM": ("LSTM", {"units": 3, "kernel_regularizer": {"L2": {"l2": "?"}}}, (4, 2)),
    "GRU": ("GRU", {"units": 3, "recurrent_regularizer": {"l1": {"l1": "?"}}}, (4, 2)),
    "ConvLSTM1D": ("ConvLSTM1D", {"filters": 2, "kernel_size": 2, "bias_regularizer": {"L2": {"l2": "?"}}}, (3, 5, 2)),
    "attention": (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 2, "kernel_regularizer": {"L2": {"l2": "?"}}},
        (4, 2),
    ),
    "Bidirectional": (
        "Bidirectional",
        {"layer": {"LSTM": {"units": 3, "kernel_regularizer": {"L1L2": {"l1": 0.5, "l2": "?"}}}}},
        (4, 2),
    ),
    "TimeDistributed": (
        "TimeDistributed",
        {"layer": {"Dense": {"units": 3, "kernel_regularizer": {"L2": {"l2": "?"}}}}},
        (4, 2),
    ),
    "cells": (
        "RNN",
        {
            "cell": {
                "StackedRNNCells": {
                    "cells": [
                        {"GRUCell": {"units": 3, "kernel_regularizer": {"L2": {"l2": "?"}}}},
                        {"LSTMCell": {"units": 2}},
                    ]
                }
            }
        },
        (4, 2),
    ),
    "separable": (
        "SeparableConv1D",
        {"filters": 3, "kernel_size": 2, "depthwise_regularizer": {"L2": {"l2": "?"}}},
        (5, 2),
    ),
}


def filled(value: Any, number: Any) -> Any:
    """The arguments with the number in the place of "?"."""
    if isinstance(value, dict):
        return {key: filled(one, number) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, number) for one in value]
    return number if value == "?" else value


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("strength", [0.0, 0.1, 3.0])
def test_a_penalty_reaches_wherever_keras_puts_it(name: str, strength: float) -> None:
    """Beside the stock layer with the number itself, of the same weights."""
    kind, given, shape = NESTED[name]
    ((path, number),) = [
        one for one in table.in_arguments(kind, filled(given, strength)) if one[0][-1] != "l1" or name == "GRU"
    ]
    assert number == strength
    turned = dial(float("nan"))
    ours = make_layer(kind, in_config(filled(given, strength), [path], turned))
    theirs = make_layer(kind, filled(given, strength))
    shapes = ((None, *shape), (None, *shape)) if name == "attention" else ((None, *shape),)
    for layer in (ours, theirs):
        layer.build(*shapes)
        rng = np.random.default_rng(0)
        layer.set_weights([rng.normal(size=one.shape) for one in layer.get_weights()])
    turned.set(strength)
    told = [[float(one) for one in traced(lambda layer=layer: list(layer.losses))] for layer in (ours, theirs)]
    assert turned.placed > 0
    assert told[0] == pytest.approx(told[1], rel=1e-6)


def test_what_is_not_known_stays_structure() -> None:
    assert not list(table.in_arguments("mine:Dropout", {"rate": 0.5, "kernel_regularizer": {"L2": {"l2": 0.1}}}))
    assert not list(table.in_arguments("Dense", {"kernel_regularizer": {"OrthogonalRegularizer": {"factor": 0.1}}}))
    assert not list(table.in_arguments("Dropout", {"rate": 1.0}))
    assert not list(table.in_arguments("Dense", {"kernel_regularizer": "l2"}))
    given = {"rate": 0.5, "kernel_regularizer": {"L2": {"l2": 0.1}}}
    assert table.bare("mine:Dropout", given) == given


def test_in_a_built_model_only_what_is_shown_to_count_is_a_dial() -> None:
    """The regulariser of an LSTM stands in its cell, where it is not looked for: it stays a number, and structure."""

    class Dropout(keras().layers.Layer):  # type: ignore[misc]  # a user's own of a stock name
        def __init__(self, rate: float, **more: Any) -> None:
            super().__init__(**more)
            self.rate = rate

        def call(self, x: Any) -> Any:
            return x * self.rate

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "rate": self.rate}

    layers, l2 = keras().layers, keras().regularizers.L2
    model = keras().Sequential(
        [
            keras().Input((4, 2)),
            layers.LSTM(3, kernel_regularizer=l2(0.1)),
            Dropout(0.5),
            layers.Dense(2, kernel_regularizer=l2(0.2)),
            layers.Dropout(0.3),
            layers.Dropout(1.0),
        ]
    )
    places = list(in_model(model, model.get_config()))
    assert {place.name: place.number for place in places} == {"2.kernel_regularizer.l2": 0.2, "3.rate": 0.3}
    for place in places:
        value: Any = model.get_config()
        for step in place.path:
            value = value[step]
        assert value == place.number
    dials = attach(places)
    assert all(one.placed == 1 for one in dials.values())
