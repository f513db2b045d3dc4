"""Networks of `keras.applications`, each with the scaling that it needs before it and the data's last layer behind it.

Every network receives pictures as it was trained on them: the stock layers in front of it do what its own
`preprocess_input` does, from pictures in [0, 1] or [0, 255]; grey pictures become three equal channels.
"""

from __future__ import annotations

import re
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from hptune.base.errors import SpecError, spec_error
from hptune.base.quiet import quietly
from hptune.experiment.model import ApplicationModel
from hptune.experiment.output import dense_for
from hptune.experiment.space.references import concrete
from hptune.training.data import Data
from hptune.training.runtime import keras

_LEAST = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
"""The smallest height and width that a network takes; 32 for all others."""

_TO_ONE = re.compile(r"MobileNet(V2)?$|Inception|NASNet|Xception|ResNet\d+V2")
"""Trained on [−1, 1]."""

_BY_CHANNEL = re.compile("DenseNet")
"""Trained on channels that were standardised by ImageNet's own statistics."""

_BLUE_FIRST = re.compile("VGG|ResNet")
"""Trained on blue, green, red less ImageNet's means."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MEAN_BLUE_FIRST = (103.939, 116.779, 123.68)


def build_application(spec: ApplicationModel, data: Data, folder: Path) -> Any:
    """The whole model, not compiled. Raises SpecError where the pictures or the weights don't fit.

    spec: in plain values. folder: the YAML file's, where a relative path of the weights starts.
    """
    height, width, channels = _picture(data)
    name = str(concrete(spec.application))
    least = _LEAST.get(name, 32)
    size = spec.size or (max(height, least), max(width, least))
    layers = keras().layers
    x = inputs = keras().Input((height, width, channels), dtype=data.train.x.dtype.name)
    if tuple(size) != (height, width):
        x = layers.Resizing(*size)(x)
    if channels == 1:
        x = layers.Concatenate()([x, x, x])
    base = _network(spec, name, shape=(*size, 3), folder=folder)
    whole = _freeze(base, concrete(spec.trainable))
    # A network that is not trained whole keeps the statistics of its batch normalisations.
    x = base(prepared(x, name, data.train.x[:256]), **({} if whole else {"training": False}))
    if spec.dropout is not None:
        x = layers.Dropout(concrete(spec.dropout))(x)
    head = dense_for(data.task, _size(data))
    return keras().Model(inputs, layers.Dense(**head, dtype="float32", name="head")(x))


def _picture(data: Data) -> tuple[int, int, int]:
    shape = tuple(data.train.x.shape[1:])
    if len(shape) != 3 or shape[-1] not in (1, 3):
        problem = f"an application takes pictures [height, width, 1 or 3 channels], and a sample is {list(shape)}"
        raise spec_error(f"{problem}. Use layers, or another source.", "model", "application")
    return shape[0], shape[1], shape[2]


def _size(data: Data) -> int:
    if data.task == "classes":
        assert data.labels is not None
        return len(data.labels)
    return int(np.prod(data.train.y.shape[1:], dtype=int))


def _network(spec: ApplicationModel, name: str, *, shape: tuple[int, ...], folder: Path) -> Any:
    weights = spec.weights
    if weights not in (None, "imagenet"):
        path = folder / str(weights)
        if not path.is_file():
            problem = f"no such file: {weights} (looked for {path}). A relative path starts at the YAML file's folder."
            raise spec_error(problem, "model", "weights")
        weights = str(path)
    make = getattr(keras().applications, name)
    try:
        with quietly(), redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
            return make(
                include_top=False,
                weights=weights,
                input_shape=shape,
                pooling=concrete(spec.pooling),
                **{key: concrete(value) for key, value in spec.options.items()},
            )
    except Exception as error:
        if weights is None:
            raise
        raise _unusable(spec, error) from error


def _unusable(spec: ApplicationModel, error: Exception) -> SpecError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = lines[0] if lines else type(error).__name__
    if spec.weights == "imagenet":
        problem = (
            f"the weights could not be loaded ({why}). They are downloaded once into ~/.keras/models: put them there"
        )
        return spec_error(f"{problem}, name a file, or say weights: null.", "model", "weights")
    problem = f"{spec.weights} does not fit {concrete(spec.application)} without its top: {why}"
    return spec_error(f"{problem}. Save them from that network with include_top=False.", "model", "weights")


def _freeze(base: Any, trained: Any) -> bool:
    """Freeze all but the last `trained` layers of the network; whether all of it is trained."""
    if trained == "all":
        return True
    last = 0 if trained == "none" else int(trained)
    for layer in base.layers[: max(len(base.layers) - last, 0)]:
        layer.trainable = False
    return last >= len(base.layers)


def prepared(x: Any, name: str, pictures: Any) -> Any:
    """The pictures x, scaled as the network was trained. pictures: some of them, to see whether they end at 255."""
    sample = np.asarray(pictures)
    if sample.min() < 0:
        problem = "an application prepares pictures itself, and these were standardised. Say scale: unit, or drop this."
        raise spec_error(problem, "data", "scale")
    top = 255.0 if sample.max() > 1.5 else 1.0
    layers = keras().layers
    if _TO_ONE.match(name):
        return layers.Rescaling(2 / top, offset=-1.0)(x)
    if _BY_CHANNEL.match(name):
        scale = [1 / (top * deviation) for deviation in _DEVIATION]
        return layers.Rescaling(scale, offset=[-m / d for m, d in zip(_MEAN, _DEVIATION, strict=True)])(x)
    if _BLUE_FIRST.match(name):
        x = keras().ops.flip(x, axis=-1)
        return layers.Rescaling(255.0 / top, offset=[-mean for mean in _MEAN_BLUE_FIRST])(x)
    return x if top == 255.0 else layers.Rescaling(255.0)(x)  # the rest hold their own scaling of [0, 255]
