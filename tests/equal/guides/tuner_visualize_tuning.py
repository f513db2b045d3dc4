"""KerasTuner: visualise the hyperparameter tuning process: the model of the guide, of either kind."""

import keras
import numpy as np
from keras import layers


def data():
    rng = np.random.default_rng(0)
    x = rng.random((60, 10, 10, 1)).astype("float32")
    y = (x.reshape(60, -1) @ rng.normal(size=(100, 3))).argmax(1)
    return (x[:40], y[:40]), (x[40:], y[40:])


def build_model(hp):
    inputs = keras.Input(shape=(10, 10, 1))
    model_type = hp.Choice("model_type", ["mlp", "cnn"])
    x = inputs
    if model_type == "mlp":
        x = layers.Flatten()(x)
        for i in range(hp.Int("mlp_layers", 1, 3)):
            x = layers.Dense(units=hp.Int(f"units_{i}", 4, 12, step=4), activation="relu")(x)
    else:
        for i in range(hp.Int("cnn_layers", 1, 2)):
            x = layers.Conv2D(hp.Int(f"filters_{i}", 2, 6, step=2), kernel_size=(3, 3), activation="relu")(x)
            x = layers.MaxPooling2D(pool_size=(2, 2))(x)
        x = layers.Flatten()(x)
    if hp.Boolean("dropout"):
        x = layers.Dropout(0.5)(x)
    outputs = layers.Dense(units=3, activation="softmax")(x)
    model = keras.Model(inputs=inputs, outputs=outputs)
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"], optimizer="adam")
    return model
