"""Which states stay on disk: those that training may continue from, those of the best trials, and stabilised weights.

A trial that may be promoted keeps the state at its end; one of the best keeps the state of the epoch that its score
comes from. The journal alone decides, event by event, so that a resumed search keeps the same states.
"""

from __future__ import annotations

import bisect
from pathlib import Path
from typing import TypeAlias

from hptune.base import files
from hptune.base.trial import Trial
from hptune.experiment.objective import leading
from hptune.run.curves import length
from hptune.run.events import End, Event
from hptune.run.history import History, best_epoch
from hptune.run.record import Record
from hptune.run.rundir import RunPaths


def drop_untold_weights(paths: RunPaths, record: Record) -> None:
    """Delete stabilised weights left by a worker that was killed before they were journalled.

    They are then made and journalled again. Call this only while nothing runs, since a worker may be making some.
    """
    journalled = {paths.stabilized(architecture, replica) for architecture, replica in record.stabilized}
    for path in paths.all_stabilized():
        if path not in journalled:
            files.remove(path, below=paths.runs)


_Entry: TypeAlias = tuple[float, int, int]
"""(cost, how many reports had come, trial)."""


class KeptStates:
    """The `keep` best trials so far, and the states that follow from them.

    A trial that may still be promoted may also fail, and then has no score. So it displaces no other trial: the `keep`
    best of the finished trials are kept, and beside them every open trial that is better.
    """

    def __init__(self, paths: RunPaths, history: History, *, keep: int) -> None:
        self._paths = paths
        self._history = history
        self._keep = keep if len(history.objectives) == 1 else 0
        self._best: list[_Entry] = []  # of the finished trials, the best first
        self._open: dict[int, _Entry] = {}  # trials that may be promoted, or are running, and are better
        self._reports = 0
        self._untidy: dict[int, None] = {}  # trials with states that may be needless

    @property
    def wants_any(self) -> bool:
        """Whether the next trial is among the best whatever it scores."""
        return len(self._best) < self._keep

    @property
    def threshold(self) -> float | None:
        """The score that a trial must beat to be among the best; None where none can, or where any does."""
        if self.wants_any or not self._best:
            return None
        return self._history.score(self._history.trials[self._best[-1][2]])

    def apply(self, event: Event) -> None:
        """Take in an event after the history has. The disk changes when `tidy` is called."""
        if len(self._history.reports) > self._reports:
            self._reports = len(self._history.reports)
            self._rank(self._history.reports[-1])
        elif event["event"] == "trial_stopped":
            self._rank(event["trial"])
        elif (event["event"] == "segment_finished" or event["event"] == "segment_failed") and self._has_failed(event):
            self._untidy[event["trial"]] = None  # this replica had begun before, and may have brought a state

    def _has_failed(self, end: End) -> bool:
        return end["purpose"] == "trial" and self._history.trials[end["trial"]].state == "failed"

    def _rank(self, number: int) -> None:
        """Rank trial `number` by its present score."""
        self._untidy[number] = None
        known = self._open.pop(number, None)
        trial = self._history.trials[number]
        score = self._history.score(trial) if self._keep else None
        if score is None:
            return
        cost = self._history.objective.cost(score)
        since = known[1] if known is not None and known[0] == cost else len(self._history.reports)
        entry = (cost, since, number)
        if trial.state in ("running", "paused"):
            if self.wants_any or entry < self._best[-1]:
                self._open[number] = entry
            return
        bisect.insort(self._best, entry)
        dropped, self._best = self._best[self._keep :], self._best[: self._keep]
        if not self.wants_any:
            worse = [other for other in self._open.values() if other > self._best[-1]]
            for other in worse:
                del self._open[other[2]]
            dropped += worse
        self._untidy |= dict.fromkeys(other[2] for other in dropped)

    def tidy(self) -> None:
        """Delete the states that nothing needs any more. The journal must be on disk first.

        A trial that is being trained may be writing states: only those of epochs that it has passed are deleted.
        """
        for number in self._untidy:
            for path in self._needless(self._history.trials[number], self._paths.states(number)):
                files.remove(path, below=self._paths.runs)
            files.remove_if_empty(self._paths.trial(number), below=self._paths.runs)
        self._untidy.clear()

    def tidy_all(self) -> None:
        """Delete what a killed search may have left behind."""
        self._untidy = {n: None for n in self._paths.trial_numbers() if n < len(self._history.trials)}
        self.tidy()

    def _needless(self, trial: Trial, states: list[Path]) -> set[Path]:
        if not states:
            return set()
        lengths = [length(curves) for curves in trial.curves]
        among = trial.number in self._open or any(entry[2] == trial.number for entry in self._best)
        earned = self._earned(trial, lengths) if among else set()
        under_way = any(key[:2] == ("trial", trial.number) for key in self._history.pending)
        if under_way:  # of one that has failed too: replicas that had begun are trained to their end
            past = (self._paths.state(trial.number, r, epoch) for r, end in enumerate(lengths) for epoch in range(end))
            return set(states).intersection(past) - earned
        ends = (self._paths.state(trial.number, r, end) for r, end in enumerate(lengths))
        return set(states).difference(earned, ends if trial.state == "paused" else ())

    def _earned(self, trial: Trial, lengths: list[int]) -> set[Path]:
        """The states, one a replica, of the epochs that the trial's score is of.

        Where that was not kept (by an earlier version, say), the one at the end.
        """
        lead = leading(self._history.objectives)
        states = set()
        for replica, (curves, end) in enumerate(zip(trial.curves, lengths, strict=True)):
            at_best = self._paths.state(trial.number, replica, best_epoch(curves, lead))
            kept = files.is_file(at_best, below=self._paths.runs)
            states.add(at_best if kept else self._paths.state(trial.number, replica, end))
        return states
