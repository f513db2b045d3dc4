"""The best model in other formats: each is run again, and one that can't hold the model says so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.data.inputs import Preparation, learn
from hptune.training.data.raw import Column, Raw
from hptune.training.export.export import save_model
from hptune.training.export.raw_rows import behind_raw_rows
from hptune.training.export.signature import Signature, read_signature, write_signature
from hptune.training.runtime import keras
from hptune.winner.formats import check_formats, export


def save(run: RunPaths, model: Any, preparation: Preparation | None = None) -> None:
    """Write a model as the run's best."""
    save_model(run, model)
    write_signature(run, Signature("regression", preparation or Preparation((), None)))


def table(run: RunPaths, kinds: dict[str, Any], numbers: Any = (1.0, 2.0)) -> Any:
    """A model over raw rows with such columns, written as the run's best."""
    texts = np.array(["Oslo", "Lima"], object)
    numbers = np.array(numbers)
    columns = tuple(Column(n, kind, texts if kind == "category" else numbers) for n, kind in kinds.items())
    preparation = learn(Raw(columns, numbers, tuple(kinds), (), ()), np.arange(2), scale="auto")
    core = keras().Sequential([keras().Input((preparation(columns, np.arange(1)).shape[1],)), keras().layers.Dense(1)])
    model = behind_raw_rows(core, preparation, columns)
    save(run, model, preparation)
    return model


def test_what_is_written_answers_as_the_model_does(tmp_path: Path) -> None:
    import tensorflow as tf

    run = RunPaths(tmp_path / "r")
    model = table(run, {"petal length (cm)": "number", "é": "number"})
    written, failed = export(run, ["keras", "savedmodel", "tflite"])
    assert not failed
    assert written == {
        "keras": str(run.best_model),
        "savedmodel": str(run.best / "savedmodel"),
        "tflite": str(run.best / "model.tflite"),
    }
    sample = {"petal_length__cm_": np.array([[3.0]], np.float32), "x_": np.array([[0.5]], np.float32)}
    wanted = np.asarray(model([tf.constant(value) for value in sample.values()]))
    served = tf.saved_model.load(written["savedmodel"]).signatures["serving_default"](**sample)["output_0"]
    np.testing.assert_allclose(served, wanted, rtol=1e-5)
    lite = tf.lite.Interpreter(written["tflite"]).get_signature_runner()(**sample)["output_0"]
    np.testing.assert_allclose(lite, wanted, rtol=1e-5)
    names = sorted(path.name for path in run.best.iterdir())
    assert names == ["model.keras", "model.tflite", "savedmodel", "signature.json"]


def test_onnx_answers_as_the_model_does(tmp_path: Path) -> None:
    import tensorflow as tf

    runtime = pytest.importorskip("onnxruntime", reason="of the extra onnx")
    pytest.importorskip("tf2onnx", reason="of the extra onnx")
    run = RunPaths(tmp_path / "r")
    model = table(run, {"petal length (cm)": "number", "é": "number"})
    written, failed = export(run, ["onnx"])
    assert not failed
    sample = {"petal_length__cm_": np.array([[3.0], [-1.0]], np.float32), "x_": np.array([[0.5], [2.0]], np.float32)}
    (answer,) = runtime.InferenceSession(written["onnx"]).run(None, sample)
    np.testing.assert_allclose(answer, np.asarray(model([tf.constant(v) for v in sample.values()])), rtol=1e-5)


def test_text_goes_into_a_savedmodel_and_not_into_tflite(tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "r")
    table(run, {"age": "number", "city": "category"})
    written, failed = export(run, ["tflite", "savedmodel"])
    assert [*written] == ["savedmodel"]
    assert re.fullmatch("no tflite: .*columns city hold.*savedmodel.", failed[0])
    assert (run.best / "savedmodel").is_dir()
    assert not run.best_as("tflite").exists()


def test_pictures_are_converted_too(tmp_path: Path) -> None:
    layers = keras().layers
    run = RunPaths(tmp_path / "r")
    front = [keras().Input((8, 8, 1)), layers.Rescaling(1 / 16)]
    save(run, keras().Sequential([*front, layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)]))
    assert [*export(run, ["savedmodel", "tflite"])[0]] == ["savedmodel", "tflite"]


def test_what_a_format_has_no_operation_for_is_told(tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "r")
    x = keras().Input((4,))
    save(run, keras().Model(x, keras().ops.erfinv(keras().ops.tanh(x))))
    assert "no tflite: the model can't be converted" in export(run, ["tflite"])[1][0]
    assert sorted(path.name for path in run.best.iterdir()) == ["model.keras", "signature.json"]


def experiment(tmp_path: Path, model: str) -> Any:
    (tmp_path / "spec.yaml").write_text(
        f"version: 1\nname: t\ndata: {{source: iris}}\nmodel: {model}\n"
        "search_space: {n: {type: int, min: 1, max: 9}}\n"
    )
    return load(tmp_path / "spec.yaml").experiment


def test_formats_are_checked_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hptune.winner.formats.find_spec", lambda _: None)
    layers = experiment(tmp_path, "{layers: [Dense: {units: $n}, Dense: {units: 3, activation: softmax}]}")
    check_formats(["keras", "tflite"], layers)
    with pytest.raises(
        SpecError, match=r"did you mean 'onnx'.*\n.*onnx needs onnx and tf2onnx and onnxruntime.*pip install 'hptune"
    ):
        check_formats(["onxx", "onnx"], layers)
    with pytest.raises(SpecError, match="is for Keras models"):
        check_formats(["keras"], experiment(tmp_path, "{sklearn: sklearn.svm.SVC, params: {degree: $n}}"))


def test_without_a_keras_model_there_is_nothing_to_convert(tmp_path: Path) -> None:
    assert "model.keras is missing" in export(RunPaths(tmp_path / "r"), ["savedmodel"])[1][0]


def test_a_format_replaces_the_one_that_is_there_and_nothing_is_left_beside(tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "r")
    table(run, {"age": "number"})
    for _ in range(2):
        assert list(export(run, ["savedmodel", "tflite"])[0]) == ["savedmodel", "tflite"]
    assert sorted(path.name for path in run.best.iterdir()) == [
        "model.keras",
        "model.tflite",
        "savedmodel",
        "signature.json",
    ]
    assert sorted(path.name for path in run.root.iterdir()) == ["best"]


def test_a_wrong_answer_is_found_whatever_its_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hptune.training.export import convert

    run = RunPaths(tmp_path / "r")
    model = table(run, {"age": "number", "city": "category"})
    model.layers[-1].set_weights([1e-12 * one for one in model.layers[-1].get_weights()])  # answers in picofarads
    save(run, model, read_signature(run).preparation)
    assert not export(run, ["savedmodel"])[1]
    right = convert._run_savedmodel
    monkeypatch.setitem(convert._RUNNERS, "savedmodel", lambda *given: [1.01 * one for one in right(*given)])
    (refused,) = export(run, ["savedmodel"])[1]
    assert "what was converted answers otherwise, by " in refused


def test_a_column_that_tflite_can_not_hold_is_named(tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "r")
    table(run, {"age": "number", "far": "number"}, numbers=np.array([3e7, 3e7 + 1]))
    written, (refused,) = export(run, ["savedmodel", "tflite"])
    assert set(written) == {"savedmodel"}
    assert "numbers of 64 bits, which keep the digits of age, far" in refused


def test_what_draws_in_training_draws_nothing_in_the_file(tmp_path: Path) -> None:
    """Of pictures that a flip changes: raw ones, of which nothing is known, and such as are scaled."""
    import tensorflow as tf

    k = keras()
    pictures = np.random.default_rng(0).uniform(0, 255, (6, 4, 4, 1)).astype("float32")
    for name, number in (("raw", None), ("scaled", (np.array(0.0), np.array(255.0)))):
        run = RunPaths(tmp_path / name)
        draws = [k.layers.RandomFlip(), k.layers.RandomBrightness(0.3), k.layers.GaussianNoise(0.3)]
        model = k.Sequential(
            [k.Input((4, 4, 1)), *draws, k.layers.Flatten(), k.layers.Rescaling(1 / 255), k.layers.Dense(1)]
        )
        save(run, model, Preparation((), number))
        written, failed = export(run, ["savedmodel", "tflite"])
        assert not failed
        served = tf.saved_model.load(written["savedmodel"]).signatures["serving_default"]
        lite = tf.lite.Interpreter(written["tflite"]).get_signature_runner()
        (called,) = lite.get_input_details()
        for picture in pictures[:, None]:
            wanted = model.predict(picture, verbose=0)
            np.testing.assert_allclose(served(**{called: tf.constant(picture)})["output_0"], wanted, rtol=1e-4)
            np.testing.assert_allclose(lite(**{called: picture})["output_0"], wanted, rtol=1e-4)
