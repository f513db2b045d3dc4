"""Targets and weights as the model gets them, by task and source, beside numpy, pandas and scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.preprocessing import LabelBinarizer, LabelEncoder
from sklearn.utils.class_weight import compute_sample_weight

from hptune.base.errors import SpecError

from . import asked, plain
from .differences import close, same
from .draw import ENDS, FAR, NAMES, SIZES, Array, cases, folder, varied

ROWS = 60
KINDS = st.sampled_from(["csv", "parquet", "npz"])

FLOAT32 = 4e-6


def read_as(
    where: Path, kind: str, y: Any, *, wide: bool = False, more: dict[str, Any] | None = None, **options: Any
) -> tuple[asked.Given, Any]:
    """What hptune gives of a target, and the target as the plain library reads it: [n], or [n, k] of several.

    more: other columns of a table.
    """
    several = np.ndim(y) == 2
    if kind == "npz":
        np.savez(where / "t.npz", x=np.stack([np.arange(len(y)), np.ones(len(y))], axis=1), y=y)
        found = asked.loaded(where, {"npz": "t.npz", **options}, rows=len(y), wide=wide)
        return found, np.load(where / "t.npz")["y"]
    targets = {f"y{i}": column for i, column in enumerate(np.transpose(y))} if several else {"y": y}
    table = asked.with_rows(pd.DataFrame({**targets, **(more or {})}))
    named = asked.written(where, kind, table)
    target = [*targets] if several else "y"
    found = asked.loaded(where, {**named, "target": target, **options}, rows=len(y), wide=wide)
    named_by_text = not several and isinstance(y, np.ndarray) and y.dtype.kind == "O"
    read = asked.plainly(where, kind, **({"dtype": {"y": str}} if named_by_text else {}))
    return found, read[target].to_numpy()


# --- numbers ---------------------------------------------------------------------------------------------------------


@cases(25)
@given(y=varied(ROWS), kind=KINDS)
def test_a_target_is_standardised_on_the_training_part(y: Array, kind: str) -> None:
    with folder() as where:
        found, read = read_as(where, kind, y, task="regression")
    wanted = plain.standardised(read, found.train)[found.order]
    close("targets", "numpy, long double", found.standard_y(), wanted, within=FLOAT32, unit=np.maximum(abs(wanted), 1))


@cases(15)
@given(ys=st.lists(varied(ROWS), min_size=2, max_size=3), kind=KINDS)
def test_several_targets_are_standardised_each_by_its_own(ys: list[Array], kind: str) -> None:
    with folder() as where:
        found, read = read_as(where, kind, np.stack(ys, axis=1), task="regression")
    wanted = plain.standardised(read, found.train)[found.order]
    close("targets", "numpy, long double", found.standard_y(), wanted, within=FLOAT32, unit=np.maximum(abs(wanted), 1))


@cases(20)
@given(y=varied(ROWS, SIZES, FAR), kind=KINDS, scale=st.sampled_from(["none", "auto"]))
def test_scikit_learn_gets_targets_with_all_digits(y: Array, kind: str, scale: str) -> None:
    with folder() as where:
        found, read = read_as(where, kind, y, task="regression", wide=True, scale=scale)
    same("targets", "the file, all digits", found.y, read[found.order])


@pytest.mark.parametrize("far", [one for one in FAR if abs(one) > 1])
@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_targets_far_from_nought_keep_their_digits(tmp_path: Path, kind: str, far: float) -> None:
    y = far + np.random.default_rng(0).normal(size=ROWS)
    found, read = read_as(tmp_path, kind, y, task="regression")
    wanted = plain.standardised(read, found.train)[found.order]
    close("targets", "numpy, long double", found.standard_y(), wanted, within=FLOAT32, unit=np.maximum(abs(wanted), 1))


@pytest.mark.parametrize("size", [1e-300, 1e-60, 1e-42, 1e39, 1e60, 1e300])
@pytest.mark.parametrize("wide", [False, True])
def test_targets_whose_squares_float32_can_t_hold_are_refused_for_keras(
    tmp_path: Path, size: float, wide: bool
) -> None:
    y = np.random.default_rng(0).normal(size=ROWS) * size
    if not wide:
        with pytest.raises(SpecError, match="Give it in another unit"):
            read_as(tmp_path, "npz", y, task="regression")
        return
    found, read = read_as(tmp_path, "npz", y, task="regression", wide=True)
    same("targets", "the file, all digits", found.y, read[found.order])


# --- classes ---------------------------------------------------------------------------------------------------------


def check_classes(found: asked.Given, read: Array, *, one_hot: bool = False) -> None:
    """Codes and labels as scikit-learn has them."""
    encoder = LabelEncoder().fit(read)
    labels = [one.item() if hasattr(one, "item") else one for one in encoder.classes_]
    same("classes", "scikit-learn LabelEncoder", list(found.data.labels), labels)
    assert [type(one) for one in found.data.labels] == [type(one) for one in labels]
    codes = encoder.transform(read)[found.order]
    wanted = np.eye(len(labels))[codes] if one_hot else codes
    same("classes", "scikit-learn LabelEncoder", found.y, wanted)


@st.composite
def classes(draw: Any, values: Any, rows: int = ROWS) -> Any:
    """[rows] of two to six values, each often enough for every part."""
    chosen = draw(st.lists(values, min_size=2, max_size=6, unique=True))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return [chosen[i] for i in random.permutation(np.arange(rows) % len(chosen))]


@cases(25)
@given(y=classes(NAMES), kind=KINDS, one_hot=st.booleans())
def test_classes_with_names(y: list[str], kind: str, one_hot: bool) -> None:
    given_y = np.array(y) if kind == "npz" else np.array(y, object)
    with folder() as where:
        found, read = read_as(where, kind, given_y, task="classes", one_hot=one_hot)
    check_classes(found, read.astype(str).astype(object), one_hot=one_hot)


@st.composite
def numbered(draw: Any) -> Array:
    """Classes that are integers of any type, its ends among them."""
    kind = np.iinfo(draw(st.sampled_from(ENDS)))
    ends = st.sampled_from([kind.min, kind.max, kind.min + 1, kind.max - 1])
    return np.array(draw(classes(ends | st.integers(kind.min, kind.max))), kind.dtype)


@cases(25)
@given(y=numbered(), kind=KINDS)
def test_classes_that_are_integers_of_any_type(y: Array, kind: str) -> None:
    with folder() as where:
        found, read = read_as(where, kind, y, task="classes")
    check_classes(found, read)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_classes_of_64_bits_in_a_column_with_gaps(tmp_path: Path, kind: str) -> None:
    ids = pd.array([2**62 + i % 3 for i in range(ROWS)], dtype="Int64")
    ids[5] = pd.NA
    table = asked.with_rows(pd.DataFrame({"y": ids}))
    named = asked.written(tmp_path, kind, table)
    found = asked.loaded(tmp_path, {**named, "target": "y", "task": "classes", "missing": {"y": "drop"}}, rows=ROWS)
    same("classes", "pandas Int64", list(found.data.labels), sorted(set(ids.dropna().tolist())))
    same("classes", "pandas Int64", [found.data.labels[code] for code in found.y], ids[found.order].tolist())


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
def test_truth_values_are_classes(tmp_path: Path, kind: str) -> None:
    y = np.random.default_rng(0).random(ROWS) < 0.4
    found, read = read_as(tmp_path, kind, y)
    same("classes", "the file", [str(found.data.labels[code]).lower() for code in found.y],
         [str(one).lower() for one in read[found.order]])  # fmt: skip


@cases(15)
@given(
    flags=st.lists(st.integers(0, 2**32), min_size=2, max_size=4),
    kind=KINDS,
    wide=st.booleans(),
)
def test_labels_of_which_several_hold(flags: list[int], kind: str, wide: bool) -> None:
    y = np.stack([np.random.default_rng(seed).integers(0, 2, ROWS) for seed in flags], axis=1)
    with folder() as where:
        found, read = read_as(where, kind, y, task="labels", wide=wide)
    same("labels", "the file", found.y, read[found.order].astype(float))
    names = [f"y{i}" for i in range(len(flags))] if kind != "npz" else [*range(len(flags))]
    same("labels", "the file", list(found.data.labels), names)


@cases(10)
@given(y=classes(st.integers(0, 5)))
def test_one_hot_rows_of_an_array_stay_as_they_are(y: list[int]) -> None:
    rows = LabelBinarizer().fit_transform(np.array(y))
    assume(rows.shape[1] > 1)
    with folder() as where:
        found, read = read_as(where, "npz", rows)
    same("classes", "scikit-learn LabelBinarizer", found.y, read[found.order].astype(float))
    assert found.data.task == "classes"


@pytest.mark.parametrize("shape", ["[n]", "[n, 1]"])
@pytest.mark.parametrize("task", ["classes", "regression"])
def test_a_target_of_one_column_is_a_target(tmp_path: Path, shape: str, task: str) -> None:
    y = np.arange(ROWS) % 3
    given_y = y[:, None] if shape == "[n, 1]" else y
    found, _ = read_as(tmp_path, "npz", given_y, task=task)
    same("targets", "numpy", found.y, y[found.order] if task == "classes" else y[found.order].astype(float))


# --- weights ---------------------------------------------------------------------------------------------------------


@cases(20)
@given(
    y=classes(st.sampled_from(["a", "b", "c", "d"])),
    seed=st.integers(0, 2**32),
    by_class=st.sampled_from([None, "balanced", {"a": 3.0, "b": 0.25}]),
    by_row=st.booleans(),
    kind=st.sampled_from(["csv", "parquet"]),
    wide=st.booleans(),
)
def test_weights(y: list[str], seed: int, by_class: Any, by_row: bool, kind: str, wide: bool) -> None:
    """Of the training part by row and by class, of the others by row alone."""
    assume(not isinstance(by_class, dict) or set(by_class) <= set(y))
    assume(by_class is not None or by_row)
    random = np.random.default_rng(seed)
    kept = random.random(ROWS) < 0.7  # so that the classes differ in size
    kept[[0, -1]] = True
    y = [one for one, keep in zip(y, kept, strict=True) if keep]
    assume(min(y.count(one) for one in set(y)) > 4)
    weights = random.lognormal(size=len(y))
    options = {"class_weight": by_class, **({"sample_weight": "w"} if by_row else {}), "features": ["row"]}
    with folder() as where:
        found, read = read_as(
            where, kind, np.array(y, object), wide=wide, more={"w": weights}, task="classes", **options
        )
        weights = asked.plainly(where, kind)["w"].to_numpy()
    for part, rows in found.parts():
        wanted = weights[rows] if by_row else None
        if part is found.data.train and by_class is not None:
            named = "balanced" if by_class == "balanced" else {name: by_class.get(name, 1.0) for name in set(y)}
            own = compute_sample_weight(named, read[rows])
            wanted = own if wanted is None else wanted * own
        if wanted is None:
            assert part.sample_weight is None
            continue
        within = 1e-15 if wide else 2e-7
        close("weights", "scikit-learn compute_sample_weight", part.sample_weight, wanted, unit=wanted, within=within)


@pytest.mark.parametrize("size", [1e-60, 1e60])
def test_weights_of_any_size(tmp_path: Path, size: float) -> None:
    """What counts is their ratio to each other; or they are refused."""
    weights = np.random.default_rng(0).lognormal(size=ROWS) * size
    try:
        found, _ = read_as(tmp_path, "csv", np.arange(ROWS) * 0.5, more={"w": weights}, sample_weight="w",
                           features=["row"], task="regression")  # fmt: skip
    except SpecError:
        return
    told = found.data.train.sample_weight.astype(np.float64)
    wanted = weights[found.train]
    close("weights", "numpy", told / told.mean(), wanted / wanted.mean(), within=2e-6)
