"""A run's winner where it is a scikit-learn model: `best/model.skops` as a function of raw samples."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from hptune.base.errors import RunError, printable
from hptune.run.rundir import RunPaths
from hptune.training.data.arrays import Array
from hptune.training.data.raw import take
from hptune.training.export.answers import Outputs
from hptune.training.export.guarded import guarded
from hptune.training.export.signature import Signature, damaged
from hptune.training.export.skops_types import load_known
from hptune.training.export.unseen import RawSamples
from hptune.training.models.estimators import Estimator

BATCH = 4096
"""Samples prepared and predicted at once."""


def _warned(message: Warning | str, *_: Any) -> None:
    print(f"note: {message}", file=sys.stderr)  # noqa: T201  # a renderer


class _Spelled(io.TextIOBase):
    """A stream to the screen for text that may come from the file: control characters are spelled out."""

    def __init__(self, screen: TextIO) -> None:
        self._screen = screen

    def write(self, text: str) -> int:
        self._screen.write(printable(text, keep="\n"))
        return len(text)


class SkopsPredictor:
    """Gives the probability of each class; for a model without probabilities, 1 for the class that it predicts."""

    def __init__(self, run: RunPaths, signature: Signature, trust: Sequence[str] = ()) -> None:
        """trust: types that the user trusts beside the known ones, as `module:Class`. Raises RunError, SpecError."""
        self._signature, self._run = signature, run
        self._trusted = bool(trust)  # such code may do anything
        with self._guard():
            self._estimator: Estimator = load_known(run.best_estimator, trust, run=run.name)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Restricts what the file's objects may do, and what they may print."""
        said = _Spelled(sys.stderr)
        with contextlib.ExitStack() as held:
            held.enter_context(contextlib.nullcontext() if self._trusted else guarded())
            held.enter_context(warnings.catch_warnings())
            held.enter_context(contextlib.redirect_stdout(said))  # only predictions go to stdout
            held.enter_context(contextlib.redirect_stderr(said))
            warnings.showwarning = _warned  # type: ignore[assignment]
            yield

    @property
    def width(self) -> int:
        """How many numbers it gives for a sample. Raises `RunError` where the saved file is damaged."""
        if self._signature.labels is not None:
            return len(self._signature.labels)
        if self._signature.targets:
            return len(self._signature.targets)
        try:
            sample = np.zeros((1, self._signature.columns))
        except (MemoryError, ValueError) as error:
            raise damaged(self._run) from error
        return int(self._outputs(sample).numbers.shape[1])

    def __call__(self, samples: RawSamples) -> Outputs:
        """As in `Predictor`, `BATCH` samples at a time."""
        rows = len(samples) if isinstance(samples, np.ndarray) else len(samples[0].values)
        outputs: list[Outputs] = []
        for start in range(0, rows, BATCH):
            batch = take(samples, np.arange(start, min(start + BATCH, rows)))
            rows_in_batch = len(batch) if isinstance(batch, np.ndarray) else len(batch[0].values)
            x = self._signature.preparation(batch, np.arange(rows_in_batch)).reshape(rows_in_batch, -1)
            outputs.append(self._outputs(x))
        if not outputs:
            return Outputs(np.empty((0, self.width)))
        chosen = None if outputs[0].chosen is None else np.concatenate([one.chosen for one in outputs])
        return Outputs(np.concatenate([one.numbers for one in outputs]), chosen)

    def _outputs(self, x: Array) -> Outputs:
        """The estimator's own predictions, and for classes and labels its probabilities. Raises RunError."""
        try:
            with self._guard():
                return self._predicted(x)
        except Exception as error:  # an estimator may be anybody's, and its file a stranger's
            why = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".rstrip(": ")
            remedy = f"Where the samples are as in training, write it anew: hptune train-best --run {self._run.name}"
            raise RunError(f"{self._run.best_estimator} can't predict: {why}. {remedy}.") from error

    def _predicted(self, x: Array) -> Outputs:
        predicted = np.asarray(self._estimator.predict(x))
        if self._signature.task == "regression":
            if predicted.dtype.kind not in "iuf":
                raise TypeError(f"its predictions are no numbers, but {predicted.dtype}")
            return Outputs(predicted.reshape(len(x), -1))
        if self._signature.task == "labels":
            return self._several(x, predicted)
        numbers = self._numbers(predicted)
        probabilities = self._probabilities(x)
        if probabilities is None:
            return Outputs(np.eye(self.width)[numbers], numbers)
        full = np.zeros((len(x), self.width))
        full[:, self._numbers(self._estimator.classes_)] = probabilities  # a class that it lacks stays 0
        return Outputs(full, numbers)

    def _probabilities(self, x: Array) -> Any:
        """The estimator's probabilities; None where it has none, which is said where only these samples have none."""
        if not hasattr(self._estimator, "predict_proba"):
            return None
        try:
            return self._estimator.predict_proba(x)
        except (ValueError, NotImplementedError) as error:  # ClassifierChain, of a label with one value in training
            why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            warnings.warn(f"the model gives no probabilities ({why}): 1 stands for what it predicts", stacklevel=2)
            return None

    def _numbers(self, classes: Array) -> Array:
        """The numbers of the classes among the signature's. An estimator that is not scikit-learn's own was trained on
        these numbers, and so was any by earlier versions.
        """
        labels = list(self._signature.labels or ())
        if not set(np.asarray(self._estimator.classes_).tolist()) <= set(labels):
            return classes.astype(np.int64)
        index = {label: number for number, label in enumerate(labels)}
        return np.array([index[one] for one in classes.tolist()], np.int64)

    def _several(self, x: Array, predicted: Array) -> Outputs:
        probabilities = self._probabilities(x)
        if probabilities is None:
            return Outputs(predicted.astype(np.float64), predicted)
        return Outputs(self._of_labels(probabilities), predicted)

    def _of_labels(self, probabilities: Any) -> Array:
        """[n, labels]: the probability that each label holds. probabilities: these, or for each label those of its
        values in training: of 0 and 1, or of the only value that it had.
        """
        if not isinstance(probabilities, list):
            return np.asarray(probabilities, np.float64)
        classes = getattr(self._estimator, "classes_", [np.arange(2)] * len(probabilities))
        on = [one @ np.asarray(had == 1, np.float64) for one, had in zip(probabilities, classes, strict=True)]
        return np.stack(on, axis=1)
