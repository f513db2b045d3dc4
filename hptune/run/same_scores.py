"""Whether the scores of two runs compare: the same metric or loss, of the same data, by the same code.

A score that the user's code measures (a function, a loss or metric of their own, what a builder compiles) compares as
long as that code has the same fingerprint (`circumstances`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hptune.experiment.directions import whole_metric
from hptune.experiment.estimators import references
from hptune.experiment.experiment import Experiment
from hptune.experiment.keras_table import arguments, reported_name
from hptune.experiment.model import ModelSpec, SklearnModel
from hptune.experiment.space.references import Ref, texts_in, uses
from hptune.experiment.thresholds import halves_of_logits
from hptune.run import circumstances
from hptune.run.circumstances import Circumstances

Definition: TypeAlias = Any
"""JSON data that is equal where a metric or loss is."""

_OF_TRAINING = ("seconds", "parameters", "penalty")
"""What is measured without a loss or a metric of the model's."""

_NO_MATTER = ("name", "dtype")
"""Arguments of a metric that change no figure of it."""


@dataclass(frozen=True, slots=True)
class Scored:
    """How a run scores its trials.

    sittings: the circumstances that it was searched under, one after the other. own_fit: its model's code trains by
    itself, and what it returns is the score.
    """

    experiment: Experiment
    sittings: Sequence[Circumstances]
    own_fit: bool = False


def measured_otherwise(before: Scored, now: Scored, *, task: str | None) -> str | None:
    """Why no score of the run `before` compares with those of `now`, on the same data; None where they do.

    Another network, other epochs and other rows of the same data are no reason: those are scores of the same thing.
    """
    then, this = before.experiment, now.experiment
    if _estimators(then.model) != _estimators(this.model):
        functions = not (then.model.takes_data and this.model.takes_data)
        return "another function" if functions else "another scikit-learn estimator"
    if then.evaluation.folds != this.evaluation.folds:
        return "other evaluation.folds"
    metrics = [objective.metric for objective in this.objectives]
    for metric in metrics:
        if (why := _defined_otherwise(before, now, metric=metric, task=task)) is not None:
            return why
    if any(_is_by_code(_definition(scored, metric)) for metric in metrics for scored in (before, now)):
        return _changed_code(before, now)
    return None


def _estimators(model: ModelSpec) -> list[str]:
    """The function, or scikit-learn's estimators, that a score is of; nothing for a network."""
    if not model.keras and model.code is not None:
        return [model.code]
    return references(model) if isinstance(model, SklearnModel) else []


def _defined_otherwise(before: Scored, now: Scored, *, metric: str, task: str | None) -> str | None:
    """Why the objective's metric is not the same thing in both, as far as the YAML says."""
    then, this = _definition(before, metric), _definition(now, metric)
    is_loss = _is_loss(metric)
    if then != this:
        if "code" in (then[0], this[0]):
            return f"{metric} as other code has it"
        return "another training.loss" if is_loss else f"{metric} with other arguments"
    halves = [bool(halves_of_logits(scored.experiment)) for scored in (before, now)]
    if not is_loss and "metric" in then[:1] and halves[0] != halves[1]:
        return f"{metric} under a loss that tells classes apart elsewhere"
    if metric == "loss" and _class_weight(before.experiment) != _class_weight(now.experiment):
        return "another data.class_weight"
    if is_loss and task == "regression" and _standardised(before.experiment) != _standardised(now.experiment):
        return "a loss of a target that is scaled otherwise"
    return None


def _definition(scored: Scored, metric: str) -> Definition:
    """(where it is from, what it is) of an objective's metric."""
    experiment = scored.experiment
    model, training = experiment.model, experiment.training
    if metric in _OF_TRAINING and model.takes_data:
        return ("training", metric)
    if not model.keras:
        return ("code", metric)  # of a scikit-learn model, which may have none: there is nothing then that could change
    code = ("code", model.code)
    if scored.own_fit:
        return code
    if _is_loss(metric):
        searched = [Ref(use.name) for use in uses({"loss": training.loss})]
        choices = tuple(texts_in(searched, experiment.search_space))
        return code if training.loss is None else ("loss", _loss(training.loss), training.loss_weights, choices)
    return code if training.metrics is None else ("metric", _metric(training.metrics, metric))


def _is_loss(metric: str) -> bool:
    """The model's loss, or that of one of its outputs."""
    plain = metric.removeprefix("val_")
    return plain == "loss" or plain.endswith("_loss")


def _loss(loss: Any) -> Definition:
    """`mse` is `mean_squared_error`."""
    return reported_name(loss, {}) if isinstance(loss, str) and ":" not in loss else loss


def _metric(metrics: Any, wanted: str) -> Definition:
    """The metrics of that name with all their arguments; all metrics where none has it, as one output's."""
    plain = whole_metric(wanted).removeprefix("val_")
    if not isinstance(metrics, list):
        return {output: [_with_arguments(metric) for metric in listed] for output, listed in metrics.items()}
    wanted_metrics = [metric for metric in metrics if _reported(metric) == plain]
    return [_with_arguments(metric) for metric in wanted_metrics or metrics]


def _reported(metric: Any) -> str:
    name, args = _call(metric)
    return reported_name(name, args)


def _with_arguments(metric: Any) -> Definition:
    """(name, every argument, the defaults filled in) of a metric as the YAML has it."""
    name, args = _call(metric)
    try:
        known = arguments("metrics", name)
    except KeyError:  # the user's own
        known = {}
    defaults = {key: details["default"] for key, details in known.items() if "default" in details}
    return [name, {key: value for key, value in {**defaults, **(args or {})}.items() if key not in _NO_MATTER}]


def _call(metric: Any) -> tuple[str, dict[str, Any] | None]:
    if isinstance(metric, dict) and len(metric) == 1:
        ((name, args),) = metric.items()
        return str(name), args or {}
    return str(metric), None


def _is_by_code(definition: Definition) -> bool:
    """Whether the user's code takes part in it: `module:name`, wherever it stands."""
    if isinstance(definition, str):
        return ":" in definition
    if isinstance(definition, dict):
        return any(map(_is_by_code, [*definition, *definition.values()]))
    if isinstance(definition, list | tuple):
        return "code" in definition[:1] or any(map(_is_by_code, definition))
    return False


def _changed_code(before: Scored, now: Scored) -> str | None:
    """That the code is another now than in one of the sittings of the run before, or that this can't be known."""
    (new,) = now.sittings
    for old in before.sittings:
        if old["code"] and new["code"] and _python(old) != _python(new):
            return f"scored by code under Python {_python(old)}; whether it has changed can't be known"
        changed = [file for file in circumstances.changes(old, new).get("code", ()) if file in old["code"]]
        if changed:  # what has come since took no part in the scores
            return f"scored by code that has changed since: {', '.join(sorted(changed))}"
    return None


def _python(sitting: Circumstances) -> str:
    """Its version, within which fingerprints hold: 3.11, say."""
    return ".".join(str(sitting["versions"].get("python", "")).split(".")[:2])


def _class_weight(experiment: Experiment) -> Any:
    return None if experiment.data is None else experiment.data.class_weight


def _standardised(experiment: Experiment) -> bool:
    """Whether the target of a regression is, inside the loss."""
    return experiment.data is not None and experiment.data.scale != "none" and not experiment.model.as_it_is
