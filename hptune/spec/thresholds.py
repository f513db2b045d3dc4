"""Where two classes are told apart: at 0 under a loss that takes logits or margins, not at Keras's usual 0.5."""

from __future__ import annotations

from typing import Any

from hptune.errors import Problem
from hptune.spec.data import Task
from hptune.spec.experiment import Experiment
from hptune.spec.model import LayersModel

_CROSSENTROPIES = ("binary_crossentropy", "bce", "BCE", "BinaryCrossentropy",
                   "binary_focal_crossentropy", "BinaryFocalCrossentropy")  # fmt: skip

MARGINS = ("hinge", "Hinge", "squared_hinge", "SquaredHinge", "categorical_hinge", "CategoricalHinge")
"""The losses of Keras under which outputs are scores on both sides of 0: no probabilities, and no logits."""

PROBABILITIES = ("sigmoid", "hard_sigmoid", "softmax")
"""The activations whose outputs lie in [0, 1], whatever the loss."""

_AT_A_HALF = ("accuracy", "acc", "binary_accuracy", "BinaryAccuracy", "Precision", "Recall")
"""The metrics that count what is above 0.5, unless they are told another threshold."""

_THRESHOLDS = ("threshold", "thresholds")


def accuracy_at_0(experiment: Experiment, task: Task, loss: Any, name: str) -> str | dict[str, Any]:
    """The metric `name`, which is accuracy, as the loss wants it cut."""
    if not _decides_at_0(loss, several=task == "labels") or _last_is_bounded(experiment, several=task == "labels"):
        return name
    return {"BinaryAccuracy": {"threshold": 0.0, "name": name}}


def halves_of_logits(experiment: Experiment) -> list[Problem]:
    """A remark for each metric of the YAML that cuts at 0.5 what its loss cuts at 0."""
    training = experiment.training
    listed = training.metrics if isinstance(training.metrics, list) else []
    if not _decides_at_0(training.loss, several=False) or _last_is_bounded(experiment, several=False):
        return []
    told = "counts what is above 0.5, as in Keras, and under this loss the network's outputs are told apart at 0"
    found = []
    for i, metric in enumerate(listed):
        name, given = _call(metric)
        if name in _AT_A_HALF and all(given.get(key) is None for key in _THRESHOLDS):
            kind, key = (name, "thresholds") if name in ("Precision", "Recall") else ("BinaryAccuracy", "threshold")
            way = f"Say {kind}: {{{key}: 0}} if that is meant"
            found.append(Problem(f"{name} {told}. {way}.", ("training", "metrics", i)))
    return found


def _decides_at_0(loss: Any, *, several: bool) -> bool:
    """several: of labels of which several may hold, each is decided by itself."""
    name, given = _call(loss)
    if name in _CROSSENTROPIES:
        return given.get("from_logits") is True
    return name in MARGINS and (several or "ategorical" not in name)


def _last_is_bounded(experiment: Experiment, *, several: bool) -> bool:
    """Whether it isn't known that the last layer gives one value (or one a label) on both sides of 0."""
    layers = experiment.model.layers if isinstance(experiment.model, LayersModel) else []
    name, given = _call(layers[-1]) if layers else ("", {})
    return name != "Dense" or given.get("activation") in PROBABILITIES or not (several or given.get("units") == 1)


def _call(value: Any) -> tuple[str, dict[str, Any]]:
    """(name, arguments) of a layer, loss or metric as the YAML has it; no name where there is none."""
    if isinstance(value, dict) and len(value) == 1:
        ((name, given),) = value.items()
        return str(name), given if isinstance(given, dict) else {}
    return (value, {}) if isinstance(value, str) else ("", {})
