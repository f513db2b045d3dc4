"""Asking the executor what there is to train on, before any trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hptune.base.errors import RunError
from hptune.base.trial import Segment, SegmentFailure
from hptune.executors.executor import Executor, run_one
from hptune.experiment.experiment import Experiment
from hptune.run.circumstances import PACKAGES, STRATEGY_CODE
from hptune.strategies.choose import code_of


def with_strategys_code(facts: dict[str, Any], experiment: Experiment, folder: Path) -> dict[str, Any]:
    """The probe's facts and the strategy's code, which it does not see. folder: the YAML file's. Raises SpecError."""
    code, packages = code_of(experiment, folder)
    facts = {**facts, STRATEGY_CODE: code} if code else facts
    return {**facts, PACKAGES: {**facts.get(PACKAGES, {}), **packages}} if packages else facts


def probe(executor: Executor, *, epochs: int = 0, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """What the worker finds in the data and the model: the probe's facts. Raises SpecError, or RunError.

    epochs: above 0, it may train a little, to measure what that costs. meanwhile: called before the facts are waited
    for.
    """
    segment = Segment(trial=0, values={}, to_epoch=epochs, purpose="probe")
    outcome = run_one(executor, segment, meanwhile=meanwhile)
    if isinstance(outcome, SegmentFailure):
        raise RunError(f"the data or the model can't be loaded: {outcome.reason}")
    return dict(outcome.facts)
