"""What users get out: stock Keras, rebuilt from the recipe with plain numbers and given the trained weights.

`model.keras` loads with plain `keras.models.load_model` where hptune is not installed, takes raw inputs and gives
predictions in the target's own unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.training.blueprint import Blueprint
from hptune.training.data import Data
from hptune.training.runtime import keras


def in_own_unit(model: Any, data: Data) -> Any:
    """The model with its standardised outputs brought back into the target's own unit by a stock `Rescaling` layer."""
    if data.target_scale is None:
        return model
    mean, deviation = (np.asarray(a, np.float32).tolist() for a in data.target_scale)
    return _sequential([*_layers(model), keras().layers.Rescaling(deviation, offset=mean, name="target_unit")], model)


def for_raw_inputs(model: Any, data: Data) -> Any:
    """The model with the scaling of its inputs in front, as a stock `Rescaling` or `Normalization` layer."""
    if data.input_scale is None:
        return model
    offset, divisor = (np.asarray(a, np.float64) for a in data.input_scale)
    if offset.ndim == 0:
        front = keras().layers.Rescaling(float(1 / divisor), offset=float(-offset / divisor), name="input_unit")
    else:
        front = keras().layers.Normalization(mean=offset, variance=divisor**2, name="input_unit")
    return _sequential([front, *_layers(model)], model)


def export(path: Path, blueprint: Blueprint, weights: Sequence[NDArray[Any]], data: Data, *, restored: bool) -> Any:
    """Write a `.keras` file, whole or not at all; returns the model. `restored`: outputs are in the target's unit."""
    from keras.src.utils.naming import reset_uids

    reset_uids()
    model = blueprint.stock()
    if restored:
        model = in_own_unit(model, data)
    model.set_weights(list(weights))
    model = for_raw_inputs(model, data)
    model.compile(optimizer=blueprint.optimizer(), loss=blueprint.loss(), metrics=blueprint.metrics())
    save_model(path, model)
    return model


def save_model(path: Path, model: Any) -> None:
    """Write a `.keras` file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"tmp-{path.name}")
    model.save(temporary)
    temporary.replace(path)


def raw_inputs(x: NDArray[Any], data: Data) -> NDArray[Any]:
    """The samples before their scaling."""
    if data.input_scale is None:
        return x
    offset, divisor = data.input_scale
    return (np.asarray(x, np.float64) * divisor + offset).astype(np.float32)


def _layers(model: Any) -> list[Any]:
    """A Sequential's own layers, so that the listing stays flat; another model as one layer."""
    return list(model.layers) if isinstance(model, keras().Sequential) else [model]


def _sequential(layers: Sequence[Any], model: Any) -> Any:
    shape = model.input_shape[1:]
    return keras().Sequential([keras().Input(shape, dtype=model.inputs[0].dtype), *layers])
