"""The Experiment: what the user asked for, frozen, checked, every default filled in. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from hptune.base.trial import Value
from hptune.experiment.base import Spec, Whole
from hptune.experiment.data import DataSpec
from hptune.experiment.execution import Execution
from hptune.experiment.model import ModelSpec
from hptune.experiment.objective import Objective
from hptune.experiment.sections import Budget, Checkpoints, Evaluation, StrategySpec, Tpe
from hptune.experiment.space.space import Domain
from hptune.experiment.training import Initialization, Schedule, Training

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class ExperimentHeader(Spec):
    """What stands at the top of an experiment beside its sections."""

    version: Literal[1]
    """Of this format."""
    name: Name
    """The run's folder."""
    seed: Whole = Field(default=0, ge=0)
    """Everything random derives from it; 0 is a seed like any other."""


class Experiment(ExperimentHeader):
    """One YAML file."""

    data: DataSpec | None = None
    model: ModelSpec
    search_space: dict[str, Domain] = Field(default_factory=dict)
    training: Training = Field(default_factory=Training)
    initialization: Initialization = Field(default_factory=Initialization)
    schedule: Schedule = Field(default_factory=Schedule)
    objective: Objective | list[Objective] | None = None
    """What is optimised; a list is optimised together, for a Pareto front."""
    strategy: StrategySpec = Field(default_factory=Tpe)
    budget: Budget = Field(default_factory=Budget)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    execution: Execution = Field(default_factory=Execution)
    checkpoints: Checkpoints = Field(default_factory=Checkpoints)
    track: dict[str, bool | dict[str, Any]] = Field(default_factory=dict)
    """Who is told of the search: by a tracker's name, true, or its options."""
    enqueue: list[dict[str, Value]] = Field(default_factory=list)
    """Points that are tried first; what is left out is drawn at random."""
    warm_start: list[str] = Field(default_factory=list)
    """Earlier runs in the same folder; the strategy learns from those of their trials that fit this search."""
    baseline: dict[str, Value] = Field(default_factory=dict)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives, filled in; most searches have one."""
        assert self.objective is not None, "the objective is filled in before it is asked for"
        return tuple(self.objective) if isinstance(self.objective, list) else (self.objective,)
