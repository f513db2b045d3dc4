"""Losses around Keras's own: what Keras does with ranks, reductions, masks and ignored classes is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SegmentFailed
from hptune.training.core.losses import is_mean_over_samples, smoothed, standardized
from hptune.training.runtime import keras

MEAN, DEVIATION = np.asarray(100.0), np.asarray(30.0)


def numbers(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def squared(y_true: Any, y_pred: Any) -> Any:
    return keras().ops.mean(keras().ops.square(y_true - y_pred), axis=-1)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", None])
@pytest.mark.parametrize("name", ["MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh"])
@pytest.mark.parametrize("weighted", [False, True])
def test_standardized_is_the_loss_of_standardized_values(name: str, reduction: str | None, weighted: bool) -> None:
    loss = getattr(keras().losses, name)(reduction=reduction)
    y, found = numbers(7), numbers(7, 1, seed=1)
    weight = np.arange(7, dtype=np.float32) if weighted else None
    ours = standardized(loss, MEAN, DEVIATION)(y * 30 + 100, found * 30 + 100, weight)
    np.testing.assert_allclose(ours, loss(y, found, weight), rtol=2e-5, atol=1e-5)


def test_a_function_of_the_users_gets_targets_of_the_predictions_rank() -> None:
    """Keras gives a plain function [n, 1] and [n, 1]; [n] and [n, 1] would broadcast to [n, n]."""
    y, found = numbers(7), numbers(7, 1, seed=1)
    ours = standardized(squared, MEAN, DEVIATION)(y * 30 + 100, found * 30 + 100)
    assert float(ours) == pytest.approx(float(np.mean((y - found[:, 0]) ** 2)), rel=1e-4)


def one_hot(y: np.ndarray[Any, Any], classes: int) -> np.ndarray[Any, Any]:
    rows: np.ndarray[Any, Any] = np.eye(classes, dtype=np.float32)[y]
    return rows


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    e = np.exp(logits)
    shares: np.ndarray[Any, Any] = e / e.sum(-1, keepdims=True)
    return shares


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
@pytest.mark.parametrize("s", [0.0, 0.1, 0.5])
def test_smoothed_labels_are_keras_own_smoothing_of_one_hot_rows(s: float, reduction: str, from_logits: bool) -> None:
    y = np.array([0, 2, 1, 2])
    found = numbers(4, 3) if from_logits else softmax(numbers(4, 3))
    losses, options = keras().losses, {"from_logits": from_logits, "reduction": reduction}
    plain = losses.CategoricalCrossentropy(label_smoothing=s, **options)(one_hot(y, 3), found)
    for loss, target in (
        (losses.SparseCategoricalCrossentropy(**options), y),
        (losses.SparseCategoricalCrossentropy(**options), y[:, None]),
        (losses.CategoricalCrossentropy(**options), one_hot(y, 3)),
    ):
        np.testing.assert_allclose(smoothed(loss, s)(target, found), plain, rtol=1e-6)


def test_an_ignored_class_is_ignored_when_labels_are_smoothed() -> None:
    """Positions of class 9 count in neither the sum nor the mean: as a loss over the others alone."""
    y = np.array([[0, 9, 1], [9, 2, 2]])
    found = softmax(numbers(2, 3, 3))
    loss = keras().losses.SparseCategoricalCrossentropy(ignore_class=9)
    kept = y != 9
    plain = keras().losses.CategoricalCrossentropy(label_smoothing=0.2)(one_hot(y[kept], 3), found[kept])
    np.testing.assert_allclose(smoothed(loss, 0.2)(y, found), plain, rtol=1e-6)


def test_labels_are_not_smoothed_twice() -> None:
    with pytest.raises(SegmentFailed, match="too"):
        smoothed(keras().losses.CategoricalCrossentropy(label_smoothing=0.1), 0.1)
    with pytest.raises(SegmentFailed, match="needs a cross-entropy"):
        smoothed(keras().losses.MeanSquaredError(), 0.1)


@pytest.mark.parametrize("name", [n for n in dir(keras().losses) if n[0].isupper() and n not in ("Loss", "CTC")])
def test_a_mean_over_samples_does_not_depend_on_the_cut(name: str) -> None:
    """Walks all of Keras's losses: what is said to be a mean over samples must be one."""
    loss: Any = getattr(keras().losses, name)()
    if not is_mean_over_samples(loss):
        return
    y = np.random.default_rng(0).integers(0, 2, (12, 3)).astype(np.float32)
    found = softmax(numbers(12, 3))
    if name.startswith("Sparse"):
        y = np.argmax(y, -1)
    whole = float(loss(y, found))
    parts = (np.arange(7), np.arange(7, 12))
    cut = sum(len(part) * float(loss(y[part], found[part])) for part in parts) / 12
    assert cut == pytest.approx(whole, rel=1e-5)


def test_what_depends_on_the_cut_is_not_called_a_mean_over_samples() -> None:
    losses = keras().losses
    for loss in (
        losses.Dice(),
        losses.Tversky(),
        losses.MeanSquaredError(reduction="sum"),
        losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        losses.SparseCategoricalCrossentropy(ignore_class=0),
        losses.CosineSimilarity(axis=0),
        standardized(squared, MEAN, DEVIATION),
        squared,
    ):
        assert not is_mean_over_samples(loss)
    assert is_mean_over_samples(standardized(losses.Huber(), MEAN, DEVIATION))
