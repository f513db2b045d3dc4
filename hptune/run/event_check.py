"""Checks each line of a journal before it is used: its shape, and that it fits the lines before it.

A run's folder may come from a stranger or from a failing disk. What passes here can be replayed, ranked and drawn
safely; what does not is an error with its line. The search itself writes nothing that would not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from hptune.experiment.objective import Objective
from hptune.run import events
from hptune.run.curves import length
from hptune.run.events import Event, Finished, SegmentKey, Started, key_of
from hptune.run.usable import has_gaps, known_of, score_fault, too_large

_SHAPES: dict[str, Any] = {
    "head": events.HeadEvent,
    "resumed": events.Resumed,
    "segment_started": events.Started,
    "segment_begun": events.Begun,
    "segment_finished": events.Finished,
    "segment_failed": events.Failed,
    "segment_lost": events.Lost,
    "trial_stopped": events.Stopped,
    "stabilized": events.StabilizedEvent,
    "search_ended": events.Ended,
}
"""The shape of each kind of event; of any other kind only the time is checked."""

_OF_PENDING = {"segment_lost": "is lost", "segment_begun": "begins"}
"""Events of a segment that is under way, in words."""


class EventCheck:
    """Checks the events of one journal in their order; remembers of each trial what the next event must fit."""

    def __init__(self) -> None:
        self._metrics: list[str] | None = None  # of the objectives; None before the head
        self._epochs: list[int] = []  # by trial: how far its longest replica is trained
        self._pending: dict[SegmentKey, Started] = {}

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Raises ValueError, which says what is wrong, where the event on a line can't be used."""
        kind = line["event"]
        if (self._metrics is None) != (kind == "head"):
            raise ValueError("a journal begins with one head, and has no other")
        if "time" not in line:
            raise ValueError("time: Field required")
        try:
            _check_shape(kind if kind in _SHAPES else "")(line, strict=True)
        except ValidationError as error:
            raise ValueError(_first_fault(error)) from error
        event = cast(Event, line)
        if event["event"] == "head":
            self._metrics = _metrics(event["experiment"].get("objective"))
        elif event["event"] == "segment_started":
            self._started(event)
        elif event["event"] == "segment_finished":
            self._finished(event)
        elif event["event"] == "segment_failed":
            self._take(key_of(event))
        elif event["event"] == "segment_lost" or event["event"] == "segment_begun":
            if key_of(event) not in self._pending:
                raise ValueError(f"trial {event['trial']} {_OF_PENDING[kind]} and was never started")
        elif event["event"] == "trial_stopped":
            if event["trial"] >= len(self._epochs):
                raise ValueError(f"trial {event['trial']} was never started")
            for replica in event.get("replicas", ()):
                self._take(("trial", event["trial"], replica))

    def _started(self, event: Started) -> None:
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
            key: SegmentKey = (event["purpose"], trial, replica)
            if key in self._pending and event["purpose"] not in ("best", "baseline"):  # these may begin again
                raise ValueError(f"replica {replica} of trial {trial} is started twice")
            self._pending[key] = event

    def _finished(self, event: Finished) -> None:
        began = self._take(key_of(event))["from_epoch"]
        longest = length(event["curves"])
        if not began + longest <= max(event["epochs"], began):
            raise ValueError(f"it holds {longest} epochs, and {began} to {event['epochs']} were trained")
        if event["purpose"] in ("trial", "finalist"):
            _check_scores(event, self._metrics or [])
        if event["purpose"] == "trial":
            self._epochs[event["trial"]] = max(self._epochs[event["trial"]], began + longest)

    def _take(self, key: SegmentKey) -> Started:
        if key not in self._pending:
            raise ValueError(f"replica {key[2]} of trial {key[1]} ends and was never started")
        return self._pending.pop(key)


def _check_scores(event: Finished, metrics: list[str]) -> None:
    facts = event.get("facts", {})
    for metric in metrics:
        if metric in facts:
            if (fault := score_fault(metric, facts[metric])) is not None:
                raise ValueError(fault)
            continue
        curve = event["curves"].get(metric, ())
        if too_large(known_of(curve) if has_gaps(facts, metric) else curve):
            raise ValueError(f"{metric} must be finite")


def _metrics(objective: Any) -> list[str]:
    objectives = objective if isinstance(objective, list) else [objective]
    if not objectives:
        raise ValueError("experiment.objective is empty")
    try:
        return [Objective.model_validate(entry).metric for entry in objectives]
    except ValidationError as error:
        raise ValueError(f"experiment.objective: {_first_fault(error)}") from error


@cache
def _check_shape(kind: str) -> Callable[..., Any]:
    return TypeAdapter(_SHAPES.get(kind, events.AnyEvent)).validator.validate_python


def _first_fault(error: ValidationError) -> str:
    """The first error, as a clause."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg']}"
