"""Checks what is trained and how: optimizer, loss, metrics, regularisation, initialisation, objective, augmentation.

Each check takes the sections as the user wrote them, with `$name` bound, and skips what another check reports.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from hptune.base.errors import KeyPath, Problem, unknown
from hptune.experiment.checks.keras_names import Scope, all_of, argument, named
from hptune.experiment.checks.space import needs_of
from hptune.experiment.data import known_of
from hptune.experiment.directions import whole_metric
from hptune.experiment.keras_table import Arguments, arguments, names, reported_name
from hptune.experiment.reading.problems import show, unknown_key
from hptune.experiment.space.references import Ref
from hptune.experiment.training import Optimizer


def numbers(values: list[Any]) -> list[float]:
    """The numbers among `values`."""
    return [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def section(raw: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The section at `path`; empty where it is not there or is no section."""
    value: Any = raw
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, dict) else {}


# --- optimizer ----------------------------------------------------------------------------------------------------


def optimizer(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """The optimizer's name, and that it has each argument under every setting that gives it one."""
    path = ("training", "optimizer")
    options = section(raw, *path)
    name = options.get("name", Optimizer().name)
    choices = [value for value in scope.values(name) if isinstance(value, str)]
    known = {choice: arguments("optimizers", choice) for choice in choices if choice in names("optimizers")}
    for choice in choices:
        if choice not in known:
            message = unknown("optimizer", choice, [n for n in names("optimizers") if n.islower()], show=20)
            yield Problem(
                f"{name} can be {show(choice)}: {message}" if isinstance(name, Ref) else message, (*path, "name")
            )
            return
    for key, value in options.items():
        if key == "name":
            continue
        if known and not any(key in accepted for accepted in known.values()):
            yield _no_argument(key, known, (*path, key))
            continue
        for choice, accepted in known.items():
            if key not in accepted and can_meet(value, name, choice=choice, scope=scope):
                yield not_under(
                    key, value, name=name, choice=choice, having=[c for c in known if key in known[c]], path=path
                )
                break
        else:
            holder = next((accepted for accepted in known.values() if key in accepted), None)
            if holder is not None and key not in Optimizer.model_fields:
                yield from argument(holder, key, value, path=(*path, key), scope=scope)
    yield from _clipping(options, scope)


def _no_argument(key: str, known: Mapping[str, Arguments], path: KeyPath) -> Problem:
    having = [name for name in names("optimizers") if name.islower() and key in arguments("optimizers", name)]
    if having:
        message = f"{' and '.join(known)} has no {key}, which belongs to {', '.join(having)}. Drop it."
        return Problem(message, path, on_key=True)
    every = {key for accepted in known.values() for key in accepted}
    return unknown_key(key, sorted(every - {"name"}), path, noun=f"argument of {' or '.join(known)}")


def _clipping(options: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """At most one of Keras's three rules under any setting."""
    rules = [key for key in ("clipnorm", "global_clipnorm", "clipvalue") if options.get(key) is not None]
    for one, other in itertools.combinations(rules, 2):
        if _together(options[one], options[other], scope):
            reason = f"{one} and {other} can't stand together: gradients are clipped by one rule. Drop one"
            remedy = "or make both a $name, under conditions that exclude each other"
            yield Problem(f"{reason}, {remedy}.", ("training", "optimizer", other), on_key=True)
            return


def _together(a: Any, b: Any, scope: Scope) -> bool:
    if isinstance(a, Ref) and isinstance(b, Ref):
        return scope.conditions.together(a.name, scope.conditions.needs(b.name))
    return True


def can_meet(value: Any, name: Any, *, choice: str, scope: Scope) -> bool:
    """Whether `value` can be given while `name` has the value `choice`."""
    if not isinstance(name, Ref):
        return True
    needs = needs_of(name.name, choice)
    if isinstance(value, Ref) and value.name in scope.domains:
        return scope.conditions.together(value.name, needs)
    return scope.conditions.together(name.name, needs)


def not_under(key: str, value: Any, *, name: Any, choice: str, having: list[str], path: KeyPath) -> Problem:
    """`key` is given under a `choice` of `name` that has no such key; `having` do."""
    shown = having[0] if len(having) == 1 else f"[{', '.join(having)}]"
    reason = f"{choice} has no {key}, and {name} can be {choice} while {key} is given."
    if isinstance(value, Ref):
        remedy = f"Give {value.name} in search_space the condition when: {{{name.name}: {shown}}}."
    else:
        remedy = f"Make it a $name with the condition when: {{{name.name}: {shown}}}."
    return Problem(f"{reason} {remedy}", (*path, key), on_key=True)


# --- loss, metrics, and the names they report under -----------------------------------------------------------------


def loss_and_metrics(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """Check `training.loss`, `metrics` and `loss_weights`, with an entry for each output where there are several."""
    training = section(raw, "training")
    outputs = several_outputs(raw)
    loss, metrics = training.get("loss"), training.get("metrics")
    if isinstance(loss, dict) and len(outputs) > 1 and not _is_one_loss(loss, outputs):
        yield from _for_each(loss, outputs, ("training", "loss"))
        for name in outputs:
            if name in loss:
                yield from named("losses", loss[name], path=("training", "loss", name), scope=scope)
    elif loss is not None:
        yield from named("losses", loss, path=("training", "loss"), scope=scope)
    if isinstance(metrics, dict):
        yield from _for_each(metrics, outputs, ("training", "metrics"), all_of_them=False)
        for name in metrics:
            yield from all_of("metrics", metrics[name], path=("training", "metrics", name), scope=scope)
    elif isinstance(metrics, list):
        yield from all_of("metrics", metrics, path=("training", "metrics"), scope=scope)
    if isinstance(training.get("loss_weights"), dict):
        yield from _for_each(training["loss_weights"], outputs, ("training", "loss_weights"), all_of_them=False)


def _is_one_loss(loss: Mapping[str, Any], outputs: list[str]) -> bool:
    """Whether it is one loss with its arguments, for all outputs, and not one for each."""
    return len(loss) == 1 and not set(loss) & set(outputs) and next(iter(loss)) in names("losses")


def several_outputs(raw: Mapping[str, Any]) -> list[str]:
    """The names of the model's outputs, where they are several."""
    outputs = section(raw, "model").get("outputs")
    if not isinstance(outputs, list) or len(outputs) < 2:
        return []
    return [name for name in outputs if isinstance(name, str)]


def _for_each(
    entries: Mapping[str, Any], outputs: list[str], path: KeyPath, *, all_of_them: bool = True
) -> Iterator[Problem]:
    """Check that a section by the names of the outputs has those names."""
    for key in entries:
        if not outputs:
            yield Problem("is for a model of several outputs: (outputs: [a, b]). Drop the names.", path)
            return
        if key not in outputs:
            yield unknown_key(key, outputs, (*path, key), noun="output")
    for name in outputs:
        if all_of_them and name not in entries:
            yield Problem(f"{name} is one of the outputs. Add {name}: its loss.", (*path, name))


def reported(raw: Mapping[str, Any], scope: Scope) -> list[str]:
    """What the curves may hold without `val_`; where the metrics are left out, what either task would bring."""
    metrics = section(raw, "training").get("metrics")
    outputs = several_outputs(raw)
    if outputs:
        by_name = metrics if isinstance(metrics, dict) else dict.fromkeys(outputs, metrics)
        each = [f"{name}_{metric}" for name in outputs for metric in ["loss", *_reported(by_name.get(name), scope)]]
        return ["loss", *each]
    data = section(raw, "data")
    labels = data.get("task") == "labels" or (data.get("task") is None and isinstance(data.get("target"), list))
    return ["loss", *_reported(metrics, scope), *(["binary_accuracy"] if labels and metrics is None else [])]


def _reported(metrics: Any, scope: Scope) -> list[str]:
    curves: list[str] = []
    for metric in metrics if isinstance(metrics, list) else ["accuracy", "mae"]:
        for value in scope.values(metric):
            if isinstance(value, dict) and len(value) == 1:
                name, args = next(iter(value.items()))
                curves.append(reported_name(name, args if isinstance(args, dict) else {}))
            elif isinstance(value, str):
                curves.append(reported_name(value))
    # Of several of one name Keras calls the second `auc_1`.
    return [name if (before := curves[:i].count(name)) == 0 else f"{name}_{before}" for i, name in enumerate(curves)]


def objectives(raw: Mapping[str, Any]) -> list[tuple[KeyPath, Mapping[str, Any]]]:
    """The sections of what is optimised, each with its place."""
    written = raw.get("objective")
    entries = [((), written)] if not isinstance(written, list) else [((i,), entry) for i, entry in enumerate(written)]
    return [(("objective", *place), entry) for place, entry in entries if isinstance(entry, dict)]


def objective(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """Check that the metrics that are optimised and watched are among those that the training reports."""
    plain = reported(raw, scope)
    curves = [f"val_{name}" for name in plain] + plain
    for path, entry in objectives(raw):
        if isinstance(entry.get("metric"), str) and not _may_name_itself(raw, scope):
            yield from _metric(entry["metric"], [*curves, "seconds", "parameters", "penalty"], (*path, "metric"))
    for path in (("training", "early_stopping"), ("schedule",)):
        monitor = section(raw, *path).get("monitor")
        if isinstance(monitor, str):
            yield from _metric(monitor, curves, (*path, "monitor"))


def _may_name_itself(raw: Mapping[str, Any], scope: Scope) -> bool:
    """Whether a metric is a class of the user's, which may give itself any name: what it reports is known once it is
    loaded.
    """
    metrics = section(raw, "training").get("metrics")
    values = [value for entry in (metrics if isinstance(metrics, list) else []) for value in scope.values(entry)]
    spelled = [next(iter(entry), "") if isinstance(entry, dict) else entry for entry in values]
    return any(":" in entry and entry.partition(":")[2][:1].isupper() for entry in spelled if isinstance(entry, str))


def _metric(metric: str, known: list[str], path: KeyPath) -> Iterator[Problem]:
    if metric in known or whole_metric(metric) in known:
        return
    plain = metric.removeprefix("val_")
    if plain in names("metrics"):
        yield Problem(
            f"{metric} is not measured. Add {plain} to training.metrics, or choose one of {', '.join(known)}.", path
        )
    else:
        yield Problem(unknown("metric", metric, known), path)


# --- regularisation, initialisation, augmentation ---------------------------------------------------------------------


def regularization(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """Check that label smoothing meets a loss between distributions over classes; a smoothing of 0 asks for nothing."""
    path = ("training", "regularization", "label_smoothing")
    smoothing = section(raw, *path[:-1]).get(path[-1])
    if not any(share > 0 for share in numbers(scope.values(smoothing))):
        return
    remedy = "Drop it, or choose one of"
    loss = section(raw, "training").get("loss")
    for choice in scope.values(loss) if loss is not None else []:
        name, args = next(iter(choice.items())) if isinstance(choice, dict) and len(choice) == 1 else (choice, None)
        if not isinstance(name, str) or name not in names("losses"):
            continue  # reported already
        if name not in SMOOTHED:
            clause = f"{loss} can be {name}" if isinstance(loss, Ref) else f"training.loss is {name}"
            message = f"spreads class labels, and {clause}, which has none. {remedy} {', '.join(SMOOTHED[:3])}."
            yield Problem(message, path, on_key=True)
            return
        if isinstance(args, dict) and "label_smoothing" in args:
            yield Problem("is given to training.loss too. Drop one of them.", path, on_key=True)
            return
    data = section(raw, "data")
    task = data.get("task") or known_of(data).task
    if loss is None and task == "regression" and section(raw, "model").get("layers") is not None:
        message = f"spreads class labels, and the data is a regression. Drop it, or set training.loss to {SMOOTHED[0]}."
        yield Problem(message, path, on_key=True)


SMOOTHED = (
    *("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"),
    *("SparseCategoricalCrossentropy", "CategoricalCrossentropy", "BinaryCrossentropy", "bce", "BCE"),
)
"""The losses that take label smoothing, by every name that Keras has for them."""


def initialization(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """Check the kernel initializer and the optimizer of `initialization.stabilize` against Keras's names."""
    options = section(raw, "initialization")
    if options.get("kernel") is not None:
        yield from named("initializers", options["kernel"], path=("initialization", "kernel"), scope=scope)
    optimizer = section(raw, "initialization", "stabilize").get("optimizer")
    if isinstance(optimizer, str) and optimizer not in names("optimizers"):
        message = unknown("optimizer", optimizer, [n for n in names("optimizers") if n.islower()], show=20)
        yield Problem(message, ("initialization", "stabilize", "optimizer"))


def augment(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that the data can be pictures."""
    data = section(raw, "data")
    if data.get("augment") and (why := no_pictures(data)) is not None:
        yield Problem(f"changes pictures at random, and {why}. Drop it.", ("data", "augment"), on_key=True)


def no_pictures(data: Mapping[str, Any]) -> str | None:
    """Why the data can't be pictures, as a clause; None where it can."""
    known = known_of(data)
    content = {"table": "is a table", "texts": "holds texts"}.get(known.holds or "")
    return None if content is None else f"{known.called} {content}"
