"""What a search is about to train: steps that are recorded as started and not yet submitted, and paused trials."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from itertools import islice

from hptune.base.trial import Segment, Trial
from hptune.experiment.experiment import Experiment
from hptune.run.events import SegmentKey, segment_key
from hptune.run.history import History
from hptune.search.stabilized_weights import StabilizedWeights
from hptune.search.turns import Turns


class Agenda:
    """The queue of segments and the paused trials; their order follows from the journal alone.

    weights: the stabilised weights, and which segments wait for them.
    """

    def __init__(self, experiment: Experiment, turns: Turns) -> None:
        self.weights = StabilizedWeights(experiment, turns.history)
        self._first_folds = experiment.evaluation.stop_after
        self._retries = experiment.execution.retries
        self._history: History = turns.history
        self._turns = turns
        self._queue: deque[Segment] = deque()
        self._paused: dict[int, None] = {}  # in the order in which they are looked at
        self._lost: Counter[SegmentKey] = Counter()

    # --- segments -------------------------------------------------------------------------------------------------

    def add(self, segments: Iterable[Segment]) -> None:
        """Queue segments behind all others."""
        self._queue.extend(segments)

    def add_first(self, segment: Segment) -> None:
        """Queue a segment before all others."""
        self._queue.appendleft(segment)

    def next(self) -> Segment | None:
        """The segment that is trained next; it stays until it is removed."""
        return next((segment for segment in self._queue if not self._waits_for_folds(segment)), None)

    def remove(self, segment: Segment) -> None:
        """Take a segment off the queue: it is submitted, or given up."""
        self._queue.remove(segment)

    def has_room(self, segment: Segment | None, free_slots: int) -> bool:
        """Whether something may be submitted; `segment`, where it is not None. free_slots: as `Turns.has_room`."""
        if segment is not None and (self._turns.has_begun(segment) or self.weights.makes_for(segment)):
            return True
        return self._turns.has_room(self.weights.idle, free_slots)

    def take(self, trial: int) -> list[Segment]:
        """The queued segments of a trial, removed."""
        taken = [segment for segment in self._queue if segment.trial == trial]
        for segment in taken:
            self._queue.remove(segment)
        return taken

    def take_not_begun(self, trial: int) -> Iterator[Segment]:
        """The segments of a trial that have not begun, removed, whether they are queued or wait for weights."""
        for waiting in (self._queue, self.weights.waiting):
            for segment in [queued for queued in waiting if queued.trial == trial and queued.purpose == "trial"]:
                if not self._turns.has_begun(segment):
                    waiting.remove(segment)
                    yield segment

    def trials(self) -> set[int]:
        """The numbers of the trials that have a queued segment."""
        return {segment.trial for segment in self._queue}

    def may_retry(self, segment: Segment) -> bool:
        """Whether a segment that was lost once more is given another try (`execution.retries`)."""
        key = segment_key(segment)
        self._lost[key] += 1
        return self._lost[key] <= self._retries

    def _waits_for_folds(self, segment: Segment) -> bool:
        """Whether the segment waits until the first folds show whether its trial is worth it."""
        first = self._first_folds
        if first is None or segment.purpose != "trial" or segment.replica < first or self._turns.has_begun(segment):
            return False
        return any(("trial", segment.trial, replica) in self._history.pending for replica in range(first))

    # --- paused trials --------------------------------------------------------------------------------------------

    @property
    def paused(self) -> int:
        """How many trials are paused."""
        return len(self._paused)

    def pause(self, trial: int) -> None:
        """Add a trial, trained in part, behind all others that are paused."""
        self._paused[trial] = None

    def go_on(self, trial: int) -> None:
        """Take a trial off the paused ones, if it is there: it is trained further."""
        self._paused.pop(trial, None)

    def take_paused(self, most: int) -> Iterator[Trial]:
        """The first `most` paused trials, removed: it is their turn to be checked."""
        for number in list(islice(self._paused, most)):
            del self._paused[number]
            yield self._history.trials[number]
