"""Losses that stand around a stock loss while training; users never receive them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.training.runtime import keras


def Standardized(loss: Any, mean: NDArray[Any], deviation: NDArray[Any]) -> Any:  # noqa: N802  # makes an object of a class that needs Keras
    """`loss` over standardised targets and predictions, both of which come in the target's own unit.

    So training is well scaled whatever the unit is, while predictions and metrics stay in it.
    """

    class _Standardized(keras().losses.Loss):  # type: ignore[misc]  # Keras has no types
        def call(self, y_true: Any, y_pred: Any) -> Any:
            import tensorflow as tf

            m, d = (tf.constant(np.asarray(a), y_pred.dtype) for a in (mean, deviation))
            return inner.call((tf.cast(y_true, y_pred.dtype) - m) / d, (y_pred - m) / d)

    inner = loss
    return _Standardized(name="loss")
