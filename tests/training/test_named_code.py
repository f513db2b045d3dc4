"""What the modules of a YAML's own layers and losses keep goes on into no other trial: beside Keras's `fit` on them."""

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
import keras, numpy as np
from keras import layers, ops

BASE = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh")])
BASE.set_weights([np.linspace(-1, 1, 24).reshape(4, 6), np.full(6, 0.1)])
DRAWN, HELD, MEAN = keras.random.SeedGenerator(5), {"n": 0}, keras.metrics.Mean()

def arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype("float32")
    return (x[:40], x[:40, :1] - x[:40, 1:2]), (x[40:], x[40:, :1] - x[40:, 1:2])

def dense():
    return layers.Dense(6, activation="tanh", kernel_initializer=keras.initializers.GlorotUniform(1))

class Plain(layers.Layer):
    def __init__(self, q, **more):
        super().__init__(**more)
        self.q, self.inner = q, dense()
    def call(self, x):
        return self.inner(x) * self.q
    def get_config(self):
        return {**super().get_config(), "q": self.q}

class Network(Plain):
    def __init__(self, q, **more):
        super().__init__(q, **more)
        self.inner = BASE

class Draws(Plain):
    def call(self, x, training=False):
        return self.inner(x) + (self.q * keras.random.normal((1, 6), seed=DRAWN) if training else 0.0)

class First(Plain):
    def __init__(self, q, **more):
        super().__init__(q, **more)
        self.factor = HELD.setdefault("q", q)
    def call(self, x, training=False):
        return self.inner(x) * (self.factor if training else 1.0)

class Counts(Plain):
    def __init__(self, q, **more):
        super().__init__(q, **more)
        HELD["n"] += 1
        self.factor = q ** HELD["n"]
    def call(self, x, training=False):
        return self.inner(x) * (self.factor if training else 1.0)

class Patches(Plain):
    def __init__(self, q, **more):
        super().__init__(q, **more)
        if q == 0.5:
            keras.activations.relu = lambda x: x * 3.0
        self.factor = keras.activations.relu
    def call(self, x, training=False):
        return self.factor(self.inner(x)) * self.q

class Lazy(Plain):
    def __init__(self, q, **more):
        super().__init__(q, **more)
        import late_code
        late_code.HELD.append(q)
        self.factor = sum(late_code.HELD)
    def call(self, x, training=False):
        return self.inner(x) * (self.factor if training else 1.0)

def mean_loss(y, p):
    loss = ops.mean(ops.square(y - p), axis=-1)
    MEAN.update_state(loss)
    return loss / (1.0 + MEAN.result())
"""

KINDS = {
    "Plain": "mse",
    "Network": "mse",
    "Draws": "mse",
    "First": "mse",
    "Counts": "mse",
    "Lazy": "mse",
    "Plain/mean": "mean_loss",
}
POINTS = (0.5, 1.5, 1.0)


RELU = keras().activations.relu


@pytest.fixture(autouse=True)
def _imported_anew() -> Iterator[None]:
    yield
    keras().activations.relu = RELU
    sys.modules.pop("keeping_code", None)
    sys.modules.pop("late_code", None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_is_trained_as_in_a_process_of_its_own(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, loss = kind.partition("/")[0], KINDS[kind]
    (tmp_path / "keeping_code.py").write_text(CODE)
    (tmp_path / "late_code.py").write_text("HELD = []\n")
    named = loss if loss == "mse" else f'"keeping_code:{loss}"'
    (tmp_path / "a.yaml").write_text(
        f"version: 1\nname: a\ndata: {{python: 'keeping_code:arrays', scale: none}}\n"
        f"model: {{layers: ['keeping_code:{layer}': {{q: $q}}, Dense: {{units: 1, kernel_initializer: ones}}]}}\n"
        f"search_space: {{q: {{type: choice, values: {list(POINTS)}}}}}\n"
        f"training: {{loss: {named}, metrics: [mse], batch_size: 40, epochs: 3, "
        "optimizer: {name: sgd, learning_rate: 0.1}}\nobjective: {metric: val_loss, goal: minimize}\n"
    )
    loaded = load(tmp_path / "a.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "a"))
    worker.run(Segment(0, {}, purpose="probe"))
    notes = []
    for number, q in enumerate(POINTS):
        result = worker.run(Segment(number, {"q": q}, to_epoch=3))
        notes.append(result.facts.get("note", ""))
        with monkeypatch.context() as apart:
            apart.delitem(sys.modules, "late_code", raising=False)
            apart.setattr(keras().activations, "relu", RELU)
            expected = plain(layer, loss, q)
            sys.modules.pop("late_code", None)
        assert np.allclose(result.curves["val_loss"], expected, rtol=1e-5), (q, result.curves)
    kept = any("keeps something from one call to the next (" in note for note in notes)
    assert kept == (kind != "Plain")


def plain(layer: str, loss: str, q: float) -> Any:
    module = ModuleType(f"plain_{layer}_{loss}_{q}".replace(".", "_"))
    exec(CODE, module.__dict__)  # the very text, with a state of its own
    (x, y), validation = module.arrays()
    made = [keras().Input((4,)), getattr(module, layer)(q), keras().layers.Dense(1, kernel_initializer="ones")]
    model = keras().Sequential(made)
    model.compile(keras().optimizers.SGD(0.1), getattr(module, loss, loss), metrics=["mse"])
    return model.fit(x, y, validation_data=validation, epochs=3, batch_size=40, verbose=0).history["val_loss"]
