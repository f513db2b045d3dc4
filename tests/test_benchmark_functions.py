"""The functions that the strategies are measured on: their optima are where they are said to be."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are no part of the package

from benchmarks.functions import FIDELITIES, PROBLEMS, Problem
from benchmarks.strategies import best_so_far, then_in_full, winners

OPTIMA: dict[str, list[dict[str, Any]]] = {
    "Branin": [{"x": math.pi, "y": 2.275}, {"x": -math.pi, "y": 12.275}, {"x": 9.42478, "y": 2.475}],
    "Hartmann6": [dict(zip("abcdef", (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573), strict=True))],
    "Levy4": [dict.fromkeys("abcd", 1.0)],
    "Ackley5": [dict.fromkeys("abcde", 7.3)],
    "conditional": [{"kind": "c", "c": 1e-3, "depth": 4}],
    "mixed": [{"rate": 3e-3, "units": 208, "depth": 3, "kind": "relu", "drop": 0.2}],
}


@pytest.mark.parametrize("name", OPTIMA)
def test_regret_is_0_at_the_optimum(name: str) -> None:
    for values in OPTIMA[name]:
        assert PROBLEMS[name].regret(values) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", FIDELITIES)
def test_the_last_epoch_is_the_truth(name: str) -> None:
    problem = FIDELITIES[name]
    values = dict.fromkeys(problem.space, 0.4)
    assert problem.seen(values, 100) == problem.regret(values)
    assert problem.seen(values, 1) > problem.seen(values, 10) > problem.seen(values, 100)


def test_what_looked_best_by_then_is_told_by_its_true_regret() -> None:
    noisy = Problem({}, lambda values: float(values["x"] or 0), noise=0.0)
    assert best_so_far(noisy, [{"x": 3.0}, {"x": 1.0}, {"x": 2.0}]) == [3.0, 1.0, 1.0]


def test_every_epoch_that_is_spent_counts_once() -> None:
    problem = FIDELITIES["mfh3_good"]
    point, other = dict.fromkeys("abc", 0.4), dict.fromkeys("abc", 0.6)
    assert len(winners(problem, [(1, point), (3, point), (1, other), (9, point)])) == 10
    assert len(then_in_full(10, problem, 0)) == 3000 - 3000 % 10 % 3
