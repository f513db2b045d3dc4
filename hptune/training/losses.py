"""Losses that stand around a stock loss while training; users never receive them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.errors import SegmentFailed
from hptune.training.runtime import keras

SMOOTHABLE = ("SparseCategoricalCrossentropy", "CategoricalCrossentropy", "BinaryCrossentropy")
"""The losses whose targets can be smoothed."""


def standardized(loss: Any, mean: NDArray[Any], deviation: NDArray[Any]) -> Any:
    """`loss` over standardised targets and predictions, both of which come in the target's own unit.

    So training is well scaled whatever the unit is, while predictions and metrics stay in it.
    """

    plain = loss.call if isinstance(loss, keras().losses.Loss) else loss  # a user's own may be a function

    class Standardized(keras().losses.Loss):  # type: ignore[misc]  # Keras has no types
        def call(self, y_true: Any, y_pred: Any) -> Any:
            import tensorflow as tf

            m, d = (tf.constant(np.asarray(a), y_pred.dtype) for a in (mean, deviation))
            return plain((tf.cast(y_true, y_pred.dtype) - m) / d, (y_pred - m) / d)

    return Standardized(name="loss")


def smoothed(loss: Any, smoothing: Any) -> Any:
    """A cross-entropy whose targets are mixed with the uniform distribution: y·(1 − s) + s/k.

    smoothing: s in [0, 1), a number or a dial. Integer labels are made one-hot inside; for one sigmoid output k is 2.
    References: Szegedy et al. 2016, arXiv:1512.00567. Raises SegmentFailed for any other loss.
    """
    kind = type(loss).__name__
    if kind not in SMOOTHABLE:
        raise SegmentFailed(f"label_smoothing needs a cross-entropy loss ({', '.join(SMOOTHABLE)}), and this is {kind}")
    logits = bool(loss.get_config().get("from_logits", False))
    binary = kind == "BinaryCrossentropy"
    crossentropy = keras().losses.binary_crossentropy if binary else keras().losses.categorical_crossentropy

    class Smoothed(keras().losses.Loss):  # type: ignore[misc]  # Keras has no types
        def call(self, y_true: Any, y_pred: Any) -> Any:
            import tensorflow as tf

            classes = y_pred.shape[-1]
            if kind == "SparseCategoricalCrossentropy":
                y_true = tf.one_hot(tf.reshape(tf.cast(y_true, tf.int32), [-1]), classes, dtype=y_pred.dtype)
            elif y_true.shape.rank < y_pred.shape.rank:
                y_true = tf.expand_dims(y_true, -1)
            s = tf.convert_to_tensor(smoothing, y_pred.dtype)
            soft = tf.cast(y_true, y_pred.dtype) * (1 - s) + s / (2 if binary else classes)
            return crossentropy(soft, y_pred, from_logits=logits)

    return Smoothed(name="loss")
