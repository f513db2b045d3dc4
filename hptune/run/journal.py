"""The journal: an append-only file of JSON lines, one event each; the only truth about a run.

A line is whole or it is not there: a process that dies while it writes leaves a last line without its newline, which
readers skip and the next writer cuts off. Damage anywhere else is an error: each line ends with a checksum (`crc`,
CRC-32) over itself and the checksum of the line before it, which shows a changed digit as well as a line that is lost,
doubled or out of its place.

Numbers come back as they were written, to the bit. JSON has no spelling for those that are not finite; they are
written as `{"$float": "nan"}`, `"inf"` or `"-inf"`. (An object whose only key is `$float` itself gets another `$` in
front of the key, and so on.)
"""

from __future__ import annotations

import json
import math
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from pydantic_core import from_json

from hptune.base import files
from hptune.base.errors import RunError
from hptune.base.stopwatch import counts
from hptune.run.events import LAST_TIME_S

_Event = TypeVar("_Event", bound=Mapping[str, Any])

_TAG = "$float"
_TAG_READ = _TAG.encode()
_SPELT = ("nan", "inf", "-inf")
_LIKE_A_TAG = re.compile(r"\$+float")

_CRC = b',"crc":"%08x"}'
_CRC_READ = re.compile(rb',"crc":"([0-9a-f]{8})"}')
_CRC_BYTES = len(_CRC % 0)

SYNC_EVERY_S = 0.1
"""Seconds between two fsyncs at least: a power cut costs a tenth of a second's work, and short trials are not held up
by the disk. A process that is killed loses nothing either way."""


def encode(event: Mapping[str, Any], after: int = 0) -> bytes:
    r"""One line, newline included. after: the checksum of the line before it; 0 for the first.

    >>> encode({"event": "x", "loss": [0.1, float("nan")]})
    b'{"event":"x","loss":[0.1,{"$float":"nan"}],"crc":"6bff708e"}\n'
    """
    try:
        text = json.dumps(event, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        plain = f'{_TAG}"' not in text
    except ValueError:  # a number that is not finite: rare, so that the walk is too
        plain = False
    if not plain:
        text = json.dumps(_tagged(event), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    body = text.encode("utf-8", "surrogatepass")[:-1]
    return body + _CRC % zlib.crc32(body, after) + b"\n"


def checksum(line: bytes) -> int:
    """The checksum that a line ends with. Raises ValueError where it ends with none."""
    match = _CRC_READ.fullmatch(line.removesuffix(b"\n")[-_CRC_BYTES:])
    if match is None:
        raise ValueError("it has no checksum")
    return int(match[1], 16)


def decode(line: bytes, after: int = 0) -> dict[str, Any]:
    """The event on one line. Raises ValueError where it holds none, or another one than was written.

    after: the checksum of the line before it; 0 for the first.

    >>> decode(encode({"event": "x", "loss": float("-inf")}))
    {'event': 'x', 'loss': -inf}
    >>> decode(encode({"event": "x", "loss": 0.5}).replace(b"0.5", b"0.4"))
    Traceback (most recent call last):
    ValueError: its checksum does not fit
    """
    return _decode(line.removesuffix(b"\n"), after)[0]


def _decode(line: bytes, after: int) -> tuple[dict[str, Any], int]:
    """The event on a line without its newline, and the line's checksum."""
    body = line[:-_CRC_BYTES]
    crc = zlib.crc32(body, after)
    if line[-_CRC_BYTES:] != _CRC % crc:
        checksum(line)  # says so where there is none
        raise ValueError("its checksum does not fit")
    event = _parsed(body + b"}")
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise ValueError("no event")
    return event, crc


def _parsed(text: bytes) -> Any:
    """JSON data. Without tags it is read by a parser three times as fast as Python's, which has no hook for them."""
    if _TAG_READ in text:
        return _parsed_by_python(text)
    try:
        return from_json(text)
    except ValueError:  # half a surrogate pair, or damage: for Python's parser to say
        return _parsed_by_python(text)


def _parsed_by_python(text: bytes) -> Any:
    return json.loads(text.decode("utf-8", "surrogatepass"), object_hook=_untagged)


def read(
    path: Path, check: Callable[[Mapping[str, Any]], None] = lambda _: None, *, below: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Every whole event, in order. below: the folder from which on no link is followed.

    check: raises ValueError for an event that can't be used. Raises RunError where the file can't be read,
    or where a line is damaged; a last line without its newline was cut short, and is passed over.
    """
    after = 0
    for number, line in enumerate(_content(path, below).split(b"\n")[:-1], start=1):
        try:
            event, after = _decode(line, after)
            check(event)
        except (ValueError, RecursionError) as error:  # the second: brackets, a thousand deep
            why = str(error) if not isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else "it is no JSON"
            raise RunError(
                f"{path}:{number}: the journal is damaged here: a line must hold one JSON event, got {line[:40]!r} "
                f"({why}). Remove this line and those after it (what they tell is then trained again), "
                "or begin anew with `hptune search CONFIG --fresh`."
            ) from error
        yield event


def _content(path: Path, below: Path | None) -> bytes:
    """The bytes of a journal, which is a file of its own: no link to another, no pipe, no device. Raises RunError."""
    try:
        return files.read_bytes(path, below=below)
    except FileNotFoundError as error:
        raise RunError(f"{path} can't be read: {error.strerror}. Check the run's folder.") from error


LOOK_EVERY_S = 1.0
"""The most seconds until a deleted file is noticed."""

_GONE = (
    "it, or the run's folder, was deleted, moved or replaced meanwhile. Nothing more can be recorded, and nothing was "
    "made in its place. Put it back, or begin anew with the same command where it is lost."
)


class Journal:
    """The one writer of a journal; whoever makes it holds the run's lock."""

    def __init__(self, path: Path, *, below: Path | None = None) -> None:
        """Opens `path` for appending, made if missing; a torn last line is cut off. Raises RunError.

        below: the folder from which on no link is followed.
        """
        self.path = path
        self._there = path.absolute()
        self._owed = False
        try:
            self._fd = files.open_descriptor(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, below=below)
            lines = _read_all(self._fd).split(b"\n")[:-1]
            self._last = checksum(lines[-1]) if lines else 0
            self._size = sum(map(len, lines)) + len(lines)
            os.ftruncate(self._fd, self._size)
            self.sync()  # what a process wrote that was killed may be in memory alone, the names of the file too
            for folder in path.parents[:2]:
                files.sync_folder(folder)
        except OSError as error:
            raise self._write_error(error) from error
        except ValueError as error:
            os.close(self._fd)
            raise RunError(f"{path}:{len(lines)}: the journal is damaged here: {error}.") from error

    @counts("journal")
    def append(self, event: _Event, *, durable: bool = True) -> _Event:
        """Write `event` with the time (seconds since 1970, UTC) and return what was written. Raises RunError.

        durable: on disk when this returns, unless the last fsync was less than SYNC_EVERY_S ago; one is then owed and
        due within `look_s`. An event that a resumed run would write again need not be durable.
        """
        now = min(max(time.time(), 0.0), float(LAST_TIME_S))  # a clock may stand anywhere
        timed = {"event": event["event"], "time": round(now, 3), **event}
        line = encode(timed, self._last)
        self.check()
        try:
            written = os.write(self._fd, line)
            while written < len(line):  # the next write says why
                written += os.write(self._fd, line[written:])
            self._size += len(line)
            self._last = checksum(line)
        except OSError as error:
            raise self._write_error(error) from error
        self._owed |= durable
        if durable and self.due_s() == 0.0:
            self.sync()
        return cast(_Event, timed)

    def check(self) -> None:
        """Raises RunError unless the file is as this process left it."""
        try:
            ours, there = os.fstat(self._fd), self._there.lstat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RunError(f"{self.path} is gone: {_GONE}") from error
        except OSError as error:
            raise self._write_error(error) from error
        if not os.path.samestat(ours, there):
            raise RunError(f"{self.path} is another file now: {_GONE}")
        if ours.st_size < self._size:
            raise RunError(
                f"{self.path} was cut short while this process was writing it, from {self._size:,} bytes to "
                f"{ours.st_size:,}. Put a whole copy of it in its place, or begin anew with --fresh."
            )
        if ours.st_size > self._size:
            raise RunError(
                f"{self.path} was written by another process while this one was searching (on another machine, "
                "perhaps, whose lock the file system does not show here). End one of them, then run this again."
            )

    def due_s(self) -> float | None:
        """Seconds until an owed fsync is due; None where none is owed."""
        return max(self._synced_at + SYNC_EVERY_S - time.monotonic(), 0.0) if self._owed else None

    def look_s(self) -> float:
        """Seconds after which a caller that waits for something else calls `sync`: for an owed fsync, or to see whether
        the file is still there.
        """
        due_s = self.due_s()
        return LOOK_EVERY_S if due_s is None else due_s

    def sync(self) -> None:
        """Everything is on disk when this returns. Raises RunError, also where the file is gone."""
        self.check()
        self._sync()

    def _sync(self) -> None:
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._write_error(error) from error
        self._synced_at = time.monotonic()
        self._owed = False

    def close(self) -> None:
        """Everything is on the disk when this returns. Raises RunError."""
        try:
            self._sync()
        finally:
            os.close(self._fd)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _write_error(self, error: OSError) -> RunError:
        return RunError(
            f"{self.path} can't be written: {error.strerror}. What it holds stays; make room or give the right to "
            "write, then run the same command again."
        )


def _read_all(fd: int) -> bytes:
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        return file.read()


def _tagged(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_TAG: repr(value)}
    if isinstance(value, Mapping):
        more = "$" if _is_like_a_tag(value) else ""
        return {more + key if more else key: _tagged(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(inner) for inner in value]
    return value


def _untagged(value: dict[str, Any]) -> Any:
    if not _is_like_a_tag(value):
        return value
    ((key, inner),) = value.items()
    if key != _TAG:
        return {key[1:]: inner}
    if inner not in _SPELT:
        raise ValueError(f"{_TAG} must be one of {', '.join(_SPELT)}")
    return float(inner)


def _is_like_a_tag(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and _LIKE_A_TAG.fullmatch(str(next(iter(value)))) is not None
