"""What is checked before the first trial: that the recipe makes a model, and that the model fits the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hptune.errors import KeyPath, SpecError, spec_error
from hptune.spec.experiment import Experiment
from hptune.spec.model import LayersModel
from hptune.spec.recipe import Recipe, resolve
from hptune.spec.space import Space
from hptune.training.blueprint import SMOOTHING, Blueprint
from hptune.training.data import Data
from hptune.training.last_layer import check_last_layer
from hptune.training.losses import SMOOTHABLE
from hptune.trial import Values

Draw: TypeAlias = Callable[[Recipe, Values], Blueprint]

NameMetrics: TypeAlias = Callable[[Blueprint], list[str]]
"""Compiles a program and tells which metrics it reports."""


def check_recipes(experiment: Experiment, data: Data, draw: Draw, name_metrics: NameMetrics) -> Blueprint:
    """Try the recipe at the defaults, and if no model comes of them at both ends of the space; the first blueprint.

    Raises SpecError if none of the three can be built, or if what is built does not fit the data. Values that fail on
    their own are left to their trials.
    """
    space = Space(experiment.search_space)
    ends = [space.choose(lambda _, domain, u=u: domain.from_unit(u)) for u in (0.0, 1.0)]
    failures: list[str] = []
    for values in [space.defaults(), *ends]:
        try:
            blueprint = draw(resolve(experiment, values), values)
            check_smoothing(blueprint)
            check_last_layer(blueprint.build()[0], blueprint.compiled.loss(), data, _last_layer(experiment))
            check_objective(experiment, name_metrics(blueprint))
            return blueprint
        except SpecError:
            raise
        except Exception as error:  # noqa: BLE001  # Keras and users' code raise anything; it is told below
            shown = ", ".join(f"{name}={value}" for name, value in values.items())
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            told = f"no model for {shown or 'the recipe'} over samples of {list(data.train.x.shape[1:])}"
            failures.append(f"{told}: {lines[0][:400] if lines else type(error).__name__}")
    raise spec_error(f"{failures[0].rstrip('.')}. Mend the model, or narrow the search space.", "model")


def check_precision(experiment: Experiment) -> None:
    """float16 arithmetic needs a GPU: on a CPU it is slower than float32 and its gradients underflow."""
    import tensorflow as tf

    if experiment.execution.precision == "mixed_float16" and not tf.config.list_physical_devices("GPU"):
        told = "mixed_float16 needs a GPU, and this machine has none. Use mixed_bfloat16 or float32."
        raise spec_error(told, "execution", "precision")


def check_smoothing(blueprint: Blueprint) -> None:
    """Labels can be smoothed for a cross-entropy alone."""
    kind = type(blueprint.compiled.loss()).__name__
    if blueprint.dials.get(SMOOTHING, 0.0) > 0 and kind not in SMOOTHABLE:
        told = f"needs a cross-entropy loss, and this is {kind}. Drop it, or choose one of {', '.join(SMOOTHABLE)}."
        raise spec_error(told, "training", "regularization", "label_smoothing")


def check_objective(experiment: Experiment, metrics: list[str]) -> None:
    """Each objective must be one of the reported metrics."""
    for i, objective in enumerate(experiment.objectives):
        if objective.metric not in [*metrics, "seconds", "parameters"]:
            place = (i,) if isinstance(experiment.objective, list) else ()
            told = f"no metric {objective.metric!r} is reported. Known: {', '.join(metrics)}, seconds, parameters."
            raise spec_error(told, "objective", *place, "metric")


def _last_layer(experiment: Experiment) -> KeyPath:
    model = experiment.model
    return ("model", "layers", len(model.layers) - 1) if isinstance(model, LayersModel) else ("model",)
