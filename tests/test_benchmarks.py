"""The benchmark against peers: what it measures is what it says, and a whole run works."""

from __future__ import annotations

import doctest
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks import figures, peers, peers_report, workloads
from benchmarks.figures import Report, Run, summarised
from benchmarks.measure import measured
from benchmarks.workloads import IMAGES, WORKLOADS, Workload, structure_of, write_images
from hptune.experiment.reading.load import load


@pytest.mark.parametrize("module", [figures, peers_report, workloads])
def test_examples(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


# --- the work -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
@pytest.mark.parametrize("strategy", peers.HPTUNE.values(), ids=peers.HPTUNE)
def test_hptune_takes_every_workload(workload: Workload, strategy: dict[str, str], tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(workload.experiment(seed=3, strategy=strategy, trials=9, epochs=workload.epochs)))
    experiment = load(spec, []).experiment
    assert (experiment.seed, experiment.budget.trials, experiment.strategy.name) == (3, 9, strategy["name"])
    assert set(experiment.search_space) == set(workload.space)


def test_structures_are_all_that_shape_the_graph() -> None:
    (dense,) = (one for one in WORKLOADS if one.name == "digits-dense")
    names = [structure_of(values) for values in dense.structures()]
    assert len(set(names)) == len(names) == 4 * 2
    assert "batch_size=32,units=128" in names


def test_generated_images_are_the_same_each_time_and_of_ten_classes(tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        write_images(tmp_path, count=200)
        with np.load(tmp_path / IMAGES) as arrays:
            made.append((arrays["x"], arrays["y"]))
    (x, y), (again, _) = made
    assert x.shape == (200, 28, 28, 1)
    assert x.dtype == np.uint8
    assert set(y) == set(range(10))
    assert np.array_equal(x, again)


# --- the figures ----------------------------------------------------------------------------------------------------


def run(tool: str, seed: int, *scores: tuple[float, float], begun_s: float = 10.0, peak_mb: float = 100.0) -> Run:
    """Trials of two epochs, given as (known at, score)."""
    reports = (Report(at, number, 2, score, "a") for number, (at, score) in enumerate(scores))
    return Run(tool, seed, begun_s, tuple(reports), peak_mb)


def test_the_target_counts_from_the_best_of_the_round_over_all_tools() -> None:
    runs = [run("hptune", 0, (20, 0.97), (30, 0.99)), run("reference", 0, (15, 1.0)), run("kerastuner", 0, (40, 0.9))]
    told = summarised(runs, limit_s=60, arithmetic={"a": 1.0})
    assert list(told["tools"]) == ["hptune", "kerastuner"]
    assert told["best_known"] == 1.0
    ours = told["tools"]["hptune"]
    assert (ours["to_target_s"], ours["to_target_searching_s"], ours["reached"]) == (30, 20, 1)
    assert told["tools"]["kerastuner"]["to_target_s"] is None


def test_figures_are_medians_and_a_target_missed_in_most_rounds_is_missed() -> None:
    runs = [run("hptune", seed, (at, 1.0)) for seed, at in enumerate((20, 60, 30))]
    runs += [run("optuna-tpe", seed, (25, score)) for seed, score in enumerate((0.5, 0.99, 0.6))]
    told = summarised(runs, limit_s=60, arithmetic={"a": 1.0})["tools"]
    assert told["hptune"]["to_target_s"] == 30
    assert told["hptune"]["trials_per_minute"] == 60 / 20
    assert told["hptune"]["epochs_per_minute"] == 2 * 60 / 20
    assert (told["optuna-tpe"]["to_target_s"], told["optuna-tpe"]["reached"]) == (None, 1)


def test_a_trial_that_was_trained_on_is_one_trial() -> None:
    reports = (Report(20, 0, 1, 0.5, "a"), Report(30, 1, 1, 0.6, "a"), Report(40, 1, 3, 0.9, "a"))
    told = summarised([Run("hptune", 0, 10, reports, 0)], limit_s=60, arithmetic={"a": 1.0})["tools"]["hptune"]
    assert (told["trials_per_minute"], told["epochs_per_minute"]) == (2 / 30 * 60, 5 / 30 * 60)


def test_a_tool_without_a_score_has_figures_too() -> None:
    runs = [run("hptune", 0, (20, 0.9)), Run("ray-asha", 0, math.inf, (), 50.0)]
    told = summarised(runs, limit_s=60, arithmetic={"a": 1.0})
    ray = told["tools"]["ray-asha"]
    assert (ray["best"], ray["startup_s"], ray["trials_per_minute"], ray["curve"]) == (None, None, 0, [])
    assert "| ray-asha | – | 0.0 | 0 | > 60 (0 of 1) | – | – | 50 | 0.0% |" in peers_report.table(told)


def test_arithmetic_is_a_share_of_all_cores() -> None:
    assert figures.arithmetic_share(run("hptune", 0, (5, 0.5), (20, 0.9)), {"a": 5.0}, cores=2) == 4 * 5.0 / (20 * 2)


# --- the report -----------------------------------------------------------------------------------------------------


def test_a_workload_measured_again_replaces_its_own_part_alone(tmp_path: Path) -> None:
    told = summarised([run("hptune", 0, (20, 0.9))], limit_s=60, arithmetic={"a": 1.0})
    told |= {"title": "work", "epochs": 2, "machine": "a machine", "load": 0.5, "skipped": []}
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{peers_report.BEGIN}\n{peers_report.END}\nafter\n")
    for name in ("one", "two", "one"):
        peers_report.write_report(tmp_path, name, told)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert (text.count("### one"), text.count("### two"), text.count("| hptune |")) == (1, 1, 2)
    assert (tmp_path / "peers.png").stat().st_size > 1000
    assert list(json.loads((tmp_path / "peers.json").read_text())) == ["one", "two"]


def test_a_page_without_the_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="of which one is missing"):
        peers_report.replaced("no marks", "new")


def test_the_advantage_is_over_the_fastest_peer() -> None:
    runs = [run("hptune", 0, (15, 1.0)), run("optuna-tpe", 0, (60, 1.0)), run("kerastuner", 0, (45, 1.0))]
    told = peers_report.advantage(summarised(runs, limit_s=60, arithmetic={"a": 1.0}))
    assert "(kerastuner) in 45.0 s: 3.0 times as long; without the start-up 5.0 s and 35.0 s: 7.0 times." in told


# --- running --------------------------------------------------------------------------------------------------------

LEAVES_A_CHILD = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
"""


def test_at_its_limit_a_program_is_killed(tmp_path: Path) -> None:
    assert measured(["sleep", "600"], cwd=tmp_path, environment={}, limit_s=0.3).cut


def test_what_a_program_leaves_behind_is_killed(tmp_path: Path) -> None:
    took = measured([sys.executable, "-c", LEAVES_A_CHILD], cwd=tmp_path, environment={}, limit_s=math.inf)
    assert not took.cut
    status = Path(f"/proc/{int((tmp_path / 'said.txt').read_text())}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_a_program_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('no data', flush=True); sys.exit(3)"]
    with pytest.raises(RuntimeError, match=r"ended with 3:\nno data"):
        measured(command, cwd=tmp_path, environment={}, limit_s=60)


@pytest.mark.slow
def test_a_whole_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.peers", "--quick", "--workload", "cancer-dense"]
    command += ["--tool", "hptune", "--tool", "optuna-hyperband", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=peers.HERE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads((tmp_path / "peers.json").read_text())["cancer-dense"]
    for tool in ("hptune", "optuna-hyperband"):
        found = told["tools"][tool]
        assert 0.3 < found["best"] <= 1
        assert found["trials_per_minute"] > 0
        assert 0 < found["arithmetic"] < 1
        assert found["peak_mb"] > 100
    assert "### cancer-dense" in (tmp_path / "README.md").read_text()
