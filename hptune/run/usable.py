"""A training's result as plain numbers and texts; or why it can't be used.

People's code returns what it likes: numpy's numbers, infinities, objects of its own. All of it goes through here where
it was made, before it is sent, written or compared. So whatever stands in the journal can be read, ranked and drawn,
and a result that can't be used fails its trial, never the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hptune.base.errors import SegmentFailed
from hptune.base.trial import SegmentResult
from hptune.experiment.objective import Objective

HUGE = 1e300
"""Beyond any curve of scores; sums and squares of what is smaller stay numbers, or become infinite without raising."""

LONGEST_REASON = 4_000
"""Characters of a reason that are kept."""

UNTOLD = "untold_in_some_epochs"
"""The fact that names the metrics without a value in some epochs."""

_DEEP = 50
_MOST_BITS = 4_096


def plain_result(result: SegmentResult) -> SegmentResult:
    """The result with curves of floats and facts of JSON data. Raises SegmentFailed where it holds anything else."""
    curves = {exact(name): tuple(_numbers(name, values)) for name, values in result.curves.items()}
    facts = {exact(name): _plain(name, fact, _DEEP) for name, fact in result.facts.items()}
    return replace(result, curves=curves, facts=facts, seconds=lasted(result.seconds))


def exact(text: Any) -> str:
    """A text of Python's own type: one of the user's types could not be sent to another process."""
    return "".join([str(text)])


def shortened(reason: str) -> str:
    """A reason, cut to a readable length: it may hold a whole array."""
    text = exact(reason)
    return (
        text
        if len(text) <= LONGEST_REASON
        else f"{text[:LONGEST_REASON]} … ({len(text) - LONGEST_REASON:,} more characters)"
    )


def lasted(seconds: float) -> float:
    """How long something took, from the readings of a clock that may have been set back meanwhile.

    >>> lasted(0.5), lasted(-3.0), lasted(float("nan"))
    (0.5, 0.0, 0.0)
    """
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def unusable(result: SegmentResult, objectives: Sequence[Objective]) -> str | None:
    """Why a result can't be scored, in a clause; None where it can.

    An epoch without a value has no score; one epoch with a value is enough, in this segment or before.
    """
    began = result.segment.from_epoch
    asked = []
    for metric in (objective.metric for objective in objectives):
        if metric in result.facts:
            if (fault := score_fault(metric, result.facts[metric])) is not None:
                return fault
            continue
        if metric == "seconds":
            continue
        curve, gaps = result.curves.get(metric), has_gaps(result.facts, metric)
        if curve is None:
            if gaps and began and result.curves:
                continue
            return f"the objective {metric!r} is not among its metrics: {', '.join(result.curves) or 'none'}"
        for epoch, value in enumerate(curve, start=began + 1):
            if not (math.isfinite(value) or (gaps and math.isnan(value))):
                return f"{metric} is {value} after epoch {epoch}"
        known = known_of(curve) if gaps else curve
        if too_large(known):
            return f"{metric} is {max(known, key=abs)}, and scores must be below {HUGE:g} (their sum over epochs too)"
        asked.append(curve)
    if asked and not began and not any(known_of(epoch) == [*epoch] for epoch in zip(*asked, strict=False)):
        return f"no epoch has all of the objectives: {', '.join(objective.metric for objective in objectives)}"
    return None


def has_gaps(facts: Mapping[str, Any], metric: str) -> bool:
    """Whether NaN in the metric's curve is the lack of a value, not a number that training came to."""
    names = facts.get(UNTOLD, ())
    return isinstance(names, list | tuple) and metric in names


def known_of(values: Iterable[float]) -> list[float]:
    """The values that are there: NaN is the lack of one."""
    return [value for value in values if value == value]


def score_fault(metric: str, value: Any) -> str | None:
    """What is wrong with a fact that is a score, in a clause."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{metric} must be a number, got {str(value)[:40]!r}"
    return f"{metric} must be finite and below {HUGE:g}, got {value:g}" if too_large([value]) else None


def too_large(values: Iterable[float]) -> bool:
    """Whether scores are not finite, or so large that what is computed of them would not be."""
    return not sum(map(abs, values)) < HUGE  # NaN is neither


def _numbers(metric: str, values: Iterable[Any]) -> Iterable[float]:
    for value in values:
        if type(value) is float:
            yield value
        elif isinstance(value, str | bytes):
            raise SegmentFailed(f"{metric} is {value[:40]!r}, and a number is wanted")
        else:
            try:
                yield float(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise SegmentFailed(
                    f"{metric} is a {type(value).__name__}, and a number is wanted ({error})"
                ) from error


def _plain(name: str, value: Any, deep: int) -> Any:
    """JSON data that equals the value; `name` is the fact that it belongs to."""
    if value is None or type(value) in (bool, float, str):
        return value
    if isinstance(value, str):
        return exact(value)
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise SegmentFailed(f"{name} holds a number of {value.bit_length():,} bits")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if deep == 0:
        raise SegmentFailed(f"{name} is nested more than {_DEEP} deep")
    if isinstance(value, Mapping):
        return {exact(key): _plain(name, inner, deep - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, inner, deep - 1) for inner in value]
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return _plain(name, value.tolist(), deep - 1)
    raise SegmentFailed(f"{name} holds a {type(value).__name__}, and JSON data is wanted")
