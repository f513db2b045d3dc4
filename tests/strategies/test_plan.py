"""Sizes and plans against KerasTuner's own arithmetic, and against searches that were driven."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate import make_experiment, simulate, space_of

from hptune.base.errors import SpecError
from hptune.strategies.plan import Plan, Rung, brackets, plan

CUBE = {name: {"type": "float", "min": 0.0, "max": 1.0} for name in "xy"}
TWENTY = {"x": {"type": "int", "min": 0, "max": 4}, "y": {"type": "int", "min": 0, "max": 3}}


def plan_for(strategy: dict[str, Any], budget: dict[str, Any] | None = None, **sections: Any) -> Plan:
    experiment = make_experiment(**{"search_space": CUBE, "strategy": strategy, "budget": budget or {}, **sections})
    return plan(experiment, space_of(experiment))


def sizes(max_epochs: int, factor: int) -> list[list[tuple[int, int]]]:
    return [[(rung.trials, rung.epochs) for rung in bracket] for bracket in brackets(max_epochs, factor)]


def test_the_brackets_of_81_by_3() -> None:
    assert sizes(81, 3) == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (12, 9), (4, 27), (2, 81)],
        [(15, 9), (5, 27), (2, 81)],
        [(8, 27), (3, 81)],
        [(5, 81)],
    ]
    rungs = [rung for bracket in brackets(81, 3) for rung in bracket]
    assert sum(rung.trials for rung in rungs) == 211
    assert sum(rung.cost for rung in rungs) == 1767


@pytest.mark.parametrize(("max_epochs", "factor"), [(1, 3), (2, 3), (5, 2), (9, 3), (20, 3), (100, 4), (128, 2)])
def test_the_sizes_are_keras_tuners(max_epochs: int, factor: int) -> None:
    import keras_tuner

    objective = keras_tuner.Objective("score", "min")
    oracle = keras_tuner.oracles.HyperbandOracle(objective, max_epochs=max_epochs, factor=factor)
    theirs = [
        [(oracle._get_size(s, r), oracle._get_epochs(s, r)) for r in range(oracle._get_num_rounds(s))]
        for s in reversed(range(oracle._get_num_brackets()))
    ]
    assert sizes(max_epochs, factor) == theirs


@pytest.mark.parametrize(("max_epochs", "factor", "first"), [(243, 3, 243), (1000, 10, 1000), (125, 5, 125)])
def test_powers_are_not_off_by_one(max_epochs: int, factor: int, first: int) -> None:
    table = sizes(max_epochs, factor)
    assert table[0][0] == (first, 1)
    assert table[0][-1] == (1, max_epochs)
    assert len(table[-1]) == 1


@given(max_epochs=st.integers(1, 500), factor=st.integers(2, 12))
def test_brackets_rise_in_epochs_and_fall_in_trials(max_epochs: int, factor: int) -> None:
    for bracket in brackets(max_epochs, factor):
        assert bracket[-1].epochs == max_epochs
        assert [rung.from_epoch for rung in bracket] == [0, *(rung.epochs for rung in bracket[:-1])]
        for rung, following in pairwise(bracket):
            assert rung.epochs < following.epochs
            assert rung.trials > following.trials >= 1


@pytest.mark.parametrize("strategy", [{"name": "random"}, {"name": "hyperband", "max_epochs": 9}])
@pytest.mark.parametrize("budget", [{}, {"trials": 7}, {"trials": 50}, {"trials": 20, "target": 0.0}])
@pytest.mark.parametrize("space", [CUBE, TWENTY, {"x": {"type": "int", "min": 0, "max": 4}}])
def test_a_search_does_what_the_plan_says(strategy: Any, budget: Any, space: Any) -> None:
    planned = plan_for(strategy, budget, search_space=space)
    experiment = make_experiment(strategy=strategy, budget=budget, search_space=space)
    run = simulate(experiment, lambda values, epoch: values["x"] / epoch)  # type: ignore[operator]  # a number
    assert len(run.history.trials) == planned.trials
    assert run.history.epochs_trained == planned.epochs


def test_plans_without_a_budget() -> None:
    assert plan_for({"name": "random"}) == Plan((Rung(3, 20),), 20, 60)
    assert plan_for({"name": "bayesian"}, {"target": 0.5}) == Plan((Rung(3, 20),), 20, 60)
    assert plan_for({"name": "grid"}, search_space=TWENTY) == Plan((Rung(3, 20),), 20, 60)
    assert plan_for({"name": "hyperband", "max_epochs": 81}).epochs == 1767
    assert plan_for({"name": "hyperband", "max_epochs": 81}).trials == 81 + 34 + 15 + 8 + 5


def test_budgets_in_epochs_count_every_replica_and_finish_what_was_started() -> None:
    assert plan_for({"name": "random"}, {"epochs": 100}) == Plan((Rung(3, 34),), 34, 102)
    repeated = plan_for({"name": "random"}, {"epochs": 100}, evaluation={"repeats": 5})
    assert repeated == Plan((Rung(3, 7),), 7, 105)
    halved = plan_for({"name": "hyperband", "max_epochs": 9}, {"epochs": 20})
    assert halved.rungs == (Rung(1, 9), Rung(3, 3, 1), Rung(9, 1, 3))
    assert halved.epochs == 21
    trials = plan_for({"name": "hyperband", "max_epochs": 9}, {"epochs": 1000}).trials
    assert trials is not None
    assert trials > 17


def test_where_only_time_ends_the_search_no_number_is_made_up() -> None:
    assert plan_for({"name": "random"}, {"time": "1m"}) == Plan((), None, None)
    timed = plan_for({"name": "hyperband", "max_epochs": 9}, {"time": "1m"})
    assert (timed.trials, timed.epochs, timed.rungs[0]) == (None, None, Rung(1, 9))
    assert plan_for({"name": "random"}, {"time": "1m"}, search_space=TWENTY).trials == 20


def test_iterations_hold_beside_a_budget() -> None:
    strategy = {"name": "hyperband", "max_epochs": 9, "iterations": 2}
    assert plan_for(strategy, {"trials": 100}).trials == 34
    assert plan_for({"name": "hyperband", "max_epochs": 9}, {"trials": 100}).trials == 100


def test_grid_refuses_continuous_parameters_all_at_once() -> None:
    space = {**CUBE, "rate": {"type": "float", "min": 1e-4, "max": 1.0, "log": True}, "n": TWENTY["x"]}
    with pytest.raises(SpecError) as error:
        plan_for({"name": "grid"}, search_space=space)
    assert [problem.path for problem in error.value.problems] == [("search_space", n) for n in ("x", "y", "rate")]
    told = str(error.value)
    assert "continuous" in told
    assert "step" in told
    assert "values: [0.0001, 0.001, 0.01, 0.1, 1]" in told


def test_planning_loads_nothing_heavy() -> None:
    script = (
        "import sys; import hptune.strategies.strategy, hptune.strategies.plan\n"
        "print([m for m in ('tensorflow', 'keras', 'keras_tuner', 'numpy', 'sklearn') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"


@pytest.mark.parametrize("budget", [{"trials": 1_000_000}, {"epochs": 10_000_000}, {"trials": 10**6, "epochs": 10**7}])
def test_the_largest_budgets_are_planned_at_once(budget: dict[str, int]) -> None:
    wanted = make_experiment(
        search_space={"x": {"type": "float", "min": 0.0, "max": 1.0}},
        strategy={"name": "asha", "max_epochs": 81},
        training={"epochs": 81},
        budget=budget,
    )
    began = time.process_time()
    planned = plan(wanted, space_of(wanted))
    assert time.process_time() - began < 1.0
    assert planned.epochs is not None
    assert planned.epochs <= budget.get("epochs", 10**9) + 81
