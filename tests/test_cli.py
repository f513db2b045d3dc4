"""The commands as users run them: exit codes, what stands on stdout and on stderr, what lies on the disk."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hptune import __main__ as main
from hptune import __version__

SPEC = """\
version: 1
name: f
model: {function: "cli_functions:f"}
search_space:
  x: {type: int, min: 0, max: 4}
  slow: {type: choice, values: [false]}
objective: {metric: score, goal: maximize}
strategy: {name: grid}
training: {epochs: 2}
execution: {executor: inline}
"""

FUNCTIONS = """\
import time

def f(x, slow):
    print("user code prints")
    if x == 1:
        raise ValueError("one is not wanted")
    if slow:
        time.sleep(0.2)
    return 10.0 - x

def never(x, slow):
    raise RuntimeError("always broken")

def endless(x, slow):
    time.sleep(600 if x else 0)
    return x
"""


COMPLETION = {"_HPTUNE_COMPLETE": "complete_bash", "COMP_WORDS": "hptune train", "COMP_CWORD": "1"}
"""What a shell asks with, where a user has typed so much and presses Tab."""


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Sandbox:
    """A folder to run hptune in, as a user does: in this process, where TensorFlow is loaded once for all tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def spec(self, text: str = SPEC, file: str = "spec.yaml") -> None:
        (self.folder / file).write_text(text)

    def __call__(self, *arguments: str, expect: int = 0) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main.run(list(arguments))
        done = Done(code, out.getvalue(), err.getvalue())
        assert code == expect, f"exit {code}: {done.err}"
        assert "Traceback" not in done.err + done.out or "--debug" in arguments
        return done

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """The same in a process of its own."""
        return subprocess.Popen([sys.executable, "-m", "hptune", *arguments], cwd=self.folder, text=True, **options)


def _sandbox(folder: Path) -> Sandbox:
    (folder / "cli_functions.py").write_text(FUNCTIONS)
    sb = Sandbox(folder)
    sb.spec()
    return sb


@pytest.fixture
def sb(tmp_path: Path) -> Sandbox:
    return _sandbox(tmp_path)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sandbox, Done]:
    """A folder in which a search has been run; only looked at by the tests that share it."""
    sb = _sandbox(tmp_path_factory.mktemp("searched"))
    return sb, sb("search", "spec.yaml")


# --- a search and what is shown of it ---------------------------------------------------------------------------------


def test_search_shows_progress_on_stderr_and_the_result_on_stdout(searched: tuple[Sandbox, Done]) -> None:
    _, done = searched
    assert "failed: ValueError: one is not wanted (cli_functions.py:6) (x=1 slow=False)" in done.err
    assert done.err.count("user code prints") == 5
    assert "user code prints" not in done.out
    assert done.out.splitlines()[0].startswith("f: ")
    assert "hptune train-best" in done.err


def test_trials_and_best_as_json(searched: tuple[Sandbox, Done]) -> None:
    sb, _ = searched
    rows = sb("trials", "--json").json
    assert [row["trial"] for row in rows] == [0, 1, 2, 3, 4]
    assert [set(row) for row in rows if row["state"] == "completed"] == [
        {"trial", "score", "values", "epochs", "seconds", "state"}
    ] * 4
    (failed,) = [row for row in rows if row["state"] == "failed"]
    assert (failed["score"], failed["error"]) == (None, "ValueError: one is not wanted (cli_functions.py:6)")
    best = sb("best", "--top", "2", "--json").json
    assert [(row["values"]["x"], row["score"]) for row in best] == [(0, 10.0), (2, 8.0)]


def test_tables_for_people(searched: tuple[Sandbox, Done]) -> None:
    sb, _ = searched
    lines = sb("trials").out.splitlines()
    assert lines[0].split() == ["trial", "score", "x", "slow", "epochs", "time", "state"]
    assert sum("failed: ValueError: one is not wanted" in line for line in lines) == 1
    assert "f " in sb("runs").out
    assert sb("best", "--top", "1").out.count("\n") == 2


def test_the_front_of_several_objectives_is_shown_whole(sb: Sandbox) -> None:
    (sb.folder / "two_goals.py").write_text("def f(x):\n    return {'score': x, 'cost': x}\n")
    (sb.folder / "two.yaml").write_text(
        "version: 1\nname: two\nmodel: {function: 'two_goals:f'}\nsearch_space: {x: {type: int, min: 0, max: 12}}\n"
        "objective: [{metric: score, goal: maximize}, {metric: cost, goal: minimize}]\nstrategy: {name: grid}\n"
    )
    assert "10 more on the Pareto front" in sb("search", "two.yaml", "--quiet").err
    assert len(sb("best", "--json").json) == 13
    few = sb("best", "--top", "10", "--json")
    assert (len(few.json), "3 more on the Pareto front" in few.err) == (10, True)


def test_a_run_is_found_by_name_folder_or_environment(
    searched: tuple[Sandbox, Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    sb, _ = searched
    assert len(sb("best", "--run", "f", "--json").json) == 4
    assert len(sb("best", "--runs-dir", "runs", "--json").json) == 4
    assert "did you mean 'f'" in sb("best", "--run", "F", expect=2).err
    assert "hptune search CONFIG" in sb("trials", "--runs-dir", "nowhere", expect=2).err
    monkeypatch.setenv("HPTUNE_RUNS_DIR", "nowhere")
    assert "nowhere" in sb("best", expect=2).err


def test_runs_and_compare(searched: tuple[Sandbox, Done]) -> None:
    sb, _ = searched
    (run,) = sb("runs", "--json").json
    assert (run["run"], run["trials"], run["failed"], run["best"]) == ("f", 5, 1, 10.0)
    assert run["ended"]
    told = sb("compare", "f", "f", "--json").json
    assert told["differences"] == {}
    assert "10" in sb("compare", "f", "f").out


def test_again_is_free_and_a_changed_spec_is_refused_at_its_line(sb: Sandbox) -> None:
    sb("search", "spec.yaml", "--set", "budget.trials=2")
    before = sb("trials", "--json").out
    sb("search", "spec.yaml", "--set", "budget.trials=2")
    assert sb("trials", "--json").out == before
    sb("search", "spec.yaml", "--quiet")
    assert len(sb("trials", "--json").json) == 5
    sb.spec(SPEC.replace("max: 4", "max: 9"))
    refused = sb("search", "spec.yaml", expect=2)
    assert refused.err.splitlines()[-2:][0].startswith("spec.yaml:5:")
    assert "search_space.x.max: 4 → 9" in refused.err
    assert "--fresh" in refused.err
    fresh = sb("search", "spec.yaml", "--fresh", "--json")
    assert fresh.json["trials"] == 10
    assert "moved the old run to runs/f.1" in fresh.err
    assert sb("runs", "--json").json[1]["trials"] == 5


def test_quiet_is_quiet(sb: Sandbox) -> None:
    done = sb("search", "spec.yaml", "--quiet", "--json", "--set", "model.function=cli_functions:never", expect=1)
    assert done.out == ""
    assert done.err.splitlines()[0] == "no trial succeeded; all 5 failed:"
    assert "5× RuntimeError: always broken (" in done.err
    assert "cli_functions.py:12)" in done.err


def test_train_best_sets_the_winner_against_the_baseline(sb: Sandbox) -> None:
    sb.spec(SPEC + "baseline: {x: 3}\n")
    sb("search", "spec.yaml", "--quiet")
    done = sb("train-best", "--json")
    told = done.json
    assert set(told) == {"trial", "values", "search_score", "test", "baseline", "model"}
    assert told["values"]["x"] == 0
    assert told["search_score"] == 10.0
    assert told["baseline"]["values"] == {"x": 3, "slow": False}
    assert told["baseline"]["test"] == {"score": 7.0}
    assert json.loads((sb.folder / "runs/f/best/result.json").read_text())["training"]["epochs"] == 2
    with (sb.folder / "runs/f/best/history.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"epoch": "1", "score": "10.0"}, {"epoch": "2", "score": "10.0"}]
    shown = sb("train-best").out
    assert "expected (search) score 10, achieved 10" in shown
    assert len(sb("trials", "--json").json) == 5, "train-best adds no trial"


def test_train_best_without_a_winner(sb: Sandbox) -> None:
    sb("search", "spec.yaml", "--quiet", "--set", "model.function=cli_functions:never", expect=1)
    assert "no trial of f has succeeded" in sb("train-best", expect=1).err


# --- light commands ---------------------------------------------------------------------------------------------------


def test_validate_and_plan(sb: Sandbox) -> None:
    assert "valid" in sb("validate", "spec.yaml").out
    assert sb("validate", "spec.yaml", "--json").json == {"valid": True, "name": "f"}
    told = sb("plan", "spec.yaml", "--json").json
    assert set(told) == {"space_size", "trials", "epochs", "rungs", "experiment", "schedule"}
    assert (told["space_size"], told["trials"], told["epochs"]) == (5, 5, 10)
    assert told["rungs"] == [{"epochs": 2, "trials": 5}]
    assert told["experiment"]["checkpoints"] == {"keep": 1}
    assert "checkpoints: {keep: 1}" in sb("plan", "spec.yaml").out
    assert not (sb.folder / "runs").exists()


def test_plan_tells_what_the_finalists_come_to(sb: Sandbox) -> None:
    (sb.folder / "m.yaml").write_text(
        "version: 1\nname: m\ndata: {source: iris}\nsearch_space: {a: {type: float, min: 1, max: 9}}\n"
        "model: {sklearn: sklearn.linear_model.RidgeClassifier, params: {alpha: $a}}\n"
        "evaluation: {folds: 8, finalists: {top: 3, repeats: 3}}\n"
    )
    told = sb("plan", "m.yaml", "--json").json
    assert told["finalists"] == {"trials": 3, "repeats": 3, "trainings": 72}
    assert "finalists: 3, each 3 times 8 folds: 72 trainings in full on top" in sb("plan", "m.yaml").out


def test_plan_draws_the_learning_rate(sb: Sandbox) -> None:
    sb("init", "--output", "made.yaml")
    told = sb("plan", "made.yaml", "--json").json
    rates = told["schedule"]["learning_rate_by_epoch"]
    assert len(rates) == 20
    assert rates[0] == pytest.approx(1e-3)
    assert rates[10] == pytest.approx(0.5e-3)
    assert "█" in sb("plan", "made.yaml").out


def test_plan_says_what_it_does_not_know_until_it_probes(sb: Sandbox) -> None:
    (sb.folder / "models.py").write_text("raise SystemExit('user code ran')\n")
    sb.spec('version: 1\nname: p\ndata: {source: iris}\nmodel: {python: "models:build"}\n')
    assert "valid" in sb("validate", "spec.yaml").out
    told = sb("plan", "spec.yaml", "--json").json
    assert told["space_size"] is None
    assert told["trials"] == 20


def test_init_writes_once(sb: Sandbox) -> None:
    sb("init", "--output", "made.yaml")
    sb("validate", "made.yaml")
    assert "is there already" in sb("init", "--output", "made.yaml", expect=2).err


def test_schema_is_json(sb: Sandbox) -> None:
    assert "search_space" in sb("schema").json["properties"]


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["nonsense", "best --nonsense", "best --top 0", "search", "search --workers 0 a.yaml"]
)
def test_wrong_usage_exits_with_2(sb: Sandbox, command: str) -> None:
    done = sb(*command.split(), expect=2)
    assert done.out == ""
    assert done.err


def test_help_and_version(sb: Sandbox) -> None:
    assert sb("-h").out == sb("--help").out
    assert "--install-completion" in sb("-h").out
    assert sb("search", "-h").out == sb("search", "--help").out
    assert sb("--version").out == f"{__version__}\n"


def test_shells_are_given_completions(sb: Sandbox) -> None:
    with sb.start(env={**os.environ, **COMPLETION}, stdout=subprocess.PIPE) as process:
        assert process.communicate()[0].split() == ["train-best"]


def test_wrong_specs_are_told_line_by_line(sb: Sandbox) -> None:
    sb.spec(SPEC.replace("max: 4", "max: -4").replace("maximize", "biggest"))
    for command in ("validate", "plan", "search"):
        lines = sb(command, "spec.yaml", expect=2).err.splitlines()
        assert [line.split(":")[1] for line in lines] == ["5", "7"], lines
    assert not (sb.folder / "runs").exists()


def test_problems_that_only_running_finds_have_their_place_too(sb: Sandbox) -> None:
    sb.spec(SPEC.replace("cli_functions:f", "cli_functions:g"))
    done = sb("search", "spec.yaml", expect=2)
    assert done.err.startswith("spec.yaml:3:")
    assert sb("runs", "--json").json == []


def test_a_strategy_that_does_not_suit_the_space_is_told_by_validate(sb: Sandbox) -> None:
    sb.spec(SPEC.replace("type: int, min: 0, max: 4", "type: float, min: 0, max: 4"))
    assert "grid" in sb("validate", "spec.yaml", expect=2).err


def test_debug_shows_the_traceback(sb: Sandbox) -> None:
    assert "Traceback" in sb("validate", "nowhere.yaml", "--debug", expect=2).err


def test_damage_in_the_journal_is_told_with_its_line(sb: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sb("search", "spec.yaml", "--quiet")
    journal = sb.folder / "runs/f/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], b"\xff\x00garbage\n", *lines[3:]]))
    for command in (["trials"], ["best"], ["search", "spec.yaml"], ["train-best"]):
        assert "journal.jsonl:4:" in sb(*command, expect=1).err
    monkeypatch.setenv("COLUMNS", "80")  # a narrow terminal
    assert "journal.jsonl:4:" in sb("runs").out


def test_nobody_reads_on(sb: Sandbox) -> None:
    sb("search", "spec.yaml", "--quiet")
    with sb.start("trials", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        assert p.stdout is not None
        assert p.stderr is not None
        p.stdout.close()
        err = p.stderr.read()
    assert err == ""


# --- one search at a time, and Ctrl-C ---------------------------------------------------------------------------------


def test_ctrl_c_keeps_what_was_finished_and_a_second_search_is_refused(sb: Sandbox) -> None:
    sb.spec(SPEC.replace("cli_functions:f", "cli_functions:endless") + "enqueue: [{x: 0}]\n")
    journal = sb.folder / "runs/f/journal.jsonl"
    p = sb.start("search", "spec.yaml", stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not (journal.exists() and journal.read_bytes().count(b"segment_started") == 2):
            assert p.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        refused = sb("search", "spec.yaml", expect=1)
        assert f"process {p.pid} on" in refused.err
        time.sleep(0.1)
        p.send_signal(signal.SIGINT)
        err = p.communicate(timeout=30)[1]
    finally:
        p.kill()
    assert p.returncode == 130
    assert "Traceback" not in err
    assert "hptune search spec.yaml" in err
    assert [row["state"] for row in sb("trials", "--json").json] == ["completed", "running"]


def test_steps_that_do_not_reach_max_are_told_by_validate_plan_and_search(sb: Sandbox) -> None:
    sb.spec(SPEC.replace("max: 4", "max: 4, step: 3"))
    note = "search_space.x.max: is never reached: from 0 on, steps of 3 end at 3."
    told = sb("validate", "spec.yaml")
    assert "valid" in told.out
    assert f"note: spec.yaml:5:31: {note}" in told.err
    (listed,) = sb("validate", "spec.yaml", "--json").json["notes"]
    assert note in listed
    assert note in sb("plan", "spec.yaml", "--json").err
    assert note in sb("search", "spec.yaml").err
