"""Checks how a point is scored: folds in place of a validation part, and what halving leaves to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.errors import Problem
from hptune.spec.check_recipe import section
from hptune.spec.check_search import kind_of_model


def evaluation(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """That folds are asked for where there are samples to deal, and a validation part where something needs it."""
    given = section(raw, "evaluation")
    kind = kind_of_model(raw)
    if given.get("folds") is not None and kind == "function":
        told = "needs samples to deal into folds, and a function brings its own data. Drop it, or use repeats."
        yield Problem(told, ("evaluation", "folds"), on_key=True)
    if section(raw, "data").get("validation") is not None and kind == "sklearn":
        told = "can't stand beside a scikit-learn model, which is scored by folds (evaluation.folds). Drop it."
        yield Problem(told, ("data", "validation"), on_key=True)
