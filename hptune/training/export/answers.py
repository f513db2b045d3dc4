"""A model's outputs in the words of the training data: a prediction for each sample, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hptune.base.errors import RunError
from hptune.training.data.arrays import Array
from hptune.training.export.signature import Signature

_ROUNDING = 1e-5
"""By how much float32 probabilities may leave [0, 1]."""


class Outputs(NamedTuple):
    """The winner's outputs for some samples.

    numbers: [n, width]; for classes their probabilities (or logits, or margins). chosen: where the model decides by
    itself, [n] numbers of classes, or 0 and 1 [n, labels]; None: the numbers decide.
    """

    numbers: Array
    chosen: Array | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one sample. prediction: a label, a number, or a list of them; None: none could be made.

    numbers: the probability (or score) of each class, or each output; in the order of `columns`.
    """

    prediction: Any
    numbers: tuple[float, ...]


def columns(signature: Signature, width: int) -> list[str]:
    """The names of the numbers behind a prediction: the classes, or the outputs where there are several.

    width: how many numbers the model gives for a sample.
    """
    if signature.labels is not None:
        return [str(label) for label in signature.labels]
    if width == 1:
        return []
    return [*signature.targets] if len(signature.targets) == width else [f"output_{i}" for i in range(width)]


def answers(signature: Signature, outputs: Outputs, known: Array) -> Iterator[Answer]:
    """An answer for each sample. outputs: of the known samples alone. known: bool [samples].

    With one unit for two classes, the first class gets 1 minus its probability. Where the model does not decide by
    itself, the most probable class is taken, and one of several labels holds where its probability is above one half.
    Under a loss of margins it is the class with the greatest score, and the labels with scores above 0; with one unit
    the first class gets minus the score.
    """
    rows = zip(_numbers(signature, outputs.numbers), _chosen(outputs), strict=True)
    for is_known in known.tolist():
        yield _answer(signature, *next(rows)) if is_known else Answer(None, ())


def _chosen(outputs: Outputs) -> Array | list[None]:
    return [None] * len(outputs.numbers) if outputs.chosen is None else outputs.chosen


def _answer(signature: Signature, numbers: Array, chosen: Array | None) -> Answer:
    plain = tuple(shortest(number) for number in numbers)
    labels = signature.labels
    if labels is None:
        return Answer(plain[0], ()) if len(plain) == 1 else Answer([*plain], plain)
    if signature.task == "labels":
        holds = numbers > np.where(signature.margins, 0.0, 0.5) if chosen is None else chosen == 1
        return Answer([label for label, one in zip(labels, holds.tolist(), strict=True) if one], plain)
    return Answer(labels[int(np.argmax(numbers) if chosen is None else chosen)], plain)


def shortest(number: Any) -> float:
    """A NumPy number as the shortest float that is equal in its own type: .1 of float32 is 0.1."""
    return float(str(number))


def _numbers(signature: Signature, outputs: Array) -> Array:
    """For labels one probability each; else the outputs as they are. Raises RunError for NaN and infinity."""
    if not np.isfinite(outputs).all():
        raise RunError("the model answers NaN or infinity to a sample; nothing was predicted. Train another winner.")
    outputs = outputs.astype(np.float64) if np.any(signature.logits) else outputs
    if signature.labels is None:
        return outputs
    wanted = len(signature.labels)
    alone = wanted == 2 and outputs.shape[1] == 1 and signature.task != "labels"
    if outputs.shape[1] != wanted and not alone:
        problem = f"the model gives {outputs.shape[1]} numbers a sample, and there are {wanted} classes"
        raise RunError(f"{problem}. Predict with best/model.keras itself.")
    if np.any(signature.logits):
        of_each = alone or signature.task == "labels"
        outputs = np.where(signature.logits, _sigmoid(outputs), outputs) if of_each else _softmax(outputs)
    first = -outputs if signature.margins else 1 - outputs
    return np.concatenate([first, outputs], axis=1) if alone else outputs


def no_probabilities(signature: Signature, outputs: Outputs) -> tuple[float, float] | None:
    """(least, greatest) of outputs that should be probabilities and are not, say under a user's own loss; or None."""
    if signature.labels is None or outputs.chosen is not None:
        return None
    scores = np.logical_or(signature.logits, signature.margins)
    numbers = outputs.numbers[:, np.broadcast_to(~scores, outputs.numbers.shape[1:])]
    if not numbers.size:
        return None
    low, high = float(np.min(numbers)), float(np.max(numbers))
    return (low, high) if low < -_ROUNDING or high > 1 + _ROUNDING else None


def _sigmoid(logits: Array) -> Array:
    with np.errstate(over="ignore"):  # 1 / inf is 0
        return np.asarray(1 / (1 + np.exp(-logits)))


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
