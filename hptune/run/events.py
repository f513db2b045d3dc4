"""The events of a journal: their shapes, and the functions that make the events of segments.

One line of the journal is one event. Code that holds an `Event` read from a journal may rely on its shape:
`event_check` has compared it with the bounds here. A key that is not required was added by a later version than the
first, or is left out where it has no value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, cast

from pydantic import AllowInfNan, Field
from typing_extensions import TypedDict

from hptune.base.trial import Purpose, Segment, SegmentFailure, SegmentResult, Value
from hptune.run.usable import lasted

LAST_TIME_S = 253_402_300_799
"""The end of the year 9999, as calendars have it, in seconds since 1970."""

MOST_REPLICAS = 10_000
"""More repeats or folds than any search has; a number from a damaged line must not fill the memory."""

Number: TypeAlias = Annotated[float, AllowInfNan(True)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Time: TypeAlias = Annotated[float, Field(ge=0, le=LAST_TIME_S)]
Epochs: TypeAlias = Annotated[int, Field(ge=0, le=10**9)]
TrialNumber: TypeAlias = Annotated[int, Field(ge=0)]
Replica: TypeAlias = Annotated[int, Field(ge=0, lt=MOST_REPLICAS)]
Replicas: TypeAlias = Annotated[list[Replica], Field(min_length=1)]


class AnyEvent(TypedDict):
    """time: seconds since 1970, which the journal adds. elapsed: seconds spent searching, which the loop adds.

    after: of a decision, how many ends of segments it was made after (`search.turns`).
    """

    time: NotRequired[Time]
    elapsed: NotRequired[Seconds]
    after: NotRequired[Annotated[int, Field(ge=0)]]


class EarlierTrial(TypedDict):
    """A trial of an earlier run (`warm_start`): its run and number, and as much as scores need.

    curves: by replica, by metric.
    """

    run: NotRequired[str]
    trial: NotRequired[TrialNumber]
    values: dict[str, Value]
    epochs: Epochs
    curves: list[dict[str, list[Number]]]
    seconds: Seconds
    facts: dict[str, Any]


class TakenOver(TypedDict):
    """How many trials of an earlier run were taken over. left_out: how many not, by reason. seed: where it differs."""

    run: str
    taken: TrialNumber
    left_out: dict[str, TrialNumber]
    seed: NotRequired[Annotated[int, Field(ge=0)]]


class HeadEvent(AnyEvent):
    """The first event: what the search was begun with.

    experiment: with every default filled in. facts: what the probe found in the data and the model. folder: the YAML
    file's. training: how trials are trained (`record.TRAINING`). parallel: the virtual workers, where there are any.
    """

    event: Literal["head"]
    experiment: dict[str, Any]
    space: dict[str, Any]
    facts: dict[str, Any]
    folder: str
    earlier: NotRequired[list[EarlierTrial]]
    warm_start: NotRequired[list[TakenOver]]
    training: NotRequired[int]
    parallel: NotRequired[Annotated[int, Field(ge=1)]]
    versions: NotRequired[dict[str, str]]
    keras: NotRequired[dict[str, Any]]
    platform: NotRequired[str]


class Resumed(AnyEvent):
    """The search goes on. changed: by part and name, what was then and what is now."""

    event: Literal["resumed"]
    versions: NotRequired[dict[str, str]]
    keras: NotRequired[dict[str, Any]]
    packages: NotRequired[dict[str, str]]
    code: NotRequired[dict[str, str]]
    strategy: NotRequired[dict[str, str]]
    changed: NotRequired[dict[str, Any]]
    budget: NotRequired[dict[str, Any]]


class OfSegment(AnyEvent):
    """The keys that every event of a segment has."""

    purpose: Purpose
    trial: TrialNumber
    replica: Replica


class Started(OfSegment):
    """A step is decided. replicas: all that it trains, alike but for their number. begun: it begins with this event."""

    event: Literal["segment_started"]
    values: dict[str, Value]
    from_epoch: Epochs
    to_epoch: Epochs
    keep_state: NotRequired[bool]
    keep_above: NotRequired[Number | None]
    replicas: NotRequired[Replicas]
    why: NotRequired[str]
    begun: NotRequired[bool]


class Begun(OfSegment):
    """A segment begins later than its step was decided."""

    event: Literal["segment_begun"]


class Finished(OfSegment):
    """A segment brought something back.

    epochs: how far the trial is trained now. curves: of the epochs that this segment trained. ended: the recipe itself
    ended training. complete: the trial needs no more epochs.
    """

    event: Literal["segment_finished"]
    epochs: Epochs
    curves: dict[str, list[Number]]
    seconds: Seconds
    ended: bool
    complete: bool
    facts: NotRequired[dict[str, Any]]


class Failed(OfSegment):
    """A segment is given up; its trial has failed."""

    event: Literal["segment_failed"]
    reason: str
    seconds: Seconds


class Lost(OfSegment):
    """An attempt was lost (its worker died or took too long) and is made again."""

    event: Literal["segment_lost"]
    reason: NotRequired[str]
    seconds: NotRequired[Seconds]


class Stopped(AnyEvent):
    """A trial that will never be continued. replicas: those of its step that are not trained any more."""

    event: Literal["trial_stopped"]
    trial: TrialNumber
    replicas: NotRequired[Replicas]


class StabilizedEvent(AnyEvent):
    """The stabilised weights of an architecture are made. structure: its key."""

    event: Literal["stabilized"]
    structure: str
    replica: Replica
    trial: NotRequired[TrialNumber]
    method: NotRequired[str]
    losses: NotRequired[list[Any]]
    chosen: NotRequired[Any]


class Ended(AnyEvent):
    """The search is over. why: in words."""

    event: Literal["search_ended"]
    why: str


End: TypeAlias = Finished | Failed
"""How a segment ends."""

Event: TypeAlias = HeadEvent | Resumed | Started | Begun | Finished | Failed | Lost | Stopped | StabilizedEvent | Ended
"""One line of the journal. Later versions may write other kinds, which are skipped."""

SegmentKey: TypeAlias = tuple[str, int, int]
"""(purpose, trial, replica): at most one segment of it runs at a time."""


def segment_key(segment: Segment) -> SegmentKey:
    """The (purpose, trial, replica) of a segment."""
    return (segment.purpose, segment.trial, segment.replica)


def key_of(event: OfSegment) -> SegmentKey:
    """The key of the segment that an event belongs to."""
    return (event["purpose"], event["trial"], event["replica"])


def started(segment: Segment, replicas: Sequence[int] | None = None, *, why: str | None = None) -> Started:
    """The event written before a segment is submitted. why: the strategy's reason, where it gave one.

    replicas: the step's replicas, alike but for their number (None: the segment's own); one line for all of them, so
    that a step is never recorded in part.
    """
    event: Started = {
        "event": "segment_started",
        "trial": segment.trial,
        "values": dict(segment.values),
        "from_epoch": segment.from_epoch,
        "to_epoch": segment.to_epoch,
        "replica": segment.replica,
        "purpose": segment.purpose,
        "keep_state": segment.keep_state,
        "keep_above": segment.keep_above,
    }
    if replicas is not None:
        event = {**event, "replica": replicas[0], "replicas": list(replicas)}
    return event if why is None else {**event, "why": why}


def begun(segment: Segment) -> Begun:
    """The event for a segment that begins later than its step was recorded."""
    return {"event": "segment_begun", "purpose": segment.purpose, "trial": segment.trial, "replica": segment.replica}


def finished(result: SegmentResult, *, complete: bool) -> Finished:
    """The event for a segment that brought something back. `complete`: the trial needs no more epochs.

    Weights that it stabilised on the way have an event of their own, which is written first.
    """
    segment = result.segment
    event: Finished = {
        "event": "segment_finished",
        "purpose": segment.purpose,
        "trial": segment.trial,
        "replica": segment.replica,
        "epochs": result.epochs,
        "curves": {name: list(values) for name, values in result.curves.items()},
        "seconds": lasted(result.seconds),
        "ended": result.ended,
        "complete": complete,
    }
    facts = {name: value for name, value in result.facts.items() if name != "stabilized"}
    return {**event, "facts": facts} if facts else event


def stabilized(result: SegmentResult) -> StabilizedEvent | None:
    """The event for the stabilised weights that a segment made; None where it made none."""
    made = result.facts.get("stabilized")
    if made is None:
        return None
    return cast(StabilizedEvent, {"event": "stabilized", "trial": result.segment.trial, **made})


def failed(failure: SegmentFailure) -> Failed:
    """The event for a segment that is given up; its trial has failed."""
    segment = failure.segment
    return {
        "event": "segment_failed",
        "purpose": segment.purpose,
        "trial": segment.trial,
        "replica": segment.replica,
        "reason": failure.reason,
        "seconds": lasted(failure.seconds),
    }


def lost(failure: SegmentFailure) -> Lost:
    """The event for an attempt that was lost and is made again."""
    return {**failed(failure), "event": "segment_lost"}


def stopped(trial: int, replicas: Sequence[int] = ()) -> Stopped:
    """The event for a trial that will never be continued. replicas: those of its step that are not trained any more."""
    event: Stopped = {"event": "trial_stopped", "trial": trial}
    return {**event, "replicas": list(replicas)} if replicas else event
