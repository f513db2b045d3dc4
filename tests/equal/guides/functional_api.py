"""keras.io: the Functional API, for models of one input and one output."""

import keras
import numpy as np
from keras import layers, ops


def data():
    rng = np.random.default_rng(0)
    x = rng.random((72, 8, 8, 1)).astype("float32")
    y = (x[:, :4].mean((1, 2, 3)) > x[:, 4:].mean((1, 2, 3))).astype("int32")
    return (x[:48], y[:48]), (x[48:], y[48:])


def themselves():
    (x, _), (held, _) = data()
    return (x, x.reshape(len(x), -1)), (held, held.reshape(len(held), -1))


def compiled(model, loss=None):
    model.compile(
        loss=loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.RMSprop(1e-2),
        metrics=["accuracy"] if loss is None else ["mae"],
    )
    return model


def autoencoder(hp):
    """Two models from one graph of layers, and one model around them: all models are callable."""
    encoder_input = keras.Input(shape=(8, 8, 1), name="original_img")
    x = layers.Conv2D(hp.Choice("filters", [2, 4]), 3, activation="relu")(encoder_input)
    x = layers.MaxPooling2D(3)(x)
    encoder_output = layers.Conv2D(4, 2, activation="relu")(x)
    encoder = keras.Model(encoder_input, encoder_output, name="encoder")
    decoder_input = keras.Input(shape=(1, 1, 4), name="encoded_img")
    x = layers.Conv2DTranspose(4, 4, activation="relu")(decoder_input)
    x = layers.UpSampling2D(2)(x)
    decoder_output = layers.Flatten()(layers.Conv2DTranspose(1, 1)(x))  # a target has one axis beside the samples'
    decoder = keras.Model(decoder_input, decoder_output, name="decoder")
    autoencoder_input = keras.Input(shape=(8, 8, 1), name="img")
    return compiled(keras.Model(autoencoder_input, decoder(encoder(autoencoder_input))), "mse")


def ensemble(hp):
    def get_model():
        inputs = keras.Input(shape=(8, 8, 1))
        return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(inputs)))

    members = [get_model() for _ in range(hp.Int("members", 2, 3))]
    inputs = keras.Input(shape=(8, 8, 1))
    return compiled(keras.Model(inputs, layers.average([one(inputs) for one in members])))


def toy_resnet(hp):
    inputs = keras.Input(shape=(8, 8, 1), name="img")
    filters = hp.Choice("filters", [2, 4])
    x = layers.Conv2D(filters, 3, activation="relu")(inputs)
    block_1_output = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(filters, 3, activation="relu", padding="same")(block_1_output)
    x = layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
    block_2_output = layers.add([x, block_1_output])
    x = layers.GlobalAveragePooling2D()(block_2_output)
    x = layers.Dropout(0.5)(layers.Dense(6, activation="relu")(x))
    return compiled(keras.Model(inputs, layers.Dense(2)(x), name="toy_resnet"))


def shared_layer(hp):
    """One layer at two places."""
    inputs = keras.Input(shape=(8, 8, 1))
    flat = layers.Flatten()(inputs)
    shared = layers.Dense(hp.Choice("units", [3, 5]), activation="relu")
    x = layers.concatenate([shared(flat), shared(ops.flip(flat, axis=-1))])
    return compiled(keras.Model(inputs, layers.Dense(2)(x)))


def extracted(hp):
    """A new model on the nodes of another."""
    whole = toy_resnet(hp)
    features = keras.Model(inputs=whole.inputs, outputs=[layer.output for layer in whole.layers[1:3]])
    inputs = keras.Input(shape=(8, 8, 1))
    x = layers.concatenate([layers.Flatten()(one) for one in features(inputs)])
    return compiled(keras.Model(inputs, layers.Dense(2)(x)))


class CustomDense(layers.Layer):
    def __init__(self, units=32):
        super().__init__()
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True)
        self.b = self.add_weight(shape=(self.units,), initializer="random_normal", trainable=True)

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b

    def get_config(self):
        return {"units": self.units}


def custom_dense(hp):
    """A layer of its own, and the model made anew from its config."""
    inputs = keras.Input((8, 8, 1))
    outputs = layers.Dense(2)(CustomDense(hp.Choice("units", [3, 5]))(layers.Flatten()(inputs)))
    config = keras.Model(inputs, outputs).get_config()
    return compiled(keras.Model.from_config(config, custom_objects={"CustomDense": CustomDense}))


class CustomRNN(layers.Layer):
    """A layer in which a Functional model is used."""

    def __init__(self, units):
        super().__init__()
        self.units = units
        self.projection_1 = layers.Dense(units=units, activation="tanh")
        self.projection_2 = layers.Dense(units=units, activation="tanh")
        inputs = keras.Input((None, units))
        x = layers.GlobalAveragePooling1D()(inputs)
        self.classifier = keras.Model(inputs, layers.Dense(2)(x))

    def call(self, inputs):
        outputs = []
        state = ops.zeros(shape=(ops.shape(inputs)[0], self.units))
        for t in range(inputs.shape[1]):
            state = self.projection_1(inputs[:, t, :]) + self.projection_2(state)
            outputs.append(state)
        return self.classifier(ops.stack(outputs, axis=1))


def mixed(hp):
    inputs = keras.Input((8, 8, 1))
    rows = layers.Reshape((8, 8))(inputs)
    return compiled(keras.Model(inputs, CustomRNN(hp.Choice("units", [3, 5]))(rows)))
