"""Arrays, pictures and streams as the model gets them: of a file, of a function of yours, of scikit-learn's sets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import datasets

from hptune.base.errors import SpecError
from hptune.training.data import load_data

from . import asked, plain
from .differences import close, same
from .draw import FAR, Array, cases, floats, folder, varied

ROWS = 40
FLOAT32 = 4e-6

_MODULES = itertools.count()


def python(where: Path, code: str, **arrays: Any) -> dict[str, Any]:
    """A function `data` of a module of its own, which has the arrays by their names; the option that names it."""
    name = f"reference_{next(_MODULES)}"
    np.savez(where / f"{name}.npz", **arrays)
    opened = "import numpy as np\nfrom pathlib import Path\n_of = np.load(Path(__file__).with_suffix('.npz'))\n"
    (where / f"{name}.py").write_text(f"{opened}globals().update({{k: _of[k] for k in _of.files}})\n{code}\n")
    return {"python": f"{name}:data"}


def read_as(
    where: Path, kind: str, x: Array, y: Array, *, wide: bool = False, words: bool = False, **options: Any
) -> asked.Given:
    """What hptune gives of arrays: of a .npz file, or of a function that returns them."""
    if kind == "npz":
        np.savez(where / "t.npz", x=x, y=y)
        named: dict[str, Any] = {"npz": "t.npz"}
    else:
        named = python(where, "def data():\n    return x, y", x=x, y=y)
    return asked.loaded(where, {**named, **options}, rows=len(x), wide=wide, words=words)


KINDS = st.sampled_from(["npz", "python"])


def targets(rows: int = ROWS) -> Array:
    return np.asarray(np.sin(np.arange(rows) * 1.7))


def counted(shape: Sequence[int], kind: Any, seed: int, top: int = 256) -> Array:
    """Integers of a shape, of which the very first of each sample is its number."""
    made = np.random.default_rng(seed).integers(0, top, (ROWS, *shape)).astype(kind)
    made.reshape(ROWS, -1)[:, 0] = np.arange(ROWS)
    return np.asarray(made)


@cases(10)
@given(
    seed=st.integers(0, 2**32), channels=st.sampled_from([1, 3]), kind=KINDS, scale=st.sampled_from(["auto", "unit"])
)
def test_bytes_are_brought_to_0_and_1(seed: int, channels: int, kind: str, scale: str) -> None:
    x = counted((3, 4, channels), np.uint8, seed)
    with folder() as where:
        found = read_as(where, kind, x, targets(), scale=scale)
    close("pictures", "numpy", found.x, x[found.order] / 255, within=1e-7)


@cases(10)
@given(seed=st.integers(0, 2**32), number=st.sampled_from([np.uint8, np.int16, np.float32, np.float64]), kind=KINDS)
def test_channels_are_standardised(seed: int, number: Any, kind: str) -> None:
    x = counted((3, 4, 2), number, seed)
    with folder() as where:
        found = read_as(where, kind, x, targets(), scale="standardize")
    exact = plain.wide(x)
    train = exact[found.train].reshape(-1, 2)
    wanted = (exact - train.mean(0)) / train.std(0)
    close("pictures", "numpy, long double", found.x, wanted[found.order], within=FLOAT32)


@cases(10)
@given(
    seed=st.integers(0, 2**32), number=st.sampled_from([np.int8, np.int16, np.int32, np.int64, np.uint32]), kind=KINDS
)
def test_tokens_stay_whole_numbers(seed: int, number: Any, kind: str) -> None:
    x = counted((7,), number, seed, top=100)
    with folder() as where:
        found = read_as(where, kind, x, targets(), words=True)
    same("arrays", "numpy", found.x, x[found.order])
    assert found.x.dtype.kind == "i"


@pytest.mark.parametrize("kind", ["npz", "python"])
@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**32 + 1, 2**63 - 1])
def test_tokens_that_int32_would_turn_into_others_are_refused(tmp_path: Path, kind: str, number: int) -> None:
    x = counted((7,), np.int64, 0, top=100)
    x[3, 3] = number
    with pytest.raises(SpecError, match="32 bits"):
        read_as(tmp_path, kind, x, targets(), words=True)


@cases(10)
@given(drawn=varied(ROWS * 3), kind=KINDS, scale=st.sampled_from(["auto", "standardize", "unit"]))
def test_sequences_of_floats(drawn: Array, kind: str, scale: str) -> None:
    """[n, steps, features]: as they are, or by feature over all steps."""
    rows = np.arange(ROWS)[:, None] + np.zeros(3)
    x = np.stack([rows, drawn.reshape(ROWS, 3)], axis=2)
    with folder() as where:
        found = read_as(where, kind, x, targets(), scale=scale)
    if scale == "auto":
        same("arrays", "numpy, in float32", found.x, x[found.order].astype(np.float32))
        return
    train = plain.wide(x)[found.train].reshape(-1, 2)
    assume(len(set(train[:, 1].tolist())) > 1)
    rule = (train.mean(0), train.std(0)) if scale == "standardize" else (train.min(0), np.ptp(train, axis=0))
    wanted = ((plain.wide(x) - rule[0]) / rule[1])[found.order]
    close("arrays", "numpy, long double", found.x, wanted, unit=np.maximum(np.abs(wanted), 1), within=FLOAT32)


@cases(10)
@given(drawn=floats(ROWS, range(-150, 150), FAR, False), number=st.sampled_from([np.float32, np.float64]))
def test_arrays_of_a_function_are_those_of_a_file(drawn: Array, number: Any) -> None:
    with np.errstate(over="ignore"):
        column = drawn.astype(number)
    assume(np.isfinite(column).all() and len(set(column.tolist())) > 2)
    x = np.stack([np.arange(ROWS).astype(number), column], axis=1)
    with folder() as where:
        file, function = (read_as(where, kind, x, targets()) for kind in ("npz", "python"))
    same("arrays", "the same in a .npz file", function.x, file.x)
    same("arrays", "the same in a .npz file", function.y, file.y)


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_that_a_function_returns_stay_its_own(tmp_path: Path, parts: int) -> None:
    x, y = np.stack([np.arange(ROWS) * 1.0, np.cos(np.arange(ROWS))], axis=1), targets()
    cuts = "[(x[:20], y[:20]), (x[20:30], y[20:30]), (x[30:], y[30:])]"
    code = f"def data():\n    return {cuts}[:{parts}]"
    found = asked.loaded(tmp_path, python(tmp_path, code, x=x, y=y), rows=ROWS if parts == 3 else 30)
    same("parts", "as returned", sorted(found.rows["train"].tolist()), list(range(20)))
    same("parts", "as returned", found.rows["validation"], list(range(20, 30)))
    same("parts", "as returned", found.rows["test"], list(range(30, 40)) if parts == 3 else [])
    wanted = plain.standardised(x, np.arange(20))[found.order]
    close("arrays", "numpy, long double", found.x, wanted, unit=np.maximum(np.abs(wanted), 1), within=FLOAT32)


def test_a_data_frame_of_numbers_is_an_array(tmp_path: Path) -> None:
    frame = "pd.DataFrame({'row': np.arange(40), 'a': np.cos(np.arange(40)), 'b': np.arange(40) % 3})"
    code = f"import pandas as pd\ndef data():\n    return {frame}, pd.Series(np.sin(np.arange(40) * 1.7))"
    found = asked.loaded(tmp_path, python(tmp_path, code), rows=ROWS)
    x = np.stack([np.arange(40), np.cos(np.arange(40)), np.arange(40) % 3], axis=1)
    wanted = plain.standardised(x, found.train)[found.order]
    close("arrays", "numpy, long double", found.x, wanted, within=FLOAT32)
    same("targets", "the file, in float32", found.y, targets()[found.order].astype(np.float32))


@pytest.mark.parametrize("missing", ["None", "float('nan')"])
def test_a_missing_label_is_no_class(tmp_path: Path, missing: str) -> None:
    code = f"""def data():
    y = np.array(['a', 'b', {missing}] * 14, object)[:40]
    return np.arange(40.0), y"""
    try:
        found = asked.loaded(tmp_path, python(tmp_path, code), rows=ROWS)
    except SpecError:
        return
    same("classes", "pandas", list(found.data.labels), ["a", "b"])


@pytest.mark.parametrize("kind", ["npz", "python"])
def test_whole_numbers_of_a_table_are_scaled_as_floats_are(tmp_path: Path, kind: str) -> None:
    """Ages, counts: the same numbers in two types."""
    x = np.stack([np.arange(ROWS), np.random.default_rng(0).integers(0, 10**6, ROWS)], axis=1)
    whole, floating = (read_as(tmp_path, kind, x.astype(number), targets()) for number in (np.int64, np.float64))
    close("arrays", "the same as floats", whole.x, floating.x, within=FLOAT32)


@pytest.mark.parametrize("number", [np.float32, np.int32])
def test_pictures_are_scaled_whatever_their_type(tmp_path: Path, number: Any) -> None:
    x = counted((4, 4, 3), np.uint8, 0)
    found = read_as(tmp_path, "npz", x.astype(number), targets())
    close("pictures", "numpy", found.x, x[found.order] / 255, within=1e-7)


# --- sets that need no download --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast_cancer", "diabetes"])
def test_the_sets_of_scikit_learn(name: str, tmp_path: Path) -> None:
    """Rows are found again by their values."""
    theirs = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    x, y = theirs.data.astype(np.float32), theirs.target
    data = load_data(asked.spec_of({"source": name, "scale": "none"}), folder=tmp_path, seed=0, with_test=True)
    assert data.test is not None
    got = np.concatenate([part.x.reshape(len(part), -1) for part in (data.train, data.validation, data.test)])
    divisor = 16 if name == "digits" else 1
    ours = np.concatenate([part.y for part in (data.train, data.validation, data.test)])
    order, wanted = (np.lexsort(np.column_stack([a, b]).T) for a, b in ((got, ours), (x / divisor, y)))
    same("sets", "sklearn.datasets", got[order], (x / divisor)[wanted])
    same("sets", "sklearn.datasets", ours[order].astype(float), y[wanted].astype(np.float32).astype(float))


# --- streams ---------------------------------------------------------------------------------------------------------

STREAM = """
import tensorflow as tf
def data():
    def part(a, b):
        made = tf.data.Dataset.from_tensor_slices((x[a:b], y[a:b]{w}))
        return made.batch({batch}) if {batch} else made
    return part(0, 24), part(24, 32), part(32, 40)
"""


@pytest.mark.parametrize("batch", [0, 5, 7])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("column", [False, True])
def test_streams_come_as_they_are(tmp_path: Path, batch: int, weighted: bool, column: bool) -> None:
    x = np.stack([np.arange(ROWS) * 1.0, np.cos(np.arange(ROWS))], axis=1)
    y, w = targets()[:, None] if column else targets(), np.arange(ROWS) + 0.5
    code = STREAM.format(batch=batch, w=", w[a:b]" if weighted else "")
    spec = asked.spec_of(python(tmp_path, code, x=x, y=y, w=w))
    data = load_data(spec, folder=tmp_path, seed=0, with_test=True)
    for name, rows in (("train", slice(0, 24)), ("validation", slice(24, 32)), ("test", slice(32, 40))):
        flow = getattr(data, name).flow
        batches = [*flow.open(0, endless=False).as_numpy_iterator()]
        told = [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
        same("streams", "the arrays, in float32", told[0], x[rows].astype(np.float32))
        same("streams", "the arrays, in float32", told[1].ravel(), y[rows].astype(np.float32).ravel())
        if weighted:
            same("streams", "the arrays, in float32", told[2], w[rows].astype(np.float32))
    mean, deviation = plain.moments(y[:24].ravel())
    assert data.target_scale is not None
    close("streams", "numpy, long double", np.ravel(data.target_scale[0]), [mean], within=1e-7)
    close("streams", "numpy, long double", np.ravel(data.target_scale[1]), [deviation], within=1e-7)


@pytest.mark.parametrize("column", [False, True])
def test_classes_of_a_stream(tmp_path: Path, column: bool) -> None:
    """0 and 1 are classes, whether they come as [n] or as [n, 1]."""
    x, y = np.arange(ROWS) * 1.0, np.arange(ROWS) % 2
    code = STREAM.format(batch=5, w="")
    data = load_data(
        asked.spec_of(python(tmp_path, code, x=x[:, None], y=y[:, None] if column else y)), folder=tmp_path, seed=0
    )
    same("streams", "numpy", list(data.labels or ()), [0, 1])
    assert data.task == "classes"


def test_tokens_of_a_stream_that_int32_would_turn_into_others_are_refused(tmp_path: Path) -> None:
    x = np.full((ROWS, 3), 2**32 + 1)
    with pytest.raises(SpecError):
        load_data(
            asked.spec_of(python(tmp_path, STREAM.format(batch=5, w=""), x=x, y=targets())), folder=tmp_path, seed=0
        )


def test_labels_of_a_stream_that_int32_would_turn_into_others_are_refused(tmp_path: Path) -> None:
    y = np.where(np.arange(ROWS) % 2, 2**32, 1)
    with pytest.raises(SpecError):
        load_data(
            asked.spec_of(python(tmp_path, STREAM.format(batch=5, w=""), x=np.arange(ROWS * 1.0)[:, None], y=y)),
            folder=tmp_path,
            seed=0,
        )
