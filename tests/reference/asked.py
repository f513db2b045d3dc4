"""What hptune is asked for, and what it gives: the only place of the suite that knows how its data are called.

Each file's first input is the number of the row, so that a test knows which row became which sample: scaling keeps the
order and the ends, and every row is in one part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hptune.experiment.data import DATA_KINDS
from hptune.training.data import load_data, load_folds, load_joined
from hptune.training.data.needs import Needs

from .draw import Array

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Given:
    """The samples as a model gets them, and which rows of the file they are, by part."""

    data: Any
    rows: Mapping[str, Array]

    @property
    def train(self) -> Array:
        return self.rows["train"]

    def parts(self) -> Iterator[tuple[Any, Array]]:
        """(part, its rows) of those that have rows."""
        for name in PARTS:
            part = getattr(self.data, name)
            if part is not None and len(part):
                yield part, self.rows[name]

    @property
    def x(self) -> Array:
        """All samples, in the order of the parts."""
        return np.concatenate([part.x for part, _ in self.parts()])

    @property
    def y(self) -> Array:
        """All targets, in the order of the parts."""
        return np.concatenate([part.y for part, _ in self.parts()])

    @property
    def order(self) -> Array:
        """All rows, in the order of the parts."""
        return np.concatenate([rows for _, rows in self.parts()])

    def standard_y(self) -> Array:
        """Targets as the loss compares them: standardised, in the order of the parts."""
        mean, deviation = self.data.target_scale
        return np.asarray((self.y.astype(np.float64) - mean) / deviation)


def spec_of(options: Mapping[str, Any]) -> Any:
    """The `data` section."""
    (kind,) = set(options) & set(DATA_KINDS)
    return DATA_KINDS[kind](**options)


def loaded(
    where: Path, options: Mapping[str, Any], *, rows: int, seed: int = 0, wide: bool = False, words: bool = False
) -> Given:
    """The three parts. rows: of the file; its first and last one must be in a part. wide: as scikit-learn gets them.
    words: as a model with an `Embedding` does."""
    needs = Needs(wide=wide, numbers=not words, squares=False, differences=not wide)
    data = load_data(spec_of(options), folder=where, seed=seed, with_test=True, needs=needs)
    return given(data, rows)


def given(data: Any, rows: int) -> Given:
    """The data, with the rows told by the first input."""
    parts = [getattr(data, name) for name in PARTS]
    firsts = [np.empty(0) if part is None or not len(part) else _first(part.x) for part in parts]
    told = np.concatenate(firsts)
    numbers = (told - told.min()) / (told.max() - told.min()) * (rows - 1)
    assert np.abs(numbers - np.round(numbers)).max() < 1e-3, "the first input is no row number any more"
    numbers = np.round(numbers).astype(np.int64)
    assert len(set(numbers.tolist())) == len(numbers), "a row is in two places"
    cuts = np.cumsum([len(one) for one in firsts])[:-1]
    return Given(data, dict(zip(PARTS, np.split(numbers, cuts), strict=True)))


def _first(x: Array) -> Array:
    return np.asarray(x.reshape(len(x), -1)[:, 0], np.float64)


def folds(where: Path, options: Mapping[str, Any], *, rows: int, count: int, seed: int = 0) -> list[Given]:
    """One for each fold; the test part stands in all."""
    found = load_folds(spec_of(options), folder=where, seed=seed, folds=count, with_test=True)
    return [given(data, rows) for data in found]


def joined(where: Path, options: Mapping[str, Any], *, rows: int, wide: bool = True) -> Given:
    """All but the test part as the training part: what a scikit-learn winner is fitted on."""
    return given(load_joined(spec_of(options), folder=where, seed=0, needs=Needs(wide=wide, numbers=True)), rows)


# --- files -----------------------------------------------------------------------------------------------------------


def with_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the number of the row as its first column."""
    return pd.concat([pd.DataFrame({"row": np.arange(len(frame))}), frame], axis=1)


def written(where: Path, kind: str, frame: pd.DataFrame) -> dict[str, Any]:
    """The table as a file, and the option that names it."""
    if kind == "csv":
        frame.to_csv(where / "t.csv", index=False)
        return {"csv": "t.csv"}
    if kind == "jsonl":
        rows = (
            dict(zip(frame.columns, row, strict=True)) for row in zip(*(frame[c].tolist() for c in frame), strict=True)
        )
        (where / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return {"jsonl": "t.jsonl"}
    frame.to_parquet(where / "t.parquet", index=False)
    return {"parquet": "t.parquet"}


def plainly(where: Path, kind: str, **options: Any) -> pd.DataFrame:
    """The file as pandas reads it: all digits, and nothing missing but empty cells."""
    if kind == "parquet":
        return pd.read_parquet(where / "t.parquet")
    if kind == "jsonl":
        return pd.DataFrame([json.loads(line) for line in (where / "t.jsonl").read_text().splitlines()])
    frame: pd.DataFrame = pd.read_csv(
        where / "t.csv", float_precision="round_trip", keep_default_na=False, na_values=[""], **options
    )
    return frame
