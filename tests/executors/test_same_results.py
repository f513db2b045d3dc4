"""Results are equal to the bit in this process, in one worker and in several, for a dense net and a CNN."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from hptune.base.trial import Segment, SegmentResult
from hptune.executors.executor import Executor
from hptune.executors.inline import InlineExecutor
from hptune.executors.local import LocalExecutor
from hptune.experiment.experiment import Experiment
from hptune.experiment.reading.load import from_json
from hptune.run.rundir import RunPaths

Learnt: TypeAlias = dict[int, tuple[Any, bytes]]

CODE = """\
import keras

def build(hp):
    model = keras.Sequential([keras.Input((8, 8, 1))])
    if hp.Boolean("convolve"):
        model.add(keras.layers.Conv2D(16, 3, activation="relu"))
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(24, activation="relu"))
    model.add(keras.layers.Dropout(hp.Float("dropout", 0.0, 0.5)))
    model.add(keras.layers.Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""

SEGMENTS = [
    Segment(trial, {"convolve": trial % 2 == 0, "dropout": 0.1 * trial}, to_epoch=2, keep_state=True)
    for trial in range(6)
]


def experiment(workers: int) -> Experiment:
    return from_json(
        {
            "version": 1,
            "name": "same",
            "data": {"source": "digits", "limit": 300},
            "model": {"python": "same_results:build"},
            "execution": {"workers": workers},
        }
    )


def learnt(executor: Executor, run: RunPaths) -> Learnt:
    """By trial: its curves, and the variables that it left."""
    found: Learnt = {}
    for segment in SEGMENTS:
        executor.submit(segment)
    while len(found) < len(SEGMENTS):
        for outcome in executor.wait():
            assert isinstance(outcome, SegmentResult), outcome
            state = run.state(outcome.segment.trial, 0, 2).read_bytes()
            found[outcome.segment.trial] = (outcome.curves, state)
    return found


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    folder = tmp_path_factory.mktemp("inline")
    (folder / "same_results.py").write_text(CODE)
    run = RunPaths(folder / "run")
    with closing(InlineExecutor(experiment(1), folder, run, lambda *_: None)) as executor:
        return learnt(executor, run)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_workers_learn_what_this_process_learns(inline: Learnt, workers: int, tmp_path: Path) -> None:
    (tmp_path / "same_results.py").write_text(CODE)
    run = RunPaths(tmp_path / "run")
    with closing(LocalExecutor(experiment(workers), tmp_path, run, lambda *_: None)) as executor:
        _start_all(executor, workers)
        found = learnt(executor, run)
    assert found == inline
    assert len({str(curves) for curves, _ in found.values()}) == len(SEGMENTS)


def _start_all(executor: LocalExecutor, workers: int) -> None:
    """So that each has some of the segments, though starting takes longer than all of them."""
    until = time.monotonic() + 300
    probe = Segment(0, {}, purpose="probe")
    executor.submit(probe)
    while sum(process.ready for process in executor._processes) < workers:
        assert time.monotonic() < until, "the workers never became ready"
        if executor.wait(0.1):  # where nothing is under way, nobody listens to the workers
            executor.submit(probe)
    while executor.wait():
        pass


def test_a_set_has_one_order_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "ordered.py").write_text("def f(x):\n    return x + [*{'age', 'fare', 'sex', 'class'}].index('age')\n")
    (tmp_path / "a.yaml").write_text(
        "version: 1\nname: a\nmodel: {function: 'ordered:f'}\nsearch_space: {x: {type: float, min: 0.0, max: 1.0}}\n"
        "objective: {metric: score, goal: minimize}\nstrategy: {name: random}\nbudget: {trials: 4}\n"
    )
    found = set()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    for _ in range(3):
        command = [sys.executable, "-m", "hptune", "search", "a.yaml", "--quiet", "--fresh"]
        subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
        told = subprocess.run(
            [sys.executable, "-m", "hptune", "trials", "--run", "a", "--json"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        found.add(tuple(sorted(row["score"] for row in json.loads(told.stdout))))
    assert len(found) == 1
