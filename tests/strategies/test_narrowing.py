"""Where narrowing looks: the neighbourhoods of each kind of value, and when it goes where."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from simulate import Simulation, make_experiment, simulate, space_of

from hptune.base.trial import Values
from hptune.strategies.samplers.narrowing import SHRINK, near
from hptune.strategies.strategy import Start

LINE = {"x": {"type": "float", "min": 0.0, "max": 1.0}}


def neighbours(domain: dict[str, Any], value: Any, width: float = 1.0) -> list[Any]:
    found = space_of(make_experiment(search_space={"x": domain})).domains["x"]
    rng = Random(0)
    drawn = [near(found, value, width=width, rng=rng) for _ in range(2000)]
    assert all(found.contains(one) for one in drawn)
    return drawn


@pytest.mark.parametrize(
    ("domain", "value", "low", "high"),
    [
        ({"type": "float", "min": 1e-4, "max": 1e-1, "log": True}, 1e-2, 5e-3, 2e-2),
        ({"type": "int", "min": 1, "max": 1000, "log": True}, 100, 50, 200),
        ({"type": "int", "min": 1, "max": 1000}, 100, 50, 200),
        ({"type": "int", "min": 32, "max": 512, "step": 32}, 128, 64, 256),
        ({"type": "float", "min": 0.0, "max": 1.0}, 0.5, 0.25, 0.75),
        ({"type": "int", "min": -100, "max": 100}, 0, -50, 50),
        ({"type": "choice", "values": [16, 32, 64, 128]}, 32, 16, 64),
    ],
)
def test_the_first_neighbourhood(domain: dict[str, Any], value: Any, low: float, high: float) -> None:
    drawn = neighbours(domain, value)
    assert min(drawn) == pytest.approx(low, rel=0.1, abs=2)
    assert max(drawn) == pytest.approx(high, rel=0.1, abs=2)
    assert min(drawn) < value < max(drawn)


def test_a_neighbourhood_ends_at_the_ends_of_the_range() -> None:
    assert {*neighbours({"type": "choice", "values": [16, 32, 64]}, 16)} == {16, 32}
    assert max(neighbours({"type": "float", "min": 0.0, "max": 1.0}, 0.9)) <= 1.0
    assert {*neighbours({"type": "float", "min": 2.0, "max": 2.0}, 2.0)} == {2.0}


def test_the_narrowest_neighbourhood_of_a_listed_value_holds_its_neighbours() -> None:
    assert {*neighbours({"type": "int", "min": 1, "max": 9}, 5, width=1e-9)} == {4, 5, 6}
    assert {*neighbours({"type": "float", "min": 0.0, "max": 1.0, "step": 0.1}, 0.5, width=1e-9)} == {0.4, 0.5, 0.6}


def test_a_choice_without_an_order_mostly_stays() -> None:
    drawn = neighbours({"type": "choice", "values": ["a", "b", "c"]}, "b")
    assert drawn.count("b") > 1500
    assert {*drawn} == {"a", "b", "c"}


def search(curve: Any, **options: Any) -> Simulation:
    strategy = {"name": "narrowing", "explore": 4, "patience": 5, **options}
    return simulate(make_experiment(search_space=LINE, strategy=strategy, budget={"trials": 60}), curve)


def reasons(run: Simulation) -> list[str]:
    return [str(decision.why) for decision in run.decisions if isinstance(decision, Start)]


def test_it_explores_then_narrows_around_the_best_and_says_so() -> None:
    run = search(lambda v, e: abs(float(v["x"]) - 0.6))
    told = reasons(run)
    assert told[:4] == ["over the whole space first"] * 4
    best = min(range(4), key=lambda i: abs(float(run.points[i]["x"] or 0) - 0.6))
    assert told[4] == f"around trial {best}, the best so far, in a neighbourhood"
    assert abs(float(run.points[4]["x"] or 0) - float(run.points[best]["x"] or 0)) <= 0.25
    assert any(f"{SHRINK:.0%} as wide as the first" in why for why in told)
    assert abs(float(run.history.best.values["x"] or 0) - 0.6) < 0.01  # type: ignore[union-attr]


def test_no_better_point_for_long_sends_it_back_to_the_whole_space() -> None:
    told = reasons(search(lambda v, e: 1.0))
    assert told[4:9] == ["around trial 0, the best so far, in a neighbourhood"] * 5
    assert told[9:13] == ["back to the whole space, as 5 trials around trial 0 brought nothing better"] * 4
    assert told[13].startswith("around trial 0")


def test_exploit_bounds_the_trials_around_the_best() -> None:
    told = reasons(search(lambda v, e: abs(float(v["x"]) - 0.6), exploit=3, patience=50))
    assert [why.startswith("around") for why in told[:14]] == [False] * 4 + [True] * 3 + [False] * 4 + [True] * 3
    assert "3 trials were spent around the best" in told[7]


def test_a_failed_trial_is_no_best() -> None:
    run = search(lambda v, e: None if float(v["x"]) > 0.3 else math.sqrt(float(v["x"])))
    assert run.history.best is not None
    assert float(run.history.best.values["x"] or 0) < 0.05


def test_while_all_fail_it_explores() -> None:
    assert set(reasons(search(lambda v, e: None))) == {"over the whole space first"}


@pytest.mark.parametrize(
    ("value", "width", "low", "high"),
    [(100, 1.0, 50, 200), (101, 1.0, 51, 202), (3, 1.0, 2, 6), (1, 1.0, 1, 2), (900, 1.0, 450, 1000), (5, 1e-9, 4, 6)],
)
def test_the_neighbourhood_of_a_log_integer_is_exact(value: int, width: float, low: int, high: int) -> None:
    """From half of it to twice of it, neither more nor less; its neighbours at least."""
    drawn = neighbours({"type": "int", "min": 1, "max": 1000, "log": True}, value, width)
    assert (min(drawn), max(drawn)) == (low, high)
    mirrored = neighbours({"type": "int", "min": 1, "max": 1000, "log": "reverse"}, 1001 - value, width)
    assert (min(mirrored), max(mirrored)) == (1001 - high, 1001 - low)


def test_narrower_neighbourhoods_of_a_log_integer_are_exact_too() -> None:
    """2 to the .8 is 1.7411: 57.4 to 174.1."""
    drawn = neighbours({"type": "int", "min": 1, "max": 1000, "log": True}, 100, 0.8)
    assert (min(drawn), max(drawn)) == (58, 174)


def test_the_neighbourhood_is_the_same_where_steps_do_not_end_at_max() -> None:
    """From 10 on, steps of 100 end at 910 either way."""
    domain = {"type": "int", "min": 10, "step": 100}
    assert neighbours({**domain, "max": 1009}, 510) == neighbours({**domain, "max": 910}, 510)


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_exploit_is_not_exceeded_by_several_workers(workers: int) -> None:
    """Nor by those that join a search, which start as many trials as they are before the first one reports."""
    strategy = {"name": "narrowing", "explore": 4, "exploit": 1 + workers // 4, "patience": 50}
    experiment = make_experiment(search_space=LINE, strategy=strategy, budget={"trials": 60})

    def curve(values: Values, epoch: int) -> float:
        return abs(float(values["x"] or 0) - 0.6)

    alone = simulate(experiment, curve, most=9)
    for order in range(5):
        run = simulate(experiment, curve, workers=workers, order=order, start_from=alone.events)
        around = "".join("a" if why.startswith("around") else "." for why in reasons(run))
        spells = [len(spell) for spell in around.split(".") if spell]
        assert spells, around
        assert max(spells) <= 1 + workers // 4, around
