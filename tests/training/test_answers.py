"""Outputs in the words of the training data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hptune.base.errors import RunError
from hptune.training.data.inputs import Preparation
from hptune.training.export.answers import Outputs, answers, columns, no_probabilities
from hptune.training.export.signature import Signature


def signature(task: str = "classes", **options: Any) -> Signature:
    return Signature(task, Preparation((), None), **options)


def told(one: Signature, outputs: list[list[float]], known: list[bool] | None = None) -> list[tuple[Any, Any]]:
    flags = np.array(known if known is not None else [True] * len(outputs))
    return [
        (a.prediction, pytest.approx(a.numbers)) for a in answers(one, Outputs(np.array(outputs, np.float32)), flags)
    ]


def test_classes_are_told_by_their_own_labels() -> None:
    one = signature(labels=(3, 7, 9))
    assert told(one, [[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]) == [(7, (0.1, 0.7, 0.2)), (3, (0.5, 0.2, 0.3))]
    assert columns(one, 3) == ["3", "7", "9"]


def test_one_unit_is_the_probability_of_the_second_class() -> None:
    one = signature(labels=("no", "yes"))
    assert told(one, [[0.8], [0.5]]) == [("yes", (0.2, 0.8)), ("no", (0.5, 0.5))]
    assert columns(one, 1) == ["no", "yes"]


def test_logits_become_probabilities() -> None:
    assert told(signature(labels=("n", "y"), logits=True), [[0.0], [2.0]])[1] == ("y", (0.1192029, 0.8807971))
    shares = (0.09003057, 0.24472847, 0.66524096)
    assert told(signature(labels=("a", "b", "c"), logits=True), [[1, 2, 3]]) == [("c", shares)]
    assert told(signature("labels", labels=("a", "b"), logits=True), [[-1, 1]]) == [(["b"], (0.2689414, 0.7310586))]


def test_each_of_several_outputs_has_its_own_cut() -> None:
    one = signature("labels", labels=("a", "b", "c"), logits=(True, False, False), margins=(False, False, True))
    held = [(["a", "c"], (0.5744425, 0.4, 0.1)), (["b"], (0.4255575, 0.6, -0.1))]
    assert told(one, [[0.3, 0.4, 0.1], [-0.3, 0.6, -0.1]]) == held
    assert no_probabilities(one, Outputs(np.array([[9.0, 0.4, -9.0]]))) is None
    assert no_probabilities(one, Outputs(np.array([[9.0, 1.5, -9.0]]))) == (1.5, 1.5)


def test_several_labels_hold_or_none() -> None:
    one = signature("labels", labels=("a", "b"))
    assert [prediction for prediction, _ in told(one, [[0.9, 0.6], [0.5, 0.1]])] == [["a", "b"], []]


def test_numbers() -> None:
    assert told(signature("regression", targets=("price",)), [[2.5]]) == [(2.5, ())]
    assert columns(signature("regression", targets=("price",)), 1) == []
    several = signature("regression", targets=("u", "v"))
    assert told(several, [[1, 2]]) == [([1, 2], (1, 2))]
    assert columns(several, 2) == ["u", "v"]
    assert columns(signature("regression"), 2) == ["output_0", "output_1"]


def test_a_sample_that_is_not_known_has_no_prediction_in_its_place() -> None:
    one = signature("regression")
    assert told(one, [[1], [2]], [True, False, True]) == [(1, ()), (None, ()), (2, ())]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [([[0.1, 0.2]], "gives 2 numbers a sample, and there are 3 classes"), ([[np.nan] * 3], "NaN")],
)
def test_outputs_that_say_nothing(outputs: list[list[float]], message: str) -> None:
    with pytest.raises(RunError, match=message):
        told(signature(labels=(1, 2, 3)), outputs)
