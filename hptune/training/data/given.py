"""Samples as a user's own code is given them: targets in the form of the source, training rows in its order.

Training by Keras's own losses and metrics is the same whatever the form. Code of a user's may count on it: `y - y_pred`
is [n, n] where y is [n] and y_pred [n, 1], and fails for whole numbers.
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
    """What reading the source has changed.

    column: y was [n, 1]. floats: classes were given as the floats 0.0, 1.0, …. order: of the training part's rows, the
    one in which they lay. formless: one column of a table, which is as much [n] as [n, 1].
    """

    column: bool
    floats: bool
    order: Rows
    formless: bool = False


def source_form(raw: Raw, target: Target, train: Rows, *, arrays: bool) -> SourceForm:
    """How the source had it. train: the numbers of the training part's rows in it. arrays: whether it gave those, so
    that targets have a form of their own.
    """
    order = np.argsort(train, kind="stable") if raw.times is None else np.arange(len(train))  # by their times already
    if not arrays:
        return SourceForm(column=False, floats=False, order=order, formless=target.y.ndim == 1)
    column = raw.y.ndim == 2 and raw.y.shape[1] == 1
    numbered = target.labels == tuple(range(len(target.labels or ())))
    floats = target.task == "classes" and raw.y.dtype.kind == "f" and raw.labels is None and numbered
    return SourceForm(column, floats and target.y.ndim == 1, order)


def beside_outputs(data: Data) -> Data:
    """Where the source gives no form to the targets, they have that of a network with one output, [n, 1]: a metric of
    the user's takes their difference.
    """
    form = data.form
    return data if form is None else replace(data, form=replace(form, column=form.column or form.formless))


def as_given(data: Data, *, ordered: bool = False) -> Data:
    """The samples with targets as the source has them; ordered: and the training part's rows too, where they lie in
    memory.
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
    """The part with its targets in that form; floats as float32, as `fit` takes them."""
    if form is None:
        return part
    y: Array = part.y.astype(np.float32) if form.floats else part.y
    flow = None if part.flow is None else replace(part.flow, column=form.column)
    return replace(part, y=y[:, None] if form.column and y.ndim == 1 else y, flow=flow)
