"""KerasTuner: handling failed trials."""

import keras
import keras_tuner
import numpy as np
from keras import layers


def data():
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 20)).astype("float32"), rng.random((60, 1)).astype("float32")
    return (x[:40], y[:40]), (x[40:], y[40:])


def checked(hp, error):
    units_1 = hp.Int("units_1", 10, 40, step=10)
    units_2 = hp.Int("units_2", 10, 30, step=10)
    model = keras.Sequential(
        [keras.Input((20,)), layers.Dense(units=units_1), layers.Dense(units=units_2), layers.Dense(units=1)]
    )
    model.compile(loss="mse")
    n_params = model.count_params()
    if n_params > 1200:
        raise error(f"Model too large! It contains {n_params} params.")
    return model


def tolerated(hp):
    return checked(hp, ValueError)


def marked_as_failed(hp):
    return checked(hp, keras_tuner.errors.FailedTrialError)


def terminates(hp):
    return checked(hp, keras_tuner.errors.FatalError)
