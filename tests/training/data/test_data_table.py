"""Tables of both kinds of file: which columns are used for what, how their cells are read, and what is told of them."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from hptune.base.errors import SpecError
from hptune.experiment.data import CsvData, ParquetData
from hptune.training.data import Data, load_data
from hptune.training.data.inputs import Preparation
from hptune.training.data.sources import parquet_table
from hptune.training.data.sources.csv_table import csv_sheets
from hptune.training.data.sources.parquet_table import parquet_sheets
from hptune.training.data.store import spool
from hptune.training.data.store.stored import Stored
from hptune.training.data.store.stream import Mapped
from hptune.training.data.table.cells import Typed, read_cells
from hptune.training.data.table.table import Sheet

N = 60
COLUMNS: dict[str, list[Any]] = {
    "age": [20.0 + i % 31 for i in range(N)],
    "member": [i % 3 == 0 for i in range(N)],
    "joined": [date(2025, 1 + i % 12, 1 + i % 28) for i in range(N)],
    "city": [["Oslo", "Lima", "Rome"][i % 3] for i in range(N)],
    "review": [["so good", "so bad", "good, good!"][i % 3] for i in range(N)],
    "user": [i // 6 for i in range(N)],
    "weight": [0.5 + i % 4 for i in range(N)],
    "left": [i % 2 for i in range(N)],
    "right": [int(i % 3 == 0) for i in range(N)],
    "price": [1.5 * i for i in range(N)],
    "bought": [["no", "yes"][i % 2] for i in range(N)],
}


def write_csv(folder: Path, columns: dict[str, list[Any]]) -> None:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(_cell(cell) for cell in row) for row in rows)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")


def _cell(cell: Any) -> str:
    return "" if cell is None else f'"{cell}"' if isinstance(cell, str) and cell else str(cell)


def write_parquet(folder: Path, columns: dict[str, Any]) -> None:
    parquet.write_table(pa.table(columns), folder / "t.parquet", row_group_size=16)


@pytest.fixture(params=["csv", "parquet"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Writes the columns, some of them replaced, and loads them."""

    def load(changed: dict[str, list[Any]] | None = None, **options: Any) -> Data:
        columns = {**COLUMNS, **(changed or {})}
        if request.param == "csv":
            write_csv(tmp_path, columns)
            spec: Any = CsvData(**{"csv": "t.csv", "target": "bought", **options})
        else:
            write_parquet(tmp_path, columns)
            spec = ParquetData(**{"parquet": "t.parquet", "target": "bought", **options})
        return load_data(spec, folder=tmp_path, seed=0, with_test=True)

    return load


def refused(load: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(SpecError) as error:
        load(*args, **options)
    (problem,) = error.value.problems
    return str(problem)


def raw(data: Data, column: int) -> set[float]:
    parts = [part.x[:, column].astype(float) for part in (data.train, data.validation, data.test) if part is not None]
    return set(np.concatenate(parts).tolist())


# --- kinds -----------------------------------------------------------------------------------------------------------


def test_numbers_booleans_dates_and_categories(table: Any) -> None:
    data = table(features=["age", "member", "joined", "city"], scale="none")
    assert data.preparation is not None
    assert [e.kind for e in data.preparation.encodings] == ["number", "number", "date", "category"]
    assert raw(data, 0) == set(COLUMNS["age"])
    assert raw(data, 1) == {0.0, 1.0}
    assert raw(data, 2) == {(day - date(1970, 1, 1)).days for day in COLUMNS["joined"]}
    assert data.preparation.encodings[3].categories == ("Lima", "Oslo", "Rome")
    assert data.train.x.shape == (36, 6)


def test_every_column_but_those_with_another_part_is_an_input(table: Any) -> None:
    data = table(sample_weight="weight", group="user")
    assert data.features == ("age", "member", "joined", "city", "review", "left", "right", "price")
    listed = table(sample_weight="weight", group="user", features=["age", "user"])
    assert listed.features == ("age", "user")


def test_a_kind_can_be_said(table: Any) -> None:
    data = table(features=["user", "age"], columns={"user": "category"})
    assert data.preparation is not None
    assert data.preparation.encodings[0].categories == tuple(sorted(str(i) for i in range(10)))
    words = table(features=["review"], columns={"review": "text"})
    assert set(map(tuple, words.train.x[:, 1:].tolist())) == {(1, 1, 0), (0, 1, 1), (1, 0, 0)}  # good, so, bad


def test_the_order_of_words_is_integers_alone(table: Any) -> None:
    text = {"kind": "text", "output_mode": "int", "length": 4}
    data = table(features=["review"], columns={"review": text})
    assert (data.train.x.dtype, data.train.x.shape, data.input_scale) == (np.int32, (36, 4), None)
    told = refused(table, features=["review", "age"], columns={"review": text})
    assert "data.columns.review: output_mode: int makes x the numbers of words" in told


def test_columns_are_the_same_from_both_kinds_of_file(tmp_path: Path) -> None:
    write_csv(tmp_path, COLUMNS)
    write_parquet(tmp_path, COLUMNS)
    text, typed = (
        load_data(spec, folder=tmp_path, seed=0)
        for spec in (CsvData(csv="t.csv", target="bought"), ParquetData(parquet="t.parquet", target="bought"))
    )
    assert np.array_equal(text.train.x, typed.train.x)
    assert np.array_equal(text.train.y, typed.train.y)
    assert text.labels == typed.labels


def test_what_was_learnt_goes_through_json(table: Any) -> None:
    data = table(columns={"review": {"kind": "text", "output_mode": "tf_idf"}})
    told = json.loads(json.dumps(data.preparation.as_json()))
    again = Preparation.from_json(told)
    assert again.encodings == data.preparation.encodings
    assert again.scale is not None
    assert all(np.array_equal(a, b) for a, b in zip(again.scale, data.preparation.scale, strict=True))


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2025-01-02", 20090.0),
        ("1969-12-31", -1.0),
        ("1970-01-01T06:00", 0.25),
        ("1970-01-01 06:00:00.5", 0.25 + 0.5 / 86400),
        ("1970-01-01T06:00:00Z", 0.25),
        ("1970-01-01T06:00+02:00", 4 / 24),
        ("1970-01-01 06:00:00+00", 0.25),
        ("1970-01-01 06:00:00.5-0230", 8.5 / 24 + 0.5 / 86400),
        ("1970-01-01 06:00:00 UTC", 0.25),
        ("1970-01-01T06:00:00.123456789", 0.25 + 0.123456 / 86400),
        ("1970-01-01T06:00:00.1234567Z", 0.25 + 0.123456 / 86400),
        ("1970-01-01T06:00.5", None),
        ("1970-01-01T06:00+25", None),
        ("1970-1-1", None),
        ("02.01.2025", None),
        ("2025-02-30", None),
        ("20250102", None),
    ],
)
def test_dates(text: str, days: float | None) -> None:
    cells = read_cells([text, "2025-01-01", ""], "date")
    assert cells.missing.tolist() == [False, False, True]
    assert cells.odd.tolist() == [days is None, False, False]
    if days is not None:
        assert cells.values[0] == pytest.approx(days, abs=1e-9)


def test_a_column_of_dates_with_a_few_that_are_none(table: Any, tmp_path: Path) -> None:
    days = [f"2025-01-{1 + i % 28:02d}" for i in range(N)]
    days[5] = "soon"
    told = refused(table, {"joined": days}, features=["age", "joined"], columns={"joined": "date"})
    assert "column 'joined': not a date (such as 2025-01-31 or 2025-01-31T12:00), got 'soon'. Correct it, or" in told


# --- missing values, each with its place -----------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["age", "joined", "city", "member"])
def test_a_missing_value_is_told_with_its_place(table: Any, column: str) -> None:
    holes = [*COLUMNS[column][:4], None, *COLUMNS[column][5:]]
    told = refused(table, {column: holes}, features=["age", column] if column != "age" else ["age"])
    assert told.startswith((f"t.csv:6: column '{column}': missing", f"t.parquet: row 5: column '{column}': missing"))
    assert sum(table({column: holes}, missing="drop").rows.values()) == N - 1


@pytest.mark.parametrize(("rule", "statistic"), [("mean", np.mean), ("median", np.median)])
def test_dates_are_filled_in_like_numbers(table: Any, rule: str, statistic: Any) -> None:
    holes = [None, *COLUMNS["joined"][1:]]
    data = table({"joined": holes}, features=["joined"], missing=rule)
    known = {(day - date(1970, 1, 1)).days for day in holes if day is not None}
    fill = data.preparation.encodings[0].fill
    assert min(known) < fill < max(known)


def test_empty_text_is_a_text_without_words(table: Any) -> None:
    holes = ["", *COLUMNS["review"][1:]]
    data = table({"review": holes}, features=["review"], columns={"review": "text"})
    assert sum(data.rows.values()) == N
    assert sum(table({"review": holes}, columns={"review": "text"}, missing="drop").rows.values()) == N - 1


@pytest.mark.parametrize("column", ["bought", "weight", "user", "joined"])
def test_only_inputs_are_filled_in(table: Any, column: str) -> None:
    holes = [*COLUMNS[column][:4], None, *COLUMNS[column][5:]]
    roles = {"weight": {"sample_weight": "weight"}, "user": {"group": "user"}, "joined": {"time": "joined"}}
    options = {"features": ["age"], "missing": "most_frequent", **roles.get(column, {})}
    told = refused(table, {column: holes}, **options)
    assert f"column '{column}': missing value. Say data.missing: {{{column}: drop}} to leave out such rows" in told


# --- what is wrong with columns --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sample_weight": "wait"}, "data.sample_weight: t.{}: unknown column 'wait'; did you mean 'weight'?"),
        ({"group": "usr"}, "data.group: t.{}: unknown column 'usr'; did you mean 'user'?"),
        ({"time": "join"}, "data.time: t.{}: unknown column 'join'; did you mean 'joined'?"),
        ({"target": ["left", "rite"]}, "data.target[1]: t.{}: unknown column 'rite'"),
        ({"target": ["left", "left"]}, "data.target[1]: 'left' stands here twice. Drop one."),
        ({"group": "bought"}, "data.group: 'bought' is the target and can't be the group too."),
        ({"columns": {"ages": "number"}}, "data.columns.ages: t.{}: unknown column 'ages'; did you mean 'age'?"),
        ({"columns": {"bought": "text"}}, "data.columns.bought: a target is number or category, got text."),
        ({"group": "user", "columns": {"user": "category"}}, "data.columns.user: 'user' is neither an input nor the"),
        ({"time": "city"}, "data.time: t.{}: column 'city' holds text and can't be the time. Name a column of numbers"),
        ({"target": "joined"}, "data.target: t.{}: column 'joined' holds dates and can't be the target. Say data.col"),
        ({"missing": {"review": "mean"}, "columns": {"review": "text"}}, "data.missing.review: free text can't be fil"),
    ],
)
def test_wrong_columns_are_told(table: Any, options: dict[str, Any], words: str) -> None:
    told = refused(table, **options)
    assert told.startswith((words.format("csv"), words.format("parquet")))


def test_several_targets_must_be_numbers(tmp_path: Path) -> None:
    columns = {**COLUMNS, "left": ["x", *COLUMNS["left"][1:]]}
    write_csv(tmp_path, columns)
    with pytest.raises(SpecError, match=r"t\.csv:2: column 'left': not a finite number, got 'x' where most values"):
        load_data(CsvData(csv="t.csv", target=["left", "right"]), folder=tmp_path, seed=0)


@pytest.mark.parametrize(("value", "words"), [(-1.0, "a weight must be at least 0, got -1.0"), (np.inf, "got 'inf'")])
def test_weights_are_numbers_of_at_least_0(table: Any, value: float, words: str) -> None:
    weights = [*COLUMNS["weight"][:9], value, *COLUMNS["weight"][10:]]
    told = refused(table, {"weight": weights}, sample_weight="weight")
    assert words in told
    assert told.startswith(("t.csv:11: ", "t.parquet: row 10: "))
    assert "every weight is 0" in refused(table, {"weight": [0.0] * N}, sample_weight="weight")


# --- targets ---------------------------------------------------------------------------------------------------------


def test_several_targets(table: Any) -> None:
    labels = table(target=["left", "right"])
    assert (labels.task, labels.labels, labels.outputs) == ("labels", ("left", "right"), ("left", "right"))
    assert (labels.train.y.shape, labels.train.y.dtype, labels.target_scale) == ((36, 2), np.float32, None)
    numbers = table(target=["price", "age"])
    assert (numbers.task, numbers.labels, numbers.outputs) == ("regression", None, ("price", "age"))
    assert numbers.target_scale is not None
    assert numbers.target_scale[0].shape == (2,)
    assert table(target="price").outputs == ("price",)
    exclusive = table({"right": [1 - i % 2 for i in range(N)]}, target=["left", "right"])
    assert (exclusive.task, exclusive.labels) == ("classes", ("left", "right"))


def test_which_of_several_targets_lies_far_from_0_is_told(table: Any) -> None:
    far = [1e5 + i % 7 for i in range(N)]
    (note,) = (one for one in table({"left": far}, target=["price", "left"]).notes if "r2_score" in one)
    assert re.match(r"the target 'left' lies 5\.\d+e\+04 of its deviations from 0", note)
    (note,) = (one for one in table({"left": far}, target="left", task="regression").notes if "r2_score" in one)
    assert re.match(r"the target lies 5\.\d+e\+04 of its deviations from 0", note)


def test_booleans_are_classes_by_their_own_names(table: Any) -> None:
    data = table(target="member", features=["age"])
    assert data.task == "classes"
    assert [str(label) for label in data.labels] == ["False", "True"]


# --- the Parquet file ------------------------------------------------------------------------------------------------


def test_types_of_parquet(tmp_path: Path) -> None:
    zone = datetime(2025, 1, 2, 12, tzinfo=UTC)
    write_parquet(
        tmp_path,
        {
            "small": pa.array([1.5, None, 3.5], pa.float32()),
            "whole": pa.array([1, None, 3], pa.int64()),
            "price": pa.array([1, None, 3], pa.decimal128(9, 2)),
            "day": pa.array([date(2025, 1, 2), None, None], pa.date32()),
            "moment": pa.array([zone, None, None], pa.timestamp("ns", "Europe/Oslo")),
            "plain": pa.array([datetime(2025, 1, 2, 12), None, None], pa.timestamp("ms")),
            "code": pa.array(["a", None, "a"]).dictionary_encode(),
            "list": pa.array([[1], [2], [3]]),
        },
    )
    names = ["small", "whole", "price", "day", "moment", "plain", "code", "list"]
    (sheet,) = parquet_sheets("t.parquet", tmp_path / "t.parquet", names, rows=10)
    typed = [column for column in map(sheet.column, names[:6]) if isinstance(column, Typed)]
    small, whole, price, day, moment, plain = typed
    assert small.values.dtype == np.float32
    assert np.array_equal(small.values, [1.5, np.nan, 3.5], equal_nan=True)
    assert np.array_equal(whole.values, [1, np.nan, 3], equal_nan=True)
    assert np.array_equal(price.values, [1, np.nan, 3], equal_nan=True)
    assert [column.values[0] for column in (day, moment, plain)] == [20090.0, 20090.5, 20090.5]
    assert sheet.column("code") == ["a", "", "a"]
    with pytest.raises(SpecError, match="only numbers, booleans, dates and text can be used"):
        sheet.column("list")


def sheet_of(folder: Path, **columns: Any) -> Any:
    write_parquet(folder, columns)
    (sheet,) = parquet_sheets("t.parquet", folder / "t.parquet", list(columns), rows=10**6)
    return sheet


@pytest.mark.parametrize("kind", [pa.decimal128(12, 2), pa.decimal256(40, 2)])
def test_decimals_are_the_floats_that_their_digits_are(tmp_path: Path, kind: Any) -> None:
    written = [Decimal(i) / 100 for i in range(-100, 20_000)]
    found = sheet_of(tmp_path, price=pa.array([*written, None], kind)).column("price")
    assert found.values[:-1].tolist() == [float(str(one)) for one in written]
    assert np.isnan(found.values[-1])
    labels = read_cells(
        sheet_of(tmp_path, price=pa.array([Decimal("1.15"), Decimal("2.30")], kind)).column("price"), "category"
    )
    assert labels.values.tolist() == ["1.15", "2.3"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_moments_in_every_unit_are_as_pandas_has_them(tmp_path: Path, unit: str) -> None:
    counts = [-1_500_000_001, 0, 1_700_000_000_123_456_789 if unit == "ns" else 123_456_789, None]
    found = sheet_of(tmp_path, moment=pa.array(counts, pa.timestamp(unit))).column("moment")
    moments = pd.Series(np.array([0 if one is None else one for one in counts], f"M8[{unit}]"))
    days = (moments.astype("M8[us]").astype("int64") if unit != "ns" else moments.astype("int64") // 1000) / 86_400e6
    assert found.values[:3].tolist() == days.tolist()[:3]
    assert np.isnan(found.values[3])


@pytest.mark.parametrize(
    "far",
    [
        pa.array([0, 10**13], pa.timestamp("s")),
        pa.array([0, -(10**16)], pa.timestamp("ms")),
        pa.array([0, 10**16], pa.date64()),
        pa.array([0, 2**31 - 1], pa.date32()),
    ],
)
def test_moments_that_64_bits_do_not_hold_are_refused(tmp_path: Path, far: Any) -> None:
    sheet = sheet_of(tmp_path, far=far)
    with pytest.raises(
        SpecError, match="column 'far' holds dates more than 292,000 years from now in 1 rows, first in row 2"
    ):
        sheet.column("far")


def test_texts_of_every_type_and_columns_of_none(tmp_path: Path) -> None:
    texts = ["a ", "b", None]
    sheet = sheet_of(
        tmp_path, view=pa.array(texts, pa.string_view()), large=pa.array(texts, pa.large_string()), none=pa.nulls(3)
    )
    assert sheet.column("view") == sheet.column("large") == ["a", "b", ""]
    assert sheet.column("none") == ["", "", ""]


def test_numbers_are_of_the_digits_of_ascii_alone() -> None:
    """As pandas has it; Python's own float takes the digits of every script."""
    cells = read_cells(["１２", "٣", "4", "5", "6", "7"], None)
    assert (cells.kind, cells.odd.tolist()) == ("number", [True, True, False, False, False, False])
    assert read_cells(["１２", "٣"], None).kind == "category"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_are_read_piece_by_piece_too(tmp_path: Path, kind: str) -> None:
    (write_csv if kind == "csv" else write_parquet)(tmp_path, COLUMNS)
    read: Callable[..., Iterator[Sheet]] = csv_sheets if kind == "csv" else parquet_sheets
    sheets = list(read(f"t.{kind}", tmp_path / f"t.{kind}", ["age", "city"], rows=25))
    cells = [read_cells(sheet.column("age"), "number").values for sheet in sheets]
    assert [len(one) for one in cells] == [25, 25, 10]
    assert np.concatenate(cells).tolist() == COLUMNS["age"]
    assert sheets[2].place(0) == {"csv": "t.csv:52", "parquet": "t.parquet: row 51"}[kind]


def test_what_is_no_parquet_file_is_told(tmp_path: Path) -> None:
    def load() -> None:
        load_data(ParquetData(parquet="t.parquet", target="bought"), folder=tmp_path, seed=0)

    assert refused(load).startswith("data.parquet: no such file: t.parquet (looked for ")
    (tmp_path / "t.parquet").write_text("age,bought\n1,yes\n")
    assert refused(load).startswith("data.parquet: t.parquet is no readable Parquet file (")
    write_parquet(tmp_path, {"age": pa.array([], pa.float32()), "bought": pa.array([], pa.string())})
    assert refused(load) == "data.parquet: t.parquet has no rows. Add rows."


# --- tables that are too large for memory ----------------------------------------------------------------------------


def test_a_large_table_lies_on_the_disk_and_gives_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holes = {**COLUMNS, "age": [None, *COLUMNS["age"][1:]], "city": [*COLUMNS["city"][:-1], None]}
    write_parquet(tmp_path, holes)
    spec = ParquetData(
        parquet="t.parquet", target="bought", missing={"age": "median", "city": "drop"}, columns={"review": "text"}
    )
    held = load_data(spec, folder=tmp_path, seed=0, with_test=True)
    monkeypatch.setattr(parquet_table, "HELD_NUMBERS", 100)
    monkeypatch.setattr(spool, "ROWS", 7)
    cache = tmp_path / "cache"
    large = load_data(spec.model_copy(update={"stream": True}), folder=tmp_path, seed=0, with_test=True, cache=cache)
    assert large.fingerprint == held.fingerprint
    for name in ("train", "validation", "test"):
        ours, whole = getattr(large, name), getattr(held, name)
        assert isinstance(ours.x, Stored)
        assert isinstance(ours.x.source, Mapped)
        assert np.array_equal(ours.x[:], whole.x)
        assert np.array_equal(ours.x[np.array([3, 1])], whole.x[[3, 1]])
        assert np.array_equal(ours.y, whole.y)
    (written,) = (one for one in cache.iterdir() if one.suffix != ".json")
    before = written.stat().st_mtime_ns
    load_data(spec, folder=tmp_path, seed=0, cache=cache)
    assert written.stat().st_mtime_ns == before, "written twice"
    load_data(spec, folder=tmp_path, seed=1, cache=cache)
    assert len([one for one in cache.iterdir() if one.suffix != ".json"]) == 2, (
        "another training part has other statistics"
    )
