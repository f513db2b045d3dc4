"""A case: one option of one class with the values that it is given, and the experiment in which it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Tree: TypeAlias = dict[str, Any]

EPOCHS = 3
BATCH = 16
RATE = 0.05
"""The learning rate of SGD where a case says nothing else: large enough that every difference shows."""

EXACT = 1e-5
"""How far a curve or a weight may lie from Keras's, relative to max(1, its size)."""

ADAM = 5e-5
"""The same under Adam, whose kernel computes 1 - beta_2 in float32 where Keras does so in Python."""

HALF = 2e-2
"""The same where layers compute in bfloat16, whose numbers have eight bits."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is trained both ways.

    area, name, option: where it stands in the table, `optimizers`, `SGD`, `momentum` say.
    experiment: `model`, `training` and whatever else the YAML has, with `$o` (or other names) where the points differ.
    points: the values of each trial, in the order in which they are trained; backwards too.
    x, y: the kinds of samples. weighted: whether they have weights. flow: whether they come as `tf.data`.
    data: further keys of the `data` section.
    tolerance: of curves and weights.
    replica: the fold that is trained on. winner: whether it is trained as `train-best` does, and the test
    part's metrics are compared.
    repeats: whether its points differ in the rate alone, since it has no option of its own.
    seeded: whether the experiment says all initial weights, so that Keras must have the same ones.
    """

    area: str
    name: str
    option: str
    experiment: Tree
    points: tuple[Mapping[str, Any], ...]
    x: str = "dense"
    y: str = "classes"
    weighted: bool = False
    flow: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = EXACT
    seeded: bool = False
    replica: int = 0
    winner: bool = False
    repeats: bool = False

    @property
    def key(self) -> str:
        """What it is called in the table and on the command line."""
        return f"{self.area}/{self.name}/{self.option}"


@dataclass(frozen=True, slots=True)
class Missing:
    """A class that the tables know and that is not trained: a row of its own, with the reason."""

    area: str
    name: str
    option: str
    why: str
    status: str = "no input known"

    @property
    def key(self) -> str:
        return f"{self.area}/{self.name}/{self.option}"


def points_of(values: list[Any]) -> tuple[Mapping[str, Any], ...]:
    """One trial for each value of `$o`."""
    return tuple({"o": value} for value in values)


def with_values(tree: Any, values: Mapping[str, Any]) -> Any:
    """`tree` with the values put in: a key whose `$name` is not among them is not given."""
    if isinstance(tree, str):
        name = re.fullmatch(r"\$([A-Za-z_]\w*)", tree)
        return values[name[1]] if name else tree
    if isinstance(tree, dict):
        gone = {
            key
            for key, value in tree.items()
            if isinstance(value, str) and value[:1] == "$" and value[1:] not in values
        }
        return {key: with_values(value, values) for key, value in tree.items() if key not in gone}
    return [with_values(value, values) for value in tree] if isinstance(tree, list) else tree


def training(**more: Any) -> Tree:
    """The `training` section that cases have in common."""
    sgd = {"name": "sgd", "learning_rate": RATE}
    return {
        "optimizer": sgd,
        "loss": "sparse_categorical_crossentropy",
        "metrics": [],
        "batch_size": BATCH,
        "epochs": EPOCHS,
        **more,
    }


def experiment(
    layers: list[Any], *, model: Mapping[str, Any] | None = None, more: Mapping[str, Any] | None = None, **trained: Any
) -> Tree:
    """A whole experiment of these layers. model: further keys of its section; more: further sections."""
    return {"model": {"layers": layers, **(model or {})}, "training": training(**trained), **(more or {})}


def head(units: int = 4, activation: str | None = "softmax") -> Tree:
    """The last layer."""
    return {"Dense": {"units": units, **({"activation": activation} if activation else {})}}


def names_in(tree: Any) -> Iterator[str]:
    """Every `$name` in the tree."""
    if isinstance(tree, str) and re.fullmatch(r"\$[A-Za-z_]\w*", tree):
        yield tree[1:]
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from names_in(value)
