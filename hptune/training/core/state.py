"""A trial's state between two segments: every variable as arrays, and the file that holds them (no pickle)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.base import files
from hptune.base.errors import RunError
from hptune.base.stopwatch import counts
from hptune.base.trial import Curves, Segment
from hptune.run.curves import length
from hptune.run.rundir import RunPaths


@dataclass(frozen=True, slots=True)
class State:
    """Everything that training changes, in the order in which the model and the optimizer list their variables.

    model: weights, statistics and seed-generator states. optimizer: iteration count, then slots; () before training.
    """

    model: tuple[NDArray[Any], ...]
    optimizer: tuple[NDArray[Any], ...] = ()


@counts("checkpoint")
def save(path: Path, state: State, curves: Curves, *, below: Path | None = None) -> None:
    """Write the state and the curves so far, whole or not at all. Raises RunError where there is no room for it.

    below: the folder below which no link is followed.
    """
    arrays = {f"model.{i}": a for i, a in enumerate(state.model)}
    arrays |= {f"optimizer.{i}": a for i, a in enumerate(state.optimizer)}
    arrays |= {f"curve.{name}": np.asarray(values, np.float64) for name, values in curves.items()}
    arrays |= {"of": np.asarray(_place(path))}
    arrays |= {"count": np.asarray(len(arrays))}  # the archive's own list of what it holds has no checksum
    with files.whole_file(path, below=below) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy types the keywords as its own options


def _place(path: Path) -> str:
    """Whose state it is, as its file says too: the name of the trial's folder, and of the repeat and the epoch."""
    return f"{path.parent.name}/{path.name}"


class Damaged(Exception):
    """A state that is gone, or whose file differs from what was written."""


@counts("checkpoint")
def load(path: Path, *, below: Path | None = None) -> tuple[State, Curves]:
    """Read what `save` wrote. Raises Damaged, and RunError where a link or a pipe is in its place.

    The archive holds a checksum of every array, which is compared while it is read; nothing in it is unpickled.
    """
    try:
        with (
            warnings.catch_warnings(action="error"),
            files.open_file(path, below=below) as file,
            np.load(file, allow_pickle=False) as archive,
        ):
            arrays = {name: archive[name] for name in archive.files}
        if int(arrays.pop("count")) != len(arrays) or not all(isinstance(a, np.ndarray) for a in arrays.values()):
            raise ValueError("arrays are missing")
        if (of := str(arrays.pop("of"))) != _place(path):
            raise ValueError(f"it is that of {of}")
        curves = {n.removeprefix("curve."): tuple(a.tolist()) for n, a in arrays.items() if n.startswith("curve.")}
        return State(_numbered(arrays, "model"), _numbered(arrays, "optimizer")), curves
    except RunError:
        raise
    except Exception as error:  # zipfile and numpy raise anything for damaged bytes
        raise Damaged(f"the state {path.name} can't be read ({error})") from error


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where training can go on. epoch: 0 for the start, without a state. lost: why it is not a later epoch."""

    epoch: int
    state: State | None
    curves: Curves
    lost: str | None


def latest(run: RunPaths, segment: Segment, fits: Callable[[State], bool]) -> ResumePoint:
    """The trial's state at the segment's first epoch or, where that is gone or damaged, the last good one before it.

    fits: whether a state has the variables of the trial's model.
    """
    lost: str | None = None
    for epoch in range(segment.from_epoch, 0, -1):
        path = run.state(segment.trial, segment.replica, epoch)
        if epoch < segment.from_epoch and not files.is_file(path, below=run.runs):
            continue
        try:
            state, curves = load(path, below=run.runs)
            if not fits(state) or length(curves) != epoch:
                raise Damaged(f"the state {path.name} is another model's, or of other epochs")
        except Damaged as error:
            lost = lost or str(error)
        else:
            return ResumePoint(epoch, state, curves, lost)
    return ResumePoint(0, None, {}, lost)


def fits(variables: Sequence[Any], optimizer: Any, state: State) -> bool:
    """Whether the state has the shapes of these variables, and of the optimizer's where that is built."""
    if [a.shape for a in state.model] != [tuple(v.shape) for v in variables]:
        return False
    if not state.optimizer or not optimizer.built:
        return True
    return [a.shape for a in state.optimizer] == [tuple(v.shape) for v in optimizer.variables]


def _numbered(arrays: Mapping[str, NDArray[Any]], prefix: str) -> tuple[NDArray[Any], ...]:
    names: Sequence[str] = [name for name in arrays if name.startswith(f"{prefix}.")]
    return tuple(arrays[f"{prefix}.{i}"] for i in range(len(names)))
