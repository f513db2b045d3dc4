"""Intervals against scipy's distributions, and against what they promise."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # scikit-learn brings it

from hptune.reports.confidence import difference_interval, mean_interval, t_quantile

SCORES = st.lists(st.floats(-100, 100), min_size=2, max_size=12).filter(lambda s: statistics.variance(s) > 1e-6)


@pytest.mark.parametrize("df", [1, 1.5, 2, 3.7, 4, 10, 29, 200, 10_000])
def test_the_quantile_is_student_s(df: float) -> None:
    assert t_quantile(df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-8)


@given(SCORES)
def test_the_interval_of_a_mean(scores: list[float]) -> None:
    expected = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert mean_interval(scores) == pytest.approx(tuple(expected), rel=1e-6, abs=1e-6)


@given(SCORES, SCORES)
def test_the_interval_of_a_difference_is_welch_s(a: list[float], b: list[float]) -> None:
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert difference_interval(a, b) == pytest.approx(tuple(expected), rel=1e-6, abs=1e-6)


def test_scores_that_never_differ_leave_no_doubt() -> None:
    assert mean_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert difference_interval([0.75, 0.75], [0.5, 0.5]) == (0.25, 0.25)


def test_nineteen_intervals_of_twenty_hold_the_mean() -> None:
    rng = random.Random(0)
    draws = [mean_interval([rng.gauss(7, 2) for _ in range(5)]) for _ in range(2000)]
    assert 0.94 < sum(low <= 7 <= high for low, high in draws) / len(draws) < 0.96
