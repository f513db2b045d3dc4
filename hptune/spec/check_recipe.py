"""Checks what is trained and how: optimizer, loss, metrics, schedule, initialisation, objective and early stopping.

Each check takes the sections as the user wrote them, with `$name` bound, and passes over what another has told already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.errors import KeyPath, Problem, unknown
from hptune.spec.check_keras import Scope, all_of, argument, named
from hptune.spec.check_space import needs_of
from hptune.spec.keras_table import arguments, names, reported_name
from hptune.spec.problems import show, unknown_key
from hptune.spec.references import Ref
from hptune.spec.training import SCHEDULE_OPTIONS, Optimizer, Training


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
    given = section(raw, *path)
    name = given.get("name", Optimizer().name)
    choices = [value for value in scope.values(name) if isinstance(value, str)]
    known = {choice: arguments("optimizers", choice) for choice in choices if choice in names("optimizers")}
    for choice in choices:
        if choice not in known:
            told = unknown("optimizer", choice, [n for n in names("optimizers") if n.islower()], show=20)
            yield Problem(f"{name} can be {show(choice)}: {told}" if isinstance(name, Ref) else told, (*path, "name"))
            return
    for key, value in given.items():
        if key == "name":
            continue
        if known and not any(key in have for have in known.values()):
            every = {key for have in known.values() for key in have}
            what = f"argument of {' or '.join(known)}"
            yield unknown_key(key, sorted(every - {"name"}), (*path, key), what)
            continue
        for choice, have in known.items():
            if key not in have and _can_meet(value, name, choice, scope):
                yield _not_under(key, value, name, choice, [c for c in known if key in known[c]], path)
                break
        else:
            holder = next((have for have in known.values() if key in have), None)
            if holder is not None and key not in Optimizer.model_fields:
                yield from argument(holder, key, value, (*path, key), scope)


def _can_meet(value: Any, name: Any, choice: str, scope: Scope) -> bool:
    """Whether `value` can be given while `name` has the value `choice`."""
    if not isinstance(name, Ref):
        return True
    needs = needs_of(name.name, choice)
    if isinstance(value, Ref) and value.name in scope.domains:
        return scope.conditions.together(value.name, needs)
    return scope.conditions.together(name.name, needs)


def _not_under(key: str, value: Any, name: Any, choice: str, having: list[str], path: KeyPath) -> Problem:
    shown = having[0] if len(having) == 1 else f"[{', '.join(having)}]"
    told = f"{choice} has no {key}, and {name} can be {choice} while {key} is given."
    if isinstance(value, Ref):
        remedy = f"Give {value.name} in search_space the condition when: {{{name.name}: {shown}}}."
    else:
        remedy = f"Make it a $name with the condition when: {{{name.name}: {shown}}}."
    return Problem(f"{told} {remedy}", (*path, key), on_key=True)


# --- loss, metrics, and the names they report under -----------------------------------------------------------------


def loss_and_metrics(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    training = section(raw, "training")
    if training.get("loss") is not None:
        yield from named("losses", training["loss"], ("training", "loss"), scope)
    if isinstance(training.get("metrics"), list):
        yield from all_of("metrics", training["metrics"], ("training", "metrics"), scope)


def reported(raw: Mapping[str, Any], scope: Scope) -> list[str]:
    """What the curves may hold without `val_`; where the metrics are left out, what either task would bring."""
    metrics = section(raw, "training").get("metrics")
    found = ["loss"]
    for metric in metrics if isinstance(metrics, list) else ["accuracy", "mae"]:
        for value in scope.values(metric):
            if isinstance(value, dict) and len(value) == 1:
                name, given = next(iter(value.items()))
                found.append(reported_name(name, given if isinstance(given, dict) else {}))
            elif isinstance(value, str):
                found.append(reported_name(value))
    return found


def objective(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """That the objective's metric and the one that early stopping watches are among those that the training reports."""
    plain = reported(raw, scope)
    curves = [f"val_{name}" for name in plain] + plain
    metric = section(raw, "objective").get("metric")
    if isinstance(metric, str):
        yield from _metric(metric, [*curves, "seconds", "parameters", "penalty"], ("objective", "metric"))
    monitor = section(raw, "training", "early_stopping").get("monitor")
    if isinstance(monitor, str):
        yield from _metric(monitor, curves, ("training", "early_stopping", "monitor"))


def _metric(metric: str, known: list[str], path: KeyPath) -> Iterator[Problem]:
    if metric in known:
        return
    plain = metric.removeprefix("val_")
    if plain in names("metrics"):
        yield Problem(
            f"{metric} is not measured. Add {plain} to training.metrics, or choose one of {', '.join(known)}.", path
        )
    else:
        yield Problem(unknown("metric", metric, known), path)


# --- schedule and initialisation ------------------------------------------------------------------------------------


def schedule(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """The schedule's name, that it has the options given, and that the warm-up ends before the training does."""
    given = section(raw, "schedule")
    name = given.get("name", "constant")
    known = [value for value in scope.values(name) if value in SCHEDULE_OPTIONS]
    for key, value in given.items():
        if key in ("name", "warmup") or value is None:
            continue
        for choice in known:
            if key not in SCHEDULE_OPTIONS[choice] and _can_meet(value, name, choice, scope):
                having = [c for c in SCHEDULE_OPTIONS if key in SCHEDULE_OPTIONS[c]]
                if having and isinstance(name, Ref):
                    yield _not_under(key, value, name, choice, having, ("schedule",))
                elif having:
                    told = f"{choice} has no {key}; {', '.join(having)} has. Drop it, or choose another schedule."
                    yield Problem(told, ("schedule", key), on_key=True)
                break
    yield from _warmup(raw, scope)


def _warmup(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    warmup = section(raw, "schedule", "warmup").get("epochs")
    epochs = section(raw, "training").get("epochs", Training().epochs)
    longest = _numbers(scope.values(warmup))
    shortest = _numbers(scope.values(epochs))
    if longest and shortest and max(longest) >= min(shortest):
        told = f"must be < training.epochs ({min(shortest):g}), got {max(longest):g}. Lower it, or train longer."
        yield Problem(told, ("schedule", "warmup", "epochs"))


def _numbers(values: list[Any]) -> list[float]:
    return [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def initialization(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    kernel = section(raw, "initialization").get("kernel")
    if kernel is not None:
        yield from named("initializers", kernel, ("initialization", "kernel"), scope)
