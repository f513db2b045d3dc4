"""The threshold between two classes: 0 under a loss that takes logits or margins, not at Keras's usual 0.5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.base.errors import KeyPath, Problem
from hptune.experiment.data import Task
from hptune.experiment.experiment import Experiment
from hptune.experiment.graph import FROM
from hptune.experiment.space.references import Ref

_CROSSENTROPIES = ("binary_crossentropy", "bce", "BCE", "BinaryCrossentropy",
                   "binary_focal_crossentropy", "BinaryFocalCrossentropy")  # fmt: skip

MARGINS = ("hinge", "Hinge", "squared_hinge", "SquaredHinge", "categorical_hinge", "CategoricalHinge")
"""The losses of Keras under which outputs are scores on both sides of 0: no probabilities, and no logits."""

PROBABILITIES = ("sigmoid", "hard_sigmoid", "softmax")
"""The activations whose outputs lie in [0, 1], whatever the loss."""

_AT_A_HALF = {
    "accuracy": "BinaryAccuracy: {threshold: 0}",
    "acc": "BinaryAccuracy: {threshold: 0}",
    "binary_accuracy": "BinaryAccuracy: {threshold: 0}",
    "BinaryAccuracy": "BinaryAccuracy: {threshold: 0}",
    "BinaryIoU": "BinaryIoU: {threshold: 0}",
    **{name: f"{name}: {{thresholds: 0}}" for name in ("Precision", "Recall", "TruePositives", "TrueNegatives",
                                                       "FalsePositives", "FalseNegatives")},
}  # fmt: skip
"""The metrics that count what is above 0.5, unless they are given another threshold, and how they are given 0."""

_OF_PROBABILITIES = {
    "AUC": "AUC: {from_logits: true}",
    **{
        name: f"BinaryCrossentropy: {{from_logits: true, name: {name}}}"
        for name in ("binary_crossentropy", "bce", "BCE")
    },
    "BinaryCrossentropy": "BinaryCrossentropy: {from_logits: true}",
    **{
        f"{name}_crossentropy": f"{kind}Crossentropy: {{from_logits: true, name: {name}_crossentropy}}"
        for kind, name in (("Categorical", "categorical"), ("SparseCategorical", "sparse_categorical"))
    },
    "CategoricalCrossentropy": "CategoricalCrossentropy: {from_logits: true}",
    "SparseCategoricalCrossentropy": "SparseCategoricalCrossentropy: {from_logits: true}",
    **dict.fromkeys(("kl_divergence", "kld", "KLD", "KLDivergence", "poisson", "Poisson")),
    **dict.fromkeys(("PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity", "SpecificityAtSensitivity")),
}
"""The metrics that take outputs for probabilities, unless told otherwise, and how that is said, if it can be."""

_OF_CLASSES = ("categorical_crossentropy", "sparse_categorical_crossentropy", "CategoricalCrossentropy",
               "SparseCategoricalCrossentropy", "CategoricalFocalCrossentropy",
               "categorical_focal_crossentropy")  # fmt: skip

_SETTINGS = ("threshold", "thresholds", "from_logits")


def accuracies(experiment: Experiment, task: Task, *, loss: Any, name: str) -> Any:
    """The metric `name`, which is accuracy, as the loss wants it cut: in a list, or of several outputs by each."""
    outputs = outputs_of(experiment)
    each = {
        output: [_accuracy(experiment, task, loss=loss_of(loss, output), name=name, output=output)]
        for output in outputs or (None,)
    }
    if all(metrics == [name] for metrics in each.values()):
        return [name]
    return each if outputs else each[None]


def _accuracy(
    experiment: Experiment, task: Task, *, loss: Any, name: str, output: str | None = None
) -> str | dict[str, Any]:
    several = task == "labels"
    losses = list(_possible(loss, experiment))
    if not losses or not all(_decides_at_0(possible, several=several) for possible in losses):
        return name
    if any(_is_bounded(experiment, possible, several=several, output=output) for possible in losses):
        return name
    return {"BinaryAccuracy": {"threshold": 0.0, "name": name}}


def outputs_of(experiment: Experiment) -> tuple[str, ...]:
    """The outputs of a network of several; () of one."""
    names = experiment.model.output_names
    return names if len(names) > 1 else ()


def loss_of(loss: Any, output: str | None) -> Any:
    """The loss of an output, where each has its own."""
    return loss[output] if output is not None and isinstance(loss, dict) and output in loss else loss


def halves_of_logits(experiment: Experiment) -> list[Problem]:
    """A remark for each metric of the YAML that takes for probabilities what its loss takes, or may take, for logits or
    margins.
    """
    training = experiment.training
    problems = []
    for output in outputs_of(experiment) or (None,):
        losses = list(_possible(loss_of(training.loss, output), experiment))
        of_classes = any(_gives_no_shares(experiment, loss, output=output) for loss in losses)
        if not of_classes and not any(
            _decides_at_0(loss, several=several) and not _is_bounded(experiment, loss, several=several, output=output)
            for loss in losses
            for several in (False, True)
        ):
            continue
        own: Any = training.metrics
        place: KeyPath = ("training", "metrics")
        if own is None and losses != [loss_of(training.loss, output)]:
            own, place = ["accuracy"], ("training", "loss")  # which is measured unless another is asked for
        if isinstance(own, dict):
            own, place = own.get(str(output)), (*place, str(output))
        for i, metric in enumerate(own if isinstance(own, list) else []):
            name, args = _call(metric)
            if of_classes and name in _OF_THE_GREATEST:
                continue
            if (message := taken_for_probabilities(name, args, of_classes=of_classes)) is not None:
                problems.append(Problem(message, (*place, i) if training.metrics is not None else place))
    return list(dict.fromkeys(problems))


def _possible(loss: Any, experiment: Experiment) -> Iterator[Any]:
    """The forms that a loss may have, where it or its `from_logits` is a `$name`."""
    if isinstance(loss, Ref):
        values = experiment.search_space[loss.name].values() if loss.name in experiment.search_space else ()
        yield from values if isinstance(values, list | tuple) else ()
        return
    name, args = _call(loss)
    if isinstance(args.get("from_logits"), Ref):
        yield from ({name: {**args, "from_logits": on}} for on in (True, False))
        return
    yield loss


_OF_THE_GREATEST = ("accuracy", "acc")
"""What goes by the class of the greatest output, where there is one for each."""


def _gives_no_shares(experiment: Experiment, loss: Any, *, output: str | None) -> bool:
    """Whether the outputs, one a class, are seen to be logits or margins and no probabilities."""
    name, args = _call(loss)
    logits = name in _OF_CLASSES and args.get("from_logits") is True
    if not logits and not (name in MARGINS and "ategorical" in name):
        return False
    layers = list(experiment.model.stack)
    while output is not None and layers and _call(layers[-1])[1].get("name") != output:
        layers.pop()
    last, arguments = _call(layers[-1]) if layers else ("", {})
    return bool(layers) and last != "Softmax" and arguments.get("activation") not in PROBABILITIES


def taken_for_probabilities(name: str, args: Mapping[str, Any], *, of_classes: bool = False) -> str | None:
    """What to say of a metric of Keras's beside a loss that takes logits or margins; None: nothing, it is set for them.

    args: its arguments.
    """
    if any(args.get(key) for key in _SETTINGS) or any(args.get(key) == 0 for key in _SETTINGS[:2]):
        return None
    under = "as in Keras, and under this loss the network's outputs are told apart at 0"
    if of_classes and name in {*_AT_A_HALF, *_OF_PROBABILITIES}:
        way = _OF_PROBABILITIES.get(name) if "rossentropy" in name else None
        remedy = f"Say {way}" if way else "End the network with a softmax, and drop from_logits"
        return (
            f"{name} takes them for probabilities, as in Keras, and under this loss they are none. {remedy} if meant."
        )
    if name in _AT_A_HALF:
        return f"{name} counts what is above 0.5, {under}. Say {_AT_A_HALF[name]} if that is meant."
    if name not in _OF_PROBABILITIES:
        return None
    way = _OF_PROBABILITIES[name]
    remedy = f"Say {way}" if way else "End the network with a sigmoid, and drop from_logits"
    return f"{name} takes them for probabilities, {under}. {remedy} if that is meant."


def _decides_at_0(loss: Any, *, several: bool) -> bool:
    """several: of labels of which several may hold, each is decided by itself."""
    name, args = _call(loss)
    if name in _CROSSENTROPIES:
        return args.get("from_logits") is True
    return name in MARGINS and (several or "ategorical" not in name)


def _is_bounded(experiment: Experiment, loss: Any, *, several: bool, output: str | None = None) -> bool:
    """Whether it isn't known that the network gives one value (or one a label) on both sides of 0.

    A loss that is said to take logits takes them, whatever the last layer is; else that must be seen of it.
    """
    layers = list(experiment.model.stack)
    while output is not None and layers and _call(layers[-1])[1].get("name") != output:
        layers.pop()
    if not layers:
        return _call(loss)[0] not in _CROSSENTROPIES
    last, changed = True, False
    for layer in _from_the_end(layers):
        name, args = _call(layer)
        if name in ("Softmax", "Output") or args.get("activation") in PROBABILITIES:
            return not changed
        units = args.get("units", args.get("filters"))
        if units is not None:
            return not several and units != 1 and _call(loss)[0] not in _CROSSENTROPIES
        if name not in _EACH_BY_ITSELF or FROM in args or (not last and _is_wired(layers)):
            return False  # how many values come out of it is not known
        last, changed = False, changed or name not in _UNCHANGED
    return False


def _is_wired(layers: list[Any]) -> bool:
    """Whether their order is not that of the list."""
    return any(FROM in _call(layer)[1] for layer in layers)


def _from_the_end(layers: list[Any]) -> Iterator[Any]:
    for layer in reversed(layers):
        name, args = _call(layer)
        times = args.get("times")
        if name == "repeat" and isinstance(args.get("layers"), list) and isinstance(times, int) and times > 0:
            yield from _from_the_end(args["layers"])
        else:
            yield layer


_UNCHANGED = frozenset(
    {"Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Identity"}
)
"""Layers that give, once the model is trained, what they are given."""

_EACH_BY_ITSELF = _UNCHANGED | {
    *("Activation", "BatchNormalization", "LayerNormalization", "Masking", "Rescaling"),
    *("ReLU", "LeakyReLU", "PReLU", "ELU"),
}
"""Layers that give as many values as they are given."""


def _call(value: Any) -> tuple[str, dict[str, Any]]:
    """(name, arguments) of a layer, loss or metric as the YAML has it; no name where there is none."""
    if isinstance(value, dict) and len(value) == 1:
        ((name, args),) = value.items()
        return str(name), args if isinstance(args, dict) else {}
    return (value, {}) if isinstance(value, str) else ("", {})
