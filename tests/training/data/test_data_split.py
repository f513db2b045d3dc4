"""The split: every row once, the sizes asked for, every class where it fits, and the same parts for ever."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hptune.experiment.data import part_sizes
from hptune.training.data.split.split import apportion, forward, grouped, split, subset

Problem: TypeAlias = tuple[np.ndarray[Any, Any], float, float, int]

shares = st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.3, 0.45])


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Class counts, shares and a seed for which a split is possible."""
    validation, test = draw(shares), draw(st.sampled_from([0.0, 0.1, 0.2, 0.45]))
    counts = draw(st.lists(st.integers(3, 40), min_size=1, max_size=8))
    train, _, _ = part_sizes(sum(counts), validation=validation, test=test)
    if train < len(counts):
        counts = [count * 10 for count in counts]
    codes = np.repeat(np.arange(len(counts)), counts)
    order = np.random.RandomState(draw(st.integers(0, 99))).permutation(len(codes))
    return codes[order], validation, test, draw(st.integers(0, 2**31 - 1))


@given(problems())
def test_every_row_is_in_one_part_and_the_sizes_are_within_one(problem: Problem) -> None:
    codes, validation, test, seed = problem
    parts = split(codes, validation=validation, test=test, seed=seed)
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(rows) == list(range(len(codes)))
    assert abs(len(parts.validation) - validation * len(codes)) <= 1
    assert abs(len(parts.test) - test * len(codes)) <= 1


@given(problems())
def test_every_class_is_in_every_part_that_can_hold_it_in_its_share(problem: Problem) -> None:
    codes, validation, test, seed = problem
    parts = split(codes, validation=validation, test=test, seed=seed)
    classes = codes.max() + 1
    counts = np.bincount(codes)
    for rows in (parts.train, parts.validation, parts.test):
        found = np.bincount(codes[rows], minlength=classes)
        if rows is parts.train or len(rows) >= classes:
            assert (found > 0).all()
        if counts.min() * len(rows) / len(codes) > classes + 2:  # large enough that no class had to give way
            assert np.abs(found - counts * len(rows) / len(codes)).max() < 2


@given(problems())
def test_the_split_is_a_function_of_the_seed(problem: Problem) -> None:
    codes, validation, test, seed = problem
    once, again = (split(codes, validation=validation, test=test, seed=seed) for _ in range(2))
    assert all(np.array_equal(getattr(once, p), getattr(again, p)) for p in ("train", "validation", "test"))


def test_a_class_of_three_rows_has_one_in_each_part() -> None:
    codes = np.repeat([0, 1, 2], [3, 23, 23])  # the largest remainder would give the test part two of the three
    parts = split(codes, validation=0.3, test=0.45, seed=0)
    assert [(codes[rows] == 0).sum() for rows in (parts.train, parts.validation, parts.test)] == [1, 1, 1]


def test_the_split_is_the_same_in_every_version() -> None:
    parts = split(np.arange(20) % 2, validation=0.2, test=0.2, seed=7)
    assert parts.test.tolist() == [0, 1, 2, 17]
    assert parts.validation.tolist() == [5, 18, 6, 11]


def test_another_seed_gives_other_parts_and_no_part_is_in_the_order_of_the_file() -> None:
    codes = np.repeat([0, 1], 100)
    first, second = (split(codes, validation=0.2, test=0.2, seed=seed) for seed in (0, 1))
    assert set(first.test) != set(second.test)
    for rows in (first.train, first.validation, first.test):
        assert rows.tolist() != sorted(rows)
        assert np.abs(np.diff(codes[rows])).sum() > 2  # the classes are mixed


def test_the_test_part_does_not_depend_on_the_validation_share() -> None:
    codes = np.repeat([0, 1, 2], [50, 30, 20])
    small, large = (split(codes, validation=share, test=0.2, seed=3) for share in (0.1, 0.4))
    assert small.test.tolist() == large.test.tolist()


@given(st.lists(st.integers(3, 60), min_size=1, max_size=8), st.data())
def test_a_subset_is_stratified_and_has_no_row_twice(counts: list[int], data: st.DataObject) -> None:
    codes = np.repeat(np.arange(len(counts)), counts)
    size = data.draw(st.integers(1, len(codes)))
    rows = subset(codes, size=size, least=3, seed=0)
    assert len(rows) == len(set(rows.tolist())) == size
    if size >= 3 * len(counts):
        assert np.bincount(codes[rows], minlength=len(counts)).min() >= 3


@pytest.mark.parametrize("size", [0, 1, 7, 99, 100])
def test_apportion_keeps_within_its_bounds(size: int) -> None:
    counts = np.array([70, 25, 5])
    assert apportion(counts, size, least=0, most=counts).sum() == size
    assert (apportion(counts, size, least=0, most=counts) <= counts).all()


# --- by group, and forward in time -----------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 12), min_size=3, max_size=25), shares, st.sampled_from([0.0, 0.1, 0.3]), st.data())
def test_no_group_has_rows_in_two_parts_and_no_part_is_empty(
    sizes: list[int], validation: float, test: float, data: st.DataObject
) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    codes = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(groups), max_size=len(groups))))
    seed = data.draw(st.integers(0, 2**31 - 1))
    parts = grouped(groups, codes, validation=validation, test=test, seed=seed)
    rows = [parts.train, parts.validation, *([parts.test] if test else [])]
    assert sorted(np.concatenate(rows)) == list(range(len(groups)))
    assert all(len(part) for part in rows)
    held = [set(groups[part]) for part in rows]
    assert sum(map(len, held)) == len(sizes)


def test_groups_are_dealt_in_the_shares_asked_for_and_with_their_share_of_each_class() -> None:
    random = np.random.RandomState(0)
    groups = random.randint(0, 60, 3000)
    codes = (groups % 4 == 0).astype(int)  # whole groups of one class, a quarter of all
    parts = grouped(groups, codes, validation=0.2, test=0.1, seed=3)
    for part, share in ((parts.train, 0.7), (parts.validation, 0.2), (parts.test, 0.1)):
        assert abs(len(part) / 3000 - share) < 0.03
        assert abs(codes[part].mean() - 0.25) < 0.1
    assert grouped(groups, codes, validation=0.3, test=0.1, seed=3).test.tolist() == parts.test.tolist()
    assert set(grouped(groups, codes, validation=0.2, test=0.1, seed=4).test) != set(parts.test)


@given(
    st.lists(st.integers(0, 20), min_size=10, max_size=60).filter(lambda t: len(set(t)) >= 3),
    shares,
    st.sampled_from([0.0, 0.1, 0.45]),
)
def test_every_part_lies_before_the_next_in_time(times: list[int], validation: float, test: float) -> None:
    moments = np.array(times, float)
    parts = forward(moments, validation=validation, test=test)
    rows = [parts.train, parts.validation, *([parts.test] if test else [])]
    assert sorted(np.concatenate(rows)) == list(range(len(times)))
    assert all(len(part) for part in rows)
    for before, after in pairwise(rows):
        assert moments[before].max() < moments[after].min()
    assert all((np.diff(moments[part]) >= 0).all() for part in rows)


def test_a_forward_split_has_the_sizes_asked_for() -> None:
    parts = forward(np.random.RandomState(0).permutation(100).astype(float), validation=0.2, test=0.1)
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [70, 20, 10]
