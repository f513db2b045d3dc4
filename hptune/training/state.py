"""A trial's state between two segments: every variable as arrays, and the file that holds them (no pickle)."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.errors import SegmentFailed
from hptune.stopwatch import counts
from hptune.trial import Curves


@dataclass(frozen=True, slots=True)
class State:
    """Everything that training changes, in the order in which the model and the optimizer list their variables.

    model: weights, statistics and seed-generator states. optimizer: iteration count, then slots; () before training.
    """

    model: tuple[NDArray[Any], ...]
    optimizer: tuple[NDArray[Any], ...] = ()


@counts("checkpoint")
def save(path: Path, state: State, curves: Curves) -> None:
    """Write the state and the curves so far; whole or not at all."""
    arrays = {f"model.{i}": a for i, a in enumerate(state.model)}
    arrays |= {f"optimizer.{i}": a for i, a in enumerate(state.optimizer)}
    arrays |= {f"curve.{name}": np.asarray(values, np.float64) for name, values in curves.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy types the keywords as its own options
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@counts("checkpoint")
def load(path: Path) -> tuple[State, Curves]:
    """Read what `save` wrote. Raises SegmentFailed where the file is gone or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SegmentFailed(f"the state {path.name} can't be read ({error})") from error
    curves = {name.removeprefix("curve."): tuple(a.tolist()) for name, a in arrays.items() if name.startswith("curve.")}
    return State(_numbered(arrays, "model"), _numbered(arrays, "optimizer")), curves


def _numbered(arrays: Mapping[str, NDArray[Any]], prefix: str) -> tuple[NDArray[Any], ...]:
    names: Sequence[str] = [name for name in arrays if name.startswith(f"{prefix}.")]
    return tuple(arrays[f"{prefix}.{i}"] for i in range(len(names)))
