"""The Experiment: what the user asked for, frozen, checked, every default filled in. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, SerializeAsAny

from hptune.spec.base import Spec
from hptune.spec.data import DATA_KINDS, _Data
from hptune.spec.model import MODEL_KINDS
from hptune.spec.objective import Objective
from hptune.spec.sections import Budget, Checkpoints, Evaluation, Execution, Random, StrategySpec
from hptune.spec.space import Domain
from hptune.spec.training import Initialization, Schedule, Training
from hptune.trial import Value

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Experiment(Spec):
    """One YAML file."""

    version: Literal[1]
    name: Name
    """The run's folder."""
    seed: int = Field(default=0, ge=0)
    data: Any = None
    model: Any
    search_space: dict[str, Domain] = Field(default_factory=dict)
    training: Training = Training()
    initialization: Initialization = Initialization()
    schedule: Schedule = Schedule()
    objective: Objective | None = None
    strategy: StrategySpec = Random()
    budget: Budget = Budget()
    evaluation: Evaluation = Evaluation()
    execution: Execution = Execution()
    checkpoints: Checkpoints = Checkpoints()
    enqueue: list[dict[str, Value]] = Field(default_factory=list)
    baseline: dict[str, Value] = Field(default_factory=dict)
