"""What the adapter guards against, each beside what KerasTuner does: where it mends its ways, these tests say so."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from simulate import make_experiment, simulate, space_of, strategy_of

from hptune.base.trial import Segment, SegmentFailure, SegmentResult, Values
from hptune.experiment.experiment import Experiment
from hptune.run import events
from hptune.run.history import History
from hptune.strategies.samplers.keras_tuner import BayesianSampler, Coding, GridSampler, RandomSampler
from hptune.strategies.strategy import Start

LINE = {"x": {"type": "float", "min": 0.0, "max": 1.0}}
SCORE = keras_tuner.Objective("score", "min")


def told(history: History, values: Values, score: float | None = None, *, failed: bool = False) -> None:
    """Add a trial to the history: running, or finished with a score, or failed."""
    segment = Segment(len(history.trials), values, 0, 1)
    history.apply(events.started(segment))
    if failed:
        history.apply(events.failed(SegmentFailure(segment, "boom", 0.1)))
    elif score is not None:
        history.apply(events.finished(SegmentResult(segment, 1, {"score": (score,)}, 0.1), complete=True))


def history_of(experiment: Experiment) -> History:
    return History(experiment.objectives)


# --- seeds ----------------------------------------------------------------------------------------------------------


def test_seed_0_is_a_seed_like_any_other() -> None:
    assert keras_tuner.oracles.RandomSearchOracle(SCORE, seed=0).seed != 0, "KerasTuner draws one instead"
    space = {"x": {"type": "float", "min": 0.0, "max": 1.0}}
    for name in ("random", "bayesian", "hyperband"):
        experiment = make_experiment(strategy={"name": name}, search_space=space, seed=0)
        first, again = (strategy_of(experiment).next(history_of(experiment)) for _ in range(2))
        assert first == again


# --- domains --------------------------------------------------------------------------------------------------------


def test_stepped_floats_reach_their_end() -> None:
    theirs = keras_tuner.HyperParameters()
    theirs.Float("x", 0.0, 1.0, step=0.1)
    assert 1.0 not in {theirs.space[0].prob_to_value(i / 1000) for i in range(1001)}, "KerasTuner loses it"
    domain = {"type": "float", "min": 0.0, "max": 1.0, "step": 0.1}
    run = simulate(make_experiment(search_space={"x": domain}, budget={"trials": 50}), lambda values, epoch: 0.0)
    assert sorted(point["x"] for point in run.points) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_every_value_of_a_stepped_float_has_a_bucket_of_its_own() -> None:
    domain = {"type": "float", "min": 0.0, "max": 1.0, "step": 0.1}
    space = space_of(make_experiment(search_space={"x": domain}))
    coding = Coding(space)
    (parameter,) = coding.hyperparameters.space
    seen = [parameter.value_to_prob(coding.encode(point)["x"]) for point in space.points()]
    assert seen == pytest.approx([(i + 0.5) / 11 for i in range(11)])
    theirs = keras_tuner.engine.hyperparameters.Float("x", 0.0, 1.0, step=0.1)
    assert theirs.value_to_prob(0.5) != pytest.approx(seen[5])


@pytest.mark.parametrize("values", [[True, False], ["a", None], [1, 2.0, "x"], [1, True]])
def test_choices_that_keras_tuner_cannot_hold_come_back_as_they_are(values: list[Any]) -> None:
    space = space_of(make_experiment(search_space={"x": {"type": "choice", "values": values}}))
    coding = Coding(space)
    back = [coding.decode(coding.encode(point))["x"] for point in space.points()]
    assert [(type(v), v) for v in back] == [(type(v), v) for v in values]


def test_ends_of_logarithms_stay_inside() -> None:
    space = {
        "n": {"type": "int", "min": 3, "max": 7, "log": True},
        "r": {"type": "float", "min": 1e-5, "max": 0.3, "log": True},
    }
    coding = Coding(space_of(make_experiment(search_space=space)))
    ends = {hp.name: hp.prob_to_value(1.0) for hp in coding.hyperparameters.space}
    assert ends["n"] == 8, "KerasTuner goes past the end of an Int"
    assert coding.decode(ends) == {"n": 7, "r": 0.3}


def test_conditions_under_two_parents_and_under_each_other() -> None:
    space = {
        "a": {"type": "choice", "values": ["x", "y"]},
        "b": {"type": "choice", "values": [True, False]},
        "c": {"type": "int", "min": 1, "max": 3, "when": {"a": "x", "b": True}},
        "d": {"type": "int", "min": 1, "max": 2, "when": {"c": [2, 3]}},
    }
    experiment = make_experiment(search_space=space, budget={"trials": 100})
    run = simulate(experiment, lambda values, epoch: 0.0)
    points = list(space_of(experiment).points())
    assert len(run.points) == len(points) == 3 + 1 + 2 + 2
    assert all(point in run.points for point in points)


# --- random ---------------------------------------------------------------------------------------------------------


def test_keras_tuners_random_stops_before_the_last_point() -> None:
    hps = keras_tuner.HyperParameters()
    hps.Int("x", 0, 19)
    oracle = keras_tuner.oracles.RandomSearchOracle(SCORE, hyperparameters=hps, seed=3)
    points: set[int] = set()
    while (values := oracle.populate_space("t")["values"]) is not None:
        points.add(values["x"])
        oracle._tried_so_far.add(oracle._compute_values_hash(values))
    assert len(points) < 20, "see the conformance suite: ours finds all of 20"


def test_each_random_point_has_a_seed_of_its_own() -> None:
    points = []
    for seed in (0, 1):
        experiment = make_experiment(search_space=LINE, seed=seed)
        sampler, history = RandomSampler(experiment, space_of(experiment)), history_of(experiment)
        for _ in range(5):
            points.append(sampler.suggest(history)["x"])
            assert sampler.suggest(history)["x"] == points[-1]
            told(history, {"x": points[-1]}, 0.0)
    assert len(set(points)) == 10


# --- grid -----------------------------------------------------------------------------------------------------------


def test_grid_goes_in_keras_tuners_order_and_on_from_any_point(tmp_path: Path) -> None:
    hps = keras_tuner.HyperParameters()
    hps.Choice("kind", ["a", "b", "c"], default="b")
    hps.Int("m", 5, 6)
    with hps.conditional_scope("kind", ["a", "b"]):
        hps.Int("n", 1, 3, default=2)
    oracle = keras_tuner.oracles.GridSearchOracle(SCORE, hyperparameters=hps)
    oracle.verbose = 0
    oracle._set_project_dir(str(tmp_path), "theirs")
    theirs = []
    while (trial := oracle.create_trial("t")).status == "RUNNING":
        theirs.append(trial.hyperparameters.values)
        trial.status = "COMPLETED"
        oracle.update_trial(trial.trial_id, {"score": 1.0})
        oracle.end_trial(trial)
    space = {
        "kind": {"type": "choice", "values": ["a", "b", "c"], "default": "b"},
        "m": {"type": "int", "min": 5, "max": 6},
        "n": {"type": "int", "min": 1, "max": 3, "default": 2, "when": {"kind": ["a", "b"]}},
    }
    experiment = make_experiment(strategy={"name": "grid"}, search_space=space)
    run = simulate(experiment, lambda values, epoch: 0.0, fresh_each_time=True)
    assert run.points == theirs
    assert len(theirs) == 2 * 3 * 2 + 2


def test_grid_takes_every_value_of_a_logarithmic_int() -> None:
    domain = {"type": "int", "min": 1, "max": 30, "log": True}
    space = space_of(make_experiment(search_space={"n": domain}))
    assert len(Coding(space).hyperparameters.space[0].values) <= 10, "KerasTuner picks ten at most"
    experiment = make_experiment(strategy={"name": "grid"}, search_space={"n": domain})
    run = simulate(experiment, lambda values, epoch: 0.0)
    assert [point["n"] for point in run.points] == list(range(1, 31))


def test_grid_asks_in_constant_time_of_the_trials_before() -> None:
    space = {name: {"type": "int", "min": 0, "max": 9} for name in "ab"}
    experiment = make_experiment(search_space=space)
    sampler = GridSampler(space_of(experiment), skip=[])
    history = history_of(experiment)
    for _ in range(30):
        point = sampler.suggest(history)
        assert isinstance(point, dict)
        told(history, point, 0.0)
    assert len(sampler._oracle.trials) <= 1
    assert len(sampler._oracle._ordered_ids._memory) <= 2


# --- bayesian -------------------------------------------------------------------------------------------------------


def bayesian(goal: str = "minimize", initial: int = 5) -> tuple[BayesianSampler, History]:
    experiment = make_experiment(
        search_space=LINE,
        strategy={"name": "bayesian", "initial_points": initial, "beta": 0.1},
        objective={"metric": "score", "goal": goal},
    )
    return BayesianSampler(experiment, space_of(experiment)), history_of(experiment)


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_bayesian_goes_where_our_objective_says(goal: str) -> None:
    sampler, history = bayesian(goal)
    for x in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        told(history, {"x": x}, 100 * (x - 0.7) ** 2 * (1 if goal == "minimize" else -1))
    assert sampler.suggest(history)["x"] == pytest.approx(0.7, abs=0.1)


def test_running_trials_look_as_good_as_the_best_that_is_known_and_no_better() -> None:
    sampler, history = bayesian()
    for x in (0.0, 0.2, 0.4, 0.6, 0.8):
        told(history, {"x": x}, 100 + x)
    told(history, {"x": 1.0})
    shown = {trial.hyperparameters.values["x"]: trial.score for trial in sampler._known(history)}
    assert shown[1.0] == 100.0
    point: dict[str, Any] = sampler.suggest(history)
    assert point["x"] < 0.95, "it is not asked for again"
    assert not sampler._oracle.ongoing_trials


def test_before_enough_trials_have_a_score_points_are_random_however_many_run() -> None:
    sampler, history = bayesian()
    for x in (0.1, 0.2, 0.3, 0.4):
        told(history, {"x": x}, x)
    for x in (0.5, 0.6, 0.7):
        told(history, {"x": x})
    told(history, {"x": 0.8}, failed=True)
    assert sampler._known(history) == []


def test_failed_and_infinite_trials_count_as_the_worst() -> None:
    sampler, history = bayesian()
    for x in (0.0, 0.1, 0.2, 0.3, 0.4):
        told(history, {"x": x}, 10 - x)
    told(history, {"x": 0.7}, math.inf)
    told(history, {"x": 0.9}, failed=True)
    shown = {trial.hyperparameters.values["x"]: trial.score for trial in sampler._known(history)}
    assert shown[0.7] == shown[0.9] == 10.0
    point: dict[str, Any] = sampler.suggest(history)
    assert 0.3 < point["x"] < 0.65, "the failed ones push it back from where the scores fall to"


def test_the_default_of_initial_points_is_three_for_each_parameter() -> None:
    experiment = make_experiment(search_space=LINE, strategy={"name": "bayesian"})
    assert BayesianSampler(experiment, space_of(experiment))._initial == 3


# --- quiet and light ------------------------------------------------------------------------------------------------


def test_nothing_is_printed_and_no_file_is_written(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]; import simulate as s\n"
        "space = {'x': {'type': 'int', 'min': 0, 'max': 5}}\n"
        "for name in ('random', 'grid', 'hyperband', 'bayesian'):\n"
        "    e = s.make_experiment(strategy={'name': name}, search_space=space, budget={'trials': 4})\n"
        "    s.simulate(e, lambda values, epoch: 0.0)\n"
    )
    noisy = {"TF_CPP_MIN_LOG_LEVEL": "", "GRPC_VERBOSITY": ""}
    env = {name: value for name, value in os.environ.items() if name not in noisy}
    command = [sys.executable, "-c", script, str(Path(__file__).parent)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=env)
    assert (ran.stdout, ran.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_start_epochs_follow_a_searched_number_of_epochs() -> None:
    space = {"e": {"type": "int", "min": 2, "max": 9}}
    experiment = make_experiment(search_space=space)
    training = experiment.training.model_copy(update={"epochs": _ref("e")})
    experiment = experiment.model_copy(update={"training": training})
    decision = strategy_of(experiment).next(history_of(experiment))
    assert isinstance(decision, Start)
    assert decision.to_epoch == decision.values["e"]


def _ref(name: str) -> Any:
    from hptune.experiment.space.references import Ref

    return Ref(name)
