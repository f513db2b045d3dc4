"""What a recipe's model is made from, cut into what shapes the graph and what does not.

*architecture*: the layers and their sizes; initial weights depend on it (and on the replica) alone.
*structure*: the architecture with everything else that shapes the graph; trials of one structure share one compiled
program. *dials*: the numbers that are neither; nor is the batch size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from hptune.base.errors import SegmentFailed, SpecError, spec_error
from hptune.experiment import dials as dial_table
from hptune.experiment.graph import LayerCall
from hptune.experiment.recipe import Recipe
from hptune.experiment.space.references import concrete
from hptune.training.core.results import has_own_steps
from hptune.training.models import adapted, graphs
from hptune.training.models import dials as dial_places
from hptune.training.models.compiled import Compiled, rate_of, scaled_by
from hptune.training.models.dials import PLACEHOLDER, Dial
from hptune.training.models.keras_objects import make_loss, make_metric, make_optimizer, make_regularizer
from hptune.training.own.classes import from_config
from hptune.training.own.sameness import described, of_own_parts, unproved
from hptune.training.own.stock import is_as_configured, is_known
from hptune.training.runtime import Settings, keras

SMOOTHING = "label_smoothing"
"""The dial of `training.regularization.label_smoothing`; there where it is given."""

Weights: TypeAlias = Sequence[NDArray[Any]]

Built: TypeAlias = tuple[Any, dict[str, Dial]]
"""A model, and the dials in its layers by name."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """How to make one trial's model.

    build: a fresh Keras model with dials, not turned yet, in its layers.
    weights: the initial weights under a seed, as `get_weights` orders them; they do not depend on the dials.
    stock: a fresh Keras model with the recipe's own numbers, to give to users.
    compiled: what it is compiled with; fresh stock objects with the recipe's own numbers.
    learning_rate: NaN where the optimizer keeps a schedule of its own.
    dialled: whether the numbers of its layers are dials.
    front: fresh stock layers that stand before the model while it is trained (`data.augment`).
    exports_front: whether the exported model holds them too.
    outputs: the names of its outputs where they are several; loss and metrics are then by these names.
    made_by: of a model that was built elsewhere what it was built from, on which its initial weights may depend too.
    own: the model that the user's code built at this point, where it may share a program with other points.
    alone: the same blueprint with a program of its own.
    unproved: what in it can't be shown to be the same as any other.
    """

    architecture: str
    structure: str
    dials: Mapping[str, float]
    learning_rate: float
    batch_size: int
    build: Callable[[], Built]
    weights: Callable[[int], Weights]
    stock: Callable[[], Any]
    compiled: Compiled
    dialled: bool = True
    front: Callable[[], list[Any]] = list
    exports_front: bool = False
    outputs: tuple[str, ...] = ()
    made_by: str = ""
    own: Any = None
    alone: Callable[[], Blueprint] | None = None
    unproved: tuple[str, ...] = ()


def fingerprint(*parts: Any) -> str:
    """16 hex digits for JSON data (anything else counts by its `repr`)."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_layers(
    recipe: Recipe,
    input_shape: Sequence[int | None],
    input_dtype: str,
    precision: str = "float32",
    *,
    folder: Path = Path(),
) -> Blueprint:
    """The blueprint of a `layers` model, made without building anything: what a known structure costs is this.

    folder: where layers, losses and metrics of the user's own are looked for.
    """
    calls = [_with_defaults(call, recipe) for call in recipe.layers]
    if precision != "float32":  # outputs stay in float32: a softmax in half precision is too coarse for the loss
        for end in recipe.graph.ends:
            calls[end] = replace(calls[end], args={"dtype": "float32", **calls[end].args})
    places = {  # the dials by name: the number of the call, and the path into its arguments
        f"{index}.{_spelled(path)}": (index, path, number)
        for index, call in enumerate(calls)
        for path, number in dial_table.in_arguments(call.name, call.args)
    }

    def with_dials(values: Mapping[str, Any]) -> list[LayerCall]:
        """The calls with something in the place of each dial."""
        args = [call.args for call in calls]
        for name, (index, path, _) in places.items():
            args[index] = dial_places.in_config(args[index], [path], values[name])
        return [replace(call, args=one) for call, one in zip(calls, args, strict=True)]

    def build() -> Built:
        made = {name: Dial() for name in places}
        model = graphs.build(graph.with_calls(with_dials(made)), shape, folder)
        forgotten = [name for name, dial in made.items() if not dial.placed]
        assert not forgotten, f"dials without a place: {', '.join(forgotten)}"
        return model, made

    shape = (tuple(input_shape), input_dtype)
    graph, shares = recipe.graph, recipe.training.loss_weights
    outputs = tuple(graph.outputs or ()) if len(graph.outputs or ()) > 1 else ()
    weights = {name: shares.get(name, 1.0) for name in outputs} if shares and outputs else None
    wires = [] if graph.is_stack else [[graph.inputs, graph.outputs, [call.source for call in calls]]]
    frame = [[call.name, call.args] for call in with_dials(dict.fromkeys(places, "dial"))]
    optimizer, arguments = _optimizer(recipe)
    turned = _dials_of_optimizer(optimizer, arguments)
    rate = concrete(recipe.training.optimizer.learning_rate)
    fixed = {k: "dial" if f"optimizer.{k}" in turned else v for k, v in arguments.items()}
    loss, metrics = recipe.training.loss, recipe.training.metrics or []
    return Blueprint(
        architecture=fingerprint(shape, [[call.name, dial_table.bare(call.name, call.args)] for call in calls], *wires),
        structure=fingerprint(
            shape, frame, *wires, optimizer, fixed, loss, weights, metrics, [*_smoothing(recipe)], precision
        ),
        dials={**{name: number for name, (_, _, number) in places.items()}, **turned, **_smoothing(recipe)},
        learning_rate=rate,
        batch_size=concrete(recipe.training.batch_size),
        build=build,
        weights=lambda seed: _seeded_weights(seed, lambda: build()[0]),
        stock=lambda: graphs.build(graph.with_calls(calls), shape, folder),
        compiled=Compiled(
            optimizer=lambda: make_optimizer(optimizer, {**arguments, "learning_rate": rate}),
            loss=lambda: graphs.for_each(outputs, loss, lambda one: make_loss(one, folder)),
            metrics=lambda: graphs.for_each(outputs, metrics, lambda some: [make_metric(one, folder) for one in some]),
            loss_weights=weights,
        ),
        outputs=outputs,
    )


def _spelled(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path))


def of_model(
    model: Any,
    recipe: Recipe,
    *,
    given: frozenset[str],
    rebuild: Callable[[], Any],
    tag: Any,
    draw: Callable[[], Any] | None = None,
    folder: Path = Path(),
    shared: Container[Any] = (),
    guarded: bool = False,
) -> Blueprint:
    """The blueprint of a model that was built elsewhere, by a user's builder say, and may be compiled.

    given: which of `optimizer`, `loss` and `metrics` the YAML's training names; the rest stays as compiled.
    rebuild: calls the builder again, and builds what it gives; what it draws is the same each time. draw: the same
        under the seed that is set, for initial weights; None: `rebuild`.
    tag: what it is built from. It tells apart two builds of a model that can't be described by its config (a subclassed
        one), which has no dials in its layers and is rebuilt by the builder; and two builds whose weights may differ.
    shared: what outlives a call of the builder, and is given no dials. guarded: whether `own` is wanted.
    """
    draw = draw or rebuild
    apart = partial(_of_opaque, model, recipe, given=given, rebuild=rebuild, draw=draw, tag=tag, folder=folder)
    config = _config(model) if is_known(model) else None
    if config is None:
        return apart()
    own, settings = [of_own_parts(model), adapted.told(model)], Settings.now().unusual()
    is_stock = own == [[], []] and is_as_configured(model)
    if not is_stock:
        own.append([described([v.constraint, v.regularizer, v.trainable]) for v in model.weights])
    kind, make = type(model), from_config(model)
    penalty = _penalty(recipe)
    if penalty is not None:
        if not is_stock:
            raise _no_place_for_penalty("the layers of a model that holds code of your own, or was adapted to data")
        config = _regularized(config, keras().regularizers.serialize(make_regularizer(penalty)))
    stock: Callable[[], Any] = (lambda: make(config)) if is_stock else rebuild
    shown = stock() if penalty is not None else model
    everywhere = list(dial_places.in_model(shown, config))
    places = [place for place in everywhere if is_stock or place.holder not in shared]
    dials = {place.name: place.number for place in places}
    paths = [place.path for place in places]
    blank = dial_places.in_config(config, paths, "dial")
    compiled, turned, rate = _compiled(model, recipe, given, folder, rebuild)
    digest = compiled.digest(turned)

    def build() -> Built:
        # A config may not hold all of the user's own: then the model is the builder's, and only dials are put into it.
        made = _made(make, dial_places.in_config(config, paths, PLACEHOLDER)) if is_stock else rebuild()
        found = {place.name: place for place in dial_places.in_model(made, made.get_config())}
        forgotten = [name for name in dials if name not in found or found[name].holder in (() if is_stock else shared)]
        if forgotten and not is_stock:
            raise Outlives(", ".join(forgotten))
        assert not forgotten, f"dials without a place: {', '.join(forgotten)}"
        return made, dial_places.attach(found[name] for name in dials)

    # A rate of 0 makes no seed generator, which shifts what is drawn after it: another architecture.
    bare = dial_places.in_config(config, [place.path for place in everywhere], "dial")
    zeros = [place.name for place in everywhere if place.number == 0]
    architecture = fingerprint(_nameless(_without_regularizers(bare)), zeros)
    return Blueprint(
        architecture=architecture,
        structure=fingerprint(_name(kind), blank, own, digest, [*_smoothing(recipe)], *settings),
        dials={**dials, **turned, **_smoothing(recipe)},
        learning_rate=rate if rate is not None else float("nan"),
        batch_size=concrete(recipe.training.batch_size),
        build=build,
        weights=lambda seed: _seeded_weights(seed, draw),  # the builder may have loaded pretrained ones
        stock=stock,
        compiled=compiled,
        made_by=fingerprint(tag),
        own=shown if guarded else None,
        alone=lambda: replace(apart(), architecture=architecture),
        unproved=tuple(unproved([own, digest])),
    )


class Outlives(Exception):
    """No copy of the model can be trained, or a layer of it is shared by several: it has a program of its own."""


def _made(make: Callable[[Any], Any], config: Any) -> Any:
    try:
        return make(config)
    except Exception as error:
        raise Outlives(str(error)) from error


def _config(model: Any) -> Any:
    """Its config; None where a class of the user's own gives none."""
    try:
        return model.get_config()
    except Exception:  # noqa: BLE001  # the user's code may raise anything; the model then goes a way that needs none
        return None


def _of_opaque(
    model: Any,
    recipe: Recipe,
    *,
    given: frozenset[str],
    rebuild: Callable[[], Any],
    draw: Callable[[], Any],
    tag: Any,
    folder: Path,
) -> Blueprint:
    if _penalty(recipe) is not None:
        told = (
            f"can't be put into the layers of {type(model).__name__}, a class of your own. Give them kernel_regularizer"
        )
        raise spec_error(f"{told} in its code, and drop this.", "training", "regularization", "kernel")
    compiled, turned, rate = _compiled(model, recipe, given, folder, rebuild)
    name = _name(type(model))
    return Blueprint(
        architecture=fingerprint(name, tag),
        structure=fingerprint(name, tag, compiled.digest(turned), [*_smoothing(recipe)]),
        dials={**turned, **_smoothing(recipe)},
        learning_rate=rate if rate is not None else float("nan"),
        batch_size=concrete(recipe.training.batch_size),
        build=lambda: (rebuild(), {}),
        weights=lambda seed: _seeded_weights(seed, draw),
        stock=rebuild,
        compiled=compiled,
        dialled=False,
        made_by=fingerprint(tag),
    )


def _no_place_for_penalty(where: str) -> SpecError:
    told = f"can't be put into {where}. Give its layers their kernel_regularizer in the code, and drop this."
    return spec_error(told, "training", "regularization", "kernel")


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _seeded_weights(seed: int, build: Callable[[], Any]) -> Weights:
    keras().utils.set_random_seed(seed)
    weights: Weights = build().get_weights()
    return weights


# --- layers from the YAML ---------------------------------------------------------------------------------------


KERNELS = ("kernel", "depthwise", "pointwise")
"""What Keras's arguments call a layer's kernels. A recurrent kernel has an argument of its own and is none of them."""


def _with_defaults(call: LayerCall, recipe: Recipe) -> LayerCall:
    """The call with the recipe's kernel initialiser and penalty, where the layer, or one that it wraps, takes them and
    was not given its own."""
    wanted = {"initializer": recipe.initialization.kernel, "regularizer": _penalty(recipe)}
    more = {f"{kernel}_{what}": value for kernel in KERNELS for what, value in wanted.items() if value is not None}
    return replace(call, args=_filled(call.name, call.args, more)) if more else call


def _filled(layer: str, arguments: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    if not dial_table.is_stock(layer):
        return arguments
    known = _parameters(layer)
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


def _penalty(recipe: Recipe) -> dict[str, dict[str, float]] | None:
    """`training.regularization.kernel` as the YAML would give it to a layer: {"L2": {"l2": 1e-4}}."""
    regularization = recipe.training.regularization
    kernel = regularization.kernel if regularization is not None else None
    if kernel is None:
        return None
    given = {name: float(concrete(v)) for name, v in (("l1", kernel.l1), ("l2", kernel.l2)) if v is not None}
    return {"L1L2" if len(given) == 2 else next(iter(given)).upper(): given} if given else None


def _smoothing(recipe: Recipe) -> dict[str, float]:
    """{"label_smoothing": its strength}, where it is given."""
    regularization = getattr(recipe.training, "regularization", None)
    if regularization is None or regularization.label_smoothing is None:
        return {}
    return {SMOOTHING: float(concrete(regularization.label_smoothing))}


def _parameters(layer: str) -> frozenset[str]:
    from hptune.experiment.keras_table import layer_arguments

    return frozenset(layer_arguments(layer))


def _optimizer(recipe: Recipe) -> tuple[str, dict[str, Any]]:
    optimizer = recipe.training.optimizer
    return str(concrete(optimizer.name)), dict(optimizer.model_extra or {})


def _dials_of_optimizer(name: str, arguments: Mapping[str, Any]) -> dict[str, float]:
    """The optimizer's dials among the arguments that it is given: `optimizer.momentum`, …"""
    known = dial_table.of_optimizer(name)
    return {f"optimizer.{key}": float(arguments[key]) for key in known if known[key].holds(arguments.get(key))}


# --- models from code -------------------------------------------------------------------------------------------


def _compiled(
    model: Any, recipe: Recipe, given: frozenset[str], folder: Path, rebuild: Callable[[], Any]
) -> tuple[Compiled, dict[str, float], float | None]:
    """What the model is compiled with, the optimizer's dials, and its rate (None: it has a schedule of its own)."""
    own = Compiled.of(model, rebuild) if model.compiled else None
    training = recipe.training
    if "optimizer" in given:
        name, arguments = _optimizer(recipe)
        rate: float | None = concrete(training.optimizer.learning_rate)
        turned = _dials_of_optimizer(name, arguments)
        optimizer = lambda: make_optimizer(name, {**arguments, "learning_rate": rate})  # noqa: E731
    elif own is None or model.optimizer is None:
        raise SegmentFailed("the builder returned a model that is not compiled, and the YAML has no training.optimizer")
    else:
        optimizer = own.optimizer
        turned = {place.name: place.number for place in dial_places.in_optimizer(scaled_by(model.optimizer))}
        rate = rate_of(scaled_by(model.optimizer))
    bare = own is not None and not own.has_metrics and "metrics" not in given and has_own_steps(model)
    made = Compiled(
        optimizer=optimizer,
        loss=lambda: None if training.loss is None else make_loss(training.loss, folder),
        # A step of the user's own may pass over metrics that it does not know of.
        metrics=lambda: None if bare else [make_metric(metric, folder) for metric in training.metrics or []],
        unpenalized=own.unpenalized if own is not None and "optimizer" not in given else (),
        unpenalized_names=own.unpenalized_names if own is not None and "optimizer" not in given else None,
        weighted_metrics=own.weighted_metrics if own is not None else lambda: None,
        run_eagerly=own is not None and own.run_eagerly,
        scale=own.scale if own is not None and "optimizer" not in given else None,
    )
    if own is not None and "loss" not in given and own.has_loss:
        made = replace(made, loss=own.loss, loss_weights=own.loss_weights)
    if own is not None and "metrics" not in given and own.has_metrics:
        made = replace(made, metrics=own.metrics)
    return made, turned, rate


def _regularized(config: Any, penalty: Any) -> Any:
    """A model's config with the penalty on every layer with a kernel that was not given its own."""
    if isinstance(config, Mapping):
        grown = {k: _regularized(v, penalty) for k, v in config.items()}
        for name in (f"{kernel}_regularizer" for kernel in KERNELS):
            if name in grown and grown[name] is None:
                grown[name] = penalty
        return grown
    return [_regularized(v, penalty) for v in config] if isinstance(config, list | tuple) else config


def _nameless(config: Any) -> Any:
    """The config with a number for each name: what Keras calls a layer depends on what it has made before."""
    names: dict[str, str] = {}

    def collect(part: Any) -> None:
        if isinstance(part, Mapping):
            if isinstance(part.get("name"), str):
                names.setdefault(part["name"], f"name {len(names)}")
            part = list(part.values())
        for one in part if isinstance(part, list | tuple) else ():
            collect(one)

    def renamed(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {key: renamed(value) for key, value in part.items()}
        if isinstance(part, list | tuple):
            return [renamed(one) for one in part]
        return names.get(part, part) if isinstance(part, str) else part

    collect(config)
    return renamed(config)


def _without_regularizers(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {k: _without_regularizers(v) for k, v in config.items() if not str(k).endswith("_regularizer")}
    return [_without_regularizers(v) for v in config] if isinstance(config, list | tuple) else config
