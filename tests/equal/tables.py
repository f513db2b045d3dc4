"""The tables that are walked: what hptune's spec knows of Keras, and what the installed Keras has.

A class that Keras gains tomorrow is in Keras's namespace or in the regenerated table, and so in the walk.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import keras

from hptune.experiment import keras_table

COMMON = ("activity_regularizer", "autocast", "dtype", "name", "trainable")
"""What every layer takes."""


@cache
def table(kind: str) -> Mapping[str, Any]:
    """`keras_api.json`'s section: name -> argument -> {"default": …}."""
    path = Path(inspect.getfile(keras_table)).with_name("keras_api.json")
    return dict(json.loads(path.read_text(encoding="utf-8"))[kind])


def arguments(kind: str, name: str) -> Mapping[str, Mapping[str, Any]]:
    """The arguments of a class as the table has them."""
    found = table(kind)[name]
    return dict(found["arguments"] if "arguments" in found and kind == "metrics" else found)


@cache
def classes(kind: str) -> tuple[str, ...]:
    """Every class of the table once, by its longest name: `AvgPool2D` is `AveragePooling2D`; functions are left out."""
    module = getattr(keras, kind)
    by_class: dict[Any, list[str]] = {}
    for name in table(kind):
        found = getattr(module, name, None)
        if inspect.isclass(found):
            by_class.setdefault(found, []).append(name)
    return tuple(sorted(max(names, key=len) for names in by_class.values()))


@cache
def other_names(kind: str) -> tuple[str, ...]:
    """The names of the table that are no class's own: aliases, functions and short names."""
    return tuple(sorted(set(table(kind)) - set(classes(kind))))


@cache
def constraints() -> tuple[str, ...]:
    """Every constraint of Keras, which the tables have no section for."""
    base = keras.constraints.Constraint
    found = {thing for thing in vars(keras.constraints).values() if inspect.isclass(thing) and issubclass(thing, base)}
    return tuple(sorted(cls.__name__ for cls in found - {base}))
