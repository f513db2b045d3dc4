"""What a model's outputs say, in the words of the training data: a prediction a sample, and what is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hptune.errors import RunError
from hptune.training.data.parts import Array
from hptune.training.signature import Signature


@dataclass(frozen=True, slots=True)
class Answer:
    """One sample's. prediction: a label, a number, or a list of them; None: none could be made.

    numbers: the probability of each class, or each output; in the order of `columns`.
    """

    prediction: Any
    numbers: tuple[float, ...]


def columns(signature: Signature, width: int) -> list[str]:
    """What stands behind a prediction, by name: the classes, or the outputs where there are several.

    width: how many numbers the model gives for a sample.
    """
    if signature.labels is not None:
        return [str(label) for label in signature.labels]
    if width == 1:
        return []
    return [*signature.targets] if len(signature.targets) == width else [f"output_{i}" for i in range(width)]


def answers(signature: Signature, outputs: Array, known: Array) -> Iterator[Answer]:
    """An answer for each sample. outputs: [samples that are known, width]; known: bool [samples].

    Of one unit for two classes, the first class has what is left to 1. A label of several holds where its probability
    is above one half.
    """
    rows = iter(_numbers(signature, outputs))
    for is_known in known.tolist():
        yield _answer(signature, next(rows)) if is_known else Answer(None, ())


def _answer(signature: Signature, numbers: Array) -> Answer:
    plain = tuple(float(number) for number in numbers.tolist())
    labels = signature.labels
    if labels is None:
        return Answer(plain[0], ()) if len(plain) == 1 else Answer([*plain], plain)
    if signature.task == "labels":
        return Answer([label for label, share in zip(labels, plain, strict=True) if share > 0.5], plain)
    return Answer(labels[int(np.argmax(numbers))], plain)


def _numbers(signature: Signature, outputs: Array) -> Array:
    """Probabilities where there are labels, one for each; else the outputs as they are. Raises RunError for NaN."""
    if not np.isfinite(outputs).all():
        raise RunError("the model answers NaN or infinity to a sample; nothing was predicted. Train another winner.")
    outputs = outputs.astype(np.float64) if signature.logits else outputs
    if signature.labels is None:
        return outputs
    wanted = len(signature.labels)
    alone = wanted == 2 and outputs.shape[1] == 1 and signature.task != "labels"
    if outputs.shape[1] != wanted and not alone:
        told = f"the model gives {outputs.shape[1]} numbers a sample, and there are {wanted} classes"
        raise RunError(f"{told}. Predict with best/model.keras itself.")
    if signature.logits:
        outputs = 1 / (1 + np.exp(-outputs)) if alone or signature.task == "labels" else _softmax(outputs)
    return np.concatenate([1 - outputs, outputs], axis=1) if alone else outputs


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
