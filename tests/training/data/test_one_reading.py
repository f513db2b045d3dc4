"""One reading of a value, whatever the source and the type in which it lies there."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hptune.base.errors import SpecError
from hptune.experiment.data import CsvData, DataSpec, JsonLinesData, NpzData, ParquetData, PythonData
from hptune.training.data import Data, load_data
from hptune.training.data.needs import Needs

TABLE = Needs(numbers=True)
WORDS = Needs(numbers=False)


def loaded(spec: DataSpec, folder: Path, needs: Needs = TABLE) -> Data:
    return load_data(spec, folder=folder, seed=0, needs=needs)


def arrays(folder: Path, x: Any, y: Any, needs: Needs = TABLE, **more: Any) -> Data:
    np.savez(folder / "a.npz", x=x, y=y)
    return loaded(NpzData(npz="a.npz", **more), folder, needs)


def from_code(folder: Path, monkeypatch: pytest.MonkeyPatch, y: Any) -> Data:
    """y: as the function gives it."""
    import types

    module = types.ModuleType("labels_of_mine")
    module.data = lambda: (np.arange(len(y) * 2.0).reshape(-1, 2), y)  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "labels_of_mine", module)
    return loaded(PythonData(python="labels_of_mine:data"), folder)


# --- texts -----------------------------------------------------------------------------------------------------------


def test_texts_of_parquet_are_those_of_csv(tmp_path: Path) -> None:
    spelled = ["NA", " red", "red ", "", "n/a", "blue", "None", "nan", "  ", "N/A"]
    frame = pd.DataFrame({"c": spelled * 12, "n": np.arange(120.0), "y": np.arange(120) % 2})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    csv = loaded(CsvData(csv="t.csv", target="y", missing="most_frequent"), tmp_path)
    parquet = loaded(ParquetData(parquet="t.parquet", target="y", missing="most_frequent"), tmp_path)
    assert csv.preparation is not None
    assert parquet.preparation is not None
    assert csv.preparation.encodings == parquet.preparation.encodings
    assert csv.preparation.encodings[0].categories == ("None", "blue", "red")
    np.testing.assert_array_equal(csv.train.x, parquet.train.x)
    np.testing.assert_array_equal(csv.validation.x, parquet.validation.x)


HARD: dict[str, list[Any]] = {
    "whole": [0, -7, 2**60 + 1, 2**60 + 3],
    "number": [0.1, 1e-300, -1.0000000000000002, 5e-324],
    "yes": [True, False, True, None],
    "text": [" red", "NA", "1e5 kg", "blue"],
    "day": ["2025-01-31", "2024-02-29", None, "2025-01-31T12:00:00Z"],
    "id": [2**63, 2**63 + 2, 0, 2**63],
}


def test_json_lines_are_read_as_the_same_table_in_csv(tmp_path: Path) -> None:
    rows = [{name: values[i % 4] for name, values in HARD.items()} | {"n": i, "y": i % 2} for i in range(120)]
    lines = [
        json.dumps({name: one for name, one in row.items() if one is not None or i % 3}) for i, row in enumerate(rows)
    ]
    (tmp_path / "t.jsonl").write_text("\ufeff" + "\n\n".join(lines) + "\r\n", encoding="utf-8")
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    more: Any = {"target": "y", "missing": {"text": "most_frequent", "yes": "most_frequent", "day": "median"}}
    for group in (None, "id"):
        told = loaded(CsvData(csv="t.csv", group=group, **more), tmp_path)
        same = loaded(JsonLinesData(jsonl="t.jsonl", group=group, **more), tmp_path)
        assert told.preparation is not None
        assert same.preparation is not None
        assert same.preparation.encodings == told.preparation.encodings
        np.testing.assert_array_equal(same.train.x, told.train.x)
        np.testing.assert_array_equal(same.validation.x, told.validation.x)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"a": 1, "y": }', r"t.jsonl:4: is no JSON object \(Expecting value\)"),
        ('{"a": 1, "a": 2, "y": 0}', r"t.jsonl:4: is no JSON object \(it names 'a' more than once\)"),
        ("[1, 2]", "t.jsonl:4: holds list, not an object"),
        ("null", "t.jsonl:4: holds NoneType, not an object"),
        ('{"a": [1], "y": 0}', "t.jsonl:4: column 'a' holds a list, and only numbers"),
        ('{"a": {"b": 1}, "y": 0}', "t.jsonl:4: column 'a' holds an object"),
        ('{"y": 0}', "t.jsonl:4: column 'a': missing value"),
        ('{"a": Infinity, "y": 0}', "t.jsonl:4: column 'a'"),
        ('{"a": "x", "y": 0}', "t.jsonl:4: column 'a'"),
        ('{"a": 1, "y": "\\ud83d"}', "t.jsonl:4: column 'y' holds half of a surrogate pair"),
        ("[" * 100_000, "t.jsonl:4: is no JSON object"),
    ],
)
def test_what_is_wrong_in_json_lines_is_told_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    rows = ['{"a": 1, "y": 1}', "", *[f'{{"a": {i}, "y": {i % 2}}}' for i in range(60)]]
    (tmp_path / "t.jsonl").write_text("\n".join([*rows[:3], line, *rows[3:]]))
    with pytest.raises(SpecError, match=words):
        loaded(JsonLinesData(jsonl="t.jsonl", target="y"), tmp_path)


@pytest.mark.parametrize("text", ["", "\n \n", "{}\n{}"])
def test_json_lines_without_rows_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(SpecError, match=r"t\.jsonl has no rows\. It needs an object a line"):
        loaded(JsonLinesData(jsonl="t.jsonl", target="y"), tmp_path)


@pytest.mark.parametrize("nothing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, "", " ", "NA", "nan"])
def test_a_label_that_is_missing_is_no_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing: Any) -> None:
    y = np.array([*["a", "b"] * 20, nothing], object)
    with pytest.raises(SpecError, match=r"y has no label in 1 of 41 places.* at 40"):
        from_code(tmp_path, monkeypatch, y)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array([1, 10, 2] * 20, object), (1, 2, 10)),
        (np.array([True, False] * 20, object), (False, True)),
        (np.array([" a", "b "] * 20), ("a", "b")),
        (pd.Series(["x", "y"] * 20, dtype="category"), ("x", "y")),
        (pd.array([3, 5] * 20, dtype="Int64"), (3, 5)),
    ],
)
def test_labels_are_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, y: Any, classes: Any) -> None:
    assert from_code(tmp_path, monkeypatch, y).labels == classes


def test_labels_of_npz_are_read_as_those_of_files(tmp_path: Path) -> None:
    assert arrays(tmp_path, np.eye(40), np.array(["a ", "b"] * 20)).labels == ("a", "b")
    with pytest.raises(SpecError, match="'y' has no label in 1 of 40"):
        arrays(tmp_path, np.eye(40), np.array(["a", "b"] * 19 + ["a", "NULL"]))


# --- numbers ---------------------------------------------------------------------------------------------------------

TYPES = ["int8", "uint8", "int16", "uint16", "int32", "int64", "float32", "float64"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("scale", ["auto", "standardize", "unit"])
def test_the_columns_of_an_array_are_scaled_whatever_their_type(tmp_path: Path, kind: str, scale: str) -> None:
    x = np.random.default_rng(0).integers(0, 100, (60, 3))
    y = np.arange(60) % 2
    found = arrays(tmp_path, x.astype(kind), y, scale=scale)
    train = arrays(tmp_path, np.arange(60)[:, None], y, scale="none").train.x[:, 0]
    part = x[train].astype(float)
    if scale == "unit":
        plain = (part - part.min(0)) / (part.max(0) - part.min(0))
    else:
        plain = (part - part.mean(0)) / part.std(0)
    np.testing.assert_allclose(found.train.x, plain, atol=1e-6)
    assert found.train.x.dtype == np.float32


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(6,), (4, 6), (5, 5, 3)])
def test_words_stay_whatever_their_type_and_rank(tmp_path: Path, kind: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 200, (60, *shape))
    found = arrays(tmp_path, x.astype(kind), np.arange(60) % 2, WORDS)
    assert found.input_scale is None
    assert set(found.train.x.ravel().tolist()) <= set(x.ravel().tolist())


@pytest.mark.parametrize("kind", TYPES[1:])
def test_pictures_without_channels_and_sequences_are_told_apart_by_their_values(tmp_path: Path, kind: str) -> None:
    """int8, the first type, does not reach so far."""
    y, rng = np.arange(60) % 2, np.random.default_rng(0)
    grey = arrays(tmp_path, rng.integers(0, 256, (60, 8, 8)).astype(kind), y)
    assert grey.input_scale is not None
    assert float(grey.input_scale[1]) == 255.0
    assert bool(grey.notes) == (kind != "uint8")
    assert arrays(tmp_path, rng.integers(0, 100, (60, 8, 8)).astype(kind), y).input_scale is None
    assert arrays(tmp_path, rng.integers(0, 256, (60, 9, 2)).astype(kind), y).input_scale is None


def test_what_embeds_is_told_by_its_class(tmp_path: Path) -> None:
    from hptune.experiment.reading.load import load
    from hptune.training.models.sample_needs import needs_of

    space = "search_space: {a: {type: float, min: 0.1, max: 1}}\ntraining: {optimizer: {learning_rate: $a}}"
    for layers, numbers in (
        ("Dense: {units: 3, name: Embedding}, Output", True),
        ("Embedding: {input_dim: 9, output_dim: 2}, Flatten, Output", False),
        ("repeat: {times: 1, layers: [TimeDistributed: {layer: {Embedding: {input_dim: 9, output_dim: 2}}}]}", False),
    ):
        listed = "\n".join(f"    - {{{one}}}" if ":" in one else f"    - {one}" for one in _split(layers))
        (tmp_path / "s.yaml").write_text(f"version: 1\ndata: {{npz: a.npz}}\nmodel:\n  layers:\n{listed}\n{space}\n")
        assert needs_of(load(tmp_path / "s.yaml").experiment).numbers is numbers, layers


def _split(layers: str) -> list[str]:
    """At the commas outside brackets."""
    found, depth = [""], 0
    for sign in layers:
        depth += (sign in "{[") - (sign in "}]")
        if sign == "," and not depth:
            found.append("")
        else:
            found[-1] += sign
    return [one.strip() for one in found]


def test_numbers_of_words_stay(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 100, (60, 3))
    assert arrays(tmp_path, x, np.arange(60) % 2, WORDS).train.x.dtype == np.int32
    unknown = arrays(tmp_path, x, np.arange(60) % 2, Needs())
    assert unknown.train.x.dtype == np.int32
    assert any("data.scale" in note for note in unknown.notes), "only code knows: it is told"
    assert not arrays(tmp_path, x, np.arange(60) % 2, WORDS).notes


@pytest.mark.parametrize("kind", ["uint8", "int16", "int64", "float32", "float64"])
@pytest.mark.parametrize("scale", ["auto", "unit"])
def test_pictures_go_from_black_to_white_whatever_their_type(tmp_path: Path, kind: str, scale: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3))
    y = np.arange(40) % 2
    plain = arrays(tmp_path, (x / 255).astype(np.float32), y, scale=scale).train.x
    np.testing.assert_allclose(arrays(tmp_path, x.astype(kind), y, scale=scale).train.x, plain, atol=1e-6)


def test_other_pictures_stay_or_have_their_own_white(tmp_path: Path) -> None:
    rng, y = np.random.default_rng(0), np.arange(40) % 2
    unit, both = rng.random((40, 4, 4, 1), np.float32), rng.normal(size=(40, 4, 4, 1)).astype(np.float32)
    for stays in (unit, both):
        found = arrays(tmp_path, stays, y)
        assert found.input_scale is None
        assert {float(v) for v in found.train.x[:, 0, 0, 0]} <= {float(v) for v in stays[:, 0, 0, 0]}
    deep = rng.integers(0, 65536, (40, 4, 4, 1)).astype(np.uint16)
    deep[:] = np.maximum(deep, 300)
    scale = arrays(tmp_path, deep, y).input_scale
    assert scale is not None
    assert float(scale[1]) == 65535.0


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-290, 1e-200, 1e-100, 1.0, 1e100, 1e200, 1e300])
def test_columns_of_any_size_are_standardised(tmp_path: Path, size: float) -> None:
    z = np.random.default_rng(0).normal(size=(60, 2)) * [1, 3] + [0, 2]
    y = np.arange(60) % 2
    found = arrays(tmp_path, z * size, y).train.x
    np.testing.assert_allclose(found, arrays(tmp_path, z, y).train.x, atol=1e-6)


@pytest.mark.parametrize("value", [3.7e20, -1e100, 1e300, 1e-300, 0.1])
def test_a_constant_column_is_0(tmp_path: Path, value: float) -> None:
    x = np.column_stack([np.full(60, value), np.arange(60.0)])
    assert not arrays(tmp_path, x, np.arange(60) % 2).train.x[:, 0].any()


@pytest.mark.parametrize(
    ("column", "scale", "told"),
    [
        (np.linspace(-1.7, 1.7, 60) * 1e308, "unit", "too far from each other"),
        (np.linspace(0, 1e-310, 60), "auto", "too close"),
        (np.linspace(0, 1e60, 60), "none", "takes for infinite"),
        (np.where(np.arange(60) == 59, 1e60, 1.0), "auto", "takes for infinite"),
    ],
)
def test_what_no_float_holds_is_refused(tmp_path: Path, column: Any, scale: str, told: str) -> None:
    """The last one: a value beyond float32 where the training part is constant, unless chance puts it there."""
    x = np.column_stack([column, np.arange(60.0)])
    y = np.arange(60) % 2
    rows = arrays(tmp_path, np.arange(60)[:, None], y, scale="none")
    if told == "takes for infinite" and scale == "auto":
        row = int(rows.validation.x[0, 0])
        x[[row, 59], 0] = x[[59, row], 0]
    with pytest.raises(SpecError, match=told):
        arrays(tmp_path, x, y, scale=scale)


def test_what_float32_costs_is_told(tmp_path: Path) -> None:
    seconds = 1.7e9 + np.arange(120.0) * 3
    pd.DataFrame({"t": seconds, "n": np.arange(120.0), "y": np.arange(120) % 2}).to_csv(tmp_path / "t.csv", index=False)
    raw = loaded(CsvData(csv="t.csv", target="y", scale="none"), tmp_path)
    (note,) = [one for one in raw.notes if "float32" in one]
    assert "off 't'" in note
    assert "'n'" not in note
    assert not loaded(CsvData(csv="t.csv", target="y"), tmp_path).notes


def test_a_class_that_training_has_not_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    x, y = np.arange(40.0)[:, None], np.array(["a", "b"] * 15 + ["a", "b", "c"] * 3 + ["a"])
    module = types.ModuleType("parts_of_mine")
    module.data = lambda: ((x[:30], y[:30]), (x[30:], y[30:]))  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "parts_of_mine", module)
    (note,) = loaded(PythonData(python="parts_of_mine:data"), tmp_path).notes
    assert "no sample of 'c'" in note


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_a_target_of_which_no_squares_are_told_may_be_smaller_and_larger(tmp_path: Path, size: float) -> None:
    y = np.random.default_rng(0).normal(size=60) * size
    x = np.arange(120.0).reshape(60, 2)
    with pytest.raises(SpecError, match="float32 holds, squared"):
        arrays(tmp_path, x, y)
    assert arrays(tmp_path, x, y, Needs(squares=False)).target_scale is not None


@pytest.mark.parametrize("size", [1e-200, 1e-40, 1e38, 1e150])
def test_a_target_that_float32_can_t_hold_is_refused(tmp_path: Path, size: float) -> None:
    y = np.random.default_rng(0).normal(size=60) * size
    with pytest.raises(SpecError, match="Give it in another unit"):
        arrays(tmp_path, np.arange(120.0).reshape(60, 2), y, Needs(squares=False))
    kept = arrays(tmp_path, np.arange(120.0).reshape(60, 2), y, Needs(wide=True))
    assert set(kept.train.y.tolist()) <= set(y.tolist()), "scikit-learn gets it as it is"
