"""A trial trained again: equal to the bit, or told by how much not, and what is not as it was then."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeExecutor, Halving, Watcher
from journals import sealed

from hptune import __main__ as program
from hptune.errors import SpecError
from hptune.journal import read
from hptune.record import Record, replay
from hptune.reproduce import compare, reproduce, result_lines
from hptune.rundir import RunPaths
from hptune.spec.load import from_json
from hptune.tuner import Request, search

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "a",
    "model": {"function": "m:f"},
    "search_space": {"x": {"type": "float", "min": 0.0, "max": 100.0}},
    "training": {"epochs": 9},
    "objective": {"metric": "score", "goal": "maximize"},
    "evaluation": {"repeats": 2},
}


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
    record.head.event["versions"]["keras"] = "2.0"  # type: ignore[index]
    told = reproduce(record, 0, FakeExecutor(paths, facts={"task": None, "fingerprint": "other"}), tolerance=0.0)
    assert told["environment"]["data"] == ["f", "other"]
    assert told["environment"]["keras"][0] == "2.0"
    assert any(line.startswith("  keras was 2.0 then and is ") for line in result_lines(told))


def test_a_failed_trial_fails_again_alike_or_not(record: Record, paths: RunPaths) -> None:
    (failed,) = [trial for trial in record.history.trials if trial.state == "failed"] or [None]
    if failed is None:
        pytest.skip("trial 2 was not promoted")
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
