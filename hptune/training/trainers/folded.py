"""Cross-validation: the segments of a fold go to a trainer of its own, which keeps that fold's samples and programs.

The replica of a segment says which fold it is. Finalists' replicas come after the folds: they go through all folds
again for each repeat, under seeds that no trial has used. The winner is trained on the single split, as in a search
without folds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.experiment import Experiment
from hptune.run.rundir import RunPaths
from hptune.training.data.store.shared import SharedData
from hptune.training.trainers.keras_trainer import KerasTrainer
from hptune.training.trainers.samples import Samples
from hptune.training.trainers.trainer import OnEpoch, Trainer


class FoldedTrainer:
    """make: makes the trainer of a fold, from 0, or of the single split (None); called at its first segment."""

    def __init__(self, folds: int, make: Callable[[int | None], Trainer]) -> None:
        self._folds = folds
        self._make = make
        self._trainers: dict[int | None, Trainer] = {
            0: make(0)
        }  # the libraries are loaded before a segment's time counts

    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        """Run the segment by its fold's trainer."""
        fold = None if segment.purpose in ("best", "baseline") else segment.replica % self._folds
        if fold not in self._trainers:
            self._trainers[fold] = self._make(fold)
        return self._trainers[fold].run(segment, on_epoch)


def keras_trainer(experiment: Experiment, folder: Path, run: RunPaths, shared: SharedData | None) -> Trainer:
    """The trainer of Keras models: on one split, or on each of the folds."""
    samples = Samples(experiment, folder, shared=shared, cache=run.data)

    def of_fold(fold: int | None) -> Trainer:
        return KerasTrainer(experiment, folder, run=run, samples=samples, fold=fold)

    folds = experiment.evaluation.folds
    return of_fold(None) if folds is None else FoldedTrainer(folds, of_fold)
