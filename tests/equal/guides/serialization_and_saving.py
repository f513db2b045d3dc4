"""keras.io: save, serialize and export models."""

import keras
import numpy as np
from keras import ops


def data():
    rng = np.random.default_rng(0)
    x = rng.random((90, 4)).astype("float32")
    y = (x @ rng.normal(size=(4, 1)) + 0.1 * rng.normal(size=(90, 1))).astype("float32")
    return (x[:60], y[:60]), (x[60:], y[60:])


@keras.saving.register_keras_serializable(package="MyLayers")
class RegisteredLayer(keras.layers.Layer):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {"factor": self.factor}


@keras.saving.register_keras_serializable(package="my_package", name="custom_fn")
def custom_fn(x):
    return x**2


class CustomLayer(keras.layers.Layer):
    """Neither registered nor with a config."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


class Wrapped(keras.layers.Layer):
    """Takes a layer, which its config serialises."""

    def __init__(self, sublayer, **kwargs):
        super().__init__(**kwargs)
        self.sublayer = sublayer

    def call(self, x):
        return self.sublayer(x)

    def get_config(self):
        return {**super().get_config(), "sublayer": keras.saving.serialize_keras_object(self.sublayer)}

    @classmethod
    def from_config(cls, config):
        sublayer = keras.saving.deserialize_keras_object(config.pop("sublayer"))
        return cls(sublayer, **config)


class StatefulLayer(keras.layers.Layer):
    """Saves its variables by methods of its own, as in the guide on customising saving."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer="glorot_uniform")

    def call(self, x):
        return ops.matmul(x, self.kernel)

    def get_config(self):
        return {**super().get_config(), "units": self.units}

    def save_own_variables(self, store):
        store["kernels"] = self.kernel.numpy()

    def load_own_variables(self, store):
        self.kernel.assign(store["kernels"])


class CustomModel(keras.Model):
    def __init__(self, hidden_units, **kwargs):
        super().__init__(**kwargs)
        self.hidden_units = hidden_units
        self.dense_layers = [keras.layers.Dense(u) for u in hidden_units]

    def call(self, inputs):
        x = inputs
        for layer in self.dense_layers:
            x = layer(x)
        return x

    def get_config(self):
        return {**super().get_config(), "hidden_units": self.hidden_units}


def of(layer, activation=None):
    inputs = keras.Input(shape=(4,))
    outputs = keras.layers.Dense(1, activation=activation)(layer(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="rmsprop", loss="mean_squared_error")
    return model


def registered(hp):
    return of(RegisteredLayer(hp.Choice("factor", [0.5, 2.0])), custom_fn)


def not_registered(hp):
    return of(CustomLayer(hp.Choice("factor", [0.5, 2.0])), custom_fn)


def with_a_sublayer(hp):
    return of(Wrapped(keras.layers.Dense(hp.Choice("units", [3, 5]), activation="relu")))


def saves_its_own_variables(hp):
    return of(StatefulLayer(hp.Choice("units", [3, 5])))


def custom_model(hp):
    model = CustomModel([hp.Choice("units", [3, 5]), 1])
    model.compile(optimizer="rmsprop", loss="mean_squared_error")
    return model


def serialized_and_back(hp):
    """In-memory cloning, from_config, JSON: the model that trains is the last."""
    model = of(Wrapped(keras.layers.Dense(hp.Choice("units", [3, 5]))))
    with keras.saving.custom_object_scope({"Wrapped": Wrapped}):
        model = keras.models.clone_model(model)
        model = keras.Model.from_config(model.get_config())
        model = keras.models.model_from_json(model.to_json())
    model.compile(optimizer="rmsprop", loss="mean_squared_error")
    return model


def weights_handed_over(hp):
    """Weights of one layer put into another."""
    one, other = of(keras.layers.Dense(hp.Choice("units", [3, 5]))), of(keras.layers.Dense(hp.get("units")))
    rng = np.random.default_rng(3)
    one.set_weights([rng.normal(size=w.shape).astype("float32") for w in one.get_weights()])
    other.layers[1].set_weights(one.layers[1].get_weights())
    return other
