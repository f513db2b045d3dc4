"""The learning rate of every step of a trial, in a table that the next trial replaces."""

from __future__ import annotations

from typing import Any

import numpy as np

from hptune.training.runtime import keras


def rate_table() -> Any:
    """A `LearningRateSchedule` that looks the rate up by the optimizer's step, in a table that can be replaced."""
    import tensorflow as tf

    class RateTable(keras().optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            self.table = tf.Variable(np.zeros(1, np.float32), shape=[None], trainable=False)
            self.factor = tf.Variable(1.0, trainable=False)

        def __call__(self, step: Any) -> Any:
            last = tf.shape(self.table)[0] - 1  # a step of the user's may ask for it after the last one
            return tf.gather(self.table, tf.minimum(tf.cast(step, tf.int32), last)) * self.factor

        def get_config(self) -> dict[str, Any]:
            return {}

    return RateTable()
