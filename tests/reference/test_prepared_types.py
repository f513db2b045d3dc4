"""Every type in which a file may hold a number, a name or a moment, and every way to write a number, beside pandas."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from . import asked, plain
from .differences import close, same
from .draw import Array, cases, folder

ROWS = 48
AREA = "types of files"
REGRESSION = {"target": "y", "task": "regression"}


def written(where: Path, column: Any) -> dict[str, Any]:
    """A Parquet file with a column of this very Arrow type."""
    table = {"row": np.arange(ROWS), "c": column, "y": np.sin(np.arange(ROWS) * 1.7)}
    parquet.write_table(pa.table(table), where / "t.parquet")
    return {"parquet": "t.parquet", **REGRESSION}


def whole(seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 100, ROWS)


NUMBERS = {
    **{str(one): pa.array(whole(), one) for one in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32())},
    **{str(one): pa.array(whole(), one) for one in (pa.uint32(), pa.int64(), pa.uint64())},
    "float16": pa.array(whole().astype(np.float16)),
    "float32": pa.array(whole() / 7, pa.float32()),
    "float64": pa.array(whole() / 7),
    "decimal": pa.array([Decimal(int(one)) / 8 for one in whole()], pa.decimal128(20, 5)),
    "bool": pa.array(whole() > 50),
    "dictionary": pa.array(whole() / 7).dictionary_encode(),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("wide", [False, True])
def test_numbers_of_parquet(tmp_path: Path, name: str, wide: bool) -> None:
    options = written(tmp_path, NUMBERS[name])
    found = asked.loaded(tmp_path, {**options, "scale": "standardize"}, rows=ROWS, wide=wide)
    read = pd.read_parquet(tmp_path / "t.parquet")["c"].astype(float).to_numpy()
    wanted = plain.standardised(read, found.train)[found.order]
    close(AREA, "pandas read_parquet", found.x[:, 1], wanted, within=1e-12 if wide else 1e-6)


def test_a_fill_of_float32_far_from_0(tmp_path: Path) -> None:
    """The mean of numbers of float32 need not be one of them."""
    values = (1e7 + np.random.default_rng(0).integers(0, 9, ROWS)).astype(np.float32)
    column = [None if i % 5 == 3 else float(one) for i, one in enumerate(values)]
    options = written(tmp_path, pa.array(column, pa.float32()))
    found = asked.loaded(tmp_path, {**options, "missing": {"c": "mean"}}, rows=ROWS, wide=True)
    read = pd.read_parquet(tmp_path / "t.parquet")["c"].astype(float)
    train = read.iloc[found.train]
    filled = read.fillna(train.mean()).to_numpy()
    wanted = plain.standardised(filled, found.train)[found.order]
    close(AREA, "pandas read_parquet", found.x[:, 1], wanted, within=1e-6)


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_names_of_parquet(tmp_path: Path, kind: str) -> None:
    names = np.array(["a", "b", "ß"])[whole() % 3].tolist()
    made = {
        "string": pa.array(names),
        "large_string": pa.array(names, pa.large_string()),
        "dictionary": pa.array(names).dictionary_encode(),
    }[kind]
    found = asked.loaded(tmp_path, written(tmp_path, made), rows=ROWS)
    wanted = pd.get_dummies(pd.Series(names)).to_numpy(float)
    same(AREA, "pandas get_dummies", found.x[:, 1:], wanted[found.order])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("least", [2**60, -(2**63), 2**63 - 3])
def test_categories_of_64_bits(tmp_path: Path, kind: str, least: int) -> None:
    """Told to be names, numbers are not merged; the order of their columns is that of their texts."""
    ids = [least + i % 3 for i in range(ROWS)]
    named = asked.written(tmp_path, kind, asked.with_rows(pd.DataFrame({"c": ids, "y": np.sin(np.arange(ROWS))})))
    found = asked.loaded(tmp_path, {**named, **REGRESSION, "columns": {"c": "category"}}, rows=ROWS)
    wanted = pd.get_dummies(pd.Series(ids).astype(str)).to_numpy(float)
    same(AREA, "pandas get_dummies", found.x[:, 1:], wanted[found.order])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_groups_of_64_bits(tmp_path: Path, kind: str) -> None:
    ids = 2**60 + np.arange(ROWS) // 4
    frame = asked.with_rows(pd.DataFrame({"g": ids, "y": np.sin(np.arange(ROWS))}))
    options = {**asked.written(tmp_path, kind, frame), **REGRESSION, "group": "g", "features": ["row"]}
    found = asked.loaded(tmp_path, options, rows=ROWS)
    groups = [set(ids[rows].tolist()) for rows in found.rows.values()]
    same(AREA, "pandas", sorted(map(len, groups)), [2, 2, 8])


ARRAYS = ["<f2", "<f4", ">f4", "<f8", ">f8", "<i2", ">i4", "<u4", "|u1", "|b1"]


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_type_and_order(tmp_path: Path, kind: str, order: str) -> None:
    x = np.stack([np.arange(ROWS), whole(1)], axis=1) % (2 if kind == "|b1" else 1000)
    x = np.asarray(x.astype(np.dtype(kind)), order=order)  # type: ignore[call-overload]
    if kind == "|b1":
        x = np.concatenate([x, x], axis=1)
    np.savez(tmp_path / "t.npz", x=x, y=np.sin(np.arange(ROWS)))
    options = {"npz": "t.npz", "scale": "standardize"}
    if kind == "|b1":  # no place for row numbers: values alone
        from hptune.training.data import load_data

        data = load_data(asked.spec_of({**options, "scale": "none"}), folder=tmp_path, seed=0, with_test=True)
        assert data.test is not None
        told = np.concatenate([part.x for part in (data.train, data.validation, data.test)])
        same(AREA, "numpy", sorted(told.tolist()), sorted(x.astype(float).tolist()))
        return
    found = asked.loaded(tmp_path, options, rows=ROWS)
    wanted = plain.standardised(x, found.train)[found.order]
    close(AREA, "numpy, long double", found.x, wanted, within=1e-6)


FORMS = ["{!r}", "{:.17e}", "{:+.20g}", "{:.17E}", " {!r} ", '"{!r}"', "{:.40f}"]


@cases(15)
@given(
    values=st.lists(st.floats(-1e12, 1e12), min_size=ROWS, max_size=ROWS),
    form=st.sampled_from(FORMS),
    separator=st.sampled_from(",;\t|"),
)
def test_numbers_however_they_are_written(values: list[float], form: str, separator: str) -> None:
    lines = [f"row{separator}c{separator}y"]
    lines += [f"{i}{separator}{form.format(value)}{separator}{float(np.sin(i))!r}" for i, value in enumerate(values)]
    with folder() as where:
        (where / "t.csv").write_text("\n".join(lines) + "\n")
        found = asked.loaded(where, {"csv": "t.csv", **REGRESSION, "scale": "none"}, rows=ROWS, wide=True)
        read = pd.read_csv(where / "t.csv", sep=separator, float_precision="round_trip", skipinitialspace=True)
    same(AREA, "pandas read_csv", found.x[:, 1], read["c"].to_numpy(float)[found.order])


@cases(10)
@given(seed=st.integers(0, 2**32), channels=st.sampled_from([1, 3]), scale=st.sampled_from(["auto", "unit", "none"]))
def test_pictures_in_folders(seed: int, channels: int, scale: str) -> None:
    """PNG files of the very size; the first pixels say which picture it is."""
    import tensorflow as tf

    pictures = np.random.default_rng(seed).integers(0, 256, (24, 4, 5, channels)).astype(np.uint8)
    pictures[:, 0, 0] = np.arange(24)[:, None] * 10
    with folder() as where:
        for i, picture in enumerate(pictures):
            (where / "pics" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            (where / "pics" / "ab"[i % 2] / f"{i}.png").write_bytes(tf.io.encode_png(picture).numpy())
        options = {"images": "pics", "size": [4, 5], "channels": channels, "scale": scale, "stream": False}
        found = asked.loaded(where, options, rows=24)
        x, y, order = found.x, found.y, found.order
    exact = plain.wide(pictures)
    train = exact[found.train].reshape(-1, channels)
    wanted = {"auto": (exact - train.mean(0)) / train.std(0), "unit": exact / 255, "none": exact}[scale]
    close("pictures", "numpy, long double", x, wanted[order], within=2e-6)
    same("pictures", "the folders", y, order % 2)
