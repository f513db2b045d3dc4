"""The blueprint of a network whose layers are in the YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from hptune.experiment import dials as dial_table
from hptune.experiment.graph import LayerCall
from hptune.experiment.keras_table import layer_arguments
from hptune.experiment.recipe import Recipe
from hptune.experiment.space.references import concrete
from hptune.training.models import dials as dial_places
from hptune.training.models import graphs
from hptune.training.models.blueprint import (
    KERNELS,
    Blueprint,
    Built,
    dials_of_optimizer,
    fingerprint,
    optimizer_of,
    penalty_of,
    seeded_weights,
    smoothing_of,
)
from hptune.training.models.compiled import Compiled
from hptune.training.models.dials import Dial
from hptune.training.models.keras_objects import make_loss, make_metric, make_optimizer


def of_layers(
    recipe: Recipe,
    input_shape: Sequence[int | None],
    *,
    input_dtype: str,
    precision: str = "float32",
    folder: Path = Path(),
) -> Blueprint:
    """The blueprint of a `layers` model, made without building anything: all that a known structure costs.

    folder: where the user's own layers, losses and metrics are looked for.
    """
    calls = [_with_defaults(call, recipe) for call in recipe.layers]
    if precision != "float32":  # outputs stay in float32: a softmax in half precision is too coarse for the loss
        for end in recipe.graph.ends:
            calls[end] = replace(calls[end], args={"dtype": "float32", **calls[end].args})
    places = _places(calls)
    shape = (tuple(input_shape), input_dtype)
    graph, shares = recipe.graph, recipe.training.loss_weights
    outputs = tuple(graph.outputs or ()) if len(graph.outputs or ()) > 1 else ()
    weights = {name: shares.get(name, 1.0) for name in outputs} if shares and outputs else None
    wires = [] if graph.is_stack else [[graph.inputs, graph.outputs, [call.source for call in calls]]]
    frame = [[call.name, call.args] for call in _with_dials(calls, places, dict.fromkeys(places, "dial"))]

    def build() -> Built:
        made = {name: Dial() for name in places}
        model = graphs.build(graph.with_calls(_with_dials(calls, places, made)), shape, folder)
        forgotten = [name for name, dial in made.items() if not dial.placed]
        assert not forgotten, f"dials without a place: {', '.join(forgotten)}"
        return model, made

    optimizer, arguments = optimizer_of(recipe)
    turned = dials_of_optimizer(optimizer, arguments)
    rate = concrete(recipe.training.optimizer.learning_rate)
    fixed = {k: "dial" if f"optimizer.{k}" in turned else v for k, v in arguments.items()}
    loss, metrics = recipe.training.loss, recipe.training.metrics or []
    return Blueprint(
        architecture=fingerprint(shape, [[call.name, dial_table.bare(call.name, call.args)] for call in calls], *wires),
        structure=fingerprint(
            shape, frame, *wires, optimizer, fixed, loss, weights, metrics, [*smoothing_of(recipe)], precision
        ),
        dials={**{name: number for name, (_, _, number) in places.items()}, **turned, **smoothing_of(recipe)},
        learning_rate=rate,
        batch_size=concrete(recipe.training.batch_size),
        build=build,
        weights=lambda seed: seeded_weights(seed, lambda: build()[0]),
        stock=lambda: graphs.build(graph.with_calls(calls), shape, folder),
        compiled=Compiled(
            optimizer=lambda: make_optimizer(optimizer, {**arguments, "learning_rate": rate}),
            loss=lambda: graphs.for_each(outputs, loss, lambda one: make_loss(one, folder)),
            metrics=lambda: graphs.for_each(outputs, metrics, lambda some: [make_metric(one, folder) for one in some]),
            loss_weights=weights,
        ),
        outputs=outputs,
    )


Places: TypeAlias = dict[str, tuple[int, tuple[str | int, ...], float]]
"""The dials by name: the number of the call, the path into its arguments, and the number that stands there."""


def _places(calls: Sequence[LayerCall]) -> Places:
    return {
        f"{index}.{_spelled(path)}": (index, path, number)
        for index, call in enumerate(calls)
        for path, number in dial_table.in_arguments(call.name, call.args)
    }


def _with_dials(calls: Sequence[LayerCall], places: Places, values: Mapping[str, Any]) -> list[LayerCall]:
    """The calls with these values in place of the dials."""
    args = [call.args for call in calls]
    for name, (index, path, _) in places.items():
        args[index] = dial_places.in_config(args[index], [path], values[name])
    return [replace(call, args=one) for call, one in zip(calls, args, strict=True)]


def _spelled(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path))


def _with_defaults(call: LayerCall, recipe: Recipe) -> LayerCall:
    """The call with the recipe's kernel initialiser and penalty, where the layer, or one that it wraps, takes them and
    has none of its own.
    """
    wanted = {"initializer": recipe.initialization.kernel, "regularizer": penalty_of(recipe)}
    more = {f"{kernel}_{kind}": value for kernel in KERNELS for kind, value in wanted.items() if value is not None}
    return replace(call, args=_filled(call.name, call.args, more)) if more else call


def _filled(layer: str, arguments: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    if not dial_table.is_stock(layer):
        return arguments
    known = frozenset(layer_arguments(layer))
    filled = {**{name: value for name, value in more.items() if name in known}, **arguments}
    for key in filled.keys() & set(dial_table.NESTED_LAYERS):
        inner = filled[key]
        filled[key] = (
            [_filled_layer(one, more) for one in inner] if isinstance(inner, list) else _filled_layer(inner, more)
        )
    return filled


def _filled_layer(layer: Any, more: Mapping[str, Any]) -> Any:
    if layer is None:
        return None
    name, arguments = (layer, {}) if isinstance(layer, str) else next(iter(layer.items()))
    return {name: _filled(name, arguments or {}, more)}
