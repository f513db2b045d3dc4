"""Checks of a scikit-learn model: how it is named and scored, and that nothing is asked that only Keras can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.base.errors import KeyPath, Problem, unknown
from hptune.experiment import estimators
from hptune.experiment.checks.keras_names import Scope
from hptune.experiment.checks.recipe import objectives, section
from hptune.experiment.checks.search import HALVING
from hptune.experiment.scorers import SCORERS

OF_KERAS = ("training", "initialization", "schedule")
"""The sections that say how a Keras model is trained."""

_DROP = "is for Keras models, and this is a scikit-learn model. Drop it."


def sklearn(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:  # noqa: ARG001  # its values are the estimators'
    """Every problem of `model: {sklearn: …}` that can be found without scikit-learn."""
    yield from estimators.faults(section(raw, "model"))
    for path in _keras_only(raw):
        yield Problem(_DROP, path, on_key=True)
    strategy = section(raw, "strategy").get("name")
    if strategy in (*HALVING, "guided"):
        message = f"{strategy} trains by epochs, which a scikit-learn model has not. Use tpe, random or bayesian."
        yield Problem(message, ("strategy", "name"))
    if isinstance(repeats := section(raw, "evaluation").get("repeats"), int) and repeats > 1:
        message = "a scikit-learn model is scored by folds. Drop it, or say folds."
        yield Problem(message, ("evaluation", "repeats"), on_key=True)
    for place, entry in objectives(raw):
        yield from _scorer(entry, place)


def _keras_only(raw: Mapping[str, Any]) -> Iterator[KeyPath]:
    for key in OF_KERAS:
        if raw.get(key):
            yield (key,)
    plain = {
        ("data", "augment"): None,
        ("data", "one_hot"): False,
        ("execution", "xla"): False,
        ("execution", "precision"): "float32",
    }
    for path, default in plain.items():
        if section(raw, *path[:-1]).get(path[-1], default) not in (None, default):
            yield path


def _scorer(objective: Mapping[str, Any], place: KeyPath) -> Iterator[Problem]:
    metric = objective.get("metric")
    if not isinstance(metric, str) or metric == "seconds":
        return
    if metric not in SCORERS:
        message = unknown("scorer", metric.removeprefix("val_"), sorted(SCORERS))
        yield Problem(f"{message} See scikit-learn's table of scorers.", (*place, "metric"))
    elif objective.get("goal") == "minimize":
        message = f"of scikit-learn's scorers more is better, of {metric} too. Say maximize, or drop it."
        yield Problem(message, (*place, "goal"))
