"""keras.io: training and evaluation with the built-in methods."""

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from keras import layers, ops


def data():
    rng = np.random.default_rng(0)
    x = rng.random((90, 8)).astype("float32")
    y = (x @ rng.normal(size=(8, 3))).argmax(1).astype("float32")
    return (x[:60], y[:60]), (x[60:], y[60:])


def one_hot():
    return tuple((x, keras.utils.to_categorical(y, 3)) for x, y in data())


def weighted():
    return tuple((x, y, np.where(y == 1, 2.0, 1.0).astype("float32")) for x, y in data())


def get_uncompiled_model(units, *middle, activation="softmax"):
    inputs = keras.Input(shape=(8,), name="digits")
    x = layers.Dense(units, activation="relu", name="dense_1")(inputs)
    for layer in middle:
        x = layer(x)
    x = layers.Dense(6, activation="relu", name="dense_2")(x)
    outputs = layers.Dense(3, activation=activation, name="predictions")(x)
    return keras.Model(inputs=inputs, outputs=outputs)


def get_compiled_model(hp):
    model = get_uncompiled_model(hp.Choice("units", [4, 8]))
    model.compile(optimizer="rmsprop", loss="sparse_categorical_crossentropy", metrics=["sparse_categorical_accuracy"])
    return model


def by_objects(hp):
    model = get_uncompiled_model(hp.Choice("units", [4, 8]))
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )
    return model


def custom_mean_squared_error(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def loss_function(hp):
    model = get_uncompiled_model(hp.Choice("units", [4, 8]))
    model.compile(optimizer=keras.optimizers.Adam(), loss=custom_mean_squared_error)
    return model


class CustomMSE(keras.losses.Loss):
    def __init__(self, regularization_factor=0.1, name="custom_mse"):
        super().__init__(name=name)
        self.regularization_factor = regularization_factor

    def call(self, y_true, y_pred):
        mse = ops.mean(ops.square(y_true - y_pred), axis=-1)
        reg = ops.mean(ops.square(0.5 - y_pred), axis=-1)
        return mse + reg * self.regularization_factor


def loss_class(hp):
    model = get_uncompiled_model(8)
    model.compile(optimizer=keras.optimizers.Adam(), loss=CustomMSE(hp.Choice("factor", [0.1, 2.0])))
    return model


class CategoricalTruePositives(keras.metrics.Metric):
    def __init__(self, name="categorical_true_positives", **kwargs):
        super().__init__(name=name, **kwargs)
        self.true_positives = self.add_variable(shape=(), name="ctp", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.reshape(ops.argmax(y_pred, axis=1), (-1, 1))
        values = ops.cast(ops.reshape(y_true, (-1, 1)), "int32") == ops.cast(y_pred, "int32")
        values = ops.cast(values, "float32")
        if sample_weight is not None:
            values = ops.multiply(values, ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1)))
        self.true_positives.assign(self.true_positives + ops.sum(values))

    def result(self):
        return self.true_positives + 0  # the guide's `.value` is the variable: by then `fit` tells validation's

    def reset_state(self):
        self.true_positives.assign(0.0)


def custom_metric(hp):
    model = get_uncompiled_model(hp.Choice("units", [4, 8]))
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=[CategoricalTruePositives()],
    )
    return model


class ActivityRegularizationLayer(layers.Layer):
    def call(self, inputs):
        self.add_loss(ops.sum(inputs) * 0.1)
        return inputs


def activity_regularization(hp):
    model = get_uncompiled_model(hp.Choice("units", [4, 8]), ActivityRegularizationLayer(), activation=None)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="plain")
    model.compile(optimizer=keras.optimizers.RMSprop(learning_rate=1e-3), loss=loss, metrics=[plain])
    return model


def schedule(hp):
    """A learning rate that falls by itself."""
    model = get_uncompiled_model(8)
    lr_schedule = keras.optimizers.schedules.ExponentialDecay(
        hp.Choice("initial", [0.1, 0.01]), decay_steps=3, decay_rate=0.5, staircase=True
    )
    model.compile(optimizer=keras.optimizers.RMSprop(learning_rate=lr_schedule), loss="sparse_categorical_crossentropy")
    return model


class LossHistory(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.per_batch_losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.per_batch_losses.append(logs["loss"])


class HyperCallbacks(keras_tuner.HyperModel):
    """EarlyStopping and ReduceLROnPlateau beside the tuner's own callbacks, and a batch size of its own."""

    def build(self, hp):
        return get_compiled_model(hp)

    def fit(self, hp, model, *args, callbacks=(), **kwargs):
        early = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=1e-2, patience=2)
        plateau = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=1)
        given = [*callbacks, early, plateau, LossHistory()]
        return model.fit(*args, epochs=6, batch_size=16, callbacks=given, **kwargs)


class HyperSplit(keras_tuner.HyperModel):
    """Its own holdout of the training samples in place of the tuner's."""

    def build(self, hp):
        return get_compiled_model(hp)

    def fit(self, hp, model, x, y, validation_data=None, **kwargs):
        return model.fit(x, y, batch_size=16, validation_split=hp.Choice("split", [0.2, 0.5]), **kwargs)


class HyperWeights(keras_tuner.HyperModel):
    """Its own class weights, and steps that it counts out of a data set."""

    def build(self, hp):
        return get_compiled_model(hp)

    def fit(self, hp, model, x, y, **kwargs):
        model.fit(x, y, class_weight={0: 1.0, 1: hp.Choice("weight", [2.0, 20.0]), 2: 1.0}, **kwargs)
        train = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(1024).repeat().batch(16)
        return model.fit(train, steps_per_epoch=3, **kwargs)


class CIFAR10Sequence(keras.utils.PyDataset):
    def __init__(self, x_set, y_set, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.batch_size = x_set, y_set, batch_size

    def __len__(self):
        return int(np.ceil(len(self.x) / float(self.batch_size)))

    def __getitem__(self, idx):
        part = slice(idx * self.batch_size, (idx + 1) * self.batch_size)
        return self.x[part], self.y[part]


class HyperSequence(keras_tuner.HyperModel):
    """Batches from a PyDataset."""

    def build(self, hp):
        return get_compiled_model(hp)

    def fit(self, hp, model, x, y, **kwargs):
        return model.fit(CIFAR10Sequence(x, y, 20), **kwargs)
