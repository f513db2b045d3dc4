"""How the bayesian-optimization package is driven: every kind of parameter, an extra that may be absent."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
from simulate import make_experiment, simulate, space_of

from hptune.base.errors import SpecError
from hptune.base.trial import Values
from hptune.experiment.checks import search as check_search
from hptune.experiment.reading.problems import validate
from hptune.experiment.sections import STRATEGIES
from hptune.strategies.samplers.bayes_opt import _ListedParameter
from hptune.strategies.strategy import Done, check

PLANE = {name: {"type": "float", "min": -1.0, "max": 1.0} for name in "xy"}


def bowl(values: Values, epoch: int) -> float:
    return sum((float(values[name] or 0) - 0.3) ** 2 for name in "xy")


@pytest.mark.parametrize("options", [{}, {"acquisition": "ei"}, {"acquisition": "poi", "xi": 0.05}, {"kappa": 1.0}])
def test_it_learns(options: dict[str, Any]) -> None:
    strategy = {"name": "bayes_opt", **options}
    run = simulate(make_experiment(search_space=PLANE, strategy=strategy, budget={"trials": 20}), bowl)
    assert min(bowl(p, 1) for p in run.points[10:]) < 0.02
    assert statistics.median(bowl(p, 1) for p in run.points[10:]) < statistics.median(
        bowl(p, 1) for p in run.points[:5]
    )


def test_steps_orders_and_categories_are_searched_as_what_they_are() -> None:
    space = {
        "rate": {"type": "float", "min": 1e-5, "max": 1.0, "log": True},
        "units": {"type": "int", "min": 32, "max": 512, "step": 32},
        "kind": {"type": "choice", "values": ["a", None, True, 1]},
    }

    def curve(values: Values, epoch: int) -> float:
        rate, units = float(values["rate"] or 0), int(values["units"] or 0)
        return abs(math.log10(rate) + 3) + abs(units - 256) / 256 + (values["kind"] is not None)

    run = simulate(make_experiment(search_space=space, strategy={"name": "bayes_opt"}, budget={"trials": 25}), curve)
    best = run.history.best
    assert best is not None
    assert best.values["kind"] is None
    assert 1e-4 < float(best.values["rate"] or 0) < 1e-2
    assert 160 <= int(best.values["units"] or 0) <= 352


def test_the_kernel_sees_listed_values_and_nothing_between_them() -> None:
    seen = _ListedParameter("x", 4).kernel_transform(np.array([0.0, 0.1, 0.24, 0.26, 0.99, 1.0]))
    assert seen.tolist() == [0.125, 0.125, 0.125, 0.375, 0.875, 0.875]


def test_iterations_end_it() -> None:
    strategy = {"name": "bayes_opt", "initial_points": 3, "iterations": 4}
    for budget, trials in ({}, 7), ({"trials": 5}, 5), ({"trials": 50}, 7):
        run = simulate(make_experiment(search_space=PLANE, strategy=strategy, budget=budget), bowl)
        assert len(run.points) == trials
        assert isinstance(run.done, Done)


def test_an_option_of_another_acquisition_is_refused() -> None:
    for given in ({"xi": 0.1}, {"acquisition": "ei", "kappa": 1.0}):
        _, problems = validate(STRATEGIES["bayes_opt"], {"name": "bayes_opt", **given}, ("strategy",))
        assert "does not belong to acquisition" in problems[0].message


def test_a_missing_extra_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make_experiment(search_space=PLANE, strategy={"name": "bayes_opt"})
    check(experiment, space_of(experiment))
    monkeypatch.setattr(check_search, "find_spec", lambda name: None)
    with pytest.raises(SpecError) as caught:
        check(experiment, space_of(experiment))
    (problem,) = caught.value.problems
    assert problem.path == ("strategy", "name")
    assert "pip install 'hptune[bayes-opt]'" in problem.message
