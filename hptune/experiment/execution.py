"""The `execution` section: where and how segments run, and the table of executors."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from hptune.base.offered import offered
from hptune.experiment.base import Spec, Whole, whole
from hptune.experiment.sections import Duration

Workers: TypeAlias = Annotated[int, Field(ge=1, le=1024), BeforeValidator(whole)]
"""Processes on one machine."""


EXECUTORS: dict[str, str] = {"local": "local:LocalExecutor", "inline": "inline:InlineExecutor"}
"""hptune's own executors, by their names: `module:Class` in `hptune/executors/`, made of the experiment, the folder of
the YAML file, the run's paths, whom to tell of epochs, and (`trials`) how many trials there are to come."""


def executor_names() -> list[str]:
    """The names of hptune's executors, and of those of other packages: their entry points of `hptune.executors`."""
    return [*EXECUTORS, *offered("hptune.executors")]


def _known_executor(name: str) -> str:
    if name not in EXECUTORS and name not in (known := executor_names()):
        quoted = [repr(other) for other in known]
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(quoted[:-1])} or {quoted[-1]}"})
    return name


class Execution(Spec):
    """Where and how segments run. Only xla, precision, deterministic (and a GPU for a CPU) may change the results."""

    executor: Annotated[
        str, AfterValidator(_known_executor), WithJsonSchema({"enum": [*EXECUTORS], "type": "string"})
    ] = "local"
    workers: Literal["auto"] | Workers = "auto"
    parallel: Workers = 4
    """How many trials (replicas, under folds or repeats) are under way at once as the strategy sees it, however many
    workers there are."""
    order: Literal["virtual", "free"] = "virtual"
    """When the strategy is told of a result: at its turn, so that the trials are the same on every machine; or as soon
    as it comes."""
    trial_timeout: Duration | None = None
    """The longest that one segment may take."""
    retries: Whole = Field(default=1, ge=0)
    """How often a segment is tried again after its worker died or ran out of time."""
    on_interrupt: Literal["drop", "finish"] = "drop"
    """What Ctrl-C or SIGTERM does with what is being trained: it is trained again on resume, or finished first."""
    gpus_per_worker: float = Field(default=1, gt=0, allow_inf_nan=False)
    """GPUs that each worker sees: a whole number, or a fraction to put several on one. Nothing without a GPU."""
    deterministic: bool = False
    """On a GPU, only operations that give the same bits each time; slower. On a CPU they always do."""
    xla: bool = False
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"

    @model_validator(mode="after")
    def _check(self) -> Execution:
        if self.gpus_per_worker > 1 and not self.gpus_per_worker.is_integer():
            message = f"gpus_per_worker must be at most 1 or a whole number, got {self.gpus_per_worker:g}."
            raise PydanticCustomError(
                "execution", f"{message} A GPU can't be shared by a worker that has others alone."
            )
        return self
