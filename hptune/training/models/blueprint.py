"""What a recipe's model is made from, divided into what shapes the graph and what does not.

*architecture*: the layers and their sizes; initial weights depend on it (and on the replica) alone.
*structure*: the architecture with everything else that shapes the graph; trials of one structure share one compiled
program. *dials*: numbers that belong to neither, as the batch size does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from hptune.experiment import dials as dial_table
from hptune.experiment.recipe import Recipe
from hptune.experiment.space.references import concrete
from hptune.training.models.compiled import Compiled
from hptune.training.models.dials import Dial
from hptune.training.runtime import keras

SMOOTHING = "label_smoothing"
"""The dial of `training.regularization.label_smoothing`, where the YAML gives it."""

Weights: TypeAlias = Sequence[NDArray[Any]]

Built: TypeAlias = tuple[Any, dict[str, Dial]]
"""A model, and the dials in its layers by name."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """How to make one trial's model.

    build: makes a fresh Keras model with dials, not turned yet, in its layers.
    weights: the initial weights under a seed, as `get_weights` orders them; they do not depend on the dials.
    stock: a fresh Keras model with the recipe's own numbers, to give to users.
    compiled: what it is compiled with; fresh stock objects with the recipe's own numbers.
    learning_rate: NaN where the optimizer keeps a schedule of its own.
    dialled: whether the numbers of its layers are dials.
    front: fresh stock layers that stand before the model while it is trained (`data.augment`).
    exports_front: whether the exported model holds them too.
    outputs: the names of its outputs where they are several; loss and metrics are then by these names.
    made_by: what a model built elsewhere was built from; its initial weights may depend on that too.
    own: the model that the user's code built at this point, where it may share a program with other points.
    alone: the same blueprint with a program of its own.
    unproved: its parts that can't be shown to be the same as any others.
    """

    architecture: str
    structure: str
    dials: Mapping[str, float]
    learning_rate: float
    batch_size: int
    build: Callable[[], Built]
    weights: Callable[[int], Weights]
    stock: Callable[[], Any]
    compiled: Compiled
    dialled: bool = True
    front: Callable[[], list[Any]] = list
    exports_front: bool = False
    outputs: tuple[str, ...] = ()
    made_by: str = ""
    own: Any = None
    alone: Callable[[], Blueprint] | None = None
    unproved: tuple[str, ...] = ()


def fingerprint(*parts: Any) -> str:
    """16 hex digits for JSON data (anything else counts by its `repr`)."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def seeded_weights(seed: int, build: Callable[[], Any]) -> Weights:
    """The weights of what `build` makes under a seed."""
    keras().utils.set_random_seed(seed)
    weights: Weights = build().get_weights()
    return weights


KERNELS = ("kernel", "depthwise", "pointwise")
"""What Keras's arguments call a layer's kernels. A recurrent kernel has an argument of its own and is none of them."""


def penalty_of(recipe: Recipe) -> dict[str, dict[str, float]] | None:
    """`training.regularization.kernel` as the YAML would give it to a layer: {"L2": {"l2": 1e-4}}."""
    regularization = recipe.training.regularization
    kernel = regularization.kernel if regularization is not None else None
    if kernel is None:
        return None
    strengths = {name: float(concrete(v)) for name, v in (("l1", kernel.l1), ("l2", kernel.l2)) if v is not None}
    return {"L1L2" if len(strengths) == 2 else next(iter(strengths)).upper(): strengths} if strengths else None


def smoothing_of(recipe: Recipe) -> dict[str, float]:
    """{"label_smoothing": its strength} where the YAML gives it, else {}."""
    regularization = getattr(recipe.training, "regularization", None)
    if regularization is None or regularization.label_smoothing is None:
        return {}
    return {SMOOTHING: float(concrete(regularization.label_smoothing))}


def optimizer_of(recipe: Recipe) -> tuple[str, dict[str, Any]]:
    """(the optimizer's name, its arguments without the learning rate)."""
    optimizer = recipe.training.optimizer
    return str(concrete(optimizer.name)), dict(optimizer.model_extra or {})


def dials_of_optimizer(name: str, arguments: Mapping[str, Any]) -> dict[str, float]:
    """The optimizer's dials among its arguments, by names like `optimizer.momentum`."""
    known = dial_table.of_optimizer(name)
    return {f"optimizer.{key}": float(arguments[key]) for key in known if known[key].holds(arguments.get(key))}
