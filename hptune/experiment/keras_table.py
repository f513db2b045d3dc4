"""What Keras's public classes are called and which arguments they take, without importing Keras.

The table is `keras_api.json`, written by `scripts/keras_api.py` from the installed Keras; it is read at the first use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

KerasKind: TypeAlias = Literal[
    "layers", "optimizers", "losses", "metrics", "activations", "initializers", "regularizers"
]

Arguments: TypeAlias = Mapping[str, Mapping[str, Any]]
"""name -> {} where it is required, else {"default": its default}; a default that is no plain value is "..."."""

OUTPUT = "Output"
"""The layer that is as large as the data wants it: a Dense, once the data is known (`experiment/output.py`)."""

CHOSEN_BY_KERAS: dict[KerasKind, tuple[str, ...]] = {"metrics": ("accuracy", "acc"), "losses": ("crossentropy", "ce")}
"""Names for which `model.compile` chooses the class by the shape of the output."""


@cache
def table() -> dict[str, Any]:
    """The whole file."""
    text = Path(__file__).with_name("keras_api.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def names(kind: KerasKind) -> list[str]:
    """Every name of that kind that Keras takes, in the order of the alphabet; `Output` is hptune's own layer."""
    own = [OUTPUT] if kind == "layers" else []
    return sorted({*table()[kind], *CHOSEN_BY_KERAS.get(kind, ()), *own})


def arguments(kind: KerasKind, name: str) -> Arguments:
    """The constructor arguments of a class (or the options of a function) that Keras knows by `name`.

    Raises KeyError where there is none of that name.
    """
    if kind == "activations" or (name in CHOSEN_BY_KERAS.get(kind, ()) and name not in table()[kind]):
        return {}
    if kind == "layers" and name == OUTPUT:  # a Dense layer whose size is the data's
        return {key: details for key, details in table()[kind]["Dense"].items() if key != "units"}
    entry = table()[kind][name]
    known: Arguments = entry["arguments"] if kind == "metrics" else entry
    return known


def applications() -> Mapping[str, Arguments]:
    """The networks of `keras.applications`, each with the options that hptune does not give itself."""
    networks: Mapping[str, Arguments] = table()["applications"]
    return networks


def layer_arguments(name: str) -> Arguments:
    """The constructor arguments of a `keras.layers` class.

    >>> "units" in layer_arguments("Dense")
    True
    """
    return arguments("layers", name)


def reported_name(metric: str, args: Mapping[str, Any] | None = None) -> str:
    """The name under which a metric stands in the curves: as it was spelled, or a class's own where it has arguments.

    >>> reported_name("mae"), reported_name("AUC", {"curve": "PR"}), reported_name("AUC", {"name": "pr"})
    ('mae', 'auc', 'pr')
    """
    if ":" in metric:  # of a user's own function, or of a class whose code may say something else
        return str((args or {}).get("name", metric.split(":")[-1]))
    if args is None:
        return metric
    if "name" in args:
        return str(args["name"])
    return str(table()["metrics"].get(metric, {}).get("reported", metric))
