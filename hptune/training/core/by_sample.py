"""Whether the result of `evaluate` depends on how the samples are divided into batches.

Where it does not, validation uses large batches; where it may, the trial's own, as Keras's `fit` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hptune.experiment.dials import LAYERS
from hptune.training.core.losses import is_mean_over_samples
from hptune.training.core.results import makes_its_own_loss
from hptune.training.core.variables import is_of_keras
from hptune.training.models import augment
from hptune.training.own.sameness import own_in_stock
from hptune.training.runtime import keras


def is_by_sample(model: Any, loss: Any, y: Any) -> bool:
    """Whether the result of `evaluate` is the same however the samples are divided into batches.

    That holds where there is one loss, a mean over samples; the metrics are Keras's own; nothing masks; no layer works
    along the axis of the samples; and none draws random numbers in inference, as Keras's recurrent layers with dropout
    do.

    y: some targets.
    """
    own_step = makes_its_own_loss(model)
    if own_step or isinstance(loss, Mapping | list | tuple) or not is_mean_over_samples(loss):
        return False
    layers = list(model._flatten_layers(include_self=False))
    draws = any(layer._seed_generators and not _draws_in_training_alone(layer) for layer in layers)
    masks = any(type(layer).__name__ == "Masking" or getattr(layer, "mask_zero", False) for layer in layers)
    own_code = not all(is_of_keras(layer) and not own_in_stock(layer) for layer in layers)
    operations = getattr(model, "operations", model.layers)  # a functional model may hold bare `keras.ops` too
    mixes = len(operations) > len(model.layers) or any(map(_works_along_samples, layers))
    metrics = model._compile_metrics.metrics if model._compile_metrics is not None else []
    return not (draws or masks or own_code or mixes) and all(_is_by_sample(one, y, model) for one in metrics)


def _works_along_samples(layer: Any) -> bool:
    """Whether one of its axes may be that of the samples: 0, or a negative one other than the last."""
    if type(layer).__name__ in _LOOK_AT_THE_WHOLE:
        return True
    options = [getattr(layer, name, None) for name in ("axis", "axes")]
    axes = [axis for one in options for axis in (one if isinstance(one, list | tuple) else [one])]
    return any(isinstance(axis, int) and not isinstance(axis, bool) and axis != -1 and axis < 1 for axis in axes)


_LOOK_AT_THE_WHOLE = ("MelSpectrogram",)
"""Layers that compute a number over the whole batch without an `axis` argument: the loudest of all sounds."""


def _draws_in_training_alone(layer: Any) -> bool:
    """Whether a layer draws in training only; Keras's recurrent layers with dropout draw in inference too."""
    shares = [getattr(layer, name, None) for name in ("dropout", "recurrent_dropout")]
    return type(layer).__name__ in _DRAW_IN_TRAINING or shares == [0, 0]


_DRAW_IN_TRAINING = (*LAYERS, *(f"Random{what}" for what in ("Flip", *augment.KINDS)))
"""Layers that draw random numbers in training alone."""


def _is_by_sample(metric: Any, y: Any, model: Any) -> bool:
    """Whether a metric is Keras's own and treats each sample by itself."""
    function, options = getattr(metric, "_fn", None), getattr(metric, "_fn_kwargs", {})
    if not all(one is None or one.__module__.split(".")[0] == "keras" for one in (type(metric), function)):
        return False
    shape = getattr(model, "output_shape", None)
    if function is None:
        return isinstance(shape, tuple) and None not in shape[1:] and _counts_alike(metric, y, shape[1:])
    if options.get("axis", -1) != -1 or getattr(metric, "axis", -1) != -1:
        return False
    if isinstance(shape, tuple) and len(shape) == len(y.shape):
        return True
    # Targets [n] and outputs [n, 1]: some of Keras's functions bring them to one rank, and some broadcast to [n, n].
    return isinstance(shape, tuple) and _is_cut_alike(function, options, y=y, shape=shape[1:])


def _counts_alike(metric: Any, y: Any, shape: tuple[Any, ...]) -> bool:
    """Whether a metric that adds up gives the same for a few samples together and one by one.

    Tried on the metric itself, since configs leave options out.
    """
    y, predicted = _some(y, shape)

    def values_by(size: int) -> list[Any]:
        metric.reset_state()
        for start in range(0, len(y), size):
            metric.update_state(y[start : start + size], predicted[start : start + size])
        return [np.asarray(one) for one in [*metric.variables, *keras().tree.flatten(metric.result())]]

    try:
        ours, theirs = values_by(len(y)), values_by(1)
    except Exception:  # noqa: BLE001  # Keras raises anything for samples that a metric can't take so
        return False
    finally:
        metric.reset_state()
    return all(np.allclose(a, b, rtol=1e-4, equal_nan=True) for a, b in zip(ours, theirs, strict=True))


def _some(y: Any, shape: tuple[Any, ...]) -> tuple[Any, Any]:
    """A few targets like y, and predictions of this shape."""
    y = np.broadcast_to(np.arange(4).reshape(-1, *[1] * (y.ndim - 1)) % 2, (4, *y.shape[1:])).astype(y.dtype)
    return y, np.random.default_rng(0).uniform(0.1, 0.9, size=(len(y), *shape)).astype(np.float32)


def _is_cut_alike(function: Any, options: Mapping[str, Any], *, y: Any, shape: tuple[Any, ...]) -> bool:
    """Whether a function gives a few samples the values of each alone. y: targets, for their shape and type."""
    if None in shape:
        return False
    y, predicted = _some(y, shape)
    whole = np.asarray(function(y, predicted, **options))
    each = np.concatenate([np.asarray(function(y[i : i + 1], predicted[i : i + 1], **options)) for i in range(len(y))])
    return whole.shape == each.shape and bool(np.allclose(whole, each, rtol=1e-4, equal_nan=True))
