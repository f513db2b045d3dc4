"""Losses that wrap a Keras loss while training; users never receive them.

Ranks, types, masks, weights and the reduction are left to the Keras loss inside: the wrappers change only targets and
predictions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.base.errors import SegmentFailed
from hptune.training.runtime import keras

SMOOTHABLE = ("SparseCategoricalCrossentropy", "CategoricalCrossentropy", "BinaryCrossentropy")
"""The losses whose targets can be smoothed."""

BY_SAMPLE = (
    *("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError"),
    *("CosineSimilarity", "Huber", "LogCosh", "Hinge", "SquaredHinge", "CategoricalHinge", "KLDivergence", "Poisson"),
    *("BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy", "CategoricalFocalCrossentropy"),
    "SparseCategoricalCrossentropy",
)
"""The losses that give each sample a value, whatever else is in the batch."""

_MEANS = ("sum_over_batch_size", "mean")


def as_loss(loss: Any) -> Any:
    """The loss as a Keras object, as `compile` makes one of a plain function."""
    if isinstance(loss, keras().losses.Loss):
        return loss
    from keras.src.losses.losses import LossFunctionWrapper

    return LossFunctionWrapper(loss, name=getattr(loss, "__name__", type(loss).__name__))


def chosen(loss: Any, model: Any, y: Any) -> Any:
    """The loss; for a name by which Keras chooses from the shapes of target and output, the chosen one."""
    if not isinstance(loss, str):
        return loss
    from keras.src.trainers.compile_utils import get_loss

    return get_loss(loss, y, model.output)


def is_mean_over_samples(loss: Any) -> bool:
    """Whether the loss of many samples is the mean of the batches' losses, weighted by size, however they are divided.

    Only known of Keras's own losses, and not of sums, of losses that ignore a class, nor of those over a whole batch
    (`Dice`, or any along another axis than the last).
    """
    inner = getattr(loss, "inner", loss)
    kind = type(inner)
    if kind.__name__ not in BY_SAMPLE or kind is not getattr(keras().losses, kind.__name__):
        return False
    options = inner._fn_kwargs
    by_row = options.get("axis", -1) == -1 and options.get("ignore_class") is None
    return inner.reduction in _MEANS and by_row


def standardized(loss: Any, mean: NDArray[Any], deviation: NDArray[Any]) -> Any:
    """`loss` over standardised targets and predictions, both of which come in the target's own unit.

    So training is well scaled whatever that unit, while predictions and metrics stay in it.
    """
    from keras.src import backend

    class Standardized(keras().losses.Loss):  # type: ignore[misc]  # Keras has no types
        inner = as_loss(loss)

        def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            import tensorflow as tf

            mask = backend.get_keras_mask(y_pred)
            m, d = (tf.constant(np.asarray(a), y_pred.dtype) for a in (mean, deviation))
            targets, predictions = (tf.cast(y_true, y_pred.dtype) - m) / d, (y_pred - m) / d
            if mask is not None:
                backend.set_keras_mask(predictions, mask)
            return self.inner(targets, predictions, sample_weight)

    return Standardized(name="loss")


def smoothed(loss: Any, smoothing: Any, loss_weights: Any = None) -> Any:
    """A cross-entropy whose targets are mixed with the uniform distribution: y·(1 − s) + s/k.

    smoothing: s in [0, 1), a number or a dial. loss_weights: those that the model is compiled with. For one-hot rows
    and 0 or 1 it is Keras's own; integer labels, for which Keras has none, are made one-hot inside. k is 2 for sigmoid
    outputs.
    References: Szegedy et al. 2016, arXiv:1512.00567. Raises SegmentFailed for any other loss, and for one that smooths
    already.
    """
    losses = keras().losses
    kind = type(loss).__name__
    if kind not in SMOOTHABLE or type(loss) is not getattr(losses, kind):
        raise SegmentFailed(f"label_smoothing needs a cross-entropy loss ({', '.join(SMOOTHABLE)}), and this is {kind}")
    if getattr(loss, "label_smoothing", 0.0):
        raise SegmentFailed(f"label_smoothing is given to {kind} too. Drop one of them.")
    options = {**loss._fn_kwargs, "reduction": loss.reduction, "name": loss.name, "dtype": loss.dtype}
    if kind == "SparseCategoricalCrossentropy":
        made = _smoothed_sparse(options, options.pop("ignore_class"), smoothing)
    else:
        made = type(loss)(**options)
        made._fn_kwargs = {**made._fn_kwargs, "label_smoothing": smoothing}
    if loss_weights is None:
        return made
    from keras.src.trainers.compile_utils import CompileLoss

    return CompileLoss(made, loss_weights)


def _smoothed_sparse(options: dict[str, Any], ignored: int | None, smoothing: Any) -> Any:
    from keras.src import backend

    axis = options["axis"]
    ops = keras().ops

    class Smoothed(keras().losses.CategoricalCrossentropy):  # type: ignore[misc]  # Keras has no types
        def call(self, y_true: Any, y_pred: Any) -> Any:
            if len(y_true.shape) == len(y_pred.shape) and y_true.shape[axis] == 1:
                y_true = ops.squeeze(y_true, axis)
            valid = None
            if ignored is not None:
                valid = ops.not_equal(y_true, ops.cast(ignored, y_true.dtype))
                y_true = ops.where(valid, y_true, 0)
                y_pred = ops.where(ops.expand_dims(valid, axis), y_pred, 0)
            classes = y_pred.shape[axis]
            sharp = ops.one_hot(ops.cast(y_true, "int32"), classes, axis=axis, dtype=y_pred.dtype)
            lost = super().call(sharp * (1.0 - smoothing) + smoothing / classes, y_pred)
            if valid is not None:
                lost = ops.where(valid, lost, 0.0)
                backend.set_keras_mask(lost, valid)
            return lost

    return Smoothed(**options)
