"""What reports draw: the rows are right, and the drawings hold them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hptune.base.trial import Segment, SegmentFailure, SegmentResult
from hptune.reports.compare import summary
from hptune.reports.console import (
    comparison_tables,
    finalist_lines,
    runs_table,
    trials_table,
    winner_lines,
    winner_table,
)
from hptune.reports.html import html
from hptune.reports.leaderboard import best_rows, rows
from hptune.reports.live import Lines, Screen, report_line
from hptune.reports.plan import curve
from hptune.reports.report import make_report
from hptune.run.events import failed, finished, lost, started
from hptune.run.ranking import ranked
from hptune.run.record import Record
from hptune.search.budget import Limits


def record(goal: str = "maximize", facts: dict[str, Any] | None = None) -> Record:
    experiment = {
        "version": 1,
        "name": "a",
        "model": {"function": "m:f"},
        "objective": {"metric": "score", "goal": goal},
    }
    head: Any = {"event": "head", "time": 0.0, "experiment": experiment, "space": {}, "facts": facts or {}}
    return Record(head)


def train(record: Record, number: int, score: float | str, *, complete: bool = True, **values: Any) -> None:
    """A trial that scored, or that failed for a reason."""
    segment = Segment(number, values or {"x": number}, to_epoch=2)
    record.apply({**started(segment), "time": 1.0})
    event: Any
    if isinstance(score, str):
        event = failed(SegmentFailure(segment, score, 0.5))
    else:
        event = finished(SegmentResult(segment, 2, {"score": (score - 1, score)}, 1.5), complete=complete)
    record.apply(event | {"time": 2.0})


@pytest.mark.parametrize(("goal", "order"), [("maximize", [2, 3, 0]), ("minimize", [0, 2, 3])])
def test_the_best_come_first_and_failed_trials_never(goal: str, order: list[int]) -> None:
    run = record(goal)
    scores: list[float | str] = [1.0, "boom", 3.0, 3.0]
    for number, score in enumerate(scores):
        train(run, number, score)
    run.apply({**started(Segment(4, {"x": 4}, to_epoch=2)), "time": 3.0})
    assert [row["trial"] for row in best_rows(run.history)] == order
    assert [trial.number for trial in ranked(run.history)] == order
    assert [row["state"] for row in rows(run.history)] == ["completed", "failed", *["completed"] * 2, "running"]
    assert rows(run.history)[4]["score"] is None


def test_a_row_holds_what_json_promises() -> None:
    run = record()
    train(run, 0, 2.0, complete=False)
    (row,) = rows(run.history)
    assert row == {"trial": 0, "score": 2.0, "values": {"x": 0}, "epochs": 2, "seconds": 1.5, "state": "paused"}


def test_the_table_shows_every_parameter_that_occurs() -> None:
    run = record()
    train(run, 0, 0.123456, kind="[red]", rate=0.25)
    train(run, 1, "no [bold] way", kind="b")
    text = drawn(trials_table(rows(run.history), "score"))
    assert text.splitlines()[0].split() == ["trial", "score", "kind", "rate", "epochs", "time", "state"]
    assert "0.1235" in text
    assert "[red]" in text, "what looks like markup is text"
    assert "failed: no [bold] way" in text


def repeat(record: Record, number: int, *scores: float | None) -> None:
    """A finalist's scores; None: that repeat failed."""
    segment = Segment(number, {"x": number}, to_epoch=2, purpose="finalist")
    record.apply({**started(segment, range(1, len(scores) + 1)), "time": 3.0})
    for replica, score in enumerate(scores, start=1):
        one = segment._replace(replica=replica)
        event: Any
        if score is None:
            event = failed(SegmentFailure(one, "boom", 0.5))
        else:
            event = finished(SegmentResult(one, 2, {"score": (score, 0.0)}, 1.5), complete=True)
        record.apply(event | {"time": 4.0})


def test_repeats_are_shown_with_their_spread() -> None:
    run = record()
    segment = Segment(0, {"x": 0}, to_epoch=1)
    run.apply({**started(segment, [0, 1, 2]), "time": 1.0})
    for replica, score in enumerate([1.0, 2.0, 3.0]):
        result = SegmentResult(segment._replace(replica=replica), 1, {"score": (score,)}, 1.0)
        run.apply({**finished(result, complete=True), "time": 2.0})
    (row,) = rows(run.history)
    assert (row["score"], row["scores"], row["spread"]) == (2.0, [1.0, 2.0, 3.0], 1.0)
    assert "2 ± 1" in drawn(trials_table([row], "score"))


@pytest.mark.parametrize(
    ("second", "verdict"), [([0.80, 0.84, 0.82], "within the noise"), ([0.60, 0.61, 0.62], "more than the noise")]
)
def test_finalists_are_ranked_by_their_means_and_the_noise_is_told(second: list[float], verdict: str) -> None:
    run = record()
    for number, score in enumerate([0.9, 0.95, 0.99, 0.5]):
        train(run, number, score)
    repeat(run, 1, *second)
    repeat(run, 0, 0.80, 0.86, 0.83)
    repeat(run, 2, 1.0, None, 1.0)
    best = best_rows(run.history)
    assert [row["trial"] for row in best] == [0, 1, 2, 3], "one that failed at a repeat is no finalist"
    assert best[0]["finalist"]["mean"] == pytest.approx(0.83)
    assert [row.get("finalist_failed") for row in best] == [None, None, 1, None]
    assert [row.get("finalist_error") for row in best] == [None, None, "boom", None]
    assert best[0]["finalist"]["interval"] == pytest.approx([0.75547, 0.90453], abs=1e-5)
    lines = drawn(trials_table(best, "score", best_first=True)).splitlines()
    assert "finalists' mean (95 %)" in lines[0]
    assert "0.9 0.83 ± 0.075 winner" in " ".join(lines[1].split()), "the search's score, and the finalist's mean"
    assert [("winner" in line, "±" in line) for line in lines[2:]] == [(False, True), (False, False), (False, False)]
    assert "winner" not in drawn(trials_table(rows(run.history), "score")), "in the order of the numbers none is first"
    (told,) = finalist_lines(best)
    assert told.startswith("trial 0 is ahead of trial 1 by 0.")
    assert verdict in told


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_the_interval_holds_the_lead_whichever_way_is_better(goal: str) -> None:
    run = record(goal)
    for number in (0, 1):
        train(run, number, float(number))
        score = number + (0.5 if goal == "maximize" else -5.0)
        repeat(run, number, score, score)
    assert finalist_lines(best_rows(run.history))[0].endswith(
        "by 1, which is more than the noise (95 % interval of the difference 1 to 1)"
    )


def test_under_folds_the_noise_is_that_of_seeds() -> None:
    """Of a model without randomness it is none, whatever other samples would do."""
    final = {"scores": [0.5, 0.5], "mean": 0.5, "interval": [0.5, 0.5], "folds": 4}
    pair = [{"trial": 1, "finalist": final}, {"trial": 0, "finalist": {**final, "scores": [0.4, 0.4], "mean": 0.4}}]
    assert "by 0.1, which is more than the noise of other seeds, on the same folds (95 %" in finalist_lines(pair)[0]


def test_without_two_finalists_there_is_no_noise_to_tell() -> None:
    run = record()
    train(run, 0, 0.9)
    train(run, 1, 0.8)
    assert finalist_lines(best_rows(run.history)) == []
    repeat(run, 0, 0.8, 0.9)
    assert finalist_lines(best_rows(run.history)) == []


def test_a_run_is_told_by_the_figure_that_decided_and_with_all_its_epochs() -> None:
    run = record()
    train(run, 0, 0.9)
    train(run, 1, 0.95)
    assert (summary(run)["best"], summary(run)["epochs"]) == (0.95, 4)
    assert {"best_mean_of", "epochs_of_finalists"}.isdisjoint(summary(run))
    repeat(run, 0, 0.80, 0.85, 0.90)
    repeat(run, 1, 0.60, 0.70, 0.80)
    told = summary(run)
    best = best_rows(run.history)[0]
    assert (told["best"], told["best_mean_of"]) == (pytest.approx(0.85), 3), "not the 0.9 that it scored in the search"
    assert told["best"] == best["finalist"]["mean"]
    assert (told["epochs"], told["epochs_of_finalists"]) == (2 * 2 + 2 * 3 * 2, 2 * 3 * 2)
    table = drawn(runs_table([{"run": "a", **told}]))
    assert "0.85 (mean of 3)" in table
    page = html(make_report(run, name="a", size_bytes=0))
    assert "score 0.85 (mean of 3)" in page
    assert "16 (12 of finalists)" in page


def test_the_screen_tells_the_finalists_epochs_beside_the_budget_s() -> None:
    run = record()
    screen = Screen(Console(file=io.StringIO(), force_terminal=True, width=120))
    with screen:
        train(run, 0, 0.9)
        screen.begun(run, Limits(epochs=2))
        repeat(run, 0, 0.80, 0.85)
        assert "2/2 epochs + 4 of finalists" in drawn(screen.draw())


def test_a_mean_of_repeats_says_so_too() -> None:
    run = record()
    segment = Segment(0, {"x": 0}, to_epoch=1)
    run.apply({**started(segment, [0, 1]), "time": 1.0})
    for replica, score in enumerate([1.0, 2.0]):
        result = SegmentResult(segment._replace(replica=replica), 1, {"score": (score,)}, 1.0)
        run.apply({**finished(result, complete=True), "time": 2.0})
    assert (summary(run)["best"], summary(run)["best_mean_of"]) == (1.5, 2)


def test_lost_tries_stand_beside_the_time() -> None:
    run = record()
    segment = Segment(0, {"x": 0}, to_epoch=2)
    run.apply({**started(segment), "time": 1.0})
    run.apply({**lost(SegmentFailure(segment, "the worker died", 7.0, lost=True)), "time": 1.5})
    run.apply({**finished(SegmentResult(segment, 2, {"score": (1.0, 2.0)}, 1.5), complete=True), "time": 2.0})
    assert rows(run.history)[0]["seconds"] == 1.5
    assert "1.5s + 7.0s lost" in drawn(trials_table(rows(run.history), "score"))


def test_lines_tell_of_each_test_of_a_finalist(capsys: pytest.CaptureFixture[str]) -> None:
    run = record()
    train(run, 0, 0.9)
    view = Lines()
    view.begun(run, Limits())
    repeat(run, 0, 0.8, None)
    view.tested(run.history.trials[0])
    assert capsys.readouterr().err.splitlines()[-1] == "finalist, trial 0, again: 0.8 failed: boom"


def drawn(renderable: Any) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_lines_tell_each_report(capsys: pytest.CaptureFixture[str]) -> None:
    run = record(facts={"warnings": ["the last layer has no softmax"]})
    view = Lines()
    view.begun(run, Limits(trials=3, target=9.0))
    scores: list[float | str] = [5.0, "boom", 2.0]
    for number, score in enumerate(scores):
        train(run, number, score)
        view.reported(run.history.trials[number])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "a: begun; budget: 3 trials or a score of 9",
        "warning: the last layer has no softmax",
        "[1/3] trial 0 score 5 after 2 epochs in 1.5s (x=0)",
        "[2/3] trial 1 failed: boom (x=1)",
        "[3/3] trial 2 score 2 after 2 epochs in 1.5s (x=2); best 5 (trial 0)",
    ]
    assert report_line(run.history.trials[0], run, Limits()).startswith("[3] trial 0")
    assert "score 5 after 1 epoch in" in report_line(run.history.trials[0]._replace(epochs=1), run, Limits())


def test_the_screen_shows_the_best_the_budget_and_the_running_trial() -> None:
    run = record()
    screen = Screen(Console(file=io.StringIO(), force_terminal=True, width=120))
    assert "loading" in drawn(screen.draw())
    with screen:
        train(run, 0, 1.0)
        screen.begun(run, Limits(trials=20, epochs=100))
        for number in range(1, 9):
            train(run, number, float(number) if number != 3 else "boom")
            screen.reported(run.history.trials[number])
        segment = Segment(9, {"x": 9}, to_epoch=7)
        run.apply({**started(segment), "time": 3.0})
        screen.epoch(segment, 4, {"loss": 0.25})
        lines = drawn(screen.draw()).splitlines()
    assert [line.split()[0] for line in lines[1:6]] == ["8", "7", "6", "5", "4"]
    assert "9/20 trials  16/100 epochs" in lines[7]
    assert lines[8].strip() == "trial 9  epoch 4/7  loss 0.25"
    assert lines[9].strip() == "1 failed, the last: trial 3: boom"


def test_the_winner_beside_the_baseline() -> None:
    training = {"score": 0.9, "epochs": 20, "seconds": 3.2, "parameters": 1234}
    result = {
        "trial": 7,
        "metric": "val_accuracy",
        "search_score": 0.91,
        "values": {"units": 64, "momentum": 0.5},
        "test": {"loss": 0.3, "accuracy": 0.88},
        "training": training,
        "model": "runs/a/best/model.keras",
        "baseline": {"values": {"units": 32}, "test": {}, "training": {**training, "score": None}, "error": "boom"},
    }
    text = drawn(winner_table(result))
    assert "test accuracy" in text
    assert "1,234" in text
    assert "expected (search) val_accuracy 0.91, achieved 0.9" in winner_lines(result)
    assert "the baseline could not be trained: boom" in winner_lines(result)
    final = {"scores": [0.8, 0.85, 0.9], "mean": 0.85, "interval": [0.7, 1.0]}
    again = winner_lines({**result, "finalist": final})[0]
    assert again == "expected (search) val_accuracy 0.91, as a finalist 0.85 (mean of 3), achieved 0.9"
    several = winner_lines({**result, "search_scores": [0.9, 0.92]})[0]
    assert several == "expected (search, mean of 2) val_accuracy 0.91, achieved 0.9"
    told = {**result, "ramp": {"epoch": 12, "stopped_at": 17}, "note": "weights alone"}
    assert "12" in drawn(winner_table(told)).split("rate dropped at epoch")[1].split()
    assert any("at epoch 12" in line and "at epoch 17" in line for line in winner_lines(told))
    assert "note: weights alone" in winner_lines(told)


@pytest.mark.parametrize("rates", [[0.1], [0.0, 0.0], [1e-3] * 500, [0.0, float("inf")]])
def test_any_schedule_can_be_drawn(rates: list[float]) -> None:
    lines = curve(rates)
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[-1].strip() == f"epochs 1 to {len(rates)}"


def test_paths_are_not_needed_to_draw(tmp_path: Path) -> None:
    assert drawn(trials_table([], "score")).split() == ["trial", "score", "epochs", "time", "state"]


def test_numbers_beside_each_other_do_not_read_alike() -> None:
    run = record()
    for number, score in enumerate([0.91234, 0.91232, 0.5]):
        train(run, number, score, rate=[0.1000001, 0.1000002, 0.1][number], kind=[1, "1", True][number])
    lines = [line.split() for line in drawn(trials_table(rows(run.history), "score")).splitlines()]
    assert [line[1] for line in lines[1:]] == ["0.91234", "0.91232", "0.5"]
    assert [float(line[2]) for line in lines[1:]] == [0.1000001, 0.1000002, 0.1]
    assert [line[3] for line in lines[1:]] == ["1", '"1"', "True"]
    page = html(make_report(run, name="a", size_bytes=0))
    assert all(f">{text}<" in page for text in ("0.91234", "0.91232", "0.1000001", "0.1000002"))
    line = report_line(run.history.trials[1], run, Limits())
    assert "score 0.91232 after" in line
    assert "best 0.91234 (trial 0)" in line


def test_what_tells_a_number_from_its_likes_is_no_other_number_s_text() -> None:
    """In five digits 1.23446, which is told from 1.2341, and 1.23454, which is told from 1.2349, are 1.2345."""
    run = record()
    for number, score in enumerate([1.2341, 1.23446, 1.23454, 1.2349]):
        train(run, number, score, rate=score)
    for trials in (rows(run.history), best_rows(run.history)[::-1]):
        lines = [line.split() for line in drawn(trials_table(trials, "score")).splitlines()[1:]]
        assert [line[1] for line in lines] == ["1.2341", "1.23446", "1.23454", "1.2349"]
        assert [line[2] for line in lines] == ["1.2341", "1.23446", "1.23454", "1.2349"]
    page = html(make_report(run, name="a", size_bytes=0))
    assert all(f">{text}<" in page for text in ("1.2341", "1.23446", "1.23454", "1.2349"))
    assert ">1.2345<" not in page


def test_runs_beside_each_other_do_not_read_alike() -> None:
    both = []
    for name, score in (("a", 0.91234), ("b", 0.91232)):
        run = record()
        train(run, 0, score, rate=score / 1000)
        both.append({"run": name, **summary(run), "best_trial": best_rows(run.history, 1)[0]})
    text = "\n".join(drawn(t) for t in comparison_tables({"runs": both, "differences": {"a.b": [1, "1"]}}))
    for word in ("0.91234", "0.91232", "0.00091234", "0.00091232", '"1"'):
        assert word in text.split()


def test_an_interval_s_ends_do_not_read_alike() -> None:
    run = record()
    for number in (0, 1):
        train(run, number, float(number))
        repeat(run, number, *(number + 0.0001 * n for n in range(3)))
    (line,) = finalist_lines(best_rows(run.history))
    low, high = line.rsplit("difference ")[1].rstrip(")").split(" to ")
    assert float(low) < 1.0 < float(high)
