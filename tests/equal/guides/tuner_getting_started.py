"""KerasTuner: getting started."""

import keras
import keras_tuner
import numpy as np
from keras import layers, ops


def data():
    """Small pictures of three classes, one-hot."""
    rng = np.random.default_rng(0)
    x = rng.random((90, 6, 6, 1)).astype("float32")
    y = keras.utils.to_categorical(((x.reshape(90, -1) - 0.5) @ rng.normal(size=(36, 3))).argmax(1), 3)
    return (x[:60], y[:60]), (x[60:], y[60:])


def numbers():
    rng = np.random.default_rng(0)
    x = rng.random((90, 10)).astype("float32")
    y = (x @ rng.normal(size=(10, 1)) + 0.1 * rng.normal(size=(90, 1))).astype("float32")
    return (x[:60], y[:60]), (x[60:], y[60:])


def call_existing_code(units, activation, dropout, lr):
    model = keras.Sequential()
    model.add(layers.Flatten())
    model.add(layers.Dense(units=units, activation=activation))
    if dropout:
        model.add(layers.Dropout(rate=0.25))
    model.add(layers.Dense(3, activation="softmax"))
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=lr), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def existing_code(hp):
    units = hp.Int("units", min_value=4, max_value=12, step=4)
    activation = hp.Choice("activation", ["relu", "tanh"])
    dropout = hp.Boolean("dropout")
    lr = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
    return call_existing_code(units=units, activation=activation, dropout=dropout, lr=lr)


def conditional(hp):
    """As many layers as a hyperparameter says, each with its own units."""
    model = keras.Sequential()
    model.add(layers.Flatten())
    for i in range(hp.Int("num_layers", 1, 3)):
        model.add(
            layers.Dense(
                units=hp.Int(f"units_{i}", min_value=4, max_value=12, step=4),
                activation=hp.Choice("activation", ["relu", "tanh"]),
            )
        )
    if hp.Boolean("dropout"):
        model.add(layers.Dropout(rate=0.25))
    model.add(layers.Dense(3, activation="softmax"))
    learning_rate = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=learning_rate),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def classifier(units):
    model = keras.Sequential()
    model.add(layers.Flatten())
    model.add(layers.Dense(units=units, activation="relu"))
    model.add(layers.Dense(3, activation="softmax"))
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


class TuneFit(keras_tuner.HyperModel):
    """Whether to shuffle, and the size of a batch."""

    def build(self, hp):
        return classifier(hp.Int("units", min_value=4, max_value=12, step=4))

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch_size", [16, 32]), shuffle=hp.Boolean("shuffle"), **kwargs)


class TunePreprocessing(keras_tuner.HyperModel):
    def build(self, hp):
        return classifier(hp.Int("units", min_value=4, max_value=12, step=4))

    def fit(self, hp, model, x, y, **kwargs):
        if hp.Boolean("normalize"):
            x = layers.Normalization(mean=0.5, variance=0.1)(x)
        return model.fit(x, y, shuffle=hp.Boolean("shuffle"), **kwargs)


class TuneImageSize(keras_tuner.HyperModel):
    """A value asked for in `build`, and read again in `fit`."""

    def build(self, hp):
        image_size = hp.Int("image_size", 3, 6)
        inputs = keras.Input(shape=(image_size, image_size, 1))
        outputs = layers.Flatten()(inputs)
        outputs = layers.Dense(units=hp.Int("units", min_value=4, max_value=12, step=4), activation="relu")(outputs)
        outputs = layers.Dense(3, activation="softmax")(outputs)
        model = keras.Model(inputs, outputs)
        model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp, model, x, y, validation_data=None, **kwargs):
        image_size = hp.get("image_size")
        cropped_x = x[:, :image_size, :image_size, :]
        if validation_data:
            x_val, y_val = validation_data
            validation_data = (x_val[:, :image_size, :image_size, :], y_val)
        return model.fit(cropped_x, y, shuffle=hp.Boolean("shuffle"), validation_data=validation_data, **kwargs)


def regressor(hp, **compiled):
    units = hp.Int("units", 4, 12, 4)
    model = keras.Sequential([layers.Dense(units=units, activation="relu"), layers.Dense(units=1)])
    model.compile(optimizer="adam", loss="mean_squared_error", **compiled)
    return model


def built_in_metric(hp):
    return regressor(hp, metrics=[keras.metrics.MeanAbsoluteError()])


class CustomMetric(keras.metrics.Metric):
    def __init__(self, **kwargs):
        super().__init__(name="custom_metric", **kwargs)
        self.sum = self.add_weight(name="sum", initializer="zeros")
        self.count = self.add_weight(name="count", dtype="int32", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        values = ops.square(y_true - y_pred)
        count = ops.shape(y_true)[0]
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, self.dtype)
            values *= sample_weight
            count *= sample_weight
        self.sum.assign_add(ops.sum(values))
        self.count.assign_add(count)

    def result(self):
        return self.sum / ops.cast(self.count, "float32")

    def reset_state(self):
        self.sum.assign(0)
        self.count.assign(0)


def custom_metric(hp):
    return regressor(hp, metrics=[CustomMetric()])


class HyperRegressor(keras_tuner.HyperModel):
    """Returns the number to minimise."""

    def build(self, hp):
        return regressor(hp)

    def fit(self, hp, model, x, y, validation_data, **kwargs):
        model.fit(x, y, **kwargs)
        x_val, y_val = validation_data
        y_pred = model.predict(x_val, verbose=0)
        return np.mean(np.abs(y_pred - y_val))


class HyperRegressorOfTwo(HyperRegressor):
    """Returns several metrics, of which one is the objective."""

    def fit(self, hp, model, x, y, validation_data, **kwargs):
        model.fit(x, y, **kwargs)
        x_val, y_val = validation_data
        y_pred = model.predict(x_val, verbose=0)
        return {"metric_a": -np.mean(np.abs(y_pred - y_val)), "metric_b": np.mean(np.square(y_pred - y_val))}


def keras_code(units, optimizer):
    """Keras code that is kept as it is: builds, trains and measures."""
    (x_train, y_train), (x_val, y_val) = numbers()
    keras.utils.set_random_seed(units)
    model = keras.Sequential([layers.Dense(units=units, activation="relu"), layers.Dense(units=1)])
    model.compile(optimizer=optimizer, loss="mean_squared_error")
    model.fit(x_train, y_train, verbose=0)
    return float(np.mean(np.abs(model.predict(x_val, verbose=0) - y_val)))
