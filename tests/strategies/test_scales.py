"""Logarithmic scales, plain and reversed, are KerasTuner's: for every strategy, and where the code asks for them."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from simulate import Simulation, make_experiment, simulate, space_of, strategy_of

from hptune.base.errors import SpecError
from hptune.experiment.reading.load import load
from hptune.experiment.space.space import FloatDomain, IntDomain
from hptune.strategies.samplers.keras_tuner import Coding

PROBS = [0.0, 1e-9, *(i / 97 for i in range(1, 97)), 1 - 1e-9]

SAMPLINGS: list[tuple[Any, str]] = [(False, "linear"), (True, "log"), ("reverse", "reverse_log")]

SPACE = {
    "share": {"type": "float", "min": 1e-4, "max": 1.0, "log": "reverse"},
    "count": {"type": "int", "min": 1, "max": 1000, "log": "reverse"},
    "other": {"type": "float", "min": 0.0, "max": 1.0},
}

STRATEGIES = ["random", "bayesian", "tpe", "cmaes", "qmc", "nsga2", "bayes_opt", "narrowing"]


@pytest.mark.parametrize(("low", "high"), [(1e-4, 1e-1), (0.9, 0.999), (1e-9, 1e3), (2.0, 2.0)])
@pytest.mark.parametrize(("log", "sampling"), SAMPLINGS)
def test_a_floats_quantiles_are_keras_tuners(log: Any, sampling: str, low: float, high: float) -> None:
    ours = FloatDomain(type="float", min=low, max=high, log=log)
    theirs = keras_tuner.HyperParameters()
    theirs.Float("x", low, high, sampling=sampling)
    for prob in PROBS:
        value = ours.from_unit(prob)
        assert math.isclose(value, theirs.space[0].prob_to_value(prob), rel_tol=1e-9, abs_tol=1e-12 * high)
        assert low <= value <= high
        if low < high:
            assert math.isclose(ours.from_unit(ours.to_unit(value)), value, rel_tol=1e-6, abs_tol=1e-9 * high)


@pytest.mark.parametrize(("low", "high"), [(1, 10), (16, 1024), (3, 3)])
@pytest.mark.parametrize(("log", "sampling"), SAMPLINGS)
def test_an_ints_quantiles_are_keras_tuners_but_for_rounding(log: Any, sampling: str, low: int, high: int) -> None:
    """Ours are rounded, KerasTuner's cut off."""
    ours = IntDomain(type="int", min=low, max=high, log=log)
    theirs = keras_tuner.HyperParameters()
    theirs.Int("n", low, high, sampling=sampling)
    for prob in PROBS:
        value = ours.from_unit(prob)
        mirrored = low + high - value if log == "reverse" else value
        rounding = 1 + mirrored / (2 * low) if log else 0  # half a unit, as far as it counts at the finer end
        assert abs(value - theirs.space[0].prob_to_value(prob)) <= rounding
        assert low <= value <= high
    assert [ours.from_unit(ours.to_unit(value)) for value in range(low, high + 1)] == list(range(low, high + 1))


def test_keras_tuners_oracles_see_the_scale_itself() -> None:
    """So `random` draws from KerasTuner's own distribution, also of an Int; what it rounds over an end comes back."""
    coding = Coding(space_of(make_experiment(search_space=SPACE)))
    shown = {hp.name: hp for hp in coding.hyperparameters.space}
    assert (shown["share"].sampling, shown["count"].sampling) == ("reverse_log", "reverse_log")
    assert shown["count"].step is None
    for prob in (0.0, 1e-17, 0.5, 1.0):
        values: dict[str, Any] = coding.decode({name: hp.prob_to_value(prob) for name, hp in shown.items()})
        assert 1 <= values["count"] <= 1000
        assert 1e-4 <= values["share"] <= 1.0


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_finest_at_the_upper_end(name: str) -> None:
    strategy = {"name": name, **({"population": 4} if name in ("cmaes", "nsga2") else {})}
    space = {"share": SPACE["share"], "count": SPACE["count"], "other": SPACE["other"]}
    points = _run(space, strategy).points
    assert all(1e-4 <= point["share"] <= 1.0 and 1 <= point["count"] <= 1000 for point in points)
    assert all(type(point["count"]) is int for point in points)
    assert statistics.median(point["share"] for point in points) > 0.8
    assert statistics.median(point["count"] for point in points) > 700


def _run(space: Any, strategy: Any) -> Simulation:
    trials = 10 if strategy["name"] in ("bayesian", "bayes_opt") else 24
    experiment = make_experiment(search_space=space, strategy=strategy, budget={"trials": trials})
    return simulate(experiment, lambda values, epoch: abs(float(values["share"] or 0) - 0.99))


def test_the_yaml_spells_it(tmp_path: Path) -> None:
    def problem(log: str, more: str = "") -> str:
        path = tmp_path / "spec.yaml"
        domain = f"{{type: float, min: 0.001, max: 1.0, log: {log}{more}}}"
        path.write_text(
            f"version: 1\nmodel: {{function: 'm:f'}}\nobjective: {{metric: score, goal: maximize}}\n"
            f"search_space: {{x: {domain}}}\n"
        )
        try:
            assert load(path).experiment.search_space["x"].log == log  # type: ignore[union-attr]
        except ValueError as error:
            raise AssertionError from error
        except Exception as error:  # noqa: BLE001  # its text is looked at
            return str(error)
        return ""

    assert problem("reverse") == ""
    assert "must be true or false or one of 'reverse', got 'backwards'" in problem("backwards")
    assert "log: reverse and step can't stand together" in problem("reverse", ", step: 0.1")
    assert str(FloatDomain(type="float", min=1, max=2, log="reverse")) == "1.0 to 2.0 (reverse log)"


@pytest.mark.parametrize("name", [*STRATEGIES, "asha"])
@pytest.mark.parametrize(("low", "high", "log"), [(-8e307, 8e307, False), (0.0, 1.7e308, False), (1e-150, 1e150, True)])
def test_the_widest_ranges_are_drawn_from_as_narrow_ones(name: str, low: float, high: float, log: bool) -> None:
    """Each draw lies inside, on both sides of the middle of the scale."""
    space = {"share": {"type": "float", "min": low, "max": high, "log": log}}
    experiment = make_experiment(search_space=space, strategy={"name": name}, budget={"trials": 10})
    shares = [point["share"] for point in simulate(experiment, lambda values, epoch: float(epoch)).points]
    middle = 1.0 if log else low / 2 + high / 2
    assert all(low <= share <= high for share in shares)
    assert min(shares) < middle < max(shares)


@pytest.mark.parametrize("name", [*STRATEGIES, "asha", "hyperband"])
def test_ranges_beyond_floats_are_refused_for_every_strategy(name: str) -> None:
    """Those that code declares are seen here first; the YAML's when it is read."""
    space = {"share": {"type": "float", "min": -1e308, "max": 1e308}}
    experiment = make_experiment(search_space=space, strategy={"name": name})
    with pytest.raises(SpecError, match=r"search_space\.share: max - min .* Keep both between -8e307 and 8e307"):
        strategy_of(experiment)
