"""keras.io: customizing what happens in fit() with TensorFlow."""

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from keras import layers


def data():
    rng = np.random.default_rng(0)
    x = rng.random((90, 8)).astype("float32")
    y = (x @ rng.normal(size=(8, 1)) + 0.1 * rng.normal(size=(90, 1))).astype("float32")
    return (x[:60], y[:60]), (x[60:], y[60:])


def weighted():
    rng = np.random.default_rng(1)
    return tuple((x, y, rng.random(len(x)).astype("float32")) for x, y in data())


def digits():
    """Small pictures, whose target is never looked at."""
    rng = np.random.default_rng(0)
    x = rng.random((72, 8, 8, 1)).astype("float32")
    return (x[:48], x[:48, 0, 0]), (x[48:], x[48:, 0, 0])


def built(kind, hp):
    inputs = keras.Input(shape=(8,))
    x = layers.Dense(hp.Choice("units", [4, 6]), activation="relu")(inputs)
    return kind(inputs, layers.Dense(1)(x))


class SimpleModel(keras.Model):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        trainable_vars = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, trainable_vars), trainable_vars)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


def simple(hp):
    model = built(SimpleModel, hp)
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    return model


class LowerModel(keras.Model):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.mae_metric = keras.metrics.MeanAbsoluteError(name="mae")
        self.loss_fn = keras.losses.MeanSquaredError()

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.loss_fn(y, y_pred)
        trainable_vars = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, trainable_vars), trainable_vars)
        self.loss_tracker.update_state(loss)
        self.mae_metric.update_state(y, y_pred)
        return {"loss": self.loss_tracker.result(), "mae": self.mae_metric.result()}

    @property
    def metrics(self):
        return [self.loss_tracker, self.mae_metric]


def going_lower_level(hp):
    """The guide's class has no test_step: its figures are those of training."""
    model = built(LowerModel, hp)
    model.compile(optimizer="adam")
    return model


class HyperLower(keras_tuner.HyperModel):
    """The same without validation, as the guide calls `fit`."""

    def build(self, hp):
        return going_lower_level(hp)

    def fit(self, hp, model, x, y, validation_data=None, **kwargs):
        return model.fit(x, y, **kwargs)


class WeightedModel(keras.Model):
    def train_step(self, data):
        if len(data) == 3:
            x, y, sample_weight = data
        else:
            sample_weight = None
            x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight)
        trainable_vars = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, trainable_vars), trainable_vars)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred, sample_weight=sample_weight)
        return {m.name: m.result() for m in self.metrics}


def sample_weight(hp):
    model = built(WeightedModel, hp)
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    return model


class Evaluated(keras.Model):
    def test_step(self, data):
        x, y = data
        y_pred = self(x, training=False)
        loss = self.compute_loss(y=y, y_pred=y_pred)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


def evaluation_step(hp):
    model = built(Evaluated, hp)
    model.compile(optimizer=keras.optimizers.Adam(hp.Choice("rate", [0.01, 0.1])), loss="mse", metrics=["mae"])
    return model


class GAN(keras.Model):
    def __init__(self, discriminator, generator, latent_dim):
        super().__init__()
        self.discriminator = discriminator
        self.generator = generator
        self.latent_dim = latent_dim
        self.d_loss_tracker = keras.metrics.Mean(name="d_loss")
        self.g_loss_tracker = keras.metrics.Mean(name="g_loss")
        self.seed_generator = keras.random.SeedGenerator(1337)

    @property
    def metrics(self):
        return [self.d_loss_tracker, self.g_loss_tracker]

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.loss_fn = loss_fn

    def train_step(self, real_images):
        if isinstance(real_images, tuple):
            real_images = real_images[0]
        batch_size = tf.shape(real_images)[0]
        latent = keras.random.normal(shape=(batch_size, self.latent_dim), seed=self.seed_generator)
        combined_images = tf.concat([self.generator(latent), real_images], axis=0)
        labels = tf.concat([tf.ones((batch_size, 1)), tf.zeros((batch_size, 1))], axis=0)
        labels += 0.05 * keras.random.uniform(tf.shape(labels), seed=self.seed_generator)
        with tf.GradientTape() as tape:
            d_loss = self.loss_fn(labels, self.discriminator(combined_images))
        grads = tape.gradient(d_loss, self.discriminator.trainable_weights)
        self.d_optimizer.apply(grads, self.discriminator.trainable_weights)

        latent = keras.random.normal(shape=(batch_size, self.latent_dim), seed=self.seed_generator)
        with tf.GradientTape() as tape:
            g_loss = self.loss_fn(tf.zeros((batch_size, 1)), self.discriminator(self.generator(latent)))
        grads = tape.gradient(g_loss, self.generator.trainable_weights)
        self.g_optimizer.apply(grads, self.generator.trainable_weights)

        self.d_loss_tracker.update_state(d_loss)
        self.g_loss_tracker.update_state(g_loss)
        return {"d_loss": self.d_loss_tracker.result(), "g_loss": self.g_loss_tracker.result()}


def gan(hp):
    latent_dim = hp.Choice("latent_dim", [2, 4])
    discriminator = keras.Sequential(
        [
            keras.Input(shape=(8, 8, 1)),
            layers.Conv2D(3, (3, 3), strides=(2, 2), padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.GlobalMaxPooling2D(),
            layers.Dense(1),
        ],
        name="discriminator",
    )
    generator = keras.Sequential(
        [
            keras.Input(shape=(latent_dim,)),
            layers.Dense(4 * 4 * 2),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Reshape((4, 4, 2)),
            layers.Conv2DTranspose(2, (4, 4), strides=(2, 2), padding="same"),
            layers.Conv2D(1, (3, 3), padding="same", activation="sigmoid"),
        ],
        name="generator",
    )
    model = GAN(discriminator=discriminator, generator=generator, latent_dim=latent_dim)
    model.compile(
        d_optimizer=keras.optimizers.Adam(learning_rate=0.01),
        g_optimizer=keras.optimizers.Adam(learning_rate=0.01),
        loss_fn=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


class HyperGAN(keras_tuner.HyperModel):
    """Trained as the guide does it, without validation."""

    def build(self, hp):
        return gan(hp)

    def fit(self, hp, model, x, y, validation_data=None, **kwargs):
        return model.fit(x, batch_size=16, **kwargs)
