"""What the target is: classes, labels (several of which may hold at once), or numbers.

Text and booleans are classes. So are whole numbers with at most 20 distinct values that occur twice or more on average;
arrays of an integer type that hold exactly 0..k−1, whatever k; and one-hot rows. Other rows of 0 and 1 are labels.
Everything else is regression. `data.task` overrides it where the target can be read both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hptune.base.errors import KeyPath, spec_error
from hptune.base.trial import Value
from hptune.experiment.data import Task
from hptune.training.data.arrays import Array, Rows
from hptune.training.data.needs import Needs
from hptune.training.data.raw import Raw
from hptune.training.data.scaling import COSTLY, statistics
from hptune.training.data.split.split import Split
from hptune.training.data.table.cells import are_integers, shortest

FEW = 20
"""The greatest number of distinct whole numbers that are taken for classes."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The target of all samples.

    y: int32 [n] class indices, float32 [n, k] one-hot rows or labels, or float64 [n] or [n, k].
    codes: the class of each row, for the split; zeros for labels and regression.
    labels: the classes in the order of their index, or the labels' names in column order; None for regression.
    """

    task: Task
    y: Array
    codes: Rows
    labels: tuple[Value, ...] | None


def read_target(raw: Raw, *, task: Task | None, one_hot: bool) -> Target:
    """Recognise the target. One-hot rows stay one-hot, whatever `one_hot` says.

    Raises `SpecError` where the target can't be read as `task`, or where all its values are the same.
    """
    y = raw.y[:, 0] if raw.y.ndim == 2 and raw.y.shape[1] == 1 else raw.y
    rows_are_one_hot = _is_one_hot(y)
    seen = task or _task(y, raw, one_hot=rows_are_one_hot)
    if seen == "regression":
        return _numbers(y, raw, one_hot=one_hot)
    if seen == "labels":
        return _several(y, raw, one_hot=one_hot)
    if y.ndim == 2 and not rows_are_one_hot:
        message = f"task: classes needs one label a row or one-hot rows, got {list(y.shape)}."
        message += " Say task: labels." if _is_binary(y) else " Say task: regression."
        raise spec_error(message, *raw.y_path)
    return _classes(y, raw, one_hot=one_hot or rows_are_one_hot)


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """The target as training takes it: for a regression float32, after `offset` (float64, of one target's shape) was
    subtracted; None: nothing was. notes: notes on it for the user.
    """

    y: Array
    offset: Array | None = None
    notes: tuple[str, ...] = ()


FAR = 30.0
"""So many deviations from 0, float32 may change the squares that R² adds up by a thousandth; more with more samples."""

EPSILON = 1e-7
"""Keras's epsilon, unless its `keras.json` says otherwise."""

_SQUARES = (1e-17, 1e15)
"""The range of deviations whose squares, and sums of them over many samples, float32 holds."""

_SIZES = (1e-34, 1e34)
"""The range of deviations that float32 holds, with thousandths and sums of them."""


def as_taken(
    target: Target, train: Rows, needs: Needs, *, standardised: bool, path: KeyPath, outputs: Sequence[str] = ()
) -> Taken:
    """The target in the model's dtype. Raises `SpecError` for numbers that float32 can't hold.

    outputs: the names of several targets.
    """
    if target.task != "regression" or needs.wide:
        return Taken(target.y)
    mean, deviation = statistics(target.y[train])
    least, most = _SQUARES if needs.squares or not standardised else _SIZES
    low, high = float(np.min(deviation)), float(np.max(np.abs(target.y)))
    if low < least or float(np.max(deviation)) > most or high > np.finfo(np.float32).max:
        squared = ", squared" if (least, most) == _SQUARES else ""
        message = (
            f"the target deviates by {low:.3g} and reaches {high:.3g}, which is beyond what float32 holds{squared}."
        )
        raise spec_error(f"{message} Give it in another unit.", *path)
    offset = None
    if standardised and needs.differences and (np.abs(mean) > FAR * deviation).any():
        offset = mean
    near = target.y if offset is None else target.y - offset
    y = near.astype(np.float32)
    lost = float(np.max(np.abs(y - near) / deviation))
    notes: tuple[str, ...] = ()
    if lost > COSTLY:
        message = f"Keras computes in float32, which takes up to {lost:.2g} of its deviation off the target"
        remedy = (
            "Take a constant off it; hptune does so itself where the network is declared in the YAML and its metrics "
            "are of differences alone, without arguments (mae, mse, r2_score)"
        )
        notes = (f"{message} ({_few(mean)} ± {_few(deviation)}). {remedy}.",)
    elif offset is None and (far := float(np.max(np.abs(mean) / deviation))) > FAR:
        which = f" {outputs[int(np.argmax(np.abs(mean) / deviation))]!r}" if len(outputs) > 1 else ""
        message = (
            f"the target{which} lies {far:.3g} of its deviations from 0, where sums of squares in float32 (Keras's"
        )
        advice = "Take a constant off it, or choose another metric"
        notes = (f"{message} r2_score, or such as metrics of your own make) have few digits left. {advice}.",)
    return Taken(y, offset, (*notes, *_floored(target.y, needs)))


def _floored(y: Array, needs: Needs) -> tuple[str, ...]:
    """A note where a metric divides by Keras's epsilon instead of a smaller target."""
    size = np.abs(y) if y.ndim == 1 else np.sqrt(np.sum(np.square(y), axis=tuple(range(1, y.ndim))))
    count = int(np.count_nonzero((size > 0) & (size < EPSILON)))
    if not needs.floors or not count:
        return ()
    note = (
        f"{count} of {len(y)} values of the target are nearer to 0 than {EPSILON:g}, and {needs.floors[0]} divides by"
    )
    return (f"{note} no less than that, as in Keras. Give the target in another unit.",)


def untrained_classes(target: Target, parts: Split) -> tuple[str, ...]:
    """A note where the training part lacks a class that another part has."""
    if target.task != "classes" or target.labels is None:
        return ()
    others = np.concatenate([parts.validation, parts.test])
    return missing_classes(target.codes[parts.train], target.codes[others], target.labels)


def missing_classes(trained: Array, others: Array, labels: Sequence[Value]) -> tuple[str, ...]:
    """That note. trained, others: class numbers in the training part and the others. labels: the classes, by number."""
    lacking = sorted(set(others.tolist()) - set(trained.tolist()))
    if not lacking:
        return ()
    names = ", ".join(repr(labels[code]) for code in lacking)
    return (f"the training part has no sample of {names}, which other parts have: no model can learn it.",)


def _few(values: Array) -> str:
    """The first few numbers as text."""
    return ", ".join(f"{value:.6g}" for value in np.reshape(values, -1)[:4].tolist())


def _classes(y: Array, raw: Raw, *, one_hot: bool) -> Target:
    if raw.labels is not None:
        labels, codes = raw.labels, y
    elif y.ndim == 2:
        labels, codes = _names(y, raw), y.argmax(axis=1)
    else:
        values, codes = np.unique(y, return_inverse=True)
        labels = _labels_of(values)
    present = np.unique(codes)
    if len(present) == 1:
        message = f"the target has one class only ({labels[present[0]]!r}): there is nothing to learn. Choose another."
        raise spec_error(message, *raw.y_path)
    codes = codes.astype(np.int64)
    encoded = np.eye(len(labels), dtype=np.float32)[codes] if one_hot else codes.astype(np.int32)
    return Target("classes", encoded, codes, labels)


def _several(y: Array, raw: Raw, *, one_hot: bool) -> Target:
    if one_hot:
        raise spec_error("one_hot is for classes, and this target is labels. Drop it.", "data", "one_hot")
    if y.ndim != 2 or not _is_binary(y):
        got = f"{y.dtype} {list(y.shape)}"
        wrong = np.argwhere(~np.isin(y, (0, 1))) if y.ndim == 2 and y.dtype.kind in "iuf" else np.empty((0, 2), int)
        for row, column in wrong[:1].tolist():
            got += f" with {y[row, column]:g} for {_names(y, raw)[column]!r} in sample {row + 1}"
        message = f"task: labels needs a row of 0 and 1 a sample, a column for each label, got {got}."
        raise spec_error(f"{message} Give such columns, or another task.", *raw.y_path)
    names = _names(y, raw)
    for name, column in zip(names, y.T, strict=True):
        if (column == column[0]).all():
            message = f"label {name!r} is {column[0]:g} in every sample: there is nothing to learn. Leave it out."
            raise spec_error(message, *raw.y_path)
    return Target("labels", y.astype(np.float32), np.zeros(len(y), np.int64), names)


def _names(y: Array, raw: Raw) -> tuple[Value, ...]:
    """The names of a target's columns; their numbers where they have none."""
    columns: int = y.shape[-1]
    return raw.outputs if len(raw.outputs) == columns else tuple(range(columns))


def _numbers(y: Array, raw: Raw, *, one_hot: bool) -> Target:
    y = y.astype(np.float64) if are_integers(y) else y
    if y.dtype.kind not in "biuf":
        message = f"task: regression needs a target of numbers, got text such as {str(y.flat[0])!r}. Say task: classes."
        raise spec_error(message, *raw.y_path)
    if one_hot:
        raise spec_error("one_hot is for classes, and this target is regression. Drop it.", "data", "one_hot")
    if (y == y[:1]).all():
        message = f"every value of the target is {y.flat[0]}: there is nothing to learn. Choose another."
        raise spec_error(message, *raw.y_path)
    return Target("regression", y.astype(np.float64), np.zeros(len(y), np.int64), None)


def _task(y: Array, raw: Raw, *, one_hot: bool) -> Task:
    if raw.labels is not None or one_hot or _like_classes(y):
        return "classes"
    return "labels" if y.ndim == 2 and _is_binary(y) and not (y == y[:1]).all() else "regression"


def _like_classes(y: Array) -> bool:
    if y.ndim == 2:
        return y.dtype.kind not in "biuf"
    if y.dtype.kind not in "iuf" and not are_integers(y):
        return True  # text and booleans
    if y.dtype.kind == "f" and not (y == np.floor(y)).all():
        return False
    values = np.unique(y)
    if 2 * len(values) > len(y):
        return False
    return len(values) <= FEW or (y.dtype.kind in "iu" and values[0] == 0 and values[-1] == len(values) - 1)


def _is_one_hot(y: Array) -> bool:
    return y.ndim == 2 and _is_binary(y) and bool((y.sum(axis=1) == 1).all())


def _is_binary(y: Array) -> bool:
    return y.dtype.kind in "biuf" and bool(np.isin(y, (0, 1)).all())


def _labels_of(values: Array) -> tuple[Value, ...]:
    """The classes in their usual spelling: 3.0 in a table's column is the label 3."""
    return tuple(map(shortest, values)) if values.dtype.kind == "f" else tuple(values.tolist())
