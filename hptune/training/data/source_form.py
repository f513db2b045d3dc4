"""Samples as the user's own code gets them: targets in the form of the source, training rows in its order.

For Keras's own losses and metrics the form makes no difference. The user's code may rely on it: `y - y_pred` is [n, n]
where y is [n] and y_pred [n, 1], and fails for whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hptune.training.data.arrays import Array, Rows
from hptune.training.data.parts import Data, Part
from hptune.training.data.raw import Raw
from hptune.training.data.store.stored import Stored
from hptune.training.data.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class SourceForm:
    """The form that samples have in the source, before reading changes it.

    column: y is [n, 1]. floats: classes are the floats 0.0, 1.0, …. order: the training part's rows in the order of the
    source. formless: y is one column of a table, which is neither [n] nor [n, 1].
    """

    column: bool
    floats: bool
    order: Rows
    formless: bool = False


def source_form(raw: Raw, target: Target, train: Rows, *, arrays: bool) -> SourceForm:
    """The form in the source. train: the row numbers of the training part in it. arrays: whether it holds arrays, whose
    targets have a form.
    """
    order = np.argsort(train, kind="stable") if raw.times is None else np.arange(len(train))  # by their times already
    if not arrays:
        return SourceForm(column=False, floats=False, order=order, formless=target.y.ndim == 1)
    column = raw.y.ndim == 2 and raw.y.shape[1] == 1
    numbered = target.labels == tuple(range(len(target.labels or ())))
    floats = target.task == "classes" and raw.y.dtype.kind == "f" and raw.labels is None and numbered
    return SourceForm(column, floats and target.y.ndim == 1, order)


def beside_outputs(data: Data) -> Data:
    """The samples; where targets have no form in the source, with that of a network with one output, [n, 1], since the
    user's metrics may subtract the two.
    """
    form = data.form
    return data if form is None else replace(data, form=replace(form, column=form.column or form.formless))


def as_given(data: Data, *, ordered: bool = False) -> Data:
    """The samples with targets in the form of the source. ordered: the training part's rows in its order too, where
    they are in memory.
    """
    if data.form is None:
        return data
    train = target_as_given(data.train, data.form)
    if ordered and not isinstance(train.x, Stored) and train.flow is None:
        rows = data.form.order
        weights = None if train.sample_weight is None else train.sample_weight[rows]
        train = replace(train, x=train.x[rows], y=train.y[rows], sample_weight=weights)
    return replace(data, train=train, validation=target_as_given(data.validation, data.form))


def target_as_given(part: Part, form: SourceForm | None) -> Part:
    """The part with its targets in that form; floats become float32, as `fit` takes them."""
    if form is None:
        return part
    y: Array = part.y.astype(np.float32) if form.floats else part.y
    flow = None if part.flow is None else replace(part.flow, column=form.column)
    return replace(part, y=y[:, None] if form.column and y.ndim == 1 else y, flow=flow)
