"""A worker process: takes segments one after the other, trains them, and keeps what makes the next one cheap.

All that runs in the worker is here and in `training`. Messages go over one socket: `WorkerSetup` and segments in,
`Ready`, `Progress`, `SegmentEnded` and `Refused` out. The process ends by itself as soon as its driver is gone, however
the driver ended: the socket's other end then closes, and a thread of its own notices at once. Where that thread does
not get to run, the watchdog ends the process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

from hptune.base.errors import HptuneError
from hptune.base.stopwatch import WATCH, Part
from hptune.base.surroundings import unmended
from hptune.base.threads import busy_threads, running
from hptune.base.trial import Segment, SegmentFailure
from hptune.executors import machine
from hptune.executors.executor import Outcome, attempt
from hptune.experiment.experiment import Experiment
from hptune.run.rundir import RunPaths
from hptune.run.usable import exact

TELL_EVERY_S = 0.1
"""Seconds between two messages of progress at least."""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker starts with. data_fd: the file in which workers share the data. profile: whether one is wanted."""

    experiment: Experiment
    folder: Path
    run: RunPaths
    data_fd: int
    profile: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The libraries are loaded; a segment's time counts from here on."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Epochs done of the segment that runs, and the last one's metrics."""

    epochs: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SegmentEnded:
    """A segment's outcome. resident: the bytes that the process holds after it. spent, notes: of its stopwatch.

    haunted: the process is not fit for another segment: threads of the user's code run on, or what
    it has set can't be put back.
    """

    outcome: Outcome
    resident: int
    spent: Mapping[Part, float]
    notes: list[str]
    haunted: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A segment has shown that the search can't go on."""

    error: HptuneError


Message: TypeAlias = Ready | Progress | SegmentEnded | Refused


def main(socket_fd: int) -> None:
    """Serve the driver at the other end of the socket until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the driver decides what it means
    signal.signal(signal.SIGTERM, lambda *_: None)  # so does a scheduler's; not SIG_IGN, which children would inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # blocked by the driver until here
    driver = Connection(socket_fd)
    orders: SimpleQueue[Segment] = SimpleQueue()
    setup: WorkerSetup = driver.recv()
    threading.Thread(target=_listen, args=(driver, orders), daemon=True).start()
    WATCH.asked = setup.profile
    from hptune.training.data.store.shared import SharedData
    from hptune.training.worker import Worker

    worker = Worker(setup.experiment, setup.folder, setup.run, SharedData(setup.data_fd))
    with contextlib.suppress(Exception):  # the first segment meets it again, and its outcome reports it
        worker.trainer()
    say = _Voice(driver)
    say(Ready())
    while True:
        segment = orders.get()
        before, started = running(), time.perf_counter()
        outcome: Outcome
        try:
            outcome = attempt(worker, segment, say.progress)
        except HptuneError as error:
            say(Refused(error))
            continue
        except KeyboardInterrupt:  # the code's own: signals are ignored here
            outcome = SegmentFailure(segment, "the code raised KeyboardInterrupt", time.perf_counter() - started)
        haunted = bool(busy_threads(before) or unmended())
        say(SegmentEnded(outcome, machine.resident_bytes(), *WATCH.take(), haunted=haunted))


class _Voice:
    """Sends the driver what happens here."""

    def __init__(self, driver: Connection) -> None:
        self._driver = driver
        self._sent_at = 0.0

    def __call__(self, message: Message) -> None:
        with contextlib.suppress(Exception):  # the code may have put anything there, or have closed it
            sys.stdout.flush()
        try:
            self._driver.send(message)
        except OSError:
            os._exit(1)  # the driver is gone, and `_listen` is about to find out; or the code has closed the socket

    def progress(self, _: Segment, epochs: int, metrics: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now - self._sent_at >= TELL_EVERY_S:
            self._sent_at = now
            shown = {exact(name): float(value) for name, value in metrics.items() if isinstance(value, int | float)}
            self(Progress(epochs, shown))


def _listen(driver: Connection, orders: SimpleQueue[Segment]) -> None:
    """Queue what the driver sends; end the process when the driver is gone, whatever it is busy with."""
    while True:
        try:
            orders.put(driver.recv())
        except (EOFError, OSError):
            os._exit(1)
