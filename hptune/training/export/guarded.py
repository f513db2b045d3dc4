"""What a stranger's estimator may not do while it is loaded and predicts, whatever it is made of.

Python tells what a program is about to do (PEP 578, audit events). Estimators that only compute unpickle nothing, write
to no file, begin no process and talk to nobody; whatever leads one there, joblib's caches for example, is ended by it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_PROCESSES = "os.system os.exec os.fork os.forkpty os.posix_spawn os.spawn subprocess.Popen pty.spawn"
_NETWORK = "socket.connect socket.bind socket.getaddrinfo socket.sendto"
_FILES = (
    "os.mkdir os.rename os.link os.symlink os.truncate os.chmod os.chown os.remove os.rmdir shutil.rmtree shutil.move"
)
_REFUSED = {
    "pickle.find_class": "unpickles",
    **dict.fromkeys(_PROCESSES.split(), "begins a process"),
    **dict.fromkeys(_NETWORK.split(), "uses the network"),
    **dict.fromkeys(_FILES.split(), "writes"),
}
"""By the audit event, what is told of it."""

_inside = 0


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """What unpickles, writes, begins a process or uses the network gets a PermissionError meanwhile, in any thread.

    joblib's workers are threads in it: a process of its own would not be looked at.
    """
    global _inside
    _install()
    import joblib  # type: ignore[import-untyped]

    joblib.cpu_count(only_physical_cores=True)  # begins a process once, and remembers
    _inside += 1
    try:
        with joblib.parallel_config(backend="threading"):
            yield
    finally:
        _inside -= 1


@cache
def _install() -> None:
    """Once for the process: such a hook can't be taken away."""
    sys.addaudithook(_look)


def _look(event: str, given: tuple[Any, ...]) -> None:
    if not _inside:
        return
    told = _REFUSED.get(event)
    if event == "open" and isinstance(given[2], int) and given[2] & _WRITING:
        told = "writes"
    if told is not None:
        raise PermissionError(f"it {told} as it predicts, which no estimator needs ({event})")
