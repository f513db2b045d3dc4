"""Samples that are read as they are needed: the same as from memory, to the bit, wherever training begins."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hptune.experiment.data import NpzData, PythonData
from hptune.experiment.graph import Graph, LayerCall
from hptune.experiment.recipe import Recipe
from hptune.experiment.training import Initialization, Schedule, Training
from hptune.training.core.batches import leaves
from hptune.training.core.program import Program, ProgramSetting
from hptune.training.core.state import State
from hptune.training.data import Data, load_data
from hptune.training.data.sources import npz as npz_files
from hptune.training.data.store import stream
from hptune.training.data.store.shared import SharedData
from hptune.training.data.store.stored import Stored
from hptune.training.data.store.stream import Mapped, blocks
from hptune.training.models.from_layers import of_layers

LAYERS = (
    LayerCall("Conv2D", {"filters": 3, "kernel_size": 3}),
    LayerCall("BatchNormalization", {}),
    LayerCall("Flatten", {}),
    LayerCall("Dropout", {"rate": 0.2}),
    LayerCall("Dense", {"units": 3, "activation": "softmax"}),
)
EPOCHS = 4


def recipe() -> Recipe:
    given = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], "batch_size": 16, "epochs": EPOCHS}
    training = Training.model_validate(given)
    return Recipe(Graph(LAYERS), training, Initialization(), Schedule(), None)


def trained(data: Data, *spans: tuple[int, int], xla: bool = False) -> tuple[list[bytes], dict[str, list[float]]]:
    """The variables and curves after training over the spans, each in a program of its own."""
    curves: dict[str, list[float]] = {}
    state: State | None = None
    for start, end in spans:
        blueprint = of_layers(recipe(), data.train.x.shape[1:], input_dtype=data.train.x.dtype.name)
        program = Program(blueprint, data.train, data.validation, xla=xla)
        rates = np.full(EPOCHS * program.steps_per_epoch(16), 0.01, np.float32)
        setting = ProgramSetting(blueprint.dials, rates, order_seed=5, batch_size=16)
        state = state if state is not None else program.fresh(blueprint.weights(7), 11)
        for name, values in program.run(state, setting, from_epoch=start, to_epoch=end).items():
            curves.setdefault(name, []).extend(values)
        state = program.state()
    assert state is not None
    return [a.tobytes() for a in (*state.model, *state.optimizer)], curves


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """131 pictures of noise over their class's level: two whole batches of validation and a rest of training."""
    generator = np.random.default_rng(0)
    y = np.arange(131) % 3
    x = np.clip(generator.normal(60 + 50 * y[:, None, None, None], 40, (131, 6, 6, 1)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "p.npz", x=x, y=y)
    return tmp_path


def loaded(folder: Path, **options: object) -> Data:
    return load_data(NpzData.model_validate({"npz": "p.npz", **options}), folder=folder, seed=0, with_test=True)


def test_streamed_training_is_the_one_from_memory(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(loaded(pictures), (0, EPOCHS))
    monkeypatch.setattr(npz_files, "SMALL_BYTES", 0)
    streamed = loaded(pictures, stream=True)
    assert isinstance(streamed.train.x, Stored)
    assert isinstance(streamed.train.x.source, Mapped)
    assert trained(streamed, (0, EPOCHS)) == whole
    assert trained(streamed, (0, 3), (3, EPOCHS)) == whole, "an epoch depends on where training began"


def test_what_is_not_training_streams_too(pictures: Path) -> None:
    """A brief training over whole batches, a measure on the test part, and XLA for the steps."""
    told = []
    for data in (loaded(pictures), loaded(pictures, stream=True)):
        blueprint = of_layers(recipe(), (6, 6, 1), input_dtype="float32")
        program = Program(blueprint, data.train, data.validation)
        state = program.fresh(blueprint.weights(7), 11)
        setting = ProgramSetting(blueprint.dials, np.full(100, 0.01, np.float32), order_seed=5, batch_size=16)
        losses = program.run_steps(state, setting, epochs=2, steps_per_epoch=3)
        assert data.test is not None
        told.append((losses, program.evaluate(data.test, 16), program.evaluate(data.validation, 16)))
    assert told[0] == told[1]
    assert len(told[0][0]) == 6


@pytest.mark.slow
def test_xla_compiles_the_steps_of_a_stream(pictures: Path) -> None:
    _, compiled = trained(loaded(pictures, stream=True), (0, 1), xla=True)
    _, plain = trained(loaded(pictures, stream=True), (0, 1))
    assert compiled["val_loss"] == pytest.approx(plain["val_loss"], rel=0.05), "XLA changes results"


def test_the_rule_is_the_size_of_what_is_prepared(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_prepared = 131 * 36 * 4
    for limit, streamed in ((bytes_prepared, False), (bytes_prepared - 1, True)):
        monkeypatch.setattr("hptune.training.data.load.HELD_BYTES", limit)
        assert isinstance(loaded(pictures).train.x, Stored) is streamed
        assert not isinstance(loaded(pictures, stream=False).train.x, Stored)


def test_a_stored_part_is_indexed_like_the_array(pictures: Path) -> None:
    held, stored = loaded(pictures).train.x, loaded(pictures, stream=True).train.x
    assert (stored.shape, stored.dtype, len(stored)) == (held.shape, held.dtype, len(held))
    for index in (slice(None), slice(3, 7), np.array([5, 2, 2])):
        assert np.array_equal(stored[index], held[index])
    assert np.array_equal(np.asarray(stored), held)
    assert leaves({"a": stored, "b": None}) == [stored]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("scale", ["auto", "standardize", "unit"])
def test_a_large_array_is_mapped_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool, scale: Any
) -> None:
    generator = np.random.default_rng(0)
    x = np.asfortranarray(generator.normal(3, 2, (400, 5)))
    (np.savez_compressed if compressed else np.savez)(tmp_path / "p.npz", y=np.arange(400) % 2, x=x)
    held = loaded(tmp_path, scale=scale)
    monkeypatch.setattr(npz_files, "SMALL_BYTES", 0)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 1000)
    mapped = load_data(
        NpzData(npz="p.npz", scale=scale, stream=True), folder=tmp_path, seed=0, cache=tmp_path / "cache"
    )
    assert mapped.fingerprint == held.fingerprint
    assert np.array_equal(mapped.train.x[:], held.train.x)
    unpacked = list(tmp_path.glob("cache/array-*.npy"))
    assert bool(unpacked) == compressed, "only what is compressed is unpacked"


def test_a_large_array_with_a_hole_is_told_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((400, 5))
    x[[301, 302], 2] = np.nan
    np.savez(tmp_path / "p.npz", x=x, y=np.arange(400) % 2)
    monkeypatch.setattr(npz_files, "SMALL_BYTES", 0)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 1000)
    with pytest.raises(Exception, match=r"NaN or infinity in 2 of 2000 values, first at index \[301, 2\]"):
        loaded(tmp_path)


def test_a_mapped_array_pickles_as_its_place(tmp_path: Path) -> None:
    array = np.arange(2_000_000, dtype=np.int32).reshape(-1, 2)
    array.tofile(tmp_path / "a")
    mapped = Mapped(tmp_path / "a", np.int32, array.shape)
    packed = pickle.dumps(mapped)
    assert len(packed) < 1000
    found = pickle.loads(packed)
    assert np.array_equal(found[[5, 1]], array[[5, 1]])
    assert np.array_equal(np.concatenate([part for _, part in blocks(found)]), array)


def test_workers_share_the_place_and_not_the_samples(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_files, "SMALL_BYTES", 0)
    data = loaded(pictures, stream=True)
    with (tmp_path / "handed over").open("w+b") as file:
        SharedData(file.fileno()).get(lambda: data)
        found: Data = SharedData(file.fileno()).get(lambda: pytest.fail("read a second time"))
        assert np.array_equal(found.train.x[:9], data.train.x[:9])
        assert isinstance(found.train.x.source, Mapped)


# --- tf.data --------------------------------------------------------------------------------------------------------

FLOWING = """\
import numpy as np, tensorflow as tf
generator = np.random.default_rng(0)
y = np.arange(131) % 3
x = generator.normal(y[:, None, None, None], 1, (131, 6, 6, 1)).astype("float32")
whole = tf.data.Dataset.from_tensor_slices((x, y))
def parts():
    return whole.take(100).shuffle(50).batch(13), whole.skip(100).batch(8)
def endless():
    return whole.take(100).shuffle(50).repeat().batch(20), whole.skip(100).repeat().batch(8)
def singles():
    return whole.take(100), whole.skip(100)
"""


def flowing(folder: Path, name: str, **options: object) -> Data:
    (folder / "flowing.py").write_text(FLOWING)
    return load_data(PythonData.model_validate({"python": f"flowing:{name}", **options}), folder=folder, seed=0)


def test_a_data_set_is_trained_on_and_resumed_to_the_bit(tmp_path: Path) -> None:
    data = flowing(tmp_path, "parts")
    assert dict(data.rows) == {"train": 100, "validation": 31, "test": 0}
    assert (data.task, data.labels, len(data.train)) == ("classes", (0, 1, 2), 100)
    whole = trained(data, (0, EPOCHS))
    assert whole[1]["loss"][-1] < whole[1]["loss"][0]
    assert trained(data, (0, 1), (1, 3), (3, EPOCHS)) == whole


def test_an_epoch_of_a_data_set_has_every_sample_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    from hptune.training.core.batches import batches

    data = flowing(tmp_path, "parts")
    way = batches(data.train)

    def epoch(order_seed: int, number: int) -> np.ndarray:
        feed = way.shuffled(order_seed, number, 16)
        found = [next(feed)[0].numpy() for _ in range(7)]
        assert [len(batch) for batch in found] == [16] * 6 + [4]
        return np.concatenate(found)[:, 0, 0, 0]

    first, second = epoch(5, 0), epoch(5, 1)
    assert sorted(first) == sorted(second)
    assert first.tolist() != second.tolist()
    assert epoch(6, 0).tolist() != first.tolist(), "two trials see one order"
    assert epoch(5, 1).tolist() == second.tolist(), "the order depends on what was read before"


def test_the_first_steps_of_an_epoch_are_its_first_whatever_was_read_before(tmp_path: Path) -> None:
    """A draw of the lottery trains a few steps of each epoch; what it leaves of one is no part of the next."""
    from hptune.training.core.batches import batches

    way = batches(flowing(tmp_path, "parts").train)

    def read(epoch: int, steps: int | None) -> list[float]:
        feed = way.shuffled(5, epoch, 16, steps=steps)
        found = [next(feed)[0].numpy() for _ in range(steps or 7)]
        return list(map(float, np.concatenate(found[:2])[:, 0, 0, 0]))

    brief = [read(epoch, 2) for epoch in (0, 1, 0)]
    assert brief == [read(epoch, None) for epoch in (0, 1, 0)]


def test_a_data_set_without_an_end_is_cut_by_steps(tmp_path: Path) -> None:
    data = flowing(tmp_path, "endless", steps_per_epoch=3, validation_steps=2)
    assert dict(data.rows) == {"train": 60, "validation": 16, "test": 0}
    assert trained(data, (0, 2), (2, EPOCHS)) == trained(data, (0, EPOCHS))


def test_single_samples_are_batched(tmp_path: Path) -> None:
    singles = flowing(tmp_path, "singles")
    assert singles.train.x.shape[1:] == (6, 6, 1)
    assert dict(singles.rows) == {"train": 100, "validation": 31, "test": 0}


def test_a_data_set_is_handed_over_as_the_functions_name(tmp_path: Path) -> None:
    data = flowing(tmp_path, "parts")
    found: Data = pickle.loads(pickle.dumps(data))
    assert trained(found, (0, 1)) == trained(replace(data), (0, 1))
    assert not any(isinstance(leaf, tf.data.Dataset) for leaf in leaves(found.train.x))


def test_all_programs_share_one_way_of_a_part_and_it_goes_with_the_part(pictures: Path) -> None:
    """TensorFlow keeps the graph of every data set's function for ever: there must be one for a part."""
    import gc
    import weakref

    from hptune.training.core.batches import batches

    for option in (True, False):
        data = loaded(pictures, stream=option)
        way = weakref.ref(batches(data.train))
        assert batches(data.train) is way()
        del data
        gc.collect()
        assert option or way() is None, "samples stay on the device after their part"
