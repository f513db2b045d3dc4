"""What a search takes over from earlier runs, and that its own journal then holds it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hptune.cli import app
from hptune.errors import SpecError

SPEC = """\
version: 1
name: {name}
model: {{function: "warm_function:f"}}
search_space: {{x: {{type: float, min: 0, max: {top}}}}}
objective: {{metric: score, goal: minimize}}
strategy: {strategy}
budget: {{trials: {trials}}}
execution: {{executor: inline}}
{more}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "warm_function.py").write_text("def f(x):\n    return (x - 0.7) ** 2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def search(name: str, *, trials: int = 12, top: float = 1, strategy: str = "{name: tpe}", more: str = "") -> Any:
    Path("spec.yaml").write_text(SPEC.format(name=name, top=top, strategy=strategy, trials=trials, more=more))
    done = CliRunner().invoke(app, ["search", "spec.yaml", "--quiet", "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    told = CliRunner().invoke(app, ["trials", "--run", name, "--json"])
    return json.loads(told.stdout)


def test_a_search_learns_from_an_earlier_one(folder: Path) -> None:
    search("first", trials=25)
    cold = search("cold", trials=3)
    warm = search("warm", trials=3, more="warm_start: [first]")
    assert [t["trial"] for t in warm] == [0, 1, 2]
    assert all(a["values"] != b["values"] for a, b in zip(cold, warm, strict=True)), "the first points are random still"


def test_the_journal_alone_holds_it(folder: Path) -> None:
    search("first")
    warm = search("warm", trials=4, more="warm_start: [first]")
    shutil.rmtree("runs/first")
    assert search("warm", trials=6, more="warm_start: [first]")[:4] == warm
    head = json.loads(Path("runs/warm/journal.jsonl").read_text().splitlines()[0])
    assert [(told["run"], told["trial"]) for told in head["earlier"]] == [("first", n) for n in range(12)]


def test_only_what_fits_is_taken_over(folder: Path) -> None:
    search("first", top=2)
    search("warm", trials=1, more="warm_start: [first]")
    head = json.loads(Path("runs/warm/journal.jsonl").read_text().splitlines()[0])
    assert 0 < len(head["earlier"]) < 12
    assert all(told["values"]["x"] <= 1 for told in head["earlier"])


@pytest.mark.parametrize(
    ("more", "strategy", "words"),
    [
        ("warm_start: [nowhere]", "{name: tpe}", ["warm_start[0]", "no run 'nowhere'", "first"]),
        ("warm_start: [warm]", "{name: tpe}", ["this run itself"]),
        ("warm_start: first", "{name: tpe}", ["must be a list"]),
        ("warm_start: [first]", "{name: random}", ["random learns nothing", "tpe"]),
        ("warm_start: [first]", "{name: asha}", ["asha with the sampler random learns nothing"]),
    ],
)
def test_what_can_not_be_taken_over_is_told(folder: Path, more: str, strategy: str, words: list[str]) -> None:
    search("first", trials=2)
    with pytest.raises(SpecError) as caught:
        search("warm", strategy=strategy, more=more)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "spec.yaml:9:" in str(caught.value)


def test_another_objective_does_not_fit(folder: Path) -> None:
    search("first", trials=2)
    Path("warm_function.py").write_text("def f(x):\n    return {'score': x, 'other': x}\n")
    spec = SPEC.format(name="warm", top=1, strategy="{name: tpe}", trials=2, more="warm_start: [first]")
    Path("spec.yaml").write_text(spec.replace("metric: score", "metric: other"))
    done = CliRunner().invoke(app, ["search", "spec.yaml", "--quiet"])
    assert "none of the 2 trials of 'first'" in str(done.exception)
