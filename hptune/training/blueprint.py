"""What a recipe's model is made from, cut into what shapes the graph and what does not.

*architecture*: the layers and their sizes; initial weights depend on it (and on the replica) alone.
*structure*: the architecture with everything else that shapes the graph; trials of one structure share one compiled
program. *dials*: the numbers that are neither; nor is the batch size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from hptune.errors import SegmentFailed
from hptune.spec.architecture import LAYER_DIALS, bare_arguments
from hptune.spec.graph import LayerCall
from hptune.spec.recipe import Recipe
from hptune.spec.references import concrete
from hptune.training import dials as dial_places
from hptune.training import graphs
from hptune.training.dials import OPTIMIZER_DIALS, PLACEHOLDER, REGULARIZER_DIALS
from hptune.training.keras_objects import make_loss, make_metric, make_optimizer, make_regularizer
from hptune.training.own_code import from_config
from hptune.training.runtime import keras

SMOOTHING = "label_smoothing"
"""The dial of `training.regularization.label_smoothing`; there where it is given."""

Weights: TypeAlias = Sequence[NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """How to make one trial's model.

    build: a fresh Keras model whose dials hold placeholders.
    weights: the initial weights under a seed, as `get_weights` orders them; they do not depend on the dials.
    stock: a fresh Keras model with the recipe's own numbers, to give to users.
    optimizer, loss, metrics: fresh stock objects with the recipe's own numbers.
    dialled: whether the numbers of its layers are dials.
    front: fresh stock layers that stand before the model while it is trained (`data.augment`).
    exports_front: whether the exported model holds them too.
    layers: the layers of a model made by `build`, in the order by which its dials are named.
    outputs: the names of its outputs where they are several; loss and metrics are then by these names.
    loss_weights: what each output's loss counts in the sum; None: 1.
    """

    architecture: str
    structure: str
    dials: Mapping[str, float]
    learning_rate: float
    batch_size: int
    build: Callable[[], Any]
    weights: Callable[[int], Weights]
    stock: Callable[[], Any]
    optimizer: Callable[[], Any]
    loss: Callable[[], Any]
    metrics: Callable[[], list[Any]]
    dialled: bool = True
    front: Callable[[], list[Any]] = list
    exports_front: bool = False
    layers: Callable[[Any], list[Any]] = lambda model: list(model.layers)
    outputs: tuple[str, ...] = ()
    loss_weights: Mapping[str, float] | None = None


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
    dials: dict[str, float] = {}
    frame: list[Any] = []  # the calls with their dials taken out
    layers: list[Any] = []  # and their regularisers too
    placed: list[LayerCall] = []  # the calls with placeholders for dials
    for index, call in enumerate(calls):
        found = _dials_of_call(index, call)
        dials |= {name: value for name, _, value in found}
        kept = _replace(call.args, {path: "dial" for _, path, _ in found})
        frame.append([call.name, kept])
        layers.append([call.name, bare_arguments(call)])
        placed.append(replace(call, args=_replace(call.args, {path: PLACEHOLDER for _, path, _ in found})))

    shape = (tuple(input_shape), input_dtype)
    graph, shares = recipe.graph, recipe.training.loss_weights
    outputs = tuple(graph.outputs or ()) if len(graph.outputs or ()) > 1 else ()
    weights = {name: shares.get(name, 1.0) for name in outputs} if shares and outputs else None
    wires = [] if graph.is_stack else [[weights, graph.inputs, graph.outputs, [call.source for call in calls]]]
    optimizer, arguments = _optimizer(recipe)
    dials |= {f"optimizer.{k}": float(v) for k, v in arguments.items() if _is_optimizer_dial(k, v)}
    dials |= _smoothing(recipe)
    rate = concrete(recipe.training.optimizer.learning_rate)
    fixed = {k: "dial" if _is_optimizer_dial(k, v) else v for k, v in arguments.items()}
    batch_size = concrete(recipe.training.batch_size)
    loss, metrics = recipe.training.loss, recipe.training.metrics or []
    return Blueprint(
        architecture=fingerprint(shape, layers, *wires),
        structure=fingerprint(shape, frame, *wires, optimizer, fixed, loss, metrics, [*_smoothing(recipe)]),
        dials=dials,
        learning_rate=rate,
        batch_size=batch_size,
        build=lambda: graphs.build(graph.with_calls(placed), shape, folder),
        weights=lambda seed: _seeded_weights(seed, lambda: graphs.build(graph.with_calls(placed), shape, folder)),
        stock=lambda: graphs.build(graph.with_calls(calls), shape, folder),
        optimizer=lambda: make_optimizer(optimizer, {**arguments, "learning_rate": rate}),
        loss=lambda: graphs.for_each(outputs, loss, lambda one: make_loss(one, folder)),
        metrics=lambda: graphs.for_each(outputs, metrics, lambda some: [make_metric(one, folder) for one in some]),
        layers=lambda model: graphs.layers_in_order(graph, model),
        outputs=outputs,
        loss_weights=weights,
    )


def of_model(
    model: Any,
    recipe: Recipe,
    *,
    given: frozenset[str],
    rebuild: Callable[[], Any],
    tag: Any,
    folder: Path = Path(),
) -> Blueprint:
    """The blueprint of a model that was built elsewhere, by a user's builder say, and may be compiled.

    given: which of `optimizer`, `loss` and `metrics` the YAML's training names; the rest stays as compiled.
    rebuild: calls the builder again, and builds what it gives.
    tag: what tells apart two builds of a model that can't be described by its config (a subclassed one): those have no
        dials in their layers and are rebuilt by the builder.
    """
    functional = isinstance(model, keras().Sequential) or type(model).__name__ in ("Functional", "Model")
    if not functional:
        return _of_opaque(model, recipe, given=given, rebuild=rebuild, tag=tag, folder=folder)
    config = model.get_config()
    kind, make = type(model), from_config(model)
    stock, penalty = rebuild, _penalty(recipe)
    layers = model.layers
    if penalty is not None:
        config = _regularized(config, keras().regularizers.serialize(make_regularizer(penalty)))
        stock = lambda: make(config)  # noqa: E731
        layers = stock().layers
    places = list(dial_places.in_layers(layers))
    dials = {name: float(getattr(holder, attribute)) for name, holder, attribute in places}
    blank = _blank(config, "dial")
    optimizer, dial_numbers, rate = _compiled_optimizer(model, recipe, given)
    loss, metrics = _compiled(model, recipe, given, folder)
    batch_size = concrete(recipe.training.batch_size)
    frame = {k: "dial" if f"optimizer.{k}" in dial_numbers else v for k, v in optimizer().get_config().items()}
    if rate is not None:
        del frame["learning_rate"]
    return Blueprint(
        # A rate of 0 makes no seed generator, which shifts what is drawn after it: another architecture.
        architecture=fingerprint(_without_regularizers(blank), [name for name, value in dials.items() if value == 0]),
        structure=fingerprint(
            _name(kind),
            blank,
            type(optimizer()).__name__,
            frame,
            _described(loss()),
            _described(metrics()),
            [*_smoothing(recipe)],
        ),
        dials={**dials, **dial_numbers, **_smoothing(recipe)},
        learning_rate=rate if rate is not None else float("nan"),
        batch_size=batch_size,
        build=lambda: make(_blank(config, PLACEHOLDER)),
        weights=lambda seed: _seeded_weights(seed, rebuild),  # the builder may have loaded pretrained ones
        stock=stock,
        optimizer=optimizer,
        loss=loss,
        metrics=metrics,
    )


def _of_opaque(
    model: Any, recipe: Recipe, *, given: frozenset[str], rebuild: Callable[[], Any], tag: Any, folder: Path
) -> Blueprint:
    optimizer, dial_numbers, rate = _compiled_optimizer(model, recipe, given)
    loss, metrics = _compiled(model, recipe, given, folder)
    batch_size = concrete(recipe.training.batch_size)
    name = _name(type(model))
    return Blueprint(
        architecture=fingerprint(name, tag),
        structure=fingerprint(name, tag, [*_smoothing(recipe)]),
        dials={**dial_numbers, **_smoothing(recipe)},
        learning_rate=rate if rate is not None else float("nan"),
        batch_size=batch_size,
        build=rebuild,
        weights=lambda seed: _seeded_weights(seed, rebuild),
        stock=rebuild,
        optimizer=optimizer,
        loss=loss,
        metrics=metrics,
        dialled=False,
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _seeded_weights(seed: int, build: Callable[[], Any]) -> Weights:
    keras().utils.set_random_seed(seed)
    weights: Weights = build().get_weights()
    return weights


# --- layers from the YAML ---------------------------------------------------------------------------------------


def _with_defaults(call: LayerCall, recipe: Recipe) -> LayerCall:
    """The call with the recipe's kernel initialiser and penalty, where the layer takes them and has not its own."""
    kernel, penalty = recipe.initialization.kernel, _penalty(recipe)
    wanted = {"kernel_initializer": kernel, "kernel_regularizer": penalty}
    more = {name: value for name, value in wanted.items() if value is not None and name in _parameters(call.name)}
    return replace(call, args={**more, **call.args}) if more else call


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
    from hptune.spec.keras_table import layer_arguments

    return frozenset(layer_arguments(layer))


def _dials_of_call(index: int, call: LayerCall) -> list[tuple[str, tuple[str, ...], float]]:
    """(name, path into the arguments, value) of each dial, named as `dials.in_layers` names them."""
    found: list[tuple[str, tuple[str, ...], float]] = []
    attribute = LAYER_DIALS.get(call.name)
    if attribute is not None and attribute in call.args:
        found.append((f"{index}.{attribute}", (attribute,), float(call.args[attribute])))
    for name in sorted(n for n in call.args if n.endswith("_regularizer")):
        value = call.args[name]
        kind, numbers = next(iter(value.items())) if isinstance(value, Mapping) else (value, {})
        for number in REGULARIZER_DIALS.get(str(kind), ()):
            if number in (numbers or {}):
                found.append((f"{index}.{name}.{number}", (name, kind, number), float(numbers[number])))
    return found


def _replace(args: Mapping[str, Any], new: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """`args` with the values at some paths replaced."""
    copy = dict(args)
    for (first, *rest), value in new.items():
        copy[first] = _replace(copy[first], {tuple(rest): value}) if rest else value
    return copy


def _optimizer(recipe: Recipe) -> tuple[str, dict[str, Any]]:
    optimizer = recipe.training.optimizer
    return str(concrete(optimizer.name)), dict(optimizer.model_extra or {})


def _is_optimizer_dial(name: str, value: Any) -> bool:
    return name in OPTIMIZER_DIALS and isinstance(value, int | float) and not isinstance(value, bool)


# --- models from code -------------------------------------------------------------------------------------------


def _compiled_optimizer(
    model: Any, recipe: Recipe, given: frozenset[str]
) -> tuple[Callable[[], Any], dict[str, float], float | None]:
    """A maker of the optimizer, its dials, and its learning rate (None: it has a schedule of its own)."""
    if "optimizer" in given:
        name, arguments = _optimizer(recipe)
        rate = concrete(recipe.training.optimizer.learning_rate)
        dials = {f"optimizer.{k}": float(v) for k, v in arguments.items() if _is_optimizer_dial(k, v)}
        return (lambda: make_optimizer(name, {**arguments, "learning_rate": rate})), dials, rate
    if not model.compiled or model.optimizer is None:
        raise SegmentFailed("the builder returned a model that is not compiled, and the YAML has no training.optimizer")
    kind, config = type(model.optimizer), model.optimizer.get_config()
    dials = {name: float(getattr(o, attribute)) for name, o, attribute in dial_places.in_optimizer(model.optimizer)}
    number = config["learning_rate"]
    own_rate = float(number) if isinstance(number, int | float) else None
    return (lambda: kind.from_config(config)), dials, own_rate


def _compiled(
    model: Any, recipe: Recipe, given: frozenset[str], folder: Path
) -> tuple[Callable[[], Any], Callable[[], list[Any]]]:
    loss, metrics = recipe.training.loss, recipe.training.metrics or []
    if "loss" not in given and model.compiled and model._compile_loss is not None:
        own_loss = model._compile_loss._user_loss
        make = (lambda: make_loss(own_loss)) if isinstance(own_loss, str) else (lambda: own_loss)
    else:
        make = lambda: make_loss(loss, folder)  # noqa: E731
    if "metrics" in given or not model.compiled or model._compile_metrics is None:
        return make, lambda: [make_metric(metric, folder) for metric in metrics]
    own = model._compile_metrics._user_metrics
    return make, lambda: list(own) if isinstance(own, list | tuple) else own


def _described(thing: Any) -> Any:
    if isinstance(thing, list | tuple):
        return [_described(one) for one in thing]
    if isinstance(thing, Mapping):
        return {key: _described(value) for key, value in thing.items()}
    if hasattr(thing, "get_config"):
        return [type(thing).__qualname__, thing.get_config()]
    return f"{thing.__module__}.{thing.__qualname__}" if callable(thing) else thing


def _blank(config: Any, value: Any) -> Any:
    """A model's config with the numbers that are dials replaced, in the layers that `dials.in_layers` visits."""
    if not isinstance(config, Mapping):
        return config
    if "layers" in config:
        return {**config, "layers": [_blank_layer(layer, value) for layer in config["layers"]]}
    return config


def _blank_layer(layer: Mapping[str, Any], value: Any) -> dict[str, Any]:
    inner = dict(layer["config"])
    if "layers" in inner:
        return {**layer, "config": _blank(inner, value)}
    attribute = LAYER_DIALS.get(layer["class_name"])
    if attribute is not None:
        inner[attribute] = value
    for name in [n for n in inner if n.endswith("_regularizer") and inner[n]]:
        numbers = REGULARIZER_DIALS.get(inner[name].get("class_name", ""), ())
        inner[name] = {**inner[name], "config": {**inner[name]["config"], **dict.fromkeys(numbers, value)}}
    return {**layer, "config": inner}


def _regularized(config: Any, penalty: Any) -> Any:
    """A model's config with the penalty on every layer with a kernel that was not given its own."""
    if isinstance(config, Mapping):
        grown = {k: _regularized(v, penalty) for k, v in config.items()}
        if "kernel_regularizer" in grown and grown["kernel_regularizer"] is None:
            grown["kernel_regularizer"] = penalty
        return grown
    return [_regularized(v, penalty) for v in config] if isinstance(config, list | tuple) else config


def _without_regularizers(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {k: _without_regularizers(v) for k, v in config.items() if not str(k).endswith("_regularizer")}
    return [_without_regularizers(v) for v in config] if isinstance(config, list | tuple) else config
