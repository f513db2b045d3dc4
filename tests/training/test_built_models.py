"""Networks of keras.applications, KerasTuner's hypermodels and saved files as trials."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.models.applications import prepared
from hptune.training.runtime import keras
from hptune.training.worker import Worker

HEAD = """
version: 1
name: b
data: {source: digits, limit: 120}
training: {optimizer: {learning_rate: $rate}, epochs: 2}
search_space: {rate: {type: float, min: 1e-4, max: 1e-1}}
"""


def worker(folder: Path, model: str, head: str = HEAD) -> Worker:
    path = folder / "b.yaml"
    path.write_text(dedent(head) + f"model: {model}\n")
    loaded = load(path)
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "b"))


def run(one: Worker, epochs: int = 2, **more: Any) -> SegmentResult:
    return one.run(Segment(**{"trial": 0, "values": {"rate": 1e-2}, "to_epoch": epochs, **more}))


def probe(one: Worker) -> dict[str, Any]:
    return dict(one.run(Segment(0, {}, purpose="probe")).facts)


def saved(folder: Path, *layers: Any, shape: tuple[int, ...] = (8, 8, 1)) -> Any:
    made = keras().Sequential([keras().Input(shape), keras().layers.Flatten(), *layers])
    made.save(folder / "made.keras")
    return made


# --- keras.applications ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("ResNet50", "resnet"),
        ("ResNet50V2", "resnet_v2"),
        ("VGG16", "vgg16"),
        ("MobileNet", "mobilenet"),
        ("MobileNetV2", "mobilenet_v2"),
        ("MobileNetV3Small", "mobilenet_v3"),
        ("InceptionV3", "inception_v3"),
        ("InceptionResNetV2", "inception_resnet_v2"),
        ("Xception", "xception"),
        ("NASNetMobile", "nasnet"),
        ("DenseNet121", "densenet"),
        ("EfficientNetB0", "efficientnet"),
        ("EfficientNetV2B0", "efficientnet_v2"),
        ("ConvNeXtTiny", "convnext"),
    ],
)
@pytest.mark.parametrize("top", [1.0, 255.0])
def test_pictures_come_as_the_network_was_trained_on_them(name: str, module: str, top: float) -> None:
    bytes_ = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.float32)
    wanted = getattr(keras().applications, module).preprocess_input(bytes_.copy())
    pictures = bytes_ / 255.0 * top
    inputs = keras().Input((4, 4, 3))
    ours = keras().Model(inputs, prepared(inputs, name, pictures))(pictures)
    assert np.allclose(ours, wanted, atol=1e-3)


@pytest.mark.slow
def test_an_application_is_built_frozen_trained_and_exported(tmp_path: Path) -> None:
    one = worker(tmp_path, "{application: MobileNetV2, options: {alpha: 0.35}, trainable: none, dropout: 0.1}")
    told = run(one, 2, purpose="best")  # grey 8 × 8 pictures: three channels, and the 32 × 32 that it takes
    model = keras().models.load_model(told.facts["model"])
    assert model.predict_on_batch(np.zeros((1, 8, 8, 1))).shape == (1, 10)
    assert [tuple(weight.shape) for weight in model.trainable_weights] == [(1280, 10), (10,)]
    (program,) = one.trainer().loaded.programs._programs.values()  # type: ignore[attr-defined]  # the trainer of Keras models
    assert any(name.endswith(".rate") for name in program._dials)


def test_what_does_not_fit_an_application(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"model\.weights: no such file: w\.h5"):
        probe(worker(tmp_path, "{application: MobileNetV2, weights: w.h5}"))
    (tmp_path / "w.weights.h5").write_bytes(b"no weights")
    with pytest.raises(SpecError, match=r"w\.weights\.h5 does not fit MobileNetV2 without its top"):
        probe(worker(tmp_path, "{application: MobileNetV2, weights: w.weights.h5}"))
    with pytest.raises(SpecError, match="prepares pictures itself"):
        probe(worker(tmp_path, "{application: MobileNetV2}", HEAD.replace("limit: 120", "scale: standardize")))


def test_weights_that_are_not_there_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras.src.applications.mobilenet_v2 as network
    import keras_tuner.src.applications.efficientnet as tuned

    def fails(*_: Any, **__: Any) -> Any:
        raise OSError("URL fetch failure on https://example.org")

    monkeypatch.setattr(network.file_utils, "get_file", fails)
    with pytest.raises(SpecError, match=r"model\.weights: the weights could not be loaded \(URL fetch failure"):
        probe(worker(tmp_path, "{application: MobileNetV2, weights: imagenet}"))
    monkeypatch.setitem(tuned.EFFICIENTNET_MODELS, "B0", fails)
    with pytest.raises(SpecError, match=r"model\.hypermodel: efficientnet starts from ImageNet's weights"):
        probe(worker(tmp_path, "{hypermodel: efficientnet}"))


# --- KerasTuner's own -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hypermodel_brings_its_space_and_takes_labels_as_they_are(tmp_path: Path) -> None:
    one = worker(tmp_path, "{hypermodel: xception}", HEAD.replace("$rate", "1e-2"))
    facts = probe(one)
    assert facts["space"]["sep_num_filters"] == {"type": "int", "min": 128, "max": 768, "step": 128, "default": 256}
    assert not any("when" in domain for domain in facts["space"].values())
    values = {"sep_num_filters": 128, "num_residual_blocks": 2, "conv2d_num_filters": 32}
    told = run(one, 1, values=values)
    assert list(told.curves) == ["loss", "accuracy", "val_loss", "val_accuracy"]


def test_a_hypermodel_is_for_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((60, 8, 8, 1)), y=np.linspace(0, 1, 60))
    head = HEAD.replace("{source: digits, limit: 120}", "{npz: d.npz}")
    with pytest.raises(SpecError, match=r"resnet takes pictures .* of classes, and this is regression"):
        probe(worker(tmp_path, "{hypermodel: resnet}", head))


# --- saved files ----------------------------------------------------------------------------------------------------


def test_training_goes_on_from_the_saved_weights(tmp_path: Path) -> None:
    layers = keras().layers
    made = saved(tmp_path, layers.Dense(16, "relu"), layers.Dropout(0.3), layers.Dense(10, "softmax"))
    one = worker(tmp_path, "{saved: made.keras}")
    assert probe(one)["task"] == "classes"
    trainer: Any = one.trainer()
    blueprint = trainer.loaded.programs.blueprint(*_recipe(one))
    for mine, theirs in zip(blueprint.weights(7), made.get_weights(), strict=True):
        assert np.array_equal(mine, theirs)
    assert blueprint.dials["2.rate"] == pytest.approx(0.3)
    fresh = worker(tmp_path, "{saved: made.keras, reinitialize: true}")
    trainer = fresh.trainer()
    afresh = trainer.loaded.programs.blueprint(*_recipe(fresh))
    assert not np.array_equal(afresh.weights(7)[0], made.get_weights()[0])
    assert np.array_equal(afresh.weights(7)[0], afresh.weights(7)[0])
    told = run(fresh, 2, purpose="best")
    assert keras().models.load_model(told.facts["model"]).count_params() == made.count_params()


def _recipe(one: Worker) -> tuple[Any, Any]:
    from hptune.experiment.recipe import resolve

    trainer: Any = one.trainer()
    return resolve(trainer.loaded.experiment, {"rate": 1e-2}), {"rate": 1e-2}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("{saved: gone.keras}", "model.saved: no such file: gone.keras"),
        ("{saved: broken.keras}", "model.saved: broken.keras can't be loaded"),
        ("{saved: made.keras}", "model.saved: takes samples of [5], and the data gives [8, 8, 1]"),
        ("{saved: three.keras}", "the target has 10 classes"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path: Path, model: str, words: str) -> None:
    (tmp_path / "broken.keras").write_bytes(b"not a model")
    saved(tmp_path, keras().layers.Dense(3, "softmax"))
    (tmp_path / "made.keras").rename(tmp_path / "three.keras")
    saved(tmp_path, keras().layers.Dense(10), shape=(5,))
    with pytest.raises(SpecError) as caught:
        probe(worker(tmp_path, model))
    assert words in str(caught.value)
