"""Each task through a whole segment: what is filled in for it, what it learns, and what weights do to it."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import keras
import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.worker import Worker

N = 200


def write(folder: Path) -> None:
    random = np.random.RandomState(0)
    x, y = random.uniform(-1, 1, (2, N))
    lines = ["x,y,big,small,high,both,counts,left_out"]
    lines += [
        f"{a:.5f},{b:.5f},{500 + 100 * a:.3f},{b - a:.4f},{int(a > 0)},{int(b > a)},{int(a > 0)},{random.normal():.3f}"
        for a, b in zip(x, y, strict=True)
    ]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")


def train(folder: Path, data: str, last: str, **training: Any) -> tuple[Worker, SegmentResult]:
    write(folder)
    (folder / "spec.yaml").write_text(
        dedent(f"""
        version: 1
        name: t
        data: {{csv: t.csv, features: [x, y], {data}}}
        model: {{layers: [Dense: {{units: $units, activation: relu}}, {last}]}}
        search_space: {{units: {{type: choice, values: [16]}}}}
        training: {{epochs: 15, batch_size: 16, optimizer: {{learning_rate: 2e-2}}}}
        """)
    )
    loaded = load(folder / "spec.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "t"))
    return worker, worker.run(Segment(trial=0, values={"units": 16}, to_epoch=15, purpose="best"))


def test_labels_several_of_which_hold_at_once(tmp_path: Path) -> None:
    _, result = train(tmp_path, "target: [high, both]", "Dense: {units: 2, activation: sigmoid}")
    assert list(result.curves) == ["loss", "binary_accuracy", "val_loss", "val_binary_accuracy"]
    assert result.facts["test"]["binary_accuracy"] > 0.9
    model = keras.models.load_model(result.facts["model"])
    chances = np.asarray(model({"x": np.array([[0.9]]), "y": np.array([[-0.9]])}))
    assert chances[0, 0] > 0.5 > chances[0, 1]


def test_one_hot_rows_of_the_data_are_trained_on_unasked(tmp_path: Path) -> None:
    x = np.random.RandomState(0).normal(size=(90, 3))
    np.savez(tmp_path / "d.npz", x=x, y=np.eye(3, dtype=bool)[x.argmax(1)])
    text = """
        version: 1
        name: rows
        data: {npz: d.npz}
        model: {layers: [Dense: {units: 3, activation: softmax}]}
        search_space: {lr: {type: choice, values: [0.1]}}
        training: {epochs: 8, optimizer: {learning_rate: $lr}}
        """
    (tmp_path / "spec.yaml").write_text(dedent(text))
    loaded = load(tmp_path / "spec.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "rows"))
    assert worker.run(Segment(0, {}, purpose="probe")).facts["task"] == "classes"
    assert worker.run(Segment(0, {"lr": 0.1}, to_epoch=8)).curves["val_accuracy"][-1] > 0.7


def test_several_numbers_each_in_its_own_unit(tmp_path: Path) -> None:
    _, result = train(tmp_path, "target: [big, small]", "Dense: {units: 2}")
    assert result.curves["val_mae"][-1] < 20  # predicting the means: 25
    model = keras.models.load_model(result.facts["model"])
    big, small = np.asarray(model({"x": np.array([[0.5]]), "y": np.array([[0.5]])}))[0]
    assert big == pytest.approx(550, abs=30)
    assert small == pytest.approx(0, abs=0.3)


def test_weights_count_in_the_loss_and_not_in_the_metrics(tmp_path: Path) -> None:
    data = "target: high, sample_weight: counts, class_weight: {'0': 5.0}"
    worker, result = train(tmp_path, data, "Dense: {units: 1, activation: sigmoid}")
    trainer: Any = worker._trainer
    part, model = trainer.loaded.data.validation, keras.models.load_model(result.facts["model"])
    assert set(trainer.loaded.data.train.sample_weight) == {0.0, 1.0}  # 5 · 0 for the class that counts 0
    assert part.sample_weight is not None
    best = result.facts["best_epoch"] - 1
    raw = part.x * trainer.loaded.data.input_scale[1] + trainer.loaded.data.input_scale[0]
    chances = np.asarray(model({"x": raw[:, :1], "y": raw[:, 1:]}))[:, 0].astype(float)
    each = -np.log(np.clip(np.where(part.y == 1, chances, 1 - chances), 1e-7, 1))
    assert result.curves["val_loss"][best] == pytest.approx(float((each * part.sample_weight).mean()), rel=1e-3)
    assert result.curves["val_accuracy"][best] == pytest.approx(float(((chances > 0.5) == part.y).mean()), abs=1e-6)
    assert result.curves["val_accuracy"][best] < 0.9  # nothing was to be learnt of the other class


def test_a_last_layer_that_does_not_fit_is_told_before_trial_1(tmp_path: Path) -> None:
    worker, _ = train(tmp_path, "target: [high, both]", "Dense: {units: 2, activation: sigmoid}")
    text = (tmp_path / "spec.yaml").read_text().replace("sigmoid", "softmax")
    (tmp_path / "spec.yaml").write_text(text)
    loaded = load(tmp_path / "spec.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "t"))
    with pytest.raises(SpecError, match="softmax makes the labels exclude each other") as error:
        worker.run(Segment(trial=0, values={}, to_epoch=0, purpose="probe"))
    assert error.value.problems[0].path == ("model", "layers", 1)
