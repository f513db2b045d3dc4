"""What is checked before the first trial: that the recipe makes a model, and that the model fits the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from hptune.base.errors import HptuneError, KeyPath, Problem, SegmentFailed, SpecError, spec_error
from hptune.base.trial import Values
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import Recipe, resolve
from hptune.experiment.space.space import Space
from hptune.training.core.losses import SMOOTHABLE
from hptune.training.core.several_outputs import columns_of
from hptune.training.data import Data
from hptune.training.models.blueprint import SMOOTHING, Blueprint
from hptune.training.reasons import LayerError, is_fatal, reason
from hptune.training.trainers.last_layer import check_last_layer
from hptune.training.trainers.points import points

Draw: TypeAlias = Callable[[Recipe, Values], Blueprint]

NameMetrics: TypeAlias = Callable[[Blueprint], tuple[list[str], str | None]]
"""Compiles a program; (the metrics that it reports, why it has none of validation, or None)."""


def check_recipes(
    experiment: Experiment,
    data: Data,
    *,
    draw: Draw,
    name_metrics: NameMetrics,
    space: Space,
    built: Sequence[Values] = (),
    folder: Path = Path(),
) -> tuple[Blueprint, Values, list[str]]:
    """Try the recipe at the defaults, then at other points until one makes a model.

    Returns the blueprint of that point, its values, and notes on where the last layer of the user's own model does not
    fit the data: it is trained as it is, as Keras does.

    draw: makes a point's blueprint. space: the YAML's and the code's. built: settings from which the code has made a
    model; they come before random points. folder: the YAML file's, for places in messages. Raises SpecError if no point
    can be built, or if the model does not fit the data. Values that fail on their own are left to their trials.
    """
    failures: list[Problem] = []
    for values in points(space, seed=experiment.seed, built=built):
        path: KeyPath = ("model",)
        try:
            blueprint = draw(resolve(experiment, values), values)
            check_smoothing(blueprint)
            columns = columns_of(blueprint.outputs, data)
            made, loss = blueprint.build()[0], blueprint.compiled.loss()
            seen = replace(data, target_scale=None) if experiment.model.as_it_is else data
            doubts = []
            try:
                check_last_layer(made, loss, data=seen, path=_last_layer(experiment), columns=columns)
            except SpecError as misfit:
                if not experiment.model.as_it_is:
                    raise
                doubts = [f"{one.message} It is trained as it is." for one in misfit.problems]
            check_objective(experiment, *name_metrics(blueprint))
            return blueprint, values, doubts
        except SegmentFailed as failed:
            failure = str(failed)
        except HptuneError:
            raise
        except Exception as error:  # Keras and users' code raise anything; it is reported below
            if is_fatal(error) and not failures:  # at the defaults; elsewhere it is left to the trial that meets it
                raise
            failure = reason(error, folder)
            path = error.path if isinstance(error, LayerError) else path
        shown = ", ".join(f"{name}={value}" for name, value in values.items())
        problem = f"no model for {shown or 'the recipe'} over samples of {list(data.train.x.shape[1:])}: {failure}"
        failures.append(Problem(f"{problem.rstrip('.')}. Fix the model, or narrow the search space.", path))
    raise SpecError(failures[0])


def check_precision(experiment: Experiment) -> None:
    """float16 arithmetic needs a GPU: on a CPU it is slower than float32 and its gradients underflow."""
    import tensorflow as tf

    if experiment.execution.precision == "mixed_float16" and not tf.config.list_physical_devices("GPU"):
        problem = "mixed_float16 needs a GPU, and this machine has none. Use mixed_bfloat16 or float32."
        raise spec_error(problem, "execution", "precision")


def check_smoothing(blueprint: Blueprint) -> None:
    """Labels can be smoothed under a cross-entropy only."""
    kind = type(blueprint.compiled.loss()).__name__
    if blueprint.dials.get(SMOOTHING, 0.0) > 0 and kind not in SMOOTHABLE:
        problem = f"needs a cross-entropy loss, and this is {kind}. Drop it, or choose one of {', '.join(SMOOTHABLE)}."
        raise spec_error(problem, "training", "regularization", "label_smoothing")


def check_objective(experiment: Experiment, metrics: list[str], not_validated: str | None = None) -> None:
    """Each objective must be one of the reported metrics. not_validated: why there are no validation metrics."""
    for i, objective in enumerate(experiment.objectives):
        if objective.metric not in [*metrics, "seconds", "parameters"]:
            place = (i,) if isinstance(experiment.objective, list) else ()
            problem = f"no metric {objective.metric!r} is reported. Known: {', '.join(metrics)}, seconds, parameters."
            raise spec_error(f"{problem}{_sentence(not_validated)}", "objective", *place, "metric")


def _sentence(clause: str | None) -> str:
    return "" if clause is None else f" {clause[0].upper()}{clause[1:]}."


def _last_layer(experiment: Experiment) -> KeyPath:
    model = experiment.model
    return ("model", "layers", len(model.stack) - 1) if model.layered else ("model",)
