"""The runs folder: the only place that spells a file name under it, finds a run in it, and writes whole files there.

runs/<name>/  spec.yaml  journal.jsonl  lock  trials/0007/  best/  report.html
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hptune.errors import RunError, nearest, spec_error


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The files of one run. Nothing is made on the disk before it is asked for by a function that says so.

    identity: the folder's device and inode, where `anchored` has taken them. Then what writes by these paths never
    makes the folder anew, nor writes to another in its place: asking for a path raises RunError.
    """

    root: Path
    identity: tuple[int, int] | None = None

    def anchored(self) -> RunPaths:
        """The same, for a process that writes: by whole paths, and in this very folder, where it is there."""
        root = self.root.absolute()
        return self if self.identity is not None else RunPaths(root, _identity(root))

    def _inside(self, *names: str) -> Path:
        if self.identity is not None and _identity(self.root) != self.identity:
            raise RunError(f"{self.root} is gone: the run's folder was deleted, moved or replaced while it was used.")
        return self.root.joinpath(*names)

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
    def clock(self) -> Path:
        """The search's time while it runs, and where it was cut off."""
        return self.root / "clock"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def data(self) -> Path:
        """What was decoded or unpacked of the data, to be read from the disk."""
        return self._inside("data")

    @property
    def trials(self) -> Path:
        return self._inside("trials")

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
        return self._inside("stabilized") / f"{architecture}-r{replica}.npz"

    def all_stabilized(self) -> list[Path]:
        """The stabilised weights that are on the disk."""
        return sorted(self.stabilized("any", 0).parent.glob("*"))

    def states(self, trial: int) -> list[Path]:
        """The states of a trial that are on the disk, those among them of which a killed process wrote a part."""
        return sorted(self.trial(trial).glob("state-*"))

    def trial_error(self, number: int) -> Path:
        """The traceback of what the trial's code raised."""
        return self.trial(number) / "error.txt"

    def trial_numbers(self) -> list[int]:
        """The trials that have a folder."""
        return sorted(int(folder.name) for folder in self.trials.glob("*") if folder.name.isdecimal())

    @property
    def best(self) -> Path:
        """What train-best writes."""
        return self._inside("best")

    @property
    def best_model(self) -> Path:
        return self.best / "model.keras"

    @property
    def best_weights(self) -> Path:
        """Of a model that Keras can't save whole."""
        return self.best / "model.weights.h5"

    @property
    def best_estimator(self) -> Path:
        """The best model, where it is scikit-learn's."""
        return self.best / "model.skops"

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


def _identity(folder: Path) -> tuple[int, int] | None:
    """Of a folder; None where there is none."""
    try:
        status = folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def list_runs(runs: Path) -> list[RunPaths]:
    """The runs in the folder `runs`, the newest (the one whose journal was written last) first."""
    found: list[tuple[float, RunPaths]] = []
    for folder in runs.iterdir() if runs.is_dir() else ():
        paths = RunPaths(folder)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # no run, or moved aside just now
            status = paths.journal.lstat()
            if stat.S_ISREG(status.st_mode):  # a link or a pipe is no journal
                found.append((status.st_mtime, paths))
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


def size_bytes(paths: RunPaths) -> int:
    """What a run's folder takes up on the disk; links are not followed."""
    total = 0
    for folder, _, files in os.walk(paths.root):
        for name in files:
            with contextlib.suppress(FileNotFoundError):  # just deleted by its search
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118  # ten times faster
    return total


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, as fsync has the bytes of a file. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that is there whole or not at all: temporary file, fsync, rename, fsync of the name. Makes its
    folder.

    Raises RunError where it can't be written; what stood there before then stays.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # two workers may write the same weights
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)  # of a process that was killed
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        try:
            with os.fdopen(fd, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            sync_folder(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)  # a full disk needs the room
            raise
    except OSError as error:
        raise RunError(
            f"{path} can't be written: {error.strerror or error}. Make room or give the right to write, then run the "
            "same command again."
        ) from error


@contextlib.contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """A file that the user has named, to write: links are followed, and it is there whole or not at all.

    What is no file (a terminal, a pipe, /dev/null) is written to as it is. Raises RunError.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        try:
            with path.open("wb") as file:
                yield file
        except OSError as error:
            raise RunError(f"{path} can't be written: {error.strerror}. Name another file.") from error
    else:
        with whole_file(path.resolve()) as file:
            yield file


def write_whole(path: Path, text: str) -> None:
    """Write a text file by `whole_file`, halves of surrogate pairs as \\udXXX, which JSON reads. Raises RunError."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
