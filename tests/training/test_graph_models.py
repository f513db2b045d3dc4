"""Graphs, presets and code of the user's own as trials: trained, reused, exported."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.graph import LayerCall, wire
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.export.predictor import KerasPredictor
from hptune.training.export.signature import read_signature
from hptune.training.export.unseen import read_unseen
from hptune.training.models.graphs import build
from hptune.training.runtime import keras
from hptune.training.worker import Worker

RESIDUAL = """
version: 1
name: g
data: {source: digits, limit: 300}
model:
  layers:
    - Flatten
    - Dense: {units: 16, activation: relu, name: x}
    - repeat:
        times: $times
        layers:
          - Dense: {units: 16, activation: relu, from: x}
          - Dropout: {rate: $rate, name: y}
          - Add: {from: [x, y], name: x}
    - Output
search_space:
  times: {type: int, min: 0, max: 2}
  rate: {type: float, min: 0.0, max: 0.5}
training: {optimizer: {learning_rate: 1e-2}, epochs: 4}
"""

OWN = """
import keras
class Twice(keras.layers.Layer):
    def __init__(self, factor, **more):
        super().__init__(**more)
        self.factor = factor
    def call(self, x):
        return x * self.factor
    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
def my_loss(y, p):
    return keras.losses.sparse_categorical_crossentropy(y, p)
def hit(y, p):
    return keras.metrics.sparse_categorical_accuracy(y, p)
class First(keras.metrics.Mean):
    def __init__(self, name="first", **more):
        super().__init__(name=name, **more)
    def update_state(self, y, p, sample_weight=None):
        return super().update_state(p[:, 0])
raise_me = None
"""


def worker(folder: Path, text: str) -> Worker:
    (folder / "own_code_of_tests.py").write_text(OWN)
    path = folder / "g.yaml"
    path.write_text(dedent(text))
    loaded = load(path)
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "g"))


def run(one: Worker, values: dict[str, Any], epochs: int = 2, **more: Any) -> SegmentResult:
    return one.run(Segment(0, values, to_epoch=epochs, **more))


def test_a_graph_is_what_keras_makes_of_it() -> None:
    graph = wire(
        [
            LayerCall("Dense", {"units": 3, "name": "a"}),
            LayerCall("Dense", {"units": 3, "name": "b", "from": "input"}),
            LayerCall("Attention", {"from": {"inputs": ["a", "b"]}}),
            LayerCall("Concatenate", {"from": ["a", "b"], "name": "both"}),
        ],
        outputs=["both"],
    )
    model = build(graph, ((4, 5), "float32"), Path())
    x = np.random.default_rng(0).random((2, 4, 5), np.float32)
    a, b = (model.get_layer(name)(x) for name in ("a", "b"))
    assert np.allclose(model(x), np.concatenate([a, b], axis=-1))


def test_two_ends_are_two_outputs() -> None:
    calls = [
        LayerCall("Dense", {"units": 2, "name": "a"}),
        LayerCall("Dense", {"units": 3, "name": "b", "from": "right"}),
    ]
    graph = wire(calls, inputs=["left", "right"], outputs=["a", "b"])
    model = build(graph, {"left": ((4,), "float32"), "right": ((5,), "float32")}, Path())
    told = model({"left": np.zeros((1, 4)), "right": np.zeros((1, 5))})
    assert {name: tuple(value.shape) for name, value in told.items()} == {"a": (1, 2), "b": (1, 3)}


def test_a_graph_is_reused_resumed_and_exported(tmp_path: Path) -> None:
    one = worker(tmp_path, RESIDUAL)
    first = run(one, {"times": 2, "rate": 0.1}, 4)
    assert first.curves["val_accuracy"][-1] > 0.5
    run(one, {"times": 2, "rate": 0.4}, 4)
    programs = one.trainer().loaded.programs._programs  # type: ignore[attr-defined]  # the trainer of Keras models
    assert [program.traces for program in programs.values()] == [1]  # dropout is a dial in a graph too
    half = run(one, {"times": 2, "rate": 0.1}, keep_state=True)
    rest = one.run(Segment(0, {"times": 2, "rate": 0.1}, from_epoch=2, to_epoch=4))
    for name, curve in first.curves.items():
        assert curve == (*half.curves[name], *rest.curves[name]), name
    best = run(one, {"times": 2, "rate": 0.1}, 4, purpose="best")
    model = keras().models.load_model(best.facts["model"])
    assert [layer.name for layer in model._flatten_layers() if layer.name.startswith("x")] == ["x", "x_1", "x_2"]


def test_a_preset_learns(tmp_path: Path) -> None:
    one = worker(tmp_path, "version: 1\nname: g\ndata: {source: digits, limit: 300}\nmodel: {preset: resnet}\n")
    one.run(Segment(0, {}, purpose="probe"))
    values = {"stages": 1, "blocks": 1, "filters": 16, "dropout": 0.1, "learning_rate": 1e-2, "batch_size": 16}
    assert run(one, values, 5).curves["accuracy"][-1] > 0.6


def test_layers_losses_and_metrics_of_ones_own(tmp_path: Path) -> None:
    text = """
    version: 1
    name: g
    data: {source: digits, limit: 200}
    model: {layers: [Flatten, "own_code_of_tests:Twice": {factor: 2.0}, Dense: {units: $units}, Output]}
    search_space: {units: {type: int, min: 2, max: 9}}
    training: {loss: "own_code_of_tests:my_loss", metrics: ["own_code_of_tests:hit", "own_code_of_tests:First"]}
    objective: {metric: val_hit, goal: maximize}
    """
    one = worker(tmp_path, text)
    one.run(Segment(0, {}, purpose="probe"))
    told = run(one, {"units": 4}, purpose="best")
    assert list(told.curves) == ["loss", "hit", "first", "val_loss", "val_hit", "val_first"]
    assert "'Twice': own_code_of_tests.Twice" in told.facts["note"]
    import own_code_of_tests as own  # type: ignore[import-not-found]  # written by this test

    objects = {name: getattr(own, name) for name in ("Twice", "my_loss", "hit", "First")}
    assert keras().models.load_model(told.facts["model"], custom_objects=objects).count_params() > 0


@pytest.mark.parametrize(
    ("layers", "training", "words"),
    [
        ("'own_code_of_tests:Thrice', Dense: {units: $units}", "{}", "Did you mean 'Twice'?"),
        ("'not_there:Layer', Dense: {units: $units}", "{}", "no module 'not_there' beside"),
        ("Dense: {units: $units}, Output", "{loss: 'own_code_of_tests:my_los'}", "Did you mean 'my_loss'?"),
        ("Dense: {units: $units}, Output", "{metrics: ['own_code_of_tests:raise_me']}", "neither a function"),
        ("Dense: {units: $units}, Output", "{metrics: ['own_code_of_tests:hit': {a: 1}]}", "no arguments (a)"),
        ("Dense: {units: $units, name: a}, Dense: {units: 7, from: a}", "{}", "has 10 classes"),
        (
            "Dense: {units: 3, name: a}, Dense: {units: $units, name: b}, Add: {from: [a, b]}",
            "{}",
            "over samples of [8",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_trial(
    tmp_path: Path, layers: str, training: str, words: str
) -> None:
    text = f"""
    version: 1
    name: g
    data: {{source: digits, limit: 100}}
    model: {{layers: [Flatten, {layers}]}}
    search_space: {{units: {{type: choice, values: [7, 8]}}}}
    training: {training}
    objective: {{metric: val_loss, goal: minimize}}
    """
    with pytest.raises(SpecError) as caught:
        worker(tmp_path, text).run(Segment(0, {}, purpose="probe"))
    assert words in str(caught.value)


TWO = """
version: 1
name: g
data: {csv: two.csv, target: [length, weight], validation: 0.25, test: 0.2}
model:
  layers:
    - Dense: {units: 16, activation: relu, name: both}
    - Dense: {units: 1, name: weight}
    - Dense: {units: $units, activation: relu, from: both}
    - Dense: {units: 1, name: length}
  outputs: [weight, length]
search_space: {units: {type: int, min: 4, max: 9}}
training:
  loss: {weight: mean_squared_error, length: mean_absolute_error}
  loss_weights: {weight: 0.5}
  metrics: {weight: [mae], length: [mse]}
  optimizer: {learning_rate: 2e-2}
  batch_size: 16
  epochs: 20
objective: {metric: val_weight_mae, goal: minimize}
"""


def two_columns(folder: Path) -> None:
    draw = np.random.default_rng(0)
    rows = ["a,b,length,weight"]
    for a, b in draw.random((200, 2)):
        rows.append(f"{a:.4f},{b:.4f},{a - b:.4f},{1000 + 100 * a:.2f}")
    (folder / "two.csv").write_text("\n".join(rows) + "\n")


def test_each_output_learns_its_own_column(tmp_path: Path) -> None:
    two_columns(tmp_path)
    one = worker(tmp_path, TWO)
    one.run(Segment(0, {}, purpose="probe"))
    told = run(one, {"units": 8}, 20, purpose="best")
    assert {"val_weight_loss", "val_length_loss", "val_weight_mae", "val_length_mse"} <= set(told.curves)
    assert told.curves["val_weight_mae"][-1] < 15  # around 1050, in its own unit; a guess of the mean is 25 off
    assert told.curves["val_length_mse"][-1] < 0.05
    model = keras().models.load_model(told.facts["model"])
    raw = {"a": np.array([[0.5]], np.float32), "b": np.array([[0.5]], np.float32)}
    said = model(raw)
    assert set(said) == {"weight", "length"}
    assert float(said["weight"][0, 0]) == pytest.approx(1050, abs=20)
    paths = RunPaths(tmp_path / "runs" / "g")
    unseen = read_unseen(read_signature(paths), tmp_path / "two.csv")
    first = KerasPredictor(paths, read_signature(paths))(next(unseen).samples).numbers[0]
    assert abs(first[0]) < 1 < 900 < first[1]  # length, then weight: as the target names them


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("loss: {weight: mean", "loss: {wait: mean", "g.yaml:14:10: training.loss.wait: unknown output"),
        (", length: mean_absolute_error", "", "training.loss.length: length is one of the outputs"),
        ("val_weight_mae", "val_weight_mse", "unknown metric 'val_weight_mse'; did you mean"),
        ("metrics: {weight: [mae]", "metrics: {weight: [mea]", "training.metrics.weight[0]: unknown metric"),
        ("[length, weight], v", "[length, b], v", "the outputs are weight, length, and the target has the columns"),
        ("[length, weight], v", "length, v", "the target has the columns length. Give one output"),
        ("Dense: {units: 1, name: length}", "Dense: {units: 2, name: length}", "length gives 2 values a sample"),
        ("  outputs: [weight, length]", "", "goes nowhere"),
    ],
)
def test_outputs_that_don_t_fit(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in TWO
    two_columns(tmp_path)
    with pytest.raises(SpecError) as caught:
        worker(tmp_path, TWO.replace(old, new)).run(Segment(0, {}, purpose="probe"))
    assert words in str(caught.value)
