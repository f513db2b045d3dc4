"""The Strategy protocol and its decisions; which class serves which name stands in `choose`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from hptune.history import History
from hptune.trial import Trial, Values


@dataclass(frozen=True, slots=True)
class Start:
    """Start a new trial with `values` (every active parameter, in the space's order) and train it up to `to_epoch`."""

    values: Values
    to_epoch: int
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Continue:
    """Train trial number `trial`, which is paused, on up to `to_epoch`."""

    trial: int
    to_epoch: int
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until a running trial reports."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing left to try. `why`: one clause for the user ("every point of the space was tried")."""

    why: str


Decision: TypeAlias = Start | Continue | Wait | Done


@dataclass(frozen=True, slots=True)
class Rung:
    """`trials` trials are trained up to `epochs` epochs."""

    epochs: int
    trials: int


class Strategy(Protocol):
    """Decides what to try next from the History alone.

    `next` is a function: of the experiment, its seed and the history, nothing else. A fresh object given the same
    history answers the same. It never trains, stores, sleeps or prints; it raises no errors of its own after its
    constructor, which raises `SpecError` where the strategy can't serve the space.
    """

    def next(self, history: History) -> Decision:
        """What to do with a free worker. Never repeats a point, never `Wait`s while nothing runs."""
        ...

    def may_continue(self, trial: Trial, history: History) -> bool:
        """Whether a paused trial may still be promoted; where not, it is stopped and its state is removed."""
        ...
