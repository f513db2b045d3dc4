"""Cross-validation: the segments of a fold go to a trainer of its own, which keeps that fold's samples and programs.

The replica of a segment says which fold it is; finalists, whose replicas come after the folds, go through
all of them again for each repeat, under seeds that no trial has used. The winner is trained on the one split, as a
search without folds has it.
"""

from __future__ import annotations

from collections.abc import Callable

from hptune.base.trial import Segment, SegmentResult
from hptune.training.trainers.trainer import OnEpoch, Trainer


class FoldedTrainer:
    """make: the trainer of a fold, from 0, or of the one split (None); called when its first segment comes."""

    def __init__(self, folds: int, make: Callable[[int | None], Trainer]) -> None:
        self._folds = folds
        self._make = make
        self._trainers: dict[int | None, Trainer] = {
            0: make(0)
        }  # the libraries are loaded before a segment's time counts

    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        """As the fold's trainer does it."""
        fold = None if segment.purpose in ("best", "baseline") else segment.replica % self._folds
        if fold not in self._trainers:
            self._trainers[fold] = self._make(fold)
        return self._trainers[fold].run(segment, on_epoch)
