"""The recipe: `training`, `initialization` and `schedule`. Every number in them may be a `$name`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from hptune.spec.base import Count, Spec
from hptune.spec.directions import Goal
from hptune.spec.objective import with_goal
from hptune.spec.references import Searchable


class Optimizer(Spec):
    """A Keras optimizer by its short name; further keys are its own arguments (`momentum`, `beta_1`, `clipnorm`, …)."""

    model_config = ConfigDict(extra="allow")

    name: Searchable[str] = "adam"
    learning_rate: Searchable[Annotated[float, Field(gt=0)]] = 1e-3


class EarlyStopping(Spec):
    """End the training once `monitor` has not improved for `patience` epochs."""

    monitor: str = "val_loss"
    patience: Searchable[Count] = 5
    min_delta: Searchable[Annotated[float, Field(ge=0)]] = 0.0
    """The least change that counts as an improvement."""
    goal: Goal = "minimize"
    """Which way is better; known for every metric of Keras unless given."""

    @model_validator(mode="before")
    @classmethod
    def _known_goal(cls, given: Any) -> Any:
        return with_goal(given, "monitor", cls.model_fields["monitor"].default)


class Training(Spec):
    """How the model is trained."""

    optimizer: Optimizer = Field(default_factory=Optimizer)
    loss: Any = None
    """A Keras loss by its short name; chosen from the data unless given."""
    metrics: list[Any] | None = None
    """Keras metrics by their short names; accuracy for classes and mae for regression unless given."""
    batch_size: Searchable[Count] = 32
    epochs: Searchable[Count] = 20
    """The full training, which schedules are laid over."""
    early_stopping: EarlyStopping | None = None


class Warmup(Spec):
    """A linear rise from `start` to the base rate, reached at the end of its epochs."""

    epochs: Searchable[Annotated[float, Field(gt=0)]]
    """Counted inside training.epochs."""
    start: Searchable[Annotated[float, Field(ge=0)]] = 0.0


class Schedule(Spec):
    """The learning rate over the training, exact to the optimizer step."""

    name: Searchable[Literal["constant", "cosine"]] = "constant"
    alpha: Searchable[Annotated[float, Field(ge=0, le=1)]] | None = None
    """cosine: the floor, as a share of the base rate; 0 unless given."""
    warmup: Warmup | None = None


LATER_SCHEDULES = (
    *("time_decay", "linear", "ramp", "piecewise", "exponential"),
    *("polynomial", "cosine_restarts", "one_cycle", "plateau", "python"),
)
"""What is to come."""

SCHEDULE_OPTIONS: dict[str, frozenset[str]] = {"constant": frozenset(), "cosine": frozenset({"alpha"})}
"""Which keys beside `name` and `warmup` each schedule takes."""


class Initialization(Spec):
    """The weights that training starts from."""

    kernel: Searchable[str] | None = None
    """The kernel initialiser of every layer that has one and was not given its own."""
