"""What a metric of the user's tells is what it tells of the exported model's own predictions, worked out by NumPy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.runtime import keras
from hptune.training.worker import Worker

CODE = """
import keras, numpy as np
from keras import ops
def pinball(y, p):
    return ops.mean(ops.maximum(0.9 * (y - p), -0.1 * (y - p)), axis=-1)
def hit(y, p):
    return ops.mean(ops.cast(ops.equal(ops.cast(y, "float32"), ops.round(p)), "float32"), axis=-1)
def column(y, p):
    return hit(ops.reshape(y, (-1, 1)), p)
class Cover(keras.metrics.Metric):
    def __init__(self, name="cover", **more):
        super().__init__(name=name, **more)
        self.below, self.rows = (self.add_variable((), "zeros", name=one) for one in ("below", "rows"))
    def update_state(self, y, p, sample_weight=None):
        below = ops.cast(ops.less_equal(ops.cast(y, "float32"), p), "float32")
        self.below.assign_add(ops.sum(below))
        self.rows.assign_add(ops.sum(ops.ones_like(below)))
    def result(self):
        return self.below / self.rows
class Apart(Cover):
    def update_state(self, y, p, sample_weight=None):
        super().update_state(abs(ops.cast(y, "float32") - p), 0.3)
class Flat(Apart):
    def update_state(self, y, p, sample_weight=None):
        super().update_state(ops.reshape(y, (-1,)), ops.reshape(p, (-1,)))
def parts(column=True):
    held = np.load(__file__.replace("metric_code.py", "t.npz"))
    y = held["y"] if column else held["flat"]
    return tuple((held["x"][at], y[at]) for at in (slice(0, 120), slice(120, 160), slice(160, 200)))
def flat():
    return parts(column=False)
def build(hp):
    rate, metric = hp.Choice("rate", [0.1, 0.2]), hp.Choice("metric", ["hit", "column", "Apart", "Flat"])
    metrics = {"hit": hit, "column": column, "Apart": Apart(), "Flat": Flat()}
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.SGD(rate), "binary_crossentropy", metrics=[metrics[metric]])
    return model
"""

SPEC = """
version: 1
name: t
data: {data}
model: {model}
search_space: {{rate: {{type: choice, values: [0.1, 0.2]}}{more}}}
training: {{{training}epochs: 2, batch_size: 16}}
objective: {{metric: val_loss}}
"""
RATE = "optimizer: {name: sgd, learning_rate: $rate}, "
TABLE = ", time: t, features: [a, b, c]"
ONE_UNIT = "{layers: [Dense: {units: 1%s}]}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "metric_code.py").write_text(CODE)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).round(3)
    y = 50 + 20 * (x @ [1, -2, 0.5] + rng.normal(size=200)).round(3)
    rows = [f"{at},{','.join(map(str, x[at]))},{y[at]},{'no' if y[at] < 50 else 'yes'}" for at in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["t,a,b,c,y,kind", *rows]) + "\n")
    np.savez(tmp_path / "t.npz", x=x, y=y[:, None], flat=y > 50)
    yield tmp_path
    sys.modules.pop("metric_code", None)


def worker(folder: Path, **told: str) -> Worker:
    (folder / "spec.yaml").write_text(SPEC.format(**{"more": "", **told}))
    loaded = load(folder / "spec.yaml")
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "t"))


@pytest.mark.parametrize("streamed", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize("data", [f"{{csv: t.csv, target: y{TABLE}%s}}", "{python: 'metric_code:parts'%s}"])
def test_numbers(folder: Path, data: str, streamed: bool) -> None:
    told = RATE + 'loss: mse, metrics: ["metric_code:pinball", "metric_code:Cover"], '
    one = worker(folder, data=data % (", stream: true" if streamed else ""), model=ONE_UNIT % "", training=told)
    facts = dict(one.run(Segment(0, {"rate": 0.1}, to_epoch=2, purpose="best")).facts)
    held = np.load(folder / "t.npz")
    x, y = held["x"][160:].astype(np.float32), held["y"][160:, 0]
    model = keras().models.load_model(RunPaths(folder / "runs" / "t").best_model, compile=False)
    given = x if "python" in data else {name: x[:, [at]] for at, name in enumerate("abc")}
    predicted = np.asarray(model(given))[:, 0]
    wanted = np.maximum(0.9 * (y - predicted), -0.1 * (y - predicted)).mean()
    assert facts["test"]["pinball"] == pytest.approx(wanted, rel=1e-4)
    assert facts["test"]["cover"] == pytest.approx((y <= predicted).mean(), abs=1e-6)


def test_two_classes(folder: Path) -> None:
    told = RATE + 'metrics: [accuracy, "metric_code:hit"], '
    data = f"{{csv: t.csv, target: kind{TABLE}}}"
    one = worker(folder, data=data, model=ONE_UNIT % ", activation: sigmoid", training=told)
    facts = dict(one.run(Segment(0, {"rate": 0.1}, to_epoch=2, purpose="best")).facts)
    assert facts["test"]["hit"] == pytest.approx(facts["test"]["accuracy"])


@pytest.mark.parametrize(("metric", "noted"), [("hit", True), ("column", False), ("Apart", True), ("Flat", False)])
def test_targets_of_another_rank_are_remarked_where_they_matter(folder: Path, metric: str, noted: bool) -> None:
    """As Keras's `fit` has it, that of a code's model tells the mean over all pairs."""
    more = f", metric: {{type: choice, values: [{metric}]}}"
    data = "{python: 'metric_code:flat'}"
    one = worker(folder, data=data, model="{python: 'metric_code:build'}", training="", more=more)
    notes = dict(one.run(Segment(0, {}, purpose="probe")).facts).get("notes", [])
    assert any("[n, n]" in note for note in notes) == noted
