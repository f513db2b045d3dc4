"""The processes that a process has started, also those in another process group.

A process in a session of its own is left alone: that is how a process asks to live on.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

_MOST = 10_000
"""The most processes that are looked at: one that starts others faster than they are found must not hold us up."""


def descendants(process: int) -> list[int]:
    """Its children, and theirs, of our own session; none where the system doesn't say.

    process: it must not have been waited for, else its number may be another's.
    """
    family = [process]
    for member in family:
        if len(family) > _MOST:
            break
        family += [child for child in _children(member) if child not in family]
    return [member for member in family[1:] if _session(member) == os.getsid(0)]


def _children(process: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        for thread in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208  # in the watchdog, which loads little
            with open(f"/proc/{process}/task/{thread}/children", encoding="ascii") as file:  # noqa: PTH123
                children += map(int, file.read().split())
    return children


def _session(process: int) -> int | None:
    try:
        return os.getsid(process)
    except OSError:
        return None


def kill(processes: Iterable[int]) -> None:
    """Send SIGKILL to each process id. One that is gone, or that belongs to somebody else, is skipped."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
