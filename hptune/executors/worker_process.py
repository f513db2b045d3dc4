"""One worker process as its driver sees it: starting it, talking to it, watching it and ending it.

A fresh interpreter (never a fork, which TensorFlow does not survive) with a socket to it. What it prints goes to the
driver's standard error (it must not mix with a command's result), so much of it for each segment and no more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Hashable, Mapping
from multiprocessing.connection import Connection

from hptune.base.trial import Segment
from hptune.executors.kin import descendants, kill
from hptune.executors.serve import Message, WorkerSetup
from hptune.experiment.experiment import Experiment
from hptune.experiment.space.references import Ref

START_TIMEOUT_S = 600.0
"""How long a worker may take until it is ready: TensorFlow and the user's modules are imported in it."""

SHOWN_BYTES = 2**16
"""How much of what a segment prints is shown: code that prints a gigabyte must fill no terminal and no log."""

_DRAIN_S = 1.0
"""How long the last words of a worker that has ended are waited for; a child of its own may hold them open."""

_KILL_S = 10.0
"""How long a worker that was killed is waited for; it takes milliseconds, but where a disk or a device hangs."""

_HELD = 8
"""How many structures a worker is taken to hold: as many as `training.programs` keeps."""


class Process:
    """A worker process, and the segment that it has, if any."""

    def __init__(self, setup: WorkerSetup, environment: Mapping[str, str]) -> None:
        self._experiment = setup.experiment
        self.ready = False
        self.segment: Segment | None = None
        self.epochs = 0  # that the segment is known to be trained for
        self._resident_at_first: int | None = None
        self.shapes: deque[Hashable] = deque(maxlen=_HELD)
        self.started_at = time.monotonic()
        self._since = self.started_at  # of what it does now: start, or train its segment
        ours, theirs = socket.socketpair()
        words, said = os.pipe()
        watched, self._alive = os.pipe()
        with theirs:
            self._process = _start(
                socket_fd=theirs.fileno(),
                data_fd=setup.data_fd,
                said_fd=said,
                watched_fd=watched,
                environment=environment,
            )
        os.close(said)
        os.close(watched)
        self._output = _Output(words)
        self.connection = Connection(ours.detach())
        self._send(setup)

    @property
    def group(self) -> int:
        """The process group that it leads."""
        return self._process.pid

    def give(self, segment: Segment) -> None:
        """Have it train the segment. One that is not ready yet begins when it is."""
        self.segment = segment
        self.epochs = 0
        self._output.begin(segment)
        self.remember(segment)
        if self.ready:
            self._since = time.monotonic()
        self._send(segment)

    def remember(self, segment: Segment) -> None:
        """Note that it holds the structure of the segment."""
        shape = shape_of(segment, self._experiment)
        if shape in self.shapes:
            self.shapes.remove(shape)
        self.shapes.append(shape)

    def is_ready(self) -> None:
        """Note that it is ready: from here on the time counts as its segment's."""
        self.ready = True
        self._since = time.monotonic()

    def receive(self) -> Message:
        """Its next message. Raises EOFError, or another OSError, where it has ended."""
        message: Message = self.connection.recv()
        return message

    def grown(self, resident: int) -> int:
        """By how many bytes it holds more than after its first segment. resident: what it holds now."""
        if self._resident_at_first is None:
            self._resident_at_first = resident
        return resident - self._resident_at_first

    def busy_s(self) -> float:
        """Seconds that it has been starting, or training its segment."""
        return time.monotonic() - self._since

    def allowed_s(self, trial_timeout_s: float | None) -> float | None:
        """Seconds that it may take for what it does now; None for no limit.

        The timeout is a trial's: loading the data and the final training are waited for.
        """
        if not self.ready:
            return START_TIMEOUT_S
        if self.segment is None or self.segment.purpose in ("probe", "best", "baseline"):
            return None
        return trial_timeout_s

    def has_ended(self) -> bool:
        """Whether the process is gone and all its messages were read."""
        return self._process.poll() is not None and not self.connection.poll()

    def end(self, *, grace_s: float = 0.0) -> str:
        """Kill it if it is still alive after `grace_s` seconds, and what it has left running; how it ended, as a
        clause.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=grace_s)
        others = []
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP)  # it begins no more
            others = descendants(self._process.pid)
        with contextlib.suppress(ProcessLookupError):  # the code has ended the watchdog too
            os.killpg(self.group, signal.SIGKILL)
        self._process.kill()  # it may have gone to another group, which is not to be ended
        kill(others)
        code = self._ended()
        os.close(self._alive)
        self.connection.close()
        self._output.join(_DRAIN_S)
        return how_ended(code)

    def _ended(self) -> int | None:
        """Its exit code, once it was killed; None where the system does not let go of it."""
        try:
            return self._process.wait(timeout=_KILL_S)
        except subprocess.TimeoutExpired:
            return None

    def _send(self, message: WorkerSetup | Segment) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended: `receive` raises
            self.connection.send(message)


class _Output(threading.Thread):
    """Passes on what a worker prints, in a thread of its own: a worker must never wait for a driver that is busy."""

    def __init__(self, fd: int) -> None:
        super().__init__(daemon=True)
        self._fd = fd
        self._left = SHOWN_BYTES
        self._who = "the worker"
        self.start()

    def begin(self, segment: Segment) -> None:
        """From here on the output is this segment's."""
        self._left, self._who = SHOWN_BYTES, f"trial {segment.trial}"

    def run(self) -> None:
        with os.fdopen(self._fd, "rb", buffering=0) as words:
            while text := words.read(2**16):
                left, self._left = self._left, max(self._left - len(text), -1)
                if left < 0:
                    continue
                shown = text[:left]
                if len(text) > left:
                    shown += f"\n… what {self._who} prints after {SHOWN_BYTES:,} bytes is not shown\n".encode()
                with contextlib.suppress(OSError):  # nobody reads on, or its disk is full: the training does not care
                    sys.stderr.flush()
                    _write_all(2, shown)


def how_ended(code: int | None) -> str:
    """A process's end, as a clause. code: its exit code; the signal that ended it, negative; None: it has not.

    >>> how_ended(3), how_ended(-15)
    ('ended by itself (exit code 3)', 'was killed (SIGTERM)')
    """
    if code is None:
        return f"was killed (SIGKILL), and has not ended after {_KILL_S:g} s: the system holds it, for a disk perhaps"
    if code >= 0:
        return f"ended by itself (exit code {code})"
    if -code == signal.SIGKILL:
        return "was killed (SIGKILL), as the system does where memory runs out"
    return f"was killed ({signal.Signals(-code).name})"


def _write_all(fd: int, text: bytes) -> None:
    while text:
        text = text[os.write(fd, text) :]


def shape_of(segment: Segment, experiment: Experiment) -> Hashable:
    """What most likely distinguishes this segment's structure: every value but the floats, which are dials, and
    the batch size, for which XLA alone compiles anew.

    A guess that only decides which worker gets it; what is computed is the same in every one.
    """
    size = experiment.training.batch_size
    besides = size.name if isinstance(size, Ref) and not experiment.execution.xla else None
    return tuple(
        (name, value) for name, value in segment.values.items() if name != besides and not isinstance(value, float)
    )


def _start(
    *, socket_fd: int, data_fd: int, said_fd: int, watched_fd: int, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """A worker that leads a process group of its own, with a watchdog in it. environment: all of it."""
    folders = [folder or os.getcwd() for folder in sys.path]  # noqa: PTH109  # "": wherever the process is just then
    code = (
        f"import sys; sys.path[:] = {folders!r}; "
        f"from hptune.executors.watchdog import fork_watchdog; fork_watchdog({watched_fd}, {socket_fd}, {data_fd}); "
        f"from hptune.executors.serve import main; main({socket_fd})"
    )
    # Blocked across exec: a worker that is just starting would answer Ctrl-C with a traceback.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=said_fd,
            stderr=said_fd,
            pass_fds=(socket_fd, data_fd, watched_fd),
            env={"PYTHONHASHSEED": "0", **environment},  # a set has one order in all of them
            process_group=0,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
