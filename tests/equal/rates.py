"""The schedules of the contract as tables of a rate a step, from their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from .case import Tree

FORMULAS: Mapping[str, Callable[[float, float, Mapping[str, Any]], float]] = {
    "constant": lambda e, total, o: 1.0,
    "linear": lambda e, total, o: 1 - e / total,
    "exponential": lambda e, total, o: o["factor"] ** (e / o.get("per_epochs", 1.0)),
    "polynomial": lambda e, total, o: (1 - e / total) ** o.get("power", 1.0),
    "cosine": lambda e, total, o: (
        (1 - o.get("alpha", 0.0)) * 0.5 * (1 + math.cos(math.pi * e / total)) + o.get("alpha", 0.0)
    ),
}
"""(epochs done since the warm-up, all of them, options) -> the share of the base rate."""


class Table(keras.optimizers.schedules.LearningRateSchedule):
    """A rate for each step."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values, np.float32)

    def __call__(self, step: Any) -> Any:
        return keras.ops.take(keras.ops.convert_to_tensor(self.values), keras.ops.cast(step, "int32"))

    def get_config(self) -> dict[str, Any]:
        return {"values": self.values.tolist()}


def rates(experiment: Tree, *, steps: int) -> Table | None:
    """The schedule over the full training; None where the rate stays. steps: of one epoch."""
    given = experiment.get("schedule") or {"name": "constant"}
    warmup = given.get("warmup") or {}
    if given["name"] == "constant" and not warmup:
        return None
    told = experiment["training"]
    base, epochs = told["optimizer"].get("learning_rate", 1e-3), told["epochs"]
    rising = warmup.get("epochs", 0.0)
    found = []
    for step in range(epochs * steps):
        e = step / steps
        if e < rising:
            start = warmup.get("start", 0.0)
            found.append(start + (base - start) * e / rising)
        else:
            found.append(base * FORMULAS[given["name"]](e - rising, epochs - rising, given))
    return Table(found)
