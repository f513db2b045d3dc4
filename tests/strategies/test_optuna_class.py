"""A sampler class that the user names gives the points that it gives in a plain Optuna study."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
import optuna
import pytest
from simulate import Simulation, make_experiment, prefix_histories, simulate, strategy_of

from hptune.base.seeds import derive
from hptune.base.trial import Values

SPACE: dict[str, Any] = {
    "x": {"type": "float", "min": -1, "max": 3},
    "rate": {"type": "float", "min": 1e-4, "max": 1e-1, "log": True},
    "n": {"type": "int", "min": 0, "max": 1000},
}
GRID = {"a": {"type": "choice", "values": ["relu", None, 3]}, "b": {"type": "float", "min": 0, "max": 1, "step": 0.25}}
OPTUNAS: dict[str, dict[str, Any]] = {
    "RandomSampler": {},
    "TPESampler": {},
    "TPESampler multivariate": {"multivariate": True, "n_startup_trials": 4},
    "TPESampler seeded": {"seed": 7},
    "RandomSampler seeded": {"seed": 3},
    "CmaEsSampler": {},
    "NSGAIISampler": {"population_size": 5},
    "NSGAIIISampler": {"population_size": 5},
    "QMCSampler": {"scramble": True},
    "QMCSampler halton": {"qmc_type": "halton"},
}
OWN = ["Counts", "Learns", "NearTheBest", "InTheStudy", "Annealing"]
REFERENCES = {
    **{name: (f"optuna.samplers:{name.split()[0]}", options) for name, options in OPTUNAS.items()},
    **{name: (f"samplers_of_a_user:{name}", {}) for name in OWN},
}


def score(values: Mapping[str, Any], _: int) -> float | None:
    """Fails in a part of the space."""
    if values["n"] % 10 == 7:
        return None
    return float((values["x"] - 1) ** 2 + np.log10(values["rate"]) ** 2 + values["n"] / 500)


def simulated(reference: str, options: Mapping[str, Any], *, trials: int = 25, **more: Any) -> Simulation:
    sections = {"search_space": SPACE, **more}
    named = {"name": "optuna", "sampler": reference, "options": dict(options)}
    return simulate(make_experiment(strategy=named, budget={"trials": trials}, **sections), score)


def plain(reference: str, options: Mapping[str, Any], *, trials: int = 25) -> list[dict[str, Any]]:
    """The points of Optuna's own `optimize`."""
    module, _, name = reference.partition(":")
    kind = getattr(import_module(module), name)
    takes_seed = "seed" in signature(kind.__init__).parameters
    seed = {"seed": derive(0, "suggest")} if takes_seed and "seed" not in options else {}

    def objective(trial: optuna.Trial) -> float:
        values = {
            "x": trial.suggest_float("x", -1, 3),
            "rate": trial.suggest_float("rate", 1e-4, 1e-1, log=True),
            "n": trial.suggest_int("n", 0, 1000),
        }
        found = score(values, 1)
        if found is None:
            raise ValueError("boom")
        return found

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(sampler=kind(**seed, **options))
        study.optimize(objective, n_trials=trials, catch=(ValueError,))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", REFERENCES)
def test_the_points_are_those_of_a_plain_study(name: str) -> None:
    reference, options = REFERENCES[name]
    if "samplers_of_a_user" in reference:
        strategy_of(
            make_experiment(search_space=SPACE, strategy={"name": "optuna", "sampler": reference})
        )  # its folder
    ours, theirs = simulated(reference, options).points, plain(reference, options)
    again = [at for at, point in enumerate(theirs) if point in theirs[:at]]  # a genetic one may, and ours never does
    assert len(ours) == 25
    assert min(again, default=25) >= 10
    for one, other in zip(ours[: min(again, default=25)], theirs, strict=False):
        assert one == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize("name", [*OWN, "Shared", "TPESampler", "QMCSampler", "CmaEsSampler"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(name: str, workers: int) -> None:
    reference, options = REFERENCES.get(name, (f"samplers_of_a_user:{name}", {}))
    if name == "Annealing" and workers > 1:
        pytest.skip("it knows no trial that runs")
    named = {"name": "optuna", "sampler": reference, "options": options}
    experiment = make_experiment(strategy=named, search_space=SPACE, budget={"trials": 12})
    whole = simulate(experiment, score, workers=workers)
    random.seed(0)  # nothing hangs on it
    assert simulate(experiment, score, workers=workers, fresh_each_time=True).points == whole.points
    one = strategy_of(experiment)
    histories = prefix_histories(whole, experiment)
    forward = [one.next(history) for history in histories]
    assert [one.next(history) for history in reversed(histories)] == forward[::-1]


@pytest.mark.parametrize(
    ("reference", "options"),
    [
        ("optuna.samplers:GridSampler", {"search_space": {"a": ["relu", None, 3], "b": [0.0, 0.5, 1.0]}}),
        ("optuna.samplers:BruteForceSampler", {}),
    ],
)
def test_a_class_that_stops_the_study_ends_the_search(reference: str, options: dict[str, Any]) -> None:
    def curve(values: Values, _: int) -> float:
        return float(values["b"])  # type: ignore[arg-type]

    named = {"name": "optuna", "sampler": reference, "options": options}
    run = simulate(make_experiment(strategy=named, search_space=GRID, budget={"trials": 100}), curve)
    steps = options.get("search_space", {"b": [0.0, 0.25, 0.5, 0.75, 1.0]})["b"]
    points = {(point["a"], point["b"]) for point in run.points}
    assert points == {(a, b) for a in ("relu", None, 3) for b in steps}
    assert len(run.points) == len(points)
    assert run.done is not None


def test_a_grid_loses_no_point_to_one_that_was_enqueued() -> None:
    """As in a plain study, where `enqueue_trial` takes none of its points."""
    space = {"x": {"type": "int", "min": 0, "max": 9}, "n": {"type": "int", "min": 0, "max": 9}}
    options = {"search_space": {"x": [0, 1, 2], "n": [0, 1]}, "seed": 3}
    named = {"name": "optuna", "sampler": "optuna.samplers:GridSampler", "options": options}
    first = {"x": 9, "n": 3}
    experiment = make_experiment(strategy=named, search_space=space, enqueue=[first], budget={"trials": 50})
    run = simulate(experiment, lambda values, _: float(values["x"]))  # type: ignore[arg-type]
    assert run.points[0] == first
    assert {(point["x"], point["n"]) for point in run.points[1:]} == {(x, n) for x in range(3) for n in range(2)}
    assert len(run.points) == 7


def test_enqueued_points_are_in_the_study_as_they_were_tried() -> None:
    """Beside Optuna's own `enqueue_trial`."""
    first = {"x": 1.0, "rate": 0.01, "n": 100}
    run = simulated("optuna.samplers:NSGAIISampler", {"population_size": 4}, enqueue=[first])
    assert run.points[0] == first
    assert len(run.points) == 25


def test_choices_that_python_takes_for_equal_stay_what_they_are() -> None:
    space = {**SPACE, "x": {"type": "choice", "values": [1, True, 1.0, 0, False]}}
    run = simulated("optuna.samplers:RandomSampler", {}, search_space=space, trials=40)
    assert {repr(point["x"]) for point in run.points} == {"1", "True", "1.0", "0", "False"}
