"""Who is promoted, what `hptune plan` says of it, and from which rung a sampler learns."""

from __future__ import annotations

from typing import Any

import pytest
from simulate import Simulation, make_experiment, simulate, space_of, strategy_of

from hptune.base.seeds import derive
from hptune.base.trial import Segment, SegmentResult, Trial, Values
from hptune.run.events import finished, started
from hptune.run.history import History
from hptune.strategies.asha import AshaStrategy
from hptune.strategies.plan import Plan, Rung, plan, rung_epochs
from hptune.strategies.sampled import Points
from hptune.strategies.sampler import Point
from hptune.strategies.samplers.by_rung import ByRung
from hptune.strategies.strategy import Continue, Done, Start

CUBE = {name: {"type": "float", "min": 0.0, "max": 1.0} for name in "xy"}


def experiment(budget: dict[str, Any], **options: Any) -> Any:
    return make_experiment(search_space=CUBE, strategy={"name": "asha", "max_epochs": 9, **options}, budget=budget)


def score(values: Values, epoch: int) -> float:
    x = values["x"]
    assert isinstance(x, float)
    return (x - 0.3) ** 2 + 1 / epoch


class Spending:
    """A strategy under `budget.epochs`, which the loop of the search sees to."""

    def __init__(self, made: Any, epochs: int) -> None:
        self._made, self._epochs = made, epochs

    def next(self, history: History) -> Any:
        return Done("spent") if history.epochs_trained >= self._epochs else self._made.next(history)

    def may_continue(self, trial: Trial, history: History) -> bool:
        return bool(self._made.may_continue(trial, history))


def reached(run: Simulation, rungs: tuple[Rung, ...]) -> list[int]:
    return [sum(trial.epochs >= rung.epochs for trial in run.history.trials) for rung in rungs]


@pytest.mark.parametrize("trials", [1, 2, 3, 8, 27, 50])
@pytest.mark.parametrize("workers", [1, 4])
def test_each_rung_has_as_many_trials_as_planned(trials: int, workers: int) -> None:
    wanted = experiment({"trials": trials}, min_epochs=1)
    planned = plan(wanted, space_of(wanted))
    run = simulate(wanted, score, workers=workers, order=workers)
    assert reached(run, planned.rungs) == [rung.trials for rung in planned.rungs]
    assert run.history.epochs_trained == planned.epochs
    assert max(trial.epochs for trial in run.history.trials) == 9, "none was trained in full"


@pytest.mark.parametrize("epochs", [1, 9, 100, 333])
def test_a_budget_in_epochs_is_planned_to_the_epoch(epochs: int) -> None:
    wanted = experiment({"epochs": epochs}, factor=2)
    planned = plan(wanted, space_of(wanted))
    run = simulate(wanted, score, strategy=Spending(strategy_of(wanted), epochs))
    assert run.history.epochs_trained == planned.epochs
    assert reached(run, planned.rungs) == [rung.trials for rung in planned.rungs]


def test_plans() -> None:
    by_trials = experiment({"trials": 27})
    assert plan(by_trials, space_of(by_trials)) == Plan((Rung(1, 27), Rung(3, 9, 1), Rung(9, 3, 3)), 27, 27 + 18 + 18)
    by_time = experiment({"time": "1m"}, min_epochs=2)
    assert plan(by_time, space_of(by_time)) == Plan((Rung(2, 9), Rung(6, 3, 2), Rung(9, 1, 6)), None, None)
    assert rung_epochs(5, 5, 3) == [5]


def test_the_best_are_trained_on() -> None:
    run = simulate(experiment({"trials": 27}), score)
    by_score = sorted(run.history.trials, key=lambda trial: score(trial.values, 1))
    assert {trial.number for trial in run.history.trials if trial.epochs == 9} <= {t.number for t in by_score[:9]}
    assert by_score[0].epochs == 9
    assert {trial.state for trial in run.history.trials} == {"completed", "stopped"}


def test_a_failed_promotion_costs_no_place() -> None:
    """Half of all trials fail at their second epoch, the best first."""

    def curve(values: Values, epoch: int) -> float | None:
        x = values["x"]
        assert isinstance(x, float)
        return None if epoch > 1 and x < 0.5 else x / epoch

    run = simulate(experiment({"trials": 27}), curve)
    assert sum(trial.epochs >= 3 for trial in run.history.trials) == 9
    assert sum(trial.epochs == 9 for trial in run.history.trials) == 3
    assert all(trial.values["x"] < 0.5 for trial in run.history.trials if trial.state == "failed")  # type: ignore[operator]


def test_a_trial_that_early_stopping_ended_is_through() -> None:
    run = simulate(experiment({"trials": 27}), score, ends_at=lambda values: 2)
    assert {trial.epochs for trial in run.history.trials} == {1, 2}
    assert not [d for d in run.decisions if isinstance(d, Continue) and d.to_epoch > 3]


def test_nothing_is_waited_for_while_trials_can_be_started() -> None:
    run = simulate(experiment({"trials": 40}), score, workers=8, order=3)
    started = [i for i, decision in enumerate(run.decisions) if hasattr(decision, "values")]
    assert not any(type(decision).__name__ == "Wait" for decision in run.decisions[: started[-1]])


def test_promotions_that_are_under_way_hold_their_places_and_new_trials_hold_none() -> None:
    wanted = experiment({"trials": 27})
    strategy, history = strategy_of(wanted), History(wanted.objectives)
    new = [Segment(trial, {"x": trial / 10, "y": 0.0}, 0, 1) for trial in range(10)]
    for segment in new:
        history.apply(started(segment))
    for segment in new[:9]:
        curve = {"score": (score(segment.values, 1),)}
        history.apply(finished(SegmentResult(segment, 1, curve, 0.1), complete=False))
    decisions = []
    for _ in range(4):
        decisions.append(strategy.next(history))
        if isinstance(decisions[-1], Continue):
            history.apply(started(Segment(decisions[-1].trial, {}, 1, decisions[-1].to_epoch)))
    assert decisions[:3] == [Continue(3, 3), Continue(2, 3), Continue(4, 3)], "three of nine, the best first"
    assert isinstance(decisions[3], Start)


def test_where_the_sampler_has_no_more_points_the_search_ends_with_its_reason() -> None:
    class Ended:
        def suggest(self, history: History, epochs: int | None = None) -> Done:
            return Done("nobody knows another")

    wanted = experiment({"trials": 27})
    points = Points(wanted, space_of(wanted), Ended(), first=[{"x": 0.5, "y": 0.5}])
    run = simulate(wanted, score, strategy=AshaStrategy(wanted, space_of(wanted), points), workers=2)
    assert [trial.epochs for trial in run.history.trials] == [9], "the only one is trained in full"
    assert run.decisions[-1] == Done("nobody knows another")
    assert not any(isinstance(decision, Done) for decision in run.decisions[:-1])


class Noting:
    """A sampler that remembers from how many epochs it was asked to learn."""

    def __init__(self) -> None:
        self.asked: list[tuple[int | None, int]] = []

    def suggest(self, history: History, epochs: int | None = None) -> Point:
        self.asked.append((epochs, sum(history.score(trial, epochs) is not None for trial in history.trials)))
        return {name: derive(len(history.trials), name) / 2**31 for name in CUBE}


def test_a_sampler_learns_from_the_highest_rung_with_eight_results() -> None:
    wanted, noting = experiment({"trials": 120}), Noting()
    points = Points(wanted, space_of(wanted), ByRung(noting, [1, 3, 9]), first=[])
    simulate(wanted, score, strategy=AshaStrategy(wanted, space_of(wanted), points))
    levels = [epochs for epochs, _ in noting.asked]
    assert levels == sorted(levels)  # type: ignore[type-var]
    assert set(levels) == {1, 3, 9}
    assert all(results >= 8 for epochs, results in noting.asked if epochs != 1)
    assert all(results < 27 for epochs, results in noting.asked if epochs == 1), "one in three reaches the next rung"
