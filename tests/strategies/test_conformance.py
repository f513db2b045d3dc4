"""What holds for every strategy, run over all of them."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulate import Simulation, by_trial, make_experiment, prefix_histories, simulate, space_of, strategy_of
from strategies_of_a_user import READS
from watched import watched

from hptune.base.trial import Values
from hptune.experiment import sections
from hptune.experiment.experiment import Experiment
from hptune.experiment.space.space import point_key
from hptune.run.history import History
from hptune.strategies.choose import ROWS
from hptune.strategies.strategy import Done, Start

OPTIONS: dict[str, dict[str, Any]] = {
    "bayesian": {"initial_points": 6},
    "hyperband": {"max_epochs": 9, "factor": 3},
    "tpe": {"initial_points": 3},
    "cmaes": {"population": 3},
    "nsga2": {"population": 3},
    "narrowing": {"explore": 3, "exploit": 5, "patience": 3},
    "asha": {"max_epochs": 9},
    "guided": {"learning_rate": "rate", "batch_size": "units", "first_batch_size": 8},
    "keras_tuner": {"oracle": "oracles_of_a_user:Walk", "options": {"start": 0.1}},
    "optuna": {"sampler": "optuna.samplers:NSGAIIISampler", "options": {"population_size": 3}},
    "python": {"strategy": "strategies_of_a_user:Shuffled"},
}
"""What a strategy is given here; one that needs no options is held to everything below as soon as it has a row."""

LEARNING: dict[str, Any] = {"sampler": {"name": "tpe", "initial_points": 3}}

STRATEGIES: dict[str, dict[str, Any]] = {
    **{name: {"name": name, **OPTIONS.get(name, {})} for name in sections.STRATEGIES},
    "bohb": {"name": "asha", **OPTIONS["asha"], **LEARNING},
    "hyperband_tpe": {"name": "hyperband", **OPTIONS["hyperband"], **LEARNING},
}

HALVING = [name for name, given in STRATEGIES.items() if sections.STRATEGIES[given["name"]].halves]

SLOW = ("bayesian", "bayes_opt")
"""A question takes a good part of a second."""

UNDRAWN = ("grid", "guided")
"""No seed changes their points."""

BY_ROLES = ("guided",)
"""They try the parameters that play a role in training, and serve no space without one."""

MIXED = {
    "x": {"type": "float", "min": 0.0, "max": 1.0},
    "rate": {"type": "float", "min": 1e-4, "max": 1e-1, "log": True},
    "drop": {"type": "float", "min": 0.0, "max": 1.0, "step": 0.1},
    "units": {"type": "int", "min": 8, "max": 64, "step": 8},
    "width": {"type": "int", "min": 1, "max": 1000, "log": True},
    "kind": {"type": "choice", "values": ["a", "b", None, True, 1]},
    "momentum": {"type": "float", "min": 0.0, "max": 0.99, "when": {"kind": "a"}},
    "deep": {"type": "choice", "values": [True, False], "when": {"kind": ["a", None]}},
    "deeper": {"type": "int", "min": 1, "max": 3, "when": {"deep": True}},
}
"""Every kind of domain, conditions two deep."""

FINITE = {
    "x": {"type": "float", "min": 0.0, "max": 1.0, "step": 0.25},
    "kind": {"type": "choice", "values": ["a", "b"]},
    "n": {"type": "int", "min": 1, "max": 3, "when": {"kind": "b"}},
}
"""20 points: 5 × (1 + 3)."""


def score(values: Values, epoch: int) -> float:
    x, rate = values["x"], values.get("rate", 1e-2)
    assert isinstance(x, float)
    assert isinstance(rate, float)
    return (x - 0.3) ** 2 + 0.01 * abs(math.log10(rate) + 2) + 1 / epoch


@pytest.fixture(params=STRATEGIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[name for name in STRATEGIES if name not in BY_ROLES])
def sampling(request: pytest.FixtureRequest) -> str:
    """A strategy that tries every parameter, of any space."""
    return str(request.param)


def experiment_for(name: str, *, trials: int | None = 10, space: Any = None, **sections: Any) -> Experiment:
    given = space or (FINITE if name == "grid" else MIXED)
    budget = {} if trials is None else {"budget": {"trials": trials}}
    return make_experiment(strategy=STRATEGIES[name], search_space=given, **budget, **sections)


def with_cheap_points(name: str, experiment: Experiment, count: int) -> Experiment:
    """A slow strategy's first `count` points at random, which cost nothing; any other's as they are."""
    if name not in SLOW:
        return experiment
    strategy = experiment.strategy.model_copy(update={"initial_points": count})
    return experiment.model_copy(update={"strategy": strategy})


def told(run: Simulation) -> list[Any]:
    return [*run.points, run.done]


def test_every_strategy_has_a_row_and_is_what_its_options_say() -> None:
    assert set(ROWS) == set(sections.STRATEGIES.values())
    assert set(OPTIONS) <= set(sections.STRATEGIES)
    for name, options in sections.STRATEGIES.items():
        required = [key for key, field in options.model_fields.items() if field.is_required() and key != "name"]
        assert set(required) <= set(OPTIONS.get(name, {})), f"OPTIONS of this suite has none for {name}"
        assert options.model_validate(STRATEGIES[name]).name == name


def test_points_are_whole_members_of_the_space_in_plain_python(name: str) -> None:
    experiment = experiment_for(name)
    space = space_of(experiment)
    run = simulate(experiment, score)
    assert len(run.points) == 10
    for point in run.points:
        assert space.contains(point)
        assert list(point) == [n for n in space.domains if n in point]
        assert all(type(value) in (bool, int, float, str, type(None)) for value in point.values())


def test_same_seed_same_search_other_seed_another(name: str) -> None:
    def search(seed: int) -> list[Any]:
        return told(simulate(experiment_for(name, trials=6, seed=seed), score))

    assert search(0) == search(0)
    if name not in UNDRAWN:
        assert search(0) != search(1)
        assert search(1) != search(2)


def test_a_fresh_object_answers_the_same_after_every_event(name: str) -> None:
    experiment = experiment_for(name, trials=8)
    run = simulate(experiment, score, workers=3, order=1)
    fresh = simulate(experiment, score, workers=3, order=1, fresh_each_time=True)
    assert fresh.decisions == run.decisions


def test_one_object_serves_any_history(name: str) -> None:
    experiment = experiment_for(name, trials=7)
    histories = prefix_histories(simulate(experiment, score, workers=2), experiment)
    strategy = strategy_of(experiment)
    forward = [strategy.next(history) for history in histories]
    backward = [strategy.next(history) for history in reversed(histories)]
    assert forward == backward[::-1]


def test_asking_twice_changes_nothing(name: str) -> None:
    experiment = experiment_for(name)
    strategy, history = strategy_of(experiment), prefix_histories(simulate(experiment, score), experiment)[3]
    assert strategy.next(history) == strategy.next(history)


def test_no_clock_and_no_shared_generator_is_read(name: str) -> None:
    experiment = experiment_for(name, trials=8)
    strategy_of(experiment).next(History(experiment.objectives))  # the libraries are loaded, which read the clock
    with watched() as read:
        simulate(experiment, score, workers=2)
    assert read == []


@pytest.mark.parametrize(
    ("strategy", "options", "check"),
    [
        *(("Peeks", {"reads": what}, test_no_clock_and_no_shared_generator_is_read) for what in READS),
        ("Undetermined", {"generator": "python"}, test_same_seed_same_search_other_seed_another),
        ("Undetermined", {"generator": "numpy"}, test_same_seed_same_search_other_seed_another),
        ("Undetermined", {"generator": "system"}, test_same_seed_same_search_other_seed_another),
        ("Counts", {}, test_a_fresh_object_answers_the_same_after_every_event),
        ("Counts", {}, test_one_object_serves_any_history),
        ("Counts", {}, test_asking_twice_changes_nothing),
    ],
)
def test_what_no_strategy_may_do_is_caught(
    strategy: str, options: dict[str, str], check: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"name": "python", "strategy": f"strategies_of_a_user:{strategy}", "options": options}
    monkeypatch.setitem(STRATEGIES, "broken", broken)
    with pytest.raises(AssertionError):
        check("broken")


def test_another_process_answers_the_same() -> None:
    names = [n for n in STRATEGIES if n != "keras_tuner"]  # one process for all: starting TensorFlow takes seconds
    script = (
        "import json, sys; sys.path[:0] = [sys.argv[1]]; import test_conformance as t\n"
        "print(json.dumps([t.simulate(t.experiment_for(n, trials=7), t.score).points for n in sys.argv[2:]]))"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent), *names]
    elsewhere = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert elsewhere == [simulate(experiment_for(n, trials=7), score).points for n in names]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_small_space_is_used_up_without_a_duplicate(sampling: str, workers: int) -> None:
    if sampling in SLOW and workers > 1:
        pytest.skip("a question takes most of a second")
    experiment = with_cheap_points(sampling, experiment_for(sampling, trials=100, space=FINITE), 13)
    run = simulate(experiment, score, workers=workers)
    assert len(run.points) == 20
    assert len({point_key(point) for point in run.points}) == 20
    assert run.done == Done("every point of the space was tried")


def test_failed_trials_cost_nothing_but_themselves(sampling: str) -> None:
    def curve(values: Values, epoch: int) -> float | None:
        x = values["x"]
        assert isinstance(x, float)
        return None if x > 0.6 else score(values, epoch)

    run = simulate(with_cheap_points(sampling, experiment_for(sampling, trials=100, space=FINITE), 8), curve)
    states = Counter(trial.state == "failed" for trial in run.history.trials)
    assert states == {True: 8, False: 12}


def test_a_search_in_which_all_fail_ends(name: str) -> None:
    run = simulate(experiment_for(name, trials=12), lambda values, epoch: None)
    assert len(run.points) == {"guided": 6}.get(name, 12)
    assert run.done is not None


@pytest.mark.parametrize("workers", range(1, 9))
def test_any_number_of_workers_in_any_order(name: str, workers: int) -> None:
    if name in SLOW and workers != 8:
        pytest.skip("a question takes most of a second")
    experiment = experiment_for(name, trials=12)
    run = simulate(experiment, score, workers=workers, order=workers)
    assert len(run.points) == len({point_key(point) for point in run.points}) == 12
    assert run.done is not None
    assert all(trial.state in ("completed", "stopped") for trial in run.history.trials)
    if name in ("random", "grid", "qmc", "hyperband"):  # these learn nothing that could depend on the order
        alone = simulate(experiment, score)
        assert run.points == alone.points
        assert by_trial(run) == by_trial(alone)


def test_enqueued_points_come_first_and_once(sampling: str) -> None:
    size = 9 if sampling in SLOW else 20
    given = [{"x": 1, "kind": "b", "n": 2.0}, {"x": 0.5, "kind": "a"}, {"x": 1.0, "kind": "b", "n": 2}, {"x": 0.25}]
    experiment = experiment_for(sampling, trials=size, space=FINITE, enqueue=given)
    points = simulate(experiment, score).points
    assert points[:2] == [{"x": 1.0, "kind": "b", "n": 2}, {"x": 0.5, "kind": "a"}]
    assert type(points[0]["x"]) is float
    assert type(points[0]["n"]) is int
    assert points[2]["x"] == 0.25
    assert len({point_key(point) for point in points}) == len(points) == size


def test_a_search_ends_by_itself_without_a_budget(name: str) -> None:
    experiment = with_cheap_points(name, experiment_for(name, trials=None), 30)
    assert len(simulate(experiment, score).points) == {"hyperband": 17, "hyperband_tpe": 17, "guided": 15}.get(name, 20)


def test_a_space_without_parameters_is_one_point(sampling: str) -> None:
    experiment = make_experiment(strategy=STRATEGIES[sampling], budget={"trials": 5})
    assert simulate(experiment, lambda values, epoch: 1.0).points == [{}]


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(name: str) -> None:
    experiment = experiment_for(name, trials=8)
    whole = simulate(experiment, score)
    cut = simulate(experiment, score, start_from=whole.events[: len(whole.events) // 2])
    assert told(cut) == told(whole)


def test_a_raised_budget_continues(name: str) -> None:
    first = simulate(experiment_for(name, trials=5), score)
    more = simulate(experiment_for(name, trials=8), score, start_from=first.events)
    assert more.points[:5] == first.points
    if name in HALVING:  # the promotions of the first search stand
        assert len(more.points) == 8
        return
    assert more.points == simulate(experiment_for(name, trials=8), score).points


def test_full_training_is_asked_for(name: str) -> None:
    experiment = experiment_for(name, training={"epochs": 9})
    decision = strategy_of(experiment).next(History(experiment.objectives))
    assert isinstance(decision, Start)
    assert decision.to_epoch == (1 if name in HALVING else 9)


@pytest.mark.parametrize("listed", sections.STRATEGIES)
def test_every_strategy_is_documented(listed: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "experiment.md").read_text(encoding="utf-8")
    section = page.split("\n## strategy\n")[1].split("\n## ")[0]
    assert re.search(rf"^\| (`\w+`, )*`{listed}`", section, re.M), f"docs/experiment.md has no row for {listed}"


def test_a_strategy_of_the_users_own_may_train_on_what_the_budget_let_it_start() -> None:
    named = {"name": "python", "strategy": "strategies_of_a_user:Halves"}
    space = {"x": {"type": "float", "min": 0, "max": 1}}
    run = simulate(
        make_experiment(strategy=named, search_space=space, budget={"trials": 4}),
        lambda values, epoch: float(values["x"]) / epoch,  # type: ignore[arg-type]
    )
    assert sorted(trial.epochs for trial in run.history.trials) == [1, 1, 3, 3]
    assert run.done is not None
