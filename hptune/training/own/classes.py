"""The user's own classes and functions inside a model: Keras needs them to rebuild or load it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hptune.base.user_code import load_object
from hptune.training.runtime import keras


def own_objects(model: Any) -> dict[str, Any]:
    """The classes of the model's layers, and the functions in them, that are not Keras's; by name."""
    candidates: list[Any] = []
    for layer in model._flatten_layers():
        candidates += [type(layer), *(one for one in vars(layer).values() if inspect.isfunction(one))]
        candidates += [
            type(one) for one in vars(layer).values() if hasattr(one, "get_config") and not inspect.isclass(one)
        ]
    return {one.__name__: one for one in candidates if is_own(one)}


def is_own(obj: Any) -> bool:
    """Whether a class or a function is the user's."""
    return not obj.__module__.startswith(("keras.", "keras_", "hptune.", "builtins", "tensorflow.", "numpy."))


def from_config(model: Any) -> Callable[[Any], Any]:
    """A function that makes models like `model` from a config like its own."""
    kind, own = type(model), own_objects(model)

    def make(config: Any) -> Any:
        with keras().saving.custom_object_scope(own):
            return kind.from_config(copy.deepcopy(config))  # Keras takes things out of it

    return make


def load_own(named: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """The objects behind the references, looked for in `folder` first. Raises SpecError for a missing one."""
    return {name: load_object(reference, folder, ("model",)) for name, reference in named.items()}


class Lenient:
    """A layer class as Keras restores it from a config, also where its constructor takes no keywords beside its own."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def from_config(self, config: Mapping[str, Any]) -> Any:
        """The layer. Raises what the class raises."""
        try:
            return self._kind.from_config(dict(config))
        except TypeError:
            of_all = {name: value for name, value in config.items() if name in ("name", "trainable", "dtype")}
            made = self._kind.from_config({name: value for name, value in config.items() if name not in of_all})
            made.name, made.trainable = of_all.get("name", made.name), of_all.get("trainable", True)
            if (dtype := of_all.get("dtype")) is not None:
                made.dtype_policy = keras().dtype_policies.get(dtype)
            return made


def lenient(named: Mapping[str, Any]) -> dict[str, Any]:
    """The objects, the layers among them as `Lenient`."""
    layer = keras().layers.Layer
    return {
        name: Lenient(one) if isinstance(one, type) and issubclass(one, layer) else one for name, one in named.items()
    }
