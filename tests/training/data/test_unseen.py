"""Unseen samples are read as training read its own, and what training could not have held is told with its place."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.run.rundir import RunPaths
from hptune.training.data.inputs import Encoding, Preparation
from hptune.training.export import unseen
from hptune.training.export.signature import Signature, read_signature, write_signature
from hptune.training.export.unseen import read_unseen

ENCODINGS = (
    Encoding("age", "number", fill=40.0),
    Encoding("income", "number"),
    Encoding("city", "category", categories=("Lima", "Oslo")),
    Encoding("joined", "date"),
)
TABLE = Signature(
    "classes", Preparation(ENCODINGS, None), features=("age", "income", "city", "joined"), labels=("n", "y")
)
ARRAYS = Signature("classes", Preparation((), None), shape=(2, 2), labels=(0, 1))

GOOD = "joined;city;other;age;income\n2025-01-02;Oslo;?;;1.5\n1970-01-11;Lima;?;30;-2\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "new.csv"
    path.write_text(text)
    return path


def problems(signature: Signature, path: Path) -> list[str]:
    with pytest.raises(SpecError) as error:
        list(read_unseen(signature, path))
    return [str(problem).replace(f"{path.parent}/", "") for problem in error.value.problems]


def test_columns_are_found_by_their_names_and_others_are_passed_over(tmp_path: Path) -> None:
    (piece,) = read_unseen(TABLE, write(tmp_path, GOOD))
    assert isinstance(piece.samples, tuple)
    age, income, city, joined = (column.values.tolist() for column in piece.samples)
    assert np.isnan(age[0])
    assert (age[1], income, city, joined) == (30, [1.5, -2], ["Oslo", "Lima"], [20090, 10])


def test_a_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{i},{i},Oslo,2025-01-01\n" for i in range(10))
    path = write(tmp_path, "age,income,city,joined\n" + rows)
    monkeypatch.setattr(unseen, "ROWS", 4)
    pieces = list(read_unseen(TABLE, path))
    assert [len(piece.known) for piece in pieces] == [4, 4, 2]
    assert np.concatenate([piece.samples[0].values for piece in pieces]).tolist() == list(range(10))


def test_memory_stays_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "age,income,city,joined\n" + "30,1,Oslo,2025-01-01\n" * 10_000)
    monkeypatch.setattr(unseen, "ROWS", 200)
    tracemalloc.start()
    count = sum(len(piece.known) for piece in read_unseen(TABLE, path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_000
    assert peak < 2e6  # all cells at once take 10 MB


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("Lima", "Rome"), "new.csv:3: column 'city': 'Rome' was not in the training data. It knows 'Lima', 'Oslo'."),
        (("Lima", "lima"), "new.csv:3: column 'city': 'lima' was not in the training data. Did you mean 'Lima'?"),
        ((";30;", ";old;"), "new.csv:3: column 'age': must be a number, got 'old'. Correct it."),
        (("1970-01-11", "11.1.1970"), "new.csv:3: column 'joined': must be a date, got '11.1.1970'. Correct it."),
        (("1.5", "inf"), "new.csv:2: column 'income': must be a number, got 'inf'. Correct it."),
        (("1.5", ""), "new.csv:2: column 'income': missing value, which the training data had none of. Fill it in"),
        (("Oslo", "NA"), "new.csv:2: column 'city': missing value"),
        (
            ("city", "town"),
            "new.csv: column 'city' is missing, which the model was trained on. Columns here: joined, town,",
        ),
        (("age", "Age"), "new.csv: column 'age' is missing, which the model was trained on. Is it 'Age'?"),
        (("other", "age"), "new.csv:1: the header names 'age' more than once"),
        ((";?;;", ";;"), "new.csv:2: 4 cells, where the header has 5"),
    ],
)
def test_what_training_could_not_have_held_is_told_with_its_place(
    change: tuple[str, str], told: str, tmp_path: Path
) -> None:
    (problem,) = problems(TABLE, write(tmp_path, GOOD.replace(*change, 1)))
    assert problem.startswith(told)


def test_all_problems_are_told_ten_of_them_one_by_one(tmp_path: Path) -> None:
    text = "age,income,city,joined\n" + "x,1,Rome,2025-01-01\n" * 8
    told = problems(TABLE, write(tmp_path, text))
    assert len(told) == 11
    assert told[0].startswith("new.csv:2: column 'age'")
    assert told[1].startswith("new.csv:2: column 'city'")
    assert told[-1] == "new.csv: 6 more problems like these, 16 in all."


def test_rows_that_training_would_have_dropped_are_known_to_be_left_out(tmp_path: Path) -> None:
    text = "age,income,city,joined\n1,,Oslo,2025-01-01\n2,7,Oslo,2025-01-01\n3,8,Oslo,\n"
    signature = replace(TABLE, dropped=("income", "joined"))
    (piece,) = read_unseen(signature, write(tmp_path, text))
    assert piece.known.tolist() == [False, True, False]
    assert [column.values.tolist() for column in piece.samples] == [[2], [7], ["Oslo"], [20089]]


def test_a_parquet_file_is_read_alike(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"city": ["Oslo", "Rome"], "age": [None, 3], "income": [1.0, 2.0], "joined": np.array([0, 10], "M8[D]")}
    path = tmp_path / "new.parquet"
    parquet.write_table(pa.table(rows), path)
    assert problems(TABLE, path) == [
        "new.parquet: row 2: column 'city': 'Rome' was not in the training data. It knows 'Lima', 'Oslo'."
    ]
    parquet.write_table(pa.table({**rows, "city": ["Oslo", "Lima"]}), path)
    (piece,) = read_unseen(TABLE, path)
    assert piece.samples[3].values.tolist() == [0, 10]


def test_columns_may_make_an_array(tmp_path: Path) -> None:
    signature = Signature("regression", Preparation((), None), shape=(2,), features=("a", "b"))
    (piece,) = read_unseen(signature, write(tmp_path, "b,a\n1,2\n3,4\n"))
    assert piece.samples.tolist() == [[2, 1], [4, 3]]  # type: ignore[union-attr]


def test_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(20.0).reshape(5, 2, 2)
    np.savez(tmp_path / "x.npz", x=x, y=np.ones(5))
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(unseen, "PIECE", 2 * 16)
    for name in ("x.npz", "x.npy"):
        pieces = list(read_unseen(ARRAYS, tmp_path / name))
        assert [len(piece.known) for piece in pieces] == [2, 2, 1]
        np.testing.assert_array_equal(np.concatenate([piece.samples for piece in pieces]), x)


@pytest.mark.parametrize(
    ("x", "name", "told"),
    [
        (np.ones((3, 2)), "x", "must hold numbers of shape [n, 2, 2], as in training; got float64 of shape [3, 2]"),
        (np.full((3, 2, 2), "a"), "x", "must hold numbers of shape [n, 2, 2], as in training; got <U1 of shape"),
        (np.ones((3, 2, 2)), "z", "has no array 'x', which the model takes; it has z"),
        (np.where(np.arange(12).reshape(3, 2, 2) == 9, np.nan, 1), "x", "sample 2 must hold finite numbers"),
    ],
)
def test_arrays_that_don_t_fit(x: Any, name: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **{name: x})
    (problem,) = problems(ARRAYS, path)
    assert told in problem


def test_token_numbers_must_be_whole(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[[1, 2], [3, 4]], [[1, 2.5], [3, 4]]]))
    (problem,) = problems(replace(ARRAYS, integers=True), tmp_path / "x.npy")
    assert "sample 1 must hold whole numbers" in problem


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("no")
    assert "is no readable array file" in problems(ARRAYS, tmp_path / "x.npz")[0]
    assert "Give it a .csv or .parquet or .jsonl file" in problems(TABLE, tmp_path / "x.npz")[0]
    assert "no such file or folder" in problems(TABLE, tmp_path / "none.csv")[0]
    assert "shape [n, 2, 2]" in problems(ARRAYS, write(tmp_path, GOOD))[0]


def test_pictures_that_can_t_be_decoded_are_named(tmp_path: Path) -> None:
    signature = replace(ARRAYS, shape=(2, 2, 1), picture=(2, 2, 1))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no")
    assert problems(signature, tmp_path / "in") == [
        "in/a.png: can't be decoded: no picture of a known format. Fix or remove it."
    ]
    (piece,) = read_unseen(replace(signature, dropped=("picture",)), tmp_path / "in")
    assert (piece.known.tolist(), piece.files) == ([False], (str(tmp_path / "in" / "a.png"),))
    (tmp_path / "none").mkdir()
    assert "holds no file" in problems(signature, tmp_path / "none")[0]


def test_a_signature_reads_back(tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "r")
    signature = replace(TABLE, shape=(2,), dropped=("age",), targets=("t",), logits=True, raw=False, picture=(1, 2, 3))
    write_signature(run, signature)
    back = read_signature(run)
    assert back.preparation.encodings == ENCODINGS
    plain = [name for name in Signature.__slots__ if name != "preparation"]
    assert [getattr(back, name) for name in plain] == [getattr(signature, name) for name in plain]
