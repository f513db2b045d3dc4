"""Models from people's own code, of the kinds that a name or a config says too little of, beside their plain `fit`.

`CODE` is a user's module. Each builder stands for a kind; its points are trained by hptune in one worker, in both
orders, and each by a plain program: the module anew, the builder's own model, Keras's `fit` from the same variables
over the same batches.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hptune.base import seeds
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.core import state as states
from hptune.training.runtime import Settings, reset_names
from hptune.training.worker import Worker

from . import plain

SEED, EPOCHS, BATCH = 5, 2, 24

CODE = """
import collections, functools
import keras, numpy as np, tensorflow as tf
from keras import layers, ops

def data(n=(90, 50)):
    g = np.random.default_rng(0)
    x = (g.normal(size=(sum(n), 6)) * [1, 30, 1, 0.1, 1, 1] + [0, 500, 0, 0, 2, 0]).astype("float32")
    y = ((x[:, 0] + (x[:, 1] - 500) / 30 + g.normal(size=len(x)) * 0.3) > 0).astype("int32")
    w = g.uniform(0.5, 2, size=len(x)).astype("float32")
    return (x[:90], y[:90], w[:90]), (x[90:], y[90:], w[90:])

def column():
    return tuple((x, y[:, None].astype("float64")) for x, y, _ in data())

def net(first=None, units=8, activation="relu", **more):
    return keras.Sequential([
        keras.Input((6,)), *(first or [layers.Rescaling([1, 0.03, 1, 1, 1, 1], offset=[0, -15.0, 0, 0, 0, 0])]),
        layers.Dense(units, activation=activation, **more), layers.Dense(1, activation="sigmoid"),
    ])

def compiled(model, loss="binary_crossentropy", metrics=(), rate=0.02, **more):
    model.compile(keras.optimizers.Adam(rate), loss, metrics=list(metrics), **more)
    return model

def weighted(a):
    def loss(y, p):
        p = ops.clip(p, 1e-6, 1 - 1e-6)
        y = ops.cast(y, p.dtype)
        return ops.mean(-(a * y * ops.log(p) + (1 - y) * ops.log(1 - p)), axis=-1)
    return loss

def closure_loss(hp):
    return compiled(net(), weighted(hp.Choice("a", [1.0, 8.0])))

class Weighted(keras.losses.Loss):
    def __init__(self, a):
        super().__init__()
        self.a = a
    def call(self, y, p):
        return weighted(self.a)(y, p)

def loss_class(hp):
    return compiled(net(), Weighted(hp.Choice("a", [1.0, 8.0])))

def metric_closure(hp):
    a = hp.Choice("a", [0.5, 3.0])
    def share(y, p):
        return ops.mean(ops.cast(p > a / 5, "float32"), axis=-1)
    return compiled(net(), metrics=[share])

class Above(keras.metrics.Metric):
    def __init__(self, a):
        super().__init__(name="above")
        self.a, self.n = a, self.add_weight(shape=(), initializer="zeros", name="n")
    def update_state(self, y, p, sample_weight=None):
        self.n.assign_add(ops.sum(ops.cast(p > self.a, "float32")))
    def result(self):
        return self.n / 7
    def reset_state(self):
        self.n.assign(0.0)

def metric_class(hp):
    return compiled(net(), metrics=[Above(hp.Choice("a", [0.4, 0.6]))])

def activation_closure(hp):
    a = hp.Choice("a", [0.0, 2.0])
    def act(x):
        return ops.tanh(x) * a
    return compiled(net(activation=act))

class Scale(layers.Layer):
    def __init__(self, a):
        super().__init__()
        self.a = [a]
        self.inner = layers.Dense(4)
    def call(self, x):
        return self.inner(x) * self.a[0]
    def get_config(self):
        raise NotImplementedError("none")

def layer_without_config(hp):
    return compiled(net([Scale(hp.Choice("a", [0.1, 1.0]))]))

class Partial(layers.Layer):
    def __init__(self, units, a=1.0, **more):
        super().__init__(**more)
        self.units, self.a, self.inner = units, a, layers.Dense(units)
    def call(self, x):
        return self.inner(x) * self.a
    def get_config(self):
        return {**super().get_config(), "units": self.units}

def config_left_out(hp):
    return compiled(net([Partial(4, a=hp.Choice("a", [0.1, 1.0]))]))

class Ridge(keras.regularizers.Regularizer):
    def __init__(self, a):
        self.a = a
    def __call__(self, w):
        return self.a * ops.sum(ops.square(w))

def regularizer_without_config(hp):
    return compiled(net(kernel_regularizer=Ridge(hp.Choice("a", [0.0, 0.1]))))

def normalization(hp):
    x = data()[0][0][: hp.Choice("rows", [90, 10])]
    norm = layers.Normalization()
    norm.adapt(x)
    return compiled(net([norm]), rate=hp.Choice("rate", [0.02, 0.1]))

def discretization(hp):
    cut = layers.Discretization(num_bins=hp.Choice("bins", [3, 5]))
    cut.adapt(data()[0][0][:, :1])
    i = keras.Input((6,))
    e = layers.Flatten()(layers.Embedding(5, 3)(cut(i[:, :1])))
    return compiled(keras.Model(i, layers.Dense(1, activation="sigmoid")(e)))

def lookup(hp):
    look = layers.IntegerLookup(output_mode="one_hot", max_tokens=12)
    look.adapt(np.arange(hp.Choice("known", [3, 8])))
    i = keras.Input((6,))
    whole = layers.Lambda(lambda x: ops.cast(ops.abs(x[:, :1]) * 4, "int64"))(i)
    return compiled(keras.Model(i, layers.Dense(1, activation="sigmoid")(look(whole))))

def set_by_hand(hp):
    model = net()
    model.layers[1].set_weights([np.full((6, 8), 0.05 * hp.Choice("a", [1.0, -2.0]), "float32"), np.ones(8, "float32")])
    return compiled(model)

def frozen_by_choice(hp):
    model = net()
    model.layers[1].trainable = hp.Boolean("trained", default=True)
    return compiled(model)

keras.utils.set_random_seed(11)
BASE = keras.Sequential([
    keras.Input((6,)), layers.Rescaling(0.01), layers.Dense(7, activation="relu"), layers.Dropout(0.2),
])

def shared_base(hp):
    i = keras.Input((6,))
    if hp.Boolean("frozen"):
        BASE.trainable = False
    x = layers.Dense(hp.Choice("units", [3, 5]), activation="relu")(BASE(i))
    return compiled(keras.Model(i, layers.Dense(1, activation="sigmoid")(x)))

class Held(layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(5)
    def call(self, x):
        return self.dense(x * 0.01)

@functools.cache
def cached():
    return keras.Sequential([keras.Input((6,)), Held(), layers.Dropout(0.4)])

def cached_base(hp):
    i = keras.Input((6,))
    x = layers.Dense(hp.Choice("units", [3, 5]), activation="relu")(cached()(i))
    return compiled(keras.Model(i, layers.Dense(1, activation="sigmoid")(x)))

def lambda_layer(hp):
    a = hp.Choice("a", [0.1, 3.0])
    return compiled(net([layers.Lambda(lambda x: x * 0.01 * a)]))

class Net(keras.Model):
    def __init__(self, units, a):
        super().__init__()
        self.one, self.drop, self.two = layers.Dense(units, "relu"), layers.Dropout(a), layers.Dense(1, "sigmoid")
    def call(self, x, training=False):
        return self.two(self.drop(self.one(x * 0.01), training=training))

def subclass(hp):
    return compiled(Net(6, hp.Choice("a", [0.0, 0.5])), metrics=["accuracy"], rate=hp.Choice("rate", [0.02, 0.1]))

class Custom(keras.Model):
    def train_step(self, data):
        x, y, w = data
        with tf.GradientTape() as tape:
            p = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=p, sample_weight=w)
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(grads, self.trainable_variables)
        for metric in self.metrics:
            metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, p)
        return {m.name: m.result() for m in self.metrics}

def functional(kind, hp, **more):
    i = keras.Input((6,))
    x = layers.Dropout(0.1)(layers.Dense(hp.Choice("units", [4, 8]), activation="relu")(i * 0.01))
    return kind(inputs=i, outputs=layers.Dense(1, activation="sigmoid")(x), **more)

def own_train_step(hp):
    return compiled(functional(Custom, hp), metrics=["accuracy"], rate=hp.Choice("rate", [0.02, 0.1]))

class Scratch(keras.Model):
    def __init__(self, *a, **k):
        super().__init__(*a, **k)
        self.seen = keras.metrics.Mean(name="seen")
        self.off = keras.metrics.MeanAbsoluteError(name="off")
    def train_step(self, data):
        x, y, _ = data
        with tf.GradientTape() as tape:
            p = self(x, training=True)
            loss = ops.mean(keras.losses.mean_squared_error(ops.reshape(y, (-1, 1)), p))
        grads = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights))
        self.seen.update_state(loss)
        self.off.update_state(y, p)
        return {"loss": self.seen.result(), "off": self.off.result(), "last": loss}
    def test_step(self, data):
        x, y, _ = data
        p = self(x, training=False)
        self.off.update_state(y, p)
        return {"off": self.off.result(), "last": ops.mean(p)}
    @property
    def metrics(self):
        return [self.seen, self.off]

def own_metrics(hp):
    model = functional(Scratch, hp)
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=hp.Choice("m", [0.0, 0.9])))
    return model

class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.abs(ops.cast(ops.reshape(y, (-1, 1)), "float32") - y_pred)) + 0.5

def own_compute_loss(hp):
    return compiled(functional(OwnLoss, hp))

class Sampling(layers.Layer):
    def __init__(self, **more):
        super().__init__(**more)
        self.generator = keras.random.SeedGenerator(3)
    def call(self, pair):
        mean, log = pair
        return mean + ops.exp(0.5 * log) * keras.random.normal(ops.shape(mean), seed=self.generator)

class Vae(keras.Model):
    def __init__(self, size, share, **more):
        super().__init__(**more)
        i = keras.Input((6,))
        h = layers.Dense(8, "relu")(i * 0.01)
        mean, log = layers.Dense(size)(h), layers.Dense(size)(h)
        self.encoder = keras.Model(i, [mean, log, Sampling()([mean, log])])
        self.decoder = keras.Sequential([keras.Input((size,)), layers.Dense(6)])
        self.share, self.total, self.kl = share, keras.metrics.Mean(name="total"), keras.metrics.Mean(name="kl")
    @property
    def metrics(self):
        return [self.total, self.kl]
    def losses_of(self, x):
        mean, log, z = self.encoder(x)
        again = ops.mean(ops.square(x * 0.01 - self.decoder(z)))
        kl = ops.mean(-0.5 * (1 + log - ops.square(mean) - ops.exp(log)))
        return again + self.share * kl, kl
    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss, kl = self.losses_of(data[0])
        grads = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights))
        return self.told(loss, kl)
    def test_step(self, data):
        return self.told(*self.losses_of(data[0]))
    def told(self, loss, kl):
        self.total.update_state(loss)
        self.kl.update_state(kl)
        return {"loss": self.total.result(), "kl": self.kl.result()}

def vae(hp):
    model = Vae(hp.Choice("size", [1, 2]), hp.Choice("share", [0.1, 1.0]))
    model.compile(optimizer=keras.optimizers.Adam(0.02))
    return model

def eagerly(hp):
    return compiled(net(units=hp.Choice("units", [3, 4])), run_eagerly=True)

def weighted_metrics(hp):
    auc = keras.metrics.AUC(name="wauc", num_thresholds=50)
    return compiled(net(units=hp.Choice("units", [3, 4])), metrics=["accuracy"], weighted_metrics=[auc])

class Signed(keras.optimizers.Optimizer):
    def __init__(self, rate, power):
        super().__init__(learning_rate=rate)
        self.power = power
    def update_step(self, gradient, variable, rate):
        step = ops.sign(gradient) * ops.power(ops.abs(gradient) + 1e-8, self.power)
        self.assign_sub(variable, ops.cast(rate, variable.dtype) * step)

def own_optimizer(hp):
    model = net()
    model.compile(Signed(0.01, hp.Choice("power", [0.5, 1.0])), "binary_crossentropy")
    return model

class Counted(layers.Layer):
    def build(self, shape):
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps")
        self.plain = tf.Variable(1.0, trainable=False)
    def call(self, x, training=False):
        if training:
            self.steps.assign_add(1.0)
            self.plain.assign(self.plain * 0.9)
        return x * 0.01 * (self.plain + self.steps / 10)

def counting(hp):
    return compiled(net([Counted()], units=hp.Choice("units", [3, 4])), rate=hp.Choice("rate", [0.02, 0.1]))

class Stack(keras.Sequential):
    def __init__(self, inner=None, a=1.0, **more):
        super().__init__(inner, **more)
        self.a = a
    def compute_loss(self, *given, **named):
        return self.a * super().compute_loss(*given, **named)

def stack_of_its_own(hp):
    inner = [keras.Input((6,)), layers.Rescaling(0.01), layers.Dense(4, "relu"), layers.Dense(1, "sigmoid")]
    model = Stack(inner, a=hp.Choice("a", [1.0, 5.0]))
    model.compile(keras.optimizers.SGD(0.05), "binary_crossentropy")
    return model

class Model(Custom):
    pass

def called_model(hp):
    return compiled(functional(Model, hp))

def patched_step(hp):
    import types
    model, a = net(), hp.Choice("a", [1.0, 5.0])
    def train_step(self, data):
        x, y, w = data
        with tf.GradientTape() as tape:
            loss = a * self.compute_loss(x=x, y=y, y_pred=self(x, training=True), sample_weight=w)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}
    model.compile(keras.optimizers.SGD(0.05), "binary_crossentropy")
    model.train_step = types.MethodType(train_step, model)
    return model

def constraint_on_a_variable(hp):
    model = net()
    model.layers[1].kernel.constraint = keras.constraints.MaxNorm(hp.Choice("a", [0.1, 0.5]))
    return compiled(model)

def constraint_too_late(hp):
    model = net(units=hp.Choice("units", [3, 4]))
    model.layers[1].kernel_constraint = keras.constraints.MaxNorm(0.1)  # its variables are there: it has no effect
    return compiled(model)

class Falling(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, a):
        self.a = a
    def __call__(self, step):
        return 0.1 / (1 + self.a * ops.cast(step, "float32"))

def schedule_of_its_own(hp):
    model = net()
    model.compile(keras.optimizers.SGD(Falling(hp.Choice("a", [0.0, 2.0]))), "binary_crossentropy")
    return model

def rate_that_is_called(hp):
    a = hp.Choice("a", [0.01, 0.1])
    model = net()
    model.compile(keras.optimizers.SGD(lambda: a), "binary_crossentropy")
    return model

def metric_over_a_network(hp):
    teacher = keras.Sequential([keras.Input((1,)), layers.Dense(2)])
    teacher.set_weights([np.full((1, 2), hp.Choice("a", [1.0, 3.0]), "float32"), np.zeros(2, "float32")])
    def apart(y, p):
        return ops.mean(ops.abs(teacher(p) - ops.cast(ops.reshape(y, (-1, 1)), "float32")), axis=-1)
    return compiled(net(), metrics=[apart])

def rank_that_counts(hp):
    def off(y, p):
        return ops.mean(ops.square(y - p))
    return compiled(net(units=hp.Choice("units", [3, 4])), lambda y, p: ops.mean(ops.abs(y - p)), metrics=[off])

class TwoOptimizers(keras.Model):
    def train_step(self, data):
        x, y, w = data
        if not hasattr(self, "other"):
            self.other = keras.optimizers.Adam(0.05)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True), sample_weight=w)
        weights = self.trainable_variables
        grads = tape.gradient(loss, weights)
        self.optimizer.apply(grads[:2], weights[:2])
        self.other.apply(grads[2:], weights[2:])
        return {"loss": loss}

def two_optimizers(hp):
    model = functional(TwoOptimizers, hp)
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    return model

def gradient_reversed(hp):
    a = hp.Choice("a", [0.1, 1.0])
    @tf.custom_gradient
    def reverse(x):
        return x * 0.01, lambda up: -a * up
    i = keras.Input((6,))
    x = layers.Lambda(reverse)(layers.Dense(4)(i))
    return compiled(keras.Model(i, layers.Dense(1, activation="sigmoid")(x)))

def loss_scaled(hp):
    model = net(kernel_initializer="he_normal")
    inner = keras.optimizers.AdamW(hp.Float("rate", 0.01, 0.2), weight_decay=0.1)
    inner.exclude_from_weight_decay(var_names=["bias"])
    model.compile(keras.optimizers.LossScaleOptimizer(inner, 1024.0, 3), "binary_crossentropy")
    return model

def graph_metric(hp):
    a = hp.Choice("a", [0.4, 0.6])
    @tf.function
    def share(y, p):
        return ops.mean(ops.cast(p > a, "float32"), axis=-1)
    return compiled(net(), metrics=[share], weighted_metrics=[share])

def graph_loss(hp):
    a = hp.Choice("a", [1.0, 50.0])
    return compiled(net(), tf.function(weighted(a)))

K = 1.0

@tf.function
def reads_global(y, p):
    return K * keras.losses.binary_crossentropy(y, p)

def sets_global(hp):
    global K
    K = hp.Choice("a", [1.0, 20.0])
    return compiled(net(), reads_global)

def graph_rate(hp):
    a = hp.Choice("a", [0.01, 0.1])
    model = net()
    model.compile(keras.optimizers.SGD(tf.function(lambda: a)), "binary_crossentropy")
    return model

def wrapped_metric(hp):
    a = hp.Choice("a", [1.0, 3.0])
    @functools.wraps(keras.losses.mean_squared_error)
    def error(y, p):
        return a * keras.losses.mean_squared_error(y, p)
    return compiled(net(), metrics=[error])

def wrapped_activation(hp):
    a = hp.Choice("a", [0.1, 3.0])
    @functools.wraps(keras.activations.relu)
    @tf.custom_gradient
    def relu(x):
        return tf.nn.relu(x), lambda up: a * up
    return compiled(net(activation=relu))

def cached_helper(hp):
    a = hp.Choice("a", [1.0, 2.0])
    @functools.lru_cache
    def factor():
        return a
    def error(y, p):
        return factor() * keras.losses.mean_absolute_error(y, p)
    return compiled(net(), metrics=[error])

class Times:
    def __init__(self, f):
        self.f, self.a = f, 1.0
        self.__name__ = "times"
    def __get__(self, owner, kind=None):
        return self
    def __call__(self, y, p):
        return self.a * self.f(y, p)

def decorated_metric(hp):
    times = Times(keras.losses.mean_absolute_error)
    times.a = hp.Choice("a", [1.0, 2.0])
    return compiled(net(), metrics=[times])

class HeldMetric(keras.metrics.Metric):
    def __init__(self, a):
        super().__init__(name="held")
        self.a = self.add_variable((), keras.initializers.Constant(a), name="a")
        self.n = self.add_variable((), "zeros", name="n")
    def update_state(self, y, p, sample_weight=None):
        self.n.assign_add(ops.sum(ops.cast(p > self.a, "float32")))
    def result(self):
        return self.n + 0
    def reset_state(self):
        self.n.assign(0.0)

def variable_of_a_metric(hp):
    return compiled(net(), metrics=[HeldMetric(hp.Choice("a", [0.4, 0.6]))])

class Paced(keras.optimizers.Optimizer):
    def __init__(self, k):
        super().__init__(learning_rate=0.1)
        self.k = keras.Variable(k, trainable=False)
    def update_step(self, g, v, lr):
        self.assign_sub(v, ops.cast(lr, v.dtype) * self.k * g)
    def get_config(self):
        return {}

def variable_of_an_optimizer(hp):
    model = net()
    model.compile(Paced(hp.Choice("a", [0.5, 5.0])), "binary_crossentropy")
    return model

class Largest(keras.metrics.Metric):  # begins with -inf; Keras's own reset_state makes that 0
    def __init__(self, a):
        super().__init__(name="largest")
        self.a, self.most = a, self.add_weight(shape=(), initializer=keras.initializers.Constant(-9.0), name="most")
    def update_state(self, y, p, sample_weight=None):
        self.most.assign(ops.maximum(self.most, ops.max(-self.a * p)))
    def result(self):
        return self.most * 1

def begins_below(hp):
    return compiled(net(), metrics=["mae", Largest(hp.Choice("a", [1.0, 2.0]))])

class CountsResets(Above):
    resets = 0
    def reset_state(self):
        self.resets += 1
        self.n.assign(self.resets)

def counts_resets(hp):
    return compiled(net(), metrics=[CountsResets(hp.Choice("a", [0.4, 0.6]))])

class EverySecond(keras.Model):
    step = 0
    def train_step(self, data):
        self.step += 1
        x, y, w = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            p = self(x, training=True)
            loss = self.compute_loss(x, y, p, w) * (1 + self.step)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return self.compute_metrics(x, y, p, w)

def counts_steps_in_python(hp):
    return compiled(functional(EverySecond, hp))

def patched_optimizer(hp):
    a, optimizer = hp.Choice("a", [0.0, 1.0]), keras.optimizers.Adam(0.02)
    step = optimizer.update_step
    optimizer.update_step = lambda g, v, lr: step(g * a, v, lr)
    model = net()
    model.compile(optimizer, "binary_crossentropy")
    return model

def epsilon_set(hp):
    keras.config.set_epsilon(hp.Choice("a", [1e-7, 0.3]))
    return compiled(net(), metrics=["mape"])

def policy_set(hp):
    if hp.Boolean("half"):
        keras.config.set_floatx("float64")
    return compiled(net())

MOVED = tf.Variable(1.0)

def annealed(y, p):
    MOVED.assign(MOVED * 0.9)
    return MOVED * weighted(2.0)(y[:, None], p)

def variable_of_a_module(hp):
    return compiled(net(units=hp.Choice("units", [3, 4])), annealed)

class Annealed(keras.losses.Loss):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable(1.0)
    def call(self, y, p):
        self.w.assign(self.w * 0.9)
        return self.w * weighted(2.0)(y[:, None], p)

def variable_of_a_loss(hp):
    return compiled(net(units=hp.Choice("units", [3, 4])), Annealed())

SETTINGS = {"scale": 1.0, "calls": []}

def module_dict(hp):
    if hp.Choice("a", [1.0, 3.0]) > 1:
        SETTINGS["scale"] *= 3
        SETTINGS["calls"].append(1)
    return compiled(net([layers.Rescaling(SETTINGS["scale"] * len(SETTINGS["calls"]))]))

CHOICES = {"scale": 1.0, "act": lambda x: x, "inner": [2, lambda x: x]}

def dict_with_code(hp):
    if hp.Choice("a", [1.0, 3.0]) > 1:
        CHOICES["scale"] *= 3
        CHOICES["inner"][0] += 1
    return compiled(net([layers.Rescaling(CHOICES["scale"] * CHOICES["inner"][0] * 0.1)]))

@functools.lru_cache
def options():
    return {"scale": 1.0}

def cached_options(hp):
    if hp.Choice("a", [1.0, 3.0]) > 1:
        options()["scale"] *= 3
    return compiled(net([layers.Rescaling(options()["scale"])]))

class Looked(layers.Layer):
    def __init__(self, powers):
        super().__init__()
        self.power = lambda: powers["any"]
    def call(self, x, training=False):
        return x * self.power() if training else x

def default_by_a_factory(hp):
    a = hp.Choice("a", [0.1, 2.0])
    return compiled(net([Looked(collections.defaultdict(lambda: a))]))

def asked_in_a_loss(hp):
    def loss(y, p):
        return hp.Float("late", 0.5, 2.0, default=2.0) * weighted(1.0)(y[:, None], p)
    return compiled(net(), loss)

class Power(float):
    pass

class Raised(layers.Layer):
    def __init__(self, power):
        super().__init__()
        self.power = power
    def call(self, x, training=False):
        return x * self.power.more if training else x

def number_with_more(hp):
    power = Power(1.0)
    power.more = hp.Choice("a", [0.1, 2.0])
    return compiled(net([Raised(power)]))

def noise(seeds):
    return 0.5 * keras.random.normal((1, 1), seed=seeds)

def generator_in_a_loss(hp):
    seeds = keras.random.SeedGenerator(9)
    def loss(y, p):
        return weighted(2.0)(y[:, None], p) * (1 + noise(seeds))
    def spread(y, p):
        return ops.mean(p + noise(seeds), axis=-1)
    return compiled(net(), loss, [spread], rate=hp.Choice("rate", [0.02, 0.1]))

def layers_in_a_loss(hp):
    mean, blur = layers.BatchNormalization(momentum=0.5), layers.GaussianNoise(0.4, seed=3)
    def loss(y, p):
        mean(p, training=True)
        return weighted(2.0)(y[:, None], p) + ops.mean(mean(p, training=False) + blur(0 * p, training=True), axis=-1)
    return compiled(net(), loss, rate=hp.Choice("rate", [0.02, 0.1]))

class Shaken(keras.optimizers.SGD):
    def __init__(self, rate):
        super().__init__(rate)
        self.seeds = keras.random.SeedGenerator(9)
    def update_step(self, g, v, rate):
        super().update_step(g + 0.3 * keras.random.normal(g.shape, seed=self.seeds), v, rate)

def generator_in_an_optimizer(hp):
    model = net()
    model.compile(Shaken(hp.Choice("rate", [0.02, 0.1])), "binary_crossentropy")
    return model

TOP = layers.Dense(4, activation="tanh")
KEPT = {}

def layer_of_the_module(hp):
    rest = net(units=hp.Choice("units", [3, 4]))
    i = keras.Input((6,))
    return compiled(keras.Model(i, layers.Dense(1, "sigmoid")(layers.Dense(5)(TOP(rest.layers[0](i))))))

def layer_kept_from_the_first_call(hp):
    if "first" not in KEPT:
        KEPT["first"] = layers.Dense(4, activation="tanh")
    rest = net(units=hp.Choice("units", [3, 4]))
    i = keras.Input((6,))
    return compiled(keras.Model(i, layers.Dense(1, "sigmoid")(layers.Dense(5)(KEPT["first"](rest.layers[0](i))))))

class Counting(keras.Sequential):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        told = super().compute_metrics(x, y, y_pred, sample_weight)
        return {**told, "spread": ops.std(y_pred)}

def own_compute_metrics(hp):
    rest = net(units=hp.Choice("units", [3, 4]))
    return compiled(Counting([keras.Input((6,)), *rest.layers]), metrics=["mae"])

def over_the_batch(hp):
    hp.Choice("a", [1.0, 2.0])
    return compiled(net([layers.Lambda(lambda x: x - ops.mean(x, axis=0, keepdims=True))]))

class Fourier(layers.Layer):
    def __init__(self, n, **more):
        super().__init__(**more)
        self.n, self.w = n, np.random.normal(size=(6, n)).astype("float32")
    def call(self, x):
        return ops.cos(x @ self.w)
    def get_config(self):
        return {**super().get_config(), "n": self.n}

def drawn_constants(hp):
    return compiled(net([Fourier(hp.Choice("n", [4, 8]))]))

class Slotted:
    __slots__ = ("a",)
    def __init__(self, a):
        self.a = a
    def __call__(self, y, p):
        return self.a * keras.losses.mean_absolute_error(y, p)
    def get_config(self):
        return {}
    __name__ = "slotted"

def slotted_metric(hp):
    return compiled(net(), metrics=[Slotted(hp.Choice("a", [1.0, 2.0]))])

class Two(keras.metrics.Metric):
    def __init__(self):
        super().__init__(name="two")
        self.n = self.add_variable((), "zeros", name="n")
    def update_state(self, y, p, sample_weight=None):
        self.n.assign_add(ops.sum(p))
    def result(self):
        return {"sum": self.n + 0, "twice": 2 * self.n}

def metric_of_two(hp):
    return compiled(net(units=hp.Choice("units", [3, 4])), metrics=[Two()])

class Tracked(keras.Model):
    def train_step(self, data):
        x, y, w = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True), w)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        self._loss_tracker.update_state(loss)
        return {one.name: one.result() for one in self.metrics}

def loss_tracked_alone(hp):
    model = functional(Tracked, hp)
    model.compile("adam", "binary_crossentropy")
    return model

class Coder(keras.Model):
    def __init__(self, size):
        super().__init__()
        self.inward, self.outward = layers.Dense(size, activation="tanh"), layers.Dense(6)
        self.seen = keras.metrics.Mean(name="loss")
    @property
    def metrics(self):
        return [self.seen]
    def call(self, x):
        return self.inward(x)
    def lost(self, data):
        return ops.mean(ops.square(self.outward(self(data[0])) - data[0] * [1, 0.01, 1, 1, 1, 1]))
    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = self.lost(data)
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        self.seen.update_state(loss)
        return {"loss": self.seen.result()}
    def test_step(self, data):
        self.seen.update_state(self.lost(data))
        return {"loss": self.seen.result()}

def decoder_apart(hp):
    model = Coder(hp.Choice("size", [1, 2]))
    model.compile(optimizer=keras.optimizers.Adam(hp.Float("rate", 0.01, 0.2)))
    return model

class Cfg:
    def __init__(self, a):
        self.a = a

def with_own_options(hp):
    def times(y, p, cfg):
        return cfg.a * keras.losses.mean_absolute_error(y, p)
    kept = keras.metrics.MeanMetricWrapper(times, name="times", cfg=Cfg(hp.Choice("a", [1.0, 2.0])))
    return compiled(net(), metrics=[kept])

class Called(layers.Layer):
    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
    def call(self, x):
        self.calls.assign_add(1.0)
        return x * self.calls / (self.calls + 1.0)

class ByFirstBatch(layers.Layer):
    def build(self, shape):
        self.mean, self.scale = (self.add_weight(shape=shape[-1:], initializer=one) for one in ("zeros", "ones"))
        self.done = self.add_weight(shape=(), initializer="zeros", trainable=False)
    def call(self, x):
        self.mean.assign(ops.where(self.done > 0, self.mean, ops.mean(x, 0)))
        self.scale.assign(ops.where(self.done > 0, self.scale, 1 / (ops.std(x, 0) + 1e-3)))
        self.done.assign(1.0)
        return (x - self.mean) * self.scale

class Behind(keras.Model):
    def __init__(self, first, factor):
        super().__init__()
        self.first, self.factor = first, factor
        self.hidden, self.last = layers.Dense(6, activation="relu"), layers.Dense(1, activation="sigmoid")
    def call(self, x):
        return self.last(self.hidden(self.first(x)) * self.factor)

def counted_calls(hp):
    return compiled(Behind(Called(), hp.Choice("a", [1.0, 0.5])))

def by_first_batch(hp):
    return compiled(Behind(ByFirstBatch(), hp.Choice("a", [1.0, 0.5])))

def built_by_hand(hp):
    model = Behind(layers.Rescaling(0.01), hp.Choice("a", [1.0, 0.5]))
    model.build((None, 6))
    return compiled(model)

class Lookahead(keras.optimizers.SGD):
    def build(self, variables):
        super().build(variables)
        self.slow = [self.add_variable_from_reference(v, "slow", initializer="zeros") for v in variables]
        for slow, variable in zip(self.slow, variables):
            slow.assign(variable)
    def update_step(self, gradient, variable, rate):
        super().update_step(gradient, variable, rate)
        slow = self.slow[self._get_variable_index(variable)]
        now = ops.equal(ops.mod(self.iterations + 1, 2), 0)
        new = ops.where(now, slow + 0.5 * (variable - slow), variable)
        self.assign(slow, ops.where(now, new, slow))
        self.assign(variable, new)

class PulledBack(keras.optimizers.SGD):
    def build(self, variables):
        super().build(variables)
        begin = lambda v: lambda shape, dtype: ops.convert_to_tensor(v)
        self.start = [self.add_variable_from_reference(v, "start", initializer=begin(v)) for v in variables]
    def update_step(self, gradient, variable, rate):
        start = self.start[self._get_variable_index(variable)]
        super().update_step(gradient + 0.5 * (variable - start), variable, rate)

def slow_weights(hp):
    model = net()
    model.compile({"slow": Lookahead, "start": PulledBack}[hp.Choice("kind", ["slow", "start"])](0.1), "mse")
    return model

class MakesState(Behind):
    made = None
    def train_step(self, data):
        x, y, *_ = data
        if self.made is None:
            with tf.init_scope():
                self.made = keras.Variable(1.0, trainable=False)
        self.made.assign(self.made * 0.8)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True)) * tf.convert_to_tensor(self.made)
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        tracker = next(one for one in self.metrics if one.name == "loss")
        tracker.update_state(loss)
        return {"loss": tracker.result()}

def made_in_a_step(hp):
    model = MakesState(layers.Rescaling(0.01), hp.Choice("a", [1.0, 0.5]))
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    return model

def counted_in_sequence(hp):
    units = hp.Choice("units", [4, 8])
    return compiled(keras.Sequential([Called(), layers.Dense(units, "relu"), layers.Dense(1, "sigmoid")]))
"""

POINTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "closure_loss": [{"a": 1.0}, {"a": 8.0}],
    "counted_calls": [{"a": 1.0}, {"a": 0.5}],
    "by_first_batch": [{"a": 1.0}, {"a": 0.5}],
    "counted_in_sequence": [{"units": 4}, {"units": 8}],
    "built_by_hand": [{"a": 1.0}, {"a": 0.5}],
    "slow_weights": [{"kind": "slow"}, {"kind": "start"}],
    "made_in_a_step": [{"a": 1.0}, {"a": 0.5}],
    "loss_class": [{"a": 1.0}, {"a": 8.0}],
    "metric_closure": [{"a": 0.5}, {"a": 3.0}],
    "metric_class": [{"a": 0.4}, {"a": 0.6}],
    "activation_closure": [{"a": 0.0}, {"a": 2.0}],
    "layer_without_config": [{"a": 0.1}, {"a": 1.0}],
    "config_left_out": [{"a": 0.1}, {"a": 1.0}],
    "regularizer_without_config": [{"a": 0.0}, {"a": 0.1}],
    "normalization": [{"rows": 90, "rate": 0.02}, {"rows": 10, "rate": 0.02}, {"rows": 90, "rate": 0.1}],
    "discretization": [{"bins": 3}, {"bins": 5}],
    "lookup": [{"known": 3}, {"known": 8}],
    "set_by_hand": [{"a": 1.0}, {"a": -2.0}],
    "frozen_by_choice": [{"trained": True}, {"trained": False}],
    "shared_base": [{"frozen": True, "units": 3}, {"frozen": False, "units": 3}, {"frozen": False, "units": 5}],
    "cached_base": [{"units": 3}, {"units": 5}],
    "lambda_layer": [{"a": 0.1}, {"a": 3.0}],
    "subclass": [{"a": 0.0, "rate": 0.02}, {"a": 0.5, "rate": 0.02}, {"a": 0.5, "rate": 0.1}],
    "own_train_step": [{"units": 4, "rate": 0.02}, {"units": 4, "rate": 0.1}, {"units": 8, "rate": 0.02}],
    "own_metrics": [{"units": 4, "m": 0.0}, {"units": 4, "m": 0.9}],
    "own_compute_loss": [{"units": 4}, {"units": 8}],
    "vae": [{"size": 1, "share": 0.1}, {"size": 1, "share": 1.0}, {"size": 2, "share": 0.1}],
    "eagerly": [{"units": 3}, {"units": 4}],
    "weighted_metrics": [{"units": 3}, {"units": 4}],
    "own_optimizer": [{"power": 0.5}, {"power": 1.0}],
    "counting": [{"units": 3, "rate": 0.02}, {"units": 3, "rate": 0.1}],
    "stack_of_its_own": [{"a": 1.0}, {"a": 5.0}],
    "called_model": [{"units": 4}, {"units": 8}],
    "patched_step": [{"a": 1.0}, {"a": 5.0}],
    "constraint_on_a_variable": [{"a": 0.1}, {"a": 0.5}],
    "constraint_too_late": [{"units": 3}, {"units": 4}],
    "schedule_of_its_own": [{"a": 0.0}, {"a": 2.0}],
    "rate_that_is_called": [{"a": 0.01}, {"a": 0.1}],
    "metric_over_a_network": [{"a": 1.0}, {"a": 3.0}],
    "rank_that_counts": [{"units": 3}, {"units": 4}],
    "two_optimizers": [{"units": 4}, {"units": 8}],
    "gradient_reversed": [{"a": 0.1}, {"a": 1.0}],
    "loss_scaled": [{"rate": 0.02}, {"rate": 0.1}],
    "graph_metric": [{"a": 0.4}, {"a": 0.6}],
    "graph_loss": [{"a": 1.0}, {"a": 50.0}],
    "sets_global": [{"a": 1.0}, {"a": 20.0}],
    "graph_rate": [{"a": 0.01}, {"a": 0.1}],
    "wrapped_metric": [{"a": 1.0}, {"a": 3.0}],
    "wrapped_activation": [{"a": 0.1}, {"a": 3.0}],
    "cached_helper": [{"a": 1.0}, {"a": 2.0}],
    "decorated_metric": [{"a": 1.0}, {"a": 2.0}],
    "variable_of_a_metric": [{"a": 0.4}, {"a": 0.6}],
    "variable_of_an_optimizer": [{"a": 0.5}, {"a": 5.0}],
    "begins_below": [{"a": 1.0}, {"a": 2.0}],
    "counts_resets": [{"a": 0.4}, {"a": 0.6}],
    "counts_steps_in_python": [{"units": 4}, {"units": 8}],
    "patched_optimizer": [{"a": 0.0}, {"a": 1.0}],
    "epsilon_set": [{"a": 1e-7}, {"a": 0.3}],
    "policy_set": [{"half": True}, {"half": False}],
    "variable_of_a_module": [{"units": 3}, {"units": 4}],
    "variable_of_a_loss": [{"units": 3}, {"units": 4}],
    "module_dict": [{"a": 3.0}, {"a": 1.0}],
    "dict_with_code": [{"a": 3.0}, {"a": 1.0}],
    "cached_options": [{"a": 3.0}, {"a": 1.0}],
    "default_by_a_factory": [{"a": 0.1}, {"a": 2.0}],
    "asked_in_a_loss": [{"late": 0.5}, {"late": 2.0}],
    "number_with_more": [{"a": 0.1}, {"a": 2.0}],
    "generator_in_a_loss": [{"rate": 0.02}, {"rate": 0.1}],
    "layers_in_a_loss": [{"rate": 0.02}, {"rate": 0.1}],
    "generator_in_an_optimizer": [{"rate": 0.02}, {"rate": 0.1}],
    "layer_of_the_module": [{"units": 3}, {"units": 4}],
    "layer_kept_from_the_first_call": [{"units": 3}, {"units": 4}],
    "own_compute_metrics": [{"units": 3}, {"units": 4}],
    "over_the_batch": [{"a": 1.0}, {"a": 2.0}],
    "drawn_constants": [{"n": 4}, {"n": 8}],
    "slotted_metric": [{"a": 1.0}, {"a": 2.0}],
    "metric_of_two": [{"units": 3}, {"units": 4}],
    "loss_tracked_alone": [{"units": 3}, {"units": 4}],
    "with_own_options": [{"a": 1.0}, {"a": 2.0}],
    "decoder_apart": [{"size": 1, "rate": 0.02}, {"size": 2, "rate": 0.02}, {"size": 2, "rate": 0.1}],
}
"""The builders with the points that each is trained at."""


BY_FIT_WHEN_TRACED = ("counts_resets", "counts_steps_in_python")
"""Of which a graph tells that Keras's `fit` is to train them."""

DATA = {"rank_that_counts": "column"}
"""The function that gives the samples, where it is not `data`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where hptune and the plain program lie apart. order: in which the points were trained."""

    point: Mapping[str, Any]
    order: str
    where: str
    ours: Any
    theirs: Any


def write(folder: Path) -> None:
    """The module, and a YAML for each builder."""
    (folder / "people_code.py").write_text(CODE)
    for name in POINTS:
        tree = {
            "version": 1,
            "name": name,
            "seed": SEED,
            "data": {"python": f"people_code:{DATA.get(name, 'data')}", "scale": "none", "task": "classes"},
            "model": {"python": f"people_code:{name}"},
            "training": {"batch_size": BATCH, "epochs": EPOCHS},
            "objective": {"metric": "val_off" if name == "own_metrics" else "val_loss", "goal": "minimize"},
        }
        (folder / f"{name}.yaml").write_text(json.dumps(tree))


def differences(folder: Path, name: str) -> list[Difference]:
    """Every point of a builder in both orders beside the plain program. `write` was called for the folder."""
    points = POINTS[name]
    theirs: dict[str, Mapping[str, Sequence[float]]] = {}
    found: list[Difference] = []
    settings = Settings.now()
    for order, some in (("forwards", points), ("backwards", points[::-1])):
        settings.put()
        sys.modules.pop("people_code", None)
        reset_names()  # as in a process of its own
        loaded = load(folder / f"{name}.yaml")
        run = RunPaths(folder / "runs" / f"{name}-{order}")
        worker = Worker(loaded.experiment, loaded.folder, run)
        for number, values in enumerate(some):
            segment = Segment(number, values, to_epoch=0, keep_state=True)
            trainer: Any = worker.trainer()
            by_fit, before = trainer.loaded.builder.has_own_fit, None
            if not (by_fit or name in BY_FIT_WHEN_TRACED):
                worker.run(segment)
                before = states.load(run.state(number, 0, 0))[0]
            ours = worker.run(segment._replace(to_epoch=EPOCHS, keep_state=False)).curves
            key = json.dumps(values)
            if key not in theirs:
                given = before.model if before is not None else None
                theirs[key] = fitted(name, values, given, trainer.loaded.data)
            found += [
                Difference(values, order, metric, list(ours.get(metric, ())), list(curve))
                for metric, curve in theirs[key].items()
                if not same(ours.get(metric, ()), curve)
            ]
    settings.put()
    return found


def same(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    return len(ours) == len(theirs) and bool(np.allclose(ours, theirs, rtol=1e-5, atol=1e-5, equal_nan=True))


def fitted(
    name: str, values: Mapping[str, Any], initial: Sequence[Any] | None, data: Any
) -> dict[str, Sequence[float]]:
    """The curves of the plain program: the module anew, the builder's model, `fit` from these variables.

    initial: None where hptune has Keras's `fit` train the model: then all is left to it, under the trial's seed.
    """
    import keras_tuner

    module = ModuleType("people_code")
    exec(CODE, module.__dict__)  # the very text of the user's module
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    settings = Settings.now()
    of_trial = seeds.derive(SEED, "own fit", dict(values), 0)
    # What the code draws beside weights.
    keras.utils.set_random_seed(of_trial if initial is None else seeds.derive(SEED, "build"))
    model = getattr(module, name)(hp)
    given = getattr(module, DATA.get(name, "data"))()[0][1]
    assert data.train.y.shape == given.shape, "the targets have another form than they were given in"
    assert data.train.y.dtype.kind == given.dtype.kind, "the targets are of another type than they were given in"
    few = (data.train.x[:2], data.train.y[:2])
    if name in ("decoder_apart", "made_in_a_step"):
        tf.function(model.train_step, autograph=False).get_concrete_function(few)  # as fit: nothing is computed
    elif name != "vae" and not all(layer.built for layer in model._flatten_layers()):
        model._symbolic_build(data_batch=few)
    if initial is None:
        (x, y, *weights), validation = getattr(module, DATA.get(name, "data"))()
        weight = weights[0] if weights else None
        told = model.fit(x, y, BATCH, EPOCHS, verbose=0, validation_data=validation, sample_weight=weight)
        curves = dict(told.history)
    else:
        curves = trained(model, values, initial, data)
    settings.put()
    return curves


def trained(
    model: Any,
    values: Mapping[str, Any],
    initial: Sequence[Any],
    data: Any,
    *,
    callbacks: Sequence[Any] = (),
    validates: bool = True,
) -> dict[str, Sequence[float]]:
    """The curves of Keras's `fit` from these variables, over the batches that hptune deals to these values."""
    whole = [(part.x[:], part.y, part.sample_weight) for part in (data.train, data.validation)]
    parts = [tuple(one for one in part if one is not None) for part in whole]
    of_seeds = {id(one.state) for layer in model._flatten_layers() for one in layer._seed_generators}
    for variable, value in zip(model.variables, initial, strict=False):
        constant = np.ptp(variable.numpy()) == 0
        if variable.trainable or id(variable) in of_seeds or not constant:  # else it is the builder's own
            variable.assign(value)
    order = seeds.derive(SEED, "samples", dict(values), 0)
    batches = plain.Batches(parts[0], BATCH, order)
    watch = _Watch(batches)
    history = model.fit(
        batches,
        validation_data=plain.Batches(parts[1], BATCH, None) if validates else None,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[watch, *callbacks],
    ).history
    curves: dict[str, Sequence[float]] = {key: list(values) for key, values in history.items()}
    if any(watch.penalties):  # hptune tells the data's loss, and the penalty beside it
        curves["val_loss"] = [loss - penalty for loss, penalty in zip(curves["val_loss"], watch.penalties, strict=True)]
        del curves["loss"]
    return curves


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Says which epoch it is, and keeps the penalty at its end."""

    def __init__(self, batches: plain.Batches) -> None:
        super().__init__()
        self.batches = batches
        self.penalties: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.penalties.append(float(sum(float(v) for v in self.model._get_regularization_losses())))
