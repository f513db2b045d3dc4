"""Models with several outputs, each of which learns its own column of the target; the data stays one array."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hptune.base.errors import spec_error
from hptune.training.core.losses import standardized
from hptune.training.data import Data
from hptune.training.runtime import keras


def columns_of(outputs: Sequence[str], data: Data) -> dict[str, int]:
    """Output -> the number of its column in y; {} for a model with one output.

    By name where the target's columns have names, else in their order. Raises SpecError where they don't match.
    """
    if len(outputs) < 2:
        return {}
    y = data.train.y
    count = y.shape[1] if y.ndim == 2 and data.task != "classes" else 1
    named = data.outputs if len(data.outputs) == count else ()
    if count != len(outputs) or (named and set(named) != set(outputs)):
        has = f"the columns {', '.join(named)}" if named else f"{count} value{'s' if count > 1 else ''} a sample"
        problem = f"the outputs are {', '.join(outputs)}, and the target has {has}"
        remedy = "Name an output for each column" if count > 1 else "Give one output, or several columns as the target"
        raise spec_error(f"{problem}. {remedy}.", "model", "outputs")
    return {name: named.index(name) if named else number for number, name in enumerate(outputs)}


def check_outputs(model: Any, columns: Mapping[str, int]) -> None:
    """Raises SpecError unless each output is one value."""
    for name in columns:
        size = model.output[name].shape[1:]
        if tuple(size) != (1,):
            problem = (
                f"{name} gives {' x '.join(map(str, size))} values a sample, and its column of the target holds one"
            )
            raise spec_error(f"{problem}. End it with Dense: {{units: 1}}.", "model", "outputs")


def splitter(columns: Mapping[str, int]) -> Callable[[Any], Any]:
    """A function that divides the y of a batch (x, y, sample_weight) into one column for each output."""
    if not columns:
        return lambda batch: batch

    def split(batch: Any) -> Any:
        x, y, weight = batch
        return x, {name: y[:, column : column + 1] for name, column in columns.items()}, weight

    return split


def each_standardized(losses: Mapping[str, Any], data: Data, columns: Mapping[str, int]) -> dict[str, Any]:
    """The losses over standardised targets and predictions, as in `losses.standardized`."""
    assert data.target_scale is not None
    mean, deviation = data.target_scale
    return {name: standardized(losses[name], mean[[c]], deviation[[c]]) for name, c in columns.items()}


def each_in_own_unit(model: Any, data: Data, columns: Mapping[str, int]) -> Any:
    """The model with each output brought back into the unit of its column by a stock `Rescaling` layer."""
    assert data.target_scale is not None
    mean, deviation = (np.asarray(a, np.float64) for a in data.target_scale)
    x = data.train.x
    inputs = keras().Input(x.shape[1:], dtype=x.dtype.name)
    made = model(inputs)
    back = {
        name: keras().layers.Rescaling(float(deviation[c]), offset=float(mean[c]), name=f"{name}_unit", dtype="float32")
        for name, c in columns.items()
    }
    return keras().Model(inputs, {name: layer(made[name]) for name, layer in back.items()})
