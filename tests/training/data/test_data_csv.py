"""CSV tables: how they are read, and every problem with its line and its words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.experiment.data import CsvData
from hptune.training.data import Data, load_data
from hptune.training.data.reading import Reading
from hptune.training.data.sources.table_files import read_table_file

HEADER = "age,city,bought"


def body(n: int = 30) -> list[str]:
    return [f"{20 + i},{'Oslo' if i % 3 else 'Lima'},{'yes' if i % 2 else 'no'}" for i in range(n)]


def write(folder: Path, text: str, encoding: str = "utf-8") -> None:
    (folder / "t.csv").write_bytes(text.encode(encoding))


def table(folder: Path, lines: list[str], header: str = HEADER) -> None:
    write(folder, "\n".join([header, *lines]) + "\n")


def load(folder: Path, **options: Any) -> Data:
    return load_data(CsvData(**{"csv": "t.csv", "target": "bought", **options}), folder=folder, seed=0)


def refused(folder: Path, **options: Any) -> list[str]:
    with pytest.raises(SpecError) as error:
        load(folder, **options)
    return [str(problem) for problem in error.value.problems]


# --- what is read ----------------------------------------------------------------------------------------------------


def test_numbers_are_standardised_and_text_is_one_hot(tmp_path: Path) -> None:
    table(tmp_path, body())
    data = load(tmp_path)
    assert (data.features, data.labels) == (("age", "city"), ("no", "yes"))
    assert np.allclose(data.train.x[:, 0].mean(), 0, atol=1e-6)
    assert np.allclose(data.train.x[:, 0].std(), 1, atol=1e-6)
    assert set(map(tuple, data.train.x[:, 1:].tolist())) == {(0, 1), (1, 0)}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_separators_newlines_quotes_and_the_byte_order_mark(tmp_path: Path, separator: str, newline: str) -> None:
    lines = [HEADER, *body()]
    lines[1] = '20,"a ""quoted"", one; with | all",no'
    reference = newline.join(line.replace(",", separator) if i != 1 else line for i, line in enumerate(lines))
    reference = reference.replace('20,"', f'20{separator}"').replace('",no', f'"{separator}no')
    write(tmp_path, reference, "utf-8-sig")
    raw = read_table_file(CsvData(csv="t.csv", target="bought"), Reading(tmp_path))
    assert raw.features == ("age", "city")
    assert isinstance(raw.x, tuple)
    assert raw.x[1].values[0] == 'a "quoted", one; with | all'
    assert len(raw.y) == 30


def test_spaces_blank_lines_and_a_missing_last_newline(tmp_path: Path) -> None:
    write(
        tmp_path, "\n".join([" age , city , bought", "", *(line.replace(",", " , ") for line in body()), "", ""])[:-2]
    )
    raw = read_table_file(CsvData(csv="t.csv", target="bought"), Reading(tmp_path))
    assert raw.features == ("age", "city")
    assert isinstance(raw.x, tuple)
    assert set(raw.x[1].values) == {"Oslo", "Lima"}
    assert len(raw.y) == 30


def test_only_the_used_columns_must_be_sound(tmp_path: Path) -> None:
    table(tmp_path, [line + "," for line in body()], HEADER + ",empty")
    assert load(tmp_path, features=["age"]).train.x.shape[1] == 1
    assert refused(tmp_path) == [
        "data.csv: t.csv: column 'empty' is empty. Choose another, or leave it out of data.features."
    ]


def test_a_numeric_target(tmp_path: Path) -> None:
    table(tmp_path, body(60))
    assert load(tmp_path, target="age", features=["city"]).task == "regression"
    table(tmp_path, [line.replace("yes", "1").replace("no", "2") for line in body()])
    assert load(tmp_path).labels == (1, 2)
    assert load(tmp_path, task="regression").labels is None


def test_task_classes_takes_labels_that_are_partly_numbers(tmp_path: Path) -> None:
    lines = body()
    lines = [line.replace("yes", "1").replace("no", "2") for line in lines[:20]] + [
        line.replace("yes", "3+").replace("no", "3+") for line in lines[20:]
    ]
    table(tmp_path, lines)
    assert load(tmp_path, task="classes").labels == ("1", "2", "3+")
    assert "say data.task: classes" in refused(tmp_path)[0]


# --- missing values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hole", ["", " ", "NA", "NaN", "null"])
def test_a_missing_value_is_told_with_its_line(tmp_path: Path, hole: str) -> None:
    lines = body()
    lines[7] = f"{hole},Oslo,yes"
    table(tmp_path, lines)
    assert refused(tmp_path) == [
        "t.csv:9: column 'age': missing value. Say data.missing: drop, mean, median or most_frequent "
        "(for all, or {age: …}), or fill it in."
    ]


def test_lines_count_records_over_several_lines_and_blank_lines(tmp_path: Path) -> None:
    lines = body()
    lines[2] = '22,"Oslo\nand\nBergen",yes'
    lines[4] = "\n\n,Oslo,yes"
    table(tmp_path, lines)
    assert refused(tmp_path)[0].startswith("t.csv:10: column 'age': missing value.")


def test_the_file_is_named_as_the_yaml_names_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    table(tmp_path / "sub", [*body(), ",Oslo,yes"])
    with pytest.raises(SpecError, match=r"^sub/\.\./sub/t\.csv:32: column"):
        load_data(CsvData(csv="sub/../sub/t.csv", target="bought"), folder=tmp_path, seed=0)


@pytest.mark.parametrize(
    ("rule", "statistic"),
    [("mean", np.mean), ("median", np.median), ("most_frequent", lambda ages: np.bincount(ages.astype(int)).argmax())],
)
@pytest.mark.parametrize("hole", [0, 1, 2, 3, 4])
def test_a_rule_fills_in_from_the_training_part(
    tmp_path: Path, rule: Any, statistic: Callable[[np.ndarray[Any, Any]], Any], hole: int
) -> None:
    ages = [20 + i % 7 + i % 3 for i in range(60)]
    table(tmp_path, [f"{i},{'' if i == hole else age},{i % 2}" for i, age in enumerate(ages)], "row,age,bought")
    spec = CsvData(csv="t.csv", target="bought", missing=rule, scale="none")
    data = load_data(spec, folder=tmp_path, seed=0, with_test=True)
    assert data.test is not None
    filled = {int(row): age for part in (data.train, data.validation, data.test) for row, age in part.x}
    known = np.array([ages[int(row)] for row in data.train.x[:, 0] if row != hole])
    assert filled[hole] == np.float32(statistic(known))
    assert all(filled[row] == ages[row] for row in range(60) if row != hole)


def test_drop_leaves_the_rows_out(tmp_path: Path) -> None:
    lines = body()
    lines[3], lines[4], lines[5] = ",Oslo,yes", "24,,yes", "25,Oslo,"
    table(tmp_path, lines)
    assert sum(load(tmp_path, missing="drop").rows.values()) == 27
    assert sum(load(tmp_path, missing={"age": "median", "city": "drop", "bought": "drop"}).rows.values()) == 28


def test_most_frequent_fills_in_text(tmp_path: Path) -> None:
    lines = body()
    lines[3] = "23,,yes"
    table(tmp_path, lines)
    data = load(tmp_path, missing={"city": "most_frequent"})
    assert (np.concatenate([data.train.x, data.validation.x])[:, 1:].sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    ("line", "missing", "words"),
    [
        (
            "23,,yes",
            "median",
            "data.missing: column 'city' is text and has no median. Say {city: most_frequent} or drop.",
        ),
        ("23,,yes", {"city": "mean"}, "data.missing: column 'city' is text and has no mean."),
        (",Oslo,yes", {"city": "drop"}, "t.csv:2: column 'age': missing value."),
        ("23,Oslo,", "median", "t.csv:2: column 'bought': missing value. Say data.missing: {bought: drop}"),
        ("23,Oslo,", {"bought": "most_frequent"}, "data.missing.bought: the target can't be filled in"),
        (",Oslo,yes", {"agge": "drop"}, "data.missing.agge: unknown column 'agge'; did you mean 'age'?"),
    ],
)
def test_a_rule_that_does_not_fit(tmp_path: Path, line: str, missing: Any, words: str) -> None:
    table(tmp_path, [line, *body()])
    assert refused(tmp_path, missing=missing)[0].startswith(words)


# --- cells that are wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["abc", "inf", "-Infinity", "1_000", "12b"])
def test_not_a_number_in_a_numeric_column(tmp_path: Path, cell: str) -> None:
    lines = body()
    lines[5] = f"{cell},Oslo,yes"
    table(tmp_path, lines)
    assert refused(tmp_path) == [
        f"t.csv:7: column 'age': not a finite number, got {cell!r} where most values are numbers. "
        "Correct it, or leave the column out of data.features."
    ]


def test_decimal_commas_are_no_categories(tmp_path: Path) -> None:
    table(tmp_path, [f"{i},5;{'yes' if i % 2 else 'no'}" for i in range(30)], "age;bought")
    assert refused(tmp_path)[0] == "t.csv:2: column 'age': '0,5' has a comma. Write numbers as 1234.5."


def test_the_first_ten_problems_and_the_count(tmp_path: Path) -> None:
    table(tmp_path, [*body(), *[",Oslo,yes"] * 14])
    problems = refused(tmp_path)
    assert len(problems) == 11
    assert [problem.split(": ")[0] for problem in problems[:10]] == [f"t.csv:{line}" for line in range(32, 42)]
    assert problems[10] == "t.csv: 4 more problems like these, 14 in all."


def test_ragged_rows(tmp_path: Path) -> None:
    lines = body()
    lines[3], lines[8] = "23,Oslo", "28,Oslo,Norway,yes"
    table(tmp_path, lines)
    assert refused(tmp_path) == [
        "t.csv:5: 2 cells, where the header has 3. Quote cells that hold the separator.",
        "t.csv:10: 4 cells, where the header has 3. Quote cells that hold the separator.",
    ]


def test_a_quote_without_its_end(tmp_path: Path) -> None:
    lines = body()
    lines[3] = '23,"Oslo,yes'
    table(tmp_path, lines)
    assert refused(tmp_path)[0].startswith("t.csv:5: can't be read as CSV (unexpected end of data).")


def test_too_many_categories(tmp_path: Path) -> None:
    table(tmp_path, [f"{i},name{i},{i % 2}" for i in range(2000)], "age,name,bought")
    assert refused(tmp_path)[0].startswith("data.csv: column 'name' holds 1200 different texts, more than 1000.")


# --- the file and its header -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", {}, "data.csv: t.csv is empty."),
        ("\n\n", {}, "data.csv: t.csv is empty."),
        (HEADER + "\n", {}, "data.csv: t.csv has a header line and no rows."),
        (f"{HEADER},age\n1,2,3,4\n", {}, "t.csv:1: the header names 'age' more than once."),
        (
            f"{HEADER}\n1,a,b\n",
            {"target": "bougt"},
            "data.target: t.csv: unknown column 'bougt'; did you mean 'bought'?",
        ),
        (
            f"{HEADER}\n1,a,b\n",
            {"features": ["ege"]},
            "data.features[0]: t.csv: unknown column 'ege'; did you mean 'age'?",
        ),
        (f"{HEADER}\n1,a,b\n", {"features": ["age", "bought"]}, "data.features[1]: 'bought' is the target"),
        (f"{HEADER}\n1,a,b\n", {"features": ["age", "age"]}, "data.features[1]: 'age' stands here twice."),
        (f"{HEADER}\n1,a,b\n", {"features": []}, "data.features: no column is left as an input."),
        (f",{HEADER}\n0,1,a,b\n", {}, "data.csv: t.csv: column 1 has no name in the header."),
    ],
)
def test_headers(tmp_path: Path, text: str, options: dict[str, Any], words: str) -> None:
    write(tmp_path, text)
    assert refused(tmp_path, **options)[0].startswith(words)


def test_every_wrong_feature_is_told(tmp_path: Path) -> None:
    table(tmp_path, body())
    assert len(refused(tmp_path, features=["ege", "town", "bought"])) == 3


def test_wrong_paths_and_encodings(tmp_path: Path) -> None:
    assert refused(tmp_path)[0].startswith("data.csv: no such file: t.csv (looked for ")
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path, csv="folder")[0].startswith("data.csv: must be a file, got the folder folder")
    write(tmp_path, "\n".join([HEADER, *body(), "30,São Paulo,yes"]), "latin-1")
    assert refused(tmp_path)[0].startswith("t.csv:32: not UTF-8 (")


def test_a_class_with_too_few_rows(tmp_path: Path) -> None:
    table(tmp_path, [*body(), "31,Oslo,maybe"])
    assert refused(tmp_path) == [
        "data.target: class 'maybe' has too few rows: 1, and needs at least 3, one for each of train, "
        "validation and test. Add samples, or leave the class out."
    ]
