"""Layers that hold more than their config and their weights: vocabularies, boundaries, statistics of data.

Keras's `Normalization`, `Discretization`, `StringLookup`, `IntegerLookup`, `TextVectorization` learn by `adapt`; what
they have learnt is in their variables and assets, and in the graph as constants.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def adapted(model: Any) -> Iterator[Any]:
    """The model's layers that may have learnt other than by training, the user's own included."""
    for layer in model._flatten_layers(include_self=False):
        if hasattr(layer, "adapt") or _has_assets(layer):
            yield layer


def _has_assets(layer: Any) -> bool:
    return hasattr(layer, "save_assets")


def learnt_state(model: Any) -> list[Any]:
    """What these layers have learnt, as plain data: equal only where all of it is the same."""
    return [[layer.name, _variables(layer), _assets(layer)] for layer in adapted(model)]


def _variables(layer: Any) -> dict[str, list[Any]]:
    store: dict[str, Any] = {}
    layer.save_own_variables(store)
    return {name: [list(np.shape(value)), _digest(np.asarray(value).tobytes())] for name, value in store.items()}


def _assets(layer: Any) -> dict[str, str]:
    if not _has_assets(layer):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        layer.save_assets(folder)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): _digest(path.read_bytes()) for path in files}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def copy(source: Any, target: Any) -> None:
    """Copy what the layers of `source` have learnt into those of `target`, a model made from the same config."""
    for old, new in zip(adapted(source), adapted(target), strict=True):
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        new.load_own_variables({name: np.asarray(value) for name, value in store.items()})
        if _has_assets(old):
            with tempfile.TemporaryDirectory() as folder:
                old.save_assets(folder)
                new.load_assets(folder)
