"""What the task decides: loss, metrics and objective."""

from __future__ import annotations

from typing import Any

import pytest

from hptune.base.errors import SpecError
from hptune.experiment.data import Task
from hptune.experiment.defaults import KnownTask, fill, is_one_hot, known_task
from hptune.experiment.experiment import Experiment
from hptune.experiment.objective import Objective

SOFTMAX: list[Any] = [{"Dense": {"units": 3, "activation": "softmax"}}]
SIGMOID: list[Any] = [{"Dense": {"units": 1, "activation": "sigmoid"}}]


def experiment(layers: list[Any] = SOFTMAX, data: dict[str, Any] | None = None, **sections: Any) -> Experiment:
    data = data or {"csv": "a.csv", "target": "y"}
    return Experiment.model_validate({"version": 1, "name": "a", "data": data, "model": {"layers": layers}, **sections})


@pytest.mark.parametrize(
    ("layers", "task", "classes", "loss", "metrics"),
    [
        (SOFTMAX, "classes", 3, "sparse_categorical_crossentropy", ["accuracy"]),
        (SOFTMAX, "classes", 2, "sparse_categorical_crossentropy", ["accuracy"]),
        (SIGMOID, "classes", 2, "binary_crossentropy", ["accuracy"]),
        (SIGMOID, "classes", 3, "sparse_categorical_crossentropy", ["accuracy"]),
        (SIGMOID, "regression", None, "mean_squared_error", ["mae"]),
    ],
)
def test_the_loss_follows_the_task(
    layers: list[Any], task: Task, classes: int | None, loss: str, metrics: list[str]
) -> None:
    filled = fill(experiment(layers), task, classes)
    assert (filled.training.loss, filled.training.metrics) == (loss, metrics)
    goal = ("val_accuracy", "maximize") if task == "classes" else ("val_loss", "minimize")
    assert filled.objective == Objective(metric=goal[0], goal=goal[1])  # type: ignore[arg-type]
    assert fill(filled, task, classes) == filled


@pytest.mark.parametrize(
    ("task", "shape", "loss"),
    [
        ("classes", (3,), "categorical_crossentropy"),
        ("classes", (), "sparse_categorical_crossentropy"),
        ("classes", (1,), "sparse_categorical_crossentropy"),
        ("labels", (3,), "binary_crossentropy"),
        ("regression", (3,), "mean_squared_error"),
    ],
)
def test_the_loss_follows_rows_that_are_one_hot(task: Task, shape: tuple[int, ...], loss: str) -> None:
    filled = fill(experiment(SOFTMAX), task, 3, one_hot=is_one_hot(task, shape))
    assert filled.training.loss == loss


def test_what_was_given_stays() -> None:
    given = experiment(training={"loss": "poisson", "metrics": ["AUC"], "epochs": 3}, objective={"metric": "val_AUC"})
    assert fill(given, "classes", 3) == given
    assert fill(experiment(training={"metrics": ["AUC"]}), "classes", 3).objective == Objective(
        metric="val_loss", goal="minimize"
    )


def test_one_hot_labels_want_another_loss() -> None:
    one_hot = experiment(data={"source": "iris", "one_hot": True})
    assert fill(one_hot, "classes", 3).training.loss == "categorical_crossentropy"


def test_a_model_from_code_keeps_its_own() -> None:
    python = Experiment.model_validate(
        {"version": 1, "name": "a", "data": {"source": "iris"}, "model": {"python": "m:f"}}
    )
    filled = fill(python, "classes", 3)
    assert filled.training == python.training
    assert filled.objective == Objective(metric="val_accuracy", goal="maximize")


def test_a_function_says_its_objective() -> None:
    function = Experiment.model_validate({"version": 1, "name": "a", "model": {"function": "m:f"}})
    with pytest.raises(SpecError, match="metric: score"):
        fill(function, None)


def test_the_tasks_of_the_built_in_sources() -> None:
    assert known_task(experiment(data={"source": "digits"})) == KnownTask("classes", 10)
    assert known_task(experiment(data={"source": "diabetes"})) == KnownTask("regression")
    assert known_task(experiment(data={"source": "digits", "task": "regression"})) == KnownTask("regression")
    assert known_task(experiment()) is None
    assert known_task(experiment(data={"csv": "a.csv", "target": "y", "task": "classes"})) == KnownTask("classes")


def test_the_built_in_sources_are_what_scikit_learn_holds() -> None:
    from sklearn import datasets

    from hptune.experiment.data import SourceData

    for name, known in SourceData.sets.items():
        target = getattr(datasets, f"load_{name}")().target
        assert len(target) == known.rows
        assert known.classes == (len(set(target.tolist())) if known.task == "classes" else None)
