"""The Trainer protocol: what trains the segments of one kind of model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from hptune.base.trial import Segment, SegmentResult

OnEpoch: TypeAlias = Callable[[Segment, int, Mapping[str, float]], None]
"""Called after each epoch as on_epoch(segment, epochs done, the epoch's metrics)."""


class Trainer(Protocol):
    """Trains the segments of one experiment, one at a time, and keeps between them what makes the next one cheap."""

    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        """Run the segment.

        Raises `SegmentFailed` where these values can't be trained, `SpecError` where a probe finds that no values can;
        other exceptions of the user's code or of Keras pass through.
        """
        ...
