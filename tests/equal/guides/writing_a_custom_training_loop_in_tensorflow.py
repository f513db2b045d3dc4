"""keras.io: writing a training loop from scratch in TensorFlow."""

import keras
import keras_tuner
import numpy as np
import tensorflow as tf


def data():
    rng = np.random.default_rng(0)
    x = rng.random((90, 8)).astype("float32")
    y = (x @ rng.normal(size=(8, 3))).argmax(1)
    return (x[:60], y[:60]), (x[60:], y[60:])


class ActivityRegularizationLayer(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(1e-2 * tf.reduce_sum(inputs))
        return inputs


def get_model(units, regularized=False):
    inputs = keras.Input(shape=(8,), name="digits")
    x = keras.layers.Dense(units, activation="relu")(inputs)
    if regularized:
        x = ActivityRegularizationLayer()(x)
    x = keras.layers.Dense(6, activation="relu")(x)
    outputs = keras.layers.Dense(3, name="predictions")(x)
    return keras.Model(inputs=inputs, outputs=outputs)


def datasets(x, y, validation_data, batch_size):
    train = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(buffer_size=1024).batch(batch_size)
    return train, tf.data.Dataset.from_tensor_slices(validation_data).batch(batch_size)


class WithMetrics(keras_tuner.HyperModel):
    """Step by step, eagerly; the score is what is returned."""

    def build(self, hp):
        return get_model(hp.Choice("units", [4, 8]))

    def fit(self, hp, model, x, y, validation_data, epochs=2, callbacks=None, **kwargs):
        optimizer = keras.optimizers.Adam(learning_rate=1e-2)
        loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        train_acc_metric = keras.metrics.SparseCategoricalAccuracy()
        val_acc_metric = keras.metrics.SparseCategoricalAccuracy()
        train_dataset, val_dataset = datasets(x, y, validation_data, 20)
        for _ in range(epochs):
            for x_batch_train, y_batch_train in train_dataset:
                with tf.GradientTape() as tape:
                    logits = model(x_batch_train, training=True)
                    loss_value = loss_fn(y_batch_train, logits)
                grads = tape.gradient(loss_value, model.trainable_weights)
                optimizer.apply(grads, model.trainable_weights)
                train_acc_metric.update_state(y_batch_train, logits)
            train_acc = train_acc_metric.result()
            train_acc_metric.reset_state()
            for x_batch_val, y_batch_val in val_dataset:
                val_acc_metric.update_state(y_batch_val, model(x_batch_val, training=False))
            val_acc = val_acc_metric.result()
            val_acc_metric.reset_state()
        return {"accuracy": float(train_acc), "val_accuracy": float(val_acc)}


class Compiled(keras_tuner.HyperModel):
    """The steps as graphs, the losses of the layers added, the epochs told to the callbacks."""

    def build(self, hp):
        return get_model(hp.Choice("units", [4, 8]), regularized=True)

    def fit(self, hp, model, x, y, validation_data, epochs=2, callbacks=None, **kwargs):
        optimizer = keras.optimizers.Adam(learning_rate=hp.Choice("rate", [1e-2, 1e-1]))
        loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        loss_metric = keras.metrics.Mean()
        val_loss_metric = keras.metrics.Mean()
        train_dataset, val_dataset = datasets(x, y, validation_data, 20)

        @tf.function
        def train_step(x, y):
            with tf.GradientTape() as tape:
                logits = model(x, training=True)
                loss_value = loss_fn(y, logits)
                loss_value += sum(model.losses)
            grads = tape.gradient(loss_value, model.trainable_weights)
            optimizer.apply(grads, model.trainable_weights)
            loss_metric.update_state(loss_value)
            return loss_value

        @tf.function
        def test_step(x, y):
            val_loss_metric.update_state(loss_fn(y, model(x, training=False)))

        for callback in callbacks:
            callback.set_model(model)
        found = []
        for epoch in range(epochs):
            for x_batch_train, y_batch_train in train_dataset:
                train_step(x_batch_train, y_batch_train)
            for x_batch_val, y_batch_val in val_dataset:
                test_step(x_batch_val, y_batch_val)
            logs = {"loss": float(loss_metric.result()), "val_loss": float(val_loss_metric.result())}
            loss_metric.reset_state()
            val_loss_metric.reset_state()
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs=logs)
            found.append(logs["val_loss"])
        return min(found)


class Networks(keras.Model):
    """Both networks; it tells real samples from others."""

    def __init__(self, generator, discriminator):
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator

    def call(self, inputs):
        return self.discriminator(inputs)


class GanLoop(keras_tuner.HyperModel):
    """The end-to-end example: two networks, and an optimizer for each."""

    def build(self, hp):
        generator = keras.Sequential(
            [keras.Input((hp.Choice("latent_dim", [2, 4]),)), keras.layers.Dense(8, activation="sigmoid")],
            name="generator",
        )
        discriminator = keras.Sequential(
            [
                keras.Input((8,)),
                keras.layers.Dense(6),
                keras.layers.LeakyReLU(negative_slope=0.2),
                keras.layers.Dense(1),
            ],
            name="discriminator",
        )
        return Networks(generator, discriminator)

    def fit(self, hp, model, x, y, validation_data=None, epochs=2, callbacks=None, **kwargs):
        generator, discriminator = model.generator, model.discriminator
        d_optimizer = keras.optimizers.Adam(learning_rate=0.003)
        g_optimizer = keras.optimizers.Adam(learning_rate=0.004)
        loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)
        latent_dim, batch_size = hp.get("latent_dim"), 20

        @tf.function
        def train_step(real_images):
            random_latent_vectors = tf.random.normal(shape=(batch_size, latent_dim))
            combined_images = tf.concat([generator(random_latent_vectors), real_images], axis=0)
            labels = tf.concat([tf.ones((batch_size, 1)), tf.zeros((real_images.shape[0], 1))], axis=0)
            labels += 0.05 * tf.random.uniform(labels.shape)
            with tf.GradientTape() as tape:
                d_loss = loss_fn(labels, discriminator(combined_images))
            grads = tape.gradient(d_loss, discriminator.trainable_weights)
            d_optimizer.apply(grads, discriminator.trainable_weights)
            random_latent_vectors = tf.random.normal(shape=(batch_size, latent_dim))
            with tf.GradientTape() as tape:
                g_loss = loss_fn(tf.zeros((batch_size, 1)), discriminator(generator(random_latent_vectors)))
            grads = tape.gradient(g_loss, generator.trainable_weights)
            g_optimizer.apply(grads, generator.trainable_weights)
            return d_loss, g_loss

        for _ in range(epochs):
            for real_images in tf.data.Dataset.from_tensor_slices(x).shuffle(1024).batch(batch_size):
                d_loss, g_loss = train_step(real_images)
        return {"d_loss": float(d_loss), "g_loss": float(g_loss)}
