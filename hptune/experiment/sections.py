"""The smaller sections of an experiment: strategy, budget, evaluation, checkpoints, track."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, Union

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from hptune.base.errors import spec_error, unknown
from hptune.base.offered import load_offered, offered
from hptune.experiment.base import Count, Epochs, Repeats, Spec, Whole, whole

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> Any:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value.strip()) if isinstance(value, str) else None
    if match:
        return float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise PydanticCustomError("duration", f"must be a duration such as 90s, 10m, 2h or 1d, got {value!r}.")


_YEAR_S = 365 * 86_400

Duration: TypeAlias = Annotated[
    float, Field(gt=0, le=100 * _YEAR_S), BeforeValidator(_duration, json_schema_input_type=str | float)
]
"""Seconds, up to a hundred years; written `90s`, `10m`, `2h`, `1d`."""


class StrategyOptions(Spec):
    """A strategy as the YAML has it: what holds of it is said here, and nowhere else.

    halves: it trains trials in part, up to one number of epochs for all. learns: it learns from the trials of earlier
    runs too (of those that halve, their samplers may). several: it serves several objectives. ends: it ends by itself.
    fixed: no result changes its points. code: the option that names code of the user's, which it runs.
    maker: of another package's, the `module:Class` that serves it, made and held to the rules as `python` strategies
    are, with its other fields as keywords.
    """

    maker: ClassVar[str] = ""
    halves: ClassVar[bool] = False
    learns: ClassVar[bool] = False
    several: ClassVar[bool] = False
    ends: ClassVar[bool] = False
    fixed: ClassVar[bool] = False
    code: ClassVar[str | None] = None

    name: str

    @property
    def source(self) -> StrategyOptions:
        """Where its points come from: itself, or the sampler that it has."""
        return self


class Random(StrategyOptions):
    """Independent random points (KerasTuner's RandomSearchOracle)."""

    several: ClassVar[bool] = True
    fixed: ClassVar[bool] = True

    name: Literal["random"]


class Grid(StrategyOptions):
    """Every point of the space (KerasTuner's GridSearchOracle)."""

    several: ClassVar[bool] = True
    fixed: ClassVar[bool] = True
    ends: ClassVar[bool] = True

    name: Literal["grid"]


class Bayesian(StrategyOptions):
    """A Gaussian process with a lower confidence bound (KerasTuner's BayesianOptimizationOracle)."""

    learns: ClassVar[bool] = True

    name: Literal["bayesian"]
    initial_points: Count | None = None
    """Random points first; three for each parameter unless given."""
    alpha: float = Field(default=1e-4, gt=0)
    """Noise added to the diagonal of the kernel matrix."""
    beta: float = Field(default=2.6, ge=0)
    """How much uncertainty is worth: larger explores more."""


class KerasTunerOracle(StrategyOptions):
    """Any KerasTuner Oracle class, given as `module:Class`."""

    code: ClassVar[str | None] = "oracle"

    name: Literal["keras_tuner"]
    oracle: str
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for its constructor, beside objective, hyperparameters, max_trials and seed."""


class Tpe(StrategyOptions):
    """Tree-structured Parzen estimators (Optuna's TPESampler): the points that good trials have and bad ones lack.

    References: Bergstra et al. 2011; Watanabe 2023, arXiv:2304.11127.
    """

    learns: ClassVar[bool] = True
    several: ClassVar[bool] = True

    name: Literal["tpe"] = "tpe"
    initial_points: Count = 10
    """Random points first."""
    candidates: Annotated[int, Field(ge=1, le=100_000), BeforeValidator(whole)] = 64
    """How many points are drawn for each suggestion, of which the most promising is tried; 24 is what Optuna draws."""


class CmaEs(StrategyOptions):
    """Covariance matrix adaptation (Optuna's CmaEsSampler), over the numbers that are always active; others at random.

    References: Hansen 2016, arXiv:1604.00772.
    """

    learns: ClassVar[bool] = True

    name: Literal["cmaes"]
    population: Annotated[int, Field(ge=3, le=100_000), BeforeValidator(whole)] | None = None
    """Trials in a generation; 4 + ⌊3 ln d⌋ for d parameters unless given."""


class Qmc(StrategyOptions):
    """A low-discrepancy sequence (Optuna's QMCSampler), scrambled by the seed: random points, spread evenly."""

    several: ClassVar[bool] = True
    fixed: ClassVar[bool] = True

    name: Literal["qmc"]
    sequence: Literal["sobol", "halton"] = "sobol"


class Nsga2(StrategyOptions):
    """A genetic algorithm for one objective or several (Optuna's NSGAIISampler).

    References: Deb et al. 2002, doi:10.1109/4235.996017.
    """

    learns: ClassVar[bool] = True
    several: ClassVar[bool] = True

    name: Literal["nsga2"]
    population: Annotated[int, Field(ge=2, le=100_000), BeforeValidator(whole)] = 50
    """Trials in a generation; the first is random."""
    crossover: float = Field(default=0.9, ge=0, le=1)
    """The chance that a new point mixes its parents'."""
    mutation: float | None = Field(default=None, ge=0, le=1)
    """The chance that a parameter is drawn anew; 1 / the number of parameters unless given."""


def _named(value: Any) -> Any:
    """`tpe` for `{name: tpe}`."""
    return {"name": value} if isinstance(value, str) else value


class BayesOpt(StrategyOptions):
    """A Gaussian process (the bayesian-optimization package, an extra: `pip install 'hptune[bayes-opt]'`)."""

    learns: ClassVar[bool] = True

    name: Literal["bayes_opt"]
    initial_points: Count = 5
    """Random points first."""
    iterations: Count | None = None
    """Trials after them; as many as the budget allows unless given."""
    acquisition: Literal["ucb", "ei", "poi"] = "ucb"
    """What is sought: the upper confidence bound, the expected improvement, or the probability of one."""
    kappa: float | None = Field(default=None, ge=0)
    """ucb: how much uncertainty is worth; 2.576 unless given."""
    xi: float | None = Field(default=None, ge=0)
    """ei and poi: how large an improvement must be to count; 0.01 unless given."""

    @model_validator(mode="after")
    def _check(self) -> BayesOpt:
        strange = "xi" if self.acquisition == "ucb" else "kappa"
        if getattr(self, strange) is not None:
            message = f"{strange} does not belong to acquisition: {self.acquisition}. Drop it, or choose another."
            raise PydanticCustomError("acquisition", message)
        return self


class Guided(StrategyOptions):
    """What an expert does by hand: learning rate, batch size, learning rate again, schedule; the rest at its defaults.

    First the learning rate, an order of magnitude either way, then the batch size doubled while it helps, the learning
    rate within a factor of 2, then a cosine schedule, or else a ramp where the validation loss stops falling.
    """

    ends: ClassVar[bool] = True

    name: Literal["guided"]
    learning_rate: str | None = None
    """The parameter that plays this role; the one whose $name stands in training.optimizer unless given."""
    batch_size: str | None = None
    """The parameter that plays this role; the one whose $name stands in training unless given."""
    schedule: str | None = None
    """The parameter that chooses the schedule's name; the one whose $name stands in schedule unless given."""
    ramp_epoch: str | None = None
    """The parameter that says when `ramp` drops; the one whose $name stands in schedule.epoch unless given."""
    first_batch_size: Count | None = None
    """Where doubling begins: 32, or 256 for more than 50,000 samples, unless given."""


class Narrowing(StrategyOptions):
    """Random trials over the whole space, then around the best, ever closer as it gets better; and again.

    References: F. Ferlitsch, Deep Learning Patterns and Practices, chapter 10.
    """

    learns: ClassVar[bool] = True

    name: Literal["narrowing"]
    explore: Count = 10
    """Trials over the whole space, first and whenever the search goes back to it."""
    exploit: Count | None = None
    """The most trials around the best before the search goes back to the whole space; no limit but patience."""
    patience: Count = 20
    """Trials around the best without a better one, after which the search goes back to the whole space."""


class OptunaClass(StrategyOptions):
    """Any of Optuna's samplers, or one of OptunaHub's or your own, given as `module:Class`."""

    learns: ClassVar[bool] = True
    several: ClassVar[bool] = True
    code: ClassVar[str | None] = "sampler"

    name: Literal["optuna"]
    sampler: str
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for its constructor, beside the seed."""


class PythonStrategy(StrategyOptions):
    """A class of your own with the methods of hptune's Strategy, given as `module:Class`."""

    learns: ClassVar[bool] = True
    several: ClassVar[bool] = True
    code: ClassVar[str | None] = "strategy"

    name: Literal["python"]
    strategy: str
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for its constructor, beside the experiment and the space."""


SamplerSpec: TypeAlias = Annotated[
    Annotated[Random | Tpe | Qmc, Field(discriminator="name")],
    BeforeValidator(_named, json_schema_input_type=Literal["random", "tpe", "qmc"] | Random | Tpe | Qmc),
]
"""Where the points of a halving strategy come from: a name, or a section with options.

`tpe` learns from the longest training that has eight results, not from all of them mixed.
"""


class Hyperband(StrategyOptions):
    """Successive halving in brackets (Li et al. 2018, arXiv:1603.06560), with KerasTuner's brackets and sizes."""

    halves: ClassVar[bool] = True
    ends: ClassVar[bool] = True

    name: Literal["hyperband"]
    max_epochs: Epochs | None = None
    """The most epochs that a trial gets; training.epochs unless given."""
    factor: Whole = Field(default=3, ge=2)
    iterations: Repeats | None = None
    """How often all brackets are run; 1 unless a budget is given, then as often as it pays for."""
    sampler: SamplerSpec = Field(default_factory=lambda: Random(name="random"))
    """Where new points come from."""

    @property
    def source(self) -> StrategyOptions:
        """The options of its sampler, which decide what holds of its points."""
        return self.sampler


class Asha(StrategyOptions):
    """Asynchronous successive halving: the best of each rung are trained on to the next, and no worker ever waits.

    References: Li et al. 2020, arXiv:1810.05934; with a sampler that learns, Falkner et al. 2018, arXiv:1807.01774.
    """

    halves: ClassVar[bool] = True

    name: Literal["asha"]
    min_epochs: Epochs = 1
    """How far every trial is trained: the first rung."""
    max_epochs: Epochs | None = None
    """The last rung; training.epochs unless given."""
    factor: Whole = Field(default=3, ge=2)
    """One trial in `factor` goes on to the next rung, which has `factor` times as many epochs."""
    sampler: SamplerSpec = Field(default_factory=lambda: Random(name="random"))
    """Where new points come from."""

    @property
    def source(self) -> StrategyOptions:
        """The options of its sampler, which decide what holds of its points."""
        return self.sampler


STRATEGIES: dict[str, type[StrategyOptions]] = {
    "tpe": Tpe,
    "random": Random,
    "grid": Grid,
    "bayesian": Bayesian,
    "hyperband": Hyperband,
    "asha": Asha,
    "cmaes": CmaEs,
    "qmc": Qmc,
    "nsga2": Nsga2,
    "bayes_opt": BayesOpt,
    "narrowing": Narrowing,
    "guided": Guided,
    "keras_tuner": KerasTunerOracle,
    "optuna": OptunaClass,
    "python": PythonStrategy,
}
"""`strategy.name` -> its class; the first is the default."""


def strategy_names() -> list[str]:
    """The names of hptune's strategies, and of those of other packages: their entry points of `hptune.strategies`."""
    return [*STRATEGIES, *offered("hptune.strategies")]


def strategy_options(name: Any) -> type[StrategyOptions] | None:
    """The options of the strategy of this name, another package's too; None where there is none.

    Raises SpecError where that package can't be loaded, or brings no such options.
    """
    if isinstance(name, str) and name in STRATEGIES:
        return STRATEGIES[name]
    if name not in offered("hptune.strategies"):
        return None
    loaded = load_offered("hptune.strategies", name, ("strategy", "name"))
    if not (isinstance(loaded, type) and issubclass(loaded, StrategyOptions) and loaded.maker and not loaded.halves):
        reason = f"{name} must bring a subclass of StrategyOptions with a maker, which does not halve, got {loaded!r}"
        raise spec_error(f"{reason}. Tell its author, or use another.", "strategy", "name")
    return loaded


def _of_its_class(value: Any) -> Any:
    """The options that a section's name stands for."""
    if not isinstance(value, dict):
        return value
    options = strategy_options(value.get("name"))
    if options is None:
        message = unknown("strategy", value.get("name"), strategy_names())
        raise PydanticCustomError(
            "strategy", "{message}", {"message": f"{message} Where another package brings it, install that."}
        )
    return options.model_validate(value)


_Own: TypeAlias = Annotated[Union[tuple(STRATEGIES.values())], Field(discriminator="name")]  # type: ignore[valid-type]  # noqa: UP007

StrategySpec: TypeAlias = Annotated[StrategyOptions, BeforeValidator(_of_its_class, json_schema_input_type=_Own)]


class Budget(Spec):
    """Whichever is reached first ends the search."""

    trials: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(whole)] | None = None
    time: Duration | None = None
    """Wall time during which trials could run, over all the times the search was resumed."""
    epochs: Annotated[int, Field(ge=1, le=10_000_000), BeforeValidator(whole)] | None = None
    """Every epoch trained, over all trials; a segment started within it is finished."""
    target: float | None = Field(default=None, allow_inf_nan=False)
    """A score that is good enough."""
    patience: Count | None = None
    """Trials without a better one, after which the search ends."""


class Finalists(Spec):
    """The best trials, trained again under fresh seeds at the end of a search."""

    top: Count = 3
    repeats: Whole = Field(default=5, ge=2, le=1000)


Folds: TypeAlias = Annotated[int, Field(ge=2, le=1000), BeforeValidator(whole)]


class Evaluation(Spec):
    """How often a point is trained, and on what."""

    repeats: Repeats = 1
    """Under other seeds each time; the score is the mean."""
    folds: Folds | None = None
    """Cross-validation: each point is trained once for each fold, and scored on another part of the samples."""
    stop_after: Count | None = None
    """Once this many folds are done, a trial that is worse than the median is not trained on the rest of them."""
    finalists: Finalists | None = None

    @property
    def replicas(self) -> int:
        """How many times a point is trained: once for each repeat, or for each fold."""
        return self.folds or self.repeats

    @model_validator(mode="after")
    def _check(self) -> Evaluation:
        if self.folds is not None and self.repeats > 1:
            raise PydanticCustomError("evaluation", "repeats and folds can't stand together. Drop one of them.")
        return self


class Checkpoints(Spec):
    """What stays on disk."""

    keep: Whole = Field(default=1, ge=0)
    """How many of the best trials' weights."""


TRACKERS: dict[str, str] = {"csv": "csv_files:CsvFiles"}
"""hptune's own trackers, by their key in `track`: `module:Class` in `hptune/trackers/`, made of the run's paths and of
the key's options."""


def tracker_names() -> list[str]:
    """The names of hptune's trackers, and of those of other packages: their entry points of `hptune.trackers`."""
    return [*TRACKERS, *offered("hptune.trackers")]
