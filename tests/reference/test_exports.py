"""`model.keras`, loaded by plain Keras, on raw rows: beside its own weights in numpy over rows prepared by hand.

The model that is trained is one Dense layer, so that the whole of it can be written down: x prepared in long doubles
and rounded once, times the kernel, plus the bias, back into the target's unit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from . import asked, plain
from .differences import close
from .draw import FAR, Array, cases, floats, folder, texts
from .winners import Winner, dense, of_keras, sigmoid, softmax

ROWS = 60
AREA = "exports"
AGAINST = "its weights in numpy"

WITHIN = 2e-5
"""Of the target's deviation, or of a probability: sums of products in float32, and raw values far from 0."""


def noise(seed: int) -> Array:
    return np.asarray(np.random.default_rng(seed).normal(size=ROWS))


def one_hot(column: pd.Series, train: Array) -> Array:
    names = sorted(set(column.iloc[train].dropna()))
    return np.asarray(column.to_numpy()[:, None] == np.array(names, object)[None], float)


def raw(read: pd.DataFrame, names: list[str]) -> dict[str, Array]:
    """Columns as the file takes them: numbers [n, 1]; texts as TensorFlow's strings."""
    import tensorflow as tf

    return {
        name: tf.constant(read[[name]].astype(object).to_numpy().tolist(), tf.string)
        if read[name].dtype.kind not in "biuf"
        else read[[name]].to_numpy(np.float64)
        for name in names
    }


def check(found: Winner, inputs: Any, x: Array, *, scale: tuple[Any, Any] = (0.0, 1.0), last: Any = None) -> None:
    """x: prepared by hand. scale: the target's mean and deviation. last: what the last layer's activation does."""
    model = found.model()
    ((kernel, bias),) = dense(model)
    inner = np.asarray(x, np.float64) @ kernel + bias
    wanted = last(inner) if last is not None else plain.wide(inner) * scale[1] + scale[0]
    got = np.asarray(model.predict_on_batch(inputs), np.float64)
    far = np.abs(np.asarray(scale[0], np.float64)) / np.asarray(scale[1], np.float64)
    digits = far * 2e-7 / WITHIN  # what float32 holds of a target in its own unit
    unit = np.asarray(scale[1]) * (np.maximum(1, np.abs(inner)) + digits) if last is None else 1.0
    close(AREA, AGAINST, got, wanted, unit=unit, within=WITHIN)


@cases(2, shrink=False)
@given(
    drawn=st.lists(floats(ROWS, range(-120, 120), FAR, False), min_size=2, max_size=2),
    kind=st.sampled_from(["csv", "parquet", "jsonl"]),
    scale=st.sampled_from(["standardize", "unit"]),
)
def test_columns_of_any_size(drawn: list[Array], kind: str, scale: str) -> None:
    y = noise(1) * 1e4 - 300
    frame = asked.with_rows(pd.DataFrame({"a": drawn[0], "b": drawn[1], "y": y}))
    with folder() as where:
        options = {**asked.written(where, kind, frame), "target": "y", "task": "regression", "scale": scale}
        found = of_keras(where, options, epochs=1)
        train = asked.loaded(where, options, rows=ROWS).train
        read = asked.plainly(where, kind)
        rule = plain.standardised if scale == "standardize" else plain.in_unit
        x = np.stack([rule(read[name], train) for name in ("row", "a", "b")], axis=1)
        check(found, raw(read, ["row", "a", "b"]), x, scale=plain.moments(read["y"].to_numpy()[train]))


@cases(2, shrink=False)
@given(drawn=st.lists(floats(ROWS, range(-120, 120), FAR, False), min_size=2, max_size=2))
def test_arrays_of_any_size(drawn: list[Array]) -> None:
    x = np.stack([np.arange(ROWS) * 1.0, *drawn], axis=1)
    y = noise(1) * 1e4 - 300
    with folder() as where:
        np.savez(where / "t.npz", x=x, y=y)
        options = {"npz": "t.npz", "task": "regression"}
        found = of_keras(where, options, epochs=1)
        train = asked.loaded(where, options, rows=ROWS).train
        check(found, x, plain.standardised(x, train), scale=plain.moments(y[train]))


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        *[("csv", 1e-140), ("npz", 1e-38), ("csv", 1e20), ("npz", 1e38), ("npz", 1e140)],
        *[(kind, size) for kind, size in (("csv", 1e-300), ("npz", 1e300))],
    ],
)
def test_a_column_of_this_size(tmp_path: Path, kind: str, size: float) -> None:
    column, y = noise(0) * size, noise(1)
    x = np.stack([np.arange(ROWS), column], axis=1)
    if kind == "npz":
        np.savez(tmp_path / "t.npz", x=x, y=y)
        options: dict[str, Any] = {"npz": "t.npz"}
    else:
        named = asked.written(tmp_path, kind, asked.with_rows(pd.DataFrame({"a": column, "y": y})))
        options = {**named, "target": "y"}
    found = of_keras(tmp_path, {**options, "task": "regression"}, epochs=1)
    train = asked.loaded(tmp_path, options, rows=ROWS).train
    inputs = x if kind == "npz" else {"row": x[:, :1], "a": x[:, 1:]}
    check(found, inputs, plain.standardised(x, train), scale=plain.moments(y[train]))


@cases(3, shrink=False)
@given(
    named=texts(ROWS), kind=st.sampled_from(["csv", "parquet", "jsonl"]), last=st.sampled_from(["numbers", "classes"])
)
def test_categories(named: Array, kind: str, last: str) -> None:
    assume(min(named) != "[UNK]")  # which has a test of its own
    which = np.digitize(noise(1), [-0.4, 0.4])
    y: Any = noise(1) if last == "numbers" else np.array(["a", "b", "c"], object)[which]
    frame = asked.with_rows(pd.DataFrame({"c": named, "y": y}))
    with folder() as where:
        options = {**asked.written(where, kind, frame), "target": "y", "columns": {"c": "category"}}
        found = of_keras(where, options, epochs=1)
        train = asked.loaded(where, options, rows=ROWS).train
        read = asked.plainly(where, kind, **({"dtype": {"c": str}} if kind == "csv" else {}))
        x = np.column_stack([plain.standardised(read["row"], train), one_hot(read["c"], train)])
        if last == "classes":
            check(found, raw(read, ["row", "c"]), x, last=softmax)
        else:
            check(found, raw(read, ["row", "c"]), x, scale=plain.moments(read["y"].to_numpy()[train]))


@pytest.mark.parametrize("scale", ["standardize", "unit", "none"])
def test_gaps_dates_and_truth_values(tmp_path: Path, scale: str) -> None:
    gaps, days = np.arange(ROWS) % 6 == 2, np.random.default_rng(0).integers(15_000, 25_000, ROWS)
    frame = asked.with_rows(
        pd.DataFrame(
            {
                "a": np.where(gaps, np.nan, noise(0)),
                "d": days.astype("datetime64[D]").astype("datetime64[us]"),
                "t": noise(2) > 0,
                "y": noise(3) * 7 + 2,
            }
        )
    )
    options = {
        **asked.written(tmp_path, "parquet", frame),
        **{"target": "y", "task": "regression", "missing": {"a": "mean"}, "scale": scale},
    }
    found = of_keras(tmp_path, options, epochs=1)
    train = asked.loaded(tmp_path, options, rows=ROWS).train
    read = asked.plainly(tmp_path, "parquet").assign(d=days.astype(float), t=frame["t"].astype(float))
    filled = read.fillna({"a": read["a"].iloc[train].mean()})
    rules: dict[str, Callable[[Any, Any], Any]] = {
        "standardize": plain.standardised,
        "unit": plain.in_unit,
        "none": lambda column, _: plain.wide(column),
    }
    rule = rules[scale]
    x = np.stack([rule(filled[name], train) for name in ("row", "a", "d", "t")], axis=1)
    moments = plain.moments(read["y"].to_numpy()[train]) if scale != "none" else (0.0, 1.0)
    check(found, raw(read, ["row", "a", "d", "t"]), x, scale=moments)


@pytest.mark.parametrize("scale", ["auto", "standardize"])
def test_pictures(tmp_path: Path, scale: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (ROWS, 2, 3, 3)).astype(np.uint8)
    x[:, 0, 0, 0] = np.arange(ROWS)
    y = np.arange(ROWS) % 2
    np.savez(tmp_path / "t.npz", x=x, y=y)
    options = {"npz": "t.npz", "scale": scale}
    found = of_keras(tmp_path, options, "[Flatten, Dense: {units: 1, activation: sigmoid}]", epochs=1)
    train = asked.loaded(tmp_path, options, rows=ROWS).train
    pixels = plain.wide(x)[train].reshape(-1, 3)
    prepared = plain.wide(x) / 255 if scale == "auto" else (plain.wide(x) - pixels.mean(0)) / pixels.std(0)
    check(found, x, prepared.reshape(ROWS, -1), last=sigmoid)


def test_several_targets_each_in_its_own_unit(tmp_path: Path) -> None:
    frame = asked.with_rows(pd.DataFrame({"a": noise(0), "y": noise(1) * 1e-9 + 3e-9, "z": noise(2) * 1e12}))
    options = {**asked.written(tmp_path, "csv", frame), "target": ["y", "z"]}
    found = of_keras(tmp_path, options, epochs=1)
    train = asked.loaded(tmp_path, options, rows=ROWS).train
    read = asked.plainly(tmp_path, "csv")
    x = np.stack([plain.standardised(read[name], train) for name in ("row", "a")], axis=1)
    check(found, raw(read, ["row", "a"]), x, scale=plain.moments(read[["y", "z"]].to_numpy()[train]))


@pytest.mark.parametrize(
    ("size", "far"),
    [
        (1e-9, 0.0),
        (1e12, 0.0),
        (1.0, 100.0),
        (1e-15, 0.0),
        (1.0, 1e9),
    ],
)
def test_targets_of_any_size(tmp_path: Path, size: float, far: float) -> None:
    y = (noise(1) + far) * size
    x = np.stack([np.arange(ROWS), noise(0)], axis=1)
    np.savez(tmp_path / "t.npz", x=x, y=y)
    options = {"npz": "t.npz", "task": "regression"}
    found = of_keras(tmp_path, options, epochs=1)
    train = asked.loaded(tmp_path, options, rows=ROWS).train
    check(found, x, plain.standardised(x, train), scale=plain.moments(y[train]))


def test_rows_at_the_edges(tmp_path: Path) -> None:
    """A gap; a category of one row; one that training has not; values beyond those of training."""
    city = np.array(["Oslo", "Lima"], object)[np.arange(ROWS) % 2]
    city[7] = "rare"
    a = noise(0) * 1e-15
    a[5] = np.nan
    frame = asked.with_rows(pd.DataFrame({"a": a, "c": city, "y": noise(1)}))
    missing = {"a": "median", "c": "most_frequent"}
    options = {**asked.written(tmp_path, "csv", frame), "target": "y", "missing": missing}
    found = of_keras(tmp_path, options, epochs=1)
    train = asked.loaded(tmp_path, options, rows=ROWS).train
    read = asked.plainly(tmp_path, "csv")
    column, often = read["a"].iloc[train], read["c"].iloc[train].value_counts()
    first = min(often.index, key=lambda name: (-often[name], name))
    moments = {"a": plain.moments(column.fillna(column.median()).to_numpy()), "row": plain.moments(train.astype(float))}
    names = sorted(set(read["c"].iloc[train]))
    edges: dict[str, dict[str, Any]] = {
        "missing": {"a": [np.nan, np.nan], "c": ["", ""]},
        "rare": {"c": ["rare", "Oslo"]},
        "unseen": {"c": ["[UNK]", "oslo"]},
        "extreme": {"a": [1e3, -1e-3]},
    }
    for changed in edges.values():
        new = pd.DataFrame({"row": [3.0, 4.0], "a": [1e-15, -2e-15], "c": ["Oslo", "Lima"], **changed})
        filled = new.fillna({"a": column.median()}).replace({"c": {"": first}})
        numbers = [(plain.wide(filled[name]) - moments[name][0]) / moments[name][1] for name in ("row", "a")]
        x = np.column_stack([*numbers, filled["c"].to_numpy()[:, None] == np.array(names, object)[None]])
        check(found, raw(new, ["row", "a", "c"]), x, scale=plain.moments(read["y"].to_numpy()[train]))


@pytest.mark.parametrize("others", ["Oslo Lima", "oslo lima"])
def test_a_category_called_as_keras_calls_the_unknown(tmp_path: Path, others: str) -> None:
    """As the last of the categories, and as the first."""
    city = np.array(["[UNK]", *others.split()], object)[np.arange(ROWS) % 3]
    options = {
        **asked.written(tmp_path, "csv", asked.with_rows(pd.DataFrame({"c": city, "y": noise(1)}))),
        "target": "y",
    }
    found = of_keras(tmp_path, options, epochs=1)
    train = asked.loaded(tmp_path, options, rows=ROWS).train
    read = asked.plainly(tmp_path, "csv", dtype={"c": str})
    x = np.column_stack([plain.standardised(read["row"], train), one_hot(read["c"], train)])
    check(found, raw(read, ["row", "c"]), x, scale=plain.moments(read["y"].to_numpy()[train]))
