"""The recipe: `training`, `initialization` and `schedule`. Every number in them may be a `$name`, but for the draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hptune.experiment.base import Count, Epochs, Repeats, Spec, Whole
from hptune.experiment.directions import Goal
from hptune.experiment.model import CodeName
from hptune.experiment.objective import with_goal
from hptune.experiment.space.references import Searchable

NotNegative: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


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
    unit: Literal["epochs", "cycles"] | None = None
    """What patience counts; whole cycles under cosine_restarts unless given, else epochs."""

    @model_validator(mode="before")
    @classmethod
    def _known_goal(cls, raw: Any) -> Any:
        return with_goal(raw, "monitor", cls.model_fields["monitor"].default)


class KernelPenalty(Spec):
    """A penalty on the kernel of every layer that has one and was not given its own; both: elastic net."""

    l1: Searchable[NotNegative] | None = None
    """Times the sum of the absolute weights."""
    l2: Searchable[NotNegative] | None = None
    """Times the sum of the squared weights."""


class Regularization(Spec):
    """What keeps the whole model from fitting noise; single layers take their own `kernel_regularizer`."""

    kernel: KernelPenalty | None = None
    label_smoothing: Searchable[Annotated[float, Field(ge=0, lt=1)]] | None = None
    """The share of each label that is spread evenly over all classes; for cross-entropy losses."""


class Training(Spec):
    """How the model is trained."""

    optimizer: Optimizer = Field(default_factory=Optimizer)
    loss: Any = None
    """A Keras loss by its short name, or one of several outputs each by its name; chosen from the data unless given."""
    metrics: list[Any] | dict[str, list[Any]] | None = None
    """Keras metrics by their short names; accuracy for classes and mae for regression unless given."""
    loss_weights: dict[str, float] | None = None
    """Of several outputs: what each one's loss counts in the sum; 1 unless given."""
    batch_size: Searchable[Count] = 32
    epochs: Searchable[Epochs] = 20
    """The full training, which schedules are laid over."""
    early_stopping: EarlyStopping | None = None
    regularization: Regularization | None = None


# --- schedule -------------------------------------------------------------------------------------------------------

REQUIRED: Any = ...

SCHEDULE_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "constant": {},
    "linear": {},
    "time_decay": {"decay": REQUIRED, "per": "step", "compounding": False},
    "ramp": {"epoch": REQUIRED, "factor": 10.0},
    "piecewise": {"epochs": REQUIRED, "factors": REQUIRED},
    "exponential": {"factor": REQUIRED, "per_epochs": 1.0},
    "polynomial": {"power": 1.0, "end": 0.0},
    "cosine": {"alpha": 0.0},
    "cosine_restarts": {"cycles": REQUIRED, "multiply": 1.0, "decay": 1.0, "alpha": 0.0},
    "one_cycle": {"peak_at": 0.3, "start": None, "end": None},
    "plateau": {"factor": 0.1, "patience": 3, "min": 0.0, "monitor": "val_loss", "goal": None},
    "python": {"python": REQUIRED, "per": "step"},
}
"""Which keys beside `name` and `warmup` each schedule takes: REQUIRED, or the default (None: follows from others)."""


class Warmup(Spec):
    """A linear rise from `start` to the base rate, reached at the end of its epochs."""

    epochs: Searchable[Annotated[float, Field(gt=0)]]
    """Counted inside training.epochs."""
    start: Searchable[Annotated[float, Field(ge=0)]] = 0.0


class Schedule(Spec):
    """The learning rate over the training, exact to the optimizer step. Options that a schedule has not stay null.

    >>> Schedule.model_validate({"name": "ramp", "epoch": 7}).factor
    10.0
    """

    name: Searchable[
        Literal[
            "constant",
            "linear",
            "time_decay",
            "ramp",
            "piecewise",
            "exponential",
            "polynomial",
            "cosine",
            "cosine_restarts",
            "one_cycle",
            "plateau",
            "python",
        ]
    ] = "constant"
    decay: Searchable[NotNegative] | None = None
    """time_decay: how fast the rate falls. cosine_restarts: each peak and floor as a share of the last one's."""
    per: Searchable[Literal["step", "epoch"]] | None = None
    """time_decay: what its time counts. python: when the function is asked."""
    compounding: Searchable[bool] | None = None
    """time_decay: each rate follows from the last one, r_t = r_{t−1} / (1 + decay·t)."""
    epoch: Searchable[Literal["auto"] | NotNegative] | None = None
    """ramp: when the rate drops, counted from the very start; `auto`: train-best finds it."""
    factor: Searchable[Positive] | None = None
    """ramp: what the rate is divided by. exponential, plateau: what it is multiplied by."""
    epochs: list[Searchable[NotNegative]] | None = Field(default=None, min_length=1)
    """piecewise: when the rate changes, rising, counted from the very start."""
    factors: list[Searchable[NotNegative]] | None = Field(default=None, min_length=1)
    """piecewise: the share of the base rate from each of `epochs` on."""
    per_epochs: Searchable[Positive] | None = None
    """exponential: how many epochs one multiplication by `factor` takes."""
    power: Searchable[Positive] | None = None
    """polynomial: 1 is a straight line."""
    alpha: Searchable[Annotated[float, Field(ge=0, le=1)]] | None = None
    """cosine, cosine_restarts: the floor, as a share of the base rate."""
    cycles: Searchable[Repeats] | None = None
    """cosine_restarts: how many cycles fill the training."""
    multiply: Searchable[Positive] | None = None
    """cosine_restarts: each cycle's length as a multiple of the last one's."""
    peak_at: Searchable[Annotated[float, Field(gt=0, lt=1)]] | None = None
    """one_cycle: the share of the training at which the base rate is reached."""
    start: Searchable[NotNegative] | None = None
    """one_cycle: the first rate; a 25th of the base rate unless given."""
    end: Searchable[NotNegative] | None = None
    """polynomial: the last rate. one_cycle: the same; a ten-thousandth of the base rate unless given."""
    patience: Searchable[Count] | None = None
    """plateau: how many epochs without improvement lower the rate."""
    min: Searchable[NotNegative] | None = None
    """plateau: no rate below this one."""
    monitor: str | None = None
    """plateau: the metric that is watched."""
    goal: Goal | None = None
    """plateau: which way is better; known for every metric of Keras unless given."""
    python: Searchable[CodeName] | None = None
    """`module:function`: f(step, total_steps, base_rate) -> rate, or with per: epoch Keras's f(epoch, lr) -> lr."""
    warmup: Warmup | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, raw: Any) -> Any:
        """The schedule's own defaults; options that it lacks stay null; the check across sections reports them."""
        if not isinstance(raw, dict):
            return raw
        name = raw.get("name", "constant" if raw.get("python") is None else "python")
        options = SCHEDULE_OPTIONS.get(name, {}) if isinstance(name, str) else {}
        kept = {key: value for key, value in raw.items() if value is not None}
        filled = {key: value for key, value in options.items() if value is not None and value is not REQUIRED}
        section = {**filled, **kept, "name": name}
        return with_goal(section, "monitor") if "monitor" in section else section


# --- initialization -------------------------------------------------------------------------------------------------


class _Stabilize(Spec):
    optimizer: str | None = None
    """A Keras optimizer; that of training.optimizer at the defaults of the space unless given."""
    batch_size: Count | None = None
    """That of training.batch_size at the defaults of the space unless given."""


class Lottery(_Stabilize):
    """Draw several sets of weights, train each briefly, keep the one with the lowest training loss."""

    method: Literal["lottery"]
    draws: Whole = Field(default=10, ge=2)
    epochs: Epochs = 3
    steps_per_epoch: Count | None = 100
    """At most this many; null: all of them."""
    learning_rate: Positive = 1e-4


class WarmedUp(_Stabilize):
    """Train one set of weights while the rate rises from `start` to `end`."""

    method: Literal["warmup"]
    epochs: Epochs = 4
    start: NotNegative = 1e-4
    end: Positive = 1e-3

    @model_validator(mode="after")
    def _rises(self) -> WarmedUp:
        if self.start >= self.end:
            message = f"start must be below end, got start {self.start:g} and end {self.end:g}. Swap them."
            raise PydanticCustomError("warmup", "{message}", {"message": message})
        return self


Stabilize: TypeAlias = Annotated[Lottery | WarmedUp, Field(discriminator="method")]


class Initialization(Spec):
    """The weights that training starts from."""

    kernel: Searchable[str | dict[str, Any]] | None = None
    """The kernel initialiser of every layer that has one and was not given its own: a name, or {Name: {arguments}}."""
    stabilize: Stabilize | None = None
    """Prepare the weights once for each architecture, before its first trial. Plain numbers: no `$name`."""
