"""What an exported model makes of raw numbers beside (x − mean) / deviation of numpy, over sixty powers of ten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hptune.training.export.in_unit import in_float32, in_float64, needs_float64
from hptune.training.runtime import keras


@pytest.mark.parametrize("size", [1e-290, 1e-60, 1e-38, 1e-12, 1e-3, 1.0, 1e9, 1e20, 1e38, 1e120, 1e290])
@pytest.mark.parametrize("far", [0.0, 1.0, -1e3, 1e6, 1e9])
def test_every_size_of_column_comes_into_its_unit(tmp_path: Path, size: float, far: float) -> None:
    """far: the offset, in deviations. The model is written and loaded, as users get it."""
    rng = np.random.default_rng(0)
    x = (far + rng.normal(size=(200, 2)) * [1, 1.7]) * size
    with np.errstate(over="ignore"):
        mean, deviation = x.mean(0), (x / size).std(0) * size
    wide = needs_float64(x, deviation)
    layers = in_float64(mean, deviation) if wide else in_float32(mean, deviation)
    model = keras().Sequential([keras().Input((2,), dtype="float64" if wide else "float32"), *layers])
    model.save(tmp_path / "m.keras")
    found = np.asarray(keras().models.load_model(tmp_path / "m.keras")(x))
    plain = (x - mean) / deviation
    assert np.abs(found - plain).max() < 1e-5, "of the column's own deviation"
    assert np.isfinite(found).all()


def test_what_float32_holds_is_taken_in_it() -> None:
    assert not needs_float64(np.linspace(0, 1, 50), 0.3)
    assert needs_float64(1.7e9 + np.arange(50.0), 14.0)
    assert needs_float64(np.linspace(0, 1e-60, 50), 3e-61)
