"""How many workers a search gets, and which GPU each sees. Only calculates; starts nothing.

`workers: auto` begins with one, or with two where many trials are to come and two cores are idle: the second start then
passes beside the first, which it would hold up on a busy machine. Each worker costs the start of a TensorFlow, seconds
of a core, which a search of few short trials must not pay: another one comes when what is left would take longer than
its start pays for. Where nobody knows what is left, a search is taken to go on for as long as it has lasted.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property

from hptune.base.trial import Segment
from hptune.executors import machine
from hptune.experiment.execution import Execution

PAYS = 2.0
"""Another worker is started where the remaining work takes more than this many times as long as a start."""

WORKER_BYTES = 3 * 2**29
"""What a worker is reckoned to hold when asking how many the memory has room for: TensorFlow alone holds a third."""

_MANY = 40
"""Trials that repay the start of a second worker, however short: a small net's take a tenth of a second each."""

_ENOUGH = 3
"""Segments that must have ended before their median says how long one takes: the first one compiles."""


@dataclass
class Staffing:
    """trials: how many the search starts at most; None where that is not known."""

    execution: Execution
    trials: int | None
    start_s: float | None = None
    """Seconds from starting the first worker to the end of its first segment."""
    began_at: float | None = None
    """When the first trial was given to a worker, by the monotonic clock."""
    _last: int = -1
    """The highest number of a trial that was given to a worker: trials are numbered as they are started."""
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=64))

    @cached_property
    def environments(self) -> list[dict[str, str]]:
        """The environment variables of the first worker, the second, …; after the last, from the beginning."""
        shares = machine.share_gpus(machine.gpus(), self.execution.gpus_per_worker)
        return [{"CUDA_VISIBLE_DEVICES": share} for share in shares] or [{}]

    @cached_property
    def most(self) -> int:
        """The most workers: those asked for, or as many as the GPUs, or the cores and memory, have room for."""
        if self.execution.workers != "auto":
            return self.execution.workers
        if self.environments != [{}]:
            return len(self.environments)
        return max(1, min(machine.cores(), machine.memory_bytes() // WORKER_BYTES))

    @cached_property
    def at_once(self) -> int:
        """How many workers are started together, before the first has finished a segment."""
        if self.execution.workers == "auto":
            two = (self.trials or 0) >= _MANY and machine.idle_cores() >= 2
            return min(self.most, 2 if two else 1)
        return self.most if self.trials is None else max(1, min(self.most, self.trials))

    def given(self, segment: Segment, now: float) -> None:
        """A worker was given a trial's segment."""
        self._last = max(self._last, segment.trial)
        if self.began_at is None:
            self.began_at = now

    def ended(self, seconds: float) -> None:
        """A trial's segment took so long."""
        self._seconds.append(seconds)

    def left_s(self, workers: int, now: float) -> float:
        """Seconds that `workers` workers would most likely take for the rest."""
        if self.began_at is None:
            return 0.0
        if self.trials is None:
            return now - self.began_at
        trials = self.trials - 1 - self._last
        if len(self._seconds) < _ENOUGH:
            return now - self.began_at if trials > 0 else 0.0
        return max(trials, 0) * statistics.median(self._seconds) / workers

    def pays(self, workers: int, now: float) -> bool:
        """Whether another worker beside these, which are all at work, is worth its start."""
        return workers < self.most and self.start_s is not None and self.left_s(workers, now) > PAYS * self.start_s
