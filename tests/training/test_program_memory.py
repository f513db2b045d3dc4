"""A program that is dropped is gone, with its graph: TensorFlow keeps nothing of it."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from hptune.base.trial import Segment
from hptune.experiment.reading.load import from_json
from hptune.run.rundir import RunPaths
from hptune.training.trainers import programs
from hptune.training.worker import Worker


@pytest.mark.parametrize("optimizer", [{"name": "adam"}, {"name": "sgd", "momentum": 0.9, "clipnorm": 1.0}])
def test_no_graph_outlives_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: dict[str, Any]
) -> None:
    import tensorflow as tf

    monkeypatch.setattr(programs, "KEPT", 1)
    experiment = from_json(
        {
            "version": 1,
            "name": "a",
            "data": {"source": "digits", "limit": 100},
            "model": {
                "layers": [
                    "Flatten",
                    {"Dense": {"units": "$units", "activation": "relu"}},
                    {"Dense": {"units": 10}},
                    "Softmax",
                ]
            },
            "search_space": {"units": {"type": "int", "min": 1, "max": 9}},
            "training": {"optimizer": optimizer},
        }
    )
    worker = Worker(experiment, tmp_path, RunPaths(tmp_path / "run"))

    def graphs() -> int:
        gc.collect()
        found = [o for o in gc.get_objects() if isinstance(o, tf.Graph) and getattr(o, "name", "") == "_one_epoch"]
        return len(found)

    before = graphs()
    for trial in range(4):
        worker.run(Segment(trial, {"units": trial + 2}, to_epoch=1))
    assert graphs() - before <= 1
