"""The loop: what it records, when it ends, and that a search cut anywhere ends as if it had never been cut."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from fakes import SPEC, FakeExecutor, Halving, InTurn, Watcher
from hypothesis import given, settings
from hypothesis import strategies as st

from hptune.base.errors import Interrupted, RunError, SpecError, spec_error
from hptune.experiment.reading.load import from_json
from hptune.reports.leaderboard import best_rows, figure, rows
from hptune.run import record
from hptune.run.clock import Clock, _line
from hptune.run.journal import SYNC_EVERY_S, Journal, read
from hptune.run.record import Head, Record, joined_space, recorded, replay
from hptune.run.rundir import RunPaths
from hptune.search.tuner import Request, _points_of, search
from hptune.strategies.strategy import Strategy

STABILIZED: dict[str, Any] = {
    "data": {"source": "digits"},
    "model": {"layers": [{"Dense": {"units": "$units"}}, {"Dropout": {"rate": "$x"}}]},
    "initialization": {"stabilize": {"method": "lottery", "draws": 2}},
}
"""A model whose architecture `units` makes."""

CODE = {**STABILIZED, "model": {"python": "m:build"}}
"""A model of which nothing is known before it is built."""


def run(
    paths: RunPaths,
    executor: FakeExecutor,
    strategy: Strategy | None = None,
    *,
    watch: Watcher | None = None,
    **sections: Any,
) -> Record:
    """Under as many virtual workers as there are slots, unless `sections` say otherwise."""
    sections = {**sections, "execution": {"parallel": executor.slots, **sections.get("execution", {})}}
    request = Request(from_json({**SPEC, **sections}), "the yaml", Path(), "hptune search a.yaml")
    return search(request, paths, executor, make_strategy=lambda *_: strategy or Halving(), watch=watch or Watcher())


def told(record: Record) -> list[dict[str, Any]]:
    return rows(record.history)


def stabilized(paths: RunPaths) -> list[tuple[int, str, int]]:
    """Of each line of the journal that tells of stabilised weights: the trial, the architecture, the replica."""
    return [(e["trial"], e["structure"], e["replica"]) for e in read(paths.journal) if e["event"] == "stabilized"]


def states(paths: RunPaths) -> list[str]:
    return sorted(path.name for path in paths.trials.glob("*/*"))


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "runs" / "a")


# --- what is recorded -------------------------------------------------------------------------------------------------


def test_the_head_says_what_the_run_is(paths: RunPaths) -> None:
    run(paths, FakeExecutor(paths))
    head = next(read(paths.journal))
    assert head["event"] == "head"
    assert head["experiment"]["checkpoints"] == {"keep": 1}, "a default that nobody wrote"
    assert head["facts"]["fingerprint"] == "f"
    assert {"python", "hptune", "tensorflow", "keras", "numpy"} <= set(head["versions"])
    assert paths.spec.read_text() == "the yaml"


def test_trials_are_chains_of_segments(paths: RunPaths) -> None:
    watch = Watcher()
    executor = FakeExecutor(paths)
    record = run(paths, executor, watch=watch)
    by_epochs = sorted((row["epochs"], row["state"]) for row in told(record))
    assert by_epochs == [(1, "stopped")] * 3 + [(3, "stopped")] * 2 + [(9, "completed")]
    assert [(s.from_epoch, s.to_epoch) for s in executor.trained] == [(0, 1)] * 6 + [(1, 3)] * 3 + [(3, 9)]
    best = best_rows(record.history)[0]
    assert len(record.history.trials[best["trial"]].curves[0]["score"]) == 9
    assert record.history.epochs_trained == 6 + 6 + 6
    assert len(watch.reports) == 10
    assert told(replay(paths)) == told(record), "the journal tells the same"


def test_the_reason_of_a_choice_is_recorded(paths: RunPaths) -> None:
    run(paths, FakeExecutor(paths))
    assert next(e.get("why") for e in read(paths.journal) if e["event"] == "segment_started") == "to begin with"


# --- resume -----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What kill -9 would be, as far as the loop can tell."""


def _kill_at(monkeypatch: pytest.MonkeyPatch, event: int, *, written: bool) -> None:
    """The process dies at the journal's event number `event`, just after it was written or half-way through."""
    append, count = Journal.append, iter(range(1_000_000))

    def dying(journal: Journal, told: dict[str, Any], *, durable: bool = True) -> dict[str, Any]:
        if next(count) < event:
            return append(journal, told, durable=durable)
        if written:
            append(journal, told, durable=durable)
        else:
            with journal.path.open("ab") as file:
                file.write(b'{"event": "segm')
        raise Killed

    monkeypatch.setattr(Journal, "append", dying)


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"evaluation": {"repeats": 2}},
        {"checkpoints": {"keep": 3}},
        {"evaluation": {"finalists": {"top": 2, "repeats": 3}}},
        {**STABILIZED},
        {**STABILIZED, "evaluation": {"repeats": 2, "finalists": {"top": 2, "repeats": 2}}},
    ],
    ids=str,
)
def test_killed_at_any_event_it_ends_as_if_never_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any], written: bool
) -> None:
    def fails(segment: Any) -> str | None:
        return "broken" if segment.trial == 2 and segment.replica == 0 else None

    def all_of(paths: RunPaths) -> Any:
        record = run(paths, FakeExecutor(paths, fails=fails), **sections)
        return told(record), best_rows(record.history), record.history.finals, stabilized(paths), states(paths)

    calm_paths = RunPaths(tmp_path / "calm")
    calm = all_of(calm_paths)
    events = sum(1 for _ in read(calm_paths.journal))
    for event in range(events):
        paths = RunPaths(tmp_path / f"{event}")
        with monkeypatch.context() as patch:
            _kill_at(patch, event, written=written)
            with pytest.raises(Killed):
                run(paths, FakeExecutor(paths, fails=fails), **sections)
        assert all_of(paths) == calm, f"killed at event {event}"


def test_again_is_free(paths: RunPaths) -> None:
    first = told(run(paths, FakeExecutor(paths)))
    before = paths.journal.read_bytes()
    executor = FakeExecutor(paths)
    assert told(run(paths, executor)) == first
    assert executor.trained == []
    assert executor.probes == 0
    assert paths.journal.read_bytes() == before


def test_an_interrupt_keeps_what_was_finished_and_says_how_to_go_on(paths: RunPaths) -> None:
    def interrupted(segment: Any) -> str | None:
        if segment.trial == 3:
            raise KeyboardInterrupt
        return None

    with pytest.raises(Interrupted, match=r"hptune search a\.yaml") as stop:
        run(paths, FakeExecutor(paths, fails=interrupted))
    assert stop.value.exit_code == 130
    assert [row["state"] for row in told(replay(paths))] == ["paused"] * 3 + ["running"]
    assert len(best_rows(run(paths, FakeExecutor(paths)).history)) == 6


def test_an_interrupt_that_a_library_swallows_is_heeded_all_the_same(paths: RunPaths) -> None:
    def swallowing(segment: Any) -> str | None:
        if segment.trial == 3:
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
                signal.sigtimedwait([], 1.0)
        return None

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted):
        run(paths, FakeExecutor(paths, fails=swallowing))
    assert [row["state"] for row in told(replay(paths))] == ["paused"] * 4
    assert signal.getsignal(signal.SIGTERM) is before


# --- a changed spec ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"search_space": {"x": {"type": "float", "min": 0.0, "max": 9.0}}}, "search_space.x.max: 100.0 → 9.0"),
        ({"training": {"epochs": 8}}, "training.epochs: 9 → 8"),
        ({"seed": 1}, "seed: 0 → 1"),
        ({"objective": {"metric": "score", "goal": "minimize"}}, "objective.goal: maximize → minimize"),
        ({"execution": {"precision": "mixed_float16"}}, "execution.precision: float32 → mixed_float16"),
        ({"execution": {"xla": True}}, "execution.xla: false → true"),
        ({"enqueue": [{"x": 1.0}]}, "enqueue: [] → [{x: 1.0}]"),
    ],
)
def test_a_changed_spec_is_refused_with_the_difference(paths: RunPaths, sections: dict[str, Any], words: str) -> None:
    run(paths, FakeExecutor(paths))
    before = paths.journal.read_bytes()
    with pytest.raises(SpecError) as refused:
        run(paths, FakeExecutor(paths), **sections)
    assert words in str(refused.value)
    assert "--fresh" in str(refused.value)
    assert "name:" in str(refused.value)
    assert paths.journal.read_bytes() == before


@pytest.mark.parametrize("values", [{"x": 1e9}, {"x": "text"}, {}, {"x": 0.5, "y": 1}])
def test_a_trial_that_is_no_point_of_the_space_is_not_taken_for_one(paths: RunPaths, values: dict[str, Any]) -> None:
    record = run(paths, FakeExecutor(paths))
    events: list[Any] = [{**event, "values": values} if "values" in event else event for event in recorded(paths)]
    space = joined_space(record.head.experiment, record.head.facts)
    with pytest.raises(RunError, match=r"no point of its search space: (x|y) .*--fresh"):
        list(_points_of(space, iter(events), paths))


def test_a_head_whose_space_is_none_is_told(paths: RunPaths) -> None:
    head = run(paths, FakeExecutor(paths)).head
    with pytest.raises(RunError, match="no valid search space"):
        _ = Head({**head.event, "space": {"x": 5}}).space


def test_what_changes_no_score_may_change(paths: RunPaths) -> None:
    run(paths, FakeExecutor(paths))
    execution = {"executor": "inline", "workers": 4, "trial_timeout": 60, "retries": 3}
    run(paths, FakeExecutor(paths), execution=execution, checkpoints={"keep": 2}, budget={"trials": 6})


def test_other_data_is_refused_where_there_is_more_to_train(paths: RunPaths) -> None:
    run(paths, FakeExecutor(paths), InTurn(2), budget={"trials": 2})
    other = FakeExecutor(paths, facts={"task": None, "fingerprint": "another"})
    with pytest.raises(SpecError, match="the data has changed"):
        run(paths, other, InTurn(3), budget={"trials": 3})
    assert other.trained == []


def test_a_run_of_a_version_that_trained_differently_is_not_continued(
    paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What there is can be read; new trials would not compare."""
    with monkeypatch.context() as then:
        then.setattr(record, "TRAINING", record.TRAINING - 1)
        first = told(run(paths, FakeExecutor(paths), InTurn(2), budget={"trials": 2}))
    again = FakeExecutor(paths)
    assert told(run(paths, again, InTurn(2), budget={"trials": 2})) == first
    with pytest.raises(SpecError, match="trained differently"):
        run(paths, again, InTurn(3), budget={"trials": 3})
    assert again.trained == []


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_a_raised_budget_continues(paths: RunPaths) -> None:
    first = told(run(paths, FakeExecutor(paths), InTurn(3), budget={"trials": 3}))
    executor = FakeExecutor(paths)
    more = told(run(paths, executor, InTurn(5), budget={"trials": 5}))
    assert more[:3] == first
    assert [segment.trial for segment in executor.trained] == [3, 4]


def test_a_failed_trial_counts(paths: RunPaths) -> None:
    record = run(paths, FakeExecutor(paths, fails=lambda s: "no" if s.trial else None), InTurn(9), budget={"trials": 3})
    assert [row["state"] for row in told(record)] == ["completed", "failed", "failed"]


def test_epochs_end_the_search_after_the_segment_that_reaches_them(paths: RunPaths) -> None:
    record = run(paths, FakeExecutor(paths), InTurn(99, epochs=9), budget={"epochs": 20})
    assert record.history.epochs_trained == 27
    assert record.ended == "27 of 20 epochs were trained"


def test_epochs_under_way_are_spoken_for(paths: RunPaths) -> None:
    record = run(paths, FakeExecutor(paths, slots=8), InTurn(99, epochs=9), budget={"epochs": 20})
    assert record.history.epochs_trained == 27


@pytest.mark.parametrize(("goal", "target", "trials"), [("maximize", 4.9, 5), ("minimize", 0.5, 1)])
def test_the_target_ends_the_search(paths: RunPaths, goal: str, target: float, trials: int) -> None:
    objective = {"metric": "score", "goal": goal}
    record = run(paths, FakeExecutor(paths), InTurn(99), objective=objective, budget={"target": target, "trials": 50})
    assert len(record.history.trials) == trials
    assert record.ended == f"trial {trials - 1} reached the target of {target:g}"


def test_time_is_counted_over_all_resumes(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def slow(values: Any, epoch: int, replica: int) -> float:
        now[0] += 10.0
        return 1.0

    record = run(paths, FakeExecutor(paths, slow), InTurn(99, epochs=1), budget={"time": 25})
    assert len(record.history.trials) == 3
    assert record.elapsed_s == 30.0
    now[0] = 5.0  # another boot: its clock says nothing about the first one's
    record = run(paths, FakeExecutor(paths, slow), InTurn(99, epochs=1), budget={"time": 45})
    assert len(record.history.trials) == 5
    assert record.elapsed_s == 50.0


def test_start_up_is_no_time_of_the_search(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    class SlowToStart(FakeExecutor):
        def wait(self, timeout_s: float | None = None) -> list[Any]:
            now[0] += 100.0 if self.waiting[0].purpose == "probe" else 10.0
            return super().wait(timeout_s)

    for time, trials in ((25, 3), (45, 5), (45, 5)):
        record = run(paths, SlowToStart(paths), InTurn(99, epochs=1), budget={"time": time})
        assert (len(record.history.trials), record.elapsed_s) == (trials, 10.0 * trials)
        assert replay(paths).elapsed_s == record.elapsed_s
    assert not paths.clock.exists(), "the journal tells it all"


def test_what_is_cut_off_counts(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def stop(segment: Any) -> str | None:
        now[0] += 10.0
        if segment.trial == 2 and now[0] < 1035.0:
            raise KeyboardInterrupt
        return None

    with pytest.raises(Interrupted):
        run(paths, FakeExecutor(paths, fails=stop), InTurn(99, epochs=1), budget={"time": 45})
    assert float(paths.clock.read_text().split()[0]) == 30.0
    damaged = paths.clock.read_bytes().replace(b"30.", b"70.")  # one bit, and what can't be, checksum and all
    for text in (damaged, _line(9e307), _line(253_402_300_800.0), _line(float("inf")), _line(-3.0)):
        before, _ = paths.clock.read_bytes(), paths.clock.write_bytes(text)
        assert Clock(paths.clock, 20.0, below=paths.runs).seconds() == 20.0
        paths.clock.write_bytes(before)
    assert Clock(paths.clock, 40.0, below=paths.runs).seconds() == 40.0, "the journal tells more"
    record = run(paths, FakeExecutor(paths, fails=stop), InTurn(99, epochs=1), budget={"time": 45})
    assert (len(record.history.trials), record.elapsed_s) == (4, 50.0), "30, then the third again and a fourth"


@pytest.mark.parametrize("content", ["", "no number", "nan", "inf", "-3", "1e999", "4000.000\n", "\0" * 20])
def test_a_clock_s_file_that_makes_no_sense_is_passed_over(paths: RunPaths, content: str) -> None:
    run(paths, FakeExecutor(paths), InTurn(2, epochs=1), budget={"time": 3600, "trials": 1})
    paths.clock.write_text(content)
    record = run(paths, FakeExecutor(paths), InTurn(2, epochs=1), budget={"time": 3600, "trials": 2})
    assert len(record.history.trials) == 2
    assert record.elapsed_s < 3600


def test_a_clock_that_is_set_back_changes_nothing(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    calm_paths = RunPaths(paths.root.with_name("calm"))
    calm = run(calm_paths, FakeExecutor(calm_paths), budget={"time": 3600})
    now = [2e9]

    def back() -> float:
        now[0] -= 86_400.0
        return now[0]

    monkeypatch.setattr("time.time", back)

    def stop(segment: Any) -> str | None:
        if segment.to_epoch == 9:
            raise KeyboardInterrupt
        return None

    with pytest.raises(Interrupted):
        run(paths, FakeExecutor(paths, fails=stop), budget={"time": 3600})
    record = run(paths, FakeExecutor(paths), budget={"time": 3600})
    assert told(record) == told(calm)
    assert told(replay(paths)) == told(calm)
    assert 0 <= record.elapsed_s < 3600
    times = [event["time"] for event in read(paths.journal)]
    assert times == sorted(times, reverse=True)


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_failed_trial_is_recorded_and_the_search_goes_on(paths: RunPaths) -> None:
    record = run(paths, FakeExecutor(paths, fails=lambda s: "boom" if s.trial == 1 else None), InTurn(3))
    assert [row.get("error") for row in told(record)] == [None, "boom", None]
    assert [row["trial"] for row in best_rows(record.history)] == [2, 0]


def test_the_best_trial_that_fails_later_is_no_longer_the_best(paths: RunPaths) -> None:
    record = run(paths, FakeExecutor(paths, fails=lambda s: "boom" if s.to_epoch == 9 else None))
    failed = [row["trial"] for row in told(record) if row["state"] == "failed"]
    assert record.history.best is not None
    assert record.history.best.number not in failed
    assert best_rows(record.history)[0]["trial"] == record.history.best.number


@pytest.mark.parametrize(("score", "words"), [(float("nan"), "score is nan"), (float("inf"), "score is inf")])
def test_a_score_that_is_no_number_is_a_failure(paths: RunPaths, score: float, words: str) -> None:
    def learn(values: Any, epoch: int, replica: int) -> float:
        return score if values["x"] == 1 and epoch == 2 else 1.0

    record = run(paths, FakeExecutor(paths, learn), InTurn(2, epochs=3))
    assert [row.get("error") for row in told(record)] == [None, f"{words} after epoch 2"]
    assert told(replay(paths)) == told(record)


def test_a_missing_objective_is_told_with_the_metrics_that_are_there(paths: RunPaths) -> None:
    with pytest.raises(RunError, match=r"2× the objective 'profit' is not among its metrics: score"):
        run(paths, FakeExecutor(paths), InTurn(2), objective={"metric": "profit", "goal": "maximize"})


def test_no_success_ends_in_an_error_with_the_reasons_counted(paths: RunPaths) -> None:
    executor = FakeExecutor(paths, fails=lambda s: "rare" if s.trial == 0 else "common")
    with pytest.raises(RunError, match="all 4 failed:\n  3× common\n  1× rare") as error:
        run(paths, executor, InTurn(4))
    assert error.value.exit_code == 1
    assert len(told(replay(paths))) == 4


@pytest.mark.parametrize(("retries", "tries", "state"), [(0, 1, "failed"), (1, 2, "failed"), (2, 3, "completed")])
def test_a_lost_segment_is_tried_again(paths: RunPaths, retries: int, tries: int, state: str) -> None:
    executor = FakeExecutor(paths)
    executor.lost = lambda s: s.trial == 1 and sum(t.trial == 1 for t in executor.trained) < 3
    record = run(paths, executor, InTurn(3), execution={"retries": retries})
    assert sum(segment.trial == 1 for segment in executor.trained) == tries
    assert told(record)[1]["state"] == state
    assert told(replay(paths)) == told(record)
    retried = min(retries, 2)
    assert told(record)[1].get("lost_seconds", 0.0) == 0.25 * retried
    assert "lost_seconds" not in told(record)[0]


def test_a_probe_that_refuses_leaves_no_run(paths: RunPaths) -> None:
    executor = FakeExecutor(paths)

    def refuse(timeout_s: float | None = None) -> Any:
        raise spec_error("no such column", "data", "target")

    executor.wait = refuse  # type: ignore[method-assign]
    with pytest.raises(SpecError, match="no such column"):
        run(paths, executor)
    assert not paths.journal.exists()


# --- repeats ----------------------------------------------------------------------------------------------------------


def test_repeats_are_segments_and_the_score_is_their_mean(paths: RunPaths) -> None:
    executor = FakeExecutor(paths)
    record = run(paths, executor, InTurn(2, epochs=9), evaluation={"repeats": 3})
    assert [(s.trial, s.replica) for s in executor.trained] == [(t, r) for t in (0, 1) for r in (0, 1, 2)]
    row = told(record)[1]
    assert row["scores"] == pytest.approx([1.9, 1.91, 1.92])
    assert row["score"] == pytest.approx(1.91)
    assert (row["epochs"], row["seconds"]) == (9, 1.0), "seconds are one training's, as the score is"


def test_each_repeat_stops_early_by_itself(paths: RunPaths) -> None:
    executor = FakeExecutor(paths, ends=lambda s: 2 if s.replica == 0 else None)
    record = run(paths, executor, Halving(trials=2), evaluation={"repeats": 2})
    winner = best_rows(record.history)[0]
    trained = [(s.replica, s.from_epoch, s.to_epoch) for s in executor.trained if s.trial == winner["trial"]]
    assert trained == [(0, 0, 1), (1, 0, 1), (0, 1, 3), (1, 1, 3), (1, 3, 9)]
    assert winner["state"] == "completed"
    assert [len(c["score"]) for c in record.history.trials[winner["trial"]].curves] == [2, 9]


def test_one_failed_repeat_fails_the_trial_and_spares_the_rest(paths: RunPaths) -> None:
    executor = FakeExecutor(paths, fails=lambda s: "boom" if (s.trial, s.replica) == (0, 1) else None)
    record = run(paths, executor, InTurn(2), evaluation={"repeats": 4})
    assert [(s.trial, s.replica) for s in executor.trained] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3)]
    assert [row["state"] for row in told(record)] == ["failed", "completed"]
    assert not record.history.pending


# --- stabilised weights -----------------------------------------------------------------------------------------------


def by_units(values: Any) -> str:
    return f"{values['units']} units"


def units(*of_trials: int) -> Any:
    return lambda number: {"units": of_trials[number]}


def lines(paths: RunPaths) -> list[tuple[str, ...]]:
    """The journal in short: what happened, to what, of which trial."""
    return [
        (e["event"].removeprefix("segment_"), e.get("purpose", ""), str(e["trial"]))
        for e in read(paths.journal)
        if "trial" in e
    ]


def test_weights_are_stabilised_before_the_first_trial_of_each_architecture(paths: RunPaths) -> None:
    executor = FakeExecutor(paths, structure=by_units)
    run(paths, executor, InTurn(4, also=units(8, 8, 16, 8)), **STABILIZED)
    assert [(s.purpose, s.trial) for s in executor.trained] == [
        ("stabilize", 0),
        ("trial", 0),
        ("trial", 1),
        ("stabilize", 2),
        ("trial", 2),
        ("trial", 3),
    ]
    assert lines(paths)[:6] == [
        ("started", "trial", "0"),
        ("started", "stabilize", "0"),
        ("stabilized", "", "0"),
        ("finished", "stabilize", "0"),
        ("begun", "trial", "0"),
        ("finished", "trial", "0"),
    ]
    event = next(e for e in read(paths.journal) if e["event"] == "stabilized")
    told = {key: event[key] for key in ("structure", "replica", "method", "losses", "chosen")}
    assert told == {"structure": "8 units", "replica": 0, "method": "lottery", "losses": [2.0, 1.0], "chosen": 1}


def test_nothing_is_stabilised_unasked_or_for_a_function(paths: RunPaths) -> None:
    executor = FakeExecutor(paths)
    run(paths, executor, InTurn(1), initialization=STABILIZED["initialization"])
    assert [s.purpose for s in executor.trained] == ["trial"]


def test_trials_wait_for_the_weights_that_another_one_makes(paths: RunPaths) -> None:
    """Three slots: two trials of one architecture and one of another; what waits keeps its slot."""
    seen: list[list[tuple[str, int]]] = []

    def look(waiting: int) -> int:
        seen.append([(s.purpose, s.trial) for s in executor.waiting])
        return 0

    executor = FakeExecutor(paths, structure=by_units, slots=3, order=look)
    run(paths, executor, InTurn(4, also=units(8, 8, 16, 8)), **STABILIZED)
    assert seen[1:] == [
        [("stabilize", 0), ("stabilize", 2)],
        [("stabilize", 2), ("trial", 0), ("trial", 1)],
        [("trial", 0), ("trial", 1), ("trial", 2)],
        [("trial", 1), ("trial", 2), ("trial", 3)],
        [("trial", 2), ("trial", 3)],
        [("trial", 3)],
    ]
    told = lines(paths)
    assert told.index(("started", "trial", "3")) > told.index(("finished", "stabilize", "2")), "its slot was taken"


def test_each_repeat_starts_from_weights_of_its_own(paths: RunPaths) -> None:
    executor = FakeExecutor(paths, slots=2)
    run(paths, executor, InTurn(2), **STABILIZED, evaluation={"repeats": 2})
    assert stabilized(paths) == [(0, "one", 0), (0, "one", 1)]
    assert [(s.trial, s.replica) for s in executor.trained if s.purpose == "trial"] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_code_is_stabilised_one_after_the_other(paths: RunPaths) -> None:
    """Every setting may be an architecture of its own, or the same: only its maker tells of it."""
    making: list[int] = []

    def look(waiting: int) -> int:
        making.append(sum(s.purpose == "stabilize" for s in executor.waiting))
        return 0

    executor = FakeExecutor(paths, slots=3, order=look)
    run(paths, executor, InTurn(4), **CODE)
    assert max(making) == 1
    assert [s.trial for s in executor.trained if s.purpose == "stabilize"] == [0, 1, 2, 3]
    assert stabilized(paths) == [(0, "one", 0)]


@pytest.mark.parametrize("slots", [1, 3])
def test_where_weights_can_not_be_made_the_trial_fails_and_the_next_one_tries(paths: RunPaths, slots: int) -> None:
    def fails(segment: Any) -> str | None:
        return "diverged" if segment.purpose == "stabilize" and segment.trial < 2 else None

    executor = FakeExecutor(paths, structure=by_units, slots=slots, fails=fails)
    record = run(paths, executor, InTurn(4, also=units(8, 8, 8, 8)), **STABILIZED)
    assert [row.get("error") for row in told(record)] == ["diverged", "diverged", None, None]
    assert stabilized(paths) == [(2, "8 units", 0)]
    assert not record.history.pending


@pytest.mark.parametrize(("retries", "errors"), [(0, ["the worker died", None]), (1, [None, None])])
def test_stabilising_that_is_lost_is_tried_again(paths: RunPaths, retries: int, errors: list[str | None]) -> None:
    executor = FakeExecutor(paths, slots=2)
    executor.lost = lambda s: s.purpose == "stabilize" and len(executor.trained) == 1
    record = run(paths, executor, InTurn(2), **STABILIZED, execution={"retries": retries})
    assert [row.get("error") for row in told(record)] == errors


def test_stabilising_that_is_lost_comes_before_what_would_wait_for_it(paths: RunPaths) -> None:
    executor = FakeExecutor(paths)
    executor.lost = lambda s: s.purpose == "stabilize" and len(executor.trained) == 1
    record = run(paths, executor, InTurn(1), **CODE, evaluation={"repeats": 2})
    assert [row["state"] for row in told(record)] == ["completed"]


@pytest.mark.parametrize("purpose", ["stabilize", "trial"])
def test_a_failed_trial_gives_up_the_repeats_that_wait(paths: RunPaths, purpose: str) -> None:
    executor = FakeExecutor(paths, slots=2, fails=lambda s: "no" if (s.purpose, s.replica) == (purpose, 0) else None)
    with pytest.raises(RunError, match="no trial succeeded"):
        run(paths, executor, InTurn(1), **CODE, evaluation={"repeats": 3})
    trained = [("stabilize", 0), ("trial", 0), ("stabilize", 1), ("trial", 1)]
    assert [(s.purpose, s.replica) for s in executor.trained] == (trained if purpose == "trial" else trained[:1])
    assert not replay(paths).history.pending


# --- finalists --------------------------------------------------------------------------------------------------------

FINALISTS: dict[str, Any] = {"evaluation": {"finalists": {"top": 2, "repeats": 3}}}


def lucky(values: Any, epoch: int, replica: int) -> float:
    """The better x, the better the search's score; under other seeds, all but the winner of the search stay so."""
    return float(values["x"]) - (replica * 0.1 + 5 if values["x"] == 3 and replica else 0)


def test_finalists_are_trained_again_and_their_means_decide(paths: RunPaths) -> None:
    executor, watch = FakeExecutor(paths, lucky), Watcher()
    record = run(paths, executor, InTurn(4), watch=watch, **FINALISTS)
    finals = [(s.trial, s.replica, s.from_epoch, s.to_epoch) for s in executor.trained if s.purpose == "finalist"]
    assert finals == [(3, 1, 0, 9), (3, 2, 0, 9), (3, 3, 0, 9), (2, 1, 0, 9), (2, 2, 0, 9), (2, 3, 0, 9)]
    assert [trial.number for trial in watch.tests] == [3, 3, 3, 2, 2, 2]
    rows = best_rows(record.history)
    assert [row["trial"] for row in rows] == [2, 3, 1, 0]
    assert rows[1]["score"] == 3.0, "the search's score stands beside it"
    assert rows[1]["finalist"]["scores"] == pytest.approx([-2.1, -2.2, -2.3])
    assert rows[1]["finalist"]["mean"] == pytest.approx(-2.2)
    assert rows[1]["finalist"]["interval"] == pytest.approx([-2.2 - 0.24841, -2.2 + 0.24841], abs=1e-4)
    assert "finalist" not in rows[2]
    assert record.history.epochs_trained == 4 * 9, "finalists are no part of the search's budget"
    assert best_rows(replay(paths).history) == rows


def test_finalists_start_from_seeds_that_no_repeat_has_used(paths: RunPaths) -> None:
    executor = FakeExecutor(paths)
    run(paths, executor, InTurn(2), evaluation={"repeats": 2, "finalists": {"top": 1, "repeats": 2}})
    assert [s.replica for s in executor.trained if s.purpose == "finalist"] == [2, 3]


def test_under_folds_each_of_a_finalist_s_repeats_is_a_whole_cross_validation(paths: RunPaths) -> None:
    """Trial 1 does well on the first folds, by which it would win; over all folds trial 0 does."""

    def by_fold(values: Any, epoch: int, replica: int) -> float:
        return replica // 4 / 100 + (0.5 if values["x"] == 0 else 0.9 if replica % 4 < 2 else 0.0)

    executor = FakeExecutor(paths, by_fold)
    record = run(paths, executor, InTurn(2), evaluation={"folds": 4, "finalists": {"top": 2, "repeats": 3}})
    finals = [(s.trial, s.replica) for s in executor.trained if s.purpose == "finalist"]
    assert finals == [(trial, replica) for trial in (0, 1) for replica in range(4, 16)]
    first, second = best_rows(record.history)
    assert (first["trial"], first["finalist"]["folds"]) == (0, 4)
    assert first["finalist"]["scores"] == pytest.approx([0.51, 0.52, 0.53])
    assert second["finalist"]["scores"] == pytest.approx([0.46, 0.47, 0.48])
    assert second["finalist"]["interval"] == pytest.approx([0.47 - 0.024841, 0.47 + 0.024841], abs=1e-5)
    assert figure(second) == (second["finalist"]["mean"], 12)


def test_finalists_may_be_asked_for_later_and_more_of_them(paths: RunPaths) -> None:
    run(paths, FakeExecutor(paths), InTurn(4), budget={"trials": 4})
    executor = FakeExecutor(paths)
    run(paths, executor, InTurn(4), budget={"trials": 4}, **FINALISTS)
    assert [(s.trial, s.replica) for s in executor.trained] == [(3, 1), (3, 2), (3, 3), (2, 1), (2, 2), (2, 3)]
    again = FakeExecutor(paths)
    run(paths, again, InTurn(4), budget={"trials": 4}, **FINALISTS)
    assert again.trained == []
    more = FakeExecutor(paths)
    evaluation = {"finalists": {"top": 3, "repeats": 4}}
    run(paths, more, InTurn(5), budget={"trials": 5}, evaluation=evaluation)
    assert [(s.purpose, s.trial, s.replica) for s in more.trained] == [
        ("trial", 4, 0),
        *(("finalist", 4, replica) for replica in (1, 2, 3, 4)),
        ("finalist", 3, 4),
        ("finalist", 2, 4),
    ]


def test_a_finalist_that_fails_once_is_none(paths: RunPaths) -> None:
    executor = FakeExecutor(
        paths, fails=lambda s: "boom" if (s.purpose, s.trial, s.replica) == ("finalist", 3, 2) else None
    )
    record = run(paths, executor, InTurn(4), **FINALISTS)
    rows = best_rows(record.history)
    assert [("finalist" in row, row["trial"]) for row in rows] == [(True, 2), (False, 3), (False, 1), (False, 0)]
    assert rows[1]["state"] == "completed", "as a trial it stands"


def test_interrupted_among_its_finalists_a_search_goes_on_there(paths: RunPaths) -> None:
    def stop(segment: Any) -> str | None:
        if (segment.purpose, segment.replica) == ("finalist", 2):
            raise KeyboardInterrupt
        return None

    with pytest.raises(Interrupted):
        run(paths, FakeExecutor(paths, fails=stop), InTurn(3), **FINALISTS)
    record = replay(paths)
    assert record.ended is None
    assert [row["trial"] for row in best_rows(record.history)] == [2, 1, 0]
    executor = FakeExecutor(paths)
    run(paths, executor, InTurn(3), **FINALISTS)
    assert [(s.trial, s.replica) for s in executor.trained] == [(2, 2), (2, 3), (1, 1), (1, 2), (1, 3)]


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_only_the_best_states_stay(paths: RunPaths, keep: int) -> None:
    scores = [5.0, 1.0, 9.0, 9.0, 3.0, 7.0]

    def learn(values: Any, epoch: int, replica: int) -> float:
        return scores[int(values["x"])]

    run(paths, FakeExecutor(paths, learn), InTurn(6, epochs=9), checkpoints={"keep": keep})
    kept = sorted(int(path.parent.name) for path in paths.trials.glob("*/*.npz"))
    assert kept == sorted([2, 3, 5][:keep])
    assert sorted(path.name for path in paths.trials.glob("*")) == [f"{n:04d}" for n in kept], "no empty folders"


def test_a_paused_trial_keeps_the_state_that_it_goes_on_from(paths: RunPaths) -> None:
    def stop(segment: Any) -> str | None:
        if segment.to_epoch == 9:
            raise KeyboardInterrupt
        return None

    with pytest.raises(Interrupted):
        run(paths, FakeExecutor(paths, fails=stop), checkpoints={"keep": 0})
    record = replay(paths)
    expected = [
        paths.state(trial.number, 0, trial.epochs)
        for trial in record.history.trials
        if trial.state in ("paused", "running")
    ]
    assert sorted(paths.trials.glob("*/*.npz")) == sorted(expected)


def test_after_a_power_cut_anywhere_it_goes_on_from_the_states_that_the_journal_tells_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At worst the disk has the journal as it was last synced, and all that was deleted is gone."""
    paths = RunPaths(tmp_path / "whole" / "a")
    cuts: list[RunPaths] = []
    now, on_disk = [0.0], [0]
    append, sync = Journal.append, Journal.sync

    def synced(journal: Journal) -> None:
        sync(journal)
        on_disk[0] = journal.path.stat().st_size

    def appended(journal: Journal, event: dict[str, Any], *, durable: bool = True) -> dict[str, Any]:
        now[0] += 0.03
        written = append(journal, event, durable=durable)
        cuts.append(RunPaths(tmp_path / f"cut{len(cuts)}" / "a"))
        shutil.copytree(paths.root, cuts[-1].root)
        os.truncate(cuts[-1].journal, on_disk[0])
        return written

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", appended)
        patch.setattr(Journal, "sync", synced)
        patch.setattr("hptune.run.journal.time.monotonic", lambda: now[0])
        calm = run(paths, FakeExecutor(paths), checkpoints={"keep": 1})
    assert len(cuts) > 20
    assert sum(cut.journal.stat().st_size < paths.journal.stat().st_size for cut in cuts) > 20
    for cut in cuts:  # the executor refuses to go on from a state that is not there
        assert told(run(cut, FakeExecutor(cut), checkpoints={"keep": 1})) == told(calm)


class Written:
    """What of the journals written meanwhile is on the disk; `now` is the only clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.told, self.on_disk = 0.0, 0, 0
        append, sync = Journal.append, Journal.sync

        def counted(journal: Journal, event: dict[str, Any], *, durable: bool = True) -> dict[str, Any]:
            self.told += event["event"] in ("segment_finished", "segment_failed")
            return append(journal, event, durable=durable)

        def synced(journal: Journal) -> None:
            sync(journal)
            self.on_disk = self.told

        monkeypatch.setattr(Journal, "append", counted)
        monkeypatch.setattr(Journal, "sync", synced)
        monkeypatch.setattr("hptune.run.journal.time.monotonic", lambda: self.now)


def test_who_waits_long_for_a_worker_has_the_disk_up_to_date(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(monkeypatch)

    class Slow(FakeExecutor):
        """A segment takes an hour; that of the other slot has ended a moment before."""

        def wait(self, timeout_s: float | None = None) -> list[Any]:
            if len(self.waiting) == 1 and self.waiting[0].purpose != "probe":
                assert timeout_s is not None
                if written.told != written.on_disk:
                    assert timeout_s <= SYNC_EVERY_S
                    written.now += timeout_s
                    return []
                written.now += 3600
            return super().wait(timeout_s)

    run(paths, Slow(paths, slots=2), InTurn(6))
    assert written.now >= 3600


# --- many workers -----------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(slots=st.integers(1, 8), order=st.lists(st.integers(0, 7), min_size=1, max_size=12))
def test_any_order_of_finishing_trains_the_same_trials(
    tmp_path_factory: pytest.TempPathFactory, slots: int, order: list[int]
) -> None:
    paths = RunPaths(tmp_path_factory.mktemp("runs") / "a")
    turns = [0]

    def next_one(_: int) -> int:
        turns[0] += 1
        return order[turns[0] % len(order)]

    record = run(paths, FakeExecutor(paths, slots=slots, order=next_one))
    by_epochs = sorted((row["epochs"], row["state"]) for row in told(record))
    assert by_epochs == [(1, "stopped")] * 3 + [(3, "stopped")] * 2 + [(9, "completed")]
    assert told(replay(paths)) == told(record)
    assert len(states(paths)) == 1
