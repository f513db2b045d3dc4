"""`train-best --export` and `predict` as users run them: exit codes, what is printed and what is written."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hptune import __main__ as main
from hptune.run.rundir import RunPaths
from hptune.training.data.inputs import Preparation
from hptune.training.export.answers import Outputs, answers, columns
from hptune.training.export.signature import Signature
from hptune.winner.predict import _write_csv, predict

SPEC = """\
version: 1
name: flats
data: {csv: flats.csv, target: dear, missing: {area: drop}}
model: {layers: [Dense: {units: $units, activation: relu}, Dense: {units: 1, activation: sigmoid}]}
search_space: {units: {type: choice, values: [4]}}
training: {epochs: 2}
strategy: {name: grid}
execution: {executor: inline}
"""
ROWS = [f"{20 + i},{'north' if i % 2 else 'south'},{'yes' if i > 40 else 'no'}" for i in range(80)]


def run(folder: Path, *words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.run(list(words))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flats")
    (folder / "flats.csv").write_text("\n".join(["area,district,dear", *ROWS]) + "\n")
    (folder / "spec.yaml").write_text(SPEC)
    code, _, told = run(folder, "search", "spec.yaml", "--quiet")
    assert code == 0, told
    code, _, told = run(folder, "predict", "--input", "flats.csv")
    assert code == 2
    assert "hptune train-best --run flats" in told
    code, printed, told = run(folder, "train-best", "--export", "savedmodel", "--export", "tflite", "--json")
    assert (code, json.loads(printed)["exported"]) == (1, {"savedmodel": "runs/flats/best/savedmodel"})
    assert "no tflite: it has no operations for text, which the columns district hold" in told
    return folder


def test_a_format_that_is_not_known_costs_no_training(folder: Path) -> None:
    code, printed, told = run(folder, "train-best", "--export", "savedmodl")
    assert (code, printed) == (2, "")
    assert "did you mean 'savedmodel'" in told


def test_predictions_are_csv_or_json_or_a_file(folder: Path) -> None:
    code, printed, _ = run(folder, "predict", "--input", "flats.csv")
    lines = list(csv.reader(printed.splitlines()))
    assert (code, len(lines), lines[0]) == (0, 81, ["prediction", "no", "yes"])
    assert all(line[0] == ("yes" if float(line[2]) > 0.5 else "no") for line in lines[1:])
    rows = json.loads(run(folder, "predict", "--input", "flats.csv", "--json")[1])
    assert [row["prediction"] for row in rows] == [line[0] for line in lines[1:]]
    assert rows[0]["probabilities"]["yes"] == pytest.approx(float(lines[1][2]), rel=1e-5)
    code, nothing, told = run(folder, "predict", "--input", "flats.csv", "--output", "told.csv")
    assert (code, nothing) == (0, "")
    assert "written to told.csv" in told
    assert (folder / "told.csv").read_text() == printed


def test_an_output_is_written_through_a_link_and_to_what_is_no_file(folder: Path) -> None:
    (folder / "link.csv").symlink_to("linked.csv")
    assert run(folder, "predict", "--input", "flats.csv", "--output", "link.csv")[0] == 0
    assert (folder / "link.csv").is_symlink()
    assert (folder / "linked.csv").read_text().startswith("prediction,no,yes\n")
    os.mkfifo(folder / "pipe")
    with ThreadPoolExecutor() as pool:
        heard = pool.submit((folder / "pipe").read_text)
        assert run(folder, "predict", "--input", "flats.csv", "--output", "pipe")[0] == 0
        assert heard.result(timeout=60) == (folder / "linked.csv").read_text()
    assert (folder / "pipe").is_fifo()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "preparation": 7}'])
def test_a_damaged_signature_is_told(folder: Path, text: str) -> None:
    path = folder / "runs/flats/best/signature.json"
    whole = path.read_text()
    path.write_text(text)
    code, printed, told = run(folder, "predict", "--input", "flats.csv")
    path.write_text(whole)
    assert (code, printed) == (1, "")
    assert "signature.json is damaged. Write it anew: hptune train-best --run flats" in told


@pytest.mark.parametrize("odd", [{"labels": 5}, {"shape": None}, {"features": {"a": 1}}, {"raw": []}, {"more": 1}])
def test_a_signature_of_other_types_is_damaged(folder: Path, odd: dict[str, object]) -> None:
    path = folder / "runs/flats/best/signature.json"
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), **odd}))
    code, _, told = run(folder, "predict", "--input", "flats.csv")
    path.write_text(whole)
    assert code == 1
    assert "signature.json is damaged" in told


def test_notes_are_told_beside_the_winner_too(tmp_path: Path) -> None:
    """That Keras's MAPE divides by no less than 1e-7: by train-best and in the report."""
    rows = "".join(f"{n},{(n % 7 + 1) * 1e-12}\n" for n in range(60))
    (tmp_path / "t.csv").write_text("x,y\n" + rows)
    text = SPEC.replace("flats.csv, target: dear, missing: {area: drop}", "t.csv, target: y, task: regression")
    text = text.replace(", activation: sigmoid", "").replace("epochs: 2", "epochs: 1, metrics: [mae, mape]")
    (tmp_path / "spec.yaml").write_text(text)
    told = [run(tmp_path, *words)[2] for words in (("search", "spec.yaml"), ("train-best",))]
    assert run(tmp_path, "report")[0] == 0
    (page,) = tmp_path.rglob("report.html")
    for place in [*told, page.read_text()]:
        assert (
            "60 of 60 values of the target are nearer to 0 than 1e-07, and mape divides by no less than that" in place
        )


def test_a_row_that_training_would_have_dropped_has_an_empty_line(folder: Path) -> None:
    (folder / "gap.csv").write_text("area,district\n30,north\n,south\n50,south\n")
    code, printed, told = run(folder, "predict", "--input", "gap.csv")
    assert (code, printed.splitlines()[2]) == (0, ",,")
    assert "without a prediction, as data.missing: drop has it: 1" in told


def test_what_can_t_be_taken_prints_nothing(folder: Path) -> None:
    (folder / "new.csv").write_text("area,district\n30,north\n50,east\n")
    code, printed, told = run(folder, "predict", "--input", "new.csv", "--output", "none.csv")
    assert (code, printed) == (2, "")
    assert (
        told.strip() == "new.csv:3: column 'district': 'east' was not in the training data. It knows 'north', 'south'."
    )
    assert not (folder / "none.csv").exists()


def written(signature: Signature, outputs: list[list[float]], files: list[list[str]]) -> list[list[str]]:
    """The CSV that is written of these outputs, read again."""
    aside = io.StringIO()
    told = zip(answers(signature, Outputs(np.array(outputs)), np.array([True] * len(outputs))), files, strict=True)
    _write_csv(aside, told, columns(signature, len(outputs[0])))
    return list(csv.reader(io.StringIO(aside.getvalue(), newline="")))


def test_no_two_columns_have_one_name() -> None:
    classes = Signature("classes", Preparation((), None), labels=("file", "prediction", "prediction_"))
    lines = written(classes, [[0.125, 0.625, 0.25]], [[]])
    assert lines == [["prediction", "file", "prediction__", "prediction_"], ["prediction", "0.125", "0.625", "0.25"]]
    (header, line) = written(classes, [[0.625, 0.25, 0.125]], [["a.png"]])
    assert header == ["prediction", "file_", "prediction__", "prediction_", "file"]
    assert line == ["file", "0.625", "0.25", "0.125", "a.png"]


def test_labels_that_hold_what_joins_them_stand_in_quotes() -> None:
    labels = Signature("labels", Preparation((), None), labels=("a;b", "a", "b", 'the "c"'))
    held = {
        (0.75, 0.25, 0.25, 0.25): ('"a;b"', ["a;b"]),
        (0.25, 0.75, 0.75, 0.25): ("a;b", ["a", "b"]),
        (0.75, 0.75, 0.25, 0.75): ('"a;b";a;"the ""c"""', ["a;b", "a", 'the "c"']),
        (0.25, 0.25, 0.25, 0.25): ("", []),
    }
    _, *lines = written(labels, [[*shares] for shares in held], [[]] * len(held))
    assert [line[0] for line in lines] == [cell for cell, _ in held.values()]
    assert [next(csv.reader([line[0]], delimiter=";"), []) for line in lines] == [one for _, one in held.values()]
    classes = Signature("classes", Preparation((), None), labels=("a;b", "c"))
    assert written(classes, [[0.75, 0.25]], [[]])[1][0] == "a;b", "one label stands as it is"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("as_json", [False, True])
def test_a_terminal_is_shown_class_names_and_obeys_none(folder: Path, tmp_path: Path, as_json: bool) -> None:
    shutil.copytree(folder / "runs" / "flats", tmp_path / "flats")
    paths = RunPaths(tmp_path / "flats")
    signature = json.loads(paths.best_signature.read_text())
    paths.best_signature.write_text(json.dumps({**signature, "labels": ["no\u202e\x1b[2J", "yes"]}))
    shown, piped = Terminal(), io.StringIO()
    for to in (shown, piped):
        predict(paths, folder / "flats.csv", to, as_json=as_json, trust=[], noted=print)
    assert not {"\x1b", "\u202e"} & {*shown.getvalue()}
    assert "no\\u202e" in shown.getvalue()
    assert "no\u202e" in piped.getvalue(), "a pipe gets the names as they are"
