"""keras.io: making new layers and models via subclassing."""

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from keras import layers, ops


def data():
    rng = np.random.default_rng(0)
    x = rng.random((90, 8)).astype("float32")
    y = (x @ rng.normal(size=(8, 1)) + 0.1 * rng.normal(size=(90, 1))).astype("float32")
    return (x[:60], y[:60]), (x[60:], y[60:])


def themselves():
    (x, _), (held, _) = data()
    return (x, x), (held, held)


class EagerLinear(keras.layers.Layer):
    """Weights in `__init__`, by the size of the input that it is told."""

    def __init__(self, units=32, input_dim=32):
        super().__init__()
        self.w = self.add_weight(shape=(input_dim, units), initializer="random_normal", trainable=True)
        self.b = self.add_weight(shape=(units,), initializer="zeros", trainable=True)

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b


class Linear(keras.layers.Layer):
    """Weights when the input is known."""

    def __init__(self, units=32):
        super().__init__()
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True)
        self.b = self.add_weight(shape=(self.units,), initializer="random_normal", trainable=True)

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b


class SerializedLinear(Linear):
    def __init__(self, units=32, **kwargs):
        keras.layers.Layer.__init__(self, **kwargs)
        self.units = units

    def get_config(self):
        config = super().get_config()
        config.update({"units": self.units})
        return config


class ComputeSum(keras.layers.Layer):
    def __init__(self, input_dim):
        super().__init__()
        self.total = self.add_weight(initializer="zeros", shape=(input_dim,), trainable=False)

    def call(self, inputs):
        self.total.assign(self.total + ops.sum(inputs, axis=0))
        return self.total


class CustomDropout(keras.layers.Layer):
    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs, training=None):
        if training:
            return keras.random.dropout(inputs, rate=self.rate, seed=self.seed_generator)
        return inputs


class ActivityRegularizationLayer(keras.layers.Layer):
    def __init__(self, rate=1e-2):
        super().__init__()
        self.rate = rate

    def call(self, inputs):
        self.add_loss(self.rate * ops.mean(inputs))
        return inputs


class OuterLayer(keras.layers.Layer):
    def __init__(self, rate):
        super().__init__()
        self.activity_reg = ActivityRegularizationLayer(rate)

    def call(self, inputs):
        return self.activity_reg(inputs)


class OuterLayerWithKernelRegularizer(keras.layers.Layer):
    def __init__(self, rate):
        super().__init__()
        self.dense = keras.layers.Dense(6, kernel_regularizer=keras.regularizers.l2(rate))

    def call(self, inputs):
        return self.dense(inputs)


class MLPBlock(keras.layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.linear_1 = Linear(units)
        self.linear_2 = Linear(units)
        self.linear_3 = Linear(1)

    def call(self, inputs):
        x = keras.activations.relu(self.linear_1(inputs))
        x = keras.activations.relu(self.linear_2(x))
        return self.linear_3(x)


def of(*middle, rate=0.01):
    inputs = keras.Input(shape=(8,))
    x = inputs
    for layer in middle:
        x = layer(x)
    model = keras.Model(inputs, x)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="mse", metrics=["mae", "mse"])
    return model


def linear(hp):
    return of(EagerLinear(hp.Choice("units", [3, 5]), 8), layers.Dense(1))


def lazy_linear(hp):
    return of(Linear(hp.Choice("units", [3, 5])), SerializedLinear(4), layers.Dense(1))


def serialized_linear(hp):
    return of(SerializedLinear(hp.Choice("units", [3, 5])), layers.Dense(1))


def compute_sum(hp):
    inputs = keras.Input(shape=(8,))
    x = layers.Dense(hp.Choice("units", [3, 5]))(inputs) + 0.001 * ops.mean(ComputeSum(8)(inputs))
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
    return model


def custom_dropout(hp):
    return of(layers.Dense(8, activation="relu"), CustomDropout(hp.Choice("rate", [0.1, 0.5])), layers.Dense(1))


def composed(hp):
    return of(MLPBlock(hp.Choice("units", [3, 5])))


def activity_regularization(hp):
    return of(layers.Dense(6, activation="relu"), OuterLayer(hp.Choice("rate", [0.1, 3.0])), layers.Dense(1))


def kernel_regularizer(hp):
    return of(OuterLayerWithKernelRegularizer(hp.Choice("rate", [1e-3, 1e-1])), layers.Dense(1))


def added_loss_alone(hp):
    """Compiled without a loss: there is one to minimise already."""
    inputs = keras.Input(shape=(8,))
    outputs = ActivityRegularizationLayer(hp.Choice("rate", [0.1, 3.0]))(layers.Dense(1)(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(optimizer=keras.optimizers.Adam(0.01), metrics=["mae"])
    return model


class Sampling(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        batch = ops.shape(z_mean)[0]
        dim = ops.shape(z_mean)[1]
        epsilon = keras.random.normal(shape=(batch, dim), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


class Encoder(layers.Layer):
    def __init__(self, latent_dim=32, intermediate_dim=64, name="encoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.dense_proj = layers.Dense(intermediate_dim, activation="relu")
        self.dense_mean = layers.Dense(latent_dim)
        self.dense_log_var = layers.Dense(latent_dim)
        self.sampling = Sampling()

    def call(self, inputs):
        x = self.dense_proj(inputs)
        z_mean = self.dense_mean(x)
        z_log_var = self.dense_log_var(x)
        return z_mean, z_log_var, self.sampling((z_mean, z_log_var))


class Decoder(layers.Layer):
    def __init__(self, original_dim, intermediate_dim=64, name="decoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.dense_proj = layers.Dense(intermediate_dim, activation="relu")
        self.dense_output = layers.Dense(original_dim, activation="sigmoid")

    def call(self, inputs):
        return self.dense_output(self.dense_proj(inputs))


class VariationalAutoEncoder(keras.Model):
    def __init__(self, original_dim, intermediate_dim=64, latent_dim=32, name="autoencoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.original_dim = original_dim
        self.encoder = Encoder(latent_dim=latent_dim, intermediate_dim=intermediate_dim)
        self.decoder = Decoder(original_dim, intermediate_dim=intermediate_dim)

    def call(self, inputs):
        z_mean, z_log_var, z = self.encoder(inputs)
        reconstructed = self.decoder(z)
        kl_loss = -0.5 * ops.mean(z_log_var - ops.square(z_mean) - ops.exp(z_log_var) + 1)
        self.add_loss(kl_loss)
        return reconstructed


def vae(hp):
    """By the built-in loop."""
    model = VariationalAutoEncoder(8, 6, hp.Choice("latent_dim", [1, 2]))
    model.compile(
        keras.optimizers.Adam(learning_rate=0.02),
        loss=keras.losses.MeanSquaredError(),
        metrics=[keras.metrics.MeanSquaredError(name="mse")],
    )
    return model


class VaeLoop(keras_tuner.HyperModel):
    """By a loop of its own."""

    def build(self, hp):
        return VariationalAutoEncoder(8, 6, hp.Choice("latent_dim", [1, 2]))

    def fit(self, hp, model, x, y, validation_data=None, epochs=2, **kwargs):
        optimizer = keras.optimizers.Adam(learning_rate=0.02)
        mse_loss_fn = keras.losses.MeanSquaredError()
        loss_metric = keras.metrics.Mean()
        train_dataset = tf.data.Dataset.from_tensor_slices(x).shuffle(buffer_size=1024).batch(20)
        for _ in range(epochs):
            for x_batch_train in train_dataset:
                with tf.GradientTape() as tape:
                    reconstructed = model(x_batch_train)
                    loss = mse_loss_fn(x_batch_train, reconstructed)
                    loss += sum(model.losses)
                grads = tape.gradient(loss, model.trainable_weights)
                optimizer.apply_gradients(zip(grads, model.trainable_weights, strict=True))
                loss_metric(loss)
        return float(loss_metric.result())
