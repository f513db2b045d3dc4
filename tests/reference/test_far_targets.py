"""Targets far from 0 and categories of strange names: what is told, predicted and exported beside numpy and Keras."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from hptune.base.errors import SpecError
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.runtime import keras
from hptune.training.worker import Worker
from hptune.winner.predict import predict

MODEL = "model: {layers: [Dense: {units: $v, activation: relu}, Output]}"
HEADS = "model: {layers: [{Dense: {units: $v, name: h}}, {Dense: {units: 1, name: a, from: h}}, \
{Dense: {units: 1, name: b, from: h}}], outputs: [a, b]}"
TRAINING = "training: {epochs: 12, optimizer: {name: adam, learning_rate: 0.02}, metrics: [mae, r2_score]}"


def worker(folder: Path, data: str, model: str = MODEL, training: str = TRAINING) -> tuple[Worker, RunPaths]:
    text = f"version: 1\nname: t\n{data}\n{model}\n{training}\nsearch_space: {{v: {{type: int, min: 4, max: 8}}}}\n"
    (folder / "spec.yaml").write_text(text)
    loaded = load(folder / "spec.yaml")
    run = RunPaths(folder / "runs" / "t")
    return Worker(loaded.experiment, loaded.folder, run), run


def best(made: Worker) -> dict[str, Any]:
    return dict(made.run(Segment(0, {"v": 8}, to_epoch=12, purpose="best")).facts)


def written(file: Path, columns: dict[str, Any]) -> None:
    with file.open("w", newline="") as out:
        lines = csv.writer(out)
        lines.writerow(columns)
        lines.writerows(zip(*(np.asarray(one).tolist() for one in columns.values()), strict=True))


def told(run: RunPaths, file: Path) -> Any:
    out = io.StringIO()
    predict(run, file, out)
    _, *rows = csv.reader(io.StringIO(out.getvalue()))
    return np.array([[float(cell) for cell in (row[1:] or row)] for row in rows])


def linear(rows: int = 150) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3))
    return x, x @ [3.0, -2.0, 1.0] + rng.normal(size=rows) * 0.1


@pytest.mark.parametrize("level", [0.0, 1e5, 1.7e9, -3e12])
def test_a_target_far_from_0_is_learnt_as_one_near_it(tmp_path: Path, level: float) -> None:
    """Its test part is written to a file of its own, to be predicted."""
    x, y = linear()
    np.savez(tmp_path / "a.npz", x=x, y=y + level)
    made, run = worker(tmp_path, "data: {npz: a.npz}")
    found = best(made)
    np.savez(tmp_path / "near.npz", x=x, y=y)
    near, _ = worker(tmp_path, "data: {npz: near.npz}")
    assert found["test"]["mae"] == pytest.approx(best(near)["test"]["mae"], rel=2e-2)
    np.save(tmp_path / "x.npy", x)
    best(made)
    predicted = told(run, tmp_path / "x.npy")[:, 0]
    order = rows_of(tmp_path, len(x))
    assert found["test"]["mae"] == pytest.approx(mean_absolute_error((y + level)[order], predicted[order]), rel=1e-3)
    assert found["test"]["r2_score"] == pytest.approx(r2_score((y + level)[order], predicted[order]), abs=1e-4)
    loaded = keras().models.load_model(run.best_model)
    np.testing.assert_allclose(np.asarray(loaded(x))[:, 0], predicted, rtol=1e-14, atol=1e-6)


def rows_of(folder: Path, rows: int) -> list[int]:
    """The rows of the test part, by a target that tells them."""
    np.savez(folder / "rows.npz", x=np.zeros((rows, 1)), y=np.arange(float(rows)))
    text = f"version: 1\nname: r\ndata: {{npz: rows.npz, scale: none}}\n{MODEL}\n"
    (folder / "rows.yaml").write_text(f"{text}search_space: {{v: {{type: int, min: 4, max: 8}}}}\n")
    loaded = load(folder / "rows.yaml")
    from hptune.training.trainers.samples import Samples

    test = Samples(loaded.experiment, folder).test()
    assert test is not None
    return [int(row) for row in test.y]


def test_several_targets_each_get_back_what_was_taken_off(tmp_path: Path) -> None:
    x, y = linear()
    written(tmp_path / "t.csv", {"p": x[:, 0], "q": x[:, 1], "r": x[:, 2], "b": 5e9 + y, "a": -2e-3 * y})
    for model in (MODEL, HEADS):
        made, run = worker(tmp_path, "data: {csv: t.csv, target: [b, a], test: 0}", model)
        best(made)
        predicted = told(run, tmp_path / "t.csv")
        assert r2_score(5e9 + y, predicted[:, 0]) > 0.9, model
        assert r2_score(-2e-3 * y, predicted[:, 1]) > 0.9, model


def test_a_data_set_keeps_the_digits_of_its_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = linear()
    np.savez(tmp_path / "a.npz", x=x, y=y + 1.7e9)
    (tmp_path / "far_flows.py").write_text(FLOWS)
    monkeypatch.syspath_prepend(tmp_path)
    made, run = worker(tmp_path, "data: {python: 'far_flows:data'}")
    found = best(made)
    predicted = np.asarray(keras().models.load_model(run.best_model)(x.astype(np.float32)))[:, 0]
    assert found["test"]["mae"] == pytest.approx(np.abs(y[120:] + 1.7e9 - predicted[120:]).mean(), rel=1e-3)
    assert found["test"]["r2_score"] == pytest.approx(r2_score(y[120:] + 1.7e9, predicted[120:]), abs=1e-4)


FLOWS = """
import numpy as np, pathlib, tensorflow as tf
def data():
    held = np.load(pathlib.Path(__file__).with_name("a.npz"))
    part = lambda a, b: tf.data.Dataset.from_tensor_slices((held["x"][a:b], held["y"][a:b])).batch(20)
    return part(0, 90), part(90, 120), part(120, 150)
"""


def test_the_loss_of_each_output_is_keras_own(tmp_path: Path) -> None:
    """Over batches of which the last is smaller."""
    x, y = linear()
    written(tmp_path / "t.csv", {"p": x[:, 0], "q": x[:, 1], "r": x[:, 2], "b": y, "a": -2 * y})
    training = "training: {epochs: 2, batch_size: 16}"
    made, _ = worker(tmp_path, "data: {csv: t.csv, target: [b, a], scale: none}", HEADS, training)
    told = best(made)["test"]
    trainer: Any = made.trainer()
    (program,) = trainer.loaded.programs._programs.values()
    part = trainer.loaded._samples.test()
    targets = {"a": part.y[:, 1:], "b": part.y[:, :1]}
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((part.x, targets)).batch(16)
    plain = program.model.evaluate(batches, verbose=0, return_dict=True)
    for name in ("a_loss", "b_loss"):
        assert told[name] == pytest.approx(plain[name], rel=1e-4), (told, plain)


@pytest.mark.parametrize("level", [0.0, 1.7e9])
def test_a_model_that_takes_float64_says_how_it_is_given(tmp_path: Path, level: float) -> None:
    x, y = linear()
    written(tmp_path / "t.csv", {"p": x[:, 0] + level, "q": x[:, 1], "r": x[:, 2], "y": y})
    made, run = worker(tmp_path, "data: {csv: t.csv, target: y}")
    note = best(made).get("note", "")
    dtypes = {one.name: one.dtype for one in keras().models.load_model(run.best_model).inputs}
    assert dtypes["p"] == ("float64" if level else "float32")
    assert ("predict_on_batch" in note and "(p)" in note) == bool(level)


def test_metrics_that_are_of_no_difference_leave_the_target_and_it_is_told(tmp_path: Path) -> None:
    x, y = linear()
    np.savez(tmp_path / "a.npz", x=x, y=y + 1.7e9)
    made, _ = worker(
        tmp_path,
        "data: {npz: a.npz}",
        training="training: {epochs: 2, metrics: [mape]}\n\
objective: {metric: val_mape, goal: minimize}",
    )
    (note,) = made.run(Segment(0, {"v": 4}, to_epoch=0, purpose="probe")).facts["notes"]
    assert "float32" in note
    assert "off the target" in note


def test_strange_categories_and_extremes_are_exported_as_they_were_learnt(tmp_path: Path) -> None:
    """`[UNK]` is what Keras calls an unknown one; a category of one row, gaps, and a million among numbers to 1."""
    names = np.array(["[UNK]", "", "None", "a,b", 'q"', "é", "[UNK]?"] * 20)
    names[17] = "rare"
    number = np.linspace(0, 1, 140)
    number[33] = 1e6
    written(
        tmp_path / "t.csv", {"c": names, "n": number, "y": number * 0 + (names == "[UNK]") * 2.0 + np.arange(140) % 2}
    )
    data = "data: {csv: t.csv, target: y, test: 0, task: regression, missing: most_frequent}"
    made, run = worker(tmp_path, data)
    assert made.run(Segment(0, {"v": 4}, to_epoch=0, purpose="probe")).facts["task"] == "regression"
    best(made)
    lines = told(run, tmp_path / "t.csv")[:, 0]
    assert len(lines) == 140
    assert np.isfinite(lines).all()


def test_a_model_that_can_t_be_exported_right_ends_the_search_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Break the export: what stands before the model forgets the mean."""
    from hptune.training.export import raw_rows
    from hptune.training.export.in_unit import in_float32

    monkeypatch.setattr(raw_rows, "in_float32", lambda offset, divisor: in_float32(offset * 0, divisor))
    x, y = linear()
    written(tmp_path / "t.csv", {"p": x[:, 0] + 5, "q": x[:, 1], "r": x[:, 2], "y": y})
    made, _ = worker(tmp_path, "data: {csv: t.csv, target: y}")
    with pytest.raises(SpecError, match="differ from the trained one's by up to"):
        made.run(Segment(0, {"v": 4}, to_epoch=0, purpose="probe"))


@pytest.mark.parametrize(
    ("loss", "ends"),
    [
        ("{BinaryCrossentropy: {from_logits: true}}", ("", "")),
        ("{a: {BinaryCrossentropy: {from_logits: true}}, b: binary_crossentropy}", ("", ", activation: sigmoid")),
        ("hinge", ("", "")),
    ],
)
def test_labels_of_several_outputs_are_predicted_as_they_are_measured(
    tmp_path: Path, loss: str, ends: tuple[str, str]
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    labels = {"b": (x[:, 0] > 0.9).astype(int), "a": (x[:, 1] + 0.3 * rng.normal(size=200) > -0.8).astype(int)}
    written(tmp_path / "t.csv", {"t": np.arange(200), "p": x[:, 0], "q": x[:, 1], **labels})
    of_a, of_b = ends
    heads = HEADS.replace("name: a", f"name: a{of_a}").replace("name: b", f"name: b{of_b}")
    training = f"training: {{epochs: 12, loss: {loss}, optimizer: {{name: sgd, learning_rate: 0.1}}}}"
    made, run = worker(tmp_path, "data: {csv: t.csv, target: [a, b], time: t, test: 0.3}", heads, training)
    test = best(made)["test"]
    out = io.StringIO()
    predict(run, tmp_path / "t.csv", out)
    holds = [set(line["prediction"].split(";")) for line in csv.DictReader(io.StringIO(out.getvalue()))][140:]
    for name, y in labels.items():
        right = np.mean([(name in one) == bool(held) for one, held in zip(holds, y[140:], strict=True)])
        assert test[f"{name}_binary_accuracy"] == pytest.approx(right, abs=1e-6)
