"""The runs folder: the only place that spells a file name under it, finds a run in it, and locks one.

runs/<name>/  spec.yaml  journal.jsonl  lock  trials/0007/  best/  report.html
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hptune.errors import RunError, nearest, spec_error


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The files of one run. Nothing is made on the disk before it is asked for by a function that says so."""

    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def spec(self) -> Path:
        """The YAML as given."""
        return self.root / "spec.yaml"

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    def trial(self, number: int) -> Path:
        return self.trials / f"{number:04d}"

    def state(self, trial: int, replica: int, epochs: int) -> Path:
        """A trial's state between two segments: replica `replica` after `epochs` epochs.

        >>> RunPaths(Path("runs/digits")).state(7, 0, 3).as_posix()
        'runs/digits/trials/0007/state-r0-e003.npz'
        """
        return self.trial(trial) / f"state-r{replica}-e{epochs:03d}.npz"

    def stabilized(self, architecture: str, replica: int) -> Path:
        """The weights that the trials of one architecture start from."""
        return self.root / "stabilized" / f"{architecture}-r{replica}.npz"

    def all_stabilized(self) -> list[Path]:
        """The stabilised weights that are on the disk."""
        return sorted(self.stabilized("any", 0).parent.glob("*"))

    def states(self, trial: int) -> list[Path]:
        """The states of a trial that are on the disk."""
        return sorted(self.trial(trial).glob("state-*.npz"))

    def trial_error(self, number: int) -> Path:
        """The traceback of what the trial's code raised."""
        return self.trial(number) / "error.txt"

    def trial_numbers(self) -> list[int]:
        """The trials that have a folder."""
        return sorted(int(folder.name) for folder in self.trials.glob("*") if folder.name.isdecimal())

    @property
    def best(self) -> Path:
        """What train-best writes."""
        return self.root / "best"

    @property
    def best_model(self) -> Path:
        return self.best / "model.keras"

    def best_as(self, format_name: str) -> Path:
        """The best model in another format than Keras's own: a folder for a SavedModel, else a file."""
        return self.best / (format_name if format_name == "savedmodel" else f"model.{format_name}")

    @property
    def best_signature(self) -> Path:
        """What the best model takes and gives."""
        return self.best / "signature.json"

    @property
    def best_result(self) -> Path:
        return self.best / "result.json"

    @property
    def best_history(self) -> Path:
        return self.best / "history.csv"


def list_runs(runs: Path) -> list[RunPaths]:
    """The runs in the folder `runs`, the newest (the one whose journal was written last) first."""
    found: list[tuple[float, RunPaths]] = []
    for folder in runs.iterdir() if runs.is_dir() else ():
        paths = RunPaths(folder)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # no run, or moved aside just now
            found.append((paths.journal.stat().st_mtime, paths))
    return [paths for _, paths in sorted(found, key=lambda run: (-run[0], run[1].name))]


def find_run(runs: Path, name: str | None = None) -> RunPaths:
    """The run called `name`, or the newest. Raises SpecError where there is none."""
    known = list_runs(runs)
    if not known:
        raise spec_error(f"no run in {runs}/. Make one with `hptune search CONFIG`, or name another --runs-dir.")
    if name is None:
        return known[0]
    for paths in known:
        if paths.name == name:
            return paths
    names = [paths.name for paths in known]
    close = nearest(name, names)
    meant = f"; did you mean {close!r}?" if close is not None else "."
    more = f", and {len(names) - 12} more" if len(names) > 12 else ""
    raise spec_error(f"--run: no run {name!r} in {runs}/{meant} Known, newest first: {', '.join(names[:12])}{more}.")


@contextlib.contextmanager
def locked(paths: RunPaths) -> Iterator[None]:
    """Hold the run's lock: one process at a time writes to a run. Makes the run's folder.

    The kernel holds the lock (flock), so that it is free as soon as its holder is gone, however it went; the file's
    text only says who that is. Raises RunError where another process holds it.
    """
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        fd = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RunError(
            f"{paths.root} can't be written: {error.strerror}. Name another folder with --runs-dir."
        ) from error
    try:
        _take(fd, paths)
        try:
            yield
        finally:
            if not paths.journal.exists():  # a spec or data that can't be used leaves nothing behind
                with contextlib.suppress(OSError):
                    paths.lock.unlink()
                    paths.root.rmdir()
    finally:
        os.close(fd)


def _take(fd: int, paths: RunPaths) -> None:
    """Lock the open lock file, and write into it who holds it. Raises RunError where another process does."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(f"{paths.root} is in use by {_holder(fd)}. Wait for it to end, or stop it.") from error
    os.ftruncate(fd, 0)
    who = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    os.pwrite(fd, json.dumps(who).encode(), 0)


def _holder(fd: int) -> str:
    try:
        who = json.loads(os.pread(fd, 1000, 0))
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (ValueError, KeyError):  # it has the lock and has not said who it is yet
        return "another process"


def move_aside(paths: RunPaths) -> Path | None:
    """Move a run out of the way, to `name.1`, `name.2`, …; the new place, or None where there was no run.

    Raises RunError where a process is using it.
    """
    if not paths.journal.exists():
        return None
    with locked(paths):
        number = 1
        while (aside := paths.root.with_name(f"{paths.name}.{number}")).exists():
            number += 1
        paths.root.rename(aside)
    return aside


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all: temporary file, fsync, rename. Raises RunError."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise RunError(f"{path} can't be written: {error.strerror}. Make room, or give the right to write.") from error
