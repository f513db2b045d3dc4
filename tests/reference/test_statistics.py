"""What a search tells of its scores, beside numpy, pandas and scipy: means, spreads, intervals, medians, fronts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.objective import Objective
from hptune.reports.confidence import difference_interval, mean_interval, t_quantile
from hptune.reports.leaderboard import best_rows, row, rows
from hptune.reports.lr_range import SMOOTHING, smoothed
from hptune.reports.profile import profile_rows
from hptune.run import events
from hptune.run.history import History
from hptune.run.ranking import pareto_front
from hptune.search.pruning import FIRST, unpromising

from .differences import apart, close, same
from .draw import FAR, Array, cases, floats

AREA = "statistics"

LOSS = Objective(metric="val_loss", goal="minimize")
ACCURACY = Objective(metric="val_accuracy", goal="maximize")


def some(most: int = 12, least: int = 2) -> st.SearchStrategy[Array]:
    """A few scores: of any size, far from 0, some alike."""
    return st.integers(least, most).flatmap(lambda n: floats(n, range(-100, 100), FAR[:4], False)).filter(_vary)


def _vary(scores: Array) -> bool:
    return len(set(scores.tolist())) > 1


# --- intervals -------------------------------------------------------------------------------------------------------


@cases(20)
@given(df=st.floats(1, 200) | st.floats(1, 1e5))
def test_quantiles_are_student_s(df: float) -> None:
    wanted = float(stats.t.ppf(0.975, df))
    close(AREA, "scipy t.ppf", t_quantile(df), wanted, unit=wanted, within=1e-8)


@cases(30)
@given(scores=some())
def test_the_interval_of_a_mean(scores: Array) -> None:
    wanted = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    unit = scores.std(ddof=1) + np.abs(scores).max() * 1e-6
    close(AREA, "scipy ttest_1samp", mean_interval(scores.tolist()), tuple(wanted), unit=unit, within=1e-7)


@cases(30)
@given(pair=st.integers(-60, 60).flatmap(lambda size: st.tuples(of_size(size), of_size(size))))
def test_the_interval_of_a_difference(pair: tuple[Array, Array]) -> None:
    a, b = pair
    wanted = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    unit = a.std(ddof=1) + b.std(ddof=1) + np.abs([*a, *b]).max() * 1e-6
    close(AREA, "scipy ttest_ind", difference_interval(a.tolist(), b.tolist()), tuple(wanted), unit=unit, within=1e-7)


def of_size(size: int) -> st.SearchStrategy[Array]:
    made = st.integers(2, 9).flatmap(lambda n: floats(n, range(size, size + 1), FAR[:4], False))
    return made.filter(_vary)


@cases(15)
@given(rows=st.integers(3, 10), seed=st.integers(0, 2**32))
def test_a_paired_comparison_is_the_interval_of_its_differences(rows: int, seed: int) -> None:
    """Two trials on the same folds."""
    a, b = np.random.default_rng(seed).normal(size=(2, rows))
    wanted = stats.ttest_rel(a, b).confidence_interval(0.95)
    close(AREA, "scipy ttest_rel", mean_interval((a - b).tolist()), tuple(wanted), within=1e-7)


@pytest.mark.parametrize("size", [1e-200, 1e-120, 1e-90, 1e90, 1e120])
def test_the_interval_of_a_difference_of_any_size(size: float) -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=5), random.normal(size=7) * 3
    wanted = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    got = np.array(difference_interval((a * size).tolist(), (b * size).tolist())) / size
    close(AREA, "scipy ttest_ind", got, tuple(wanted), within=1e-7)


@pytest.mark.parametrize("size", [1e-150, 1e-90, 1e90, 1e150])
def test_the_interval_of_a_mean_of_any_size(size: float) -> None:
    scores = np.random.default_rng(0).normal(size=5)
    wanted = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    close(
        AREA, "scipy ttest_1samp", np.array(mean_interval((scores * size).tolist())) / size, tuple(wanted), within=1e-7
    )


# --- the rows of a search --------------------------------------------------------------------------------------------


def searched(
    curves: Sequence[Sequence[Sequence[float]]], objective: Objective, finals: Sequence[Sequence[float]] = ()
) -> History:
    """A search of which [trial][replica][epoch] are told; finals: the scores of the first trials as finalists."""
    history = History([objective])
    for number, replicas in enumerate(curves):
        epochs = len(replicas[0])
        segment = Segment(number, {"x": number}, 0, epochs)
        history.apply(events.started(segment, range(len(replicas))))
        for replica, curve in enumerate(replicas):
            one = segment._replace(replica=replica)
            result = SegmentResult(one, epochs, {objective.metric: tuple(curve)}, 1.5)
            history.apply(events.finished(result, complete=True))
    for number, scores in enumerate(finals):
        segment = Segment(number, {"x": number}, 0, 1, purpose="finalist")
        for replica, score in enumerate(scores):
            one = segment._replace(replica=100 + replica)
            history.apply(events.started(one))
            history.apply(events.finished(SegmentResult(one, 1, {objective.metric: (score,)}, 1.0), complete=True))
    return history


TABLE = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 6)).flatmap(
    lambda shape: floats(math.prod(shape), range(-100, 100), FAR[:4], False).map(lambda made: made.reshape(shape))
)
"""[trials, replicas, epochs]."""


@cases(25)
@given(told=TABLE, objective=st.sampled_from([LOSS, ACCURACY]))
def test_scores_means_and_spreads(told: Array, objective: Objective) -> None:
    found = rows(searched(told.tolist(), objective))
    best = told.min(axis=2) if objective is LOSS else told.max(axis=2)
    size = np.abs(told).max()
    close(AREA, "numpy mean", [one["score"] for one in found], best.mean(axis=1), unit=size, within=1e-15)
    if told.shape[1] > 1:
        same(AREA, "numpy", [one["scores"] for one in found], best)
        spread = np.std(best / size, axis=1, ddof=1)
        close(AREA, "numpy std", np.array([one["spread"] for one in found]) / size, spread, within=1e-14)
    order = np.argsort(best.mean(axis=1) * (1 if objective is LOSS else -1), kind="stable")
    means = best.mean(axis=1)
    top = [one["trial"] for one in best_rows(searched(told.tolist(), objective))]
    close(AREA, "numpy argsort", means[top], means[order], unit=size, within=1e-15)


@cases(25)
@given(finals=st.lists(some(8), min_size=1, max_size=4))
def test_finalists_are_ranked_by_their_means(finals: list[Array]) -> None:
    history = searched([[[0.0]]] * (len(finals) + 1), LOSS, [one.tolist() for one in finals])
    for number, scores in enumerate(finals):
        told = row(history.trials[number], history)["finalist"]
        size = np.abs(scores).max()
        close(AREA, "numpy mean", told["mean"], scores.mean(), unit=size, within=1e-15)
        wanted = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
        unit = scores.std(ddof=1) + size * 1e-6
        close(AREA, "scipy ttest_1samp", told["interval"], tuple(wanted), unit=unit, within=1e-7)
    means = np.array([one.mean() for one in finals])
    ranked = [one["trial"] for one in best_rows(history)]
    same(AREA, "numpy argsort", ranked[-1], len(finals))
    assert apart(means[ranked[:-1]], np.sort(means), unit=np.abs(means).max()) < 1e-15


@cases(20)
@given(told=TABLE.filter(lambda made: made.shape[1] > 1), own=st.integers(1, 5))
def test_a_trial_is_judged_by_the_median_of_the_others(told: Array, own: int) -> None:
    """Over the folds that it has finished."""
    whole = np.concatenate([told] * FIRST)[: FIRST + len(told)]
    done = min(own, told.shape[1] - 1)
    trial = told[0, :done].mean(axis=0) + np.abs(told).max() * np.linspace(-0.5, 0.5, told.shape[2])
    history = searched(whole.tolist(), LOSS)
    segment = Segment(len(whole), {"x": -1}, 0, told.shape[2])
    history.apply(events.started(segment, range(told.shape[1])))
    for replica in range(done):
        result = SegmentResult(
            segment._replace(replica=replica), told.shape[2], {"val_loss": tuple(trial.tolist())}, 1.0
        )
        history.apply(events.finished(result, complete=True))
    median = np.median(whole[:, :done].min(axis=2).mean(axis=1))
    mean = np.mean([trial.min()] * done)
    if abs(mean - median) > 1e-12 * np.abs(told).max():
        got = unpromising(history, history.trials[-1], stop_after=1)
        same(AREA, "numpy median", got, bool(mean > median))


@cases(15)
@given(losses=floats(40, range(-100, 100), FAR[:4], False))
def test_losses_are_smoothed_as_pandas_does(losses: Array) -> None:
    wanted = pd.Series(losses).ewm(alpha=1 - SMOOTHING, adjust=True).mean()
    close(AREA, "pandas ewm", smoothed(losses.tolist()), wanted, unit=np.abs(losses).max(), within=1e-13)


@cases(25)
@given(told=st.integers(1, 25).flatmap(lambda n: st.lists(st.integers(0, 5), min_size=2 * n, max_size=2 * n)))
def test_the_front_is_what_nothing_beats(told: list[int]) -> None:
    points = np.reshape(told, (-1, 2)) / 4
    goals = [Objective(metric="score", goal="maximize"), Objective(metric="val_loss", goal="minimize")]
    history = History(goals)
    for number, (score, loss) in enumerate(points.tolist()):
        segment = Segment(number, {"x": number}, 0, 1)
        history.apply(events.started(segment))
        curves = {"score": (score,), "val_loss": (loss,)}
        history.apply(events.finished(SegmentResult(segment, 1, curves, 1.0), complete=True))
    costs: Any = points * [-1, 1]
    beaten = ((costs[None] <= costs[:, None]).all(2) & (costs[None] < costs[:, None]).any(2)).any(1)
    same(AREA, "numpy", sorted(trial.number for trial in pareto_front(history)), np.flatnonzero(~beaten))


@cases(20)
@given(told=TABLE, seed=st.integers(0, 2**32))
def test_objectives_are_of_one_epoch(told: Array, seed: int) -> None:
    """The one that is best by the first; then the mean over replicas."""
    losses = np.random.default_rng(seed).permuted(told, axis=2)
    goals = [ACCURACY, LOSS]
    history = History(goals)
    for number, replicas in enumerate(told.tolist()):
        segment = Segment(number, {"x": number}, 0, told.shape[2])
        history.apply(events.started(segment, range(len(replicas))))
        for replica, curve in enumerate(replicas):
            curves = {"val_accuracy": tuple(curve), "val_loss": tuple(losses[number, replica].tolist())}
            one = SegmentResult(segment._replace(replica=replica), told.shape[2], curves, 1.0)
            history.apply(events.finished(one, complete=True))
    at = told.argmax(axis=2)[..., None]
    wanted = {
        "val_accuracy": np.take_along_axis(told, at, 2)[..., 0].mean(1),
        "val_loss": np.take_along_axis(losses, at, 2)[..., 0].mean(1),
    }
    found = rows(history)
    for metric, means in wanted.items():
        got = [one["objectives"][metric] for one in found]
        close(AREA, "numpy argmax", got, means, unit=np.abs(told).max(), within=1e-15)


@cases(10)
@given(seconds=st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=5), trials=st.integers(1, 1000))
def test_shares_of_the_time(seconds: list[float], trials: int) -> None:
    spent = dict(zip(("data", "build", "trace", "train", "validate"), seconds, strict=False))
    found = profile_rows(spent, trials)  # type: ignore[arg-type]
    told = pd.Series(spent)
    close(AREA, "pandas", [one["share"] for one in found], told / told.sum(), within=1e-15)
    close(AREA, "pandas", [one["a_trial"] for one in found], told / trials * 1000, unit=told.max(), within=1e-9)
