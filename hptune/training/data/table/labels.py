"""Labels in arrays, read like those in files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from hptune.base.errors import KeyPath, spec_error
from hptune.training.data.arrays import Array
from hptune.training.data.table.cells import integers, text_of

_Kind: TypeAlias = Literal["booleans", "fractions", "texts", "whole numbers"]

_PLAIN: dict[type, _Kind] = {bool: "booleans", np.bool_: "booleans", str: "texts", int: "whole numbers",
                             np.integer: "whole numbers", float: "fractions", np.floating: "fractions"}  # fmt: skip


def array_of(returned: Any) -> Array:
    """A function's result as an array. Items of a list keep their types: numpy would make texts of `[1, "1"]`."""
    if isinstance(returned, list | tuple) and all(isinstance(one, tuple(_PLAIN)) for one in returned):
        return np.array(returned, object)
    return np.asarray(returned)


def unmasked(array: Any, name: str, path: KeyPath) -> Any:
    """A masked array of numpy's (or a list of such) as a plain one: masked values become NaN.

    Anything else is returned as it is. name: of the array, for messages. Raises `SpecError` for masked values of a type
    without NaN: whole numbers and texts.
    """
    if isinstance(array, list | tuple) and any(np.ma.isMaskedArray(one) for one in array):
        array = np.ma.array(array)
    if not np.ma.isMaskedArray(array):
        return array
    masked = int(np.ma.getmaskarray(array).sum())
    if not masked:
        return array.data
    if array.dtype.kind != "f":
        message = (
            f"{name} is masked in {masked} of {array.size} places, and {array.dtype} has no value that is missing."
        )
        raise spec_error(f"{message} Leave those samples out, or fill them in: array.filled(value).", *path)
    return array.filled(np.nan)


def plain_labels(y: Array, name: str, path: KeyPath) -> Array:
    """Texts as every source reads them; Python objects as the numbers, booleans or texts that they are.

    Whole numbers beyond 64 bits stay Python's own. name: of the array, for messages. Raises `SpecError` where a label
    is missing or of another type, or where the labels are of several kinds.
    """
    labels = [text_of(one) if isinstance(one, str) else one for one in y.reshape(-1).tolist()]
    missing = [i for i, one in enumerate(labels) if _is_missing(one)]
    if missing:
        first = y.reshape(-1)[missing[0]]
        message = f"{name} has no label in {len(missing)} of {len(labels)} places, first {first!r} at {missing[0]}."
        raise spec_error(f"{message} Leave those samples out, or spell the class otherwise.", *path)
    return _alike(labels, name, path, several=y.ndim == 2 and y.shape[1] > 1).reshape(y.shape)


def joined_labels(parts: Sequence[Array], name: str, path: KeyPath) -> Array:
    """The labels of all parts, one part after the other. Raises `SpecError` where they are of several kinds."""
    if len({one.dtype.kind for one in parts}) == 1 and parts[0].dtype.kind != "O":
        return np.concatenate(parts)
    return plain_labels(np.concatenate([one.astype(object) for one in parts]), name, path)


def refuse_long_doubles(array: Any, name: str, path: KeyPath) -> None:
    """Refuse long doubles, in which neither Keras nor scikit-learn computes. array: anything with a dtype."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        name = f"{name} is of the type {array.dtype}, in which no model computes."
        raise spec_error(f"{name} Convert it to float64: astype('float64').", *path)


def _alike(labels: list[Any], name: str, path: KeyPath, *, several: bool) -> Array:
    """The labels as an array of one kind. several: they are rows of numbers, and not labels."""
    kinds: dict[_Kind, Any] = {}  # and the first of each
    for label in labels:
        kind = _kind(label)
        if kind is None:
            others = ", ".join(sorted({type(other).__name__ for other in labels}))
            message = f"{name} must hold numbers, booleans or text, got {others}. Give it one of them."
            raise spec_error(message, *path)
        kinds.setdefault(kind, label)
    if len(kinds) > 1 and not set(kinds) <= {"whole numbers", "fractions"}:
        mixed = " and ".join(f"{kind} ({kinds[kind]!r})" for kind in sorted(kinds))
        raise spec_error(f"{name} mixes {mixed}. Give it one kind: {_remedy(kinds)}.", *path)
    if "booleans" in kinds or "texts" in kinds:
        return np.array(labels)
    _refuse_endless(labels, name, path)
    if not labels:
        return np.empty(0)
    if "fractions" not in kinds:
        whole = integers([int(label) for label in labels])
        return whole.astype(np.float64) if several and whole.dtype.kind == "O" else whole
    if "whole numbers" not in kinds:
        return np.array(labels)
    if not several and len(set(labels)) > len({float(label) for label in labels}):
        message = f"{name} mixes fractions and whole numbers of so many digits that floats would make some of them one."
        raise spec_error(f"{message} Give it texts: [str(one) for one in y].", *path)
    return np.array([float(label) for label in labels])


def _kind(label: Any) -> _Kind | None:
    if isinstance(label, np.longdouble):
        return None
    return next((kind for of, kind in _PLAIN.items() if isinstance(label, of)), None)


def _remedy(kinds: dict[_Kind, Any]) -> str:
    return "[str(one) for one in y], say" if "texts" in kinds else "[int(one) for one in y], say"


def _refuse_endless(labels: list[Any], name: str, path: KeyPath) -> None:
    largest = max((abs(one) for one in labels), default=0)
    try:
        float(largest)
    except OverflowError as error:
        raise spec_error(f"{name} holds whole numbers beyond 1e308. Give it texts, or smaller ones.", *path) from error


def _is_missing(label: Any) -> bool:
    if label is None or type(label).__name__ in ("NAType", "NaTType"):  # pandas' own
        return True
    return label == "" if isinstance(label, str) else isinstance(label, float | np.floating) and math.isnan(label)
