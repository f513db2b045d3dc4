"""What a user's function may return, and what is said of everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hptune.base.errors import SpecError
from hptune.experiment.data import PythonData
from hptune.training.data import Data, load_data, load_folds
from hptune.training.data.sources import python_source as source

HEAD = """\
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy import sparse
x = np.arange(90, dtype="float64").reshape(30, 3)
y = np.arange(30) % 3
flow = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def load(folder: Path, returned: str, before: str = "", **options: Any) -> Data:
    """The data of a function that returns an expression; in a module of its own, since modules are kept."""
    module = f"given_{len(list(folder.glob('given_*')))}_{abs(hash(folder)) % 10**8}"
    lines = "\n    ".join([*before.splitlines(), f"return {returned}"])
    (folder / f"{module}.py").write_text(f"{HEAD}def samples():\n    {lines}\n")
    spec = PythonData.model_validate({"python": f"{module}:samples", **options})
    return load_data(spec, folder=folder, seed=0, with_test=True)


def refused(folder: Path, returned: str, before: str = "", **options: Any) -> str:
    with pytest.raises(SpecError) as error:
        load(folder, returned, before, **options)
    return str(error.value)


@pytest.mark.parametrize("returned", ["(x, y)", "[x, y]", "{'x': x, 'y': y}"])
def test_arrays_are_split(folder: Path, returned: str) -> None:
    data = load(folder, returned)
    assert dict(data.rows) == {"train": 18, "validation": 6, "test": 6}
    assert (data.task, data.labels) == ("classes", (0, 1, 2))
    assert np.allclose(data.train.x.mean(axis=0), 0, atol=1e-6)


def test_labels_may_be_text(folder: Path) -> None:
    assert load(folder, "x, np.array(['a', 'b', 'c'])[y]").labels == ("a", "b", "c")
    assert load(folder, "x, np.array(['a', 'b', 'c'], object)[y]").labels == ("a", "b", "c")


def test_parts_stay_as_they_were_returned(folder: Path) -> None:
    data = load(folder, "(x[:15], y[:15]), (x[15:21], y[15:21]), {'x': x[21:], 'y': y[21:]}", scale="none")
    assert dict(data.rows) == {"train": 15, "validation": 6, "test": 9}
    assert data.test is not None
    for part, low, high in ((data.train, 0, 15), (data.validation, 15, 21), (data.test, 21, 30)):
        assert sorted(part.x[:, 0] / 3) == list(range(low, high))
    assert data.train.x[:, 0].tolist() != sorted(data.train.x[:, 0])


@pytest.mark.parametrize("option", ["validation", "test"])
def test_how_to_split_is_refused_where_parts_are_returned(folder: Path, option: str) -> None:
    parts = "(x[:15], y[:15]), (x[15:], y[15:])"
    other: dict[str, Any] = {option: 0.4}
    usual: dict[str, Any] = {option: 0.2}
    assert refused(folder, parts, **other).startswith(f"data.{option}: ")
    assert load(folder, parts, **usual), "a run's head has every default in it"


def test_two_parts_leave_no_test_part(folder: Path) -> None:
    data = load(folder, "(x[:15], y[:15]), (x[15:], y[15:])")
    assert (data.test, dict(data.rows)) == (None, {"train": 15, "validation": 15, "test": 0})


def test_weights_of_one_column_are_weights(folder: Path) -> None:
    column, plain = (
        load(folder, f"x, y, {weights}", scale="none").train for weights in ("x[:, :1] + 1", "x[:, 0] + 1")
    )
    assert column.sample_weight is not None
    assert plain.sample_weight is not None
    assert np.array_equal(column.sample_weight, plain.sample_weight)
    balanced = load(folder, "x, y, x[:, :1] + 1", class_weight="balanced").train.sample_weight
    assert balanced is not None
    assert balanced.shape == (18,)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (
            "np.where(y == 1, -1.0, 1.0)",
            "sample_weight: a weight must be a finite number of at least 0, got -1 at index 1 (10",
        ),
        ("np.where(y == 2, np.nan, 1.0)", "got nan at index 2"),
        ("np.ma.masked_equal(x[:, 0], 6.0)", "got nan at index 2 (1 such)"),
        ("np.ones((30, 2))", "sample_weight must be [n] or [n, 1], one weight a sample, got [30, 2]"),
        ("5.0", "got []"),
        ("['much'] * 30", "sample_weight must be numbers"),
        ("np.zeros(30)", "every weight in the training part is 0: there is nothing to learn from"),
    ],
)
def test_what_is_no_weight_is_told(folder: Path, weights: str, words: str) -> None:
    assert words in refused(folder, f"x, y, {weights}")


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ("tf.where(y == 1, -1.0, 1.0)", "sample_weight of the train data set of"),
        ("tf.where(x[:, 0] > 70, -1.0, 1.0)", "got -1 at index 24. Correct it"),
        ("tf.zeros_like(x[:, :1])", "every weight in the training part is 0"),
    ],
)
def test_weights_of_streams_are_looked_at_too(folder: Path, weight: str, words: str) -> None:
    assert words in refused(folder, f"flow.map(lambda x, y: (x, y, {weight})), flow")


@pytest.mark.parametrize(("part", "low", "high"), [("training", 0, 15), ("validation", 15, 21), ("test", 21, 30)])
def test_in_each_part_a_sample_must_count(folder: Path, part: str, low: int, high: int) -> None:
    weights = f"w = np.ones(30); w[{low}:{high}] = 0"
    parts = ", ".join(f"(x[{a}:{b}], y[{a}:{b}], w[{a}:{b}])" for a, b in ((0, 15), (15, 21), (21, 30)))
    assert f"every weight in the {part} part is 0" in refused(folder, parts, weights)


def test_far_columns_of_a_data_set_are_told_with_a_way_out_that_there_is(folder: Path) -> None:
    before = "far = tf.data.Dataset.from_tensor_slices((x / 64 + 1e9, y)).batch(4)"
    (note,) = (note for note in load(folder, "far, far", before).notes if "float32" in note)
    assert note.endswith("Scale it in the data set, or take a constant off it.")


def test_masked_arrays(folder: Path) -> None:
    """What is masked is missing; what lies under the mask is never trained on."""
    plain, unmasked = load(folder, "x, y"), load(folder, "np.ma.array(x), np.ma.array(y)")
    assert np.array_equal(plain.train.x, unmasked.train.x)
    assert "x holds NaN or infinity in 1 of 90 values, first at index [2, 0]" in refused(
        folder, "np.ma.masked_equal(x, 6.0), y"
    )
    listed = "{'x': x, 'y': [np.ma.masked if i == 4 else i / 8 for i in range(30)]}"
    assert "y holds NaN or infinity in 1 of 30 values, first at index [4]" in refused(folder, listed)
    assert "y holds NaN or infinity in 10" in refused(folder, "x, np.ma.masked_equal(y.astype('f4'), 1.0)")
    told = refused(folder, "x, np.ma.masked_equal(y, 1)")
    assert "y is masked in 10 of 30 places, and int64 has no value that is missing. Leave those samples out" in told
    assert "x of the train part is masked" in refused(
        folder, "(np.ma.masked_equal(x.astype(int), 6), y), (x.astype(int), y)"
    )


def test_weights_come_third(folder: Path) -> None:
    data = load(folder, "x, y, x[:, 0] + 1", scale="none")
    assert data.train.sample_weight is not None
    assert (data.train.sample_weight == data.train.x[:, 0] + 1).all()


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("None", "returned NoneType."),
        ("x", "returned ndarray."),
        ("(x, y), (x,)", "returned tuple of tuple, tuple."),
        ("x, y[:29]", "x has 30 samples and y has 29."),
        ("sparse.csr_matrix(x), y", "x is a sparse matrix. Make it dense: x.toarray()."),
        ("pd.DataFrame({'n': y, 'word': 'a', 'day': pd.Timestamp(0)}), y", "aren't numbers: word ("),
        ("(x, y), (pd.DataFrame({'n': y, 'day': pd.Timestamp(0)}), y)", "the validation part has columns that aren't"),
        ("x.astype(str), y", "x must be an array of numbers [n, …], got <U"),
        ("x.astype(str), y", "Turn texts into numbers first, or give a table with a column of `kind: text`"),
        ("x, np.zeros((30, 2, 2))", "y must be numbers, booleans or text, [n] or [n, k]"),
        ("(x, y), (x[:, :2], y)", "samples of different shapes: train [30, 3], validation [30, 2]"),
        ("(x, y), (x[:3], y[:4])", "x of the validation part has 3 samples and y has 4."),
        ("(x, y), (flow, flow)", "x of the validation part must be an array of numbers"),
        ("(x, y), flow", "Return (x, y) or"),
        ("flow", "returned one tf.data.Dataset, which can't be split."),
        ("1 / 0", "raised ZeroDivisionError: division by zero. Fix the function."),
    ],
)
def test_what_is_no_data(folder: Path, returned: str, words: str) -> None:
    told = refused(folder, returned)
    assert told.startswith("data.python: ")
    assert words in told


def test_steps_are_for_data_sets(folder: Path) -> None:
    assert "data.steps_per_epoch: is for a tf.data.Dataset" in refused(folder, "x, y", steps_per_epoch=3)


# --- tf.data --------------------------------------------------------------------------------------------------------


def test_parts_as_data_sets(folder: Path) -> None:
    data = load(folder, "flow.take(4), flow.skip(4).take(2), flow.skip(6)")
    assert dict(data.rows) == {"train": 16, "validation": 8, "test": 6}
    assert (data.train.x.dtype, data.train.y.dtype) == (np.float32, np.int32)
    assert data.input_scale is None
    assert load(folder, "flow.take(4), flow.skip(4)").test is None


def test_the_target_of_a_regression_is_standardised(folder: Path) -> None:
    data = load(folder, "flow.map(lambda x, y: (x, x[:, 0])), flow.map(lambda x, y: (x, x[:, 0]))")
    assert data.task == "regression"
    assert data.target_scale is not None
    assert float(data.target_scale[0]) == pytest.approx(43.5)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("flow.repeat(), flow", "the train data set of given"),
        ("flow.repeat(), flow", "has no end. Say data.steps_per_epoch: how many of its batches make a pass"),
        ("flow, flow.repeat()", "has no end. Say data.validation_steps"),
        ("flow, flow, flow.repeat()", "the test data set of given"),
        ("flow.take(0), flow", "the train data set of given"),
        ("flow.map(lambda x, y: x), flow", "Its elements must be (x, y) or (x, y, sample_weight)"),
        ("flow.map(lambda x, y: ((x, x), y)), flow", "a tensor each"),
        ("flow.map(lambda x, y: (x, tf.strings.as_string(y))), flow", "must be numbers, got string."),
        ("flow.map(lambda x, y: (x, y - 1)), flow", "must be whole numbers from 0 on"),
        ("flow.map(lambda x, y: (x / 0, y)), flow", "holds NaN or infinity"),
        ("flow.map(lambda x, y: (tf.ensure_shape(x, [7, 3]), y)), flow", "reading the train data set of given"),
    ],
)
def test_data_sets_that_can_not_be_used(folder: Path, returned: str, words: str) -> None:
    told = refused(folder, returned)
    assert told.startswith("data.python: ")
    assert words in told


def test_one_that_does_not_know_that_it_has_no_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MOST_ELEMENTS", 50)
    before = "from itertools import repeat\nspec = (tf.TensorSpec([4, 3]), tf.TensorSpec([4], tf.int32))\n"
    before += "forever = tf.data.Dataset.from_generator(lambda: repeat((x[:4], y[:4])), output_signature=spec)"
    assert "has no end. Say data.steps_per_epoch" in refused(folder, "forever, flow", before)
    data = load(folder, "forever, flow", before, steps_per_epoch=5)
    assert dict(data.rows)["train"] == 20


@pytest.mark.parametrize("option", [{"scale": "unit"}, {"one_hot": True}, {"limit": 5}])
def test_options_that_a_stream_does_not_take(folder: Path, option: dict[str, Any]) -> None:
    assert f"data.{next(iter(option))}: is not for a tf.data.Dataset" in refused(folder, "flow, flow", **option)


def test_folds_need_arrays(folder: Path) -> None:
    (folder / "folding.py").write_text(f"{HEAD}def samples():\n    return flow, flow\n")
    with pytest.raises(SpecError, match=r"evaluation\.folds: folds deal samples anew"):
        load_folds(PythonData(python="folding:samples"), folder=folder, seed=0, folds=3)


def test_records_in_a_file(folder: Path) -> None:
    """TFRecord, as people write it, through such a function."""
    with tf.io.TFRecordWriter(str(folder / "samples.tfrecord")) as writer:
        for i in range(40):
            pixels = tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes([i, i + 1, i + 2, i + 3])]))
            label = tf.train.Feature(int64_list=tf.train.Int64List(value=[i % 2]))
            example = tf.train.Example(features=tf.train.Features(feature={"pixels": pixels, "label": label}))
            writer.write(example.SerializeToString())
    before = f"""\
kinds = {{"pixels": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}}
def parse(record):
    told = tf.io.parse_single_example(record, kinds)
    pixels = tf.reshape(tf.io.decode_raw(told["pixels"], tf.uint8), [2, 2, 1])
    return tf.cast(pixels, tf.float32) / 255, told["label"]
records = tf.data.TFRecordDataset({str(folder / "samples.tfrecord")!r}).map(parse)"""
    data = load(folder, "records.take(30), records.skip(30)", before)
    assert dict(data.rows) == {"train": 30, "validation": 10, "test": 0}
    assert (data.train.x.shape[1:], data.labels) == ((2, 2, 1), (0, 1))
    assert data.train.x[5].ravel().tolist() == pytest.approx([5 / 255, 6 / 255, 7 / 255, 8 / 255])


def test_the_test_part_is_counted_where_it_is_not_loaded(folder: Path) -> None:
    (folder / "three.py").write_text(f"{HEAD}def samples():\n    return flow.take(4), flow.skip(4), flow.skip(6)\n")
    data = load_data(PythonData(python="three:samples"), folder=folder, seed=0)
    assert (data.test, dict(data.rows)["test"]) == (None, 6)


def _members(part: Any, seed: int) -> set[float]:
    return {float(x) for batch in part.flow.open(seed, endless=False) for x in batch[0].numpy()[:, 0]}


@pytest.mark.parametrize(
    "order",
    [
        "np.random.permutation(30)",
        "np.array(random.sample(range(30), 30))",
        "GENERATOR.permutation(30)",
        "np.array([*tf.data.Dataset.range(30).shuffle(30).as_numpy_iterator()])",
    ],
)
def test_parts_that_are_dealt_at_random_are_the_same_parts_each_time_they_are_opened(folder: Path, order: str) -> None:
    (folder / "shared_generator.py").write_text("import numpy as np\nGENERATOR = np.random.default_rng(5)\n")
    before = f"import random\nfrom shared_generator import GENERATOR\no = {order}"
    returned = (
        "[tf.data.Dataset.from_tensor_slices((x[some], y[some])).batch(4) for some in (o[:18], o[18:24], o[24:])]"
    )
    data = load(folder, returned, before)
    assert data.test is not None
    dealt = [_members(part, seed) for seed in (7, 8) for part in (data.train, data.validation, data.test)]
    assert dealt[:3] == dealt[3:]
    assert sum(map(len, dealt[:3])) == len(set().union(*dealt)) == 30
    assert not [note for note in data.notes if "validation samples" in note]


def test_parts_of_one_shuffled_data_set_do_not_overlap(folder: Path) -> None:
    before = "s = flow.unbatch().shuffle(30, reshuffle_each_iteration=False)"
    data = load(folder, "s.take(18).batch(4), s.skip(18).batch(4)", before)
    assert not _members(data.train, 7) & _members(data.validation, 0)
    assert not data.notes


def test_parts_that_are_others_at_each_call_are_told(folder: Path) -> None:
    before = "o = np.random.default_rng().permutation(30)\ns = tf.data.Dataset.from_tensor_slices((x[o], y[o]))"
    notes = load(folder, "s.take(18).batch(4), s.skip(18).batch(4)", before).notes
    assert [note for note in notes if "gives other validation samples at each call" in note]
