"""Samples that stand for an array, and are prepared when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hptune.training.data.arrays import Array, Rows
from hptune.training.data.inputs import Preparation
from hptune.training.data.raw import Source


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Some samples of a source, prepared when they are asked for; stands for the array of them all.

    Indexed like that array, by a slice or by numbers [k] of its samples. shape, dtype: of the array.
    """

    source: Source
    rows: Rows
    prepare: Preparation
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, source: Source, rows: Rows, prepare: Preparation) -> Stored:
        """These rows of a source. One row is prepared right away, to learn shape and dtype."""
        sample = prepare(source, rows[:1])
        return cls(source, rows, prepare, (len(rows), *sample.shape[1:]), sample.dtype)

    @property
    def nbytes(self) -> int:
        """How many bytes the whole array would take."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: slice | Rows) -> Array:
        return self.prepare(self.source, self.rows[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:  # numpy asks so
        return np.asarray(self[:], dtype)
