"""The blueprint of a model that was built elsewhere, for example by the user's code."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hptune.base.errors import SegmentFailed, SpecError, spec_error
from hptune.experiment.recipe import Recipe
from hptune.experiment.space.references import concrete
from hptune.training.core.results import has_own_steps
from hptune.training.models import adapted
from hptune.training.models import dials as dial_places
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
from hptune.training.models.compiled import Compiled, rate_of, scaled_by
from hptune.training.models.dials import PLACEHOLDER
from hptune.training.models.keras_objects import make_loss, make_metric, make_optimizer, make_regularizer
from hptune.training.own.classes import from_config
from hptune.training.own.sameness import described, of_own_parts, unproved
from hptune.training.own.stock import is_as_configured, is_known
from hptune.training.runtime import Settings, keras


def of_model(
    model: Any,
    recipe: Recipe,
    *,
    named: frozenset[str],
    rebuild: Callable[[], Any],
    tag: Any,
    draw: Callable[[], Any] | None = None,
    folder: Path = Path(),
    shared: Container[Any] = (),
    guarded: bool = False,
) -> Blueprint:
    """The blueprint of a model that was built elsewhere, for example by the user's builder, and may be compiled.

    named: which of `optimizer`, `loss` and `metrics` the YAML's training names; the others stay as compiled.
    rebuild: calls the builder again, and builds what it returns; what it draws is the same each time. draw: the same
        under the seed that is set, for initial weights; None: `rebuild`.
    tag: what it is built from. It tells apart two builds of a model that can't be described by its config (a subclassed
        one), which has no dials in its layers and is rebuilt by the builder; and two builds whose weights may differ.
    shared: the objects that outlive a call of the builder; they get no dials. guarded: whether `own` is needed.
    """
    draw = draw or rebuild
    apart = partial(_of_opaque, model, recipe, named=named, rebuild=rebuild, draw=draw, tag=tag, folder=folder)
    config = _config(model) if is_known(model) else None
    if config is None:
        return apart()
    own, settings = [of_own_parts(model), adapted.learnt_state(model)], Settings.now().unusual()
    is_stock = own == [[], []] and is_as_configured(model)
    if not is_stock:
        own.append([described([v.constraint, v.regularizer, v.trainable]) for v in model.weights])
    kind, make = type(model), from_config(model)
    penalty = penalty_of(recipe)
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
    compiled, turned, rate = _compiled(model, recipe, named=named, folder=folder, rebuild=rebuild)
    digest = compiled.digest(turned)

    architecture = _architecture(config, everywhere)
    return Blueprint(
        architecture=architecture,
        structure=fingerprint(_name(kind), blank, own, digest, [*smoothing_of(recipe)], *settings),
        dials={**dials, **turned, **smoothing_of(recipe)},
        learning_rate=rate if rate is not None else float("nan"),
        batch_size=concrete(recipe.training.batch_size),
        build=partial(_built, make if is_stock else None, config, places=places, rebuild=rebuild, shared=shared),
        weights=lambda seed: seeded_weights(seed, draw),  # the builder may have loaded pretrained ones
        stock=stock,
        compiled=compiled,
        made_by=fingerprint(tag),
        own=shown if guarded else None,
        alone=lambda: replace(apart(), architecture=architecture),
        unproved=tuple(unproved([own, digest])),
    )


def _architecture(config: Any, places: Sequence[dial_places.Place]) -> str:
    """What tells models of other layers apart. places: all that dials may have in it.

    A rate of 0 makes no seed generator, which shifts what is drawn after it: another architecture.
    """
    bare = dial_places.in_config(config, [place.path for place in places], "dial")
    zeros = [place.name for place in places if place.number == 0]
    return fingerprint(_nameless(_without_regularizers(bare)), zeros)


def _built(
    make: Callable[[Any], Any] | None,
    config: Any,
    *,
    places: Sequence[dial_places.Place],
    rebuild: Callable[[], Any],
    shared: Container[Any],
) -> Built:
    """A model with dials in these places. make: of a config; None: a config may not hold all of the user's own, so the
    model is the builder's, and only dials are put into it.
    """
    made = (
        rebuild() if make is None else _made(make, dial_places.in_config(config, [p.path for p in places], PLACEHOLDER))
    )
    dial_of = {place.name: place for place in dial_places.in_model(made, made.get_config())}
    names = [*dict.fromkeys(place.name for place in places)]
    outliving = shared if make is None else ()
    forgotten = [name for name in names if name not in dial_of or dial_of[name].holder in outliving]
    if forgotten and make is None:
        raise Outlives(", ".join(forgotten))
    assert not forgotten, f"dials without a place: {', '.join(forgotten)}"
    return made, dial_places.attach(dial_of[name] for name in names)


class Outlives(Exception):
    """No copy of the model can be trained, or several models share a layer of it: it needs a program of its own."""


def _made(make: Callable[[Any], Any], config: Any) -> Any:
    try:
        return make(config)
    except Exception as error:
        raise Outlives(str(error)) from error


def _config(model: Any) -> Any:
    """The model's config; None where a class of the user's has none."""
    try:
        return model.get_config()
    except Exception:  # noqa: BLE001  # the user's code may raise anything; the model then goes a way that needs none
        return None


def _of_opaque(
    model: Any,
    recipe: Recipe,
    *,
    named: frozenset[str],
    rebuild: Callable[[], Any],
    draw: Callable[[], Any],
    tag: Any,
    folder: Path,
) -> Blueprint:
    if penalty_of(recipe) is not None:
        problem = (
            f"can't be put into the layers of {type(model).__name__}, a class of your own. Give them kernel_regularizer"
        )
        raise spec_error(f"{problem} in its code, and drop this.", "training", "regularization", "kernel")
    compiled, turned, rate = _compiled(model, recipe, named=named, folder=folder, rebuild=rebuild)
    name = _name(type(model))
    return Blueprint(
        architecture=fingerprint(name, tag),
        structure=fingerprint(name, tag, compiled.digest(turned), [*smoothing_of(recipe)]),
        dials={**turned, **smoothing_of(recipe)},
        learning_rate=rate if rate is not None else float("nan"),
        batch_size=concrete(recipe.training.batch_size),
        build=lambda: (rebuild(), {}),
        weights=lambda seed: seeded_weights(seed, draw),
        stock=rebuild,
        compiled=compiled,
        dialled=False,
        made_by=fingerprint(tag),
    )


def _no_place_for_penalty(where: str) -> SpecError:
    problem = f"can't be put into {where}. Give its layers their kernel_regularizer in the code, and drop this."
    return spec_error(problem, "training", "regularization", "kernel")


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _compiled(
    model: Any, recipe: Recipe, *, named: frozenset[str], folder: Path, rebuild: Callable[[], Any]
) -> tuple[Compiled, dict[str, float], float | None]:
    """(what the model is compiled with, the optimizer's dials, its rate; None: it has a schedule of its own)."""
    own = Compiled.of(model, rebuild) if model.compiled else None
    training = recipe.training
    if "optimizer" in named:
        name, arguments = optimizer_of(recipe)
        rate: float | None = concrete(training.optimizer.learning_rate)
        turned = dials_of_optimizer(name, arguments)
        optimizer = lambda: make_optimizer(name, {**arguments, "learning_rate": rate})  # noqa: E731
    elif own is None or model.optimizer is None:
        raise SegmentFailed("the builder returned a model that is not compiled, and the YAML has no training.optimizer")
    else:
        optimizer = own.optimizer
        turned = {place.name: place.number for place in dial_places.in_optimizer(scaled_by(model.optimizer))}
        rate = rate_of(scaled_by(model.optimizer))
    bare = own is not None and not own.has_metrics and "metrics" not in named and has_own_steps(model)
    made = Compiled(
        optimizer=optimizer,
        loss=lambda: None if training.loss is None else make_loss(training.loss, folder),
        # A step of the user's own may pass over metrics that it does not know of.
        metrics=lambda: None if bare else [make_metric(metric, folder) for metric in training.metrics or []],
        unpenalized=own.unpenalized if own is not None and "optimizer" not in named else (),
        unpenalized_names=own.unpenalized_names if own is not None and "optimizer" not in named else None,
        weighted_metrics=own.weighted_metrics if own is not None else lambda: None,
        loss_weights=own.loss_weights if own is not None else None,
        run_eagerly=own is not None and own.run_eagerly,
        scale=own.scale if own is not None and "optimizer" not in named else None,
    )
    if own is not None and "loss" not in named and own.has_loss:
        made = replace(made, loss=own.loss)
    if own is not None and "metrics" not in named and own.has_metrics:
        made = replace(made, metrics=own.metrics)
    return made, turned, rate


def _regularized(config: Any, penalty: Any) -> Any:
    """A model's config with the penalty on every layer that has a kernel and no penalty of its own."""
    if isinstance(config, Mapping):
        grown = {k: _regularized(v, penalty) for k, v in config.items()}
        for name in (f"{kernel}_regularizer" for kernel in KERNELS):
            if name in grown and grown[name] is None:
                grown[name] = penalty
        return grown
    return [_regularized(v, penalty) for v in config] if isinstance(config, list | tuple) else config


def _nameless(config: Any) -> Any:
    """The config with a number in place of each name: what Keras calls a layer depends on those it made before."""
    names: dict[str, str] = {}

    def collect(part: Any) -> None:
        if isinstance(part, Mapping):
            if isinstance(part.get("name"), str):
                names.setdefault(part["name"], f"name {len(names)}")
            part = list(part.values())
        for inner in part if isinstance(part, list | tuple) else ():
            collect(inner)

    def renamed(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {key: renamed(value) for key, value in part.items()}
        if isinstance(part, list | tuple):
            return [renamed(inner) for inner in part]
        return names.get(part, part) if isinstance(part, str) else part

    collect(config)
    return renamed(config)


def _without_regularizers(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {k: _without_regularizers(v) for k, v in config.items() if not str(k).endswith("_regularizer")}
    return [_without_regularizers(v) for v in config] if isinstance(config, list | tuple) else config
