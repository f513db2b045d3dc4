"""The labels of arrays, read as those of files are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hptune.errors import KeyPath, spec_error
from hptune.training.data.cells import text_of
from hptune.training.data.parts import Array


def plain_labels(y: Array, told: str, path: KeyPath) -> Array:
    """Texts as every source reads them; Python's objects as the numbers, booleans or texts that they are.

    told: what errors call the array. Raises `SpecError` where a label is missing, or is none of these.
    """
    found = [text_of(one) if isinstance(one, str) else one for one in y.reshape(-1).tolist()]
    missing = [i for i, one in enumerate(found) if _is_missing(one)]
    if missing:
        first = y.reshape(-1)[missing[0]]
        message = (
            f"{told} has no label in {len(missing)} of {len(found)} places: {first!r} at {missing[0]}, to begin with."
        )
        raise spec_error(f"{message} Leave those samples out, or spell the class otherwise.", *path)
    made = np.array(found)
    if made.dtype.kind not in "biufU" or made.shape != (len(found),):
        kinds = ", ".join(sorted({type(one).__name__ for one in found}))
        raise spec_error(f"{told} must hold numbers, booleans or text, got {kinds}. Give it one of them.", *path)
    return made.reshape(y.shape)


def _is_missing(label: Any) -> bool:
    if label is None or type(label).__name__ in ("NAType", "NaTType"):  # pandas' own
        return True
    return label == "" if isinstance(label, str) else isinstance(label, float | np.floating) and math.isnan(label)
