"""The inline executor: segments run in this process, one at a time, when they are waited for."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from functools import cached_property
from pathlib import Path
from typing import Protocol

from hptune.errors import SegmentFailed
from hptune.executors.executor import OnEpoch, Outcome
from hptune.rundir import RunPaths
from hptune.spec.experiment import Experiment
from hptune.trial import Segment, SegmentFailure, SegmentResult


class Runner(Protocol):
    """What runs a segment: `hptune.training.worker.Worker`."""

    def run(self, segment: Segment, on_epoch: OnEpoch) -> SegmentResult:
        """Raises SegmentFailed, and SpecError where the data or the model can't be used."""
        ...


class InlineExecutor:
    """One slot, in this process. What user code prints goes to stderr: stdout belongs to the command's result.

    folder: the YAML file's, which relative paths start from and where modules are looked for first.
    """

    slots = 1

    def __init__(self, experiment: Experiment, folder: Path, run: RunPaths, on_epoch: OnEpoch) -> None:
        self._experiment = experiment
        self._folder = folder
        self._run = run
        self._on_epoch = on_epoch
        self._queue: deque[Segment] = deque()

    @cached_property
    def _runner(self) -> Runner:
        from hptune.training.worker import Worker  # heavy: only where a segment runs

        return Worker(self._experiment, self._folder, self._run)

    def submit(self, segment: Segment) -> None:
        self._queue.append(segment)

    def wait(self, timeout_s: float | None = None) -> list[Outcome]:  # noqa: ARG002  # nothing to wait for: it runs here
        if not self._queue:
            return []
        segment = self._queue.popleft()
        started = time.perf_counter()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return [self._runner.run(segment, self._on_epoch)]
        except SegmentFailed as failed:
            reason = str(failed)
        except SystemExit as ended:  # user code must not end the search
            reason = f"the code ended the process: sys.exit({ended.code!r})"
        return [SegmentFailure(segment, reason, time.perf_counter() - started)]

    def close(self) -> None:
        self._queue.clear()
