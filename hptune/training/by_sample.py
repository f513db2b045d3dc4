"""Whether what `evaluate` gives depends on how the samples are cut into batches.

Where it does not, validation goes in large batches; where it may, in the trial's own, as Keras's `fit` does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hptune.spec.dials import LAYERS
from hptune.training import augment
from hptune.training.losses import is_mean_over_samples
from hptune.training.runtime import keras
from hptune.training.variables import is_of_keras


def is_by_sample(model: Any, loss: Any) -> bool:
    """Whether what `evaluate` gives does not depend on how the samples are cut into batches.

    So it is where the one loss is a mean over samples, the metrics are Keras's own, nothing masks, no layer works along
    the axis of the samples, and none draws random numbers in inference too, as Keras's recurrent ones with dropout do.
    """
    stock = keras().Model
    own_step = type(model).test_step is not stock.test_step or type(model).compute_loss is not stock.compute_loss
    if own_step or isinstance(loss, Mapping | list | tuple) or not is_mean_over_samples(loss):
        return False
    layers = list(model._flatten_layers(include_self=False))
    noisy = [type(layer).__name__ for layer in layers if layer._seed_generators]
    draws = not set(noisy) <= set(_DRAW_IN_TRAINING)
    masks = any(type(layer).__name__ == "Masking" or getattr(layer, "mask_zero", False) for layer in layers)
    own_code = not all(map(is_of_keras, layers))
    operations = getattr(model, "operations", model.layers)  # a functional model may hold bare `keras.ops` too
    mixes = len(operations) > len(model.layers) or any(map(_works_along_samples, layers))
    metrics = model._compile_metrics.metrics if model._compile_metrics is not None else []
    return not (draws or masks or own_code or mixes) and all(map(_is_keras_metric, metrics))


def _works_along_samples(layer: Any) -> bool:
    """Whether one of its axes may be that of the samples: 0, or one counted from the end that is not the last."""
    given = [getattr(layer, name, None) for name in ("axis", "axes")]
    axes = [axis for one in given for axis in (one if isinstance(one, list | tuple) else [one])]
    return any(isinstance(axis, int) and not isinstance(axis, bool) and axis != -1 and axis < 1 for axis in axes)


_DRAW_IN_TRAINING = (*LAYERS, *(f"Random{what}" for what in ("Flip", *augment.KINDS)))
"""Layers that draw random numbers in training alone."""


def _is_keras_metric(metric: Any) -> bool:
    function = getattr(metric, "_fn", None)
    if getattr(metric, "_fn_kwargs", {}).get("axis", -1) != -1:  # it compares what stands beside in the batch
        return False
    return all(one is None or one.__module__.split(".")[0] == "keras" for one in (type(metric), function))
