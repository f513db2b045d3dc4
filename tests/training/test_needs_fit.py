"""Models compiled with what reads or holds that very model, and Keras itself changed by a builder: beside plain `fit`.

One HyperModel of all kinds, the plain one first: its points train as they come, in one process, shared programs and
plain ones side by side.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.runtime import keras
from hptune.training.worker import Worker

CODE = """
import functools, weakref
import keras, numpy as np, tensorflow as tf
from keras import layers, ops
import bound_helper

def arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 6)).astype("float32")
    y = (x @ [1, -2, 1, 0, 0.5, 0.3] + 0.3 * x[:, 0] * x[:, 1] > 0).astype("float32")[:, None]
    return (x[:60], y[:60]), (x[60:], y[60:])

def dense(units, seed, **more):
    return layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed), **more)

def crossed(y, p):
    return keras.losses.binary_crossentropy(y, p)

class LogVariance(layers.Layer):
    def build(self, shape):
        self.s = self.add_weight(shape=(), initializer="zeros", name="s")
    def call(self, x):
        return x + 0.0 * self.s

class Running(layers.Layer):
    def build(self, shape):
        self.m = self.add_weight(shape=(shape[-1],), initializer="zeros", trainable=False, name="m")
    def call(self, x, training=False):
        if training:
            self.m.assign(0.5 * self.m + 0.5 * ops.mean(x, 0))
        return x

class LayerLoss(keras.losses.Loss):
    def __init__(self, layer, k):
        super().__init__()
        self.layer, self.k = layer, k
    def call(self, y, p):
        return crossed(y, p) + self.k * ops.sum(self.layer.kernel ** 2)

class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = dense(3, 1, activation="relu"), dense(1, 9, activation="sigmoid")
    def call(self, x):
        return self.b(self.a(x))
    def penalised(self, k):
        return lambda y, p: crossed(y, p) + k * ops.sum(self.a.kernel ** 2)

class Fits(keras.Model):
    def fit(self, x, y, **more):
        return super().fit(x, 1 - y, **more)

class OfBase(keras.losses.Loss):
    layer = None

class FromBase(OfBase):
    def __init__(self, k):
        super().__init__()
        self.k = k
    def call(self, y, p):
        return crossed(y, p) + self.k * ops.sum(self.layer.kernel ** 2)

LAYERS = []

class ByProperty(FromBase):
    @property
    def layer(self):
        return LAYERS[-1]

@functools.cache
def kept(number):
    return LAYERS[-1]

class Counts(layers.Layer):
    def __init__(self):
        super().__init__()
        self.n = 0
    def next(self):
        self.n += 1
        return np.float32(self.n)
    def call(self, x, training=False):
        return x / (1.0 + tf.reshape(tf.numpy_function(self.next, [], tf.float32), ())) if training else x

class CountsEagerly(layers.Layer):
    def __init__(self):
        super().__init__()
        self.n = 0
    def call(self, x, training=False):
        self.n += bool(training)
        return x / (1.0 + self.n)

class Decays(keras.optimizers.SGD):
    def __init__(self, rate):
        super().__init__(rate)
        self.seen = tf.Variable(0.0, trainable=False)
    def update_step(self, gradient, variable, rate):
        self.seen.assign_add(1.0)
        super().update_step(gradient, variable, rate / self.seen)

def build(hp):
    kind, k = hp.Choice("kind", KINDS), hp.Choice("k", [0.1, 0.9])
    i, a, b = keras.Input((6,)), dense(3, 1, activation="relu"), dense(1, 9, activation="sigmoid")
    m, loss, metrics, rate = keras.Model(i, b(a(i))), crossed, ["accuracy"], keras.optimizers.SGD(0.3, momentum=0.5)
    if kind == "stock":
        rate = keras.optimizers.SGD(k, momentum=0.5)
    elif kind == "loss_reads_a_layer":
        loss = lambda y, p: crossed(y, p) + k * ops.sum(a.kernel ** 2)
    elif kind == "loss_reads_the_model":
        loss = lambda y, p: crossed(y, p) + k * sum(ops.sum(w ** 2) for w in m.trainable_weights)
    elif kind == "loss_holds_a_layer":
        loss = LayerLoss(a, k)
    elif kind == "loss_learns":
        v = LogVariance()
        m = keras.Model(i, b(v(a(i))))
        loss = lambda y, p: ops.exp(-v.s) * crossed(y, p) + k * v.s
    elif kind == "loss_reads_state":
        w = Running()
        m = keras.Model(i, b(w(a(i))))
        loss = lambda y, p: crossed(y, p) + k * ops.mean(p) * ops.sum(w.m)
    elif kind == "loss_over_hidden":
        seen = keras.Model(i, a.output)
        loss = lambda y, p: crossed(y, p) + k * ops.mean(ops.abs(seen(ops.ones((1, 6)))))
    elif kind == "own_class":
        m = Own()
        loss = m.penalised(k)
    elif kind == "metric_reads_a_layer":
        def norm(y, p):
            return ops.sqrt(ops.sum(a.kernel ** 2)) * k
        metrics = [norm]
    elif kind == "rate_reads_a_layer":
        rate = keras.optimizers.SGD(lambda: 0.3 * k * ops.sum(ops.abs(b.kernel)))
    elif kind == "momentum_set":
        rate.build(m.trainable_variables)
        for v in rate.momentums:
            v.assign(ops.ones_like(v) * k / 10)
    elif kind == "step_set":
        rate = keras.optimizers.Adam(0.1)
        rate.build(m.trainable_variables)
        rate.iterations.assign(int(10 * k))
    elif kind == "keras_changed":
        keras.layers.ReLU.call = lambda self, t: ops.relu(t) + k * t
        m = keras.Model(i, b(layers.ReLU()(dense(3, 1)(i))))
    elif kind == "function_changed":
        keras.losses.binary_crossentropy = lambda y, p: k * ops.mean((y - p) ** 2, -1)
    elif kind == "tensorflow_changed":
        tf.nn.elu = lambda t: tf.nn.relu(t) + k * t
        m = keras.Model(i, b(layers.Activation("elu")(dense(3, 1)(i))))
    elif kind == "elu":
        m = keras.Model(i, b(layers.Activation("elu")(dense(3, 1)(i))))
    elif kind == "through_a_module":
        bound_helper.HIDDEN = a
        loss = lambda y, p: crossed(y, p) + k * bound_helper.penalty()
    elif kind == "through_a_weak_reference":
        found = weakref.ref(a)
        loss = lambda y, p: crossed(y, p) + k * ops.sum(found().kernel ** 2)
    elif kind == "through_a_base_class":
        OfBase.layer = a
        loss = FromBase(k)
    elif kind == "through_a_property":
        LAYERS.append(a)
        loss = ByProperty(k)
    elif kind == "through_a_cache":
        LAYERS.append(a)
        kept.cache_clear()
        kept(0)
        loss = lambda y, p: crossed(y, p) + k * ops.sum(kept(0).kernel ** 2)
    elif kind == "through_the_raw_variable":
        raw = a.kernel.value
        loss = lambda y, p: crossed(y, p) + k * ops.sum(raw ** 2)
    elif kind == "regulariser_elsewhere":
        m = keras.Model(i, b(a(i)))
        bound_helper.HIDDEN = b
        a.kernel.regularizer = lambda w: k * bound_helper.penalty()
    elif kind == "counts_in_python":
        m = keras.Model(i, b(Counts()(a(i))))
    elif kind == "counts_eagerly":
        m = keras.Model(i, b(CountsEagerly()(a(i))))
        m.compile(rate, loss, metrics=metrics, run_eagerly=True)
        return m
    elif kind == "optimizer_counts":
        rate = Decays(k)
    elif kind == "relu":
        m = keras.Model(i, b(layers.ReLU()(dense(3, 1)(i))))
    elif kind == "own_fit":
        m = Fits(i, b(a(i)))
    m.compile(rate, loss, metrics=metrics)
    return m
"""

HELPER = """
from keras import ops
HIDDEN = None
def penalty():
    return ops.sum(HIDDEN.kernel ** 2)
"""

KINDS = [
    *("stock", "loss_reads_a_layer", "loss_reads_the_model", "loss_holds_a_layer", "loss_learns", "loss_reads_state"),
    *("loss_over_hidden", "own_class", "metric_reads_a_layer", "rate_reads_a_layer", "momentum_set", "step_set"),
    *("keras_changed", "function_changed", "relu", "own_fit", "tensorflow_changed", "elu", "through_a_module"),
    *("through_a_weak_reference", "through_a_base_class", "through_a_property", "through_a_cache"),
    *("through_the_raw_variable", "regulariser_elsewhere", "counts_in_python", "counts_eagerly", "optimizer_counts"),
]
EPOCHS = 3


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    text = f"KINDS = {KINDS}\n{CODE}"
    (tmp_path / "bound_code.py").write_text(text)
    (tmp_path / "bound_helper.py").write_text(HELPER)
    sys.modules.pop("bound_helper", None)
    monkeypatch.syspath_prepend(tmp_path)
    yield text
    sys.modules.pop("bound_code", None)
    sys.modules.pop("bound_helper", None)


def worker(folder: Path, more: str = "") -> Worker:
    (folder / "spec.yaml").write_text(
        "version: 1\nname: t\ndata: {python: 'bound_code:arrays', scale: none, task: classes}\n"
        f"model: {{python: 'bound_code:build'}}\ntraining: {{batch_size: 60, epochs: {EPOCHS}}}\n"
        f"objective: {{metric: val_loss, goal: minimize}}\n{more}"
    )
    loaded = load(folder / "spec.yaml")
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "t"))


def plain(code: str, values: dict[str, Any]) -> Any:
    """The builder's model in a namespace of its own, Keras put back after it."""
    import keras_tuner

    module = ModuleType("bound_code")
    exec(code, module.__dict__)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    (x, y), validation = module.arrays()
    import tensorflow as tf

    relu, crossed, elu = keras().layers.ReLU.call, keras().losses.binary_crossentropy, tf.nn.elu
    keras().utils.set_random_seed(0)
    model = module.build(hp)
    told = model.fit(x, y, validation_data=validation, epochs=EPOCHS, batch_size=60, verbose=0).history
    keras().layers.ReLU.call, keras().losses.binary_crossentropy, tf.nn.elu = relu, crossed, elu
    if any(model._get_regularization_losses()):  # hptune tells the data's loss
        return {name: curve for name, curve in told.items() if "loss" not in name}
    return told


@pytest.mark.parametrize(("order", "strengths"), [(1, (0.9,)), pytest.param(-1, (0.1, 0.9), marks=pytest.mark.slow)])
def test_every_kind_trains_as_its_plain_fit_whatever_came_before(
    tmp_path: Path, code: str, order: int, strengths: tuple[float, ...]
) -> None:
    one = worker(tmp_path)
    points: list[dict[str, Any]] = [{"kind": kind, "k": k} for kind in KINDS for k in strengths][::order]
    told = {str(point): plain(code, point) for point in points}
    wrong = []
    for number, point in enumerate(points):
        ours, theirs = one.run(Segment(number, point, to_epoch=EPOCHS)).curves, told[str(point)]
        wrong += [
            (point, name, ours.get(name), curve)
            for name, curve in theirs.items()
            if len(ours.get(name, ())) != len(curve) or not np.allclose(ours[name], curve, rtol=1e-5, atol=1e-6)
        ]
    assert not wrong, "\n".join(map(str, wrong))


def test_rungs_of_such_a_point_go_on_as_one_training(tmp_path: Path, code: str) -> None:
    values: dict[str, Any] = {"kind": "optimizer_counts", "k": 0.9}
    whole = worker(tmp_path).run(Segment(0, values, to_epoch=EPOCHS)).curves
    one = worker(tmp_path)
    first = one.run(Segment(0, values, to_epoch=1, keep_state=True)).curves
    rest = one.run(Segment(0, values, from_epoch=1, to_epoch=EPOCHS)).curves
    assert (*first["val_loss"], *rest["val_loss"]) == whole["val_loss"]


def test_the_points_that_need_it_alone_are_trained_by_fit_and_say_so(tmp_path: Path, code: str) -> None:
    one = worker(tmp_path)
    for kind, words in (
        ("stock", ""),
        ("loss_reads_a_layer", "reads that very model"),
        ("momentum_set", "holds state"),
        ("keras_changed", "in the place of Keras's"),
        ("own_fit", "loops of its own"),
    ):
        facts = one.run(Segment(0, {"kind": kind, "k": 0.1}, to_epoch=1)).facts
        assert words in facts.get("note", ""), (kind, facts)
        assert bool(words) == ("note" in facts), (kind, facts)


def test_what_fit_can_t_do_fails_such_a_point_and_is_told(tmp_path: Path, code: str) -> None:
    from hptune.base.errors import SegmentFailed

    one = worker(tmp_path, "schedule: {name: cosine}\n")
    assert one.run(Segment(0, {"kind": "stock", "k": 0.1}, to_epoch=1)).curves
    with pytest.raises(SegmentFailed, match="reads that very model"):
        one.run(Segment(1, {"kind": "loss_reads_a_layer", "k": 0.1}, to_epoch=1))


def test_the_winner_is_written_and_predicts_as_the_plain_one(tmp_path: Path, code: str) -> None:
    one = worker(tmp_path)
    values: dict[str, Any] = {"kind": "loss_reads_a_layer", "k": 0.9}
    facts = one.run(Segment(0, values, to_epoch=EPOCHS, purpose="best")).facts
    assert Path(facts["model"]).exists()
    curve = plain(code, values)["val_loss"]
    assert facts["best_epoch"] == 1 + int(np.argmin(curve))


FLOWS = """
import tensorflow as tf
import keras_tuner

def flows():
    (x, y), validation = arrays()
    return tuple(tf.data.Dataset.from_tensor_slices(part).batch(20) for part in ((x, y), validation))

class Fitted(keras_tuner.HyperModel):
    def build(self, hp):
        return build(hp)
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **kwargs)
"""


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("build", 30),
        ("Fitted", None),
        pytest.param("build", None, marks=pytest.mark.slow),
        pytest.param("Fitted", 30, marks=pytest.mark.slow),
    ],
)
def test_data_sets_reach_fit_as_the_function_cuts_them_or_as_the_yaml_says(
    tmp_path: Path, code: str, name: str, size: int | None
) -> None:
    """In order, so that nothing is left to chance; points that need fit, one that does not, and a fit of its own."""
    import keras_tuner

    (tmp_path / "bound_code.py").write_text(code + FLOWS)
    (tmp_path / "spec.yaml").write_text(
        "version: 1\nname: t\ndata: {python: 'bound_code:flows', task: classes}\n"
        f"model: {{python: 'bound_code:{name}'}}\n"
        f"training: {{epochs: {EPOCHS}{f', batch_size: {size}' if size else ''}}}\n"
        "objective: {metric: val_loss, goal: minimize}\n"
    )
    loaded = load(tmp_path / "spec.yaml")
    one = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "t"))
    assert one.run(Segment(0, {}, purpose="probe")).facts["space"]
    for number, kind in enumerate(("loss_reads_a_layer", "stock", "momentum_set")):
        values: dict[str, Any] = {"kind": kind, "k": 0.9}
        module = ModuleType("bound_code")
        exec(code + FLOWS, module.__dict__)
        hp = keras_tuner.HyperParameters()
        hp.values = dict(values)
        model = module.build(hp)
        # What a program trains is cut by the YAML's batch size, 32 where it has none; what fit trains by the function.
        cut = size or (32 if kind == "stock" and name == "build" else 20)
        train, validation = (flow.unbatch().batch(cut) for flow in module.flows())
        plain = model.fit(train, validation_data=validation, epochs=EPOCHS, verbose=0).history
        ours = one.run(Segment(number, values, to_epoch=EPOCHS)).curves
        for metric, curve in plain.items():
            assert np.allclose(ours[metric], curve, rtol=1e-5, atol=1e-6), (kind, metric, ours[metric], curve)
    best = one.run(Segment(0, {"kind": "loss_reads_a_layer", "k": 0.9}, to_epoch=EPOCHS, purpose="best"))
    assert Path(best.facts["model"]).exists()


COUNTED = """
import keras, numpy as np, tensorflow as tf
from keras import layers, ops
from bound_code import arrays, dense

def flows():
    (x, y), validation = arrays()
    return tuple(tf.data.Dataset.from_tensor_slices(part).batch(20) for part in ((x, y), validation))

class Compiles(keras.Model):
    def compile(self, *args, **more):
        super().compile(*args, **more)

def by_step(hp):
    "A rate by the step: a step too many shows."
    i = keras.Input((6,))
    m = Compiles(i, dense(1, 9, activation="sigmoid")(dense(3, 1, activation="relu")(i)))
    rate = keras.optimizers.schedules.PolynomialDecay(0.5, 9, end_learning_rate=hp.Choice("k", [0.001, 0.1]))
    m.compile(keras.optimizers.SGD(rate, weight_decay=0.1), "binary_crossentropy")
    return m

def lora(hp):
    i = keras.Input((6,))
    a = dense(4, 1, activation="relu")
    m = keras.Model(i, dense(1, 9, activation="sigmoid")(a(i)))
    a.enable_lora(2, lora_alpha=hp.Choice("k", [1.0, 20.0]), a_initializer=keras.initializers.GlorotUniform(2))
    m.compile(keras.optimizers.SGD(0.5), "binary_crossentropy")
    return m

class Clips(keras.Model):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}

def mixed(hp):
    i = keras.Input((6,))
    kind = {1.0: keras.Model, 2.0: Clips}[hp.Choice("k", [1.0, 2.0])]
    m = kind(i, dense(1, 9, activation="sigmoid", kernel_regularizer=keras.regularizers.L2(0.05))(i))
    m.compile(keras.optimizers.SGD(0.3), "binary_crossentropy")
    return m
"""


def counted(folder: Path, name: str, data: str, size: int) -> Worker:
    (folder / "counted_code.py").write_text(COUNTED)
    (folder / "spec.yaml").write_text(
        f"version: 1\nname: t\ndata: {{python: '{data}', task: classes{', scale: none' if 'arrays' in data else ''}}}\n"
        f"model: {{python: 'counted_code:{name}'}}\ntraining: {{epochs: {EPOCHS}, batch_size: {size}}}\n"
        "objective: {metric: val_loss, goal: minimize}\n"
    )
    loaded = load(folder / "spec.yaml")
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "t"))


def plainly(name: str, k: float) -> Any:
    import importlib

    import keras_tuner

    hp = keras_tuner.HyperParameters()
    hp.values = {"k": k}
    return getattr(importlib.import_module("counted_code"), name)(hp)


@pytest.fixture
def counting(code: str) -> Iterator[None]:
    yield
    sys.modules.pop("counted_code", None)


@pytest.mark.usefixtures("counting")
def test_a_data_set_that_is_cut_anew_has_as_many_steps(tmp_path: Path) -> None:
    one = counted(tmp_path, "by_step", "counted_code:flows", 25)
    for k in (0.001, 0.1):
        import counted_code  # type: ignore[import-not-found]

        train, validation = (flow.unbatch().batch(25) for flow in counted_code.flows())
        sized = [list(flow.as_numpy_iterator()) for flow in (train, validation)]
        x, y = (np.concatenate([batch[i] for batch in sized[0]]) for i in range(2))
        others = tuple(np.concatenate([batch[i] for batch in sized[1]]) for i in range(2))
        history = plainly("by_step", k).fit(x, y, 25, EPOCHS, shuffle=False, validation_data=others, verbose=0).history
        ours = one.run(Segment(0, {"k": k}, to_epoch=EPOCHS)).curves
        assert np.allclose(ours["val_loss"], history["val_loss"], rtol=1e-5), (ours, history)


@pytest.mark.usefixtures("counting")
def test_what_a_config_does_not_bring_back_is_the_builder_s_own(tmp_path: Path) -> None:
    one = counted(tmp_path, "lora", "bound_code:arrays", 60)
    for number, k in enumerate((1.0, 20.0)):
        ours = one.run(Segment(number, {"k": k}, to_epoch=EPOCHS)).curves
        import bound_code  # type: ignore[import-not-found]

        (x, y), validation = bound_code.arrays()
        history = plainly("lora", k).fit(x, y, 60, EPOCHS, validation_data=validation, verbose=0).history
        assert np.allclose(ours["val_loss"], history["val_loss"], rtol=1e-5), (k, ours, history)


@pytest.mark.usefixtures("counting")
def test_losses_that_do_not_compare_are_told(tmp_path: Path) -> None:
    one = counted(tmp_path, "mixed", "bound_code:arrays", 60)
    told = [one.run(Segment(number, {"k": k}, to_epoch=1)).facts for number, k in enumerate((1.0, 2.0))]
    assert "note" not in told[0]
    assert "holds the penalties" in told[1]["note"]


def test_ordinary_values_share_one_program(tmp_path: Path, code: str) -> None:
    """Layers with and without options of many kinds; what is looked at before a point finds nothing."""
    one = worker(tmp_path)
    for number, k in enumerate((0.1, 0.9)):
        facts = one.run(Segment(number, {"kind": "stock", "k": k}, to_epoch=1)).facts
        assert "not_shared" not in facts
    trainer: Any = one.trainer()
    assert len(trainer.loaded.programs._programs) == 1
