"""What a model is compiled with: all of it reaches training, and all of it tells programs apart."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SegmentFailed
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.own.sameness import described
from hptune.training.runtime import keras
from hptune.training.worker import Worker

CODE = """
import keras, numpy as np

def data():
    g = np.random.default_rng(0)
    def part(n):
        x = g.normal(size=(n, 6)).astype("float32")
        return x, ((x[:, 0] + x[:, 1] / 2) > 0).astype("int32"), g.uniform(0.5, 2, size=n).astype("float32")
    return part(64), part(40), part(40)

def net(l2, decayed):
    first, last = (keras.initializers.GlorotUniform(seed=seed) for seed in (1, 2))
    dense, l2 = keras.layers.Dense, keras.regularizers.L2(l2)
    model = keras.Sequential([
        keras.Input((6,)),
        dense(8, activation="relu", kernel_initializer=first, kernel_regularizer=l2),
        dense(1, activation="sigmoid", kernel_initializer=last),
    ])
    optimizer = keras.optimizers.AdamW(0.05, weight_decay=0.5)
    if not decayed:
        optimizer.exclude_from_weight_decay(var_names=["bias"], var_list=[model.layers[0].kernel])
    model.compile(
        optimizer,
        keras.losses.BinaryCrossentropy(),
        loss_weights=[0.5],
        metrics=[keras.metrics.AUC(name="auc")],
        weighted_metrics=[keras.metrics.BinaryAccuracy(name="weighted")],
    )
    return model

def build(hp):
    return net(hp.Choice("l2", [0.0, 0.1]), hp.Boolean("decayed"))
"""

YAML = """
version: 1
name: t
data: {python: "built_net:data", scale: none}
model: {python: "built_net:build"}
training: {batch_size: 64, epochs: 3}
objective: {metric: val_loss, goal: minimize}
"""


def test_what_a_builder_compiled_is_trained_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss weights, weighted metrics and variables without weight decay, beside the builder's own model and `fit`."""
    (tmp_path / "built_net.py").write_text(CODE)
    (tmp_path / "t.yaml").write_text(YAML)
    monkeypatch.syspath_prepend(tmp_path)
    import built_net  # type: ignore[import-not-found]

    (x, y, w), (xv, yv, wv), _ = built_net.data()
    loaded = load(tmp_path / "t.yaml")
    points = [(0.0, False), (0.1, False), (0.1, True)]
    there, back = (Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / name)) for name in ("there", "back"))
    ours = {point: there.run(_segment(point)).curves for point in points}
    assert {point: back.run(_segment(point)).curves for point in points[:0:-1]} == {p: ours[p] for p in points[1:]}
    for point in points:
        model = built_net.net(*point)
        for epoch in range(3):
            model.fit(x, y, sample_weight=w, batch_size=64, shuffle=False, verbose=0)
            found = model.evaluate(xv, yv, sample_weight=wv, batch_size=64, verbose=0, return_dict=True)
            found["loss"] -= float(sum(model.losses))
            for name, value in found.items():
                assert ours[point][f"val_{name}"][epoch] == pytest.approx(value, rel=2e-5), (point, name)


def _segment(point: tuple[float, bool]) -> Segment:
    return Segment(0, {"l2": point[0], "decayed": point[1]}, to_epoch=3)


SAVED = """
version: 1
name: t
data: {source: iris}
model: {saved: own.keras, custom_objects: {Own: "saved_own:Own"}}
search_space: {rate: {type: float, min: 0.001, max: 1.0}, kind: {type: choice, values: [sgd, adam]}}
training: {optimizer: {name: $kind, learning_rate: $rate}, metrics: [{AUC: {name: auc}}], loss: poisson, epochs: 2}
objective: {metric: val_loss, goal: minimize}
"""

OWN = """
import keras
class Own(keras.Model):
    def __init__(self, **more):
        super().__init__(**more)
        self.last = keras.layers.Dense(3, activation="softmax")
    def build(self, shape):
        self.last.build(shape)
    def call(self, x):
        return self.last(x)
"""


@pytest.mark.parametrize("own", [False, True])
def test_a_saved_model_is_compiled_once_for_each_optimizer(tmp_path: Path, own: bool) -> None:
    """Not once a trial, for the automatic name of an optimizer; nor once for all, with the first one's."""
    (tmp_path / "saved_own.py").write_text(OWN)
    sys.path.insert(0, str(tmp_path))
    try:
        if own:
            import saved_own  # type: ignore[import-not-found]

            made: Any = saved_own.Own()
            made.build((None, 4))
        else:
            made = keras().Sequential([keras().Input((4,)), keras().layers.Dense(3, activation="softmax")])
        made.save(tmp_path / "own.keras")
    finally:
        sys.path.remove(str(tmp_path))
    text = SAVED if own else SAVED.replace(', custom_objects: {Own: "saved_own:Own"}', "")
    (tmp_path / "t.yaml").write_text(dedent(text).replace("source: iris", "source: iris, one_hot: true"))
    loaded = load(tmp_path / "t.yaml")
    one = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "t"))
    found = {}
    for number, (kind, rate) in enumerate([("sgd", 0.1), ("adam", 0.1), ("sgd", 0.2), ("adam", 0.2)]):
        result = one.run(Segment(number, {"kind": kind, "rate": rate}, to_epoch=2))
        found[kind, rate] = result.curves["val_loss"]
    assert len(one.trainer().loaded.programs._programs) == 2  # type: ignore[attr-defined]
    assert len(set(found.values())) == 4


def test_all_that_an_object_holds_tells_it_apart() -> None:
    """Keras's configs leave some of it out: the axis of a cross-entropy, the type of a loss."""
    losses, metrics = keras().losses, keras().metrics
    pairs = [
        (losses.SparseCategoricalCrossentropy(), losses.SparseCategoricalCrossentropy(axis=1)),
        (losses.MeanSquaredError(), losses.MeanSquaredError(dtype="float64")),
        (losses.Huber(delta=1.0), losses.Huber(delta=2.0)),
        (metrics.AUC(name="auc", curve="ROC"), metrics.AUC(name="auc", curve="PR")),
        (losses.mean_squared_error, losses.mean_absolute_error),
    ]
    for one, other in pairs:
        assert described(one) != described(other)
        assert described(one) == described(one)


BESIDE = """
import keras, numpy as np
def data():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    y = x.sum(1)
    return (x[:48], y[:48]), (x[48:], y[48:])
def net(rate, shares):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    if rate == "schedule":
        rate = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    model.compile(keras.optimizers.SGD(rate), "mse", loss_weights=shares)
    return model
def build(hp):
    return net(hp.Choice("rate", [0.1, 0.2]), [0.3])
def decays(hp):
    return net("schedule", None if hp.Boolean("b") else [0.3])
"""


def _beside(folder: Path, builder: str, more: str) -> Worker:
    (folder / "beside_net.py").write_text(BESIDE)
    (folder / "t.yaml").write_text(
        "version: 1\nname: t\ndata: {python: 'beside_net:data', scale: none}\n"
        f"model: {{python: 'beside_net:{builder}'}}\nobjective: {{metric: val_loss}}\n{more}\n"
    )
    loaded = load(folder / "t.yaml")
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs"))


def test_the_yamls_loss_leaves_the_builders_loss_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    worker = _beside(tmp_path, "build", "training: {batch_size: 48, epochs: 3, loss: mae}")
    monkeypatch.syspath_prepend(tmp_path)
    import beside_net  # type: ignore[import-not-found]

    (x, y), (xv, yv) = beside_net.data()
    for rate in (0.1, 0.2):
        ours = worker.run(Segment(0, {"rate": rate}, to_epoch=3)).curves["val_loss"]
        model = beside_net.net(rate, None)
        model.compile(keras.optimizers.SGD(rate), "mae", loss_weights=[0.3])
        plain = model.fit(x, y, batch_size=48, epochs=3, validation_data=(xv, yv), shuffle=False, verbose=0)
        np.testing.assert_allclose(ours, plain.history["val_loss"], rtol=1e-5)


@pytest.mark.parametrize(
    "schedule", ["{name: exponential, factor: 0.5}", "{name: constant, warmup: {epochs: 1, start: 0}}"]
)
def test_a_schedule_beside_one_that_the_code_has_fails_its_trial(tmp_path: Path, schedule: str) -> None:
    worker = _beside(tmp_path, "decays", f"training: {{batch_size: 48, epochs: 2}}\nschedule: {schedule}")
    with pytest.raises(SegmentFailed, match="schedule has no effect, since the optimizer that the code builds has"):
        worker.run(Segment(0, {"b": True}, to_epoch=2))
    free = _beside(tmp_path, "build", f"training: {{batch_size: 48, epochs: 2}}\nschedule: {schedule}")
    assert len(free.run(Segment(0, {"rate": 0.1}, to_epoch=2)).curves["val_loss"]) == 2


SMOOTHED = """
import keras, numpy as np
def data():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    y = (x.sum(1) > 0).astype("int32")
    return (x[:48], y[:48]), (x[48:], y[48:])
def net(shares, smoothing=0.0):
    model = keras.Sequential([
        keras.Input((3,)), keras.layers.Dense(1, "sigmoid", kernel_initializer="zeros"),
    ])
    loss = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
    model.compile(keras.optimizers.SGD(0.5), loss, loss_weights=shares)
    return model
def build(hp):
    return net([None, [0.3], 0.3][hp.Choice("k", [0, 1, 2])])
"""


def test_smoothed_labels_leave_the_builders_loss_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "smoothed_net.py").write_text(SMOOTHED)
    (tmp_path / "t.yaml").write_text(
        "version: 1\nname: t\ndata: {python: 'smoothed_net:data', scale: none}\nmodel: {python: 'smoothed_net:build'}\n"
        "training: {batch_size: 48, epochs: 3, regularization: {label_smoothing: 0.2}}\nobjective: {metric: val_loss}\n"
    )
    loaded = load(tmp_path / "t.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs"))
    monkeypatch.syspath_prepend(tmp_path)
    import smoothed_net  # type: ignore[import-not-found]

    (x, y), (xv, yv) = smoothed_net.data()
    for k, shares in enumerate((None, [0.3], 0.3)):
        ours = worker.run(Segment(0, {"k": k}, to_epoch=3)).curves["val_loss"]
        trained, plain = smoothed_net.net(shares, 0.2), smoothed_net.net(shares)
        wanted = []
        for _ in range(3):
            trained.fit(x, y, batch_size=48, shuffle=False, verbose=0)
            plain.set_weights(trained.get_weights())
            wanted.append(plain.evaluate(xv, yv, verbose=0))
        np.testing.assert_allclose(ours, wanted, rtol=1e-5)


NAMED = """
import functools, keras
from keras import ops
def mean(y, p):
    return ops.mean(p, axis=-1)
def named(name):
    @functools.wraps(mean)
    def metric(y, p):
        return mean(y, p)
    metric.__name__ = name
    return metric
class Mean(keras.metrics.Metric):
    def __init__(self, **more):
        super().__init__(**more)
        self.last = self.add_weight(name="last", initializer="zeros")
    def update_state(self, y, p, sample_weight=None):
        self.last.assign(ops.mean(p))
    def result(self):
        return self.last + 0.0
def build(hp):
    which = hp.Choice("which", ["one", "other", "a", "b"])
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, activation="sigmoid")])
    metric = Mean(name=which) if which in ("a", "b") else named(which)
    model.compile("sgd", "binary_crossentropy", metrics=[metric])
    return model
"""


def test_metrics_that_differ_by_their_name_alone_keep_their_own(tmp_path: Path) -> None:
    (tmp_path / "built_net.py").write_text(CODE)
    (tmp_path / "named_net.py").write_text(NAMED)
    (tmp_path / "t.yaml").write_text(YAML.replace("built_net:build", "named_net:build"))
    loaded = load(tmp_path / "t.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs"))
    for number, which in enumerate(["one", "other", "a", "b"]):
        curves = worker.run(Segment(number, {"which": which}, to_epoch=1)).curves
        assert {*curves} == {"loss", "val_loss", which, f"val_{which}"}


LATE = """
import keras
from keras import layers, ops
def build(hp):
    where = hp.Choice("where", ["nowhere", "schedule", "rate", "constraint", "training", "loss"])
    def late():
        return hp.Float("late", 0.1, 0.5)
    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return late() + 0.0 * ops.cast(step, "float32")
    class Only(layers.Layer):
        def call(self, x, training=False):
            return x * late() if training and where == "training" else x
    constraint = (lambda w: w * late()) if where == "constraint" else None
    dense = layers.Dense(1, activation="sigmoid", kernel_constraint=constraint)
    model = keras.Sequential([keras.Input((6,)), Only(), dense])
    rate = {"schedule": Schedule(), "rate": late}.get(where, 0.1)
    loss = (lambda y, p: ops.mean(p, axis=-1) * late()) if where == "loss" else "binary_crossentropy"
    model.compile(keras.optimizers.SGD(rate), loss)
    return model
"""


def test_what_code_asks_for_as_a_graph_is_made_has_no_silent_default(tmp_path: Path) -> None:
    """Twice each: a program that is kept asks for nothing any more."""
    (tmp_path / "built_net.py").write_text(CODE)
    (tmp_path / "late_net.py").write_text(LATE)
    (tmp_path / "t.yaml").write_text(YAML.replace("built_net:build", "late_net:build"))
    loaded = load(tmp_path / "t.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs"))
    assert worker.run(Segment(0, {"where": "nowhere"}, to_epoch=1)).epochs == 1
    for where in ("schedule", "rate", "constraint", "training", "loss"):
        for number in (1, 2):
            with pytest.raises(SegmentFailed, match="the code asks for late under these values"):
                worker.run(Segment(number, {"where": where}, to_epoch=1))
