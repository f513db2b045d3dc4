"""Columns of numbers as the model gets them, from every source, beside numpy and scikit-learn on the same values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from hptune.base.errors import SpecError

from . import asked, plain
from .differences import close, same
from .draw import Array, cases, columns, floats, folder, integers, moderate

ROWS = 48
AREA = "numbers"

FLOAT32 = 4e-6
"""A float32 of about 1 to 8 (deviations), and a float64 mean 1e9 deviations from 0."""


def frame_of(drawn: list[Array]) -> pd.DataFrame:
    return asked.with_rows(pd.DataFrame({f"c{i}": column for i, column in enumerate(drawn)}))


def with_target(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(y=np.sin(np.arange(len(frame)) * 1.7))


def as_tables(where: Path, kind: str, drawn: list[Array], **options: Any) -> tuple[asked.Given, list[Array]]:
    """What hptune gives of a table, and its columns as pandas reads them."""
    named = asked.written(where, kind, with_target(frame_of(drawn)))
    wide = options.pop("wide", False)
    found = asked.loaded(where, {**named, "target": "y", "task": "regression", **options}, rows=ROWS, wide=wide)
    read = asked.plainly(where, kind)
    return found, [read[name].to_numpy() for name in ("row", *(f"c{i}" for i in range(len(drawn))))]


def as_arrays(where: Path, drawn: list[Array], **options: Any) -> tuple[asked.Given, list[Array]]:
    x = np.stack([np.arange(ROWS, dtype=np.float64), *(column.astype(np.float64) for column in drawn)], axis=1)
    np.savez(where / "t.npz", x=x, y=np.sin(np.arange(ROWS) * 1.7))
    wide = options.pop("wide", False)
    found = asked.loaded(where, {"npz": "t.npz", "task": "regression", **options}, rows=ROWS, wide=wide)
    return found, list(x.T)


def read_as(where: Path, kind: str, drawn: list[Array], **options: Any) -> tuple[asked.Given, list[Array]]:
    return as_arrays(where, drawn, **options) if kind == "npz" else as_tables(where, kind, drawn, **options)


KINDS = st.sampled_from(["csv", "parquet", "npz"])


@cases(30)
@given(drawn=columns(ROWS), kind=KINDS, scale=st.sampled_from(["auto", "standardize"]), wide=st.booleans())
def test_standardised_on_the_training_part(drawn: list[Array], kind: str, scale: str, wide: bool) -> None:
    with folder() as where:
        found, read = read_as(where, kind, drawn, scale=scale, wide=wide)
    wanted = np.stack([plain.standardised(column, found.train) for column in read], axis=1)[found.order]
    size = np.maximum(np.abs(wanted), 1)
    close(AREA, "numpy, long double", found.x, wanted, unit=size, within=FLOAT32)
    same(AREA, "types", str(found.x.dtype), "float64" if wide else "float32")


@cases(15)
@given(drawn=columns(ROWS), kind=KINDS)
def test_brought_to_0_and_1(drawn: list[Array], kind: str) -> None:
    with folder() as where:
        found, read = read_as(where, kind, drawn, scale="unit")
    wanted = np.stack([plain.in_unit(column, found.train) for column in read], axis=1)[found.order]
    close(AREA, "numpy, long double", found.x, wanted, unit=np.maximum(np.abs(wanted), 1), within=FLOAT32)


@cases(15)
@given(drawn=st.lists(moderate(ROWS), min_size=1, max_size=3), kind=KINDS)
def test_as_scikit_learn_scales(drawn: list[Array], kind: str) -> None:
    """Constants apart: `StandardScaler` divides them by 1 too, but finds some only within rounding."""
    assume(all(len(set(column.tolist())) > 1 for column in drawn))
    for scale, scaler in (("standardize", StandardScaler()), ("unit", MinMaxScaler())):
        with folder() as where:
            found, read = read_as(where, kind, drawn, scale=scale)
        table = np.stack(read, axis=1).astype(np.float64)
        wanted = scaler.fit(table[found.train]).transform(table)[found.order]
        size = np.maximum(np.abs(wanted), 1)
        close(AREA, f"scikit-learn {type(scaler).__name__}", found.x, wanted, unit=size, within=2e-6)


@cases(15)
@given(drawn=columns(ROWS), kind=KINDS)
def test_scikit_learn_gets_them_as_they_are(drawn: list[Array], kind: str) -> None:
    with folder() as where:
        found, read = read_as(where, kind, drawn, scale="none", wide=True)
    for i, column in enumerate(read):
        same(AREA, "the file, all digits", found.x[:, i], column.astype(np.float64)[found.order])


@cases(10)
@given(drawn=st.lists(floats(ROWS, range(-30, 25)), min_size=1, max_size=3), kind=KINDS)
def test_keras_gets_them_in_float32_where_nothing_is_scaled(drawn: list[Array], kind: str) -> None:
    with folder() as where:
        found, read = read_as(where, kind, drawn, scale="none")
    for i, column in enumerate(read):
        same(AREA, "the file, in float32", found.x[:, i], column.astype(np.float32)[found.order])


@cases(10)
@given(drawn=st.lists(integers(ROWS), min_size=1, max_size=3))
def test_integers_of_any_type_stay_integers_for_scikit_learn(drawn: list[Array]) -> None:
    """Arrays alone: they have one type for all columns."""
    for column in drawn:
        row = np.arange(ROWS).astype(column.dtype)
        x = np.stack([row, column], axis=1)
        with folder() as where:
            np.savez(where / "t.npz", x=x, y=np.sin(np.arange(ROWS)))
            found = asked.loaded(where, {"npz": "t.npz", "scale": "none"}, rows=ROWS, wide=True)
        same(AREA, "the file, all digits", found.x, x[found.order])
        same(AREA, "types", found.x.dtype.str, column.dtype.str)


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e-160])
@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_tiny_columns(tmp_path: Path, kind: str, size: float) -> None:
    one = np.random.default_rng(0).normal(size=ROWS) * size
    found, read = read_as(tmp_path, kind, [one])
    wanted = np.stack([plain.standardised(column, found.train) for column in read], axis=1)[found.order]
    close(AREA, "numpy, long double", found.x, wanted, unit=np.maximum(np.abs(wanted), 1), within=FLOAT32)


@pytest.mark.parametrize("size", [1e160, 1e200, 1e300])
@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_huge_columns(tmp_path: Path, kind: str, size: float) -> None:
    one = np.random.default_rng(0).normal(size=ROWS) * size
    found, read = read_as(tmp_path, kind, [one])
    wanted = np.stack([plain.standardised(column, found.train) for column in read], axis=1)[found.order]
    close(AREA, "numpy, long double", found.x, wanted, unit=np.maximum(np.abs(wanted), 1), within=FLOAT32)


@pytest.mark.parametrize("value", [3.7e20, -1e100, 0.1 * 2**60])
@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_a_constant_is_0_however_large(tmp_path: Path, kind: str, value: float) -> None:
    found, _ = read_as(tmp_path, kind, [np.full(ROWS, value)])
    close(AREA, "numpy, long double", found.x[:, 1], np.zeros(ROWS), within=FLOAT32)


def test_a_span_that_float64_does_not_hold_is_refused(tmp_path: Path) -> None:
    one = np.random.default_rng(0).uniform(-1.7, 1.7, ROWS) * 1e308
    with pytest.raises(SpecError, match="too far from each other"):
        read_as(tmp_path, "npz", [one], scale="unit")


def test_columns_as_wide_as_float64(tmp_path: Path) -> None:
    one = np.random.default_rng(0).uniform(-1.7, 1.7, ROWS) * 1e308
    found, read = read_as(tmp_path, "npz", [one])
    wanted = np.stack([plain.standardised(column, found.train) for column in read], axis=1)[found.order]
    close(AREA, "numpy, long double", found.x, wanted, unit=np.maximum(np.abs(wanted), 1), within=FLOAT32)


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_what_float32_can_not_hold_is_refused_or_told(tmp_path: Path, kind: str) -> None:
    """Under `scale: none` Keras gets float32: a column of 1e60 must not become infinity in silence."""
    one = np.random.default_rng(0).normal(size=ROWS) * 1e60
    try:
        found, _ = read_as(tmp_path, kind, [one], scale="none")
    except SpecError:
        return
    assert found.data.notes or np.isfinite(found.x).all()


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_digits_that_float32_takes_are_told(tmp_path: Path, kind: str) -> None:
    """Under `scale: none`, more than 1e-3 of the column's deviation: seconds since 1970, say."""
    one = 1.7e9 + np.random.default_rng(0).integers(0, 300, ROWS)
    try:
        found, _ = read_as(tmp_path, kind, [one], scale="none")
    except SpecError:
        return
    assert any("c0" in note or "column" in note for note in found.data.notes)


def test_a_column_that_is_constant_in_the_training_part_alone(tmp_path: Path) -> None:
    """Its divisor is 1, so that what differs elsewhere is in its own unit: refused, if that is none of float32's."""
    found, _ = as_arrays(tmp_path, [np.zeros(ROWS)])
    one = np.zeros(ROWS)
    one[found.rows["validation"]] = 1e60
    with pytest.raises(SpecError, match="float32 takes for infinite"):
        as_arrays(tmp_path, [one])
