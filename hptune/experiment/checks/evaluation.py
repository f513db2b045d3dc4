"""Checks how a point is scored: folds in place of a validation part, and what halving leaves to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.base.errors import Problem
from hptune.experiment.checks.recipe import section
from hptune.experiment.checks.search import HALVING, kind_of_model
from hptune.experiment.model import ModelOptions


def evaluation(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that folds have samples to be dealt into, and that no validation part stands beside them."""
    options = section(raw, "evaluation")
    kind = kind_of_model(raw) or ModelOptions
    if options.get("folds") is not None and not kind.takes_data:
        message = f"needs samples to deal into folds, and {kind.called} brings its own data. Drop it, or use repeats."
        yield Problem(message, ("evaluation", "folds"), on_key=True)
    yield from _stop_after(raw, options.get("folds") or kind.folds)
    if section(raw, "data").get("validation") is not None and kind.folds is not None:
        message = f"can't stand beside {kind.called}, which is scored by folds (evaluation.folds). Drop it."
        yield Problem(message, ("data", "validation"), on_key=True)


def _stop_after(raw: Mapping[str, Any], folds: Any) -> Iterator[Problem]:
    """Check that there are folds to spare, and one score to judge by that no other rule uses already."""
    path = ("evaluation", "stop_after")
    after = section(raw, "evaluation").get("stop_after")
    if after is None:
        return
    if folds is None:
        yield Problem("counts folds, and there are none. Add folds: 5, or drop it.", path, on_key=True)
    elif isinstance(after, int) and isinstance(folds, int) and after >= folds:
        yield Problem(f"must be below the {folds} folds, so that some are spared, got {after}. Lower it.", path)
    if (name := section(raw, "strategy").get("name")) in HALVING:
        message = f"{name} stops what is not promising by itself, after few epochs of all folds. Drop it."
        yield Problem(message, path, on_key=True)
    if (metric := section(raw, "objective").get("metric")) in ("seconds", "parameters"):
        yield Problem(f"judges by the scores of folds, and {metric} is none. Drop it.", path, on_key=True)
    if isinstance(raw.get("objective"), list):
        yield Problem("goes by one score, and several objectives are given. Drop it.", path, on_key=True)
