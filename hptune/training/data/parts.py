"""What training gets: the parts of the data as arrays, and what is known about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hptune.base.trial import Value
from hptune.experiment.data import Task
from hptune.training.data.arrays import Array

if TYPE_CHECKING:
    from hptune.training.data.inputs import Preparation
    from hptune.training.data.raw import Column
    from hptune.training.data.sources.flow import Flow


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Part:
    """Some of the samples, in a shuffled order that depends on the seed alone. All arrays are C-contiguous.

    x: a pytree of arrays whose first axis is the sample; one float32 or int32 array for every source there is now.
        An array that is not held in memory is `Stored`, which is indexed like one. For scikit-learn float64 (and y and
        the weights too), or whole numbers in their own type.
    y: int32 [n], the index of the class in `Data.labels`; float32 [n, classes] one-hot rows; float32
        [n, labels] of 0 and 1; or float32 [n] or [n, outputs] for regression, in the target's own unit, less
        `Data.target_offset`.
    sample_weight: float32 [n], or None where all samples count alike. In the training part it includes the classes'
        weights. It counts in the loss, as in Keras, and not in the metrics.
    """

    x: Any
    y: Array
    sample_weight: Array | None = None
    flow: Flow | None = None

    def __len__(self) -> int:
        return len(self.y) if self.flow is None else self.flow.rows


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The samples of one experiment.

    test: None unless it was asked for (`load_data(…, with_test=True)`), so that no search can use it; also None
        where `data.test` is 0.
    rows: how many samples each part has, by name; `test` is counted even where it is not loaded.
    labels: the classes as the source spells them, in the order of their index; for `labels` the names of y's columns
        (their numbers where they have none); None for regression.
    fingerprint: sha256 (hex) of the raw values that are used and of the options that decide on rows and meaning. The
        experiment's seed is no part of it.
    target_scale: (mean, standard deviation) of the training part's y, float64 of shape y.shape[1:], by which the
        training core standardises inside the loss; None for classes and under `scale: none`. y itself is not scaled.
    target_offset: float64 of the same shape, subtracted from y before it became float32 (the mean above is of the
        rest): a target far from 0 would lose digits. None: nothing was.
    input_scale: (offset, divisor), float64, broadcastable to x: x = (raw − offset) / divisor was done already. For a
        standardised table these are mean and standard deviation, [columns]; for pictures 0 and 255. None: unscaled.
    features: the columns of the source, in its own words; () for arrays without names.
    outputs: the names of the target's columns, of a single one too; () where it has none.
    preparation: the whole way from a raw sample to x; `input_scale` is its last step.
    examples: some samples of the training part as in the source, for a table odd rows too: an array, or the columns of
        a table.
    notes: notes for the user on how the source was read.
    form: for arrays, their form in the source (`source_form.SourceForm`).
    """

    train: Part
    validation: Part
    test: Part | None
    rows: Mapping[str, int]
    task: Task
    labels: tuple[Value, ...] | None
    fingerprint: str
    target_scale: tuple[Array, Array] | None
    input_scale: tuple[Array, Array] | None
    features: tuple[str, ...]
    target_offset: Array | None = None
    outputs: tuple[str, ...] = ()
    preparation: Preparation | None = None
    examples: Array | tuple[Column, ...] = ()
    notes: tuple[str, ...] = ()
    form: Any = None


def facts(data: Data) -> dict[str, Any]:
    """The facts on the data for the journal and the console, as JSON data.

    `classes` holds the labels in the order of their index (null for regression); shapes are those of one sample.
    """
    return {
        "task": data.task,
        "classes": None if data.labels is None else list(data.labels),
        "rows": dict(data.rows),
        "x": _kind(data.train.x),
        "y": _kind(data.train.y),
        "features": list(data.features),
        "fingerprint": data.fingerprint,
        **({"notes": list(data.notes)} if data.notes else {}),
    }


def _kind(array: Array) -> dict[str, Any]:
    return {"shape": list(array.shape[1:]), "dtype": np.dtype(array.dtype).name}
