"""Trackers: what is told of a search beside the screen, and what never ends it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from fakes import Watcher

from hptune.base import offered
from hptune.base.errors import SpecError
from hptune.base.trial import Segment
from hptune.experiment import sections
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.trackers.track import Watches, trackers

SPEC = """
version: 1
name: t
model: {function: "tracked:f"}
search_space: {score: {type: float, min: 0.0, max: 1.0}, on: {type: choice, values: [true, null]}}
objective: {metric: cost, goal: minimize}
training: {epochs: 2}
budget: {trials: 4}
strategy: {name: random}
evaluation: {repeats: 2}
track: TRACK
"""
CODE = """
def f(score, on, epoch, seed):
    if score < 0.3:
        raise ValueError("too, small")
    return {"cost": score + epoch, "other": seed % 7}
"""


def written(folder: Path, track: str) -> Path:
    (folder / "tracked.py").write_text(dedent(CODE))
    (folder / "s.yaml").write_text(SPEC.replace("TRACK", track))
    return folder / "s.yaml"


def told(folder: Path, *words: str, **environment: str) -> Any:
    command = [sys.executable, "-m", "hptune", *words]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=env)


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_tables_say_what_the_trials_came_to(tmp_path: Path) -> None:
    written(tmp_path, "{csv: true}")
    told(tmp_path, "search", "s.yaml", "--quiet")
    trials = json.loads(told(tmp_path, "trials", "--json").stdout)
    of_trials, of_epochs = (rows(tmp_path / "runs" / "t" / name) for name in ("trials.csv", "epochs.csv"))
    assert [(int(row["trial"]), row["state"], row["error"]) for row in of_trials] == [
        (one["trial"], one["state"], one.get("error") or "") for one in trials
    ]
    assert {row["state"] for row in of_trials} == {"completed", "failed"}
    for row, one in zip(of_trials, trials, strict=True):
        assert (float(row["score"]) if row["score"] else None) == one["score"]
        assert float(row["score (parameter)"]) == one["values"]["score"]
        assert row["on"] == ("true" if one["values"]["on"] else "")
    done = [one["trial"] for one in trials if one["state"] == "completed"]
    assert [tuple(int(row[key]) for key in ("trial", "replica", "epoch")) for row in of_epochs] == [
        (trial, replica, epoch) for trial in done for replica in (0, 1) for epoch in (1, 2)
    ]
    assert all(
        float(row["cost"]) == trials[int(row["trial"])]["values"]["score"] + int(row["epoch"]) for row in of_epochs
    )


def test_a_metric_that_is_called_as_a_column_has_one_of_its_own(tmp_path: Path) -> None:
    more = "'epoch': 5.5, 'trial': 7.5, 'replica': -x, 'epoch (metric)': 2.5"
    code = f"def f(x):\n    return {{'error': x, 'epochs': 99.5, {more}}}\n"
    (tmp_path / "named.py").write_text(code)
    (tmp_path / "s.yaml").write_text("""
version: 1
name: t
model: {function: "named:f"}
search_space: {x: {type: float, min: 0.0, max: 1.0}}
objective: [{metric: error, goal: minimize}, {metric: epochs, goal: minimize}]
budget: {trials: 3}
strategy: {name: random}
track: {csv: true}
""")
    told(tmp_path, "search", "s.yaml")
    trials = json.loads(told(tmp_path, "trials", "--run", "t", "--json").stdout)
    for line, trial in zip(rows(tmp_path / "runs/t/trials.csv"), trials, strict=True):
        assert [line["trial"], line["epochs"], line["error"]] == [str(trial["trial"]), "1", ""]
        assert [float(line["error (objective)"]), line["epochs (objective)"]] == [trial["values"]["x"], "99.5"]
    for number, line in enumerate(rows(tmp_path / "runs/t/epochs.csv")):
        assert [line["trial"], line["replica"], line["epoch"]] == [str(number), "0", "1"]
        assert [line["epoch (metric)'"], line["trial (metric)"], line["epoch (metric)"]] == ["5.5", "7.5", "2.5"]
        assert float(line["replica (metric)"]) == -float(line["error"])


def test_nothing_is_written_unless_it_is_asked_for(tmp_path: Path) -> None:
    written(tmp_path, "{csv: false}")
    told(tmp_path, "search", "s.yaml", "--quiet")
    assert not list((tmp_path / "runs" / "t").glob("*.csv"))


def test_an_unknown_tracker_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"s\.yaml:\d+:9: track\.cvs: unknown key 'cvs'; did you mean 'csv'"):
        load(written(tmp_path, "{cvs: true}"))
    with pytest.raises(SpecError, match=r"track\.csv: must be true, false or its options, got 3"):
        load(written(tmp_path, "{csv: 3}"))


class Fails:
    """Raises at the first epoch."""

    def __init__(self, run: RunPaths, word: str) -> None:
        self.heard: list[str] = [word]

    def epoch(self, segment: Segment, epochs: int, metrics: Mapping[str, float]) -> None:
        raise RuntimeError(self.heard[0])

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.heard.append(name)


def test_another_packages_tracker_is_told_and_left_out_once_it_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = EntryPoint("theirs", f"{__name__}:Fails", "hptune.trackers")
    monkeypatch.setattr(offered, "entry_points", lambda group: [other] if group == "hptune.trackers" else [])
    experiment = load(written(tmp_path, "{theirs: {word: no}}".replace("no", "'no way'"))).experiment
    found = trackers(experiment, RunPaths(tmp_path / "runs" / "t"))
    (theirs,) = found.values()
    screen = Watcher()
    watches = Watches(screen, found)
    watches.noted("one")
    for _ in range(2):
        watches.epoch(Segment(0, {}), 1, {})
    watches.noted("two")
    assert screen.notes == ["one", "track.theirs is left out from here on: RuntimeError: no way", "two"]
    assert theirs.heard == ["no way", "noted"]  # type: ignore[attr-defined]


THEIRS = """
class Tracker:
    def __init__(self, run, file):
        self.run, self.file = run, file

    def __getattr__(self, name):
        def told(*given):
            with open(self.file, "a") as heard:
                print(name, *(self.of(one) for one in given), file=heard)
        return told

    def of(self, one):
        segment = getattr(one, "segment", one)
        return getattr(segment, "purpose", type(one).__name__)
"""


def test_an_installed_tracker_hears_of_the_search_and_of_train_best(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (info := site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs.py").write_text(THEIRS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hptune.trackers]\ntheirs = theirs:Tracker\n")
    written(tmp_path, "{theirs: {file: heard.txt}}")
    heard = tmp_path / "heard.txt"

    def lines(*words: str) -> list[str]:
        heard.unlink(missing_ok=True)
        told(tmp_path, *words, PYTHONPATH=str(site))
        return heard.read_text().splitlines()

    searched = lines("search", "s.yaml", "--workers", "1")
    assert [searched[0], searched[-1]] == ["begun Record Limits", "ended"]
    assert searched.count("reported Trial") == 4
    assert "epoch trial int dict" in searched
    trained = lines("train-best", "--run", "t")
    assert [line for line in trained if not line.startswith("epoch")] == [
        *["winner Record", "trained best", "trained baseline", "ended"],
    ]
    assert "epoch best int dict" in trained, "of short epochs some are told alone: the outcome has them all"


STRANGE = """
import os, sys
class Tracker:
    def __init__(self, run, do, at="epoch"):
        self.do, self.at, self.record = do, at, None
        print("NOISE")
    def __getattr__(self, name):
        def told(*given):
            if name == "begun":
                self.record = given[0]
            if name == self.at:
                print("NOISE")
                exec(self.do, {"self": self, "given": given, "os": os, "sys": sys})
        return told
"""

DOES = {
    "exits": "sys.exit(3)",
    "generator": "raise GeneratorExit",
    "closes": "sys.stdout.close(); sys.stderr.close()",
    "changes what it is given": (
        "[one.values.update(score=9.0) for one in given if isinstance(getattr(one, 'values', 0), dict)]"
    ),
    "changes the record": "[one.values.update(score=9.0) for one in self.record.history.trials]",
    "empties the record": "self.record.history.trials.clear()",
    "sets": "os.environ['OUT_OF_A_TRACKER'] = '1'; os.chdir('/')",
}


@pytest.mark.parametrize("executor", ["local", "inline"])
@pytest.mark.parametrize("at", ["epoch", "reported", "ended"])
@pytest.mark.parametrize("does", [pytest.param(does, marks=pytest.mark.slow) for does in DOES])
def test_nothing_that_a_tracker_does_changes_the_search(tmp_path: Path, does: str, at: str, executor: str) -> None:
    _strange(tmp_path, does, at, executor)


def test_a_tracker_that_exits_is_left_out_and_one_that_writes_into_trials_changes_none(tmp_path: Path) -> None:
    _strange(tmp_path / "a", "exits", "reported", "inline")
    _strange(tmp_path / "b", "changes the record", "epoch", "inline")


def _strange(tmp_path: Path, does: str, at: str, executor: str) -> None:
    site = tmp_path / "site"
    (info := site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs.py").write_text(STRANGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hptune.trackers]\ntheirs = theirs:Tracker\n")
    spec = written(tmp_path, f"{{csv: true, theirs: {{do: {json.dumps(DOES[does])}, at: {at}}}}}")
    spec.write_text(f"{spec.read_text()}\nexecution: {{executor: {executor}}}\n")
    ran = told(tmp_path, "search", "s.yaml", "--json", PYTHONPATH=str(site))
    assert json.loads(ran.stdout)["run"] == "t"
    assert ("track.theirs is left out from here on" in ran.stderr) == (
        does not in ("changes what it is given", "sets", "closes")
    )
    theirs = json.loads(told(tmp_path, "trials", "--json").stdout)
    written(tmp_path, "{csv: false}")
    spec.write_text(f"{spec.read_text()}\nexecution: {{executor: {executor}}}\n")
    told(tmp_path, "search", "s.yaml", "--fresh", "--quiet")
    plain = json.loads(told(tmp_path, "trials", "--run", "t", "--json").stdout)
    without_time = [{key: one[key] for key in one if key != "seconds"} for one in theirs]
    assert without_time == [{key: one[key] for key in one if key != "seconds"} for one in plain]


@pytest.mark.parametrize("key", sections.TRACKERS)
def test_every_tracker_of_the_table_has_all_methods(key: str, tmp_path: Path) -> None:
    experiment = load(written(tmp_path, f"{{{key}: true}}")).experiment
    (made,) = trackers(experiment, RunPaths(tmp_path / "runs" / "t")).values()
    for name in ("begun", "reported", "tested", "noted", "epoch", "winner", "trained", "ended"):
        assert callable(getattr(made, name))


@pytest.mark.parametrize("key", sections.TRACKERS)
def test_every_tracker_of_the_table_serves_a_search_that_is_resumed_and_train_best(key: str, tmp_path: Path) -> None:
    spec = written(tmp_path, f"{{{key}: true}}")
    before = {path.name for path in tmp_path.iterdir()} | {"runs", "__pycache__"}
    for command in (["search", "s.yaml", "--set", "budget.trials=2"], ["search", "s.yaml"], ["train-best"]):
        assert "left out" not in told(tmp_path, *command).stderr
    assert {path.name for path in tmp_path.iterdir()} <= before, "it writes into the run's folder alone"
    assert spec.exists()


@pytest.mark.parametrize("key", sections.TRACKERS)
def test_every_tracker_of_the_table_is_documented(key: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "experiment.md").read_text(encoding="utf-8")
    section = page.split("\n## track\n")[1].split("\n## ")[0]
    assert f"| `{key}` |" in section
