"""The data sets of `keras.datasets`, by their own loaders, which keep downloads in Keras's cache."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hptune.base.errors import SpecError, spec_error
from hptune.experiment.data import KerasData
from hptune.training.data.arrays import Array
from hptune.training.data.raw import Raw
from hptune.training.data.reading import Reading
from hptune.training.runtime import keras

FILES = {
    "mnist": "mnist.npz",
    "fashion_mnist": "fashion-mnist/*.gz",
    "cifar10": "cifar-10-batches-py-target_archive",
    "cifar100": "cifar-100-python-target_archive",
    "imdb": "imdb.npz",
    "reuters": "reuters.npz",
    "california_housing": "california_housing.npz",
    "boston_housing": "boston_housing.npz",
}
"""Where in the folder `datasets` of Keras's cache each loader looks for its download."""

PATH = ("data", "keras")


def read_keras(spec: KerasData, reading: Reading) -> Raw:  # noqa: ARG001  # it is in Keras's own cache
    """The loader's training samples, then its test samples, which stay the test part unless the parts are pooled.

    Pictures: uint8 [n, h, w, c]. Texts: int32 [n, maxlen], the numbers of the words, with 0 before a shorter text; of
    a longer one the end is kept. Houses: float64 [n, columns]. Raises `SpecError` where the loader fails, for example
    without a network when the file is not in the cache.
    """
    keras()
    loader = importlib.import_module(f"keras.datasets.{spec.keras}")
    is_text = spec.known.holds == "texts"
    options: dict[str, Any] = {"num_words": spec.num_words} if is_text else {}
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where Keras reports a download
            (x, y), (test_x, test_y) = loader.load_data(**options)
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise _unloadable(spec, error) from error
    if is_text:
        x, test_x = (_padded(texts, spec.maxlen) for texts in (x, test_x))
    if spec.keras in ("mnist", "fashion_mnist"):
        x, test_x = x[..., None], test_x[..., None]
    y, test_y = (np.asarray(part).reshape(len(part)) for part in (y, test_y))
    own = np.arange(len(x), len(x) + len(test_x)) if spec.parts == "own" else None
    return Raw(np.concatenate([x, test_x]), np.concatenate([y, test_y]), (), PATH, PATH, own_test=own)


def _padded(texts: Any, length: int) -> Array:
    padded: Array = keras().utils.pad_sequences(texts, maxlen=length, dtype="int32")
    return padded


def _unloadable(spec: KerasData, error: Exception) -> SpecError:
    from keras.src.backend.config import keras_home

    place = Path(keras_home()) / "datasets" / FILES[spec.keras]
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return spec_error(
        f"{spec.keras} can't be loaded ({reason}). Its loader takes {place} if it is there, and else downloads it. "
        f"Go online once, or put the file there.",
        *PATH,
    )
