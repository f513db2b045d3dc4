"""A run's lock: one process at a time writes to a run.

The kernel holds it (flock), so that it is free as soon as its holder is gone, however that went. The file's text says
who holds it: the process, when that began, the machine and its boot. It is wiped when the lock is given back, so a text
that is found there was left by a process that was killed, or by one on a machine whose lock can't be seen here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hptune.base import files
from hptune.base.errors import RunError
from hptune.run.rundir import RunPaths, drop_unfinished

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a lock. began: clock ticks from the boot to its start; boot, began: "" where not known."""

    pid: int
    host: str
    boot: str
    began: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


def this_process() -> Holder:
    """What the lock file is to say while this process holds the lock."""
    return Holder(
        os.getpid(), socket.gethostname(), _boot(), _start_ticks(os.getpid()), time.strftime("%Y-%m-%d %H:%M:%S")
    )


@contextlib.contextmanager
def locked(paths: RunPaths) -> Iterator[str | None]:
    """Hold the run's lock, and say who left it behind, if anybody did. Makes the run's folder, and deletes there what
    killed processes were just writing.

    Raises RunError where another process holds it, or where something else stands in the folder's or the lock's place.
    """
    new = not os.path.lexists(paths.root)
    fd, left = _locked_file(paths)
    try:
        try:
            drop_unfinished(paths)
            yield left
        finally:
            with contextlib.suppress(OSError):  # the folder, or its disk, may be gone
                os.ftruncate(fd, 0)
            if new:
                _drop_unbegun(paths, fd)
    finally:
        os.close(fd)


def _drop_unbegun(paths: RunPaths, fd: int) -> None:
    """Delete a folder that was made for a spec or data that can't be used.

    fd: the lock's. A folder that has replaced ours is not touched, and one whose journal was deleted (its spec.yaml is
    older) keeps the rest.
    """
    with contextlib.suppress(RunError, OSError):  # what is raised already is the reason
        begun = any(files.is_file(file, below=paths.runs) for file in (paths.spec, paths.journal))
        if _is_at(fd, paths.lock) and not begun:
            files.remove(paths.data, below=paths.runs)
            files.remove(paths.lock, below=paths.runs)
            files.remove_if_empty(paths.root, below=paths.runs)


class _Moved(Exception):
    """The lock file is no longer where it was opened: its folder was moved aside, or deleted, by who held it."""


def _locked_file(paths: RunPaths) -> tuple[int, str | None]:
    """The lock's open file, locked, in the run's folder, which is made; and who left it behind."""
    for _ in range(_TRIES):
        try:
            with files.opened(paths.root, below=paths.runs, make=True):
                fd = files.open_descriptor(paths.lock, os.O_RDWR | os.O_CREAT, below=paths.runs)
        except OSError as error:
            raise RunError(
                f"{paths.root} can't be written: {error.strerror}. Name another folder with --runs-dir."
            ) from error
        try:
            return fd, _lock(fd, paths)
        except _Moved:
            os.close(fd)
        except BaseException:
            os.close(fd)
            raise
    raise RunError(f"{paths.root} is moved or deleted again and again by other processes. Wait for them to end.")


_TRIES = 20


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False


def _lock(fd: int, paths: RunPaths) -> str | None:
    """Lock the open lock file and write into it who holds it; who left it behind. Raises RunError, and _Moved."""
    holder = _read(fd)
    in_use = f"{paths.root} is in use by {holder or 'another process'}. Wait for it to end, or stop it."
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(in_use) from error
    except OSError as error:
        raise RunError(
            f"{paths.lock} can't be locked: {error.strerror}. Name a folder elsewhere with --runs-dir."
        ) from error
    if not _is_at(fd, paths.lock):  # a lock on it would keep nobody out
        raise _Moved
    me = this_process()
    left = _left_behind(holder, me)
    if left is None and holder is not None:  # alive, and the kernel knows of no lock: the file system has none
        raise RunError(in_use)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(asdict(me)).encode(), 0)
    except OSError as error:
        raise RunError(f"{paths.lock} can't be written: {error.strerror}. Make room there.") from error
    return left


def _left_behind(holder: Holder | None, me: Holder) -> str | None:
    """Why the lock that `holder` did not give back is taken over, in a sentence; None where it is alive, or nobody."""
    if holder is None:
        return None
    if holder.host != me.host:
        return (
            f"the lock was left by {holder}, another machine: it is taken for ended, since the file system shows no "
            "lock of it. Should it still search here, the first of both that notices the other stops."
        )
    if holder.boot != me.boot:
        return f"the lock was left by {holder}, before this machine was started anew."
    if holder.began == "" or _start_ticks(holder.pid) != holder.began:
        return f"the lock was left by {holder}, which was killed."
    return None if holder.pid != me.pid else f"the lock was left by {holder}, which is this process."


def _read(fd: int) -> Holder | None:
    """Who stands in the lock file; None where nobody does, or where it can't be read."""
    try:
        data = json.loads(os.pread(fd, 1000, 0))
        holder = Holder(**{"boot": "", "began": "", **data})
    except (ValueError, TypeError, RecursionError):
        return None
    fields = (holder.host, holder.boot, holder.began, holder.since)
    return holder if type(holder.pid) is int and all(isinstance(field, str) for field in fields) else None


def _boot() -> str:
    return _BOOT.read_text().strip() if _BOOT.exists() else ""


def _start_ticks(pid: int) -> str:
    """When a process began, in clock ticks since the boot; "" where there is none, or where the system doesn't tell."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]


def move_aside(paths: RunPaths) -> Path | None:
    """Move a run out of the way, to `name.1`, `name.2`, …; the new place, or None where there was no run.

    Raises RunError where a process is using it.
    """
    if not files.is_file(paths.journal, below=paths.runs):
        return None
    with locked(paths):
        number = 1
        while os.path.lexists(aside := paths.root.with_name(f"{paths.name}.{number}")):
            number += 1
        files.rename_folder(paths.root, aside, below=paths.runs)
    return aside
