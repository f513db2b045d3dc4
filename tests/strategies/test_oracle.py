"""Oracle classes that a user named: replayed in the journal's order, and told clearly where they are wrong."""

from __future__ import annotations

from typing import Any

import pytest
from simulate import Simulation, make_experiment, prefix_histories, simulate, strategy_of

from hptune.base.errors import RunError, SpecError
from hptune.base.trial import Values
from hptune.experiment.experiment import Experiment
from hptune.strategies.strategy import Done

SPACE = {"x": {"type": "float", "min": 0.0, "max": 1.0}, "kind": {"type": "choice", "values": ["a", None]}}


def experiment_with(oracle: str, *, trials: int = 8, **sections: Any) -> Experiment:
    options = sections.pop("options", {})
    named = {"name": "keras_tuner", "oracle": oracle, "options": options}
    return make_experiment(**{"strategy": named, "search_space": SPACE, "budget": {"trials": trials}, **sections})


def search(oracle: str, **options: Any) -> Simulation:
    simulation = {name: options.pop(name) for name in ("workers", "order", "fresh_each_time") if name in options}
    return simulate(experiment_with(oracle, **options), score, **simulation)


def score(values: Values, epoch: int) -> float:
    x = values["x"]
    assert isinstance(x, float)
    return (x - 0.3) ** 2


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("oracle", ["Walk", "InPairs", "Remembers"])
def test_a_replayed_oracle_answers_as_one_that_never_stopped(oracle: str, workers: int) -> None:
    named = f"oracles_of_a_user:{oracle}"
    kept = search(named, workers=workers, order=2)
    replayed = search(named, workers=workers, order=2, fresh_each_time=True)
    assert replayed.decisions == kept.decisions
    assert len(kept.points) == (6 if oracle == "InPairs" else 8)


def test_an_oracle_that_stops_ends_the_search_and_one_that_idles_waits() -> None:
    run = search("oracles_of_a_user:InPairs", workers=4)
    assert run.done == Done("oracles_of_a_user:InPairs has stopped")
    experiment = experiment_with("oracles_of_a_user:InPairs")
    running = max(len(list(history.running())) for history in prefix_histories(run, experiment))
    assert running == 2


def test_an_oracle_sees_scores_and_the_enqueued_trials() -> None:
    run = search("oracles_of_a_user:Walk", enqueue=[{"x": 0.3125, "kind": None}], options={"start": 0.9})
    assert run.points[0] == {"x": 0.3125, "kind": None}
    assert {point["x"] for point in run.points[1:2]} == {0.3125}, "it steps away from the best it knows"


def test_an_oracle_is_asked_for_its_own_points_only() -> None:
    run = search("oracles_of_a_user:Remembers", enqueue=[{"x": 0.9, "kind": "a"}, {"x": 0.8, "kind": "a"}])
    assert [point["x"] for point in run.points] == [0.9, 0.8, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06]


def test_what_an_oracle_leaves_out_is_drawn_from_the_seed() -> None:
    points = search("oracles_of_a_user:Partial", trials=2).points
    assert points[0]["x"] == 0.25
    assert points == search("oracles_of_a_user:Partial", trials=2).points


@pytest.mark.parametrize("name", ["RandomSearchOracle", "BayesianOptimizationOracle"])
def test_keras_tuners_own_classes_can_be_named(name: str) -> None:
    run = search(f"keras_tuner.oracles:{name}", trials=4)
    assert len(run.points) == 4


@pytest.mark.parametrize(
    ("oracle", "words"),
    [
        ("Raises", ("Raises.populate_space for trial 0", "KeyError", "no such thing")),
        ("Outside", ("x must be one of 0.0 to 1.0, got 7.0",)),
        ("Strange", ("unknown parameter 'tuner/epochs'", "Known: x, kind")),
    ],
)
def test_what_goes_wrong_in_a_question_is_told(oracle: str, words: tuple[str, ...]) -> None:
    with pytest.raises(RunError) as error:
        search(f"oracles_of_a_user:{oracle}")
    assert all(word in str(error.value) for word in ("strategy.oracle", *words))


@pytest.mark.parametrize(
    ("oracle", "word"),
    [
        ("oracles_of_a_user:NOT_A_CLASS", "subclass of keras_tuner.Oracle"),
        ("oracles_of_a_user:EndsTrials", "overrides end_trial"),
        ("oracles_of_a_user:Wlak", "Walk"),
        ("no_such_module:Walk", "no_such_module"),
        ("Walk", "module:name"),
        ("keras_tuner.oracles:GridSearchOracle", "Use strategy: grid"),
        ("keras_tuner.oracles:HyperbandOracle", "Use strategy: hyperband"),
    ],
)
def test_a_class_that_cannot_be_driven_is_refused_before_anything_runs(oracle: str, word: str) -> None:
    with pytest.raises(SpecError) as error:
        strategy_of(experiment_with(oracle))
    (problem,) = error.value.problems
    assert problem.path == ("strategy", "oracle")
    assert word in problem.message


def test_options_that_the_class_does_not_take_are_refused() -> None:
    with pytest.raises(SpecError) as error:
        strategy_of(experiment_with("oracles_of_a_user:Walk", options={"speed": 3}))
    assert "speed" in str(error.value)
