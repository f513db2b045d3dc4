"""What training a segment gave, and the best epoch of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from hptune.base.trial import Curves, Segment
from hptune.training.core import state as states
from hptune.training.core.state import State
from hptune.training.data import Part

AfterEpoch: TypeAlias = Callable[["TrainedModel", int, Mapping[str, float]], None]
"""Told (what is trained, epochs done, the epoch's metrics)."""


class TrainedModel(Protocol):
    """A model after its training: a `Program`, or an `OwnFit`."""

    @property
    def model(self) -> Any:
        """The Keras model."""
        ...

    def state(self) -> State:
        """A copy of the variables as they are now."""
        ...

    def load(self, state: State) -> None:
        """Set the variables to those of `state`."""
        ...

    def finalize(self) -> None:
        """Set the weights to those that are saved: the averages where the optimizer keeps some."""
        ...

    def evaluate(self, part: Part, batch_size: int) -> dict[str, float]:
        """The metrics on a part of the data, by name, the loss among them."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training gave.

    curves: of the new epochs. whole: of all. ended: the recipe ended the training. write: writes the model for
    users and returns facts to tell of it. batch_size: by which it was trained. best: the epoch that the score is of,
    and the variables then, where a fit of its own says so. untested: why there is no figure on the test part.
    """

    trained: TrainedModel
    curves: Curves
    whole: Curves
    ended: bool
    write: Callable[[], dict[str, Any]]
    facts: Mapping[str, Any]
    batch_size: int
    best: tuple[int, State | None] | None = None
    untested: Callable[[], str | None] = lambda: None


def retrained(resumed: states.ResumePoint, segment: Segment) -> dict[str, Any]:
    """A fact for the journal where a lost state cost epochs."""
    again = f"epochs {resumed.epoch + 1} to {segment.from_epoch} were trained again"
    return {} if resumed.lost is None else {"retrained": f"{resumed.lost}: {again}"}


def parameters(model: Any) -> int:
    """As `count_params` counts them, which asks for a model that was called."""
    return sum(math.prod(weight.shape) for weight in model.weights)


def epochs_of(curves: Curves) -> int:
    """How many epochs the longest curve has; 0 where there is none."""
    return max((len(values) for values in curves.values()), default=0)


def joined(so_far: Curves, curves: Curves) -> Curves:
    """Each curve of `curves` after the one of the same name in `so_far`. A curve in only one of them stays as it is."""
    return {name: (*so_far.get(name, ()), *curves.get(name, ())) for name in dict.fromkeys([*so_far, *curves])}
