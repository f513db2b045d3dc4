"""The frozen values that travel through the house: a trial, the segments it is made of, and what they brought back.

Trials and segments are tuples, because a journal is read into many thousands of them: a tuple is made at a third of the
cost of a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

Value: TypeAlias = bool | int | float | str | None
"""One hyperparameter's value. A choice may hold any of these; numbers are plain Python, never numpy's."""

Values: TypeAlias = Mapping[str, Value]
"""One setting of the hyperparameters: the active ones only, in the order of the space."""

Curves: TypeAlias = Mapping[str, tuple[float, ...]]
"""Metric -> its value at the end of each epoch."""

Purpose: TypeAlias = Literal["trial", "stabilize", "finalist", "best", "baseline", "probe", "lr_range", "prove"]
"""What a segment is for. Four train no trial: `probe` loads the data, checks the model and reports facts, `stabilize`
prepares the weights of an architecture, `lr_range` trains once over rising rates, `prove` trains an epoch by Keras's
`fit` too."""

TrialState: TypeAlias = Literal["running", "paused", "completed", "stopped", "failed"]
"""`paused`: trained in part and may still be promoted. `stopped`: trained in part and never will be."""

ENDED: tuple[TrialState, ...] = ("failed", "stopped")
"""A trial in one of these states that has no score will never have one."""


class Segment(NamedTuple):
    """The unit of work: train `trial` from epoch `from_epoch` (0: fresh weights) up to `to_epoch`. Picklable.

    replica: the repeat or fold, from 0.
    keep_state: whether the state at the end must be written, because a later segment may go on from it.
    keep_above: write the state also when the trial's score is better than this one (`checkpoints.keep`).
    """

    trial: int
    values: Values
    from_epoch: int = 0
    to_epoch: int = 0
    replica: int = 0
    purpose: Purpose = "trial"
    keep_state: bool = False
    keep_above: float | None = None


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What a finished segment brought back.

    epochs: how far the trial is trained now; less than `to_epoch` where training ended early.
    curves: metric -> one value for each epoch that this segment trained.
    seconds: wall time in the worker.
    state: whether the state at the end was written to the run's folder.
    ended: the recipe itself ended training (early stopping): more epochs would change nothing.
    facts: what only some purposes learn (the probe's facts, `test`, `parameters`, `model`); JSON data.
    """

    segment: Segment
    epochs: int
    curves: Curves
    seconds: float
    state: bool = False
    ended: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SegmentFailure:
    """Why a segment brought nothing back.

    lost: the worker died or ran out of time, so that another try may succeed (`execution.retries`); otherwise the
    training itself raised and would raise again.
    """

    segment: Segment
    reason: str
    seconds: float
    lost: bool = False


Spent: TypeAlias = tuple[tuple[int, float], ...]
"""One replica's segments, in their order: (the epoch that it went on from, wall seconds in the worker)."""


class Trial(NamedTuple):
    """One setting of the hyperparameters, and what was learnt of it so far.

    curves: one for each replica that reported, metric -> value after each epoch from the first.
    epochs: trained by every replica.
    seconds: what training took, all segments together; the mean over the replicas. `spent` has it replica by replica,
        but for trials of earlier runs.
    why: the strategy's reason for the last step of it, where it gave one.
    lost_s: seconds of tries that brought nothing, because the worker died or took too long, and were made again.
    """

    number: int
    values: Values
    state: TrialState
    to_epoch: int
    epochs: int = 0
    curves: tuple[Curves, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    facts: Mapping[str, Any] = MappingProxyType({})
    why: str | None = None
    spent: tuple[Spent, ...] = ()
    lost_s: float = 0.0
