"""The time of a search: how long trials could run, summed over its sittings.

A sitting's time begins when its first segment is submitted: loading libraries and data, before the first trial and on
resume, does not count. Every event of the journal holds the time so far. A thread also writes it to a file beside the
journal while the search runs, so that a kill loses little of it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import zlib
from pathlib import Path

from hptune.base import files
from hptune.base.errors import RunError

BEAT_S = 0.5
"""Seconds between two writes at first."""

BEAT_SHARE = 0.001
"""Later, writes are this share of the search's time apart: the most that a kill loses."""

_MOST_BEAT_S = 3600.0
"""The most seconds between two writes, however long the journal says that the search has lasted."""

LONGEST_S = 100 * 366 * 86_400.0
"""A hundred years, more than any search lasts: a file that holds more is ignored."""

_LINE = "{:19.3f} {:08x}\n"
"""The seconds, and the checksum (CRC-32) of their text: always as many bytes, so that each write replaces the last."""


class Clock:
    """Stands still until `start`. path: where the time is written; deleted once the journal holds the time."""

    def __init__(self, path: Path, journalled_s: float, *, below: Path) -> None:
        """journalled_s: the seconds of the sittings before, as the journal has them.

        below: the folder from which on no link is followed. Raises RunError where something that is no file stands at
        `path`.
        """
        self._path, self._below = path, below
        self._fd: int | None = None
        self._before_s = self._elapsed_s = max(journalled_s, _written(path, below))
        self._since: float | None = None
        self._stopped = threading.Event()
        self._beating: threading.Thread | None = None

    def start(self) -> None:
        """Start the clock, unless it runs already."""
        if self._since is None:
            self._since = time.monotonic()
            self._write()
            self._beating = threading.Thread(target=self._beat, daemon=True)
            self._beating.start()

    def seconds(self) -> float:
        """The seconds so far, over all sittings."""
        if self._since is not None:  # never less than before: a clock may be set back
            self._elapsed_s = max(self._elapsed_s, self._before_s + time.monotonic() - self._since)
        return round(self._elapsed_s, 3)

    def close(self, *, journalled: bool) -> None:
        """End the sitting. journalled: whether the journal's last event holds the time; else the file keeps it."""
        self._stopped.set()
        if self._beating is not None:
            self._beating.join()
            self._write()
        if self._fd is not None:
            os.close(self._fd)
        if journalled:
            with contextlib.suppress(RunError):  # it holds no more than the journal does
                files.remove(self._path, below=self._below)

    def _beat(self) -> None:
        while not self._stopped.wait(min(max(BEAT_S, BEAT_SHARE * self.seconds()), _MOST_BEAT_S)):
            self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError, RunError):  # no room for it: the journal's time will do
            if self._fd is None:  # opened once: never in another folder that takes the place of the run's
                with files.whole_file(self._path, below=self._below) as new:  # a file of its own, with no other name
                    new.write(_line(self.seconds()))
                self._fd = files.open_descriptor(self._path, os.O_WRONLY, below=self._below)
            os.pwrite(self._fd, _line(self.seconds()), 0)
            os.fsync(self._fd)


def _line(seconds: float) -> bytes:
    return _LINE.format(seconds, zlib.crc32(f"{seconds:.3f}".encode())).encode()


def _written(path: Path, below: Path) -> float:
    """The seconds in the file of a search that was killed; 0 where there is no file, or no valid time in it."""
    try:
        with files.open_file(path, below=below) as file:
            line = file.read(len(_line(0.0)))
            seconds = float(line.split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return seconds if 0 < seconds <= LONGEST_S and _line(seconds) == line else 0.0
