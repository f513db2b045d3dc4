"""The Executor protocol: where segments run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from hptune.trial import Segment, SegmentFailure, SegmentResult

Outcome: TypeAlias = SegmentResult | SegmentFailure

OnEpoch: TypeAlias = Callable[[Segment, int, Mapping[str, float]], None]
"""Told (segment, epochs done, metrics) while a segment runs; for the live view alone."""


class Executor(Protocol):
    """Runs segments somewhere. Made for one experiment and one run folder; knows no strategy and writes no journal."""

    @property
    def slots(self) -> int:
        """How many segments run at once; never more than this are submitted and not yet waited for."""
        ...

    def submit(self, segment: Segment) -> None:
        """Take a segment. Returns at once where the place allows it."""
        ...

    def wait(self, timeout_s: float | None = None) -> list[Outcome]:
        """The outcomes that have come since the last call, at least one unless the timeout (seconds) passes first.

        Training that raises is a `SegmentFailure`. Raises `SpecError` where a probe finds that the data or the model
        can't be used, `RunError` where the place itself has broken.
        """
        ...

    def close(self) -> None:
        """End what is running, drop it, and give everything back."""
        ...
