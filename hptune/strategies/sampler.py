"""Where new points come from: what a sampler is. The rules that hold for all stand in `sampled.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from hptune.base.trial import Value
from hptune.experiment.experiment import Experiment
from hptune.experiment.space.space import Space
from hptune.run.history import History
from hptune.strategies.strategy import Done, Wait

Point: TypeAlias = dict[str, Value]
PointKey: TypeAlias = tuple[tuple[str, str, Value], ...]


RESULTS = 8
"""How many results a sampler learns from at least, where trials are trained to different epochs."""


@dataclass(frozen=True)
class Setup:
    """What a sampler or a strategy is made of.

    options: its own section of the YAML, which is `experiment.strategy` or the sampler of one that halves. first: the
    points that come before its own. folder: the YAML file's, where a module that it names is looked for first.
    """

    experiment: Experiment
    space: Space
    options: Any
    first: Sequence[Point] = ()
    folder: Path = field(default_factory=Path)


class Sampler(Protocol):
    """Proposes points. A function of the experiment, its seed and the history, as a strategy is."""

    def suggest(self, history: History) -> Point | Wait | Done:
        """The values of trial number `len(history.trials)`: a whole point of the space, which may have been tried."""
        ...
