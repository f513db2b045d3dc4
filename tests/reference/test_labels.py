"""No two labels, groups or categories become one, and each is spelled as the file has it; all of them written out."""

from __future__ import annotations

import sys
import types
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from hptune.base.errors import SpecError
from hptune.run.rundir import RunPaths
from hptune.training.data.inputs import Encoding, Preparation
from hptune.training.export.signature import Signature, read_signature, write_signature
from hptune.training.export.unseen import read_unseen

from . import asked

ROWS = 60
B53, B63, B64 = 2**53, 2**63, 2**64


def of_csv(where: Path, labels: list[str], **options: Any) -> Any:
    lines = [f"{i},{labels[i % len(labels)]}" for i in range(ROWS)]
    (where / "t.csv").write_text("\n".join(["row,y", *lines]) + "\n")
    return asked.loaded(where, {"csv": "t.csv", "target": "y", **options}, rows=ROWS)


def of_parquet(where: Path, labels: list[Any], kind: Any, **options: Any) -> Any:
    column = pa.array([labels[i % len(labels)] for i in range(ROWS)], kind)
    parquet.write_table(pa.table({"row": np.arange(ROWS), "y": column}), where / "t.parquet")
    return asked.loaded(where, {"parquet": "t.parquet", "target": "y", **options}, rows=ROWS)


def of_code(monkeypatch: pytest.MonkeyPatch, returned: Any, **options: Any) -> Any:
    module = types.ModuleType("labels_of_mine")
    module.data = lambda: returned  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "labels_of_mine", module)
    return asked.loaded(Path(), {"python": "labels_of_mine:data", "scale": "standardize", **options}, rows=ROWS)


def x() -> Any:
    return np.stack([np.arange(ROWS), np.arange(ROWS) % 7], axis=1)


def objects(labels: list[Any]) -> Any:
    made = np.empty(ROWS, object)
    made[:] = [labels[i % len(labels)] for i in range(ROWS)]
    return made


def spelled(found: Any) -> list[str]:
    """The classes as they are told, each of which is that of its rows: the labels went round."""
    labels = [str(one) for one in found.data.labels]
    by_row = dict(zip(found.order.tolist(), found.y.tolist(), strict=True))
    assert len({by_row[i] for i in range(len(labels))}) == len(labels), "a class is lost"
    assert all(by_row[i] == by_row[i % len(labels)] for i in range(ROWS))
    return labels


# --- text files ------------------------------------------------------------------------------------------------------

SPELLINGS = [
    (["-1", "9223372036854775813", "9223372036854775814"], None),
    (["18446744073709551616", "18446744073709551617"], None),
    (["100000000000000000001", "100000000000000000002", "100000000000000000003"], None),
    (["5", "9007199254740992", "9007199254740993"], ["5", "9007199254740992.0", "9007199254740993.0"]),
    (["3", "1e+30"], ["3", "1e30"]),
    (["1e+22", "1e+30"], ["1e22", "1e+30"]),
    (["7", "10000000000000000000000", "10000000000000000000001"], ["7", "1e22", "10000000000000000000001"]),
    (["0.5", "9007199254740992", "9007199254740993"], None),
    (["0.1", "0.3"], ["0.10", "0.3"]),
]


@pytest.mark.parametrize(("told", "written"), SPELLINGS)
def test_labels_of_csv(tmp_path: Path, told: list[str], written: list[str] | None) -> None:
    assert spelled(of_csv(tmp_path, written or told, task="classes")) == told


@pytest.mark.parametrize("told", [SPELLINGS[i][0] for i in (0, 1, 2)])
def test_whole_numbers_are_classes_without_being_told(tmp_path: Path, told: list[str]) -> None:
    assert spelled(of_csv(tmp_path, told)) == told
    assert spelled(of_csv(tmp_path, told, target=["y"])) == told


def test_a_regression_stays_one(tmp_path: Path) -> None:
    """Of many digits and many values; and of few, where it is told to be one."""
    many = of_csv(tmp_path, [str(B64 + 10**16 * i) for i in range(ROWS)])
    assert (many.data.task, many.data.labels) == ("regression", None)
    few = of_csv(tmp_path, ["-1", str(B63 + 5), str(B64 * 3)], task="regression")
    wanted = np.array([-1.0, float(B63 + 5), float(B64 * 3)])[few.order % 3]
    np.testing.assert_allclose(few.y, wanted, rtol=1e-6)
    listed = of_csv(tmp_path, [str(B64 + 10**16 * i) for i in range(ROWS)], target=["y"])
    assert listed.data.task == "regression"


def test_weights_of_classes_are_named_as_they_are_told(tmp_path: Path) -> None:
    found = of_csv(tmp_path, ["3", "1e30"], task="classes", class_weight={"1e+30": 5.0})
    weights = found.data.train.sample_weight
    assert Counter(weights.tolist()) == Counter(np.where(found.train % 2, 5.0, 1.0).tolist())


def test_labels_are_kept_for_predictions(tmp_path: Path) -> None:
    labels = of_csv(tmp_path, ["-1", str(B64), str(B64 + 1)]).data.labels
    of_float32 = of_parquet(tmp_path, [0.1, 0.2], pa.float32(), task="classes").data.labels
    for one in (labels, of_float32):
        run = RunPaths(tmp_path / "runs" / "r")
        write_signature(run, Signature("classes", Preparation((), None), labels=one))
        assert read_signature(run).labels == one


# --- Parquet ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "kind", "told"),
    [
        ([Decimal(B53 + i) for i in (1, 2, 3)], pa.decimal128(20, 0), [str(B53 + i) for i in (1, 2, 3)]),
        ([Decimal(B64 + i) for i in (1, 2, 3)], pa.decimal128(20, 0), [str(B64 + i) for i in (1, 2, 3)]),
        ([Decimal(B53 + i) for i in (1, 2, 3)], pa.decimal128(20, 2), [str(B53 + i) for i in (1, 2, 3)]),
        ([Decimal(10**40 + i) for i in (1, 2)], pa.decimal256(50, 0), [str(10**40 + i) for i in (1, 2)]),
        ([Decimal("0.1"), Decimal("0.2")], pa.decimal128(20, 1), ["0.1", "0.2"]),
        ([Decimal(f"{B53}.25"), Decimal(f"{B53}.5")], pa.decimal128(20, 2), [f"{B53}.25", f"{B53}.5"]),
        ([0.1, 0.2], pa.float32(), ["0.1", "0.2"]),
        ([np.float16(0.1), np.float16(0.2)], pa.float16(), ["0.1", "0.2"]),
        ([1.0, 2.0, 1e30], pa.float64(), ["1", "2", "1e+30"]),
        ([1e-5, 0.1], pa.float64(), ["1e-05", "0.1"]),
        ([B64 - 1, B64 - 2, B63], pa.uint64(), [str(B63), str(B64 - 2), str(B64 - 1)]),
    ],
)
def test_labels_of_parquet(tmp_path: Path, labels: list[Any], kind: Any, told: list[str]) -> None:
    assert spelled(of_parquet(tmp_path, labels, kind, task="classes")) == told


@pytest.mark.parametrize(
    ("kind", "least"),
    [(pa.decimal128(25, 0), Decimal(B53 * 100)), (pa.decimal128(25, 0), Decimal(B64)),
     (pa.decimal128(30, 2), Decimal(f"{B64}.25"))],
)  # fmt: skip
def test_groups_that_are_decimals(tmp_path: Path, kind: Any, least: Decimal) -> None:
    ids = pa.array([least + i // 4 for i in range(ROWS)], kind)
    table = {"row": np.arange(ROWS), "g": ids, "y": np.sin(np.arange(ROWS))}
    parquet.write_table(pa.table(table), tmp_path / "t.parquet")
    options = {"parquet": "t.parquet", "target": "y", "group": "g", "features": ["row"]}
    found = asked.loaded(tmp_path, options, rows=ROWS)
    assert sorted(len(set((rows // 4).tolist())) for rows in found.rows.values()) == [3, 3, 9]


@pytest.mark.parametrize(
    ("kind", "days", "told"),
    [
        (pa.date32(), [date(2024, 1, 1), date(1969, 12, 31)], ["1969-12-31", "2024-01-01"]),
        (pa.timestamp("ns"), [datetime(2024, 1, 1), datetime(2024, 1, 1, 12, 30)],
         ["2024-01-01", "2024-01-01 12:30:00"]),
        (pa.timestamp("us"), [datetime(2524, 1, 1, 0, 0, 0, 1), datetime(2524, 1, 1, 0, 0, 0, 2)],
         ["2524-01-01 00:00:00.000001", "2524-01-01 00:00:00.000002"]),
    ],
)  # fmt: skip
def test_dates_are_classes_where_it_is_told(tmp_path: Path, kind: Any, days: list[Any], told: list[str]) -> None:
    with pytest.raises(SpecError, match=r"holds dates.*columns: \{y: category\}"):
        of_parquet(tmp_path, days, kind, task="classes")
    assert spelled(of_parquet(tmp_path, days, kind, columns={"y": "category"})) == told
    assert spelled(of_csv(tmp_path, told, columns={"y": "category"})) == told
    with pytest.raises(SpecError, match=r"holds dates.*Name columns of numbers"):
        of_parquet(tmp_path, days, kind, target=["y"])


def test_truth_values_as_categories_are_classes(tmp_path: Path) -> None:
    assert spelled(of_parquet(tmp_path, [False, True], pa.bool_(), columns={"y": "category"})) == ["False", "True"]


# --- arrays and functions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([-1, B63 + 5, B63 + 6], ["-1", str(B63 + 5), str(B63 + 6)]),
        ([B64, B64 + 1], [str(B64), str(B64 + 1)]),
        ([-1, 2**70 + 5, 2**70 + 6], ["-1", str(2**70 + 5), str(2**70 + 6)]),
        ([np.uint64(B63 + 5), np.int64(-1)], ["-1", str(B63 + 5)]),
        ([1, 1.5, 2.0], ["1", "1.5", "2"]),
        ([np.float32(0.1), np.float32(0.2)], ["0.1", "0.2"]),
        ([False, True], ["False", "True"]),
        (["1", "1.0", "01"], ["01", "1", "1.0"]),
        ([3, 1e30], ["3", "1e+30"]),
    ],
)
@pytest.mark.parametrize("form", ["array", "list", "parts"])
def test_labels_of_functions(monkeypatch: pytest.MonkeyPatch, labels: list[Any], told: list[str], form: str) -> None:
    y = objects(labels)
    if form == "parts":  # each of a kind of its own
        rows = np.arange(ROWS)
        parts = tuple((x()[here], y[here]) for here in (rows[:30], rows[30:48], rows[48:]))
        assert [str(one) for one in of_code(monkeypatch, parts, task="classes").data.labels] == told
        return
    returned = {"x": x(), "y": y.tolist()} if form == "list" else (x(), y)
    assert spelled(of_code(monkeypatch, returned, task="classes")) == told


def test_parts_of_several_integer_types(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = np.arange(30) % 2 - 2
    unsigned = np.arange(30, dtype=np.uint64) % np.uint64(2) + np.uint64(B63 + 5)
    mixed = np.concatenate([signed.astype(object), unsigned.astype(object)])
    parts = ((x(), mixed), (x()[:30] + ROWS, unsigned), (x()[:30] + ROWS + 30, signed))
    module = types.ModuleType("labels_of_mine")
    module.data = lambda: parts  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "labels_of_mine", module)
    found = asked.loaded(Path(), {"python": "labels_of_mine:data", "scale": "standardize"}, rows=ROWS + 60)
    assert found.data.labels == (-2, -1, B63 + 5, B63 + 6)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([1, "1", 2], r"mixes texts \('1'\) and whole numbers \(1\).*\[str\(one\)"),
        ([True, 1, 0], r"mixes booleans \(True\) and whole numbers \(1\).*\[int\(one\)"),
        ([True, 1.5], r"mixes booleans \(True\) and fractions \(1.5\)"),
        ([B53 + 1, B53, 1.5], r"mixes fractions and whole numbers of so many digits.*\[str\(one\)"),
        ([10**400, 1], "beyond 1e308"),
        ([Decimal(1), Decimal(2)], "must hold numbers, booleans or text, got Decimal"),
        ([np.longdouble(1), np.longdouble(2)], "must hold numbers, booleans or text, got longdouble"),
    ],
)
@pytest.mark.parametrize("form", ["array", "list"])
def test_labels_of_several_kinds_are_refused(
    monkeypatch: pytest.MonkeyPatch, labels: list[Any], told: str, form: str
) -> None:
    y = objects(labels)
    returned = {"x": x(), "y": y.tolist()} if form == "list" else (x(), y)
    if form == "list" and isinstance(labels[0], Decimal | np.longdouble):
        return  # numpy reads such a list by its own rules
    with pytest.raises(SpecError, match=told):
        of_code(monkeypatch, returned, task="classes")


@pytest.mark.parametrize("nothing", [[], np.empty(0, object)])
def test_no_labels_at_all_are_told(monkeypatch: pytest.MonkeyPatch, nothing: Any) -> None:
    with pytest.raises(SpecError, match="x has 60 samples and y has 0"):
        of_code(monkeypatch, {"x": x(), "y": nothing})


def test_rows_of_numbers_stay_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.array([[B64 + 10**18 * i, i] for i in range(ROWS)], object)
    found = of_code(monkeypatch, (x(), y))
    assert found.data.task == "regression"
    assert found.y.shape == (ROWS, 2)


@pytest.mark.parametrize("which", ["x", "y"])
@pytest.mark.parametrize("source", ["npz", "python", "predict"])
def test_long_doubles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, source: str) -> None:
    given = {"x": x(), "y": np.arange(ROWS) % 2}
    given[which] = given[which].astype(np.longdouble)
    np.savez(tmp_path / "t.npz", **given)
    signature = Signature("classes", Preparation((), None), shape=(2,) if which == "x" else (1,), array=which)
    reads: dict[str, Callable[[], Any]] = {
        "npz": lambda: asked.loaded(tmp_path, {"npz": "t.npz"}, rows=ROWS),
        "python": lambda: of_code(monkeypatch, given),
        "predict": lambda: list(read_unseen(signature, tmp_path / "t.npz")),
    }
    with pytest.raises(SpecError, match=r"is of the type \w+, in which no model computes.*float64"):
        reads[source]()


@pytest.mark.parametrize(("kind", "told"), [("float32", (0.1, 0.2)), ("float64", (0.1, 0.2)), ("float16", (0.1, 0.2))])
def test_labels_of_npz_are_told_in_the_digits_of_their_type(tmp_path: Path, kind: str, told: Any) -> None:
    y = (np.array([0.1, 0.2])[np.arange(ROWS) % 2]).astype(kind)
    np.savez(tmp_path / "t.npz", x=x(), y=y)
    found = asked.loaded(tmp_path, {"npz": "t.npz", "task": "classes", "scale": "standardize"}, rows=ROWS)
    assert found.data.labels == told


# --- numbers as categories -------------------------------------------------------------------------------------------

FORMS: dict[str, list[Any]] = {"whole": [1, 2, 3], "float64": [1.0, 2.0, 3.0], "float32": [1.0, 2.0, 3.0],
                               "int8": [1, 2, 3], "decimal": [Decimal(1), Decimal(2), Decimal(3)]}  # fmt: skip
TYPES = {"whole": pa.int64(), "float64": pa.float64(), "float32": pa.float32(), "int8": pa.int8(),
         "decimal": pa.decimal128(5, 2)}  # fmt: skip


def numbered(where: Path, kind: str, form: str) -> dict[str, Any]:
    values = [FORMS[form][i % 3] for i in range(ROWS)]
    table = pa.table({"row": np.arange(ROWS), "a": pa.array(values, TYPES[form]), "y": np.sin(np.arange(ROWS))})
    if kind == "parquet":
        parquet.write_table(table, where / "t.parquet")
        return {"parquet": "t.parquet"}
    pd.DataFrame(table.to_pydict()).to_csv(where / "t.csv", index=False)
    return {"csv": "t.csv"}


CATEGORY = {"target": "y", "columns": {"a": "category"}}


@pytest.mark.parametrize("form", FORMS)
def test_whole_numbers_as_categories_have_no_fraction(tmp_path: Path, form: str) -> None:
    found = asked.loaded(tmp_path, {**numbered(tmp_path, "parquet", form), **CATEGORY}, rows=ROWS)
    assert found.data.preparation.encodings[1].categories == ("1", "2", "3")


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        ([0.1, 0.2], pa.float32(), ("0.1", "0.2")),
        ([np.float16(0.1), np.float16(0.2)], pa.float16(), ("0.1", "0.2")),
        ([1.0, 2.5], pa.float64(), ("1.0", "2.5")),
        ([Decimal(B64 + 1), Decimal(B64 + 2)], pa.decimal128(22, 0), (str(B64 + 1), str(B64 + 2))),
        ([date(2024, 1, 1), date(2024, 1, 2)], pa.date32(), ("2024-01-01", "2024-01-02")),
        ([1.0, None], pa.float64(), ("1",)),
    ],
)
def test_categories_are_spelled_shortly(tmp_path: Path, values: list[Any], kind: Any, told: tuple[str, ...]) -> None:
    column = pa.array([values[i % 2] for i in range(ROWS)], kind)
    table = {"row": np.arange(ROWS), "a": column, "y": np.sin(np.arange(ROWS))}
    parquet.write_table(pa.table(table), tmp_path / "t.parquet")
    found = asked.loaded(tmp_path, {"parquet": "t.parquet", "missing": "most_frequent", **CATEGORY}, rows=ROWS)
    assert found.data.preparation.encodings[1].categories == told


@pytest.mark.parametrize("trained", ["whole", "float64"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("unseen", FORMS)
@pytest.mark.parametrize("of", ["csv", "parquet"])
def test_a_category_is_the_same_whole_or_not(tmp_path: Path, trained: str, kind: str, unseen: str, of: str) -> None:
    """What training had of one type and in one file, `predict` may find of another in another."""
    found = asked.loaded(tmp_path, {**numbered(tmp_path, kind, trained), **CATEGORY}, rows=ROWS)
    (name,) = numbered(tmp_path, of, unseen).values()
    signature = Signature("regression", found.data.preparation, features=("row", "a"))
    (piece,) = read_unseen(signature, tmp_path / name)
    categories = found.data.preparation.encodings[1].categories
    assert piece.samples[1].values.tolist() == [categories[i % 3] for i in range(ROWS)]


@pytest.mark.parametrize("stranger", ["01", "1.5", "1.", "10", "+1", "1.01"])
def test_another_number_is_another_category(tmp_path: Path, stranger: str) -> None:
    encoding = Encoding("a", "category", categories=("1", "2.0", "3"))
    (tmp_path / "new.csv").write_text(f"a\n1.0\n2\n2.0\n{stranger}\n")
    with pytest.raises(SpecError) as error:
        list(
            read_unseen(Signature("regression", Preparation((encoding,), None), features=("a",)), tmp_path / "new.csv")
        )
    (problem,) = error.value.problems
    assert f"{stranger!r} was not in the training data" in str(problem)
