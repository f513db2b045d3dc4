"""A state that is gone or damaged costs time and nothing else: what led to it is trained again, to the bit."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import RunError
from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.reading.load import from_json
from hptune.run.rundir import RunPaths
from hptune.training.core import state as states
from hptune.training.core.state import Damaged, State
from hptune.training.worker import Worker

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "a",
    "data": {"source": "iris"},
    "model": {
        "layers": [
            {"Dense": {"units": 8, "activation": "relu"}},
            {"Dropout": {"rate": 0.2}},
            {"Dense": {"units": 3, "activation": "softmax"}},
        ]
    },
    "search_space": {"rate": {"type": "float", "min": 1e-3, "max": 1e-1}},
    "training": {
        "optimizer": {"learning_rate": "$rate"},
        "epochs": 6,
    },
    "schedule": {"name": "cosine"},
    "checkpoints": {"keep": 0},  # else the state of the best epoch is one to go on from too
}

FIRST = Segment(0, {"rate": 0.01}, 0, 2, keep_state=True)
SECOND = FIRST._replace(from_epoch=2, to_epoch=4)
THIRD = FIRST._replace(from_epoch=4, to_epoch=6)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    return Worker(from_json(SPEC), Path(), RunPaths(tmp_path_factory.mktemp("runs") / "a"))


@pytest.fixture
def calm(worker: Worker) -> SegmentResult:
    """The third segment of a trial that nothing happened to; the states of the first and the second are there."""
    worker.run(FIRST)
    worker.run(SECOND)
    return worker.run(THIRD)


def _gone(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _flipped(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[whole.index(states.load(path)[0].model[0].tobytes())] ^= 1
    path.write_bytes(whole)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _of_another_model(path: Path) -> None:
    states.save(path, State((np.zeros(3, np.float32),)), {"loss": (1.0,) * 4})


def _of_other_epochs(path: Path) -> None:
    state, curves = states.load(path)
    states.save(path, state, {name: values[:1] for name, values in curves.items()})


@pytest.mark.parametrize("damage", [_gone, _cut, _flipped, _empty, _of_another_model, _of_other_epochs])
@pytest.mark.parametrize("how_many", [1, 2])
def test_the_segment_is_redone_from_the_last_good_state(
    worker: Worker, calm: SegmentResult, damage: Callable[[Path], None], how_many: int
) -> None:
    for epochs in (4, 2)[:how_many]:
        damage(worker._run.state(0, 0, epochs))
    redone = worker.run(THIRD)
    assert (redone.epochs, redone.curves, redone.state) == (calm.epochs, calm.curves, calm.state)
    assert f"epochs {3 if how_many == 1 else 1} to 4 were trained again" in redone.facts["retrained"]
    assert "retrained" not in calm.facts


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state-r0-e001.npz"
    arrays = (np.arange(5, dtype=np.float32), np.asarray(3, np.float32))
    states.save(path, State(arrays, (np.asarray(7),)), {"loss": (0.5,)})
    whole, generator = path.read_bytes(), random.Random(0)
    noticed = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << generator.randrange(8)]) + whole[at + 1 :])
        try:
            state, curves = states.load(path)
        except Damaged:
            noticed += 1
            continue
        assert curves == {"loss": (0.5,)}, at
        assert [a.tolist() for a in state.model] == [a.tolist() for a in arrays], at
    assert noticed > len(whole) * 0.5


def test_no_state_is_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "it ran",))

    path = tmp_path / "state-r0-e001.npz"
    np.savez(path, **{"model.0": np.array([Evil()], dtype=object), "count": np.asarray(1)}, allow_pickle=True)
    with pytest.raises(Damaged, match="allow_pickle"):
        states.load(path)
    assert not (tmp_path / "it ran").exists()


def test_a_state_that_can_not_be_written_ends_the_run_not_the_trial(worker: Worker, calm: SegmentResult) -> None:
    folder = worker._run.trial(1)
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file in the folder's place")
    with pytest.raises(RunError, match=r"it is a file.*Move it away"):
        worker.run(FIRST._replace(trial=1))
    folder.unlink()
