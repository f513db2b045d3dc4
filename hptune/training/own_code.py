"""Classes and functions of the user's own inside a model: Keras can't rebuild or load it without being given them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hptune.training.runtime import keras
from hptune.user_code import load_object


def own_objects(model: Any) -> dict[str, Any]:
    """By name, the classes of the model's layers and the functions in them that are not Keras's."""
    found: list[Any] = []
    for layer in model._flatten_layers():
        found += [type(layer), *(one for one in vars(layer).values() if inspect.isfunction(one))]
    return {one.__name__: one for one in found if _is_own(one)}


def _is_own(one: Any) -> bool:
    return not one.__module__.startswith(("keras.", "keras_", "hptune."))


def from_config(model: Any) -> Callable[[Any], Any]:
    """A maker of models like `model` from a config like its own."""
    kind, own = type(model), own_objects(model)

    def make(config: Any) -> Any:
        with keras().saving.custom_object_scope(own):
            return kind.from_config(copy.deepcopy(config))  # Keras takes things out of it

    return make


def references(model: Any, compiled_with: Iterable[Any]) -> dict[str, str]:
    """Name -> `module:Name`, of what has to be given to load the model. compiled_with: its loss and metrics."""
    more = [one if inspect.isfunction(one) else type(one) for one in compiled_with if not isinstance(one, str)]
    objects = {**own_objects(model), **{one.__name__: one for one in more if _is_own(one)}}
    return {name: f"{one.__module__}:{one.__qualname__}" for name, one in objects.items()}


def load_own(named: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """The objects behind the references, looked for in `folder` first. Raises SpecError for one that is gone."""
    return {name: load_object(reference, folder, ("model",)) for name, reference in named.items()}


def how_to_load(named: Mapping[str, str]) -> str:
    """What to say of a written model that holds code of the user's own.

    >>> how_to_load({"Twice": "mine:Twice"})
    "it holds code of your own: load it by keras.models.load_model(path, custom_objects={'Twice': mine.Twice})"
    """
    given = ", ".join(f"{name!r}: {reference.replace(':', '.')}" for name, reference in named.items())
    return f"it holds code of your own: load it by keras.models.load_model(path, custom_objects={{{given}}})"
