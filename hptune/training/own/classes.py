"""Classes and functions of the user's own inside a model: Keras can't rebuild or load it without being given them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hptune.base.user_code import load_object
from hptune.training.runtime import keras


def own_objects(model: Any) -> dict[str, Any]:
    """By name, the classes of the model's layers and the functions in them that are not Keras's."""
    found: list[Any] = []
    for layer in model._flatten_layers():
        found += [type(layer), *(one for one in vars(layer).values() if inspect.isfunction(one))]
        found += [type(one) for one in vars(layer).values() if hasattr(one, "get_config") and not inspect.isclass(one)]
    return {one.__name__: one for one in found if is_own(one)}


def is_own(one: Any) -> bool:
    """Whether a class or a function is the user's."""
    return not one.__module__.startswith(("keras.", "keras_", "hptune.", "builtins", "tensorflow.", "numpy."))


def from_config(model: Any) -> Callable[[Any], Any]:
    """A maker of models like `model` from a config like its own."""
    kind, own = type(model), own_objects(model)

    def make(config: Any) -> Any:
        with keras().saving.custom_object_scope(own):
            return kind.from_config(copy.deepcopy(config))  # Keras takes things out of it

    return make


def load_own(named: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """The objects behind the references, looked for in `folder` first. Raises SpecError for one that is gone."""
    return {name: load_object(reference, folder, ("model",)) for name, reference in named.items()}
