"""Parts and folds beside scikit-learn's splitters: their sizes, their classes, and that nothing leaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    TimeSeriesSplit,
)

from hptune.base.errors import SpecError
from hptune.training.data import load_data, load_folds
from hptune.training.data.split.folds import lacking

from . import asked, plain
from .differences import close, same
from .draw import Array, cases, folder, moderate

SHARES = st.sampled_from([0.1, 0.2, 0.25, 1 / 3])


def counts(y: Array, rows: Sequence[Array]) -> list[list[int]]:
    """[parts, classes]: how many rows of each class."""
    return [np.bincount(y[part], minlength=int(y.max()) + 1).tolist() for part in rows]


def table(where: Any, **columns: Any) -> dict[str, Any]:
    return asked.written(where, "csv", asked.with_rows(pd.DataFrame(columns)))


@st.composite
def classes(draw: Any, least: int = 12) -> Array:
    """Codes of two to five classes of different sizes."""
    sizes = draw(st.lists(st.integers(least, 40), min_size=2, max_size=5))
    return np.random.default_rng(draw(st.integers(0, 2**32))).permutation(np.repeat(np.arange(len(sizes)), sizes))


# --- the one split ---------------------------------------------------------------------------------------------------


@cases(25)
@given(y=classes(), validation=SHARES, test=SHARES, seed=st.integers(0, 2**31))
def test_parts_are_stratified(y: Array, validation: float, test: float, seed: int) -> None:
    """Every class within a row of its share, as scikit-learn's own."""
    with folder() as where:
        options = {**table(where, y=y), "target": "y", "features": ["row"], "task": "classes"}
        found = asked.loaded(where, {**options, "validation": validation, "test": test}, rows=len(y), seed=seed)
    sizes = [len(found.rows[name]) for name in ("validation", "test")]
    same("parts", "numpy", sizes, [round(len(y) * validation), round(len(y) * test)])
    same("parts", "numpy", sorted(found.order.tolist()), list(range(len(y))))
    splitter = StratifiedShuffleSplit(1, test_size=sizes[1], random_state=0)
    _, theirs = next(splitter.split(np.zeros(len(y)), y))
    ours, wanted = (np.array(counts(y, [rows])[0]) for rows in (found.rows["test"], theirs))
    assert np.abs(ours - wanted).max() <= 1
    exact = np.bincount(y) * sizes[1] / len(y)
    worst = float(np.abs(wanted - exact).max())
    same("parts", "StratifiedShuffleSplit", bool(np.abs(ours - exact).max() <= max(worst, 1)), True)


@cases(10)
@given(rows=st.integers(20, 80), validation=SHARES, test=SHARES | st.just(0.0), seed=st.integers(0, 2**31))
def test_the_parts_of_a_regression(rows: int, validation: float, test: float, seed: int) -> None:
    with folder() as where:
        options = {**table(where, y=np.sin(np.arange(rows))), "target": "y", "features": ["row"]}
        found = asked.loaded(where, {**options, "validation": validation, "test": test}, rows=rows, seed=seed)
    sizes = [len(found.rows[name]) for name in ("validation", "test")]
    same("parts", "numpy", sizes, [max(1, round(rows * validation)), max(1, round(rows * test)) if test else 0])
    same("parts", "numpy", sorted(found.order.tolist()), list(range(rows)))


@cases(10)
@given(y=classes(20), seed=st.integers(0, 2**31), limit=st.integers(24, 40))
def test_a_limit_is_stratified(y: Array, seed: int, limit: int) -> None:
    """The ends of the row numbers may be left out, so that rows are told by a column that is not scaled."""
    with folder() as where:
        options = {**table(where, y=y), "target": "y", "features": ["row"], "task": "classes", "scale": "none"}
        data = load_data(asked.spec_of({**options, "limit": limit}), folder=where, seed=seed, with_test=True)
    assert data.test is not None
    chosen = np.concatenate([part.x[:, 0] for part in (data.train, data.validation, data.test)]).astype(int)
    same("parts", "numpy", len(set(chosen.tolist())), limit)
    exact = np.bincount(y) * limit / len(y)
    got = np.bincount(y[chosen], minlength=len(exact))
    same("parts", "numpy", bool((np.abs(got - np.maximum(exact, 3)) <= 1.0 + (exact < 3).sum() * 3).all()), True)


# --- folds -----------------------------------------------------------------------------------------------------------


def check_folds(found: Sequence[asked.Given], rows: int) -> None:
    """Each row but the test part's validates once, and trains in all other folds."""
    test = found[0].rows["test"]
    rest = sorted(set(range(rows)) - set(test.tolist()))
    same("folds", "numpy", sorted(np.concatenate([one.rows["validation"] for one in found]).tolist()), rest)
    for one in found:
        same("folds", "numpy", sorted([*one.rows["train"], *one.rows["validation"]]), rest)
        same("folds", "numpy", one.rows["test"], test)


@cases(25)
@given(y=classes(), folds=st.integers(2, 6), seed=st.integers(0, 2**31), test=st.sampled_from([0.0, 0.2]))
def test_folds_are_stratified(y: Array, folds: int, seed: int, test: float) -> None:
    with folder() as where:
        options = {**table(where, y=y), "target": "y", "features": ["row"], "task": "classes", "test": test}
        found = asked.folds(where, options, rows=len(y), count=folds, seed=seed)
    check_folds(found, len(y))
    rest = np.sort(np.concatenate([found[0].rows["train"], found[0].rows["validation"]]))
    rest = rest[np.argsort(y[rest], kind="stable")]  # scikit-learn numbers classes as they come
    theirs = [rest[held] for _, held in StratifiedKFold(folds).split(rest, y[rest])]
    ours = [one.rows["validation"] for one in found]
    same("folds", "scikit-learn StratifiedKFold", sorted(counts(y, ours)), sorted(counts(y, theirs)))


@cases(15)
@given(rows=st.integers(20, 70), folds=st.integers(2, 7), seed=st.integers(0, 2**31))
def test_the_folds_of_a_regression(rows: int, folds: int, seed: int) -> None:
    with folder() as where:
        options = {**table(where, y=np.sin(np.arange(rows))), "target": "y", "features": ["row"]}
        found = asked.folds(where, options, rows=rows, count=folds, seed=seed)
    check_folds(found, rows)
    rest = rows - len(found[0].rows["test"])
    theirs = [len(held) for _, held in KFold(folds).split(np.zeros(rest))]
    same("folds", "scikit-learn KFold", sorted(len(one.rows["validation"]) for one in found), sorted(theirs))


def uneven(y: Array, rows: Sequence[Array]) -> float:
    """The sum of squares of what a fold has of each class beyond an even share, in shares of the class."""
    held = np.array(counts(y, rows)) / np.maximum(np.bincount(y), 1)
    return float(((held - held.mean(axis=0)) ** 2).sum())


@cases(20)
@given(y=classes(), folds=st.integers(2, 4), groups=st.integers(12, 25), seed=st.integers(0, 2**31))
def test_groups_stay_whole(y: Array, folds: int, groups: int, seed: int) -> None:
    """And classes are shared out as evenly as scikit-learn does it, but for what the order of equals makes."""
    group = np.random.default_rng(seed).integers(0, groups, len(y))
    assume(len(set(group.tolist())) > 3 * folds)
    with folder() as where:
        named = table(where, y=y, g=[f"g{i}" for i in group])
        options = {**named, "target": "y", "features": ["row"], "group": "g", "task": "classes"}
        try:
            found = asked.folds(where, options, rows=len(y), count=folds, seed=seed)
        except Exception as error:  # a class that has no group in the training part
            assume("training part" not in str(error))
            raise
    check_folds(found, len(y))
    for one in found:
        parts = [set(group[rows].tolist()) for rows in one.rows.values()]
        same("folds", "numpy", [len(a & b) for i, a in enumerate(parts) for b in parts[:i]], [0, 0, 0])
    rest = np.sort(np.concatenate([found[0].rows["train"], found[0].rows["validation"]]))
    theirs = [rest[held] for _, held in StratifiedGroupKFold(folds).split(rest, y[rest], group[rest])]
    plainly = [rest[held] for _, held in GroupKFold(folds).split(rest, y[rest], group[rest])]
    most = max(uneven(y, theirs), uneven(y, plainly))
    got = uneven(y, [one.rows["validation"] for one in found])
    same("folds", "scikit-learn StratifiedGroupKFold", got <= 2 * most + 0.05, True)


@cases(20)
@given(stretch=st.integers(3, 12), folds=st.integers(2, 5), over=st.integers(0, 5), seed=st.integers(0, 2**31))
def test_time_goes_forward_as_in_a_time_series_split(stretch: int, folds: int, over: int, seed: int) -> None:
    rows = stretch * (folds + 1) + over % (folds + 1)
    times = np.random.default_rng(seed).permutation(rows) * 0.37 - 5
    with folder() as where:
        named = table(where, y=np.sin(np.arange(rows)), t=times)
        options = {**named, "target": "y", "features": ["row"], "time": "t", "test": 0.0}
        found = folds_of_time(where, options, rows, folds)
    order = np.argsort(times)
    for (train, held), theirs in zip(TimeSeriesSplit(folds).split(np.zeros(rows)), found, strict=True):
        same("folds", "scikit-learn TimeSeriesSplit", theirs[0], order[train])
        same("folds", "scikit-learn TimeSeriesSplit", theirs[1], order[held])


def folds_of_time(where: Any, options: dict[str, Any], rows: int, folds: int) -> list[tuple[Array, Array]]:
    """(training rows, validation rows) in their order; rows are told by a column that is not scaled."""
    spec = asked.spec_of({**options, "scale": "none"})
    found = load_folds(spec, folder=where, seed=0, folds=folds)
    return [tuple(part.x[:, 0].astype(int) for part in (one.train, one.validation)) for one in found]


@cases(10)
@given(column=moderate(60), folds=st.integers(2, 5), seed=st.integers(0, 2**31))
def test_each_fold_is_prepared_by_its_own_training_part(column: Array, folds: int, seed: int) -> None:
    """Nothing of what it validates on, nor of the test part, is in its statistics."""
    y = column * 2 + np.arange(60) * np.abs(column).max()
    assume(len(set(column.tolist())) > 1)
    with folder() as where:
        options = {**table(where, c=column, y=y), "target": "y", "task": "regression"}
        found = asked.folds(where, options, rows=60, count=folds, seed=seed)
    for one in found:
        wanted = plain.standardised(column, one.train)[one.order]
        size = np.maximum(np.abs(wanted), 1)
        close("folds", "numpy, long double", one.x[:, 1], wanted, unit=size, within=4e-6)
        mean, deviation = plain.moments(y[one.train])
        close("folds", "numpy, long double", one.data.target_scale[0], mean, unit=deviation, within=2e-7)
        close("folds", "numpy, long double", one.data.target_scale[1], deviation, unit=deviation, within=2e-7)


@pytest.mark.parametrize("folds", [3, 5])
def test_a_fold_that_lacks_a_class_in_training_is_refused_or_told(tmp_path: Any, folds: int) -> None:
    """In time, a class may come later than a fold's training part."""
    y = np.where(np.arange(60) < 40, np.arange(60) % 2, 2)
    options = {**table(tmp_path, y=y, t=np.arange(60)), "target": "y", "features": ["row"], "time": "t", "test": 0.0}
    spec = asked.spec_of({**options, "task": "classes"})
    try:
        found = load_folds(spec, folder=tmp_path, seed=0, folds=folds)
    except SpecError:
        return
    assert lacking(found)
