"""What the YAML says of a scikit-learn model: which estimators, in which order, with which parameters.

An estimator stands as its import path, or as `{path: {parameters}}`; so do the steps of a pipeline, and an estimator
among the parameters of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hptune.base.errors import KeyPath, Problem
from hptune.experiment.experiment import Experiment
from hptune.experiment.model import SklearnModel
from hptune.experiment.reading.problems import show

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class EstimatorCall:
    """One estimator.

    reference: `module:Class`. params: as the YAML gives them, `{path: {parameters}}` among them for an estimator.
    place: where it stands in the YAML; at: where its parameters do.
    """

    reference: str
    params: Mapping[str, Any]
    place: KeyPath
    at: KeyPath


def calls(model: SklearnModel) -> list[EstimatorCall]:
    """The estimators of a model in order: one, or the steps of a pipeline."""
    place = ("model", "sklearn")
    if isinstance(model.sklearn, str):
        return [EstimatorCall(_reference(model.sklearn), model.params, place, ("model", "params"))]
    steps = [call(step, (*place, i)) for i, step in enumerate(model.sklearn)]
    return [step for step in steps if step is not None]


def call(value: Any, place: KeyPath) -> EstimatorCall | None:
    """The estimator that `value` (a path, or `{path: {parameters}}`) names; None where it names none."""
    if isinstance(value, str) and _PATH.fullmatch(value):
        return EstimatorCall(_reference(value), {}, place, place)
    if isinstance(value, dict) and len(value) == 1:
        ((path, params),) = value.items()
        if isinstance(path, str) and _PATH.fullmatch(path) and isinstance(params, dict | None):
            return EstimatorCall(_reference(path), params or {}, place, (*place, path))
    return None


def references(model: SklearnModel) -> list[str]:
    """The estimators of a model, as `module:Class`, those among parameters behind the one that they belong to.

    >>> references(SklearnModel(sklearn="a.B", params={"base": {"c.D": {"depth": 2}}, "n": 3}))
    ['a:B', 'c:D']
    """
    return [reference for estimator in calls(model) for reference in _within(estimator)]


def _within(estimator: EstimatorCall) -> Iterator[str]:
    yield estimator.reference
    for value in estimator.params.values():
        inner = call(value, estimator.at) if isinstance(value, dict) else None
        if inner is not None:
            yield from _within(inner)


def faults(model: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with how the section names its estimators."""
    place, written = ("model", "sklearn"), model.get("sklearn")
    form = "an import path such as sklearn.svm.SVC"
    if isinstance(written, str) and not _PATH.fullmatch(written):
        yield Problem(f"must be {form}, got {show(written)}.", place)
    for i, step in enumerate(written if isinstance(written, list) else []):
        if call(step, (*place, i)) is None:
            yield Problem(f"must be {form}, or {{sklearn.svm.SVC: {{C: 1.0}}}}, got {show(step)}.", (*place, i))
    if isinstance(written, list) and model.get("params"):
        message = "belongs to one estimator, and this is a pipeline. Write each step as {path: {its parameters}}."
        yield Problem(message, ("model", "params"), on_key=True)


def with_folds(experiment: Experiment) -> Experiment:
    """The experiment with its folds filled in, where its kind of model is scored by them."""
    evaluation, folds = experiment.evaluation, experiment.model.folds
    if folds is None or evaluation.folds is not None:
        return experiment
    return experiment.model_copy(update={"evaluation": evaluation.model_copy(update={"folds": folds})})


def _reference(path: str) -> str:
    """`module:Class`, of either spelling.

    >>> _reference("sklearn.svm.SVC"), _reference("mine:Forest")
    ('sklearn.svm:SVC', 'mine:Forest')
    """
    return path if ":" in path else ":".join(path.rpartition(".")[::2])
