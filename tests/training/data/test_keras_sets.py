"""Keras's data sets: through their own loaders, from small files where those look for what they downloaded."""

from __future__ import annotations

import gzip
import urllib.error
from pathlib import Path
from typing import Any

import keras.src.backend.config as keras_config
import keras.src.utils.file_utils as keras_files
import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.experiment.data import KerasData
from hptune.training.data import Data, load_data


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's cache, and no network."""

    def offline(*_: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(keras_config, "_KERAS_DIR", str(tmp_path))
    monkeypatch.setattr(keras_files, "urlretrieve", offline)
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


@pytest.fixture
def taken_as_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins are not the published files, so that they have other hashes; their loaders are to take them."""
    monkeypatch.setattr(keras_files, "validate_file", lambda *_, **__: True)


def load(**given: Any) -> Data:
    return load_data(KerasData.model_validate(given), folder=Path(), seed=0, with_test=True)


def fashion(cache: Path, train: int = 50, test: int = 20) -> None:
    """Files as the loader of fashion_mnist reads them (it checks no hash): a head, then bytes."""
    (cache / "fashion-mnist").mkdir()
    for name, size in (("train", train), ("t10k", test)):
        labels = np.arange(size, dtype=np.uint8) % 5
        pictures = np.repeat(labels * 10, 28 * 28) + (name == "t10k")
        for kind, head, content in (("labels-idx1", 8, labels), ("images-idx3", 16, pictures)):
            with gzip.open(cache / "fashion-mnist" / f"{name}-{kind}-ubyte.gz", "wb") as file:
                file.write(bytes(head) + content.astype(np.uint8).tobytes())


def test_pictures_have_a_channel_and_the_test_part_is_the_loaders(cache: Path) -> None:
    fashion(cache)
    data = load(keras="fashion_mnist", scale="none")
    assert dict(data.rows) == {"train": 40, "validation": 10, "test": 20}
    assert data.train.x.shape == (40, 28, 28, 1)
    assert data.labels == (0, 1, 2, 3, 4)
    assert data.test is not None
    assert (data.test.x % 10 == 1).all()
    assert (data.train.x % 10 == 0).all()
    assert (data.train.x[:, 0, 0, 0] == data.train.y * 10).all()


def test_a_limit_is_for_what_is_trained_and_validated_on(cache: Path) -> None:
    fashion(cache)
    assert dict(load(keras="fashion_mnist", limit=20).rows) == {"train": 16, "validation": 4, "test": 20}


def test_all_samples_are_split_where_the_parts_are_pooled(cache: Path) -> None:
    fashion(cache)
    data = load(keras="fashion_mnist", parts="pooled", test=0.1, scale="none")
    assert dict(data.rows) == {"train": 49, "validation": 14, "test": 7}
    assert {0, 1} == set(np.unique(data.train.x % 10))


def test_a_share_for_a_test_part_that_is_there_is_refused() -> None:
    with pytest.raises(ValueError, match="brings its own test part"):
        KerasData(keras="mnist", test=0.1)
    with pytest.raises(ValueError, match="num_words is for imdb and reuters, and this is mnist"):
        KerasData(keras="mnist", num_words=5)


@pytest.mark.usefixtures("taken_as_whole")
def test_texts_are_numbers_of_words_of_one_length(cache: Path) -> None:
    texts = np.array([list(range(1, 3 + i % 9)) for i in range(60)], object)
    labels = np.arange(60) % 2
    np.savez(cache / "imdb.npz", x_train=texts[:40], y_train=labels[:40], x_test=texts[40:], y_test=labels[40:])
    data = load(keras="imdb", num_words=8, maxlen=6)
    assert (data.train.x.shape, data.train.x.dtype) == ((32, 6), np.int32)
    assert data.train.x.max() < 8
    assert (data.train.x[:, -1] != 0).all(), "a short text is filled up at its beginning"
    assert dict(data.rows)["test"] == 20


@pytest.mark.usefixtures("taken_as_whole")
def test_houses_are_a_regression(cache: Path) -> None:
    generator = np.random.default_rng(0)
    np.savez(cache / "california_housing.npz", x=generator.normal(5, 2, (50, 8)), y=generator.normal(2e5, 1e4, 50))
    data = load(keras="california_housing")
    assert data.task == "regression"
    assert np.allclose(data.train.x.mean(axis=0), 0, atol=1e-6)
    assert dict(data.rows)["test"] == 10


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "reuters", "boston_housing"])
def test_without_a_network_the_place_of_the_file_is_told(
    cache: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SpecError) as error:
        load(keras=name)
    told = str(error.value)
    assert f"data.keras: {name} can't be loaded (URL fetch failure" in told
    assert "no network" in told
    assert str(cache) in told
    assert capsys.readouterr().out == "", "stdout is for results"
