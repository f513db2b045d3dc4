"""The runs folder: the only place that spells a file name under it and finds a run in it.

runs/<name>/  spec.yaml  journal.jsonl  lock  trials/0007/  best/  report.html
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from hptune.base import files
from hptune.base.errors import RunError, nearest, spec_error

CACHED = ("images-", "array-", "table-")
"""How the names in a run's `data/` begin."""


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The files of one run. Nothing is made on the disk before it is asked for by a function that says so.

    winner: the folder in which train-best's files are written and looked for; `best`, but while they are being made.
    identity: the folder's device and inode, once `anchored`. Asking for a path then raises RunError where the folder is
    gone or replaced, so that nothing is written to another one in its place.
    """

    root: Path
    winner: str = "best"
    identity: tuple[int, int] | None = None

    def anchored(self) -> RunPaths:
        """The same, for a process that writes: by whole paths, and in this very folder, where it is there."""
        root = self.root.absolute()
        return self if self.identity is not None else replace(self, root=root, identity=_identity(root))

    def _inside(self, *names: str) -> Path:
        if self.identity is not None and _identity(self.root) != self.identity:
            raise RunError(f"{self.root} is gone: the run's folder was deleted, moved or replaced while it was used.")
        return self.root.joinpath(*names)

    @property
    def runs(self) -> Path:
        """The folder from which on no link is followed: `below` of every function of `files`."""
        return self.root.parent

    @property
    def name(self) -> str:
        """The run's name, which is that of its folder."""
        return self.root.name

    @property
    def spec(self) -> Path:
        """The YAML as given."""
        return self.root / "spec.yaml"

    @property
    def journal(self) -> Path:
        """The append-only record of everything that happened."""
        return self.root / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """The file that the one process writing to the run holds locked."""
        return self.root / "lock"

    @property
    def clock(self) -> Path:
        """The search's time while it runs, and after it was killed."""
        return self.root / "clock"

    @property
    def report(self) -> Path:
        """The HTML page that `hptune report` writes."""
        return self.root / "report.html"

    @property
    def trials_table(self) -> Path:
        """`track: {csv: true}`: a row for each trial."""
        return self.root / "trials.csv"

    @property
    def epochs_table(self) -> Path:
        """`track: {csv: true}`: a row for each epoch."""
        return self.root / "epochs.csv"

    @property
    def data(self) -> Path:
        """What was decoded or unpacked of the data, to be read from the disk."""
        return self._inside("data")

    @property
    def trials(self) -> Path:
        """The folder of the trials' states. Raises RunError where the run's folder is gone."""
        return self._inside("trials")

    def trial(self, number: int) -> Path:
        """The folder of one trial: its number with at least four digits."""
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
        folder = self.stabilized("any", 0).parent
        return [folder / name for name in files.names(folder, below=self.runs)]

    def states(self, trial: int) -> list[Path]:
        """The states of a trial that are on the disk, those among them of which a killed process wrote a part."""
        folder = self.trial(trial)
        return [folder / name for name in files.names(folder, below=self.runs) if name.startswith("state-")]

    def trial_error(self, number: int) -> Path:
        """The traceback of what the trial's code raised."""
        return self.trial(number) / "error.txt"

    def trial_numbers(self) -> list[int]:
        """The trials that have a folder."""
        return sorted(int(name) for name in files.names(self.trials, below=self.runs) if name.isdecimal())

    @property
    def best(self) -> Path:
        """What train-best writes."""
        return self._inside(self.winner)

    @property
    def aside(self) -> RunPaths:
        """The same run, whose winner is written beside `best/`: it goes into its place when it is whole."""
        return replace(self, winner="tmp-best")

    @property
    def replaced(self) -> Path:
        """Where the old `best/` stands while the new one goes into its place, if the system can't exchange them."""
        return self.root / "tmp-replaced"

    def in_place(self, path: Path) -> Path:
        """Where a file of the winner lies when it is whole."""
        return self.root / "best" / path.relative_to(self.best)

    @property
    def best_model(self) -> Path:
        """The winner as Keras saves it."""
        return self.best / "model.keras"

    @property
    def best_weights(self) -> Path:
        """Of a model that Keras can't save whole."""
        return self.best / "model.weights.h5"

    @property
    def best_estimator(self) -> Path:
        """The best model, where it is scikit-learn's."""
        return self.best / "model.skops"

    @property
    def winners(self) -> tuple[Path, Path, Path]:
        """The files that may hold the best model; one of them is there."""
        return self.best_estimator, self.best_model, self.best_weights

    def best_as(self, format_name: str) -> Path:
        """The best model in another format than Keras's own: a folder for a SavedModel, else a file."""
        return self.best / (format_name if format_name == "savedmodel" else f"model.{format_name}")

    @property
    def best_signature(self) -> Path:
        """What the best model takes and gives."""
        return self.best / "signature.json"

    @property
    def best_result(self) -> Path:
        """What train-best found: the winner, its figures on the test part, and those of the baseline."""
        return self.best / "result.json"

    @property
    def best_history(self) -> Path:
        """The winner's curves, epoch by epoch."""
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
    dated: list[tuple[float, RunPaths]] = []
    for folder in runs.iterdir() if runs.is_dir() else ():
        paths = RunPaths(folder)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # no run, or moved aside just now
            status = paths.journal.lstat()
            if stat.S_ISREG(status.st_mode):  # a link or a pipe is no journal
                dated.append((status.st_mtime, paths))
    return [paths for _, paths in sorted(dated, key=lambda run: (-run[0], run[1].name))]


def find_run(runs: Path, name: str | None = None) -> RunPaths:
    """The run called `name`, or the newest. Raises SpecError where there is none, RunError where something else stands
    in the place of its journal.
    """
    known = list_runs(runs)
    if name is not None and name in files.names(runs):
        with contextlib.suppress(OSError):  # no journal, or none that can be read: no run
            files.open_file(RunPaths(runs / name).journal, below=runs).close()
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
    for folder, _, inside in os.walk(paths.root):
        for name in inside:
            with contextlib.suppress(FileNotFoundError):  # just deleted by its search
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118  # ten times faster
    return total


def drop_unfinished(paths: RunPaths) -> None:
    """Delete what was just being written by a process that was killed. For the holder of the lock, while nothing runs.

    Raises RunError.
    """
    files.restore_folder(paths.best, paths.replaced, below=paths.runs)
    parts = [folder / name for folder in (paths.root, paths.data) for name in files.names(folder, below=paths.runs)]
    whole = (paths.spec.name, paths.report.name, *CACHED)
    ours = [path for path in parts if path.suffix == ".part" and path.name.startswith(whole)]
    for path in (paths.aside.best, paths.replaced, *ours):
        files.remove(path, below=paths.runs)
