"""How an optimizer updates the variables: on one device, and by one operation per variable where there is one.

Keras's backend for TensorFlow goes through `tf.distribute`, for replicas that don't exist here. Besides the time that
takes, its sum of the gradients adds a function to a registry of TensorFlow (`tf.custom_gradient`) whenever it is
traced, which keeps the whole graph for ever: 6 MB for each compiled structure.

Adam's formula, which Keras spells out in a dozen operations with a pass over the variable each, is one kernel of
TensorFlow's (`ResourceApplyAdam`). That saves a tenth of a small network's epoch and a third of the time until its
graph is ready. The kernel computes 1 - beta_2 in float32 and Keras in Python, which differ in the fifth digit; the rate
and epsilon are scaled so that the step is still Keras's. What the kernel can't do is left to Keras:
AMSGrad, gradients of a few rows (`Embedding`), a beta_2 below one half, and an update that a subclass has written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from hptune.training.models.dials import Number
from hptune.training.runtime import keras

Pairs: TypeAlias = Sequence[tuple[Any, Any]]
"""(gradient, variable), a variable of TensorFlow's."""


def fuse(optimizer: Any) -> None:
    """Make `optimizer`, a stock one or a user's, update in this way."""
    kind, adam = type(optimizer), keras().optimizers.Adam
    known = isinstance(optimizer, adam) and kind.update_step is adam.update_step and not optimizer.amsgrad
    known = known and "update_step" not in vars(optimizer)  # put there by the user's code
    known = known and (isinstance(optimizer.beta_2, Number) or 0.5 <= optimizer.beta_2 < 1)
    hooks = {
        "_all_reduce_sum_gradients": _as_they_are,
        "_distributed_tf_update_step": _by_adam if known else _one_by_one,
    }
    assert all(hasattr(kind, hook) for hook in hooks), "Keras has another way to update now"
    optimizer.__class__ = type(kind.__name__, (kind,), hooks)


def _as_they_are(_: Any, pairs: Pairs) -> Pairs:
    return pairs


def _one_by_one(self: Any, _: Any, pairs: Pairs, learning_rate: Any) -> None:
    for gradient, variable in pairs:
        self.update_step(gradient, variable, learning_rate)


def _by_adam(self: Any, _: Any, pairs: Pairs, learning_rate: Any) -> None:
    """The update of Adam, and of optimizers that differ from it elsewhere (`AdamW`)."""
    import tensorflow as tf

    def numbers(dtype: Any) -> dict[str, Any]:
        """The arguments that are the same for all variables of a dtype."""
        same = _same_step(self.beta_2)
        rate, epsilon = same * tf.convert_to_tensor(learning_rate), self.epsilon * same
        arguments = {"lr": rate, "beta1": self.beta_1, "beta2": self.beta_2, "epsilon": epsilon}
        arguments = {name: tf.cast(tf.convert_to_tensor(number), dtype) for name, number in arguments.items()}
        step = tf.cast(self.iterations + 1, dtype)
        return {**arguments, "beta1_power": arguments["beta1"] ** step, "beta2_power": arguments["beta2"] ** step}

    of_type: dict[Any, dict[str, Any]] = {}
    for gradient, variable in pairs:
        if isinstance(gradient, tf.IndexedSlices):
            self.update_step(gradient, variable, learning_rate)
            continue
        index = self._get_variable_index(variable)
        if variable.dtype not in of_type:
            of_type[variable.dtype] = numbers(variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            grad=tf.cast(gradient, variable.dtype),
            **of_type[variable.dtype],
        )


def _same_step(beta_2: Any) -> Any:
    """The factor of the rate and epsilon: sqrt(c′/c), with c = 1 - beta_2 as in Keras, and c′ as in the kernel.

    The kernel's mean of the squares is c′/c times Keras's (but for their decay, alike to 1e-8 a step).
    """
    if isinstance(beta_2, Number):
        import tensorflow as tf

        def factor() -> Any:
            exact = beta_2.value()
            return tf.sqrt((1 - tf.cast(tf.cast(exact, tf.float32), tf.float64)) / (1 - exact))

        return Number(factor)
    exact = 1 - float(beta_2)
    return math.sqrt(float(np.float32(1) - np.float32(beta_2)) / exact) if exact > 0 else 1.0
