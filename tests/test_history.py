"""What a history says of trials, to the number: replicas, scores, the best and where it was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from hptune.base.trial import Segment, SegmentFailure, SegmentResult
from hptune.experiment.objective import Objective
from hptune.run.events import failed, finished, lost, segment_key, stabilized, started, stopped
from hptune.run.history import History, best_of
from hptune.run.usable import unusable

UP = Objective(metric="score", goal="maximize")
DOWN = Objective(metric="score", goal="minimize")


def history(*objectives: Objective) -> History:
    return History(objectives or (UP,))


def begin(
    told: History, trial: int, to: int, *, at: int = 0, replicas: Sequence[int] | None = None, **more: Any
) -> None:
    told.apply(started(Segment(trial, {"x": trial}, at, to, **more), replicas))


def end(
    told: History,
    trial: int,
    curve: Sequence[float],
    *,
    at: int = 0,
    replica: int = 0,
    complete: bool = False,
    **more: Any,
) -> None:
    segment = Segment(trial, {"x": trial}, at, at + len(curve), replica, more.pop("purpose", "trial"))
    result = SegmentResult(segment, at + len(curve), {"score": tuple(curve)}, 2.0, **more)
    told.apply(finished(result, complete=complete))


def fail(told: History, trial: int, *, replica: int = 0, purpose: Any = "trial") -> None:
    told.apply(failed(SegmentFailure(Segment(trial, {}, replica=replica, purpose=purpose), "no", 0.5)))


def test_a_trial_grows_segment_by_segment() -> None:
    told = history()
    begin(told, 0, 2)
    assert (told.trials[0].state, told.trials[0].to_epoch, told.trials[0].epochs) == ("running", 2, 0)
    assert [trial.number for trial in told.running()] == [0]
    assert told.score(told.trials[0]) is None
    end(told, 0, [0.1, 0.3])
    assert (told.trials[0].state, told.trials[0].epochs, told.reports, told.epochs_trained) == ("paused", 2, [0], 2)
    assert list(told.running()) == []
    begin(told, 0, 5, at=2)
    assert told.score(told.trials[0]) == 0.3, "what is under way is no score yet"
    end(told, 0, [0.2, 0.5, 0.4], at=2, complete=True, ended=True)
    trial = told.trials[0]
    assert (trial.state, trial.epochs, trial.seconds, trial.facts) == ("completed", 5, 4.0, {"ended": True})
    assert trial.curves == ({"score": (0.1, 0.3, 0.2, 0.5, 0.4)},)
    assert [told.score(trial, epochs) for epochs in (1, 2, 3, 5, None)] == [0.1, 0.3, 0.3, 0.5, 0.5]
    assert told.score(trial, 9) == 0.5, "it is complete: more epochs would change nothing"
    assert told.epochs_trained == 5
    assert told.pending == {}


def test_a_trial_tells_why_its_last_step_was_taken() -> None:
    told = history()
    told.apply({**started(Segment(0, {"x": 0}, 0, 2)), "why": "to begin with"})
    assert told.trials[0].why == "to begin with"
    end(told, 0, [0.1, 0.3])
    told.apply({**started(Segment(0, {"x": 0}, 2, 4)), "why": "among the best"})
    assert told.trials[0].why == "among the best"
    end(told, 0, [0.2, 0.4], at=2)
    begin(told, 0, 6, at=4)
    assert told.trials[0].why is None, "no reason was given for this one"


def test_the_score_after_epochs_that_were_not_trained_is_none() -> None:
    told = history()
    begin(told, 0, 2)
    end(told, 0, [0.1, 0.3])
    assert told.score(told.trials[0], 2) == 0.3
    assert told.score(told.trials[0], 3) is None


def test_the_event_of_a_finished_segment_holds_what_was_brought_back() -> None:
    segment = Segment(3, {"x": 1}, 2, 4, 1)
    result = SegmentResult(segment, 4, {"score": (0.1, 0.2)}, 1.5)
    event = {
        **{"event": "segment_finished", "purpose": "trial", "trial": 3, "replica": 1, "epochs": 4, "seconds": 1.5},
        **{"curves": {"score": [0.1, 0.2]}, "ended": False, "complete": True},
    }
    assert finished(result, complete=True) == event, "no facts where there are none"


def test_what_replicas_bring_while_others_are_under_way_is_no_score_yet() -> None:
    told = history()
    begin(told, 0, 2, replicas=[0, 1])
    for replica in range(2):
        end(told, 0, [0.1, 0.3], replica=replica)
    begin(told, 0, 4, at=2, replicas=[0, 1])
    end(told, 0, [0.9, 0.9], at=2, replica=0)
    assert [told.score(told.trials[0], epochs) for epochs in (None, 1, 2)] == [0.3, 0.1, 0.3]
    end(told, 0, [0.7, 0.5], at=2, replica=1)
    assert told.score(told.trials[0]) == pytest.approx(0.8)


def test_a_trial_reports_when_all_its_replicas_have() -> None:
    told = history()
    begin(told, 0, 2, replicas=[0, 1, 2])
    assert sorted(told.pending) == [("trial", 0, 0), ("trial", 0, 1), ("trial", 0, 2)]
    end(told, 0, [0.1, 0.2], replica=2)
    end(told, 0, [0.3], replica=0, complete=True)
    assert (told.trials[0].state, told.reports) == ("running", [])
    end(told, 0, [0.4, 0.6], replica=1)
    trial = told.trials[0]
    assert (trial.state, trial.epochs, told.reports, trial.seconds) == ("paused", 2, [0], 2.0)
    assert told.replica_scores(trial, UP) == [0.3, 0.6, 0.2]
    assert told.score(trial) == pytest.approx(1.1 / 3)
    assert told.unfinished(0, 3) == [1, 2]
    assert told.unfinished(1, 2) == [0, 1]
    begin(told, 0, 4, at=2, replicas=[1, 2])
    end(told, 0, [0.7, 0.7], at=2, replica=1, complete=True)
    end(told, 0, [0.1], at=2, replica=2, complete=True)
    assert (told.trials[0].state, told.trials[0].epochs) == ("completed", 4)


def test_the_epochs_of_a_trial_are_those_of_the_replicas_that_go_on() -> None:
    told = history()
    begin(told, 0, 3, replicas=[0, 1])
    end(told, 0, [0.1], replica=0, complete=True)
    end(told, 0, [0.1, 0.2, 0.3], replica=1)
    assert told.trials[0].epochs == 3
    assert told.trials[0].state == "paused"


def test_a_replica_that_fails_fails_the_trial_and_the_others_still_end() -> None:
    told = history()
    begin(told, 0, 2, replicas=[0, 1])
    fail(told, 0, replica=1)
    trial = told.trials[0]
    assert (trial.state, trial.error, trial.seconds, told.reports) == ("failed", "no", 0.5, [0])
    end(told, 0, [0.1, 0.2], replica=0)
    assert (told.trials[0].state, told.reports, told.score(told.trials[0])) == ("failed", [0], None)
    assert told.trials[0].seconds == (0.5 + 2.0) / 2
    begin(told, 1, 2, replicas=[0, 1])
    fail(told, 1, replica=0)
    fail(told, 1, replica=1)
    assert told.reports == [0, 1], "told once"
    assert told.trials[1].seconds == 0.5


@pytest.mark.parametrize("replica", [0, 2])
def test_a_trial_that_is_spared_its_other_replicas_reports_and_has_no_score(replica: int) -> None:
    told = history()
    begin(told, 0, 2, replicas=[0, 1, 2])
    end(told, 0, [0.1, 0.2], replica=replica)
    told.apply(stopped(0, [other for other in range(3) if other != replica]))
    trial = told.trials[0]
    assert (trial.state, trial.epochs, told.reports, told.pending) == ("stopped", 2, [0], {})
    assert (told.score(trial), told.best) == (None, None)


def test_a_trial_has_no_score_from_when_it_is_spared_a_replica() -> None:
    told = history()
    begin(told, 0, 1, replicas=[0, 1])
    end(told, 0, [0.1])
    end(told, 0, [0.3], replica=1)
    begin(told, 0, 2, at=1, replicas=[0, 1])
    assert told.score(told.trials[0]) == pytest.approx(0.2)
    told.apply(stopped(0, [1]))
    assert told.trials[0].state == "running", "the other is still trained"
    assert told.score(told.trials[0]) is None


def test_a_score_follows_its_trial() -> None:
    told = history()
    begin(told, 0, 1)
    before = told.trials[0]
    assert told.score(before) is None
    end(told, 0, [0.1])
    paused = told.trials[0]
    begin(told, 0, 3, at=1)
    end(told, 0, [0.4, 0.2], at=1)
    assert [told.score(trial) for trial in (before, paused, told.trials[0], paused)] == [None, 0.1, 0.4, 0.1]
    assert told.score(told.trials[0], 1) == 0.1


def test_how_many_reports_came_before_a_trial() -> None:
    told = history()
    for number in range(3):
        begin(told, number, 1)
        if number == 1:
            end(told, 0, [0.1])
    assert told.reports_before == [0, 0, 1]


@pytest.mark.parametrize("objective", [UP, DOWN])
def test_the_best_and_the_report_that_found_it(objective: Objective) -> None:
    sign = 1 if objective is UP else -1
    told = history(objective)
    found = []
    for number, score in enumerate([0.3, 0.1, 0.5, 0.5]):
        begin(told, number, 1)
        end(told, number, [sign * score])
        assert told.best is not None
        found.append((told.best.number, told.best_report))
    assert found == [(0, 0), (0, 0), (2, 2), (2, 2)], "the first of equals"
    begin(told, 2, 2, at=1)
    end(told, 2, [sign * 0.4], at=1)
    assert told.best is not None
    assert (told.best.number, told.best.epochs, told.best_report) == (2, 2, 2), "further trained, no better"
    begin(told, 2, 3, at=2)
    end(told, 2, [sign * 0.9], at=2)
    assert (told.best.number, told.best_report) == (2, 5)
    begin(told, 2, 4, at=3)
    fail(told, 2)
    assert (told.best.number, told.best_report) == (3, 3), "a failed one is not the best any more"


def test_where_the_only_good_one_fails_later_none_is_the_best() -> None:
    told = history()
    begin(told, 0, 1)
    end(told, 0, [0.5])
    begin(told, 0, 2, at=1)
    fail(told, 0)
    assert (told.best, told.best_report) == (None, -1)


def test_with_several_objectives_none_is_the_best() -> None:
    told = history(UP, Objective(metric="parameters", goal="minimize"))
    begin(told, 0, 1)
    end(told, 0, [0.5], facts={"parameters": 7})
    assert told.best is None
    assert told.scores(told.trials[0]) == {"score": 0.5, "parameters": 7.0}
    begin(told, 1, 1)
    end(told, 1, [0.5])
    assert told.scores(told.trials[1]) is None
    with pytest.raises(AssertionError):
        _ = told.objective


def test_several_objectives_are_those_of_one_epoch() -> None:
    told = history(UP, Objective(metric="cost", goal="minimize"), Objective(metric="parameters", goal="minimize"))
    begin(told, 0, 4)
    segment = Segment(0, {"x": 0}, 0, 4)
    curves = {"score": (0.1, 0.5, 0.4, 0.3), "cost": (9.0, 7.0, 3.0, 1.0)}
    told.apply(finished(SegmentResult(segment, 4, curves, 2.0, facts={"parameters": 7}), complete=False))
    assert told.scores(told.trials[0]) == {"score": 0.5, "cost": 7.0, "parameters": 7.0}
    assert told.scores(told.trials[0], 1) == {"score": 0.1, "cost": 9.0, "parameters": 7.0}
    other = history(Objective(metric="parameters", goal="minimize"), Objective(metric="cost", goal="minimize"), UP)
    begin(other, 0, 4)
    other.apply(finished(SegmentResult(segment, 4, curves, 2.0, facts={"parameters": 7}), complete=False))
    assert other.scores(other.trials[0]) == {"parameters": 7.0, "cost": 1.0, "score": 0.3}, (
        "the first with a curve leads"
    )


def test_scores_after_so_many_epochs() -> None:
    told = history(UP, Objective(metric="parameters", goal="minimize"))
    begin(told, 0, 3)
    end(told, 0, [0.1, 0.3, 0.5], facts={"parameters": 7})
    assert told.scores(told.trials[0], 2) == {"score": 0.3, "parameters": 7.0}
    assert told.scores(told.trials[0], 4) is None


def test_seconds_are_a_score_of_what_was_trained() -> None:
    told = history(Objective(metric="seconds", goal="minimize"))
    begin(told, 0, 1)
    assert told.score(told.trials[0]) is None
    end(told, 0, [0.5])
    assert told.score(told.trials[0]) == 2.0


SECONDS = Objective(metric="seconds", goal="minimize")


def took(told: History, trial: int, seconds: float, *, replica: int = 0, at: int = 0, purpose: Any = "trial") -> None:
    """A segment of one epoch more ends after so many seconds."""
    segment = Segment(trial, {"x": trial}, at, at + 1, replica, purpose)
    told.apply(finished(SegmentResult(segment, at + 1, {"score": (0.5,)}, seconds), complete=False))


@pytest.mark.parametrize("objectives", [(SECONDS,), (UP, SECONDS)])
def test_seconds_are_one_training_s_with_repeats_as_with_finalists(objectives: tuple[Objective, ...]) -> None:
    told = history(*objectives)
    begin(told, 0, 1, replicas=[0, 1, 2])
    for replica, seconds in enumerate([3.0, 1.0, 5.0]):
        took(told, 0, seconds, replica=replica)
    assert told.trials[0].seconds == 3.0
    assert told.scores(told.trials[0])["seconds"] == 3.0  # type: ignore[index]
    assert told.replica_scores(told.trials[0], SECONDS) == [3.0, 1.0, 5.0]
    if len(objectives) == 1:
        begin(told, 0, 1, replicas=[3, 4], purpose="finalist")
        for replica, seconds in ((3, 2.0), (4, 4.0)):
            took(told, 0, seconds, replica=replica, purpose="finalist")
        assert told.final_scores(0) == [2.0, 4.0]


def test_seconds_are_of_all_segments_and_of_those_that_led_so_far() -> None:
    told = history(SECONDS)
    for at, (first, second) in enumerate([(1.0, 3.0), (10.0, 30.0)]):
        begin(told, 0, at + 1, at=at, replicas=[0, 1])
        took(told, 0, first, at=at)
        if at:
            assert told.score(told.trials[0]) == (1.0 + 3.0) / 2, "what is under way is no score yet"
        took(told, 0, second, at=at, replica=1)
    assert told.score(told.trials[0]) == (1.0 + 3.0 + 10.0 + 30.0) / 2
    assert told.score(told.trials[0], 1) == (1.0 + 3.0) / 2
    assert told.trials[0].seconds == 22.0


def test_tries_that_were_lost_are_counted_apart() -> None:
    told = history(SECONDS)
    begin(told, 0, 1)
    for seconds in (4.0, 2.5):
        told.apply(lost(SegmentFailure(Segment(0, {"x": 0}), "the worker died", seconds, lost=True)))
    took(told, 0, 3.0)
    assert (told.trials[0].seconds, told.trials[0].lost_s, told.score(told.trials[0])) == (3.0, 6.5, 3.0)
    without: Any = {
        "event": "segment_lost",
        "purpose": "trial",
        "trial": 0,
        "replica": 0,
        "reason": "as it was told before",
    }
    told.apply(without)
    assert told.trials[0].lost_s == 6.5


def test_facts_are_the_score_of_each_repeat() -> None:
    told = history(Objective(metric="parameters", goal="minimize"))
    begin(told, 0, 1, replicas=[0, 1])
    end(told, 0, [0.5], facts={"parameters": 7})
    end(told, 0, [0.5], replica=1, facts={"parameters": 7})
    assert told.score(told.trials[0]) == 7.0
    assert told.replica_scores(told.trials[0], told.objective) == [7.0, 7.0]


def test_finalists() -> None:
    told = history()
    begin(told, 0, 2)
    end(told, 0, [0.1, 0.2], complete=True)
    begin(told, 0, 2, replicas=[0, 1], purpose="finalist")
    assert told.final_scores(0) is None
    end(told, 0, [0.4, 0.3], purpose="finalist")
    assert told.final_scores(0) is None, "one is under way"
    end(told, 0, [0.1, 0.6], replica=1, purpose="finalist")
    assert told.final_scores(0) == [0.4, 0.6]
    assert told.final_scores(1) is None
    assert (told.reports, told.epochs_trained, told.trials[0].state) == ([0], 2, "completed"), "no trial of the search"
    assert told.epochs_of_finalists == 2 + 2
    begin(told, 0, 2, replica=2, purpose="finalist")
    fail(told, 0, replica=2, purpose="finalist")
    assert told.final_scores(0) is None
    assert told.finals[0] == {0: 0.4, 1: 0.6, 2: None}


def test_one_finalist_waits_for_no_other() -> None:
    told = history()
    for trial in range(2):
        begin(told, trial, 1)
        end(told, trial, [0.1], complete=True)
        begin(told, trial, 1, purpose="finalist")
    end(told, 0, [0.2], purpose="finalist")
    assert (told.final_scores(0), told.final_scores(1)) == ([0.2], None)


def test_under_folds_a_repeat_of_a_finalist_counts_once_it_is_whole() -> None:
    told = History((UP,), folds=2)
    begin(told, 0, 1, replicas=[0, 1])
    for fold in range(2):
        end(told, 0, [0.1], replica=fold, complete=True)
    for replica, score, whole in ((2, 0.2, []), (3, 0.4, [0.3]), (4, 0.5, [0.3]), (5, 0.9, [0.3, 0.7])):
        begin(told, 0, 1, replica=replica, purpose="finalist")
        end(told, 0, [score], replica=replica, purpose="finalist")
        assert told.final_repeats(0) == pytest.approx(whole)
    assert told.final_scores(0) == pytest.approx([0.3, 0.7])
    begin(told, 0, 1, replicas=[6, 7], purpose="finalist")
    end(told, 0, [0.5], replica=6, purpose="finalist")
    fail(told, 0, replica=7, purpose="finalist")
    assert told.final_repeats(0)[2] is None
    assert told.final_scores(0) is None


def test_a_finalist_whose_first_training_fails_has_no_scores() -> None:
    told = history()
    begin(told, 0, 1)
    end(told, 0, [0.1], complete=True)
    begin(told, 0, 1, replicas=[0, 1], purpose="finalist")
    fail(told, 0, purpose="finalist")
    end(told, 0, [0.3], replica=1, purpose="finalist")
    assert told.finals == {0: {0: None, 1: 0.3}}
    assert told.final_scores(0) is None
    assert (told.trials[0].state, told.reports) == ("completed", [0]), "no trial of the search"


@pytest.mark.parametrize(("metric", "score"), [("parameters", 7.0), ("seconds", 2.0), ("score", 0.1)])
def test_what_a_finalist_is_scored_by(metric: str, score: float) -> None:
    told = history(Objective(metric=metric, goal="minimize"))
    begin(told, 0, 2)
    end(told, 0, [0.5, 0.6], complete=True, facts={"parameters": 9})
    begin(told, 0, 2, purpose="finalist")
    end(told, 0, [0.3, 0.1], purpose="finalist", facts={"parameters": 7})
    assert told.final_scores(0) == [score]


def test_stabilizing_trains_no_trial() -> None:
    told = history()
    begin(told, 0, 2)
    begin(told, 0, 0, purpose="stabilize")
    end(told, 0, [], purpose="stabilize")
    assert [segment_key(segment) for segment in told.stabilized] == [("stabilize", 0, 0)]
    assert (told.trials[0].state, told.reports) == ("running", [])
    made = SegmentResult(Segment(3, {}), 0, {}, 0.0, facts={"stabilized": {"chosen": 1}, "parameters": 4})
    assert stabilized(made) == {"event": "stabilized", "trial": 3, "chosen": 1}
    assert finished(made, complete=True)["facts"] == {"parameters": 4}
    assert stabilized(SegmentResult(Segment(3, {}), 0, {}, 0.0)) is None


def test_a_stopped_trial_keeps_its_score() -> None:
    told = history()
    begin(told, 0, 2)
    end(told, 0, [0.1, 0.2])
    told.apply(stopped(0))
    assert (told.trials[0].state, told.trials[0].epochs, told.score(told.trials[0])) == ("stopped", 2, 0.2)
    later: Any = {"event": "of a later version"}
    told.apply(later)


def test_a_metric_that_comes_later_begins_with_nan() -> None:
    told = history()
    begin(told, 0, 1)
    end(told, 0, [0.5])
    begin(told, 0, 2, at=1)
    segment = Segment(0, {}, 1, 2)
    told.apply(finished(SegmentResult(segment, 2, {"score": (0.6,), "late": (1.0,)}, 1.0), complete=False))
    late = told.trials[0].curves[0]["late"]
    assert math.isnan(late[0])
    assert late[1:] == (1.0,)


def test_a_metric_that_is_gone_keeps_what_it_had() -> None:
    told = history()
    for at, curves in enumerate([{"score": (0.5,), "early": (1.0,)}, {"score": (0.6,)}]):
        begin(told, 0, at + 1, at=at)
        told.apply(finished(SegmentResult(Segment(0, {}, at, at + 1), at + 1, curves, 1.0), complete=False))
    assert told.trials[0].curves == ({"score": (0.5, 0.6), "early": (1.0,)},)
    assert told.trials[0].epochs == 2


@pytest.mark.parametrize(
    ("curves", "words"),
    [
        ({"score": (0.1, math.nan)}, "score is nan after epoch 4"),
        ({"score": (math.inf, 0.1)}, "score is inf after epoch 3"),
        ({"loss": (1.0,)}, "'score' is not among its metrics: loss"),
        ({}, "metrics: none"),
        ({"score": (0.1, 0.2)}, None),
    ],
)
def test_what_can_not_be_scored(curves: Any, words: str | None) -> None:
    reason = unusable(SegmentResult(Segment(0, {}, 2, 4), 4, curves, 1.0), [UP])
    assert reason is None if words is None else words in (reason or "")


def test_facts_and_seconds_need_no_curve() -> None:
    result = SegmentResult(Segment(0, {}), 1, {}, 1.0, facts={"parameters": 3})
    objectives = [Objective(metric=metric, goal="minimize") for metric in ("parameters", "seconds")]
    assert unusable(result, objectives) is None


def test_every_objective_is_asked_for_what_it_lacks() -> None:
    result = SegmentResult(Segment(0, {}), 1, {"loss": (0.1,), "auc": (0.5,)}, 1.0, facts={"parameters": 3})
    reason = unusable(result, [Objective(metric="parameters", goal="minimize"), UP])
    assert reason == "the objective 'score' is not among its metrics: loss, auc"


def test_the_best_of_a_curve() -> None:
    assert best_of({"score": (0.1, 0.9, 0.5)}, UP) == 0.9
    assert best_of({"score": (0.1, 0.9, 0.5)}, UP, 1) == 0.1
    assert best_of({"score": ()}, UP) is None
    assert best_of({}, UP) is None


@pytest.mark.parametrize(
    ("curve", "most", "least"),
    [
        ((math.nan, 0.1, 0.3), 0.3, 0.1),
        ((0.3, math.nan, 0.1), 0.3, 0.1),
        ((math.inf, math.nan, 0.1), math.inf, 0.1),
        ((-math.inf, 0.1), 0.1, -math.inf),
        ((math.inf, -math.inf), math.inf, -math.inf),
    ],
)
def test_the_best_passes_over_what_is_no_number(curve: tuple[float, ...], most: float, least: float) -> None:
    assert (UP.best(curve), DOWN.best(curve)) == (most, least)
    assert math.isnan(UP.best((math.nan, math.nan)))
