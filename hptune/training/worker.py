"""What runs where segments run: the trainer for the experiment's kind of model, made when first needed."""

from __future__ import annotations

import traceback
from pathlib import Path

from hptune.errors import HptuneError, SegmentFailed
from hptune.rundir import RunPaths, write_whole
from hptune.spec.experiment import Experiment
from hptune.spec.model import FunctionModel, SklearnModel
from hptune.stopwatch import counts
from hptune.training.data.shared import SharedData
from hptune.training.folded import FoldedTrainer
from hptune.training.trainer import OnEpoch, Trainer
from hptune.trial import Segment, SegmentResult

_KEPT = 2**16
"""Characters of a traceback that are kept on the disk."""


class Worker:
    """Runs the segments of one experiment in this process.

    folder: the YAML file's; relative paths and users' modules are looked for there.
    run: where states and models are written. shared: where workers hand the data over; None where there is one alone.
    """

    def __init__(self, experiment: Experiment, folder: Path, run: RunPaths, shared: SharedData | None = None) -> None:
        self._experiment = experiment
        self._folder = folder
        self._run = run
        self._shared = shared
        self._trainer: Trainer | None = None

    @counts("rest")
    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        """Train a segment, or probe. Raises `SegmentFailed` for whatever training raises, `SpecError` from a probe."""
        try:
            return self.trainer().run(segment, on_epoch)
        except HptuneError:
            raise
        except Exception as error:
            self._keep_traceback(segment)
            raise SegmentFailed(reason(error)) from error

    @counts("start")
    def trainer(self) -> Trainer:
        if self._trainer is None:
            if isinstance(self._experiment.model, FunctionModel):
                from hptune.training.function import FunctionTrainer

                self._trainer = FunctionTrainer(self._experiment, self._folder)
            elif isinstance(self._experiment.model, SklearnModel):
                from hptune.training.sklearn_trainer import SklearnTrainer

                self._trainer = SklearnTrainer(self._experiment, self._folder, self._run, self._shared)
            else:
                self._trainer = self._keras_trainer()
        return self._trainer

    def _keras_trainer(self) -> Trainer:
        from hptune.training.keras_trainer import KerasTrainer
        from hptune.training.samples import Samples

        folds = self._experiment.evaluation.folds
        samples = Samples(self._experiment, self._folder, self._shared, self._run.data)

        def of_fold(fold: int | None) -> Trainer:
            return KerasTrainer(self._experiment, self._folder, self._run, samples, fold=fold)

        return of_fold(None) if folds is None else FoldedTrainer(folds, of_fold)

    def _keep_traceback(self, segment: Segment) -> None:
        text = traceback.format_exc()
        if len(text) > _KEPT:  # a message may hold a whole array
            text = f"{text[: _KEPT // 2]}\n… {len(text) - _KEPT:,} characters …\n{text[-_KEPT // 2 :]}"
        write_whole(self._run.trial_error(segment.trial), text)


def reason(error: BaseException) -> str:
    """An exception in one line: its type and the first line of its message that says something.

    Where TensorFlow tells of a graph, that is the line behind the places in it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Graph execution error"):
        places = ("Graph execution error", "Detected at", "File ", "[[", "Errors may have", "Function call stack")
        lines = [line for line in lines if not line.startswith(places)] or lines
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
