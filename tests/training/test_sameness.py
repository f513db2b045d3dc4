"""Code and state of the user's own: what differs is not shared, and nothing goes on from trial to trial."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.own.sameness import described
from hptune.training.runtime import keras
from hptune.training.worker import Worker

CODE = """
import keras, numpy as np
import tensorflow as tf

def data():
    g = np.random.default_rng(0)
    def part(n):
        x = g.normal(size=(n, 6)).astype("float32")
        return x, ((x[:, 0] + x[:, 1] / 2) > 0).astype("int32")
    return part(64), part(40), part(40)

class Weighted(keras.losses.Loss):
    "Holds an array, and has no get_config of its own."
    def __init__(self, a):
        super().__init__()
        self.shares = np.array([1.0, a], "float32")
    def call(self, y, p):
        y = keras.ops.cast(keras.ops.reshape(y, (-1, 1)), "float32")
        shares = self.shares[0] * (1 - y) + self.shares[1] * y
        return keras.ops.mean(keras.losses.binary_crossentropy(y, p)[:, None] * shares, -1)

class Boosted(keras.optimizers.SGD):
    "Leaves its option out of its config."
    def __init__(self, boost=1.0, **more):
        super().__init__(**more)
        self.boost = boost
    def update_step(self, gradient, variable, rate):
        super().update_step(gradient * self.boost, variable, rate)

class Held:
    def __init__(self, a):
        self.a = a
    def loss(self, y, p):
        return self.a * keras.losses.binary_crossentropy(y, p)

def net(activation="relu", penalty=None):
    first, last = (keras.initializers.GlorotUniform(seed=seed) for seed in (1, 2))
    dense = keras.layers.Dense
    return keras.Sequential([
        keras.Input((6,)),
        dense(8, activation=activation, kernel_initializer=first, kernel_regularizer=penalty),
        dense(1, activation="sigmoid", kernel_initializer=last),
    ])

def made(case, a):
    model, loss, optimizer, metrics = net(), "binary_crossentropy", keras.optimizers.SGD(0.1), []
    if case == "closure":
        def loss(y, p):
            return a * keras.losses.binary_crossentropy(y, p)
    elif case == "lambda":
        loss = lambda y, p: a * keras.losses.binary_crossentropy(y, p)
    elif case == "method":
        loss = Held(a).loss
    elif case == "array":
        loss = Weighted(a)
    elif case == "optimizer":
        optimizer = Boosted(boost=a, learning_rate=0.1)
    elif case == "weights":
        model.layers[-1].bias.assign([a])
    elif case == "activation":
        model = net(activation=lambda x: keras.ops.maximum(x, -a))
    elif case == "metric":
        def above(y, p):
            return keras.ops.cast(p > a / 4, "float32")
        metrics = [above]
    model.compile(optimizer, loss, metrics=metrics)
    return model

def build(hp):
    cases = ["closure", "lambda", "method", "array", "optimizer", "weights", "activation", "metric"]
    return made(hp.Choice("case", cases), hp.Choice("a", [0.5, 3.0]))

class Counting(keras.layers.Layer):
    "Counts its calls in a variable of TensorFlow's, which Keras does not know of."
    def build(self, shape):
        self.count = tf.Variable(0.0, trainable=False)
    def call(self, x, training=False):
        if training:
            self.count.assign_add(1.0)
        return x * (1 + 0.01 * self.count)

class Keeping(keras.metrics.Metric):
    "Is never reset."
    def __init__(self, name="keeping"):
        super().__init__(name=name)
        self.count = self.add_variable((), "zeros", name="count")
    def update_state(self, y, p, sample_weight=None):
        self.count.assign_add(1.0)
    def result(self):
        return self.count
    def reset_state(self):
        pass
"""

CASES = ["closure", "activation", "optimizer"]
MORE_CASES = ["lambda", "method", "array", "weights", "metric"]

BUILT = """
version: 1
name: t
data: {python: "own_parts:data", scale: none}
model: {python: "own_parts:build"}
training: {batch_size: 64, epochs: 2}
objective: {metric: val_loss, goal: minimize}
"""

STATEFUL = """
version: 1
name: t
data: {python: "own_parts:data", scale: none}
model: {layers: ["own_parts:Counting", Dense: {units: 1, activation: sigmoid}]}
search_space: {rate: {type: float, min: 0.01, max: 1}}
training: {optimizer: {name: sgd, learning_rate: $rate}, metrics: ["own_parts:Keeping"], batch_size: 16, epochs: 4}
objective: {metric: val_loss, goal: minimize}
"""


@pytest.fixture
def own_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "own_parts.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    import own_parts  # type: ignore[import-not-found]

    yield own_parts
    sys.modules.pop("own_parts", None)


def worker(folder: Path, text: str, name: str = "t") -> Worker:
    (folder / "t.yaml").write_text(text)
    loaded = load(folder / "t.yaml")
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / name))


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in MORE_CASES)])
def test_code_that_differs_is_trained_as_it_stands(tmp_path: Path, own_parts: Any, case: str) -> None:
    """Beside the builder's own model and `fit`: what a setting closes over is not the first trial's."""
    one = worker(tmp_path, BUILT)
    (x, y), (xv, yv), _ = own_parts.data()
    for number, a in enumerate((0.5, 3.0)):
        ours = one.run(Segment(number, {"case": case, "a": a}, to_epoch=2)).curves
        plain = own_parts.made(case, a)
        theirs = plain.fit(x, y, batch_size=64, epochs=2, shuffle=False, verbose=0, validation_data=(xv, yv)).history
        for name in theirs:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5), (a, name)


@pytest.mark.usefixtures("own_parts")
def test_state_that_keras_does_not_count_begins_anew_and_goes_on_with_its_trial(tmp_path: Path) -> None:
    one, other = worker(tmp_path, STATEFUL), worker(tmp_path, STATEFUL, "other")
    alone = one.run(Segment(0, {"rate": 0.1}, to_epoch=4)).curves
    assert alone["keeping"] == (4.0, 11.0, 18.0, 25.0)  # four steps of training, then three of validation
    other.run(Segment(0, {"rate": 0.5}, to_epoch=4))
    first = other.run(Segment(1, {"rate": 0.1}, to_epoch=2, keep_state=True)).curves
    other.run(Segment(2, {"rate": 0.3}, to_epoch=1))
    second = other.run(Segment(1, {"rate": 0.1}, from_epoch=2, to_epoch=4)).curves
    assert {name: (*first[name], *second[name]) for name in first} == alone


def test_what_is_the_same_is_told_the_same() -> None:
    """A program is reused for a model of code whose functions are only made again."""

    def scaled(by: Any) -> Any:
        return lambda x: x * by

    keras()
    assert described(scaled(2)) == described(scaled(2))
    assert described(scaled(np.arange(3))) == described(scaled(np.arange(3)))
    for other in (3, 2.5, "2", None, np.arange(3), [2]):
        assert described(scaled(2)) != described(scaled(other))
    assert described(scaled(object())) != described(scaled(object())), "what can't be looked into is equal to nothing"
    assert described(len) == described(len)
