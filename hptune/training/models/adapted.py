"""Layers that hold more than their config and their weights tell: vocabularies, boundaries, statistics of data.

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
    """The model's layers that may have learnt by other means than training, the user's own among them."""
    for layer in model._flatten_layers(include_self=False):
        if hasattr(layer, "adapt") or _has_assets(layer):
            yield layer


def _has_assets(layer: Any) -> bool:
    return hasattr(layer, "save_assets")


def told(model: Any) -> list[Any]:
    """What these layers hold as plain data: equal only where all of it is the same."""
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
    """Give the layers of a model what those of another, made from the same config, have learnt."""
    for one, other in zip(adapted(source), adapted(target), strict=True):
        store: dict[str, Any] = {}
        one.save_own_variables(store)
        other.load_own_variables({name: np.asarray(value) for name, value in store.items()})
        if _has_assets(one):
            with tempfile.TemporaryDirectory() as folder:
                one.save_assets(folder)
                other.load_assets(folder)
