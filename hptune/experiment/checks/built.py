"""Checks models that are built elsewhere: by keras.applications, by KerasTuner, in a saved file, by the user's code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.base.errors import KeyPath, Problem, unknown
from hptune.experiment.checks.keras_names import Scope, argument
from hptune.experiment.checks.recipe import no_pictures, section
from hptune.experiment.keras_table import applications
from hptune.experiment.reading.problems import show, unknown_key
from hptune.experiment.space.references import Ref


def built(raw: Mapping[str, Any], kind: str | None, scope: Scope) -> Iterator[Problem]:
    """Everything that is wrong with a model whose layers do not stand in the YAML, and what has no effect on it."""
    if kind == "application":
        yield from _application(section(raw, "model"), scope)
    if kind in ("application", "hypermodel"):
        yield from pictures(raw, kind, ("model", kind))
    if kind in ("application", "hypermodel", "saved", "python") and section(raw, "initialization").get("kernel"):
        told = "has no effect: the initialisers of this model are its own. Drop it."
        yield Problem(told, ("initialization", "kernel"), on_key=True)


def _application(model: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    name = model["application"]
    known = applications()
    choices = [value for value in scope.values(name) if isinstance(value, str)]
    for choice in choices:
        if choice not in known:
            told = unknown("application", choice, known)
            path = ("model", "application")
            yield Problem(f"{name} can be {show(choice)}: {told}" if isinstance(name, Ref) else told, path)
            return
    options = model.get("options")
    for key, value in options.items() if isinstance(options, dict) else ():
        for choice in choices:
            if key not in known[choice]:
                yield unknown_key(key, known[choice], ("model", "options", key), f"option of {choice}")
                break
        else:
            for choice in choices[:1]:
                yield from argument(known[choice], key, value, ("model", "options", key), scope)


def pictures(raw: Mapping[str, Any], kind: str, path: KeyPath) -> Iterator[Problem]:
    """That the data of a model for pictures can be pictures."""
    if (why := no_pictures(section(raw, "data"))) is not None:
        yield Problem(f"{kind} is for pictures, and {why}. Use layers or preset: mlp.", path, on_key=True)
