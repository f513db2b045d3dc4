"""The recipe: an experiment with one setting of the hyperparameters put in. Nothing in it is a `$name` any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from hptune.base.errors import KeyPath, SegmentFailed
from hptune.base.trial import Values
from hptune.experiment.base import Spec
from hptune.experiment.data import Augment
from hptune.experiment.experiment import Experiment
from hptune.experiment.graph import Graph, LayerCall, wire
from hptune.experiment.model import ModelSpec
from hptune.experiment.sections import Asha, Hyperband
from hptune.experiment.space.references import Ref
from hptune.experiment.training import Initialization, Schedule, Training

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained, in plain numbers. `graph` is empty for the kinds of models that have no layers in the YAML.

    model: the section of a model without layers in the YAML.
    """

    graph: Graph
    training: Training
    initialization: Initialization
    schedule: Schedule
    augment: Augment | None
    model: ModelSpec | None = None

    @property
    def layers(self) -> tuple[LayerCall, ...]:
        """The layers of the graph, in its order; () for a model that has none in the YAML."""
        return self.graph.calls


def resolve(experiment: Experiment, values: Values) -> Recipe:
    """The recipe that `values` (the active parameters) give.

    Where a `$name` is the value of a key and is inactive, the key counts as not given. Raises `SegmentFailed` where an
    inactive name stands anywhere else, or where a value does not fit its field.
    """
    model = experiment.model
    augment = experiment.data.augment if experiment.data is not None else None
    return Recipe(
        graph=_graph(model, values) if model.layered else Graph(),
        training=_section(experiment.training, values, "training"),
        initialization=_section(experiment.initialization, values, "initialization"),
        schedule=_section(experiment.schedule, values, "schedule"),
        augment=None if augment is None else _section(augment, values, "data.augment"),
        model=None if model.layered else _section(model, values, "model"),
    )


def speaks_of_epochs(experiment: Experiment) -> bool:
    """Whether the spec says how many epochs a trial has, or trains trials epoch by epoch."""
    return "epochs" in experiment.training.model_fields_set or experiment.strategy.halves


def full_epochs(experiment: Experiment, values: Values) -> int:
    """The most epochs that a trial with `values` gets: the strategy's `max_epochs` if given, else training.epochs.

    A scikit-learn model has none: what a fold of it costs counts as one.
    """
    if experiment.model.epochs is False:
        return 1
    strategy = experiment.strategy
    if isinstance(strategy, Hyperband | Asha) and strategy.max_epochs is not None:
        return strategy.max_epochs
    epochs = experiment.training.epochs
    if not isinstance(epochs, Ref):
        return epochs
    if epochs.name not in values:
        return Training().epochs  # type: ignore[return-value]  # the default is a number
    return int(values[epochs.name])  # type: ignore[arg-type]  # the spec's check lets only whole numbers through


def _section(spec: S, values: Values, where: str) -> S:
    """`spec` with its references replaced; itself where it has none."""
    plain = _dump(spec, values, where)
    if plain is None:
        return spec
    try:
        return type(spec).model_validate(plain)
    except ValueError as error:
        raise SegmentFailed(f"{where} does not take these values: {error}") from error


def _dump(spec: Spec, values: Values, where: str) -> dict[str, Any] | None:
    """What was given in `spec`, with its references replaced; None where it has no reference."""
    fields: dict[str, Any] = {}
    changed = False
    for name in spec.model_fields_set:
        value = getattr(spec, name)
        if isinstance(value, Spec):
            inner = _dump(value, values, f"{where}.{name}")
            changed |= inner is not None
            fields[name] = value if inner is None else inner
        elif isinstance(value, Ref):
            changed = True
            if value.name in values:
                fields[name] = values[value.name]
        elif isinstance(value, dict | list):
            fields[name] = _plain(value, values, f"{where}.{name}")
            changed |= fields[name] != value
        else:
            fields[name] = value
    return fields if changed else None


def _plain(value: Any, values: Values, where: str) -> Any:
    """`value` with every reference in it replaced; keys whose value is inactive are left out."""
    if isinstance(value, Ref):
        if value.name not in values:
            raise SegmentFailed(f"{where}: {value} is inactive here, and only the value of a key may be.")
        return values[value.name]
    if isinstance(value, dict):
        return {
            key: _plain(item, values, f"{where}.{key}")
            for key, item in value.items()
            if not (isinstance(item, Ref) and item.name not in values)
        }
    if isinstance(value, list):
        return [_plain(item, values, f"{where}[{i}]") for i, item in enumerate(value)]
    return value


def _graph(model: ModelSpec, values: Values) -> Graph:
    calls = _calls(_plain(model.stack, values, "model.layers"), ("model", "layers"))
    return wire(calls, inputs=model.input_names, outputs=model.output_names)


def _calls(layers: list[Any], path: KeyPath) -> Iterator[LayerCall]:
    """The layers in order, repeats expanded. path: where the YAML has the list."""
    for at, layer in enumerate(layers):
        if not isinstance(layer, dict):
            yield LayerCall(str(layer), {}, path=(*path, at))
            continue
        ((name, args),) = layer.items()
        if name != "repeat":
            yield LayerCall(name, args or {}, path=(*path, at))
            continue
        times = args["times"]
        if isinstance(times, bool) or not isinstance(times, int | float) or times < 0 or times != int(times):
            raise SegmentFailed(f"repeat.times must be a whole number of at least 0, got {times!r}.")
        for _ in range(int(times)):
            yield from _calls(args["layers"], (*path, at, "repeat", "layers"))
