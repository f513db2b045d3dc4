"""Which stabilised weights are there, which are being made, and which segments wait for them.

Trials of one architecture start from the same weights, which a segment of purpose `stabilize` makes before the first of
them. Who makes them follows from the order in which trials are started, and never from when one finishes: a model from
code is not known before it is built, so that two settings may turn out to be one architecture; there the weights are
made one after the other.
"""

from __future__ import annotations

from typing import TypeAlias

from hptune.base.errors import SegmentFailed
from hptune.base.trial import Segment
from hptune.experiment.architecture import architecture_key
from hptune.experiment.experiment import Experiment
from hptune.run.history import History

WeightsKey: TypeAlias = tuple[str, int]
"""(architecture, replica)."""


class StabilizedWeights:
    """Read out of the history, but for `waiting`: segments that were recorded as started and wait for weights."""

    def __init__(self, experiment: Experiment, history: History) -> None:
        self._experiment = experiment
        self._history = history
        self._wanted = experiment.initialization.stabilize is not None and experiment.model.keras
        self._one_at_a_time = not experiment.model.layered
        self._ready: set[WeightsKey | None] = set()
        self._read = 0
        self.waiting: list[Segment] = []

    def must_wait(self, segment: Segment) -> bool:
        """Whether the segment starts from weights that are not there yet."""
        if not self._wanted or segment.from_epoch > 0 or segment.purpose == "stabilize":
            return False
        key = self._key(segment)
        self._ready.update(self._key(made) for made in self._history.stabilized[self._read :])
        self._read = len(self._history.stabilized)
        return key is not None and key not in self._ready

    def hold(self, segment: Segment) -> Segment | None:
        """Keep a segment that must wait; the segment that makes its weights, where that is not under way already."""
        self.waiting.append(segment)
        key = self._key(segment)
        for other in self._history.pending.values():
            if other.purpose == "stabilize" and (self._one_at_a_time or self._key(other) == key):
                return None
        return Segment(segment.trial, segment.values, replica=segment.replica, purpose="stabilize")

    def release(self) -> list[Segment]:
        """Those that waited, in their order: some weights have been made, or could not be."""
        released, self.waiting = self.waiting, []
        return released

    @property
    def idle(self) -> int:
        """How many slots are kept for those that wait; one whose own weights are being made has its slot in use."""
        return sum(not self.makes_for(segment) for segment in self.waiting)

    def makes_for(self, segment: Segment) -> bool:
        """Whether the segment's own weights are being made."""
        return ("stabilize", segment.trial, segment.replica) in self._history.pending

    def _key(self, segment: Segment) -> WeightsKey | None:
        try:
            return (architecture_key(self._experiment, segment.values), segment.replica)
        except SegmentFailed:  # values that make no recipe: the trial itself will say so
            return None
