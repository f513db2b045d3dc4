"""The user's code that an experiment names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hptune.experiment.experiment import Experiment
from hptune.experiment.model import CODE_NAME
from hptune.experiment.reading.load import to_json


def modules_named(experiment: Experiment) -> set[str]:
    """The module of every `module:name` that the YAML holds, also where some values alone reach it, but for the code
    that chooses the points, on which no score depends. A text that only looks like one names a module that is none.
    """
    told = {key: value for key, value in to_json(experiment).items() if key != "strategy"}
    return {text.partition(":")[0] for text in _texts(told) if re.match(CODE_NAME, text)}


def _texts(told: Any) -> Iterator[str]:
    """Every text of JSON data, those that are keys too."""
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict):
        for key, value in told.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(told, list):
        for value in told:
            yield from _texts(value)
