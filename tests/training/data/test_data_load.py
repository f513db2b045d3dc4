"""load_data: what the parts hold, what they may depend on, and the fingerprint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.experiment.data import CsvData, NpzData, SourceData
from hptune.training.data import Data, facts, load_data

HERE = Path()


def write_csv(folder: Path, rows: list[list[object]], header: str = "a, b, city, y") -> None:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")


def table(n: int = 60) -> list[list[object]]:
    random = np.random.RandomState(0)
    cities = ["Lima", "Oslo", "Rome"]
    return [[i, round(random.normal(5, 2), 3), cities[i % 3], ["no", "yes"][i % 2]] for i in range(n)]


def load_csv(folder: Path, with_test: bool = False, **options: Any) -> Data:
    options = {"target": "y", **options}
    return load_data(CsvData(csv="t.csv", **options), folder=folder, seed=0, with_test=with_test)


def load_npz(folder: Path, arrays: dict[str, Any], with_test: bool = False, **options: Any) -> Data:
    np.savez(folder / "t.npz", **arrays)
    return load_data(NpzData(npz="t.npz", **options), folder=folder, seed=0, with_test=with_test)


def told(error: pytest.ExceptionInfo[SpecError]) -> list[str]:
    return [str(problem) for problem in error.value.problems]


# --- scikit-learn's sets ---------------------------------------------------------------------------------------------


def test_digits() -> None:
    data = load_data(SourceData(source="digits"), folder=HERE, seed=0, with_test=True)
    assert data.test is not None
    x = np.concatenate([part.x for part in (data.train, data.validation, data.test)])
    assert x.shape == (1797, 8, 8, 1)
    assert (x.dtype, x.min(), x.max()) == (np.float32, 0.0, 1.0)
    assert data.train.y.dtype == np.int32
    assert data.labels == tuple(range(10))
    assert data.input_scale is None
    assert data.rows == {"train": 1079, "validation": 359, "test": 359}
    for part in (data.train, data.validation, data.test):
        assert part.x.flags.c_contiguous
        shares = np.bincount(part.y, minlength=10) / len(part)
        assert np.abs(shares - 0.1).max() < 0.01


@pytest.mark.parametrize(
    ("source", "columns", "labels"),
    [
        ("iris", 4, ("setosa", "versicolor", "virginica")),
        ("wine", 13, ("class_0", "class_1", "class_2")),
        ("breast_cancer", 30, ("malignant", "benign")),
    ],
)
def test_the_tables_are_standardised_on_the_training_part(source: Any, columns: int, labels: tuple[str, ...]) -> None:
    data = load_data(SourceData(source=source), folder=HERE, seed=0)
    assert data.labels == labels
    assert data.train.x.shape[1] == columns == len(data.features)
    assert np.allclose(data.train.x.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(data.train.x.std(axis=0), 1, atol=1e-5)
    assert abs(data.validation.x.mean()) > 1e-4


def test_regression_keeps_its_own_unit_and_says_how_to_standardise_it() -> None:
    data = load_data(SourceData(source="diabetes"), folder=HERE, seed=0)
    assert (data.task, data.labels, data.train.y.dtype) == ("regression", None, np.float32)
    assert data.train.y.mean() > 100
    assert data.target_scale is not None
    mean, deviation = data.target_scale
    assert np.allclose([mean, deviation], [data.train.y.mean(), data.train.y.std()], rtol=1e-5)
    assert load_data(SourceData(source="diabetes", scale="none"), folder=HERE, seed=0).target_scale is None


# --- what the parts may depend on ------------------------------------------------------------------------------------


def test_the_test_part_is_out_of_reach_unless_asked_for() -> None:
    spec = SourceData(source="iris")
    search, final = (load_data(spec, folder=HERE, seed=0, with_test=asked) for asked in (False, True))
    assert search.test is None
    assert final.test is not None
    assert search.rows == final.rows
    assert search.fingerprint == final.fingerprint
    assert np.array_equal(search.train.x, final.train.x)
    assert np.array_equal(search.validation.x, final.validation.x)
    assert load_data(SourceData(source="iris", test=0), folder=HERE, seed=0, with_test=True).test is None


@pytest.mark.parametrize("part", ["validation", "test"])
def test_statistics_come_from_the_training_part_alone(tmp_path: Path, part: str) -> None:
    rows = table()
    rows[0][1] = ""  # a hole, so that the fill's statistic counts too
    write_csv(tmp_path, rows)
    before = load_csv(tmp_path, with_test=True, missing="mean", features=["a", "b", "city"])
    assert before.input_scale is not None
    first = getattr(before, part).x[0]
    row = round(float(first[0] * before.input_scale[1][0] + before.input_scale[0][0]))  # column a is the row's number
    rows[row][1], rows[row][2] = 1e6, "Atlantis"
    write_csv(tmp_path, rows)
    after = load_csv(tmp_path, with_test=True, missing="mean", features=["a", "b", "city"])
    assert after.input_scale is not None
    assert np.array_equal(before.train.x, after.train.x)
    assert all(np.array_equal(a, b) for a, b in zip(before.input_scale, after.input_scale, strict=True))
    changed = getattr(after, part).x[0]
    assert changed[1] > 1000
    assert changed[2:].tolist() == [0, 0, 0]  # a category that the training part has not


def test_a_column_that_is_constant_in_the_training_part_is_no_division_by_zero(tmp_path: Path) -> None:
    x = np.random.RandomState(0).normal(size=(50, 2))
    x[:, 1] = 0.1
    data = load_npz(tmp_path, {"x": x, "y": np.arange(50) % 2})
    assert data.input_scale is not None
    assert data.input_scale[1][1] == 1
    assert np.allclose(data.train.x[:, 1], 0)


def test_another_process_gets_the_same_parts_and_fingerprint(tmp_path: Path) -> None:
    write_csv(tmp_path, table())
    data = load_csv(tmp_path, limit=50)
    code = (
        "import sys, json; from pathlib import Path; from hptune.experiment.data import CsvData\n"
        "from hptune.training.data import load_data\n"
        "d = load_data(CsvData(csv='t.csv', target='y', limit=50), folder=Path(sys.argv[1]), seed=0)\n"
        "print(json.dumps([d.fingerprint, d.train.x.tolist(), d.validation.y.tolist()]))"
    )
    out = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == [data.fingerprint, data.train.x.tolist(), data.validation.y.tolist()]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, hptune.training.data\nprint([m for m in ('sklearn', 'pandas', 'tensorflow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- the fingerprint -------------------------------------------------------------------------------------------------


def test_the_fingerprint_changes_with_values_order_and_used_columns_only(tmp_path: Path) -> None:
    def of(rows: list[list[object]], header: str = "a, b, city, y", **options: Any) -> str:
        write_csv(tmp_path, rows, header)
        return load_csv(tmp_path, **options).fingerprint

    used: dict[str, Any] = {"features": ["a", "city"]}
    base = of(table(), **used)
    assert of(table(), **used) == base

    value, text, label, swapped, unused = (table() for _ in range(5))
    value[3][0] = 3.5
    text[3][2] = "Cuzco"
    label[3][3] = "no"
    swapped[3], swapped[5] = swapped[5], swapped[3]
    unused[3][1] = 99
    spelled = [[f"{row[0]}.0", *row[1:]] for row in table()]
    assert len({base, *(of(rows, **used) for rows in (value, text, label, swapped))}) == 5
    assert of(unused, **used) == base
    assert of(spelled, **used) == base  # 3.0 is 3
    assert of(table(), features=["city", "a"]) != base
    assert of(table(), header="a,b,town,y", features=["a", "town"]) != base
    assert of(table(), **used, validation=0.3) != base
    assert of(table(), **used, limit=40) != base


def test_the_fingerprint_of_arrays_is_of_their_values(tmp_path: Path) -> None:
    x, y = np.arange(120.0).reshape(40, 3), np.arange(40) % 2
    base = load_npz(tmp_path, {"x": x, "y": y}).fingerprint
    assert load_npz(tmp_path, {"x": x.astype(">f8"), "y": y.astype(np.int32)}).fingerprint == base
    x[17, 2] = np.nextafter(x[17, 2], 1e9)
    assert load_npz(tmp_path, {"x": x, "y": y}).fingerprint != base


# --- limit, scale, targets -------------------------------------------------------------------------------------------


def test_limit_takes_a_stratified_subset() -> None:
    data = load_data(SourceData(source="digits", limit=200), folder=HERE, seed=0)
    assert data.rows == {"train": 120, "validation": 40, "test": 40}
    assert np.abs(np.bincount(data.train.y) - 12).max() <= 1
    assert load_data(SourceData(source="iris", limit=9999), folder=HERE, seed=0).rows["train"] == 90


Y = np.arange(60) % 3


@pytest.mark.parametrize(
    ("x", "scale", "dtype", "low", "high"),
    [
        (np.tile(np.array([0, 255], np.uint8), (60, 4, 2)), "auto", np.float32, 0, 1),
        (np.tile(np.array([0, 255], np.uint8), (60, 4, 2)), "none", np.int32, 0, 255),
        (np.tile([0, 119], (60, 2)), "auto", np.int32, 0, 119),  # token ids
        (np.tile([0.0, 59.0], 30), "none", np.float32, 0, 59),
        (np.tile([0.0, 9.0], (60, 4, 2)), "auto", np.float32, 0, 9),  # pictures or sequences of floats
        (np.tile([0.0, 9.0], (60, 1)), "none", np.float32, 0, 9),
        (np.repeat([[2.0, 4.0], [3.0, 8.0]], 30, axis=0), "unit", np.float32, 0, 1),
        (np.repeat([[2.0, 4.0], [3.0, 8.0]], 30, axis=0), "standardize", np.float32, -1.1, 1.1),
        (np.tile([True, False], (60, 2)), "auto", np.float32, 0, 1),
    ],
)
def test_scale(tmp_path: Path, x: Any, scale: str, dtype: type[np.generic], low: float, high: float) -> None:
    data = load_npz(tmp_path, {"x": x, "y": Y}, scale=scale)
    assert data.train.x.dtype == dtype
    assert data.train.x.shape[1:] == (x.shape[1:] or (1,))
    tolerance = 0.3 if scale == "standardize" else 0
    assert abs(data.train.x.min() - low) <= tolerance
    assert abs(data.train.x.max() - high) <= tolerance


def test_input_scale_undoes_the_scaling(tmp_path: Path) -> None:
    x = np.random.RandomState(0).randint(0, 256, (60, 5, 5, 3)).astype(np.uint8)
    data = load_npz(tmp_path, {"x": x, "y": Y})
    assert data.input_scale is not None
    offset, divisor = data.input_scale
    pictures = {picture.tobytes() for picture in x}
    assert all(p.tobytes() in pictures for p in np.rint(data.train.x * divisor + offset).astype(np.uint8))


@pytest.mark.parametrize(
    ("y", "task", "labels"),
    [
        (np.array([3, 7] * 30), "classes", (3, 7)),
        (np.array([1.0, 2.0] * 30), "classes", (1, 2)),
        (np.array(["b", "a"] * 30), "classes", ("a", "b")),
        (np.array([True, False] * 30), "classes", (False, True)),
        (np.array([0.5, 1.5] * 30), "regression", None),
        (np.arange(60), "regression", None),
        (np.arange(60).reshape(60, 1) % 2, "classes", (0, 1)),
        (np.random.RandomState(0).normal(size=(60, 2)), "regression", None),
    ],
)
def test_the_task_is_seen_from_the_target(tmp_path: Path, y: Any, task: str, labels: tuple[Any, ...] | None) -> None:
    data = load_npz(tmp_path, {"x": np.arange(120.0).reshape(60, 2), "y": y})
    assert (data.task, data.labels) == (task, labels)
    assert all(type(label) in (int, str, bool) for label in data.labels or ())


def test_a_hundred_classes_from_0_are_classes(tmp_path: Path) -> None:
    arrays = {"x": np.zeros((400, 2)), "y": np.arange(400) % 100}
    assert load_npz(tmp_path, arrays).task == "classes"
    assert load_npz(tmp_path, {**arrays, "y": arrays["y"] * 2}).task == "regression"
    assert load_npz(tmp_path, {**arrays, "y": arrays["y"] * 2}, task="classes").labels == tuple(range(0, 200, 2))


def test_task_overrides_what_is_seen(tmp_path: Path) -> None:
    arrays = {"x": np.zeros((60, 2)), "y": np.arange(60) % 3}
    data = load_npz(tmp_path, arrays, task="regression")
    assert (data.task, data.train.y.dtype, data.train.y.shape) == ("regression", np.float32, (36,))


def test_one_hot(tmp_path: Path) -> None:
    arrays = {"x": np.zeros((60, 2)), "y": np.array([5, 8, 9] * 20)}
    data = load_npz(tmp_path, arrays, one_hot=True)
    assert (data.train.y.shape, data.train.y.dtype, data.labels) == ((36, 3), np.float32, (5, 8, 9))
    assert (data.train.y.sum(axis=1) == 1).all()
    given = load_npz(tmp_path, {**arrays, "y": np.eye(4, dtype=np.float32)[np.arange(60) % 3]})
    assert (given.task, given.labels, given.train.y.shape) == ("classes", (0, 1, 2, 3), (36, 4))


def test_facts_are_json(tmp_path: Path) -> None:
    write_csv(tmp_path, table())
    found = facts(load_csv(tmp_path))
    assert json.loads(json.dumps(found)) == found
    assert found["rows"] == {"train": 36, "validation": 12, "test": 12}
    assert (found["task"], found["classes"], found["features"]) == ("classes", ["no", "yes"], ["a", "b", "city"])
    assert (found["x"], found["y"]) == ({"shape": [5], "dtype": "float32"}, {"shape": [], "dtype": "int32"})
    assert len(found["fingerprint"]) == 64


# --- what can't be learnt from ---------------------------------------------------------------------------------------


def bad(value: float, at: tuple[int, int]) -> np.ndarray:
    x = np.zeros((60, 2))
    x[at] = value
    return x


X = np.zeros((60, 2))


@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        (
            {"x": bad(np.nan, (7, 1)), "y": Y},
            {},
            "data.x: x holds NaN or infinity in 1 of 120 values, first at index [7, 1].",
        ),
        (
            {"x": X, "y": bad(np.inf, (3, 0))},
            {},
            "data.y: y holds NaN or infinity in 1 of 120 values, first at index [3, 0].",
        ),
        ({"x": X, "y": np.zeros(60, int)}, {}, "data.y: the target has one class only (0)"),
        ({"x": X, "y": np.full(60, 0.5)}, {}, "data.y: every value of the target is 0.5"),
        ({"x": X, "y": [0] * 58 + [1] * 2}, {}, "data.y: class 1 has too few rows: 2, and needs at least 3"),
        ({"x": X, "y": Y}, {"limit": 8}, "under limit: 8"),
        ({"x": X, "y": ["a", "b"] * 30}, {"task": "regression"}, "needs a target of numbers, got text such as 'a'"),
        ({"x": X, "y": bad(1, (0, 0))}, {"task": "classes"}, "task: classes needs one label a row or one-hot rows"),
        ({"x": X, "y": np.linspace(0, 1, 60)}, {"one_hot": True}, "data.one_hot: one_hot is for classes"),
        ({"x": X[:2], "y": [0.1, 0.2]}, {}, "2 rows leave 0 for training"),
        (
            {"x": X[:9], "y": Y[:9]},
            {"validation": 0.4, "test": 0.4},
            "9 rows leave 1 for training, which needs a row of each",
        ),
        ({"x": X.astype(int) + 2**40, "y": Y}, {}, "data.x: integers must fit into 32 bits, got 1099511627776"),
    ],
)
def test_what_cannot_be_learnt_from_is_told(
    tmp_path: Path, arrays: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError) as error:
        load_npz(tmp_path, arrays, **options)
    assert len(told(error)) == 1
    assert words in told(error)[0]
