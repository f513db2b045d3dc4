"""Where validation may go in larger batches: only where no sample looks at another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hptune.training.core.by_sample import is_by_sample
from hptune.training.runtime import keras

L = keras().layers


def compiled(*layers: Any, loss: Any = "mse", metrics: Any = (), units: int = 1) -> Any:
    model = keras().Sequential([keras().Input((4, 3)), *layers, L.Flatten(), L.Dense(units)])
    loss = keras().losses.MeanSquaredError() if loss == "mse" else loss
    model.compile("sgd", loss, metrics=list(metrics))
    y = np.zeros((5,) if units == 1 else (5, units), np.float32)
    model._symbolic_build(data_batch=(np.zeros((5, 4, 3), np.float32), y, None))
    return model, loss, y


ALIKE: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"layers": [L.Dropout(0.5), L.GaussianNoise(0.1)]},
    "normalised": {"layers": [L.BatchNormalization(), L.LayerNormalization()]},
    "recurrent": {"layers": [L.LSTM(2, return_sequences=True)]},
    "metrics": {"metrics": ["mae", "mse", keras().metrics.R2Score(), "cosine_similarity"], "units": 2},
    "squeezed": {"metrics": ["mae", "mse"]},
}
MIXED: dict[str, dict[str, Any]] = {
    "dropout in a cell": {"layers": [L.LSTM(2, dropout=0.5, return_sequences=True)]},
    "masks": {"layers": [L.Masking()]},
    "along the samples": {"layers": [L.UnitNormalization(axis=0)]},
    "counted from the end": {"layers": [L.Softmax(axis=-3)]},
    "sum": {"loss": keras().losses.MeanSquaredError(reduction="sum")},
    "metric along the samples": {"metrics": [keras().metrics.CosineSimilarity(axis=0)]},
    "classes along the samples": {"metrics": [keras().metrics.OneHotMeanIoU(2, axis=0)], "units": 2},
    "metric that broadcasts": {"metrics": ["poisson"]},
    "own metric": {"metrics": [lambda y, p: keras().ops.max(p)]},
}


@pytest.mark.parametrize("name", ALIKE)
def test_samples_that_count_by_themselves(name: str) -> None:
    given = dict(ALIKE[name])
    assert is_by_sample(*compiled(*given.pop("layers", ()), **given))


@pytest.mark.parametrize("name", MIXED)
def test_samples_that_may_look_at_each_other(name: str) -> None:
    given = dict(MIXED[name])
    assert not is_by_sample(*compiled(*given.pop("layers", ()), **given))


def test_a_bare_operation_may_mix_samples() -> None:
    inputs = keras().Input((3,))
    outputs = L.Dense(1)(inputs - keras().ops.mean(inputs, axis=0, keepdims=True))
    for model, alike in ((keras().Model(inputs, outputs), False), (keras().Model(inputs, L.Dense(1)(inputs)), True)):
        loss = keras().losses.MeanSquaredError()
        model.compile("sgd", loss)
        assert is_by_sample(model, loss, np.zeros(3)) == alike
