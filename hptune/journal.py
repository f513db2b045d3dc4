"""The journal: an append-only file of JSON lines, one event each; the only truth about a run.

A line is whole or it is not there: a process that dies while it writes leaves a last line without its newline, which
readers pass over and the next writer cuts off. Damage anywhere else is never guessed around.

Numbers come back as they were written, to the bit. JSON has no spelling for those that are not finite; they are
written as `{"$float": "nan"}`, `"inf"` or `"-inf"`.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from hptune.errors import RunError
from hptune.stopwatch import counts

_TAG = "$float"

SYNC_EVERY_S = 0.1
"""Seconds between two fsyncs at least: a power cut costs a tenth of a second's work, and short trials are not held up
by the disk. A process that is killed loses nothing either way."""


def encode(event: Mapping[str, Any]) -> bytes:
    """One line, newline included.

    >>> encode({"event": "x", "loss": [0.1, float("nan")]})
    b'{"event":"x","loss":[0.1,{"$float":"nan"}]}\\n'
    """
    try:
        text = json.dumps(event, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    except ValueError:  # a number that is not finite: rare, so that the walk is too
        text = json.dumps(_tagged(event), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The event on one line. Raises ValueError where it holds none.

    >>> decode(encode({"event": "x", "loss": float("-inf")}))
    {'event': 'x', 'loss': -inf}
    """
    text = line.decode("utf-8", "surrogatepass")
    event = json.loads(text, object_hook=_untagged) if _TAG in text else json.loads(text)
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise ValueError("no event")
    return event


def read(path: Path, check: Callable[[Mapping[str, Any]], None] = lambda _: None) -> Iterator[dict[str, Any]]:
    """Every whole event, in order.

    check: raises ValueError for an event that can't be made anything of. Raises RunError where the file can't be read,
    or where a line is damaged; a last line without its newline was cut short, and is passed over.
    """
    for number, line in enumerate(_content(path).split(b"\n")[:-1], start=1):
        try:
            event = decode(line)
            check(event)
        except (ValueError, RecursionError) as error:  # the second: brackets, a thousand deep
            why = str(error) if not isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else "it is no JSON"
            raise RunError(
                f"{path}:{number}: the journal is damaged here: a line must hold one JSON event, got {line[:40]!r} "
                f"({why}). Remove this line and those after it (what they tell is then trained again), "
                "or begin anew with `hptune search CONFIG --fresh`."
            ) from error
        yield event


def _content(path: Path) -> bytes:
    """The bytes of a journal, which is a file of its own: no link to another, no pipe, no device. Raises RunError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "it is no file")
            return file.read()
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise RunError(f"{path} can't be read: {why}. Check the run's folder.") from error


class Journal:
    """The one writer of a journal; whoever makes it holds the run's lock."""

    def __init__(self, path: Path) -> None:
        """Opens `path` for appending, made if missing; a torn last line is cut off. Raises RunError."""
        self.path = path
        try:
            new = not path.exists()
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            self._size = path.read_bytes().rfind(b"\n") + 1
            os.ftruncate(self._fd, self._size)
            self._synced_at = -math.inf
            if new:  # that the file is there must outlive a power cut too
                sync_folder(path.parent)
        except OSError as error:
            raise self._broken(error) from error

    @counts("journal")
    def append(self, event: Mapping[str, Any], *, durable: bool = True) -> dict[str, Any]:
        """Write `event` with the time (seconds since 1970, UTC) and return what was written. Raises RunError.

        durable: on the disk when this returns, unless the last fsync was less than SYNC_EVERY_S ago. An event that a
        resumed run would write again can do without.
        """
        timed = {"event": event["event"], "time": round(time.time(), 3), **event}
        line = encode(timed)
        try:
            if os.fstat(self._fd).st_size != self._size:
                raise RunError(
                    f"{self.path} was written by another process while this one was searching (on another machine, "
                    "perhaps, whose lock the file system does not show here). End one of them, then run this again."
                )
            if os.write(self._fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size += len(line)
            if durable and time.monotonic() - self._synced_at >= SYNC_EVERY_S:
                self._sync()
        except OSError as error:
            raise self._broken(error) from error
        return timed

    def close(self) -> None:
        """Everything is on the disk when this returns. Raises RunError."""
        try:
            self._sync()
        except OSError as error:
            raise self._broken(error) from error
        finally:
            os.close(self._fd)

    def _sync(self) -> None:
        os.fsync(self._fd)
        self._synced_at = time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _broken(self, error: OSError) -> RunError:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        return RunError(
            f"{self.path} can't be written: {why}. What it holds stays; make room or give the right to "
            "write, then run the same command again."
        )


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, as fsync has the bytes of a file. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _tagged(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_TAG: repr(value)}
    if isinstance(value, Mapping):
        return {key: _tagged(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(inner) for inner in value]
    return value


def _untagged(value: dict[str, Any]) -> Any:
    return float(value[_TAG]) if list(value) == [_TAG] else value
