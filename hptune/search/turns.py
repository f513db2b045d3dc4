"""The order in which results are handed on: in virtual time, so that it follows from the YAML alone.

Each segment is trained on one of `execution.parallel` virtual workers and lasts as long as its epochs. What a strategy
sees are the segments that have ended by then, however long they really took and on how many workers: the trials are the
same on every machine. An early result is recorded at once and waits for its turn; for a late one only those decisions
wait that depend on it. Under `execution.order: free` results are handed on as they come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from hptune.base.errors import RunError
from hptune.base.trial import Segment
from hptune.experiment.experiment import Experiment
from hptune.run.events import Begun, End, Event, SegmentKey, begun, key_of, segment_key
from hptune.run.history import History
from hptune.run.record import Record

_Decided = TypeVar("_Decided", bound=Mapping[str, Any])

Lasts: TypeAlias = Callable[[Segment], int | None]
"""How many epochs a segment lasts, whatever becomes of it; None where only its end shows it."""

_SEARCHED = ("stabilize", "trial", "finalist")


class Turns(Protocol):
    """Follows the journal's events, live and on resume, and hands on the ends of segments one by one.

    history: what decisions are made from; it holds what was handed on, and every decision.
    """

    history: History

    def apply(self, event: Event) -> None:
        """Take in the next event of the journal, which the record has taken in."""
        ...

    def came(self, event: End) -> None:
        """A segment has just ended, and `apply` was given the event: it is to be handed on."""
        ...

    def next(self, epochs: Callable[[Segment], int], *, decided: bool) -> End | None:
        """The end whose turn it is, now handed on; None where there is none yet.

        epochs: how far a segment that is being trained is trained at least. decided: whether nothing more begins
        before something is handed on.
        """
        ...

    def has_room(self, kept: int, free_slots: int) -> bool:
        """Whether another segment may begin, beside those that have and `kept` that are about to.

        free_slots: how many more the executor takes.
        """
        ...

    def has_begun(self, segment: Segment) -> bool:
        """Whether it is recorded that the segment has begun."""
        ...

    def begin(self, segment: Segment) -> Begun | None:
        """The event that is to be recorded as a segment begins; None where there is none."""
        ...

    def marked(self, event: _Decided, *, begins: bool = False) -> _Decided:
        """A decision's event, with what it was made after. begins: the segment that it starts begins with it."""
        ...

    def pending(self) -> list[Segment]:
        """The segments that a resumed search has to train, in their order."""
        ...

    @property
    def holds_any(self) -> bool:
        """Whether a result has come that is not handed on yet."""
        ...


def turns_of(record: Record, experiment: Experiment, *, free: bool) -> Turns:
    """As the run was begun. free: no decision depends on any result."""
    parallel = record.head.parallel
    if free or parallel is None:
        return AsTheyCome(record.history)
    model = experiment.model
    may_end_early = (model.keras and model.code is not None) or experiment.training.early_stopping is not None

    def lasts(segment: Segment) -> int | None:
        return None if may_end_early else segment.to_epoch - segment.from_epoch

    head = record.head
    return InVirtualTime(History(head.objectives, head.earlier, folds=head.folds), parallel, lasts)


class AsTheyCome:
    """`order: free`; and for searches in which no decision depends on a result."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._came: deque[End] = deque()

    def apply(self, event: Event) -> None:
        """Nothing: the history is the record's own."""

    def came(self, event: End) -> None:
        """Queue the end, to be handed on next."""
        self._came.append(event)

    def next(self, epochs: Callable[[Segment], int], *, decided: bool) -> End | None:  # noqa: ARG002  # as it comes
        """The end that came first, without waiting for any other."""
        return self._came.popleft() if self._came else None

    def has_room(self, kept: int, free_slots: int) -> bool:
        """Whether the executor has a slot left."""
        return kept < free_slots

    def has_begun(self, segment: Segment) -> bool:  # noqa: ARG002  # nobody asks when
        """Always False: beginnings are not recorded."""
        return False

    def begin(self, segment: Segment) -> Begun | None:  # noqa: ARG002
        """Always None: beginnings are not recorded."""
        return None

    def marked(self, event: _Decided, *, begins: bool = False) -> _Decided:  # noqa: ARG002
        """The event unchanged: nothing depends on what it was made after."""
        return event

    def pending(self) -> list[Segment]:
        """The weights that others wait for first."""
        segments = [segment for segment in self.history.pending.values() if segment.purpose in _SEARCHED]
        return sorted(segments, key=lambda segment: segment.purpose != "stabilize")

    @property
    def holds_any(self) -> bool:
        """Whether an end is queued."""
        return bool(self._came)


@dataclass(slots=True)
class _OnWorker:
    """A segment on its virtual worker. at: when it began. number: of those that end together the lower one is first."""

    segment: Segment
    at: int
    number: int
    end: End | None = None


class InVirtualTime:
    """`order: virtual`. The clock counts epochs, and stands at the end of what was handed on last.

    Every decision is recorded with how many ends had been handed on (`after`), and every segment with the moment at
    which it began: a resumed search stands where it stood.
    """

    def __init__(self, history: History, parallel: int, lasts: Lasts) -> None:
        self.history = history
        self._parallel = parallel
        self._lasts = lasts
        self._now = 0
        self._handed_on = 0
        self._number = 0
        self._begun: dict[SegmentKey, _OnWorker] = {}

    def apply(self, event: Event) -> None:
        """Keep the end of a segment for its turn; before any other event, hand on the ends that it was made after.

        Raises `RunError` where the journal holds fewer ends than the event says.
        """
        if event["event"] == "segment_finished" or event["event"] == "segment_failed":
            running = self._begun.get(key_of(event))
            if running is not None:
                running.end = event
                return
        while self._handed_on < event.get("after", 0):
            self._hand_on(
                min((running for running in self._begun.values() if running.end), key=self._turn, default=None)
            )
        self.history.apply(event)
        if event["event"] == "segment_begun" or (event["event"] == "segment_started" and event.get("begun", False)):
            segment = self.history.pending[key_of(event)]
            self._begun[segment_key(segment)] = _OnWorker(segment, self._now, self._number)
            self._number += 1

    def came(self, event: End) -> None:
        """`apply` has kept it for its turn."""

    def next(self, epochs: Callable[[Segment], int], *, decided: bool) -> End | None:
        """The first end in virtual time; None where one that still runs may end before it, or more begins first."""
        if not decided or not self.holds_any:
            return None
        first = min(self._begun.values(), key=lambda running: self._turn(running, epochs))
        return None if first.end is None else self._hand_on(first)

    def has_room(self, kept: int, free_slots: int) -> bool:  # noqa: ARG002  # the same on every machine
        """Whether a virtual worker is free, whatever the executor has."""
        return len(self._begun) + kept < self._parallel

    def has_begun(self, segment: Segment) -> bool:
        """Whether the segment stands on a virtual worker."""
        return segment_key(segment) in self._begun

    def begin(self, segment: Segment) -> Begun | None:
        """The event that puts the segment on a virtual worker; None where it stands on one."""
        return None if self.has_begun(segment) else self.marked(begun(segment))

    def marked(self, event: _Decided, *, begins: bool = False) -> _Decided:
        """The event with `after`, the number of ends handed on; and with `begun` where its segment begins."""
        return cast(_Decided, {**event, "after": self._handed_on, **({"begun": True} if begins else {})})

    def pending(self) -> list[Segment]:
        """Those that had begun, in the order in which they began, before the others."""
        going = [running.segment for running in self._begun.values() if running.end is None]
        others = [s for key, s in self.history.pending.items() if s.purpose in _SEARCHED and key not in self._begun]
        return going + others

    @property
    def holds_any(self) -> bool:
        """Whether an end waits for its turn."""
        return any(running.end is not None for running in self._begun.values())

    def _hand_on(self, running: _OnWorker | None) -> End:
        if running is None or running.end is None:
            message = "the journal holds a decision that was made after more results than it has"
            raise RunError(f"{message}: it is damaged. Begin anew with `hptune search CONFIG --fresh`.")
        self._now = max(self._now, self._turn(running)[0])
        self._handed_on += 1
        del self._begun[segment_key(running.segment)]
        self.history.apply(running.end)
        return running.end

    def _turn(self, running: _OnWorker, epochs: Callable[[Segment], int] = lambda _: 0) -> tuple[int, int]:
        """When a segment ends, and its number; of one that is being trained, when it ends at the earliest."""
        segment = running.segment
        length = self._lasts(segment)
        if length is None:
            planned = segment.to_epoch
            if running.end is None:
                trained = min(epochs(segment), planned)
            else:
                trained = running.end["epochs"] if running.end["event"] == "segment_finished" else planned
            length = trained - segment.from_epoch
        return running.at + max(length, 1), running.number
