"""What a Strategy may see: every trial and what was learnt of it, built from the journal's events and cheap to extend.

This module owns the shape of the events that tell of segments: the functions that make them stand beside the one that
reads them. `History.apply` costs the same whether there are ten trials or ten thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeAlias

from hptune.spec.objective import Objective
from hptune.trial import Curves, Segment, SegmentFailure, SegmentResult, Trial, TrialState

Event: TypeAlias = Mapping[str, Any]
"""One line of the journal: JSON data with at least `event` (and `time`, which the journal adds)."""

SegmentKey: TypeAlias = tuple[str, int, int]
"""(purpose, trial, replica): at most one segment of it runs at a time."""


def segment_key(segment: Segment) -> SegmentKey:
    return (segment.purpose, segment.trial, segment.replica)


def started(segment: Segment) -> dict[str, Any]:
    """The event written before a segment is submitted."""
    return {"event": "segment_started", **asdict(segment), "values": dict(segment.values)}


def finished(result: SegmentResult, *, complete: bool) -> dict[str, Any]:
    """The event for a segment that brought something back. `complete`: the trial needs no more epochs."""
    segment = result.segment
    return {
        "event": "segment_finished",
        "purpose": segment.purpose,
        "trial": segment.trial,
        "replica": segment.replica,
        "epochs": result.epochs,
        "curves": {name: list(values) for name, values in result.curves.items()},
        "seconds": result.seconds,
        "state": result.state,
        "ended": result.ended,
        "complete": complete,
        **({"facts": dict(result.facts)} if result.facts else {}),
    }


def failed(failure: SegmentFailure) -> dict[str, Any]:
    """The event for a segment that is given up; its trial has failed."""
    segment = failure.segment
    return {
        "event": "segment_failed",
        "purpose": segment.purpose,
        "trial": segment.trial,
        "replica": segment.replica,
        "reason": failure.reason,
        "seconds": failure.seconds,
    }


def stopped(trial: int) -> dict[str, Any]:
    """The event for a trial that its strategy will never continue."""
    return {"event": "trial_stopped", "trial": trial}


class History:
    """The trials in the order of their numbers, and the order in which they reported.

    trials: by number, from 0. A number is given once and never again.
    reports: the trial's number each time all replicas of a step (a Start or a Continue) have finished or one failed;
        append-only, so that a strategy can keep a cache and read on from where it was.
    pending: the segments that were started and have not finished; on resume they are submitted again.
    epochs_trained: over all trials and replicas.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives: tuple[Objective, ...] = tuple(objectives)
        self.trials: list[Trial] = []
        self.reports: list[int] = []
        self.pending: dict[SegmentKey, Segment] = {}
        self.epochs_trained = 0
        self.best: Trial | None = None  # by score, over one objective; the first of equals
        self.best_report = -1  # the index in `reports` at which the best was found

    # --- what a strategy asks -----------------------------------------------------------------------------------

    @property
    def objective(self) -> Objective:
        """The only objective, for strategies that know one."""
        assert len(self.objectives) == 1, "asked for the objective of a search with several"
        return self.objectives[0]

    def score(self, trial: Trial, epochs: int | None = None) -> float | None:
        """The objective at the best of the first `epochs` epochs (None: of all), the mean over replicas.

        None where the trial has failed or has not got that far. For several objectives use `scores`.
        """
        return self._score(trial, self.objective, epochs)

    def scores(self, trial: Trial, epochs: int | None = None) -> dict[str, float] | None:
        """Every objective's score by metric, or None where one is missing."""
        found = {o.metric: self._score(trial, o, epochs) for o in self.objectives}
        return None if None in found.values() else found  # type: ignore[return-value]  # no None is left

    def replica_scores(self, trial: Trial, objective: Objective) -> list[float]:
        """One score a replica, of those that reported."""
        return [s for s in (best_of(c, objective) for c in trial.curves) if s is not None]

    def running(self) -> Iterator[Trial]:
        """The trials with a segment under way."""
        for number in sorted({trial for purpose, trial, _ in self.pending if purpose == "trial"}):
            yield self.trials[number]

    def _score(self, trial: Trial, objective: Objective, epochs: int | None) -> float | None:
        if trial.state == "failed" or (epochs is not None and trial.epochs < epochs and not trial.facts.get("ended")):
            return None
        if objective.metric == "seconds":
            return trial.seconds if trial.curves else None
        if objective.metric in trial.facts:
            return float(trial.facts[objective.metric])
        found = [best_of(c, objective, epochs) for c in trial.curves]
        if not found or None in found:
            return None
        return math.fsum(s for s in found if s is not None) / len(found)

    # --- how it grows -------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take in one event of the journal; events that tell of no segment are passed over."""
        kind = event["event"]
        if kind == "segment_started":
            self._start(event)
        elif kind == "segment_finished":
            self._finish(event)
        elif kind == "segment_failed":
            self._fail(event)
        elif kind == "trial_stopped":
            self._set(event["trial"], state="stopped")

    def _start(self, event: Event) -> None:
        fields = {name: event[name] for name in Segment.__slots__ if name in event}
        segment = Segment(**fields)
        self.pending[segment_key(segment)] = segment
        if segment.purpose != "trial":
            return
        if segment.trial == len(self.trials):
            self.trials.append(Trial(segment.trial, segment.values, "running", segment.to_epoch))
        else:
            self._set(segment.trial, state="running", to_epoch=segment.to_epoch)

    def _finish(self, event: Event) -> None:
        segment = self._take(event)
        if segment.purpose != "trial":
            return
        trial = self.trials[segment.trial]
        self.epochs_trained += event["epochs"] - segment.from_epoch
        curves = list(trial.curves) + [{}] * (segment.replica + 1 - len(trial.curves))
        curves[segment.replica] = _extend(curves[segment.replica], event["curves"], segment.from_epoch)
        facts = {**trial.facts, **event.get("facts", {})}
        if event["ended"]:
            facts["ended"] = True
        self._set(trial.number, curves=tuple(curves), seconds=trial.seconds + event["seconds"], facts=facts)
        if not self._waiting(trial.number) and trial.state != "failed":
            done: TrialState = "completed" if event["complete"] else "paused"
            self._set(trial.number, state=done, epochs=min(_length(c) for c in curves))
            self._report(trial.number)

    def _fail(self, event: Event) -> None:
        segment = self._take(event)
        if segment.purpose != "trial":
            return
        trial = self.trials[segment.trial]
        if trial.state != "failed":
            seconds = trial.seconds + event["seconds"]
            self._set(trial.number, state="failed", error=event["reason"], seconds=seconds)
            self._report(trial.number)

    def _take(self, event: Event) -> Segment:
        return self.pending.pop((event["purpose"], event["trial"], event["replica"]))

    def _waiting(self, trial: int) -> bool:
        return any(purpose == "trial" and number == trial for purpose, number, _ in self.pending)

    def _report(self, number: int) -> None:
        self.reports.append(number)
        if len(self.objectives) > 1:
            return
        trial, objective = self.trials[number], self.objective
        score = self.score(trial)
        best = self.score(self.best) if self.best is not None else None
        if score is not None and (best is None or objective.better(score, best)):
            self.best, self.best_report = trial, len(self.reports) - 1

    def _set(self, number: int, **changes: Any) -> None:
        self.trials[number] = replace(self.trials[number], **changes)


def best_of(curves: Curves, objective: Objective, epochs: int | None = None) -> float | None:
    """The objective's best value in the first `epochs` epochs of one replica, or None where it has no value."""
    curve = curves.get(objective.metric, ())[:epochs]
    return objective.best(curve) if curve else None


def _length(curves: Curves) -> int:
    return max((len(values) for values in curves.values()), default=0)


def _extend(curves: Curves, more: Mapping[str, Sequence[float]], from_epoch: int) -> Curves:
    """`more` continues `curves` after `from_epoch` epochs; a metric that was not there before starts with NaN."""
    names = dict.fromkeys([*curves, *more])
    gap = (math.nan,) * from_epoch
    return {name: (*(curves.get(name, gap)[:from_epoch]), *more.get(name, ())) for name in names}
