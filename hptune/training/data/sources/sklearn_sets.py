"""The data sets inside scikit-learn: small, real and without a download."""

from __future__ import annotations

import numpy as np

from hptune.experiment.data import SourceData
from hptune.training.data.raw import Raw
from hptune.training.data.reading import Reading


def read_source(spec: SourceData, reading: Reading) -> Raw:  # noqa: ARG001  # it is in no folder
    """`digits`: x float32 [1797, 8, 8, 1] in [0, 1], y in 0..9. The others: float64 tables in their own units."""
    from sklearn import datasets

    path = ("data", "source")
    if spec.source == "digits":
        x, y = datasets.load_digits(return_X_y=True)
        pictures = (x.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
        return Raw(pictures, y, (), path, path, labels=tuple(range(10)))
    if spec.source == "diabetes":
        # Unscaled: scikit-learn's scaling takes its statistics from all rows, the test part included.
        bunch = datasets.load_diabetes(scaled=False)
        return Raw(bunch.data, bunch.target, tuple(bunch.feature_names), path, path)
    bunch = getattr(datasets, f"load_{spec.source}")()
    features = tuple(str(name) for name in bunch.feature_names)
    return Raw(bunch.data, bunch.target, features, path, path, labels=tuple(str(name) for name in bunch.target_names))
