"""How much each sample counts: by its own weight, and in training by its class too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from hptune.errors import Problem, SpecError, spec_error, unknown
from hptune.training.data.parts import Array
from hptune.training.data.split import Rows
from hptune.training.data.target import Target


def class_weights(asked: Literal["balanced"] | Mapping[str, float] | None, target: Target, train: Rows) -> Array | None:
    """float64 [rows of the source]: the weight of each row's class; None where all count alike.

    asked: balanced: rows / (classes · rows of the class), of the training part, as scikit-learn has it; or a weight by
    label, as text; a class that is not named counts 1.
    Raises `SpecError` where the target has no classes, or none of such a name.
    """
    if asked is None:
        return None
    if target.task != "classes" or target.labels is None:
        told = f"is for classes, and this target is {target.task}. Drop it, or weigh rows by data.sample_weight."
        raise spec_error(told, "data", "class_weight")
    if asked == "balanced":
        counts = np.bincount(target.codes[train], minlength=len(target.labels))
        weights = len(train) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        labels = [str(label) for label in target.labels]
        wrong = [name for name in asked if name not in labels]
        if wrong:
            raise SpecError(*(Problem(unknown("class", name, labels), ("data", "class_weight")) for name in wrong))
        weights = np.array([asked.get(label, 1.0) for label in labels])
    found: Array = weights.astype(np.float64)[target.codes]
    return found


def product(*weights: Array | None) -> Array | None:
    """float64: the weights multiplied, those that are None left out; None where all are."""
    given = [one for one in weights if one is not None]
    return np.prod(given, axis=0, dtype=np.float64) if given else None
