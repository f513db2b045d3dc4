"""`data.augment`: stock Keras random layers in front of the model, active in training only, their strengths dials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hptune.base.errors import spec_error
from hptune.experiment.data import Augment
from hptune.experiment.space.references import concrete
from hptune.training.data import Data
from hptune.training.models.dials import Dial
from hptune.training.runtime import keras

STRENGTHS = ("translate", "rotate", "zoom", "contrast", "brightness")
"""What has a strength s: the largest change, drawn anew for each picture from −s to s."""

PREFIX = "augment."
"""The dials are named `augment.translate`, …"""


def strengths(augment: Augment | None) -> dict[str, float]:
    """The strengths that the YAML gives, by the names of their dials."""
    values = {} if augment is None else {name: getattr(augment, name) for name in STRENGTHS}
    return {f"{PREFIX}{name}": float(concrete(s)) for name, s in values.items() if s is not None}


def flips(augment: Augment | None) -> str | None:
    """How pictures are flipped, which shapes the graph; None: not at all."""
    return None if augment is None or augment.flip is None else str(concrete(augment.flip))


def layers(flip: str | None, strong: Mapping[str, float], data: Data) -> list[Any]:
    """The stock layers, in a fixed order. strong: as `strengths` returns them.

    Raises SpecError where a layer needs the range of the pictures, and it isn't known.
    """
    ranged = {f"{PREFIX}contrast", f"{PREFIX}brightness"} & set(strong)
    keras_layers, scale = keras().layers, _value_range(data) if ranged else (0.0, 1.0)
    made = [] if flip is None else [keras_layers.RandomFlip("horizontal_and_vertical" if flip == "both" else flip)]
    make = {
        "translate": lambda s: keras_layers.RandomTranslation(s, s),
        "rotate": lambda s: keras_layers.RandomRotation(s),
        "zoom": lambda s: keras_layers.RandomZoom((-s, s)),
        "contrast": lambda s: keras_layers.RandomContrast((s, s), value_range=scale),
        "brightness": lambda s: keras_layers.RandomBrightness(s, value_range=scale),
    }
    return [*made, *(make[name.removeprefix(PREFIX)](s) for name, s in strong.items())]


def attach(made: list[Any]) -> dict[str, Dial]:
    """Put a dial in place of each layer's strength; returns the dials by name."""
    dials: dict[str, Dial] = {}
    for layer in made:
        class_name = type(layer).__name__
        strength = KINDS.get(class_name.removeprefix("Random"))
        if strength is None:
            continue
        high = dials[PREFIX + strength] = Dial()
        low = -high
        if class_name == "RandomTranslation":
            layer.height_lower, layer.height_upper, layer.width_lower, layer.width_upper = low, high, low, high
        elif class_name == "RandomZoom":
            layer.height_lower, layer.height_upper = low, high
        else:
            layer.factor = (high, high) if class_name == "RandomContrast" else (low, high)
    return dials


KINDS = {
    "Translation": "translate",
    "Rotation": "rotate",
    "Zoom": "zoom",
    "Contrast": "contrast",
    "Brightness": "brightness",
}
"""Keras's layer `Random…` -> the strength that is its dial."""


def _value_range(data: Data) -> tuple[float, float]:
    """The range of the pictures, (black, white), after scaling.

    Where numbers are below 0 it is [-1, 1] or, beyond that, from the least to the greatest of the training part.
    """
    raw = np.asarray(data.examples)
    if data.input_scale is None:
        flows = data.train.flow is not None
        low, high = (float(raw.min()), float(raw.max())) if flows else _extremes(data.train.x)
        if -1.0 <= low < 0 and high <= 1.0:
            return -1.0, 1.0
        if low < 0 and flows:
            problem = (
                f"brightness and contrast need the range of pictures, and elements of the data set go from {low:g}"
            )
            remedy = (
                "Bring them to [-1, 1], or put RandomBrightness and RandomContrast with a value_range into the network"
            )
            raise spec_error(f"{problem} to {high:g}. {remedy}.", "data", "augment")
        if low < 0 or high > _WHITEST:
            return min(low, 0.0), high
    white = 1.0 if raw.max() <= 1.5 else 255.0 if raw.max() <= 255 else 65535.0
    offset, divisor = data.input_scale if data.input_scale is not None else (np.zeros(()), np.ones(()))
    return float(np.min((0 - offset) / divisor)), float(np.max((white - offset) / divisor))


def _extremes(x: Any) -> tuple[float, float]:
    """The least and the greatest number of an array, which may not lie in memory."""
    low, high = math.inf, -math.inf
    for at in range(0, len(x), _ROWS_AT_ONCE):
        block = np.asarray(x[at : at + _ROWS_AT_ONCE])
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    return low, high


_ROWS_AT_ONCE = 1024

_WHITEST = 65535
"""The greatest number of 16 bits. Anything brighter is no such picture."""
