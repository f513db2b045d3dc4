"""The outcome of training a segment."""

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
"""Called after each epoch as after(model trained, epochs done, the epoch's metrics)."""


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
    """The outcome of training.

    curves: of the new epochs. whole: of all epochs. ended: whether the recipe ended the training. write: writes the
    model for users and returns facts on it. batch_size: of the training. best: the epoch that earned the score, and the
    variables then, where a `fit` decides that. untested: returns why there is no figure on the test part, or None.
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
    """{"retrained": …}, a fact for the journal, where a lost state cost epochs; else {}."""
    again = f"epochs {resumed.epoch + 1} to {segment.from_epoch} were trained again"
    return {} if resumed.lost is None else {"retrained": f"{resumed.lost}: {again}"}


def parameters(model: Any) -> int:
    """The number of parameters, as `count_params` counts them, but also for a model that was never called."""
    return sum(math.prod(weight.shape) for weight in model.weights)


def joined(so_far: Curves, curves: Curves) -> Curves:
    """Each curve of `curves` after the one of the same name in `so_far`. A curve in only one of them stays as it is."""
    return {name: (*so_far.get(name, ()), *curves.get(name, ())) for name in dict.fromkeys([*so_far, *curves])}
