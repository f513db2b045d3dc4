"""Cross-validation of Keras models: a replica is a fold, and the winner is trained as a search without folds would."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.data import load_folds
from hptune.training.trainers.samples import Samples
from hptune.training.worker import Worker

IRIS = """\
version: 1
name: iris
data: {source: iris}
model: {layers: [Dense: {units: $units, activation: relu}, Dense: {units: 3, activation: softmax}]}
search_space: {units: {type: int, min: 4, max: 8}}
training: {epochs: 2}
"""


def worker(folder: Path, more: str) -> Worker:
    folder.mkdir()
    (folder / "spec.yaml").write_text(IRIS + more)
    loaded = load(folder / "spec.yaml")
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "iris"))


def test_each_replica_is_another_fold_and_the_winner_knows_of_none(tmp_path: Path) -> None:
    folded, plain = worker(tmp_path / "folds", "evaluation: {folds: 3}\n"), worker(tmp_path / "plain", "")
    curves = [folded.run(Segment(0, {"units": 4}, to_epoch=2, replica=replica)).curves for replica in (0, 1, 2, 3, 1)]
    assert curves[4] == curves[1], "a fold trained again gives the same"
    assert len({one["val_loss"] for one in curves}) == 4
    for one, rows in zip(curves, (40, 40, 40, 40), strict=False):
        share = one["val_accuracy"][-1] * rows
        assert abs(share - round(share)) < 1e-3, "measured on the 40 samples of a fold"
    best = [one.run(Segment(0, {"units": 4}, to_epoch=2, purpose="best")) for one in (folded, plain)]
    assert best[0].curves == best[1].curves
    assert best[0].facts["test"] == best[1].facts["test"]


def test_a_state_goes_on_within_its_fold(tmp_path: Path) -> None:
    folded = worker(tmp_path / "folds", "evaluation: {folds: 2}\n")
    whole = folded.run(Segment(0, {"units": 5}, to_epoch=2, replica=1)).curves
    folded.run(Segment(1, {"units": 5}, to_epoch=1, replica=1, keep_state=True))
    folded.run(Segment(1, {"units": 5}, to_epoch=1, replica=0, keep_state=True))
    rest = folded.run(Segment(1, {"units": 5}, from_epoch=1, to_epoch=2, replica=1)).curves
    assert rest["val_loss"] == whole["val_loss"][1:]


def test_samples_are_those_of_the_fold_that_is_asked_for(tmp_path: Path) -> None:
    worker(tmp_path / "folds", "evaluation: {folds: 3}\n")
    spec = load(tmp_path / "folds" / "spec.yaml").experiment
    samples = Samples(spec, tmp_path)
    assert spec.data is not None
    folds = load_folds(spec.data, folder=tmp_path, seed=0, folds=3)
    for number, fold in enumerate(folds):
        assert np.array_equal(samples.data(number).validation.x, fold.validation.x)
    assert len(samples.data(None).validation) == 30
