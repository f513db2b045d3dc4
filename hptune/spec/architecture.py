"""Which trials share initial weights: those whose layers and sizes are the same, whatever else their values say.

The numbers that only tune a layer (dropout rates, penalties) are no part of an architecture; which they are stands here
once, for the training core that turns them without a retrace too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hptune.spec.experiment import Experiment
from hptune.spec.graph import LayerCall
from hptune.spec.model import LayersModel
from hptune.spec.recipe import resolve
from hptune.trial import Values

LAYER_DIALS: Mapping[str, str] = {
    "Dropout": "rate",
    "SpatialDropout1D": "rate",
    "SpatialDropout2D": "rate",
    "SpatialDropout3D": "rate",
    "GaussianDropout": "rate",
    "AlphaDropout": "rate",
    "GaussianNoise": "stddev",
}
"""Layer class -> its number, in [0, 1), that shapes no graph."""


def architecture_key(experiment: Experiment, values: Values) -> str:
    """The same text for two settings exactly where their models have the same layers and sizes.

    A model from code is not known before it is built: each setting has a key of its own there.
    Raises `SegmentFailed` where the values make no recipe.
    """
    if not isinstance(experiment.model, LayersModel):
        return json.dumps(dict(values), sort_keys=True)
    recipe = resolve(experiment, values)
    layers = [[call.name, bare_arguments(call), call.source] for call in recipe.layers]
    return json.dumps([layers, recipe.graph.outputs, recipe.initialization.kernel], sort_keys=True)


def bare_arguments(call: LayerCall) -> dict[str, Any]:
    """The arguments of a layer that make its architecture."""
    dial = LAYER_DIALS.get(call.name)
    return {name: v for name, v in call.args.items() if name != dial and not name.endswith("_regularizer")}
