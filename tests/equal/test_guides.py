"""Each guide of keras.io on custom training, and each of KerasTuner's, beside the plain program of its reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hptune import __main__ as main
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.worker import Worker

from .guide import GUIDES, LAYERS, START, STEP, Guide

USUAL = (f"{STEP}-simple", f"{LAYERS}-vae", f"{START}-TuneFit")
"""Trained in every test run; all of them by `make equal`."""


def marked(one: Guide) -> Any:
    marks = [] if one.id in USUAL else [pytest.mark.slow]
    return pytest.param(one, id=one.id, marks=marks)


@pytest.mark.parametrize("one", map(marked, GUIDES))
def test_a_guide_trains_as_its_plain_program(tmp_path: Path, one: Guide, monkeypatch: pytest.MonkeyPatch) -> None:
    from . import guided

    monkeypatch.syspath_prepend(tmp_path)
    found = guided.differences(tmp_path, one)
    assert not found, "\n".join(found)


def told(capsys: pytest.CaptureFixture[str], folder: Path) -> list[dict[str, Any]]:
    """Search the guide in the folder; its trials."""
    (spec,) = folder.glob("*.yaml")
    runs = ["--runs-dir", str(folder / "runs")]
    assert main.run(["search", str(spec), "--quiet", *runs]) == 0
    capsys.readouterr()
    assert main.run(["trials", "--json", *runs]) == 0
    return list(json.loads(capsys.readouterr().out))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tolerated", "marked_as_failed"])
def test_trials_fail_where_the_guides_model_is_too_large(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from . import guided

    grid = {"strategy": {"name": "grid"}, "training": {"epochs": 1}, "execution": {"executor": "inline"}}
    one = Guide("tuner_failed_trials", name, [], yaml=grid)
    guided.write(tmp_path, one)
    trials = told(capsys, tmp_path)
    assert len(trials) == 12
    for trial in trials:
        units_1, units_2 = trial["values"]["units_1"], trial["values"]["units_2"]
        size = 21 * units_1 + (units_1 + 1) * units_2 + units_2 + 1
        assert (trial["state"] == "failed") == (size > 1200)
        assert size <= 1200 or f"Model too large! It contains {size} params." in trial["error"]


@pytest.mark.slow
def test_a_fatal_error_ends_the_guides_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from . import guided

    spec = guided.write(tmp_path, Guide("tuner_failed_trials", "terminates", [], yaml={"strategy": {"name": "grid"}}))
    assert main.run(["search", str(spec), "--quiet", "--runs-dir", str(tmp_path / "runs")]) == 1
    assert "Model too large! It contains" in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_give_the_plain_programs_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """KerasTuner's guide on distributed tuning, with its custom loop."""
    from . import guided

    space = {"units": [4, 8], "batch_size": [16, 32], "learning_rate": [0.01]}
    yaml = {
        "search_space": {name: {"type": "choice", "values": values} for name, values in space.items()},
        "strategy": {"name": "grid"},
        "execution": {"workers": 2},
    }
    one = Guide("tuner_custom_tuner", "MyHyperModel", [], metric="my_metric", task="classes", yaml=yaml)
    guided.write(tmp_path, one)
    trials = told(capsys, tmp_path)
    assert len(trials) == 4
    for trial in trials:
        theirs = guided.plain_program(one, trial["values"]).curves
        assert trial["score"] == pytest.approx(min(theirs["my_metric"]), rel=1e-5)


@pytest.mark.slow
def test_keras_code_that_is_kept_separate_is_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from . import guided

    one = Guide("tuner_getting_started", "keras_code", [])
    guided.write(tmp_path, one)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "keras_code.yaml").write_text(
        "version: 1\nname: t\nmodel: {function: 'tuner_getting_started:keras_code'}\n"
        "search_space:\n  units: {type: choice, values: [4, 8]}\n"
        "  optimizer: {type: choice, values: [adam, adadelta]}\nobjective: {metric: score, goal: minimize}\n"
    )
    loaded = load(tmp_path / "keras_code.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "t"))
    points: list[dict[str, Any]] = [{"units": 4, "optimizer": "adam"}, {"units": 8, "optimizer": "adadelta"}]
    for number, values in enumerate(points):
        ours = worker.run(Segment(number, values, to_epoch=1)).curves["score"]
        assert ours == pytest.approx([guided.plainly(one).keras_code(**values)], rel=1e-6)
