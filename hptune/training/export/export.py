"""The exported model: stock Keras, rebuilt from the recipe with plain numbers and given the trained weights.

`model.keras` loads with plain `keras.models.load_model` where hptune is not installed, takes raw inputs and gives
predictions in the target's own unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.base import files
from hptune.run.rundir import RunPaths
from hptune.training.core.several_outputs import columns_of, each_in_own_unit
from hptune.training.core.variables import plain_variables, put
from hptune.training.data import Data
from hptune.training.data.arrays import Array
from hptune.training.data.raw import Column
from hptune.training.export.in_unit import added, in_float32, in_float64, needs_float64
from hptune.training.export.raw_rows import as_inputs, behind_raw_rows
from hptune.training.models.blueprint import Blueprint
from hptune.training.runtime import keras


def in_own_unit(model: Any, data: Data, columns: Mapping[str, int]) -> Any:
    """The model with its standardised outputs brought back into the target's own unit by a stock `Rescaling` layer."""
    if data.target_scale is None:
        return model
    if columns:
        return each_in_own_unit(model, data, columns)
    mean, deviation = (np.asarray(a, np.float32).tolist() for a in data.target_scale)
    back = keras().layers.Rescaling(deviation, offset=mean, name="target_unit", dtype="float32")
    return sequential([*own_layers(model), back], data)


def from_afar(model: Any, data: Data, columns: Mapping[str, int]) -> Any:
    """The model with the target's offset added back to its outputs, in float64 from there on."""
    if data.target_offset is None:
        return model
    if not columns:
        return sequential([*own_layers(model), *added(data.target_offset, "target")], data)
    x = data.train.x
    inputs = keras().Input(x.shape[1:], dtype=x.dtype.name)
    outputs = model(inputs)
    for name, column in columns.items():
        for layer in added(data.target_offset[column], name):
            outputs[name] = layer(outputs[name])
    return keras().Model(inputs, outputs)


def for_raw_inputs(model: Any, data: Data) -> Any:
    """The model with the preparation of its inputs in front, as stock layers; for a table, one input per column."""
    if data.preparation is not None and data.preparation.encodings:
        assert not isinstance(data.examples, np.ndarray), "a table is read as columns"
        return behind_raw_rows(model, data.preparation, data.examples)
    if data.input_scale is None:
        return model
    offset, divisor = (np.asarray(a, np.float64) for a in data.input_scale)
    if offset.ndim == 0:
        front = keras().layers.Rescaling(
            float(1 / divisor), offset=float(-offset / divisor), name="input_unit", dtype="float32"
        )
        return behind([front], model, data)
    assert isinstance(data.examples, np.ndarray), "tables were dealt with"
    if needs_float64(data.examples, divisor):
        return behind(in_float64(offset, divisor), model, data, dtype="float64")
    return behind(in_float32(offset, divisor), model, data)


def for_users(
    blueprint: Blueprint,
    weights: Sequence[NDArray[Any]],
    data: Data,
    *,
    restored: bool,
    plain: Sequence[NDArray[Any]] = (),
) -> Any:
    """The model as users get it, compiled with the recipe's own optimizer, loss and metrics.

    restored: the weights are of a model whose outputs were brought back into the target's unit. plain: the values of
    TensorFlow's own variables in the user's layers.
    """
    from keras.src.utils.naming import reset_uids

    reset_uids()
    model = blueprint.stock()
    columns = columns_of(blueprint.outputs, data)
    if restored:
        model = in_own_unit(model, data, columns)
    model.set_weights(list(weights))
    put(plain_variables(model), plain)
    if restored:
        model = from_afar(model, data, columns)
    if blueprint.exports_front:
        model = behind(blueprint.front(), model, data)
    model = for_raw_inputs(model, data)
    compiled = blueprint.compiled
    compiled.compile(model, compiled.optimizer(), compiled.loss())
    model.optimizer.build(model.trainable_variables)  # as loading expects it: Keras warns of an optimizer without slots
    return model


def save_model(run: RunPaths, model: Any) -> tuple[Path, str]:
    """Write a `.keras` file into the winner's folder, whole or not at all; returns its path, and a note on it or "".

    A user's own class without `get_config` can't be saved so: only its weights are. Raises RunError where it can't be
    written.
    """
    path, weights = run.best_model, run.best_weights
    temporary = path.with_name(f"tmp-{path.name}")
    files.make_folder(run.best, below=run.runs)
    for file in (temporary, weights):
        files.remove(file, below=run.runs)
    if not model.built:
        model.built = True  # its parts are built; it was never called as a whole, or has no call()
    try:
        model.save(temporary)
    except OSError as error:
        raise files.unwritable(path, error) from error
    except Exception as error:  # noqa: BLE001  # a class of the user's may raise anything where it is asked for its config
        for file in (temporary, path):  # the second: an earlier winner's
            files.remove(file, below=run.runs)
        save_weights(weights, model)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = lines[0].rstrip(".") if lines else type(error).__name__
        return weights, f"Keras saves its weights alone: {why}"
    files.move(temporary, path, below=run.runs)
    return path, ""


def save_weights(path: Path, model: Any) -> None:
    """Write a model's weights alone. Raises RunError where they can't be written."""
    try:
        model.save_weights(path)
    except OSError as error:
        raise files.unwritable(path, error) from error


def raw_samples(samples: Array | Sequence[Column]) -> Any:
    """Samples as an exported model takes them: an array, or the columns of a table."""
    return samples if isinstance(samples, np.ndarray) else as_inputs(samples)


def prepared_examples(data: Data) -> Array:
    """The data's examples as the trained model takes them."""
    assert data.preparation is not None, "read from a source"
    examples = data.examples
    rows = len(examples) if isinstance(examples, np.ndarray) else len(examples[0].values)
    return data.preparation(examples, np.arange(rows))


def side_by_side(outputs: Any, columns: Mapping[str, int] = MappingProxyType({})) -> Array:
    """A model's outputs as one array; several are ordered by their columns of the target, or as in the model."""
    if not isinstance(outputs, Mapping):
        return np.asarray(outputs)
    names = sorted(outputs, key=columns.__getitem__) if columns else list(outputs)
    return np.concatenate([np.asarray(outputs[name]) for name in names], axis=-1)


def behind(front: Sequence[Any], model: Any, data: Data, *, dtype: str | None = None) -> Any:
    """The model with some layers in front. dtype: of its input; None: that of the training samples."""
    return sequential([*front, *own_layers(model)], data, dtype=dtype) if front else model


def own_layers(model: Any) -> list[Any]:
    """A Sequential's own layers, so that the listing stays flat; another model as one layer."""
    return list(model.layers) if isinstance(model, keras().Sequential) else [model]


def sequential(layers: Sequence[Any], data: Data, *, dtype: str | None = None) -> Any:
    """A stock Sequential over samples of the data's shape."""
    x = data.train.x
    return keras().Sequential([keras().Input(x.shape[1:], dtype=dtype or x.dtype.name), *layers])
