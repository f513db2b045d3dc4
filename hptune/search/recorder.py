"""Writes a run's journal, for a search or for train-best."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, cast

from hptune.base.trial import SegmentFailure
from hptune.executors.executor import Outcome
from hptune.run import events as run_events
from hptune.run.events import End, Event
from hptune.run.journal import Journal


class JournalFollower(Protocol):
    """Receives every event of the journal, in order."""

    def apply(self, event: Event) -> None:
        """Take in the next event, which is in the journal already."""
        ...


class Recorder:
    """Writes events, and passes each of them on to the followers, in order.

    clock: gives the seconds spent searching so far, to stand in each event; None where none does.
    on_disk: called when all that was written is on the disk.
    """

    def __init__(
        self,
        journal: Journal,
        *followers: JournalFollower,
        clock: Callable[[], float] | None = None,
        on_disk: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._followers = followers
        self._clock = clock
        self._on_disk = on_disk

    def write(self, event: Event, *, durable: bool = True) -> None:
        """Record an event. durable: as `Journal.append` has it. Raises RunError."""
        timed = event if self._clock is None else cast(Event, {**event, "elapsed": self._clock()})
        written = self._journal.append(timed, durable=durable)
        for follower in self._followers:
            follower.apply(written)
        if self._journal.due_s() is None:
            self._on_disk()

    def write_made(self, outcome: Outcome) -> None:
        """Record the stabilised weights that a segment made on its way, if it did."""
        made = None if isinstance(outcome, SegmentFailure) else run_events.stabilized(outcome)
        if made is not None:
            self.write(made)

    def sync(self) -> None:
        """Everything is on the disk when this returns. Raises RunError."""
        self._journal.sync()
        self._on_disk()

    def look_s(self) -> float:
        """In how many seconds whoever waits for something else calls `sync`."""
        return self._journal.look_s()


def catch_up(events: Iterable[Event], *followers: JournalFollower) -> None:
    """Pass the events that the journal holds already on to the followers."""
    for event in events:
        for follower in followers:
            follower.apply(event)


def end_of(outcome: Outcome, *, complete: bool) -> End:
    """The event for an outcome. complete: the trial needs no more epochs."""
    return (
        run_events.failed(outcome)
        if isinstance(outcome, SegmentFailure)
        else run_events.finished(outcome, complete=complete)
    )
