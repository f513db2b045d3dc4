"""`hptune plan --prove`: the results of an epoch trained both ways, compiled and by Keras's `fit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.base.errors import RunError, spec_error
from hptune.base.trial import Segment, SegmentFailure
from hptune.executors.executor import Executor, run_one
from hptune.experiment.experiment import Experiment
from hptune.reports.console import duration
from hptune.run.differences import spell_json
from hptune.run.record import filled, joined_space
from hptune.search.probing import probe


def proof(executor: Executor, experiment: Experiment) -> dict[str, Any]:
    """Train the default values for an epoch both ways: {"values", "metrics": {name: [compiled, fit]}, "weights", …}.

    Raises SpecError for a model that Keras does not train, RunError where one of the two ways fails.
    """
    if not experiment.model.keras:
        raise spec_error("--prove compares with Keras's fit, and this model is not trained by Keras.", "model")
    facts = probe(executor)
    values = joined_space(filled(experiment, facts), facts).defaults()
    outcome = run_one(executor, Segment(0, values, to_epoch=1, purpose="prove"))
    if isinstance(outcome, SegmentFailure):
        raise RunError(f"the default values could not be trained both ways: {outcome.reason}")
    return {"values": dict(values), **outcome.facts}


def proof_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The same for people: a line a figure."""
    verdict = "equal but for the noise of the arithmetic" if result["equal"] else "NOT equal"
    yield f"one epoch of the default values, compiled and by Keras's fit: {verdict}"
    yield f"  values: {spell_json(result['values'])}"
    for name, (compiled, fit) in result["metrics"].items():
        yield f"  {name}: {compiled:.7g} compiled, {fit:.7g} by fit (difference {abs(compiled - fit):.1e})"
    if result["not_compared"]:
        yield f"  reported differently by fit, so not compared one by one: {', '.join(result['not_compared'])}"
    yield f"  weights: largest difference {result['weights']:.1e} of their size"
    took = (duration(result[name]) for name in ("compiled_s", "fit_s"))
    yield "  time, compiling included: {} compiled, {} by fit".format(*took)
