"""Random numbers that nobody gave a seed: the same trial draws the same, whatever the process has done before."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from hptune.base.trial import Curves, Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.runtime import keras
from hptune.training.worker import Worker

OWN = """
import random, keras, numpy as np
class Noisy(keras.layers.Layer):
    "Asks Keras for numbers without a seed in the graph, and Python and NumPy while it is traced."
    def call(self, x, training=False):
        if not training:
            return x
        once = random.random() + np.random.uniform()
        return x * (1 + 0.1 * once) + keras.random.normal(keras.ops.shape(x), stddev=0.1)
"""
YAML = """
version: 1
name: t
data: {source: iris}
model: {layers: [Dense: {units: $units}, "mine_noisy:Noisy", Dense: {units: 3, activation: softmax}]}
search_space: {units: {type: choice, values: [4, 5]}, rate: {type: float, min: 0.01, max: 0.1}}
training: {optimizer: {name: sgd, learning_rate: $rate}, epochs: 3}
"""


def worker(folder: Path, name: str) -> Worker:
    (folder / "mine_noisy.py").write_text(OWN)
    (folder / "t.yaml").write_text(YAML)
    loaded = load(folder / "t.yaml", [])
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / name))


def curves(one: Worker, rate: float, *, units: int = 4, split: int | None = None) -> Curves:
    values = {"units": units, "rate": rate}
    if split is None:
        return one.run(Segment(0, values, to_epoch=3)).curves
    first = one.run(Segment(0, values, to_epoch=split, keep_state=True)).curves
    second = one.run(Segment(0, values, from_epoch=split, to_epoch=3)).curves
    return {name: (*first[name], *second[name]) for name in first}


def test_a_trial_draws_the_same_first_last_and_in_two_pieces(tmp_path: Path) -> None:
    one = worker(tmp_path, "one")
    alone = curves(one, 0.05)
    random.seed(5)
    np.random.seed(5)
    keras().utils.set_random_seed(7)
    keras().random.normal((3,))
    other = worker(tmp_path, "other")
    curves(other, 0.02, units=5)
    curves(other, 0.02)
    assert curves(other, 0.05) == alone
    assert curves(other, 0.05, split=2) == alone
    assert curves(other, 0.05, units=5) != alone
