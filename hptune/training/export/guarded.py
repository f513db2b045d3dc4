"""What an estimator from a file may not do while it is loaded and predicts, whatever it is made of.

Python announces what a program is about to do (PEP 578, audit events). An estimator that only computes unpickles
nothing, writes no file, begins no process and uses no network; one that would, say by joblib's caches, is stopped.
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
"""Audit event -> the verb for it in the message."""

_inside = 0


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Within the block, unpickling, writing, beginning a process or using the network raises PermissionError.

    This holds in any thread. joblib's workers are threads here, since another process would not be watched.
    """
    global _inside
    _install()
    import joblib  # type: ignore[import-untyped]

    joblib.cpu_count(only_physical_cores=True)  # begins a process once, and caches the result
    _inside += 1
    try:
        with joblib.parallel_config(backend="threading"):
            yield
    finally:
        _inside -= 1


@cache
def _install() -> None:
    """Install the hook, once per process: it can't be removed."""
    sys.addaudithook(_look)


def _look(event: str, args: tuple[Any, ...]) -> None:
    if not _inside:
        return
    action = _REFUSED.get(event)
    if event == "open" and isinstance(args[2], int) and args[2] & _WRITING:
        action = "writes"
    if action is not None:
        raise PermissionError(f"it {action} as it predicts, which no estimator needs ({event})")
