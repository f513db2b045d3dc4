"""Every experiment under configs/ is right, names its run and tells editors its schema; the lessons run, made small."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from hptune import __main__ as main

FOLDER = Path(__file__).parent.parent / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
EXAMPLES = sorted(FOLDER.glob("examples/*.yaml"))
"""Run by `make examples`, which makes their data."""

SMALL = {
    "baseline": ["budget.trials=3", "training.epochs=2", "evaluation.finalists={top: 2, repeats: 2}"],
    "guided": ["budget.trials=5", "training.epochs=3", "search_space.ramp_at.max=2"],
    "schedules": ["budget.trials=7", "training.epochs=2", "evaluation.repeats=2"],
}
"""What is set for a test in place of `ANY`."""

ANY = ["budget.trials=3", "training.epochs=2"]

ELSEWHERE = ("digits", "stabilize", "mnist", "fashion_mnist", "cifar10")
"""`digits` is run whole by the README's test, `stabilize` has one of its own, and the last three need a download."""


def hptune(*arguments: str) -> str:
    """What the command prints on stdout. Searches train in this process, which changes no result."""
    out, err = io.StringIO(), io.StringIO()
    if arguments[0] == "search":
        arguments = (*arguments, "--set", "execution.executor=inline")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.run(list(arguments))
    assert code == 0, err.getvalue()
    return out.getvalue()


@pytest.mark.parametrize("path", [*CONFIGS, *EXAMPLES], ids=lambda path: path.stem)
def test_a_config_is_valid(path: Path) -> None:
    assert json.loads(hptune("validate", str(path), "--json")) == {"valid": True, "name": path.stem}
    first, second = path.read_text().splitlines()[:2]
    up = "../" * len(path.relative_to(FOLDER).parent.parts)
    assert first == f"# yaml-language-server: $schema={up}schema.json"
    assert second.startswith("# "), "a comment says what it shows"


@pytest.mark.parametrize("name", [path.stem for path in CONFIGS if path.stem not in ELSEWHERE])
def test_a_config_runs(name: str, tmp_path: Path) -> None:
    sets = [word for pair in SMALL.get(name, ANY) for word in ("--set", pair)]
    runs = ["--runs-dir", str(tmp_path)]
    hptune("search", str(FOLDER / f"{name}.yaml"), "--quiet", *sets, *runs)
    rows: list[dict[str, Any]] = json.loads(hptune("trials", "--json", *runs))
    assert rows
    assert all(row["state"] == "completed" for row in rows), [row.get("error") for row in rows]


def test_an_example_without_data_of_its_own_runs(tmp_path: Path) -> None:
    runs = ["--runs-dir", str(tmp_path)]
    hptune("search", str(FOLDER / "examples" / "tumours.yaml"), "--quiet", "--set", "budget.trials=8", *runs)
    states = [row["state"] for row in json.loads(hptune("trials", "--json", *runs))]
    assert states[:5] == ["completed"] * 5
    assert set(states) == {"completed", "stopped"}
    assert json.loads(hptune("train-best", "--json", *runs))["model"].endswith("model.skops")


def test_every_example_has_its_line_in_the_readme() -> None:
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES:
        assert f"| [{path.stem}](configs/examples/{path.name}) |" in readme


def test_stabilized_and_not_try_the_same_values(tmp_path: Path) -> None:
    """As the comment of configs/stabilize.yaml has it."""
    config, runs = str(FOLDER / "stabilize.yaml"), ["--runs-dir", str(tmp_path)]
    sets = ("budget.trials=2", "training.epochs=1", "initialization.stabilize.epochs=1")
    small = ["--quiet", *(word for pair in sets for word in ("--set", pair)), *runs]
    hptune("search", config, *small)
    plain = ["--set", "name=not-stabilized", "--set", "initialization.stabilize=null"]
    hptune("search", config, *small, *plain)
    both = [json.loads(hptune("trials", "--run", run, "--json", *runs)) for run in ("stabilize", "not-stabilized")]
    assert [row["values"] for row in both[0]] == [row["values"] for row in both[1]]
    assert [row["score"] for row in both[0]] != [row["score"] for row in both[1]]
    told = json.loads(hptune("compare", "stabilize", "not-stabilized", "--json", *runs))
    assert all(path.startswith(("name", "initialization.stabilize")) for path in told["differences"])
