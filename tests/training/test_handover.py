"""What is told of a written model works: pasted into a fresh Python it gives the model that `predict` uses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.export.predictor import open_predictor
from hptune.training.export.signature import read_signature
from hptune.training.worker import Worker

CODE = """
import keras, numpy as np
from keras import layers, ops

def data():
    g = np.random.default_rng(0)
    x = g.normal(size=(60, 4)).astype("float32")
    return (x[:40], x[:40, 0]), (x[40:], x[40:, 0])

def made(*inner, loss="mse"):
    model = keras.Sequential([keras.Input((4,)), *inner, layers.Dense(1)])
    model.compile("adam", loss)
    return model

class Scale(layers.Layer):
    def __init__(self, by, **more):
        super().__init__(**more)
        self.by = by
    def call(self, x):
        return x * self.by
    def get_config(self):
        return {**super().get_config(), "by": self.by}

class Partial(Scale):
    def __init__(self, by=1.0, **more):
        super().__init__(by, **more)
    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key != "by"}

def named(hp):
    return made(Scale(hp.Choice("by", [2.0, 3.0])))

def left_out(hp):
    return made(Partial(hp.Choice("by", [2.0, 3.0])))

def closure_loss(hp):
    by = hp.Choice("by", [2.0, 3.0])
    return made(loss=lambda y, p: ops.mean(ops.square(y - by * p), axis=-1))

def closure(hp):
    by = hp.Choice("by", [2.0, 3.0])
    return made(layers.Activation(lambda x: ops.tanh(x * by)))

class Net(keras.Model):
    def __init__(self, by):
        super().__init__()
        self.by, self.dense = by, layers.Dense(1)
    def call(self, x):
        return self.dense(x) * self.by
    def get_config(self):
        raise NotImplementedError

def subclass(hp):
    model = Net(hp.Choice("by", [2.0, 3.0]))
    model.compile("adam", "mse")
    return model

def inside(hp):
    @keras.saving.register_keras_serializable(package="handed")
    class Inside(Scale):
        pass
    return made(Inside(hp.Choice("by", [2.0, 3.0])))

import tensorflow as tf

class Counter(layers.Layer):
    def build(self, shape):
        self.seen = tf.Variable(0.0, trainable=False)
    def call(self, x, training=False):
        if training:
            self.seen.assign_add(1.0)
        return x + self.seen

def uncounted(hp):
    hp.Choice("by", [2.0, 3.0])
    return made(Counter())
"""

LOADED = {"named": "model.keras", "closure_loss": "model.keras"} | dict.fromkeys(
    ("left_out", "closure", "subclass", "inside"), "model.weights.h5"
)
"""What lies in `best/` of each."""


def best(folder: Path, name: str) -> tuple[RunPaths, dict[str, Any]]:
    tree = {
        "version": 1,
        "name": name,
        "data": {"python": "handed:data", "scale": "none"},
        "model": {"python": f"handed:{name}"},
        "training": {"epochs": 2},
    }
    (folder / "handed.py").write_text(CODE)
    (folder / f"{name}.yaml").write_text(json.dumps(tree))
    loaded = load(folder / f"{name}.yaml")
    run = RunPaths(folder / "runs" / name)
    result = Worker(loaded.experiment, loaded.folder, run).run(Segment(0, {"by": 3.0}, to_epoch=2, purpose="best"))
    return run, dict(result.facts)


@pytest.mark.slow
def test_every_hint_is_python_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    x = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    wanted, lines = {}, ["import json, numpy", "x = numpy.load('x.npy')", "told = {}"]
    for name, file in LOADED.items():
        run, facts = best(tmp_path, name)
        assert Path(facts["model"]).name == file, (name, facts["note"])
        wanted[name] = open_predictor(run, read_signature(run))(x).numbers[:, 0]
        (code,) = re.findall(r"`([^`]+)`", facts["note"])
        lines += [code, f"told[{name!r}] = model.predict(x, verbose=0)[:, 0].tolist()"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*lines, "print(json.dumps(told))"])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    for name, values in wanted.items():
        assert told[name] == pytest.approx(values.tolist(), rel=1e-5, abs=1e-6), name


def test_a_class_that_only_a_call_of_the_builder_registers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    _, facts = best(tmp_path, "inside")
    assert Path(facts["model"]).name == "model.weights.h5", "no other process could load the model"


def test_what_no_file_brings_back_is_told_and_predicts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    run, facts = best(tmp_path, "uncounted")
    assert "tf.Variable" in facts["note"]
    with pytest.raises(SpecError, match=r"tf\.Variable"):
        open_predictor(run, read_signature(run))


LAYERS = """
import keras, tensorflow as tf
class Good(keras.layers.Layer):
    def __init__(self, by, **more):
        super().__init__(**more)
        self.by = by
    def call(self, x):
        return x * self.by
class NoMore(keras.layers.Layer):
    def __init__(self, by):
        super().__init__()
        self.by = by
    def call(self, x):
        return x * self.by
class LeavesOut(Good):
    def get_config(self):
        return {"name": self.name, "by": 1.0}
class Holds(keras.layers.Layer):
    def __init__(self, by, **more):
        super().__init__(**more)
    def build(self, shape):
        self.state = tf.Variable(1.0, trainable=False)
        self.built = True
    def call(self, x):
        return x * self.state
"""


@pytest.mark.parametrize("layer", ["Good", "NoMore", "LeavesOut", "Holds"])
def test_layers_that_keras_can_not_bring_back_are_told_before_the_search(tmp_path: Path, layer: str) -> None:
    (tmp_path / "my_layers.py").write_text(LAYERS)
    (tmp_path / "a.yaml").write_text(
        f"version: 1\nname: a\ndata: {{source: diabetes}}\n"
        f"model: {{layers: ['my_layers:{layer}': {{by: 2.0}}, Dense: {{units: $n}}, Dense: {{units: 1}}]}}\n"
        "search_space: {n: {type: int, min: 2, max: 3}}\ntraining: {epochs: 1}\n"
    )
    loaded = load(tmp_path / "a.yaml")
    run = RunPaths(tmp_path / "runs" / "a")
    worker = Worker(loaded.experiment, loaded.folder, run)
    try:
        notes = worker.run(Segment(0, {}, purpose="probe")).facts.get("notes", [])
        told = [note for note in notes if "will be of no use to `predict`" in note]
        result = worker.run(Segment(0, {"n": 3}, to_epoch=1, purpose="best"))
        if layer in ("LeavesOut", "Holds"):
            assert f"({layer})" in told[0]
            assert "whose get_config leaves something out" in told[0]
            return
        assert not told
        assert ("give NoMore a constructor that takes **more" in result.facts["note"]) == (layer == "NoMore")
        samples = np.random.default_rng(0).normal(size=(5, 10)).astype("float32")
        found = open_predictor(run, read_signature(run))(samples).numbers
        assert found.shape == (5, 1)
        assert np.isfinite(found).all()
    finally:
        sys.modules.pop("my_layers", None)
