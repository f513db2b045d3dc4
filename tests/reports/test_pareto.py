"""The Pareto front, and the rows of a search with several objectives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hptune.base.trial import Segment, SegmentFailure, SegmentResult
from hptune.experiment.objective import Objective
from hptune.reports.console import trials_table
from hptune.reports.leaderboard import best_rows, front_left_out, objective_name, rows, shown_of
from hptune.run import events
from hptune.run.history import History
from hptune.run.ranking import pareto_front

GOALS = [Objective(metric="accuracy", goal="maximize"), Objective(metric="seconds", goal="minimize")]


def told(*figures: tuple[float, float] | None) -> History:
    """Trials with an accuracy and a time each; None: failed."""
    history = History(GOALS)
    for number, pair in enumerate(figures):
        segment = Segment(number, {"x": number}, 0, 1)
        history.apply(events.started(segment))
        if pair is None:
            history.apply(events.failed(SegmentFailure(segment, "boom", 0.1)))
        else:
            result = SegmentResult(segment, 1, {"accuracy": (pair[0],)}, pair[1])
            history.apply(events.finished(result, complete=True))
    return history


def test_the_front_holds_what_nothing_beats_the_first_objectives_best_first() -> None:
    history = told((0.5, 1.0), (0.9, 5.0), None, (0.8, 6.0), (0.7, 2.0), (0.5, 1.0), (0.9, 7.0))
    assert [trial.number for trial in pareto_front(history)] == [1, 4, 0, 5]
    assert [row["trial"] for row in best_rows(history, 2)] == [1, 4]


def test_what_is_left_out_of_a_front_is_told() -> None:
    history = told(*((at / 20, float(at)) for at in range(13)))
    assert len(best_rows(history, shown_of(history))) == 13
    assert front_left_out(history, 13) == []
    assert front_left_out(history, 10) == ["3 more on the Pareto front, which `hptune best` shows whole"]
    alone = History(GOALS[:1])
    assert (shown_of(alone), front_left_out(alone, 0)) == (10, [])


def test_rows_hold_the_objectives_by_name() -> None:
    history = told((0.5, 1.0), None)
    first, failed = rows(history)
    assert first["score"] is None
    assert first["objectives"] == {"accuracy": 0.5, "seconds": 1.0}
    assert failed["objectives"] is None
    assert objective_name(history) == "accuracy, seconds"
    table = trials_table(rows(history), objective_name(history))
    assert [column.header for column in table.columns][:3] == ["trial", "accuracy", "seconds"]


def test_figures_that_are_means_say_so() -> None:
    history = History(GOALS)
    for replica in range(3):
        segment = Segment(0, {"x": 1}, 0, 1, replica=replica)
        history.apply(events.started(segment))
        history.apply(events.finished(SegmentResult(segment, 1, {"accuracy": (0.5,)}, 1.0), complete=True))
    assert rows(history)[0]["means_of"] == 3
    headers = [column.header for column in trials_table(rows(history), "").columns]
    assert headers[1:3] == ["accuracy (mean of 3)", "seconds (mean of 3)"]


@given(st.lists(st.tuples(st.integers(0, 4).map(float), st.integers(0, 4).map(float)), max_size=12))
def test_the_front_is_what_its_definition_says(figures: list[tuple[float, float]]) -> None:
    found = {trial.number for trial in pareto_front(told(*figures))}

    def beaten(at: int) -> bool:
        accuracy, seconds = figures[at]
        return any(a >= accuracy and s <= seconds and (a, s) != (accuracy, seconds) for a, s in figures)

    assert found == {at for at in range(len(figures)) if not beaten(at)}
