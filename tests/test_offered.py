"""Executors and strategies of other packages: found by their entry points, and held to what holds for hptune's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

OPTIONS = """
from typing import ClassVar, Literal
from pydantic import Field
from hptune.experiment.sections import StrategyOptions

class Steps(StrategyOptions):
    \"\"\"Counts x up by steps.\"\"\"
    maker: ClassVar[str] = "theirs.steps:Stepping"
    ends: ClassVar[bool] = True

    name: Literal["steps"]
    by: float = Field(default=0.1, gt=0, le=1)
    \"\"\"How far each step goes.\"\"\"

class Halving(Steps):
    halves: ClassVar[bool] = True
    name: Literal["halving"]
"""

STEPS = """
from hptune.strategies.strategy import Done, Start

class Stepping:
    def __init__(self, experiment, space, *, by):
        if by == 0.7:
            raise ValueError("seven is no step")
        self.by = by

    def next(self, history):
        number = len(history.trials)
        if self.by == 0.5 and number:
            return Start({"x": 0.0}, 1)
        x = number * self.by
        return Start({"x": round(x, 6)}, 1) if x <= 0.4 else Done("all steps were taken")

    def may_continue(self, trial, history):
        return False
"""

PLACE = """
from hptune.base.errors import spec_error
from hptune.executors.inline import InlineExecutor

class Noting(InlineExecutor):
    def __init__(self, experiment, folder, run, on_epoch, *, trials):
        if (folder / "broken").exists():
            raise OSError("no such machine")
        super().__init__(experiment, folder, run, on_epoch, trials=trials)
        self.file = folder / "noted.txt"
        self.file.open("a").write(f"trials: {trials}\\n")

    def submit(self, segment):
        self.file.open("a").write(f"{segment.purpose}\\n")
        super().submit(segment)
"""

ENTRIES = """
[hptune.strategies]
steps = theirs.options:Steps
halving = theirs.options:Halving
lost = theirs.lost:Lost
strange = theirs.steps:Stepping
random = theirs.options:Steps

[hptune.executors]
noting = theirs.place:Noting
"""

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "o",
    "model": {"function": "functions_of_a_user:f"},
    "search_space": {"x": {"type": "float", "min": 0.0, "max": 1.0}},
    "objective": {"metric": "cost", "goal": "minimize"},
    "execution": {"executor": "inline"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where another package is installed, and the user's function lies."""
    installed(tmp_path, "theirs", ENTRIES)
    package = tmp_path / "site" / "theirs"
    package.mkdir()
    for name, text in {"__init__": "", "options": OPTIONS, "steps": STEPS, "place": PLACE}.items():
        (package / f"{name}.py").write_text(dedent(text))
    (tmp_path / "functions_of_a_user.py").write_text("def f(x):\n    return {'cost': (x - 0.3) ** 2}\n")
    return tmp_path


def installed(folder: Path, name: str, entries: str) -> None:
    about = folder / "site" / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entries)


def told(folder: Path, *words: str, **sections: Any) -> subprocess.CompletedProcess[str]:
    if sections or words[0] != "schema":
        lines = [f"{key}: {json.dumps(value)}" for key, value in {**SPEC, **sections}.items()]
        (folder / "o.yaml").write_text("\n".join(lines) + "\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / "site")])}
    command = [sys.executable, "-m", "hptune", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)


def points(folder: Path) -> list[float]:
    return [trial["values"]["x"] for trial in json.loads(told(folder, "trials", "--json").stdout)]


def test_another_packages_strategy_searches_and_is_resumed(folder: Path) -> None:
    steps = {"name": "steps", "by": 0.2}
    assert told(folder, "search", "o.yaml", "--quiet", strategy=steps, budget={"trials": 2}).returncode == 0
    assert points(folder) == [0.0, 0.2]
    workers = {"executor": "local", "workers": 1}  # which are handed its options
    again = told(folder, "search", "o.yaml", "--quiet", strategy=steps, budget={"trials": 5}, execution=workers)
    assert again.returncode == 0, again.stderr
    assert points(folder) == [0.0, 0.2, 0.4]


def test_it_is_held_to_the_rules_of_points(folder: Path) -> None:
    done = told(folder, "search", "o.yaml", "--quiet", strategy={"name": "steps", "by": 0.5})
    assert done.returncode != 0
    assert "theirs.steps:Stepping for trial 1: gave the point of trial 0 again" in done.stderr
    enqueued = {"enqueue": [{"x": 0.75}], "name": "first", "budget": {"trials": 1}}
    assert told(folder, "search", "o.yaml", "--quiet", strategy={"name": "steps"}, **enqueued).returncode == 0
    assert points(folder) == [0.75]


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ({"name": "steps", "by": 2}, "o.yaml:7:35: strategy.by: must be at most 1.0, got 2"),
        ({"name": "steps", "bye": 0.2}, "o.yaml:7:29: strategy.bye: unknown key 'bye'; did you mean 'by'?"),
        ({"name": "stepz"}, "o.yaml:7:20: strategy.name: unknown strategy 'stepz'; did you mean 'steps'?"),
        ({"name": "halving"}, "o.yaml:7:20: strategy.name: halving must bring a subclass of StrategyOptions"),
        ({"name": "strange"}, "o.yaml:7:20: strategy.name: strange must bring a subclass of StrategyOptions"),
        ({"name": "lost"}, "lost of theirs can't be loaded: ModuleNotFoundError: No module named 'theirs.lost'"),
    ],
)
def test_what_is_wrong_with_it_is_told_with_its_place(folder: Path, strategy: dict[str, Any], words: str) -> None:
    done = told(folder, "validate", "o.yaml", strategy=strategy)
    assert done.returncode == 2
    assert words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_what_does_not_hold_of_it_is_refused(folder: Path) -> None:
    several = [{"metric": "cost", "goal": "minimize"}, {"metric": "seconds", "goal": "minimize"}]
    done = told(folder, "validate", "o.yaml", strategy={"name": "steps"}, objective=several)
    assert "steps optimises one objective, and 2 are given" in done.stderr
    done = told(folder, "validate", "o.yaml", strategy={"name": "steps"}, warm_start=["earlier"])
    assert "steps learns nothing from earlier trials" in done.stderr
    done = told(folder, "search", "o.yaml", "--quiet", strategy={"name": "steps", "by": 0.7})
    assert done.returncode == 2
    assert "o.yaml:7:20: strategy.name: theirs.steps:Stepping can't be constructed: ValueError: seven" in done.stderr


def test_hptunes_own_name_stays_its_own(folder: Path) -> None:
    assert told(folder, "validate", "o.yaml", strategy={"name": "random"}).returncode == 0
    assert told(folder, "validate", "o.yaml", strategy={"name": "random", "by": 0.2}).returncode == 2


def test_a_name_that_two_packages_bring_is_refused(folder: Path) -> None:
    installed(folder, "others", "[hptune.strategies]\nsteps = others:Steps\n")
    done = told(folder, "validate", "o.yaml", strategy={"name": "steps"})
    assert "steps is brought by" in done.stderr
    assert "Uninstall all of them but one" in done.stderr


def test_a_run_whose_strategy_is_not_installed_any_more_says_so(folder: Path) -> None:
    told(folder, "search", "o.yaml", "--quiet", strategy={"name": "steps"})
    (folder / "site" / "theirs-1.0.dist-info" / "entry_points.txt").write_text("")
    assert len(points(folder)) == 5  # what was recorded can be looked at all the same
    assert told(folder, "best").returncode == told(folder, "report").returncode == 0
    done = told(folder, "train-best")
    assert done.returncode == 2
    assert "unknown strategy 'steps'" in done.stderr
    assert "Where another package brings it, install that" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_schema_has_what_is_installed(folder: Path) -> None:
    entries = folder / "site" / "theirs-1.0.dist-info" / "entry_points.txt"
    entries.write_text(ENTRIES.replace("lost =", "#").replace("strange =", "#").replace("halving =", "#"))
    schema = json.loads(told(folder, "schema").stdout)
    assert {"$ref": "#/$defs/Steps"} in schema["properties"]["strategy"]["oneOf"]
    assert schema["properties"]["strategy"]["discriminator"]["mapping"]["steps"] == "#/$defs/Steps"
    assert schema["$defs"]["Steps"]["properties"]["by"]["description"] == "How far each step goes."
    assert schema["$defs"]["Execution"]["properties"]["executor"]["enum"] == ["local", "inline", "noting"]


def test_another_packages_executor_runs_the_segments(folder: Path) -> None:
    given = {"execution": {"executor": "noting"}, "strategy": {"name": "random"}, "budget": {"trials": 3}}
    done = told(folder, "search", "o.yaml", "--quiet", **given)
    assert done.returncode == 0, done.stderr
    assert len(points(folder)) == 3
    assert (folder / "noted.txt").read_text().split("\n") == ["trials: 3", "probe", *["trial"] * 3, ""]
    here = told(folder, "search", "o.yaml", "--quiet", **{**given, "name": "here", "execution": {"executor": "inline"}})
    assert here.returncode == 0
    both = [json.loads(told(folder, "trials", "--run", name, "--json").stdout) for name in ("o", "here")]
    assert [one["score"] for one in both[0]] == [one["score"] for one in both[1]]


def test_what_is_wrong_with_an_executor_is_told_with_its_place(folder: Path) -> None:
    done = told(folder, "validate", "o.yaml", execution={"executor": "notin"})
    assert "execution.executor: must be one of 'local', 'inline' or 'noting', got 'notin'" in done.stderr
    (folder / "broken").touch()
    done = told(folder, "search", "o.yaml", "--quiet", execution={"executor": "noting"})
    assert done.returncode == 2
    assert "o.yaml:6:25: execution.executor: noting can't be begun: OSError: no such machine" in done.stderr
