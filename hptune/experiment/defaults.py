"""The defaults that depend on the task: loss, metrics and objective, once the task is known.

Everything else has its default in its own section.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hptune.base.errors import spec_error
from hptune.experiment.data import Task
from hptune.experiment.experiment import Experiment
from hptune.experiment.keras_table import reported_name
from hptune.experiment.objective import Objective
from hptune.experiment.output import output_size, with_output
from hptune.experiment.sections import Guided
from hptune.experiment.thresholds import accuracies

MANY_ROWS = 50_000
"""Of more samples than these, batches of 32 make an epoch too long to begin with."""

_METRICS: dict[Task, str] = {"classes": "accuracy", "labels": "binary_accuracy", "regression": "mae"}


@dataclass(frozen=True, slots=True)
class KnownTask:
    """What the target is. classes: how many there are; None for labels and regression, or where it is not known."""

    task: Task
    classes: int | None = None


def known_task(experiment: Experiment) -> KnownTask | None:
    """The task as far as the spec alone says it: a built-in source's, or `data.task`; None where the data must say."""
    data = experiment.data
    if data is None:
        return None
    known = data.known
    if known.task is not None and data.task in (None, known.task):
        return KnownTask(known.task, known.classes)
    return None if data.task is None else KnownTask(data.task)


def fill(
    experiment: Experiment,
    task: Task | None,
    classes: int | None = None,
    *,
    outputs: int | None = None,
    one_hot: bool = False,
    rows: int | None = None,
    epochs: int | None = None,
) -> Experiment:
    """`experiment` with its loss, metrics and objective filled in, where they were left out.

    task: what the target is, None where there is no data (a function). classes: how many, where known. outputs: the
    values of one sample of the target, where known; each layer `Output` is a Dense of that size then. one_hot: whether
    the classes come as one-hot rows, as they do by `data.one_hot` or where the data has them so. rows: of the
    training part, where known; what `guided` begins doubling the batch size at is then filled in too. epochs: where
    the model's code says how many there are.
    A model from code keeps what its builder compiled; only its objective is filled in. Filling twice changes nothing.
    Raises `SpecError` for a function without an objective.
    """
    if task is None and experiment.objective is None:
        message = "is required where there is no data. Add objective: {metric: score, goal: minimize} (or maximize)."
        raise spec_error(message, "objective")
    experiment = with_output(experiment, task, output_size(task, classes, outputs))
    training = experiment.training
    if task is not None and experiment.model.keras and experiment.model.code is None:
        loss = training.loss if training.loss is not None else _loss(experiment, task, classes=classes, one_hot=one_hot)
        metrics = training.metrics if training.metrics is not None else _metrics(experiment, task, loss)
        training = training.model_copy(update={"loss": loss, "metrics": metrics})
    if epochs is not None and "epochs" not in training.model_fields_set:
        training = training.model_copy(update={"epochs": epochs})
    objective = experiment.objective or _objective(experiment, training.metrics, task)
    strategy = experiment.strategy
    if isinstance(strategy, Guided) and strategy.first_batch_size is None and (task is None or rows is not None):
        strategy = strategy.model_copy(update={"first_batch_size": 256 if (rows or 0) > MANY_ROWS else 32})
    return experiment.model_copy(update={"training": training, "objective": objective, "strategy": strategy})


def _metrics(experiment: Experiment, task: Task, loss: Any) -> Any:
    return [_METRICS[task]] if task == "regression" else accuracies(experiment, task, loss=loss, name=_METRICS[task])


def _loss(experiment: Experiment, task: Task, *, classes: int | None, one_hot: bool) -> str:
    if task == "regression":
        return "mean_squared_error"
    if task == "labels":
        return "binary_crossentropy"
    if one_hot or (experiment.data is not None and experiment.data.one_hot):
        return "categorical_crossentropy"
    if classes in (2, None) and ends_in_one_unit(experiment) and _last_dense(experiment).get("activation") == "sigmoid":
        return "binary_crossentropy"
    return "sparse_categorical_crossentropy"


def is_one_hot(task: Task | None, shape: Sequence[int]) -> bool:
    """Whether a target of this shape, of one sample, is a row with a 1 at its class."""
    return task == "classes" and len(shape) == 1 and shape[0] > 1


def ends_in_one_unit(experiment: Experiment) -> bool:
    """Whether the last layer is `Dense` of one unit."""
    return bool(_last_dense(experiment).get("units") == 1)


def _last_dense(experiment: Experiment) -> Mapping[str, Any]:
    """What the YAML says of the last layer, where that is `Dense`."""
    layers = experiment.model.stack
    args = layers[-1].get("Dense") if layers and isinstance(layers[-1], dict) else None
    return args if isinstance(args, dict) else {}


def _objective(experiment: Experiment, metrics: Any, task: Task | None) -> Objective:
    """val_accuracy for classes where accuracy is measured; val_loss otherwise.

    Of a scikit-learn model the scorer that its own `score` goes by.
    """
    if scorers := experiment.model.scorers:
        return Objective(metric=scorers[task or "classes"], goal="maximize")
    listed = metrics if isinstance(metrics, list) else []  # those of several outputs are named after them
    measured = ["accuracy"] if metrics is None else [_reported(metric) for metric in listed]
    if task == "classes" and "accuracy" in measured:
        return Objective(metric="val_accuracy", goal="maximize")
    return Objective(metric="val_loss", goal="minimize")


def _reported(metric: Any) -> str:
    if isinstance(metric, dict) and len(metric) == 1:
        name, args = next(iter(metric.items()))
        return reported_name(name, args or {})
    return reported_name(str(metric))
