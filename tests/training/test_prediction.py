"""Raw samples in, predictions out: what lies in best/ answers as the training pipeline does, for every kind of data."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import re
import sys
import zipfile
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.export.answers import Outputs, answers
from hptune.training.export.export import prepared_examples
from hptune.training.export.predictor import open_predictor
from hptune.training.export.signature import read_signature
from hptune.training.worker import Worker
from hptune.winner.predict import predict

SPACE = "search_space: {n: {type: int, min: 4, max: 8}}\n"
DENSE = "model: {layers: [Dense: {units: $n, activation: relu}, Dense: {units: %d%s}]}\n" + SPACE
FLAT = DENSE.replace("layers: [", "layers: [Flatten, ")
SIGMOID, SOFTMAX = ", activation: sigmoid", ", activation: softmax"

TABLE = """{csv: t.csv, target: %s, features: [age, city, said, joined, seen],
  missing: {age: median, city: most_frequent, seen: mean}, columns: {said: {kind: text, output_mode: tf_idf}}}"""


def trained(folder: Path, data: str, model: str, training: str = "epochs: 2") -> tuple[RunPaths, Any]:
    """Train the winner of an experiment; its run and its trainer."""
    make_files(folder)
    text = f"version: 1\nname: t\ndata: {data}\n{model}training: {{{training}}}\n"
    (folder / "spec.yaml").write_text(text)
    loaded = load(folder / "spec.yaml")
    run = RunPaths(folder / "runs" / "t")
    worker = Worker(loaded.experiment, loaded.folder, run)
    worker.run(Segment(0, {"n": 6}, to_epoch=2, purpose="best"))
    return run, worker.trainer()


def make_files(folder: Path) -> None:
    draw = random.Random(0)
    with (folder / "t.csv").open("w", newline="") as file:
        out = csv.writer(file, delimiter=";")
        out.writerow(["age", "city", "said", "joined", "seen", "bought", "kind", "spent", "saved", "a", "b", "c"])
        for i in range(120):
            age, city = draw.randint(18, 80), draw.choice(["Oslo", "Lima", 'a "quoted"; one'])
            flags = [int(age > 40), int(city == "Oslo"), draw.randint(0, 1)]
            said = draw.choice(["so good", "so BAD!", "", "good, or bad"])
            day = f"2025-{i % 12 + 1:02d}-{i % 28 + 1:02d}"
            out.writerow([
                "" if i % 9 == 1 else age, "" if i % 11 == 2 else city, said, day,
                "" if i % 13 == 3 else f"2025-01-01T{i % 24:02d}:{i % 60:02d}", "yes" if age > 50 else "no",
                draw.choice("xyz"), age * 1000 + 0.5, -age, *flags,
            ])  # fmt: skip
    random_ = np.random.RandomState(0)
    x = random_.rand(60, 5, 4).astype(np.float32)
    np.savez(folder / "a.npz", given=x, y=random_.randint(0, 2, 60), several=random_.rand(60, 3) * 100)
    np.savez(folder / "p.npz", x=(random_.rand(60, 6, 6, 3) * 255).astype(np.uint8), y=np.arange(60) % 3)


CASES = {
    "a table, two classes, one sigmoid": (TABLE % "bought", DENSE % (1, SIGMOID), ["no", "yes"]),
    "a table, classes": (TABLE % "kind", DENSE % (3, SOFTMAX), ["x", "y", "z"]),
    "a table, a number": (TABLE % "spent", DENSE % (1, ""), []),
    "a table, several numbers": (TABLE % "[spent, saved]", DENSE % (2, ""), ["spent", "saved"]),
    "a table, several labels": (TABLE % "[a, b, c]", DENSE % (3, SIGMOID), ["a", "b", "c"]),
    "arrays": ("{npz: a.npz, x: given, scale: standardize}", FLAT % (2, SOFTMAX), ["0", "1"]),
    "arrays, several numbers": (
        "{npz: a.npz, x: given, y: several}",
        FLAT % (3, ""),
        ["output_0", "output_1", "output_2"],
    ),
    "pictures": ("{npz: p.npz}", FLAT % (3, SOFTMAX), ["0", "1", "2"]),
    "columns in an array": ("{source: iris}", DENSE % (3, SOFTMAX), ["setosa", "versicolor", "virginica"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_exported_model_predicts_as_the_pipeline_does(case: str, tmp_path: Path) -> None:
    data, model, columns = CASES[case]
    run, trainer = trained(tmp_path, data, model)
    wanted = np.asarray(
        next(iter(trainer.loaded.programs._programs.values())).model(
            prepared_examples(trainer.loaded.data), training=False
        )
    )
    signature = read_signature(run)
    told = open_predictor(run, signature)(trainer.loaded.data.examples).numbers
    np.testing.assert_allclose(told, wanted, rtol=1e-5, atol=1e-5)
    file = {"{csv": "t.csv", "{npz": "a.npz" if "a.npz" in data else "p.npz"}.get(data.partition(":")[0])
    if file is None:
        np.save(tmp_path / "x.npy", trainer.loaded.data.examples)
        file = "x.npy"
    shown = io.StringIO()
    assert predict(run, tmp_path / file, shown) == 0
    header, *lines = csv.reader(shown.getvalue().splitlines())
    assert header == ["prediction", *columns]
    assert len(lines) == (len(trainer.loaded.data.examples) if file == "x.npy" else {"t.csv": 120}.get(file, 60))
    if "classes" in case or case in ("arrays", "pictures"):
        shares = np.array([[float(cell) for cell in line[1:]] for line in lines])
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
        assert [line[0] for line in lines] == [columns[i] for i in shares.argmax(axis=1)]
    elif "labels" in case:
        for line in lines:
            held = [name for name, share in zip(columns, line[1:], strict=True) if float(share) > 0.5]
            assert line[0] == ";".join(held)
    elif "several" in case:
        assert all(line[0] == ";".join(line[1:]) for line in lines)


def test_the_files_rows_are_predicted_in_their_order(tmp_path: Path) -> None:
    """A column that decides the target, as text and as a number."""
    rows = [f"{'left' if i % 3 else 'right'},{i % 3},{10 if i % 3 else 90}" for i in range(90)]
    (tmp_path / "t.csv").write_text("\n".join(["side,step,goal", *rows]) + "\n")
    text = "version: 1\nname: t\ndata: {csv: t.csv, target: goal, task: regression}\n" + DENSE % (1, "")
    (tmp_path / "spec.yaml").write_text(text + "training: {epochs: 40, optimizer: {learning_rate: 0.05}}\n")
    loaded = load(tmp_path / "spec.yaml")
    run = RunPaths(tmp_path / "runs" / "t")
    Worker(loaded.experiment, loaded.folder, run).run(Segment(0, {"n": 8}, to_epoch=40, purpose="best"))
    shown = io.StringIO()
    predict(run, tmp_path / "t.csv", shown, as_json=True)
    told = [row["prediction"] for row in json.loads(shown.getvalue())]
    np.testing.assert_allclose(told, [10 if i % 3 else 90 for i in range(90)], atol=5)
    # Nothing in the file is hptune's own, and the model takes the columns by their names.
    import keras
    import tensorflow as tf

    config = zipfile.ZipFile(run.best_model).read("config.json").decode()
    assert all(module.startswith("keras") for module in re.findall(r'"module": "(.*?)"', config))
    model = keras.models.load_model(run.best_model)
    inputs = {"side": tf.constant([["right"], ["left"]]), "step": tf.constant([[0.0], [1.0]])}
    np.testing.assert_allclose(np.ravel(model(inputs)), told[:2], rtol=1e-5)


def test_a_model_with_a_fit_of_its_own_takes_prepared_samples_and_predict_prepares_them(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        dedent("""
        import keras, keras_tuner
        class Mine(keras_tuner.HyperModel):
            def build(self, hp):
                layers = [keras.layers.Dense(hp.Int("n", 4, 8)), keras.layers.Dense(3, activation="softmax")]
                model = keras.Sequential([keras.Input((4,)), *layers])
                model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
                return model
            def fit(self, hp, model, *args, **kwargs):
                return model.fit(*args, **kwargs)
    """)
    )
    run, trainer = trained(tmp_path, "{source: iris}", 'model: {python: "mine:Mine"}\n')
    sys.modules.pop("mine", None)
    signature = read_signature(run)
    assert not signature.raw
    told = open_predictor(run, signature)(trainer.loaded.data.examples).numbers
    import keras

    wanted = keras.models.load_model(run.best_model)(prepared_examples(trainer.loaded.data))
    np.testing.assert_allclose(told, wanted, rtol=1e-5, atol=1e-6)


def test_logits_become_probabilities(tmp_path: Path) -> None:
    loss = "epochs: 2, loss: {SparseCategoricalCrossentropy: {from_logits: true}}"
    run, _ = trained(tmp_path, "{source: iris}", DENSE % (3, ""), loss)
    np.save(tmp_path / "x.npy", np.array([[5.1, 3.5, 1.4, 0.2]]))
    shown = io.StringIO()
    predict(run, tmp_path / "x.npy", shown, as_json=True)
    (row,) = json.loads(shown.getvalue())
    assert sum(row["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("training", "last", "kind"),
    [
        ("loss: hinge", "", "scores"),
        ("loss: {SquaredHinge: {}}", ", activation: tanh", "scores"),
        ("loss: {BinaryCrossentropy: {from_logits: true}}", "", "probabilities"),
        ("loss: {BinaryFocalCrossentropy: {from_logits: true}}", "", "probabilities"),
    ],
)
def test_two_classes_are_told_apart_at_0_where_the_loss_does(
    tmp_path: Path, training: str, last: str, kind: str
) -> None:
    """The accuracy that is told is that of the predictions."""
    run, trainer = trained(tmp_path, TABLE % "bought", DENSE % (1, last), f"epochs: 2, {training}")
    numbers = open_predictor(run, read_signature(run))(trainer.loaded.data.examples).numbers[:, 0]
    wanted = np.where(numbers > 0, "yes", "no").tolist()
    assert [
        one.prediction for one in answers(read_signature(run), Outputs(numbers[:, None]), np.ones(len(numbers), bool))
    ] == wanted
    shown = io.StringIO()
    notes: list[str] = []
    predict(run, tmp_path / "t.csv", shown, as_json=True, noted=notes.append)
    rows = json.loads(shown.getvalue())
    assert notes == []
    assert all(row["prediction"] == max(row[kind], key=row[kind].get) for row in rows)
    metrics = trainer.loaded.experiment.training.metrics
    assert metrics == [{"BinaryAccuracy": {"threshold": 0.0, "name": "accuracy"}}]


def test_logits_of_a_fit_of_its_own_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_logits_fit.py").write_text(
        dedent("""
            import keras, keras_tuner
            class Mine(keras_tuner.HyperModel):
                def build(self, hp):
                    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(hp.Int("n", 3, 3))])
                    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
                    model.compile("adam", loss, metrics=["accuracy"])
                    return model
                def fit(self, hp, model, *args, **kwargs):
                    return model.fit(*args, **kwargs)
        """)
    )
    run, _ = trained(tmp_path, "{source: iris}", 'model: {python: "own_logits_fit:Mine"}\n')
    sys.modules.pop("own_logits_fit", None)
    assert read_signature(run).logits


def test_numbers_that_are_no_probabilities_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a loss of one's own takes can't be known."""
    (tmp_path / "own_logits.py").write_text(
        "import keras\ndef loss(y, p):\n    return keras.losses.binary_crossentropy(y, 9 * p, from_logits=True)\n"
    )
    run, _ = trained(tmp_path, TABLE % "bought", DENSE % (1, ""), 'epochs: 2, loss: "own_logits:loss"')
    notes: list[str] = []
    predict(run, tmp_path / "t.csv", io.StringIO(), noted=notes.append)
    (note,) = notes
    assert note.startswith("the model gives numbers from -")
    assert "which are no probabilities; the second class is predicted above 0.5" in note


def test_without_a_best_model_the_way_to_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"t has no best model.*hptune train-best --run t"):
        predict(RunPaths(tmp_path / "t"), tmp_path, io.StringIO())


def test_pictures_are_predicted_from_their_files(tmp_path: Path) -> None:
    draw = np.random.RandomState(0)
    for kind, level in (("dark", 40), ("light", 200)):
        (tmp_path / "pictures" / kind).mkdir(parents=True)
        for i in range(30):
            picture = np.clip(level + draw.randint(-20, 20, (8, 8, 1)), 0, 255).astype(np.uint8)
            write_png(tmp_path / "pictures" / kind / f"{i}.png", picture)
    data = "{images: pictures, size: [6, 6], channels: 1, missing: drop}"
    run, trainer = trained(tmp_path, data, FLAT % (2, SOFTMAX))
    wanted = np.asarray(
        next(iter(trainer.loaded.programs._programs.values())).model(
            prepared_examples(trainer.loaded.data), training=False
        )
    )
    told = open_predictor(run, read_signature(run))(trainer.loaded.data.examples).numbers
    np.testing.assert_allclose(told, wanted, rtol=1e-5, atol=1e-5)
    (tmp_path / "pictures" / "dark" / "broken.png").write_bytes(b"no")
    (tmp_path / "pictures" / ".hidden").write_bytes(b"no")
    shown = io.StringIO()
    with contextlib.chdir(tmp_path):
        assert predict(run, Path("pictures"), shown) == 1
    header, *lines = csv.reader(shown.getvalue().splitlines())
    assert header == ["prediction", "dark", "light", "file"]
    assert len(lines) == 61
    assert lines[0][3] == "pictures/dark/0.png"
    assert lines[30] == ["", "", "", "pictures/dark/broken.png"]
    alone = io.StringIO()
    predict(run, tmp_path / "pictures" / "light" / "9.png", alone, as_json=True)
    (row,) = json.loads(alone.getvalue())
    assert (row["prediction"], row["file"]) == (lines[-1][0], str(tmp_path / "pictures" / "light" / "9.png"))
    assert row["probabilities"]["light"] == pytest.approx(float(lines[-1][2]), abs=1e-5)


def write_png(path: Path, picture: np.ndarray[Any, Any]) -> None:
    import tensorflow as tf

    path.write_bytes(tf.io.encode_png(picture).numpy())


def test_outputs_that_have_names_are_told_by_them(tmp_path: Path) -> None:
    """Whatever their order in the model."""
    heads = "Dense: {units: 1, name: saved, from: h}, Dense: {units: 1, name: spent, from: h}"
    model = f"model: {{layers: [Dense: {{units: $n, name: h}}, {heads}], outputs: [saved, spent]}}\n" + SPACE
    run, trainer = trained(tmp_path, TABLE % "[spent, saved]", model)
    wanted = next(iter(trainer.loaded.programs._programs.values())).model(
        prepared_examples(trainer.loaded.data), training=False
    )
    told = open_predictor(run, read_signature(run))(trainer.loaded.data.examples).numbers
    np.testing.assert_allclose(told, np.hstack([wanted["spent"], wanted["saved"]]), rtol=1e-5, atol=1e-5)
