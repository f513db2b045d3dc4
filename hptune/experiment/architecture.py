"""Which trials share initial weights: those whose layers and sizes are the same, whatever else their values say.

The numbers that only tune a layer (dropout rates, penalties) are no part of an architecture: `experiment/dials.py`.
"""

from __future__ import annotations

import json

from hptune.base.trial import Values
from hptune.experiment import dials
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import resolve


def architecture_key(experiment: Experiment, values: Values) -> str:
    """The same text for two settings exactly where their models have the same layers and sizes.

    A model from code is not known before it is built: each setting has a key of its own there.
    Raises `SegmentFailed` where the values make no recipe.
    """
    if not experiment.model.layered:
        return json.dumps(dict(values), sort_keys=True)
    recipe = resolve(experiment, values)
    layers = [[call.name, dials.bare(call.name, call.args), call.source] for call in recipe.layers]
    return json.dumps([layers, recipe.graph.outputs, recipe.initialization.kernel], sort_keys=True)
