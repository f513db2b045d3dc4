"""keras.io: transfer learning and fine-tuning."""

import keras
import keras_tuner
import numpy as np
from keras import layers


def data():
    rng = np.random.default_rng(0)
    x = (rng.random((80, 8, 8, 3)) * 255).astype("float32")
    y = (x[:, :4].mean((1, 2, 3)) > x[:, 4:].mean((1, 2, 3))).astype("float32")
    return (x[:56], y[:56]), (x[56:], y[56:])


def pretrained():
    """Stands for a network whose weights come from a file."""
    base_model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(4, 3),
        ],
        name="xception",
    )
    rng = np.random.default_rng(7)
    base_model.set_weights([np.abs(rng.normal(size=w.shape)).astype("float32") for w in base_model.get_weights()])
    return base_model


def on_top(base_model, rate, training=False):
    inputs = keras.Input(shape=(8, 8, 3))
    x = layers.Rescaling(scale=1 / 127.5, offset=-1)(inputs)
    x = base_model(x, training=training)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    model = keras.Model(inputs, layers.Dense(1)(x))
    compiled(model, rate)
    return model


def compiled(model, rate):
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy()],
    )


def feature_extraction(hp):
    base_model = pretrained()
    base_model.trainable = False
    return on_top(base_model, hp.Choice("rate", [1e-3, 1e-1]))


def partly_frozen(hp):
    """`trainable` by layers, which spreads to what is inside."""
    base_model = pretrained()
    for layer in base_model.layers[: hp.Choice("frozen", [2, 4])]:
        layer.trainable = False
    return on_top(base_model, 1e-2)


BASE = pretrained()


def module_level_base(hp):
    """The base stands at module level, as in the guide."""
    BASE.trainable = hp.Boolean("tuned")
    return on_top(BASE, 1e-2)


def features_first(hp):
    """The typical lightweight workflow: features computed once, a new model on them."""
    base_model = pretrained()
    base_model.trainable = False
    inputs = keras.Input(shape=(8, 8, 3))
    x = base_model(inputs / 255.0, training=False)
    x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Dense(1)(layers.Dense(hp.Choice("units", [3, 5]), activation="relu")(x)))
    compiled(model, 1e-2)
    return model


class FineTuned(keras_tuner.HyperModel):
    """The top alone, and then everything at a low rate; the second training is the score."""

    def build(self, hp):
        base_model = pretrained()
        base_model.trainable = False
        return on_top(base_model, hp.Choice("rate", [1e-2, 1e-1]))

    def fit(self, hp, model, *args, **kwargs):
        model.fit(*args, **kwargs)
        model.get_layer("xception").trainable = True
        compiled(model, hp.Choice("low", [1e-5, 1e-3]))
        return model.fit(*args, **kwargs)
