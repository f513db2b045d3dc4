"""Checks models that are built elsewhere: by keras.applications, by KerasTuner, in a saved file, by the user's code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.base.errors import KeyPath, Problem
from hptune.experiment.checks.recipe import no_pictures, section
from hptune.experiment.model import MODEL_KINDS, ModelOptions


def built(raw: Mapping[str, Any], kind: type[ModelOptions]) -> Iterator[Problem]:
    """Check a model whose layers are not in the YAML: data that does not suit it, settings without effect on it."""
    if kind.for_pictures:
        key = next(key for key, options in MODEL_KINDS.items() if options is kind)
        yield from pictures(raw, key, ("model", key))
    if kind.keras and not kind.layered and section(raw, "initialization").get("kernel"):
        message = "has no effect: the initialisers of this model are its own. Drop it."
        yield Problem(message, ("initialization", "kernel"), on_key=True)


def pictures(raw: Mapping[str, Any], kind: str, path: KeyPath) -> Iterator[Problem]:
    """Check that the data of a model for pictures can be pictures."""
    if (why := no_pictures(section(raw, "data"))) is not None:
        yield Problem(f"{kind} is for pictures, and {why}. Use layers or preset: mlp.", path, on_key=True)
