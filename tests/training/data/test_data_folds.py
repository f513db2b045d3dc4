"""Folds: every row that is not the test part's validates once, stratified, by whole groups or forward in time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hptune.base.errors import SpecError
from hptune.experiment.data import CsvData, SourceData
from hptune.experiment.reading.load import from_json
from hptune.training.data import facts, load_data, load_folds, load_joined
from hptune.training.data.split.folds import fold_splits, lacking
from hptune.training.data.split.split import Split, split
from hptune.training.trainers.samples import Samples

Problem: TypeAlias = tuple[np.ndarray[Any, Any], Split, int]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """(codes, a split of them, the folds)."""
    counts = draw(st.lists(st.integers(8, 40), min_size=1, max_size=6))
    codes = np.random.RandomState(draw(st.integers(0, 99))).permutation(np.repeat(np.arange(len(counts)), counts))
    test = draw(st.sampled_from([0.0, 0.1, 0.3]))
    return codes, split(codes, validation=0.2, test=test, seed=1), draw(st.integers(2, 5))


def check_parts(whole: Split, splits: Sequence[Split]) -> None:
    """Nothing is in two parts, the test part is everywhere the same, and each other row validates once."""
    rest = np.sort(np.concatenate([whole.train, whole.validation]))
    assert np.array_equal(np.sort(np.concatenate([one.validation for one in splits])), rest)
    for one in splits:
        assert np.array_equal(one.test, whole.test)
        assert np.array_equal(np.sort(np.concatenate([one.train, one.validation])), rest)


@given(problems())
def test_stratified_folds_share_out_each_class(problem: Problem) -> None:
    codes, whole, folds = problem
    splits = fold_splits(whole, codes, folds, seed=3)
    check_parts(whole, splits)
    counts = np.array([np.bincount(codes[one.validation], minlength=codes.max() + 1) for one in splits])
    assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 1
    again = fold_splits(whole, codes, folds, seed=3)
    assert all(np.array_equal(a.train, b.train) for a, b in zip(splits, again, strict=True))


@given(problems(), st.integers(0, 9))
def test_no_group_is_in_two_folds_and_the_classes_are_shared_out(problem: Problem, seed: int) -> None:
    codes, whole, folds = problem
    groups = np.array([f"g{number}" for number in np.random.RandomState(seed).randint(0, 24, len(codes))])
    rest = np.concatenate([whole.train, whole.validation])
    if len(set(groups[rest])) < folds:
        with pytest.raises(SpecError, match=f"{folds} folds need at least {folds} groups"):
            fold_splits(whole, codes, folds, seed=seed, groups=groups)
        return
    splits = fold_splits(whole, codes, folds, seed=seed, groups=groups)
    check_parts(whole, splits)
    for one in splits:
        assert len(one.validation)
        assert not set(groups[one.train]) & set(groups[one.validation])


def test_groups_of_one_class_each_are_spread_over_the_folds() -> None:
    groups = np.repeat(np.arange(12), 10)
    codes = (groups >= 6).astype(np.int64)
    whole = split(codes, validation=0.2, test=0.0, seed=0)
    for one in fold_splits(whole, codes, 3, seed=0, groups=groups):
        assert np.bincount(codes[one.validation]).tolist() == [20, 20]


@given(st.integers(2, 5), st.integers(6, 60), st.integers(0, 99))
def test_folds_in_time_train_on_the_past_alone(folds: int, rows: int, seed: int) -> None:
    random = np.random.RandomState(seed)
    times = random.randint(0, 15, rows).astype(float)
    codes = np.zeros(rows, np.int64)
    whole = split(codes, validation=0.2, test=0.0, seed=0)
    if len(set(times)) < folds + 1:
        with pytest.raises(SpecError, match="points in time"):
            fold_splits(whole, codes, folds, seed=0, times=times)
        return
    splits = fold_splits(whole, codes, folds, seed=0, times=times)
    assert len(splits) == folds
    for before, one in zip([None, *splits], splits, strict=False):
        assert len(one.train)
        assert len(one.validation)
        assert times[one.train].max() < times[one.validation].min()
        if before is not None:
            assert len(one.train) == len(before.train) + len(before.validation)
    assert len(splits[-1].train) + len(splits[-1].validation) == rows


def test_too_few_rows_are_told_with_what_to_do() -> None:
    codes = np.zeros(3, np.int64)
    with pytest.raises(SpecError, match=r"evaluation.folds: 5 folds need at least 5 rows, got 3. Lower it"):
        fold_splits(split(codes, validation=0.3, test=0.0, seed=0), codes, 5, seed=0)


def test_folds_hold_the_test_part_that_a_search_without_them_has() -> None:
    spec = SourceData(source="wine")
    plain = load_data(spec, folder=Path(), seed=4, with_test=True)
    folds = load_folds(spec, folder=Path(), seed=4, folds=4, with_test=True)
    whole = load_joined(spec, folder=Path(), seed=4)
    assert [len(one.validation) for one in folds] == [36, 36, 35, 35]
    assert len(whole.train) == 142
    assert len(whole.validation) == 0
    assert plain.test is not None
    for one in (*folds, whole):
        assert one.test is not None
        assert np.array_equal(one.test.y, plain.test.y)
    assert load_folds(spec, folder=Path(), seed=4, folds=4)[0].test is None


def test_each_fold_is_prepared_by_its_own_training_part(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{n**2},{n % 2}\n" for n in range(40)))
    folds = load_folds(CsvData(csv="a.csv", target="y", task="classes"), folder=tmp_path, seed=0, folds=4)
    scales = [float(one.input_scale[0][0]) for one in folds if one.input_scale is not None]
    assert len(set(scales)) == 4
    for one in folds:
        assert abs(float(one.train.x.mean())) < 1e-5


def rare(folder: Path, *, in_time: bool) -> CsvData:
    """60 rows of classes a and b, and two of c: the last ones in time, so that no earlier fold has seen any."""
    lines = [f"{n},{n % 7},{'c' if n in (58, 59) else 'ab'[n % 2]}" for n in range(60)]
    (folder / "t.csv").write_text("when,x,y\n" + "\n".join(lines) + "\n")
    when = {"time": "when"} if in_time else {"features": ["x"]}
    return CsvData(csv="t.csv", target="y", test=0.0, validation=0.02, **when)


@pytest.mark.parametrize("in_time", [False, True])
def test_a_fold_without_a_class_is_told(tmp_path: Path, in_time: bool) -> None:
    spec = rare(tmp_path, in_time=in_time)
    folds = load_folds(spec, folder=tmp_path, seed=0, folds=4)
    labels = folds[0].labels
    assert labels is not None
    notes = lacking(folds)
    expected = []
    for number, fold in enumerate(folds, start=1):
        for part, y in (("training", fold.train.y), ("validation", fold.validation.y)):
            if labels.index("c") not in y:
                expected.append(f"fold {number} of 4 has no row of class 'c' in its {part} part")
    assert [note.split(":")[0] for note in notes[:6]] == expected[:6]
    assert len(expected) == (7 if in_time else 2)
    assert notes[6:] == (["so it is in 1 more parts of folds"] if in_time else [])


def test_nothing_is_told_where_each_fold_has_each_class_and_of_numbers(tmp_path: Path) -> None:
    assert lacking(load_folds(SourceData(source="iris"), folder=tmp_path, seed=0, folds=3)) == []
    assert lacking(load_folds(SourceData(source="diabetes"), folder=tmp_path, seed=0, folds=3)) == []


def test_a_search_begins_with_these_notes(tmp_path: Path) -> None:
    rare(tmp_path, in_time=True)
    given = {
        "version": 1,
        "name": "a",
        "data": {"csv": "t.csv", "target": "y", "time": "when", "test": 0.2},
        "model": {"sklearn": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": "$depth"}},
        "search_space": {"depth": {"type": "int", "min": 1, "max": 3}},
        "evaluation": {"folds": 3},
    }
    lines = (tmp_path / "t.csv").read_text().splitlines()
    lines[30] = lines[30][:-1] + "c"  # so that the one split has it in training
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    samples = Samples(from_json(given), tmp_path)
    notes = facts(samples.data(0))["notes"]
    assert notes[0].startswith("fold 1 of 3 has no row of class 'c' in its training part")
