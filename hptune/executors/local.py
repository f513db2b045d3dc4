"""The local executor: segments run in worker processes on this machine, which stay and keep their programs.

Each worker has a socket of its own and is watched by the driver's only thread, so that a segment costs some 0.1 ms
more than inline, a worker is chosen for a segment by what it holds, and one that hangs or dies costs its segment alone.
(A pool of pebble's, 0.2 ms a task, can't do that: its workers take their tasks from one pipe, and one that is killed
while it waits there breaks the pool.) How many workers there are, and which gets what, changes no result.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Collection, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from math import inf
from multiprocessing.connection import wait
from pathlib import Path

from hptune.base.errors import HptuneError, RunError
from hptune.base.interrupts import suspending
from hptune.base.stopwatch import WATCH
from hptune.base.trial import Segment, SegmentFailure
from hptune.executors import machine
from hptune.executors.executor import OnEpoch, Outcome
from hptune.executors.serve import Message, Progress, Ready, Refused, SegmentEnded, WorkerSetup
from hptune.executors.staffing import Staffing
from hptune.executors.worker_process import Process, shape_of
from hptune.experiment.experiment import Experiment
from hptune.run.rundir import RunPaths

_LOOK_S = 1.0
"""Seconds between two checks of workers that send nothing."""

_DEATH_S = 1.0
"""How long a worker that has closed its socket may take to be gone."""

_AHEAD = 4
"""Segments that may wait for each worker where their order is free."""

_PASSED_OVER = 16
"""How often the first of the queue may wait while others, which suit a worker better, go before it."""

_LEAST_GROWTH = 2**30
"""Bytes that a worker may grow by at least before it is replaced."""


class LocalExecutor:
    """Worker processes on this machine, started when they are first needed.

    folder: the YAML file's. trials: how many there are to come at most, where that is known: few get few workers.
    """

    def __init__(
        self, experiment: Experiment, folder: Path, run: RunPaths, on_epoch: OnEpoch, *, trials: int | None = None
    ) -> None:
        try:
            self._data = tempfile.TemporaryFile()  # noqa: SIM115  # close() closes it; see training.data.shared
        except OSError as error:
            reason = f"the folder for temporary files can't be written: {error.strerror}"
            raise RunError(f"{reason}. Make room there, or name another one with TMPDIR.") from error
        self._experiment = experiment
        self._environment = dict(os.environ)  # whatever libraries that load here later put into it
        self._setup = WorkerSetup(experiment, folder.resolve(), run, self._data.fileno(), profile=WATCH.asked)
        self._on_epoch = on_epoch
        self._auto = experiment.execution.workers == "auto"
        self._staffing = Staffing(experiment.execution, trials)
        self._timeout_s = experiment.execution.trial_timeout
        self._processes: list[Process] = []
        self._queue: deque[Segment] = deque()
        self._passed_over = 0
        self._outcomes: list[Outcome] = []
        self._refused: HptuneError | None = None  # raised when what was finished before has been taken
        self._slots_reported: float = inf  # nobody has asked yet
        self._open = ExitStack()
        self._open.enter_context(suspending(lambda: [process.group for process in self._processes]))

    @property
    def slots(self) -> int:
        """The workers asked for; under `auto` those that are ready."""
        slots = self._slots_reported = self._slots()
        return slots

    @property
    def ahead(self) -> int:
        """Enough to find segments that suit the workers, which then never wait for the driver."""
        return _AHEAD * self._slots()

    def submit(self, segment: Segment) -> None:
        """Queue the segment, and hand queued ones to the workers that are free."""
        self._queue.append(segment)
        self._deal()

    def wait(self, timeout_s: float | None = None) -> list[Outcome]:
        """As the protocol says; also returns, with what there is, once there are more slots than were reported."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._outcomes and self._refused is None and self._slots() <= self._slots_reported:
            if not self._queue and all(process.segment is None for process in self._processes):
                break
            if until is not None and time.monotonic() >= until:
                break
            self._watch(until)
        if self._refused is not None and not self._outcomes:
            raise self._refused
        if self._slots_reported != inf:
            self._slots_reported = max(self._slots_reported, self._slots())
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def progress(self, segment: Segment) -> int:
        """What the worker that has the segment reported last; 0 where none has it."""
        return max((process.epochs for process in self._processes if process.segment == segment), default=0)

    def close(self) -> None:
        """Drop the queue, end all workers, and remove what they shared."""
        self._queue.clear()
        for process in self._processes:
            process.end()
        self._processes.clear()
        self._data.close()
        self._open.close()

    # --- who gets what ------------------------------------------------------------------------------------------

    def _slots(self) -> int:
        if not self._auto:
            return self._staffing.most
        return max(1, sum(process.ready for process in self._processes))

    def _deal(self) -> None:
        """Give queued segments to free workers, and start the workers that are missing."""
        for process in self._processes:
            if self._queue and process.ready and process.segment is None:
                self._give(process, self._choose(process))
        while self._wants_more():
            process = self._start()
            if self._queue and not any(other.ready for other in self._processes):
                # Nobody else can take it, and should the worker die on its way, it must cost somebody a try.
                self._give(process, self._queue.popleft())

    def _wants_more(self) -> bool:
        """Whether to start another worker now."""
        workers, ready = len(self._processes), sum(process.ready for process in self._processes)
        if workers >= self._staffing.most:
            return False
        if not ready:
            return workers < self._staffing.at_once if workers else bool(self._queue)
        if self._auto:
            return workers < 2 * ready and self._staffing.pays(workers, time.monotonic())
        return len(self._queue) > workers - ready

    def _choose(self, process: Process) -> Segment:
        """Take the segment that suits a worker best, or the first one where it was passed over often enough."""
        others = {shape for other in self._processes if other is not process for shape in other.shapes}
        at = 0
        if len(self._queue) > 1 and self._passed_over < _PASSED_OVER:
            at = best_suited([shape_of(segment, self._experiment) for segment in self._queue], process.shapes, others)
        self._passed_over = self._passed_over + 1 if at else 0
        segment = self._queue[at]
        del self._queue[at]
        return segment

    def _give(self, process: Process, segment: Segment) -> None:
        process.give(segment)
        if segment.purpose == "trial":
            self._staffing.given(segment, time.monotonic())

    def _start(self) -> Process:
        environments = self._staffing.environments
        self._setup = replace(self._setup, run=self._setup.run.anchored())  # the first one's folder is all others' too
        its_own = environments[len(self._processes) % len(environments)]
        process = Process(self._setup, {**self._environment, **its_own})
        self._processes.append(process)
        return process

    # --- what they say ------------------------------------------------------------------------------------------

    def _watch(self, until: float | None) -> None:
        """Wait until a worker sends a message, ends, or has taken too long."""
        now = time.monotonic()
        left = [_LOOK_S, *([until - now] if until is not None else [])]
        left += [allowed - p.busy_s() for p in self._processes if (allowed := p.allowed_s(self._timeout_s)) is not None]
        heard = wait([process.connection for process in self._processes], max(min(left), 0.0))
        for process in list(self._processes):
            allowed = process.allowed_s(self._timeout_s)
            if process.connection in heard:
                self._hear(process)
            elif process.has_ended():  # a child of its own may hold the socket open
                self._lose(process, grace_s=_DEATH_S)
            elif allowed is not None and process.busy_s() > allowed:
                self._lose(process, f"timeout: {_TOO_LONG[process.ready].format(allowed)}")
        self._deal()

    def _hear(self, process: Process) -> None:
        try:
            message: Message = process.receive()
        except (EOFError, OSError):
            self._lose(process, grace_s=_DEATH_S)
            return
        if isinstance(message, Ready):
            process.is_ready()
        elif isinstance(message, Progress):
            if process.segment is not None:
                process.epochs = message.epochs
                self._on_epoch(process.segment, message.epochs, message.metrics)
        elif isinstance(message, Refused):
            process.segment = None
            self._refused = message.error
        else:
            self._take(process, message)

    def _take(self, process: Process, message: SegmentEnded) -> None:
        if self._staffing.start_s is None:
            self._staffing.start_s = time.monotonic() - process.started_at
        if message.outcome.segment.purpose == "trial":
            self._staffing.ended(message.outcome.seconds)
        WATCH.add(message.spent, message.notes)
        self._outcomes.append(message.outcome)
        process.segment = None
        grown = process.grown(message.resident)
        if message.haunted or grown > max(_LEAST_GROWTH, machine.memory_bytes() / (4 * self._staffing.most)):
            self._drop(process)

    def _lose(self, process: Process, why: str | None = None, *, grace_s: float = 0.0) -> None:
        """Give up a worker that has ended or must end; its segment fails with it."""
        segment, seconds = process.segment, process.busy_s()
        ended = self._drop(process, grace_s=grace_s)
        if segment is not None:
            reason = why if why is not None else f"the worker {ended}"
            self._outcomes.append(SegmentFailure(segment, reason, seconds, lost=True))
        elif not process.ready:
            self._staffing.most = max(1, len(self._processes))  # there is no room for another one here

    def _drop(self, process: Process, *, grace_s: float = 0.0) -> str:
        self._processes.remove(process)
        return process.end(grace_s=grace_s)


_TOO_LONG = {
    True: "the segment took longer than execution.trial_timeout ({:g} s)",
    False: "the worker was not ready after {:g} s",
}


def best_suited(shapes: Sequence[Hashable], held: Collection[Hashable], others: Collection[Hashable]) -> int:
    """Which of these shapes a worker takes: the first that it holds, else that nobody holds, else the first of all.

    >>> best_suited(["a", "b", "c"], held=["c"], others=["a"])
    2
    >>> best_suited(["a", "b"], held=[], others=["a"])
    1
    """
    fitting = (at for at, shape in enumerate(shapes) if shape in held)
    new = (at for at, shape in enumerate(shapes) if shape not in others)
    return next(fitting, next(new, 0))
