"""The executor of `reproduce --alone`: each segment runs in a fresh process, with nothing before it."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from hptune.base.trial import Segment
from hptune.executors.executor import OnEpoch, Outcome
from hptune.executors.local import LocalExecutor
from hptune.experiment.experiment import Experiment
from hptune.run.rundir import RunPaths


class AloneExecutor:
    """One segment at a time, each in a process of its own, in which nothing was loaded, probed or trained before.

    Whatever `execution.executor` and `workers` say. folder: the YAML file's.
    """

    slots = 1
    ahead = 0

    def __init__(self, experiment: Experiment, folder: Path, run: RunPaths, on_epoch: OnEpoch) -> None:
        execution = experiment.execution.model_copy(update={"executor": "local", "workers": 1})
        self._experiment = experiment.model_copy(update={"execution": execution})
        self._folder = folder
        self._run = run
        self._on_epoch = on_epoch
        self._queue: deque[Segment] = deque()
        self._place: LocalExecutor | None = None

    def submit(self, segment: Segment) -> None:
        """Queue the segment. Its process is started once no other segment runs."""
        self._queue.append(segment)
        self._begin()

    def wait(self, timeout_s: float | None = None) -> list[Outcome]:
        """As `Executor` has it; the segment's process ends with it."""
        if self._place is None:
            return []
        try:
            outcomes = self._place.wait(timeout_s)
        except BaseException:
            self._end()
            raise
        if outcomes:
            self._end()
            self._begin()
        return outcomes

    def progress(self, segment: Segment) -> int:
        """As `Executor` has it; 0 for a segment that is queued."""
        return 0 if self._place is None else self._place.progress(segment)

    def close(self) -> None:
        """Drop the queue and end the process that runs."""
        self._queue.clear()
        self._end()

    def _begin(self) -> None:
        if self._place is None and self._queue:
            self._place = LocalExecutor(self._experiment, self._folder, self._run, self._on_epoch, trials=1)
            self._place.submit(self._queue.popleft())

    def _end(self) -> None:
        if self._place is not None:
            self._place.close()
            self._place = None
