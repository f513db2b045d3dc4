"""Checks `model: {layers: …}`: each layer, how they hang together, and that what is optimised is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.base.errors import Problem
from hptune.experiment.checks import recipe
from hptune.experiment.checks.graph import graph
from hptune.experiment.checks.keras_names import Scope, layers, too_many


def layers_model(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """Every problem of the layers that can be found without Keras; of their connections once each layer is right."""
    written, path = raw["model"]["layers"], ("model", "layers")
    wrong = list(layers(written, path, scope)) or list(too_many(written, path, scope))
    yield from wrong or graph(raw["model"], scope)
    yield from recipe.objective(raw, scope)
