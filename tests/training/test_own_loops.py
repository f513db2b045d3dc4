"""Models whose code stands around Keras's steps, or that take batches of one size: trained by their own `fit`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SegmentFailed
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.runtime import keras
from hptune.training.worker import Worker

CODE = """
import keras, numpy as np, tensorflow as tf
from keras import layers, ops

def arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6)).astype("float32")
    y = (x @ [1, -2, 1, 0, 0.5, 0.3] + 0.3 * x[:, 0] * x[:, 1]).astype("float32")[:, None]
    return (x[:40], y[:40]), (x[40:], y[40:])

def net(hp, kind, *args, batch=None, **more):
    i = keras.Input((6,), batch_size=batch)
    def dense(units, seed, **more):
        return layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed), **more)
    model = kind(i, dense(1, 2)(dense(8, 1, activation="relu")(i)))
    model.compile(keras.optimizers.Adam(hp.Choice("rate", [0.01, 0.1])), *(args or ("mse",)), **more)
    return model

class Fits(keras.Model):
    def fit(self, x, y, **more):
        return super().fit(x, y * 2, **more)

def own_fit(hp):
    return net(hp, Fits)

class Makes(keras.Model):
    def make_train_function(self, force=False):
        def train(iterator):
            for data in iterator:
                logs = self.train_step(tuple(part * 0.5 for part in data))
            return logs
        self.train_function = train

def own_train_function(hp):
    return net(hp, Makes)

class Evaluates(keras.Model):
    def evaluate(self, *args, **more):
        return {name: value + 7 for name, value in super().evaluate(*args, **{**more, "return_dict": True}).items()}

def own_evaluate(hp):
    return net(hp, Evaluates)

class Compiles(keras.Model):
    def compile(self, optimizer, loss_fn, alpha=1.0):
        super().compile(optimizer=optimizer)
        self.loss_fn, self.alpha = loss_fn, alpha
        self.seen = keras.metrics.Mean(name="loss")
    @property
    def metrics(self):
        return [self.seen]
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.alpha * self.loss_fn(y, self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        self.seen.update_state(loss)
        return {"loss": self.seen.result()}
    def test_step(self, data):
        x, y = data
        self.seen.update_state(self.loss_fn(y, self(x, training=False)))
        return {"loss": self.seen.result()}

def own_compile(hp):
    return net(hp, Compiles, keras.losses.MeanAbsoluteError(), alpha=100.0)

class Numpy(keras.Model):
    def train_step(self, data):
        x, y = data
        return {**super().train_step((x, tf.constant(np.clip(y.numpy(), -1, 1)))), "constant": 2.5}

def eager_numpy(hp):
    return net(hp, Numpy, "mse", run_eagerly=True)

def one_size(hp):
    return net(hp, keras.Model, "mse", batch=20)

def patched_fit(hp):
    model = net(hp, keras.Model)
    fit = model.fit
    object.__setattr__(model, "fit", lambda x, y, **more: fit(x, -y, **more))
    return model

def some_fit(hp):
    return own_fit(hp) if hp.Boolean("fits") else net(hp, keras.Model)
"""

BUILDERS = ["own_fit", "own_train_function", "own_evaluate", "own_compile", "eager_numpy", "one_size", "patched_fit"]


USUAL = ("own_fit", "own_compile")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in USUAL else [pytest.mark.slow]) for n in BUILDERS])
def test_trains_as_its_plain_fit_does(tmp_path: Path, name: str) -> None:
    """Batches of all samples, or of all in their order, so that no shuffling shows."""
    size = 20 if name == "one_size" else 40
    (tmp_path / "looping_code.py").write_text(CODE)
    (tmp_path / "spec.yaml").write_text(
        f"version: 1\nname: t\ndata: {{python: 'looping_code:arrays', scale: none}}\n"
        f"model: {{python: 'looping_code:{name}'}}\ntraining: {{batch_size: {size}, epochs: 3}}\n"
        "objective: {metric: val_loss, goal: minimize}\n"
    )
    loaded = load(tmp_path / "spec.yaml")
    one = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "t"))
    try:
        assert one.run(Segment(0, {}, purpose="probe")).facts["own_fit"]
        for number, rate in enumerate((0.1, 0.01)):
            ours = one.run(Segment(number, {"rate": rate}, to_epoch=3)).curves
            theirs = plain(name, rate, size)
            near = 0.2 if name == "one_size" else 1e-5  # two batches, whose order is Keras's to draw
            assert np.allclose(ours["val_loss"], theirs["val_loss"], rtol=near), (ours, theirs)
    finally:
        sys.modules.pop("looping_code", None)


def plain(name: str, rate: float, size: int) -> Any:
    import keras_tuner

    module = ModuleType("looping_code")
    exec(CODE, module.__dict__)  # the very text of the user's module
    hp = keras_tuner.HyperParameters()
    hp.values = {"rate": rate}
    (x, y), validation = module.arrays()
    keras().utils.set_random_seed(0)
    model = getattr(module, name)(hp)
    return model.fit(x, y, validation_data=validation, epochs=3, batch_size=size, verbose=0).history


def test_what_hptune_does_in_its_own_loop_is_named_where_a_point_needs_keras_fit(tmp_path: Path) -> None:
    (tmp_path / "looping_code.py").write_text(CODE)
    (tmp_path / "spec.yaml").write_text(
        "version: 1\nname: t\ndata: {python: 'looping_code:arrays', scale: none}\n"
        "model: {python: 'looping_code:some_fit'}\ntraining: {batch_size: 40, epochs: 1}\n"
        "initialization: {stabilize: {method: warmup, epochs: 1, start: 0.001, end: 0.01}}\n"
        "objective: {metric: val_loss, goal: minimize}\n"
    )
    loaded = load(tmp_path / "spec.yaml")
    one = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "t"))
    try:
        assert "own_fit" not in one.run(Segment(0, {}, purpose="probe")).facts
        assert one.run(Segment(0, {"rate": 0.1, "fits": False}, purpose="stabilize")).facts["stabilized"]
        with pytest.raises(SegmentFailed, match=r"initialization\.stabilize: has no effect, since Keras's fit"):
            one.run(Segment(1, {"rate": 0.1, "fits": True}, purpose="stabilize"))
    finally:
        sys.modules.pop("looping_code", None)
