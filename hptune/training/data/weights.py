"""How much each sample counts: by its own weight, and in training by its class too; and which weights are invalid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from hptune.base.errors import KeyPath, Problem, SpecError, spec_error, unknown
from hptune.training.data.arrays import Array, Rows
from hptune.training.data.target import Target


def given_weights(values: Any, name: str, path: KeyPath) -> Array:
    """float64 [n] from the weights that the user's code returned, [n] or [n, 1]. Raises `SpecError` for anything else,
    and for weights that are not finite numbers of at least 0.

    name: of the weights, for messages.
    """
    try:
        weights = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise spec_error(f"{name} must be numbers, one a sample. Convert it to float64.", *path) from error
    if weights.ndim == 2 and weights.shape[1] == 1:
        weights = weights[:, 0]
    if weights.ndim != 1:
        message = f"{name} must be [n] or [n, 1], one weight a sample, got {list(weights.shape)}."
        raise spec_error(f"{message} Return one for each sample.", *path)
    check_weights(weights, name, path)
    return weights


def check_weights(weights: Array, name: str, path: KeyPath, *, start: int | None = None) -> None:
    """Raises `SpecError` for a weight that is not a finite number of at least 0. start: the index of the first one, in
    a batch of a stream.
    """
    odd = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(odd):
        at, value = (start or 0) + int(odd[0]), float(np.reshape(weights, -1)[odd[0]])
        count = f" ({len(odd)} such)" if start is None else ""
        message = f"{name}: a weight must be a finite number of at least 0, got {value:g} at index {at}{count}"
        raise spec_error(f"{message}. Correct it, or leave that sample out.", *path)


def refuse_all_0(weights: Array | None, part: str, path: KeyPath) -> None:
    """Raises `SpecError` where no sample of a part counts: nothing could be learnt, or every score would be 0.

    weights: of the part's samples; None or empty: all count.
    """
    if weights is None or not len(weights) or weights.any():
        return
    why = "there is nothing to learn from" if part == "training" else "every loss on it is 0, whatever is predicted"
    message = f"every weight in the {part} part is 0: {why}. Spread the samples that count over all parts"
    raise spec_error(f"{message}, or leave those of weight 0 out.", *path)


def class_weights(asked: Literal["balanced"] | Mapping[str, float] | None, target: Target, train: Rows) -> Array | None:
    """float64 [rows of the source]: the weight of each row's class; None where all count alike.

    asked: balanced: rows / (classes · rows of the class), in the training part, as in scikit-learn; or a weight by
    label, as text; a class that is not named counts 1.
    Raises `SpecError` where the target has no classes, or none of that name.
    """
    if asked is None:
        return None
    if target.task != "classes" or target.labels is None:
        problem = f"is for classes, and this target is {target.task}. Drop it, or weigh rows by data.sample_weight."
        raise spec_error(problem, "data", "class_weight")
    if asked == "balanced":
        counts = np.bincount(target.codes[train], minlength=len(target.labels))
        weights = len(train) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        labels = [str(label) for label in target.labels]
        wrong = [name for name in asked if name not in labels]
        if wrong:
            raise SpecError(*(Problem(unknown("class", name, labels), ("data", "class_weight")) for name in wrong))
        weights = np.array([asked.get(label, 1.0) for label in labels])
    of_rows: Array = weights.astype(np.float64)[target.codes]
    return of_rows


def product(*weights: Array | None) -> Array | None:
    """float64: the product of the weights that are not None; None where all are."""
    present = [one for one in weights if one is not None]
    return np.prod(present, axis=0, dtype=np.float64) if present else None
