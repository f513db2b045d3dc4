"""What a line of a journal must look like before anything is made of it: its shape, and that it fits those before it.

A run's folder may come from a stranger, or off a failing disk. Whatever passes here can be replayed, ranked and drawn
without surprises; whatever doesn't is told with its line. The search itself writes nothing that would not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, NotRequired, TypeAlias

from pydantic import AllowInfNan, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from hptune.base.trial import Purpose, Value
from hptune.experiment.objective import Objective
from hptune.run.history import SegmentKey, key_of
from hptune.run.journal import LAST_TIME_S
from hptune.run.usable import has_gaps, known_of, score_fault, too_large

MOST_REPLICAS = 10_000
"""More repeats or folds than any search has; a number from a damaged line must not fill the memory."""

_Number: TypeAlias = Annotated[float, AllowInfNan(True)]
_Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Time: TypeAlias = Annotated[float, Field(ge=0, le=LAST_TIME_S)]
_Epochs: TypeAlias = Annotated[int, Field(ge=0, le=10**9)]
_Trial: TypeAlias = Annotated[int, Field(ge=0)]
_Replica: TypeAlias = Annotated[int, Field(ge=0, lt=MOST_REPLICAS)]
_Replicas: TypeAlias = Annotated[list[_Replica], Field(min_length=1)]
_Curves: TypeAlias = dict[str, list[_Number]]


class _Any(TypedDict):
    time: _Time
    elapsed: NotRequired[_Seconds]


class _Earlier(TypedDict):
    values: dict[str, Value]
    epochs: _Epochs
    curves: list[_Curves]
    seconds: _Seconds
    facts: dict[str, Any]


class _WarmStart(TypedDict):
    run: str
    taken: _Trial
    left_out: dict[str, _Trial]
    seed: NotRequired[Annotated[int, Field(ge=0)]]


class _Head(_Any):
    experiment: dict[str, Any]
    space: dict[str, Any]
    facts: dict[str, Any]
    folder: str
    earlier: NotRequired[list[_Earlier]]
    warm_start: NotRequired[list[_WarmStart]]
    training: NotRequired[int]
    parallel: NotRequired[Annotated[int, Field(ge=1)]]
    versions: NotRequired[dict[str, str]]
    keras: NotRequired[dict[str, Any]]
    platform: NotRequired[str]


class _Resumed(_Any):
    versions: NotRequired[dict[str, str]]
    keras: NotRequired[dict[str, Any]]
    code: NotRequired[dict[str, str]]
    changed: NotRequired[dict[str, Any]]


class _Segment(_Any):
    purpose: Purpose
    trial: _Trial
    replica: _Replica
    after: NotRequired[_Trial]


class _Started(_Segment):
    values: dict[str, Value]
    from_epoch: _Epochs
    to_epoch: _Epochs
    keep_state: NotRequired[bool]
    keep_above: NotRequired[_Number | None]
    replicas: NotRequired[_Replicas]
    why: NotRequired[str]
    begun: NotRequired[bool]


class _Finished(_Segment):
    epochs: _Epochs
    curves: _Curves
    seconds: _Seconds
    ended: bool
    complete: bool
    facts: NotRequired[dict[str, Any]]


class _Failed(_Segment):
    reason: str
    seconds: _Seconds


class _Lost(_Segment):
    reason: NotRequired[str]
    seconds: NotRequired[_Seconds]


class _Stopped(_Any):
    trial: _Trial
    after: NotRequired[_Trial]
    replicas: NotRequired[_Replicas]


class _Stabilized(_Any):
    structure: str
    replica: _Replica


class _Ended(_Any):
    why: str


_SHAPES: dict[str, Any] = {
    "head": _Head,
    "resumed": _Resumed,
    "segment_started": _Started,
    "segment_begun": _Segment,
    "segment_finished": _Finished,
    "segment_failed": _Failed,
    "segment_lost": _Lost,
    "trial_stopped": _Stopped,
    "stabilized": _Stabilized,
    "search_ended": _Ended,
}
"""By event; of any other, only the time is looked at."""

_OF_PENDING = {"segment_lost": "is lost", "segment_begun": "begins"}
"""Events of a segment that is under way, in words."""


class EventCheck:
    """Checks the events of one journal in their order; remembers of each trial what the next event must fit."""

    def __init__(self) -> None:
        self._metrics: list[str] | None = None  # of the objectives; None before the head
        self._epochs: list[int] = []  # by trial: how far its longest replica is trained
        self._pending: dict[SegmentKey, Mapping[str, Any]] = {}

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Raises ValueError, which says what is wrong, where the event can't be made anything of."""
        kind = event["event"]
        if (self._metrics is None) != (kind == "head"):
            raise ValueError("a journal begins with one head, and has no other")
        try:
            _check_shape(kind if kind in _SHAPES else "")(event, strict=True)
        except ValidationError as error:
            raise ValueError(_told(error)) from error
        if kind == "head":
            self._metrics = _metrics(event["experiment"].get("objective"))
        elif kind == "segment_started":
            self._started(event)
        elif kind == "segment_finished":
            self._finished(event)
        elif kind == "segment_failed":
            self._take(event)
        elif kind in _OF_PENDING and key_of(event) not in self._pending:
            raise ValueError(f"trial {event['trial']} {_OF_PENDING[kind]} and was never started")
        elif kind == "trial_stopped":
            if event["trial"] >= len(self._epochs):
                raise ValueError(f"trial {event['trial']} was never started")
            for replica in event.get("replicas", ()):
                self._take({"purpose": "trial", "trial": event["trial"], "replica": replica})

    def _started(self, event: Mapping[str, Any]) -> None:
        trial, known = event["trial"], len(self._epochs)
        replicas = event.get("replicas", [event["replica"]])
        if event["purpose"] == "trial":
            if trial > known:
                raise ValueError(f"trial {trial} is started, and {known} is the next")
            if event["from_epoch"] > (self._epochs[trial] if trial < known else 0):
                raise ValueError(f"trial {trial} is not trained as far as epoch {event['from_epoch']}")
            if trial == known:
                self._epochs.append(0)
        elif event["purpose"] in ("finalist", "stabilize") and trial >= known:
            raise ValueError(f"trial {trial} was never started")
        for replica in replicas:
            key = (event["purpose"], trial, replica)
            if key in self._pending and event["purpose"] not in ("best", "baseline"):  # these may begin again
                raise ValueError(f"replica {replica} of trial {trial} is started twice")
            self._pending[key] = event

    def _finished(self, event: Mapping[str, Any]) -> None:
        began = self._take(event)["from_epoch"]
        longest = max(map(len, event["curves"].values()), default=0)
        if not began + longest <= max(event["epochs"], began):
            raise ValueError(f"{longest} epochs are told of, and trained were {began} to {event['epochs']}")
        if event["purpose"] in ("trial", "finalist"):
            _check_scores(event, self._metrics or [])
        if event["purpose"] == "trial":
            self._epochs[event["trial"]] = max(self._epochs[event["trial"]], began + longest)

    def _take(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        key = key_of(event)
        if key not in self._pending:
            raise ValueError(f"replica {key[2]} of trial {key[1]} ends and was never started")
        return self._pending.pop(key)


def _check_scores(event: Mapping[str, Any], metrics: list[str]) -> None:
    facts = event.get("facts", {})
    for metric in metrics:
        if metric in facts:
            if (told := score_fault(metric, facts[metric])) is not None:
                raise ValueError(told)
            continue
        curve = event["curves"].get(metric, ())
        if too_large(known_of(curve) if has_gaps(facts, metric) else curve):
            raise ValueError(f"{metric} must be finite")


def _metrics(objective: Any) -> list[str]:
    told = objective if isinstance(objective, list) else [objective]
    if not told:
        raise ValueError("experiment.objective is empty")
    try:
        return [Objective.model_validate(one).metric for one in told]
    except ValidationError as error:
        raise ValueError(f"experiment.objective: {_told(error)}") from error


@cache
def _check_shape(kind: str) -> Callable[..., Any]:
    return TypeAdapter(_SHAPES.get(kind, _Any)).validator.validate_python


def _told(error: ValidationError) -> str:
    """The first thing that is wrong, in a clause."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg']}"
