"""A trial trained again: equal to the bit, or told by how much not, and what is not as it was then.

`--alone` tells what another training in the same process has changed: models are made here whose code remembers.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import SPEC as BASE
from fakes import FakeExecutor, Halving, Watcher
from journals import sealed

from hptune import __main__ as program
from hptune.base.errors import SpecError
from hptune.experiment.reading.load import from_json
from hptune.run.journal import read
from hptune.run.record import TRAINING, Record, replay
from hptune.run.rundir import RunPaths
from hptune.search.tuner import Request, search
from hptune.winner.reproduce import compare, reproduce, result_lines

SPEC = {**BASE, "evaluation": {"repeats": 2}}


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "runs" / "a")


@pytest.fixture
def record(paths: RunPaths) -> Record:
    def fails(segment: Any) -> str | None:
        return "broken" if segment.trial == 2 and segment.to_epoch == 3 else None

    request = Request(from_json(SPEC), "the yaml", Path(), "hptune search a.yaml")
    executor = FakeExecutor(paths, fails=fails)
    search(request, paths, executor, make_strategy=lambda *_: Halving(), watch=Watcher())
    return replay(paths)


def test_a_trial_in_several_pieces_is_trained_in_one_and_is_the_same(record: Record, tmp_path: Path) -> None:
    best = max(record.history.trials, key=lambda trial: trial.epochs)
    executor = FakeExecutor(RunPaths(tmp_path / "scratch"))
    told = reproduce(record, best.number, executor, tolerance=0.0)
    assert (told["equal"], told["within"], told["epochs"]) == (True, True, 18)
    assert [(s.from_epoch, s.to_epoch, s.replica) for s in executor.trained] == [(0, 9, 0), (0, 9, 1)]
    assert told["environment"] == {}
    assert result_lines(told) == [f"trial {best.number}: identical to the bit over 18 epochs"]
    assert not (tmp_path / "scratch").exists(), "nothing was kept"


@pytest.mark.parametrize(("tolerance", "within"), [(0.0, False), (0.01, False), (0.26, True), (0.5, True)])
def test_a_difference_is_told_by_its_size(record: Record, paths: RunPaths, tolerance: float, within: bool) -> None:
    def off(values: Any, epoch: int, replica: int) -> float:
        return float(values["x"]) + 0.1 * epoch + 0.01 * replica + (0.25 if replica == 1 else 0.0)

    told = reproduce(record, 0, FakeExecutor(paths, off), tolerance=tolerance)
    assert (told["equal"], told["within"]) == (False, within)
    assert told["differences"]["score"] == pytest.approx(0.25)
    verdict = "within" if within else "beyond"
    assert result_lines(told)[0].endswith(f"largest differences are {verdict} the tolerance:")
    assert result_lines(told)[1] == "  score: 0.25"


def test_what_is_not_as_it_was_is_named(record: Record, paths: RunPaths) -> None:
    record.head.event["versions"]["keras"] = "2.0"
    record.head.event["training"] = TRAINING - 1
    told = reproduce(record, 0, FakeExecutor(paths, facts={"task": None, "fingerprint": "other"}), tolerance=0.0)
    assert told["environment"]["data"] == ["f", "other"]
    assert told["environment"]["keras"][0] == "2.0"
    assert told["environment"]["training"] == [TRAINING - 1, TRAINING]
    line = f"  hptune's training revision was {TRAINING - 1} then and is {TRAINING} now"
    assert line in result_lines(told)
    assert any(line.startswith("  keras was 2.0 then and is ") for line in result_lines(told))


def test_a_failed_trial_fails_again_alike_or_not(record: Record, paths: RunPaths) -> None:
    (failed,) = [trial for trial in record.history.trials if trial.state == "failed"]
    again = FakeExecutor(paths, fails=lambda _: "broken")
    assert reproduce(record, failed.number, again, tolerance=0.0)["equal"]
    told = reproduce(record, failed.number, FakeExecutor(paths), tolerance=0.0)
    assert not told["within"]
    assert result_lines(told)[0] == f"trial {failed.number}: then broken, now no error"


def test_a_trial_that_fails_now_is_told(record: Record, paths: RunPaths) -> None:
    told = reproduce(record, 0, FakeExecutor(paths, fails=lambda _: "no GPU"), tolerance=9.0)
    assert not told["within"]
    assert "then no error, now no GPU" in result_lines(told)[0]


@pytest.mark.parametrize("number", [-1, 99])
def test_an_unknown_trial_is_told(record: Record, paths: RunPaths, number: int) -> None:
    with pytest.raises(SpecError, match=rf"no trial {number}\. Known: 0 to 5\."):
        reproduce(record, number, FakeExecutor(paths), tolerance=0.0)


def test_nan_equals_nan_and_nothing_else() -> None:
    nan = math.nan
    assert compare(({"a": (nan, 1.0)},), [{"a": (nan, 1.0)}], tolerance=0.0)["equal"]
    for other in ({"a": (1.0, 1.0)}, {"a": (nan,)}, {}, {"a": (nan, 1.0), "b": (1.0, 1.0)}):
        told = compare(({"a": (nan, 1.0)},), [other], tolerance=1e9)
        assert not told["within"], other
        assert None in told["differences"].values()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reproduced.py").write_text("calls = [0]\ndef f(x, epoch, seed):\n    return x + epoch + seed % 7\n")
    spec = 'version: 1\nname: a\nmodel: {function: "reproduced:f"}\nsearch_space: {x: {type: int, min: 0, max: 3}}\n'
    spec += "objective: {metric: score, goal: maximize}\ntraining: {epochs: 2}\nexecution: {executor: inline}\n"
    (tmp_path / "spec.yaml").write_text(spec)
    assert program.run(["search", "spec.yaml", "--quiet"]) == 0
    before = (tmp_path / "runs" / "a" / "journal.jsonl").read_bytes()
    capsys.readouterr()
    assert program.run(["reproduce", "--trial", "1"]) == 0
    assert capsys.readouterr().out == "trial 1: identical to the bit over 2 epochs\n"
    journal = tmp_path / "runs" / "a" / "journal.jsonl"
    assert journal.read_bytes() == before
    events = [dict(event) for event in read(journal)]
    for event in events:
        if event["event"] == "segment_finished" and event["trial"] == 1:
            event["curves"]["score"][0] += 0.5
    journal.write_bytes(sealed(events))
    assert program.run(["reproduce", "--trial", "1", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["differences"] == {"score": 0.5}
    assert program.run(["reproduce", "--trial", "1", "--tolerance", "0.5"]) == 0


# --- alone, in a process of its own -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--trial", "0", "--alone", "0"]])
def test_exactly_one_of_trial_and_alone_is_given(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["reproduce", *options]) == 2
    told = capsys.readouterr().err
    assert "--trial" in told
    assert "--alone" in told
    assert told.count("\n") == 1


def test_an_unknown_trial_is_told_by_the_option_that_named_it(record: Record, paths: RunPaths) -> None:
    with pytest.raises(SpecError, match=r"--alone: the run has no trial 99"):
        reproduce(record, 99, FakeExecutor(paths), tolerance=0.0, alone=True)


def test_what_failed_alone_is_told_so(record: Record, paths: RunPaths) -> None:
    told = reproduce(record, 0, FakeExecutor(paths, fails=lambda _: "no GPU"), tolerance=9.0, alone=True)
    assert told["alone"] is True
    line = "trial 0: trained alone, in a process of its own: then no error, now no GPU"
    assert result_lines(told)[0] == line


FUNCTION = """\
import os
calls = 0

def honest(x, epoch, seed):
    with open("pids.txt", "a") as file:
        file.write(f"{os.getpid()} {seed} {epoch}\\n")
    return x + epoch + seed % 7

def remembers(x):
    global calls
    calls += 1
    return x + calls
"""

LAYERS = """\
data: {source: iris, limit: 60}
model: {layers: [{Dense: {units: $units, activation: relu}}, {Dropout: {rate: $rate}}, Output]}
search_space: {units: {type: choice, values: [4, 7]}, rate: {type: choice, values: [0.0, 0.3]}}
training: {epochs: 2, optimizer: {name: sgd, learning_rate: 0.1, momentum: 0.9}}
budget: {trials: 3}
"""

BUILDER = """\
import keras
seen = set()

def build(hp):
    seen.add(hp.Choice("units", [4, 7, 9]))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(hp.get("units"))])
    model.add(keras.layers.Dense(3, activation="softmax", kernel_regularizer=keras.regularizers.L2(0.1 * len(seen))))
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""

SKLEARN = """\
data: {source: iris}
model: {sklearn: sklearn.tree.DecisionTreeClassifier, params: {max_depth: $depth, max_features: 1}}
search_space: {depth: {type: int, min: 1, max: 4}}
evaluation: {folds: 3}
budget: {trials: 2}
"""

Search = Callable[..., Path]


@pytest.fixture
def search_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Search:
    """Searches, in this process: what the trials train after one another is then in one process for sure."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def searched(spec: str, name: str, code: str = "") -> Path:
        if code:
            (tmp_path / f"{name}.py").write_text(code)
        executor = "execution: {executor: inline}\n"
        (tmp_path / "spec.yaml").write_text(f"version: 1\nname: {name}\n{executor}{spec}")
        assert program.run(["search", "spec.yaml", "--quiet"]) == 0
        capsys.readouterr()
        return tmp_path

    return searched


def alone(number: int, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    code = program.run(["reproduce", "--alone", str(number), *options])
    return code, capsys.readouterr().out


def test_alone_each_replica_of_a_function_has_a_process_of_its_own(
    search_for: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = 'model: {function: "alone_honest:honest"}\nsearch_space: {x: {type: int, min: 0, max: 3}}\n'
    spec += "objective: {metric: score, goal: maximize}\ntraining: {epochs: 2}\nevaluation: {repeats: 2}\n"
    folder = search_for(spec, "alone_honest", FUNCTION)
    journal = (folder / "runs" / "alone_honest" / "journal.jsonl").read_bytes()
    (folder / "pids.txt").unlink()
    assert alone(1, capsys) == (
        0,
        "trial 1: trained alone, in a process of its own: identical to the bit over 4 epochs\n",
    )
    assert (folder / "runs" / "alone_honest" / "journal.jsonl").read_bytes() == journal
    called = [line.split() for line in (folder / "pids.txt").read_text().splitlines()]
    assert [epoch for _, _, epoch in called] == ["1", "2", "1", "2"]
    assert len({pid for pid, _, _ in called}) == len({seed for _, seed, _ in called}) == 2
    assert str(os.getpid()) not in {pid for pid, _, _ in called}


def test_alone_tells_a_trial_that_what_came_before_has_changed(
    search_for: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = 'model: {function: "alone_remembers:remembers"}\nsearch_space: {x: {type: int, min: 0, max: 3}}\n'
    search_for(spec + "objective: {metric: score, goal: maximize}\n", "alone_remembers", FUNCTION)
    assert alone(0, capsys)[0] == 0
    code, told = alone(2, capsys, "--json")
    assert code == 1
    found = json.loads(told)
    assert (found["alone"], found["equal"], found["differences"]) == (True, False, {"score": 2.0})
    assert alone(2, capsys, "--tolerance", "2.0")[0] == 0


@pytest.mark.slow
def test_alone_trains_layers_to_the_bit(search_for: Search, capsys: pytest.CaptureFixture[str]) -> None:
    search_for(LAYERS, "alone_layers")
    code, told = alone(2, capsys)
    assert (code, told) == (0, "trial 2: trained alone, in a process of its own: identical to the bit over 2 epochs\n")


@pytest.mark.slow
def test_alone_tells_of_a_builder_that_remembers(search_for: Search, capsys: pytest.CaptureFixture[str]) -> None:
    spec = 'data: {source: iris, limit: 60}\nmodel: {python: "alone_builder:build"}\ntraining: {epochs: 2}\n'
    search_for(spec + "strategy: {name: grid}\n", "alone_builder", BUILDER)
    code, told = alone(2, capsys, "--json")
    assert code == 1
    found = json.loads(told)
    assert not found["equal"]
    assert found["differences"]["loss"] > 0
    assert found["environment"] == {}


@pytest.mark.slow
def test_alone_fits_an_estimator_to_the_bit(search_for: Search, capsys: pytest.CaptureFixture[str]) -> None:
    search_for(SKLEARN, "alone_sklearn")
    code, told = alone(1, capsys)
    assert (code, told) == (0, "trial 1: trained alone, in a process of its own: identical to the bit over 3 epochs\n")
