"""Hyperband: who is promoted, under failures, early stopping, small spaces and many workers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from simulate import Simulation, by_trial, make_experiment, simulate, space_of, strategy_of

from hptune.base.trial import Values
from hptune.experiment.experiment import Experiment
from hptune.run.history import History
from hptune.strategies.hyperband import HyperbandStrategy
from hptune.strategies.sampled import Points
from hptune.strategies.strategy import Continue, Done, Start, Wait

LINE = {"x": {"type": "float", "min": 0.0, "max": 1.0}}


def halving(max_epochs: int = 9, *, goal: str = "minimize", budget: Any = None, **sections: Any) -> Experiment:
    strategy = {"name": "hyperband", "max_epochs": max_epochs, "factor": 3}
    objective = {"metric": "score", "goal": goal}
    given = {"search_space": LINE, "strategy": strategy, "objective": objective, "budget": budget or {}, **sections}
    return make_experiment(**given)


def x_of(values: Values) -> float:
    x = values["x"]
    assert isinstance(x, int | float)
    return float(x)


def score(values: Values, epoch: int) -> float:
    return x_of(values) / epoch


def epochs_of(run: Simulation) -> dict[int, int]:
    return dict(Counter(by_trial(run).values()))


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_the_best_of_each_round_are_trained_on(goal: str) -> None:
    run = simulate(halving(goal=goal), score)
    assert epochs_of(run) == {1: 6, 3: 5, 9: 6}
    xs = [x_of(trial.values) for trial in run.history.trials]
    for begin, end, sizes in ((0, 9, {3: 3, 9: 1}), (9, 14, {9: 2})):
        best_first = sorted(range(begin, end), key=xs.__getitem__, reverse=goal == "maximize")
        for epochs, size in sizes.items():
            assert {n for n in range(begin, end) if by_trial(run)[n] >= epochs} == set(best_first[:size])


def test_a_promotion_continues_the_trial() -> None:
    run = simulate(halving(), score)
    starts = [d for d in run.decisions if isinstance(d, Start)]
    promotions = [d for d in run.decisions if isinstance(d, Continue)]
    assert (len(starts), len(promotions)) == (17, 3 + 1 + 2)
    assert run.history.epochs_trained == 75


def test_a_promotion_goes_before_a_new_bracket_and_a_new_bracket_before_waiting() -> None:
    experiment = halving()
    alone = simulate(experiment, score)
    ninth = [type(d) for d in alone.decisions][9:13]
    assert ninth == [Continue, Continue, Continue, Continue]
    crowd = simulate(experiment, score, workers=12)
    assert [type(d) for d in crowd.decisions][:12] == [Start] * 12
    assert by_trial(crowd) == by_trial(alone)


@pytest.mark.parametrize("workers", [1, 4, 8])
@pytest.mark.parametrize("order", range(3))
def test_failures_eat_no_promotion(workers: int, order: int) -> None:
    def curve(values: Values, epoch: int) -> float | None:
        return None if int(x_of(values) * 1000) % 4 == 0 else score(values, epoch)  # one in four

    run = simulate(halving(81), curve, workers=workers, order=order)
    failed = [trial for trial in run.history.trials if trial.state == "failed"]
    assert 143 / 8 < len(failed) < 143 / 2
    assert len(run.history.trials) == 143
    top = [by_trial(run)[n] for n in range(81)]
    assert [sum(epochs >= rung for epochs in top) for rung in (3, 9, 27, 81)] == [27, 9, 3, 1]


@pytest.mark.parametrize("workers", [1, 3])
def test_where_a_promoted_trial_fails_the_next_best_takes_its_place(workers: int) -> None:
    def curve(values: Values, epoch: int) -> float | None:
        return None if epoch == 2 and x_of(values) < 0.2 else score(values, epoch)

    run = simulate(halving(), curve, workers=workers, order=workers)
    xs = {trial.number: x_of(trial.values) for trial in run.history.trials if trial.number < 9}
    able = sorted((n for n in xs if xs[n] >= 0.2), key=xs.__getitem__)
    assert [n for n in xs if xs[n] < 0.2], "the seed gives some that fail"
    assert [n for n in able if by_trial(run)[n] >= 3] == able[:3]
    assert [n for n in able if by_trial(run)[n] == 9] == able[:1]


def test_the_last_of_a_round_may_all_fail() -> None:
    run = simulate(halving(), lambda values, epoch: None if epoch > 1 else score(values, epoch))
    assert {trial.state for trial in run.history.trials} == {"failed"}
    assert len(run.history.trials) == 17


def test_a_space_smaller_than_the_first_round_is_halved_all_the_same() -> None:
    five = {"x": {"type": "int", "min": 0, "max": 4}}
    run = simulate(halving(search_space=five), score)
    assert by_trial(run)[next(t.number for t in run.history.trials if t.values["x"] == 0)] == 9
    assert epochs_of(run) == {1: 2, 3: 2, 9: 1}
    assert run.done is not None
    assert run.done.why == "every point of the space was tried"


def test_a_budget_of_trials_halves_what_it_paid_for() -> None:
    run = simulate(halving(budget={"trials": 12}), score)
    assert epochs_of(run) == {1: 6, 3: 2 + 1, 9: 1 + 2}
    assert not [t for t in run.history.trials if t.state == "paused"]


def test_a_bracket_that_was_begun_with_one_trial_is_halved_too() -> None:
    run = simulate(halving(budget={"trials": 10}), score)
    assert epochs_of(run) == {1: 6, 3: 2, 9: 1 + 1}


def test_it_is_done_when_nothing_runs_any_more_and_says_why() -> None:
    for iterations, why in ((1, "the iteration"), (2, "all 2 iterations")):
        strategy = {"name": "hyperband", "max_epochs": 9, "factor": 3, "iterations": iterations}
        run = simulate(halving(strategy=strategy, budget={"trials": 100}), score, workers=20)
        assert len(run.history.trials) == 17 * iterations
        assert not any(isinstance(decision, Done) for decision in run.decisions[:-1])
        assert run.done == Done(f"{why} of hyperband went through every bracket")


def test_where_the_sampler_has_no_more_points_the_search_ends_with_its_reason() -> None:
    class Ended:
        def suggest(self, history: History) -> Done:
            return Done("nobody knows another")

    wanted = halving()
    points = Points(wanted, space_of(wanted), Ended(), first=[{"x": 0.5}])
    run = simulate(wanted, score, strategy=HyperbandStrategy(wanted, space_of(wanted), points), workers=2)
    assert run.decisions == [Start({"x": 0.5}, 1), Wait(), Done("nobody knows another")]


@pytest.mark.parametrize("seed", range(3))
def test_a_raised_budget_fills_the_bracket_and_takes_nobodys_promotion_back(seed: int) -> None:
    first = simulate(halving(budget={"trials": 11}, seed=seed), score)
    more = simulate(halving(budget={"trials": 17}, seed=seed), score, start_from=first.events)
    assert [by_trial(more)[n] for n in range(11)] == [by_trial(first)[n] for n in range(11)]
    assert epochs_of(more) == {1: 6, 3: 5, 9: 6}, "two of the second bracket were promoted, and two is what it promotes"
    assert not [t for t in more.history.trials if t.state in ("paused", "running")]


def test_iterations_go_on_while_the_budget_pays() -> None:
    run = simulate(halving(budget={"trials": 34}), score, workers=3)
    assert epochs_of(run) == {1: 12, 3: 10, 9: 12}


def test_a_trial_that_ended_early_keeps_its_place_and_is_not_trained_on() -> None:
    run = simulate(halving(), score, ends_at=lambda values: 2)
    assert max(by_trial(run).values()) == 2
    assert all(trial.state in ("completed", "stopped") for trial in run.history.trials)
    assert run.done is not None


def test_only_those_that_may_be_promoted_stay_paused() -> None:
    experiment = halving()
    whole = simulate(experiment, score)
    cut = next(i for i, event in enumerate(whole.events) if event["event"] == "trial_stopped")
    reports = sum(event["event"] == "segment_finished" for event in whole.events[:cut])
    assert reports == 9 + 3, "a trial is given up once the places above it are taken for good"
    strategy = strategy_of(experiment)
    assert not any(strategy.may_continue(trial, whole.history) for trial in whole.history.trials)


@pytest.mark.parametrize("order", range(4))
def test_what_is_trained_depends_on_no_finishing_order(order: int) -> None:
    alone = simulate(halving(27), score)
    crowd = simulate(halving(27), score, workers=1 + 2 * order, order=order)
    assert crowd.points == alone.points
    assert by_trial(crowd) == by_trial(alone)


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("budget", [{}, {"trials": 5}, {"trials": 40}])
def test_what_it_remembers_changes_no_decision(workers: int, budget: dict[str, Any]) -> None:
    """It remembers the rounds of brackets that nothing happened in; a fresh one, with no memory, says the same."""

    def curve(values: Values, epoch: int) -> float | None:
        return None if 0.3 < x_of(values) < 0.5 and epoch > 1 else score(values, epoch)

    wanted = halving(budget=budget)
    kept = simulate(wanted, curve, workers=workers, order=workers)
    fresh = simulate(wanted, curve, workers=workers, order=workers, fresh_each_time=True)
    assert kept.decisions == fresh.decisions


def test_who_may_continue_is_remembered_rightly() -> None:
    """Asked of every trial after every report, as the loop does: the same as from a fresh one."""
    wanted = halving(budget={"trials": 20})
    events = simulate(wanted, score, workers=3, order=1).history
    kept = strategy_of(wanted)
    for trial in events.trials:
        assert kept.may_continue(trial, events) == strategy_of(wanted).may_continue(trial, events)
