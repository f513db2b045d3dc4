"""A last check before a program serves a point: whether it computes what the builder's own model computes there.

The structure's key shows it from what the objects hold. This compares results: the predictions on one batch, its loss,
its metrics and the penalties, with the same weights in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hptune.training.core.batches import leaves, mapped
from hptune.training.core.loops import function
from hptune.training.core.program import Program
from hptune.training.core.results import in_order
from hptune.training.core.variables import code_of, own_state, put
from hptune.training.data import Data
from hptune.training.models.blueprint import Blueprint
from hptune.training.own.reach import reached
from hptune.training.own.sameness import kept_in_each_layer
from hptune.training.runtime import keras

BATCH = 16
"""Samples that are compared, beside one of each class that is missing among them."""

MOST = 4096
"""How many training samples are searched for missing classes."""

_TOLERANCE = 1e-5
"""Relative to the largest number: both compute the same in float32, maybe in another order."""


def apart(blueprint: Blueprint, program: Program, data: Data) -> str | None:
    """What differs between the builder's own model and the program at the blueprint's point; None where nothing does.

    The program keeps the weights and dials that were compared: a trial begins by setting its own.
    """
    from keras.src.trainers.compile_utils import CompileLoss, CompileMetrics

    own, model = blueprint.own, program.model
    assert own is not None, "asked of models that code builds"
    of_program, of_own = _weights(model, own)
    if [one.shape for one in of_program] != [one.shape for one in of_own]:
        return "other weights"
    if [one.trainable for one in of_program] != [one.trainable for one in of_own]:
        return "other weights to train"
    if (name := _set_otherwise(own, model)) is not None:
        return f"another {name} of a layer"
    for mine, theirs in zip(of_program, of_own, strict=True):
        mine.assign(theirs)
    program.turn(blueprint.dials)
    rows = _rows(data)
    x, y, weight = mapped(lambda a: a[rows], (data.train.x, data.train.y, data.train.sample_weight))
    compiled = blueprint.compiled
    loss = compiled.loss() if own._compile_loss is not None or model._compile_loss is not None else None
    wanted = None if loss is None else CompileLoss(loss, compiled.loss_weights, output_names=_names(own))
    metrics = CompileMetrics(compiled.metrics(), compiled.weighted_metrics(), output_names=_names(own))
    if any(not one.built for one in reached(code_of(own)) if isinstance(one, keras().layers.Layer)):
        _trace(
            own, wanted, x=x, y=y, weight=weight
        )  # a layer that a loss calls makes its variables now, before any change
    moved = {id(one): one for one in [*own_state(own), *own_state(model)]}.values()
    before = [one.numpy() for one in moved]
    ours = _computed(own, wanted, metrics=metrics, x=x, y=y, weight=weight)
    put(list(moved), before)
    theirs = _computed(model, model._compile_loss, metrics=model._compile_metrics, x=x, y=y, weight=weight)
    put(list(moved), before)
    for name, values in ours.items():
        if name not in theirs or not _close(values, theirs[name]):
            return f"other {name}" if name in ("predictions", "metrics") else f"another {name}"
    return None


def _set_otherwise(own: Any, model: Any) -> str | None:
    """An option that differs between a layer of the builder's model and the program's; None where none does.

    Options that a config does not restore, such as the strength of `enable_lora`, may only show in training. Dials are
    turned, and left out here.
    """
    ours = list(own._flatten_layers())
    theirs = list(model._flatten_layers())[-len(ours) :]
    usual = kept_in_each_layer()
    for mine, other in zip(ours, theirs, strict=True):
        if isinstance(mine, keras().Model) or type(mine).__name__ != type(other).__name__:
            continue  # a model's layers are compared; where penalties replaced one, its results are
        for name, value in vars(mine).items():
            now = vars(other).get(name, value)
            if name not in usual and _is_option(value) and _is_option(now) and value != now:
                return str(name)
    return None


def _is_option(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_option, value))
    return isinstance(value, str | bool | int | float)


def _rows(data: Data) -> Any:
    """The row numbers of the first samples, and of one sample of each class missing among them."""
    y = np.asarray(data.train.y[:MOST])
    classes = y if y.ndim == 1 else y.argmax(-1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(len(y), -1)[:, 0]
    _, firsts = np.unique(classes, return_index=True)
    firsts = firsts[firsts >= BATCH][:BATCH]
    return np.concatenate([np.arange(min(BATCH, len(y))), np.sort(firsts)])


def _weights(model: Any, own: Any) -> tuple[list[Any], list[Any]]:
    """(the program's weights that stand for the model's own, the model's own). Layers before the model come first."""
    of_own = list(own.weights)
    states = [one for one in own.variables if all(one is not weight for weight in of_own)]
    of_program = list(model.weights)[-len(of_own) :] if of_own else []
    drawn = [one for one in model.variables if all(one is not weight for weight in model.weights)]
    if len(drawn) == len(states):  # a dropout with rate 0 has no generator
        of_program, of_own = [*of_program, *drawn], [*of_own, *states]
    return of_program, of_own


def _names(model: Any) -> Any:
    return getattr(model, "output_names", None)


def _computed(model: Any, loss: Any, *, metrics: Any, x: Any, y: Any, weight: Any) -> dict[str, Any]:
    keras().utils.set_random_seed(0)  # for layers that draw without a generator of their own
    predicted = model(x, training=False)
    results = {"predictions": [np.asarray(leaf) for leaf in leaves(predicted)], "penalty": [_sum(model.losses)]}
    if loss is not None:
        results["loss"] = [np.asarray(loss(y, predicted, weight))]
    if metrics is not None and loss is not None:
        metrics.reset_state()  # the program's, which has trained
        metrics.update_state(y, predicted, weight)
        results["metrics"] = [np.asarray(leaf) for leaf in leaves(list(in_order(metrics.result()).values()))]
        metrics.reset_state()
    return results


def _trace(model: Any, loss: Any, *, x: Any, y: Any, weight: Any) -> None:
    """Trace the loss as `fit` does; nothing is computed."""
    if loss is not None:
        function(lambda: loss(y, model(x, training=False), weight), xla=False).get_concrete_function()


def _sum(losses: Any) -> float:
    return float(sum(float(np.sum(np.asarray(one))) for one in losses))


def _close(ours: Any, theirs: Any) -> bool:
    if len(ours) != len(theirs):
        return False
    for mine, other in zip(ours, theirs, strict=True):
        a, b = np.asarray(mine, np.float64), np.asarray(other, np.float64)
        size = float(np.max(np.abs(a[np.isfinite(a)]), initial=1.0))
        if a.shape != b.shape or not np.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE * size, equal_nan=True):
            return False
    return True
