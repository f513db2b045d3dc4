"""Every statistic that is told of trials, beside what numpy and scipy make of the same scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats  # scikit-learn brings it

from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.objective import Objective
from hptune.reports.confidence import difference_interval, mean_interval
from hptune.reports.console import finalist_lines
from hptune.reports.leaderboard import best_rows, row
from hptune.run.events import finished, started
from hptune.run.history import History
from hptune.search.pruning import FIRST, unpromising

pytestmark = pytest.mark.filterwarnings("ignore:Precision loss")  # scipy's, of scores that are all the same

SCORES = st.lists(st.integers(-1000, 1000).map(lambda n: n / 8), min_size=2, max_size=9)
SCALES = st.sampled_from([1e-300, 1e-170, 1e-30, 1.0, 1e30, 1e170, 1e290])


def told(goal: str = "maximize") -> History:
    return History([Objective(metric="score", goal=goal)])  # type: ignore[arg-type]


def train(history: History, number: int, scores: Sequence[float], *, begun: int = 0, finalist: bool = False) -> None:
    """Trainings of one epoch that score so; `begun` more are under way."""
    first = 100 if finalist else 0
    segment = Segment(number, {"x": number}, 0, 1, first, "finalist" if finalist else "trial")
    history.apply(started(segment, range(first, first + len(scores) + begun)))
    for replica, score in enumerate(scores, start=first):
        result = SegmentResult(segment._replace(replica=replica), 1, {"score": (score,)}, 1.0)
        history.apply(finished(result, complete=True))


@given(SCORES, SCALES)
def test_the_mean_and_the_spread_of_repeats(scores: list[float], scale: float) -> None:
    scores = [score * scale for score in scores]
    history = told()
    train(history, 0, scores)
    found = row(history.trials[0], history)
    unit = max(map(abs, scores)) or 1.0
    assert found["score"] / unit == pytest.approx(np.mean(np.array(scores) / unit), rel=1e-9, abs=1e-12)
    assert found["spread"] / unit == pytest.approx(stats.tstd(np.array(scores) / unit), rel=1e-9, abs=1e-12)


@given(SCORES, SCALES)
def test_the_interval_of_a_finalist_in_any_unit(scores: list[float], scale: float) -> None:
    assume(len(set(scores)) > 1)
    history = told()
    train(history, 0, [0.0])
    train(history, 0, [score * scale for score in scores], finalist=True)
    final = best_rows(history)[0]["finalist"]
    expected = stats.t.interval(0.95, len(scores) - 1, loc=np.mean(scores), scale=stats.sem(scores))
    assert final["mean"] / scale == pytest.approx(np.mean(scores), abs=1e-9)
    assert np.array(final["interval"]) / scale == pytest.approx(np.array(expected), rel=1e-6, abs=1e-6)


@given(SCORES, SCORES, SCALES)
def test_more_than_the_noise_is_what_welch_s_test_finds(a: list[float], b: list[float], scale: float) -> None:
    assume(len(set(a)) > 1 or len(set(b)) > 1)
    test = stats.ttest_ind(a, b, equal_var=False)
    low, high = np.array(difference_interval([n * scale for n in a], [n * scale for n in b])) / scale
    assert (low, high) == pytest.approx(tuple(test.confidence_interval(0.95)), rel=1e-6, abs=1e-6)
    assume(abs(test.pvalue - 0.05) > 1e-6)
    history = told()
    for number, scores in enumerate([a, b]):
        train(history, number, [float(number)])
        train(history, number, [score * scale for score in scores], finalist=True)
    (line,) = finalist_lines(best_rows(history))
    assert ("more than the noise" in line) == (test.pvalue < 0.05)


@given(st.lists(SCORES.map(lambda s: s[:2]), min_size=FIRST, max_size=9), SCORES.map(lambda s: s[:2]))
def test_the_median_that_folds_are_judged_by_is_numpy_s(whole: list[list[float]], own: list[float]) -> None:
    history = told("minimize")
    for number, scores in enumerate(whole):
        train(history, number, scores)
    train(history, len(whole), own, begun=1)
    median = np.median([np.mean(scores) for scores in whole])
    assert unpromising(history, history.trials[-1], stop_after=2) == (np.mean(own) > median)


def test_no_unit_is_too_small_or_too_large_for_an_interval() -> None:
    plain = difference_interval([1.0, 2.0, 4.0], [1.5, 3.0])
    for scale in (1e-300, 1e300):
        a, b = [1.0 * scale, 2.0 * scale, 4.0 * scale], [1.5 * scale, 3.0 * scale]
        assert [end / scale for end in difference_interval(a, b)] == pytest.approx(plain)
        assert [end / scale for end in mean_interval(a)] == pytest.approx(mean_interval([1.0, 2.0, 4.0]))
