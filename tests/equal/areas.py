"""The areas of the walk: each module `of_…` makes the cases of a few of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from . import of_layers, of_optimizers, of_scores, of_strengths, of_ways
from .case import Case, Missing

Cases: TypeAlias = Iterator[Case | Missing]

AREAS: Mapping[str, Callable[[], Cases]] = {
    "optimizers": of_optimizers.cases,
    "losses": of_scores.losses,
    "metrics": of_scores.metrics,
    "layers": of_layers.cases,
    "layer options": of_layers.common,
    "nested layers": of_layers.nested,
    "regularizers": of_strengths.regularizers,
    "constraints": of_strengths.constraints,
    "initializers": of_strengths.initializers,
    "recipe": of_ways.recipe,
    "batches": of_ways.batches,
    "sample weights": of_ways.weights,
    "outputs": of_ways.outputs,
    "targets": of_ways.targets,
    "precision": of_ways.precision,
    "streams": of_ways.streams,
    "folds": of_ways.folds,
    "schedules": of_ways.schedules,
    "winners": of_ways.winners,
}
"""Area -> its cases, in the order in which they are walked and told."""
