"""Threads of the user's code that run on after it has ended: nothing can end them but the process's end."""

from __future__ import annotations

import os
import sched
import sys
import threading
import time
import traceback
from typing import NamedTuple

from hptune.base.own_files import is_own_file

_GRACE_S = 0.2
"""How long threads that have not ended with the code that began them are waited for."""

_LATER = (sched.__file__,)
"""Python's own code that waits, and runs the user's later."""


_BEGIN_S = 0.005
"""How long a thread may take from its start to its first line."""


class Running(NamedTuple):
    """The threads that run Python code, by their identities; and the number of all, libraries' native ones included."""

    python: frozenset[int]
    all: int


def running() -> Running:
    """The threads of this process at this moment. Outside Linux the number of all is 0."""
    return Running(frozenset(sys._current_frames()), _number())


def _number() -> int:
    try:
        return os.stat("/proc/self/task").st_nlink  # noqa: PTH116  # a fifth of what a Path costs
    except OSError:  # not Linux
        return 0


def busy_threads(before: Running) -> list[int]:
    """The threads that are not among those `before` and run the user's code; a pool that waits for work does not.

    Those too that `threading` does not know of.
    """
    until = time.monotonic() + _GRACE_S
    if _number() > before.all:
        time.sleep(_BEGIN_S)
    while (left := _busy(before.python)) and time.monotonic() < until:
        time.sleep(0.002)
    return left


def _busy(before: frozenset[int]) -> list[int]:
    frames = sys._current_frames()
    if before.issuperset(frames):
        return []
    timers = {thread.ident for thread in threading.enumerate() if isinstance(thread, threading.Timer)}
    # A timer waits in Python's own code, and will run the user's.
    return [
        ident for ident, frame in frames.items() if ident not in before and (ident in timers or _is_the_users(frame))
    ]


def _is_the_users(frame: object) -> bool:
    files = [caller.f_code.co_filename for caller, _ in traceback.walk_stack(frame)]  # type: ignore[arg-type]
    return any(is_own_file(file) or file == "<string>" or file in _LATER for file in files)


def lasting(threads: list[int]) -> bool:
    """Whether Python would wait for one of these threads at its end."""
    return any(thread.ident in threads and not thread.daemon for thread in threading.enumerate())
