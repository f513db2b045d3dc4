"""`evaluation.stop_after`: a trial that does badly on its first folds is spared the others, and has no score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeExecutor, InTurn, Watcher

from hptune.base.trial import Segment, SegmentResult, Value
from hptune.experiment.objective import Objective
from hptune.experiment.reading.load import from_json
from hptune.reports.leaderboard import best_rows, rows
from hptune.run.events import finished, started
from hptune.run.history import History
from hptune.run.journal import Journal, read
from hptune.run.record import Record, replay
from hptune.run.rundir import RunPaths
from hptune.search.pruning import FIRST, unpromising
from hptune.search.tuner import Request, search

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "a",
    "model": {"function": "m:f"},
    "search_space": {"x": {"type": "float", "min": 0.0, "max": 100.0}},
    "training": {"epochs": 2},
    "objective": {"metric": "score", "goal": "maximize"},
    "evaluation": {"folds": 4, "stop_after": 1},
}


def worse(values: Mapping[str, Value], epoch: int, replica: int) -> float:
    """Lower with x; the first fold is the easiest."""
    return 100 - float(values["x"] or 0) - 10 * replica + 0.1 * epoch


def run(folder: Path, trials: int, executor: FakeExecutor | None = None, **sections: Any) -> Record:
    paths = RunPaths(folder / "runs" / "a")
    executor = executor or FakeExecutor(paths, worse)
    execution = {"parallel": executor.slots}
    request = Request(
        from_json({**SPEC, "execution": execution, **sections}), "the yaml", Path(), "hptune search a.yaml"
    )
    return search(request, paths, executor, make_strategy=lambda *_: InTurn(trials, epochs=2), watch=Watcher())


def told(record: Record) -> list[tuple[int, str, int, Any]]:
    """Of each trial its number, state, the folds trained and its score."""
    trials = zip(rows(record.history), record.history.trials, strict=True)
    return [(r["trial"], r["state"], sum(map(bool, t.curves)), r["score"]) for r, t in trials]


def test_bad_trials_are_spared_their_other_folds_and_have_no_score(tmp_path: Path) -> None:
    record = run(tmp_path, 7)
    found = told(record)
    assert [row[1:3] for row in found] == [("completed", 4)] * 5 + [("stopped", 1)] * 2
    assert [row[3] for row in found[5:]] == [None, None], "its only fold was an easy one, so that 95 would be too good"
    assert [row["trial"] for row in best_rows(record.history)] == [0, 1, 2, 3, 4]
    assert record.history.epochs_trained == (5 * 4 + 2) * 2
    assert told(replay(RunPaths(tmp_path / "runs" / "a"))) == found, "the journal tells the same"


def test_so_many_folds_are_waited_for(tmp_path: Path) -> None:
    record = run(tmp_path, 6, evaluation={"folds": 4, "stop_after": 3})
    assert told(record)[5][1:3] == ("stopped", 3)


def test_good_trials_go_on(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "runs" / "a")
    rising = FakeExecutor(paths, lambda values, epoch, replica: float(values["x"] or 0) + replica)
    assert {row[1] for row in told(run(tmp_path, 7, rising))} == {"completed"}


@pytest.mark.parametrize("slots", [2, 3])
def test_folds_that_are_under_way_are_finished(tmp_path: Path, slots: int) -> None:
    paths = RunPaths(tmp_path / "runs" / "a")
    executor = FakeExecutor(paths, worse, slots=slots)
    record = run(tmp_path, 9, executor)
    assert not record.history.pending
    states = [row[1] for row in told(record)]
    assert states[:5] == ["completed"] * 5
    assert "stopped" in states
    for number, state, folds, score in told(record):
        assert (folds == 4) == (state == "completed"), number
        assert (score is None) == (state == "stopped"), number
    assert sorted(record.history.reports) == list(range(9)), "each reports once"


def test_only_trials_that_had_the_same_folds_are_compared_with() -> None:
    told = History([Objective(metric="score", goal="maximize")])

    def train(trial: int, *scores: float, complete: bool = True) -> None:
        told.apply(started(Segment(trial, {"x": trial}, 0, 1), range(len(scores) + (not complete))))
        for fold, score in enumerate(scores):
            result = SegmentResult(Segment(trial, {"x": trial}, 0, 1, fold), 1, {"score": (score,)}, 1.0)
            told.apply(finished(result, complete=complete))

    for trial in range(FIRST):
        train(trial, 0.9)  # one fold, as in a run that had no more
    train(FIRST, 0.5, 0.1, complete=False)
    assert not unpromising(told, told.trials[FIRST], stop_after=2), "none of the others had its second fold"
    train(FIRST + 1, 0.6, 0.1)
    assert unpromising(told, told.trials[FIRST], stop_after=2)
    assert not unpromising(told, told.trials[FIRST], stop_after=3)


class Killed(BaseException):
    pass


def test_killed_at_any_event_it_ends_as_if_never_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = told(run(tmp_path / "whole", 7))
    events = len(list(read(RunPaths(tmp_path / "whole" / "runs" / "a").journal)))
    append = Journal.append
    for event in range(1, events, 3):
        count = iter(range(1000))

        def dying(journal: Journal, line: dict[str, Any], *, durable: bool = True, at: int = event) -> Any:
            if next(count) >= at:  # noqa: B023
                raise Killed
            return append(journal, line, durable=durable)

        folder = tmp_path / str(event)
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "append", dying)
            with pytest.raises(Killed):
                run(folder, 7)
        assert told(run(folder, 7)) == whole
