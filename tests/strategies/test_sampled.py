"""The rules that `Points` sees to, with samplers that break each of them."""

from __future__ import annotations

from typing import Any

import pytest
from simulate import make_experiment, simulate, space_of

from hptune.base.errors import SpecError
from hptune.experiment.space.space import point_key
from hptune.run.history import History
from hptune.strategies.sampled import Points, Sampled, enqueued, first_points
from hptune.strategies.sampler import Point
from hptune.strategies.strategy import Done, Wait

WIDE = {"x": {"type": "float", "min": 0.0, "max": 1.0}, "kind": {"type": "choice", "values": ["a", "b"]}}
LISTED = {"x": {"type": "int", "min": 0, "max": 29}, "kind": {"type": "choice", "values": ["a", "b"]}}


class Stuck:
    """A sampler that always says the same."""

    def __init__(self, answer: Point | Wait | Done) -> None:
        self.answer = answer

    def suggest(self, history: History) -> Point | Wait | Done:
        return self.answer


def search(sampler: Any, space: Any, trials: int, **sections: Any) -> Any:
    experiment = make_experiment(search_space=space, budget={"trials": trials}, **sections)
    domains = space_of(experiment)
    points = Points(experiment, domains, sampler, first=enqueued(experiment, domains))
    return simulate(experiment, lambda values, epoch: 0.0, strategy=Sampled(experiment, points))


@pytest.mark.parametrize(("space", "trials"), [(WIDE, 30), (LISTED, 60)])
def test_a_sampler_that_repeats_itself_is_helped_out(space: Any, trials: int) -> None:
    run = search(Stuck({"x": 0, "kind": "a"}), space, trials)
    assert len({point_key(point) for point in run.points}) == len(run.points) == trials
    other_seed = search(Stuck({"x": 0, "kind": "a"}), space, trials, seed=1)
    assert run.points != other_seed.points


def test_a_space_of_rare_points_is_found_to_the_last() -> None:
    space = {
        "kind": {"type": "choice", "values": list(range(400))},
        "deep": {"type": "int", "min": 1, "max": 100, "when": {"kind": 7}},
    }
    run = search(Stuck({"kind": 0}), space, 10_000)
    assert len(run.points) == 399 + 100
    assert run.done == Done("every point of the space was tried")


def test_done_and_wait_are_passed_on() -> None:
    assert search(Stuck(Done("had enough")), WIDE, 5).decisions == [Done("had enough")]
    (decision,) = search(Stuck(Wait()), WIDE, 5).decisions
    assert isinstance(decision, Done), "waiting while nothing runs would be for ever"


def test_why_it_ended_is_said() -> None:
    assert search(Stuck({"x": 0.5, "kind": "a"}), WIDE, 3).done == Done("3 trials were started, the budget's number")


def test_enqueue_draws_what_is_left_out_from_the_seed() -> None:
    def first(seed: int) -> list[Point]:
        experiment = make_experiment(search_space=WIDE, enqueue=[{"kind": "b"}, {"kind": "b"}], seed=seed)
        return enqueued(experiment, space_of(experiment))

    assert first(0) == first(0) != first(1)
    one, two = first(0)
    assert one["kind"] == two["kind"] == "b"
    assert one["x"] != two["x"]
    assert list(one) == ["x", "kind"]


def test_enqueue_is_spelled_as_the_space_spells_it() -> None:
    space = {**LISTED, "rate": WIDE["x"], "step": {"type": "float", "min": 0.0, "max": 1.0, "step": 0.1}}
    given = {"x": 3.0, "rate": 1, "kind": "a", "step": 0.1 + 0.2}
    experiment = make_experiment(search_space=space, enqueue=[given])
    (point,) = enqueued(experiment, space_of(experiment))
    assert {name: (type(value), value) for name, value in point.items()} == {
        "x": (int, 3),
        "rate": (float, 1.0),
        "kind": (str, "a"),
        "step": (float, 0.3),
    }


def test_enqueue_is_held_to_the_joined_space() -> None:
    experiment = make_experiment(search_space=WIDE, enqueue=[{"kind": "a"}, {"kin": "a", "x": 3.0}])
    with pytest.raises(SpecError) as error:
        enqueued(experiment, space_of(experiment))
    assert [problem.path for problem in error.value.problems] == [("enqueue", 1, "kin"), ("enqueue", 1, "x")]
    assert "did you mean 'kind'" in str(error.value)
    assert "0.0 to 1.0, got 3.0" in str(error.value)


def test_true_and_1_are_two_points() -> None:
    space = {"x": {"type": "choice", "values": [True, 1, 1.0]}}
    assert [type(point["x"]) for point in search(Stuck({"x": True}), space, 9).points].count(bool) == 1
    assert len(search(Stuck({"x": True}), space, 9).points) == 3


TENTHS = {"type": "float", "min": 0.0, "max": 1.0, "step": 0.1}
NOISY = {"share": TENTHS, "deep": {"type": "int", "min": 1, "max": 2, "when": {"share": 0.1 + 0.2}}}


@pytest.mark.parametrize("name", ["grid", "random", "tpe", "cmaes", "qmc", "nsga2", "narrowing", "asha"])
def test_a_branch_within_the_last_bits_of_a_step_is_tried(name: str) -> None:
    experiment = make_experiment(search_space=NOISY, strategy={"name": name}, budget={"trials": 50})
    points = simulate(experiment, lambda values, epoch: float(values["share"] or 0)).points
    tenths = [0.0, 0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert sorted(point["share"] for point in points) == tenths
    assert sorted(point["deep"] for point in points if "deep" in point) == [1, 2]


def test_what_a_sampler_suggests_is_spelled_as_the_domains_do() -> None:
    space = {**NOISY, "x": {"type": "float", "min": 0.0, "max": 9.0}, "n": {"type": "int", "min": 0, "max": 9}}
    (point,) = search(Stuck({"n": 2.0, "x": 3, "deep": 1.0, "share": 0.1 + 0.2}), space, 1).points
    assert list(point.items()) == [("share", 0.3), ("x", 3.0), ("n", 2), ("deep", 1)]
    assert [type(value).__name__ for value in point.values()] == ["float", "float", "int", "int"]


def test_a_default_within_the_last_bits_of_a_step_is_no_point_of_its_own() -> None:
    space = {"share": {**TENTHS, "default": 0.1 + 0.2}}
    experiment = make_experiment(search_space=space, strategy={"name": "tpe"}, budget={"trials": 50})
    points = simulate(experiment, lambda values, epoch: 0.0).points
    assert points[0] == {"share": 0.3}, "a default that was given is tried first"
    assert sorted(point["share"] for point in points) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


@pytest.mark.parametrize("log", [True, "reverse"])
def test_the_middle_that_was_left_out_is_not_tried_first(log: Any) -> None:
    """The default of a log integer is the geometric mean, whether check or domain fills it in."""
    space = {"n": {"type": "int", "min": 1, "max": 100, "log": log, "default": 10 if log is True else 91}}
    experiment = make_experiment(search_space=space, strategy={"name": "tpe"}, budget={"trials": 5})
    assert first_points(experiment, space_of(experiment)) == []
