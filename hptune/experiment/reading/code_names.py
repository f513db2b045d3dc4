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
    that chooses the points, on which no score depends. Text that only looks like one yields no real module.
    """
    data = {key: value for key, value in to_json(experiment).items() if key != "strategy"}
    return {text.partition(":")[0] for text in _texts(data) if re.match(CODE_NAME, text)}


def modules_of_strategy(experiment: Experiment) -> set[str]:
    """The module of the code that chooses the points, where the user's or another package's does."""
    options = experiment.strategy.source
    reference = getattr(options, options.code) if options.code is not None else options.maker
    return {reference.partition(":")[0]} if reference else set()


def _texts(data: Any) -> Iterator[str]:
    """Every text of JSON data, those that are keys too."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from _texts(value)
