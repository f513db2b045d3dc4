"""Where new points come from: what a sampler is. The rules that hold for all stand in `sampled.py`."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from hptune.base.trial import Value
from hptune.run.history import History
from hptune.strategies.strategy import Done, Wait

Point: TypeAlias = dict[str, Value]
PointKey: TypeAlias = tuple[tuple[str, str, Value], ...]


RESULTS = 8
"""How many results a sampler learns from at least, where trials are trained to different epochs."""


class Sampler(Protocol):
    """Proposes points. A function of the experiment, its seed and the history, as a strategy is."""

    def suggest(self, history: History) -> Point | Wait | Done:
        """The values of trial number `len(history.trials)`: a whole point of the space, which may have been tried."""
        ...
