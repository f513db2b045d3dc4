"""KerasTuner: tailor the search space. The YAML says what is tuned, and how the model is compiled."""

import keras
import keras_tuner
import numpy as np
from keras import layers


def data():
    rng = np.random.default_rng(0)
    x = rng.random((60, 8, 8, 1)).astype("float32")
    y = rng.integers(0, 3, size=(60, 1))
    return (x[:40], y[:40]), (x[40:], y[40:])


def build_model(hp):
    model = keras.Sequential()
    model.add(layers.Flatten())
    model.add(layers.Dense(units=hp.Int("units", min_value=4, max_value=16, step=4, default=8)))
    if hp.Boolean("dropout"):
        model.add(layers.Dropout(rate=0.25))
    model.add(layers.Dense(units=3, activation="softmax"))
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=hp.Choice("learning_rate", values=[1e-2, 1e-3, 1e-4])),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


class SmallXception(keras_tuner.HyperModel):
    """Built as HyperXception is: blocks of separable convolutions, with what its constructor takes."""

    def __init__(self, input_shape, classes):
        super().__init__()
        self.input_shape, self.classes = input_shape, classes

    def build(self, hp):
        inputs = keras.Input(self.input_shape)
        activation = hp.Choice("activation", ["relu", "selu"])
        filters = hp.Int("filters", 2, 6, step=2, default=4)
        x = layers.Activation(activation)(layers.Conv2D(filters, 3, padding="same")(inputs))
        for _ in range(hp.Int("num_residual_blocks", 1, 2)):
            residual = x
            x = layers.Activation(activation)(layers.SeparableConv2D(filters, 3, padding="same")(x))
            x = layers.BatchNormalization()(x)
            x = layers.add([x, residual])
        pooling = hp.Choice("pooling", ["avg", "flatten"])
        x = layers.GlobalAveragePooling2D()(x) if pooling == "avg" else layers.Flatten()(x)
        x = layers.Dense(self.classes, activation="softmax")(x)
        model = keras.Model(inputs, x)
        model.compile(
            optimizer=keras.optimizers.Adam(hp.Choice("learning_rate", [1e-3, 1e-4, 1e-5])),
            loss="categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model


xception = SmallXception(input_shape=(8, 8, 1), classes=3)


def overridden(hp):
    """What overriding the compile arguments comes to."""
    model = build_model(hp)
    model.compile(keras.optimizers.Adam(1e-3), loss="mse", metrics=["sparse_categorical_crossentropy"])
    return model


def xception_of_integers(hp):
    """The same for a ready-made hypermodel whose loss wants one-hot labels."""
    model = xception.build(hp)
    rate = hp.get("learning_rate")
    model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
