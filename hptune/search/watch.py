"""The interface for watching a search or train-best: called with what happened, after it was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hptune.base.trial import Segment, Trial
from hptune.executors.executor import Outcome
from hptune.run.record import Record
from hptune.search.budget import Limits


class Watch(Protocol):
    """Nothing that it does changes the search."""

    def begun(self, record: Record, limits: Limits) -> None:
        """A search begins."""
        ...

    def reported(self, trial: Trial) -> None:
        """A trial has reported: it is trained as far as was asked for, or it has failed."""
        ...

    def tested(self, finalist: Trial) -> None:
        """A finalist has been trained once more, or failed at it."""
        ...

    def noted(self, note: str) -> None:
        """Something came up that changes nothing, and that the user should know."""
        ...

    def epoch(self, segment: Segment, epochs: int, metrics: Mapping[str, float]) -> None:
        """A segment has trained so many epochs; the metrics of the last. It is not yet recorded, and may be lost.

        Not every epoch shorter than a tenth of a second is passed on: `reported` and `trained` have all of them.
        """
        ...

    def winner(self, record: Record) -> None:
        """train-best begins, in place of a search: the winner and the baseline are trained in full."""
        ...

    def trained(self, outcome: Outcome) -> None:
        """train-best has trained one of the two (`outcome.segment.purpose` says which), or failed at it."""
        ...

    def ended(self) -> None:
        """The search, or train-best, has ended or was interrupted."""
        ...
