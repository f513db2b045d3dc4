"""A run's winner where it is a scikit-learn model: `best/model.skops` as a function of raw samples."""

from __future__ import annotations

import numpy as np

from hptune.errors import RunError
from hptune.rundir import RunPaths
from hptune.training.data.parts import Array
from hptune.training.data.raw import take
from hptune.training.data.unseen import Samples
from hptune.training.estimators import Estimator
from hptune.training.signature import Signature

BATCH = 4096
"""So many samples are prepared and predicted at once."""

_TRUSTED = ("sklearn", "numpy", "scipy")
"""Packages whose classes are made when a file names them."""


class SkopsPredictor:
    """Gives the probability of each class; of a model that has none, 1 for the class that it predicts."""

    def __init__(self, run: RunPaths, signature: Signature) -> None:
        from skops import io

        self._signature = signature
        try:
            named = io.get_untrusted_types(file=run.best_estimator)
            strange = [name for name in named if name.split(".")[0] not in _TRUSTED]
            if strange:
                told = f"{run.best_estimator} holds {strange[0]}, which is not scikit-learn's own"
                raise RunError(f"{told}. Where you trust it, load it by skops.io.load(…, trusted={strange}).")
            self._estimator: Estimator = io.load(run.best_estimator, trusted=named)
        except (OSError, ValueError, TypeError, KeyError) as error:  # what skops raises for a file that it can't take
            raise RunError(f"{run.best_estimator} can't be loaded: {str(error).splitlines()[0]}") from error

    @property
    def width(self) -> int:
        if self._signature.labels is not None:
            return len(self._signature.labels)
        return int(self._outputs(np.zeros((1, self._estimator.n_features_in_))).shape[1])

    def __call__(self, samples: Samples) -> Array:
        rows = len(samples) if isinstance(samples, np.ndarray) else len(samples[0].values)
        found = [np.empty((0, self.width), np.float64)]
        for start in range(0, rows, BATCH):
            batch = take(samples, np.arange(start, min(start + BATCH, rows)))
            some = len(batch) if isinstance(batch, np.ndarray) else len(batch[0].values)
            x = self._signature.preparation(batch, np.arange(some)).reshape(some, -1)
            found.append(self._outputs(x))
        return np.concatenate(found)

    def _outputs(self, x: Array) -> Array:
        """[n, width]."""
        if self._signature.task == "regression":
            return np.asarray(self._estimator.predict(x), np.float64).reshape(len(x), -1)
        if not hasattr(self._estimator, "predict_proba"):
            given = np.asarray(self._estimator.predict(x))
            return np.asarray(given if given.ndim == 2 else np.eye(self.width)[given], np.float64)
        told = self._estimator.predict_proba(x)
        if isinstance(told, list):  # several labels, for each the probabilities of 0 and 1
            return np.stack([one[:, 1] if one.shape[1] > 1 else 0 * one[:, 0] for one in told], axis=1)
        if self._signature.task == "labels":
            return np.asarray(told, np.float64)
        full = np.zeros((len(x), self.width))
        full[:, self._estimator.classes_] = told  # a class that the training part had not stays at 0
        return full
