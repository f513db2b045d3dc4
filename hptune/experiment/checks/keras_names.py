"""Checks names and arguments against Keras's own: layers, and whatever stands as a name or as `{Name: {arguments}}`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hptune.base.errors import KeyPath, Problem, nearest, unknown
from hptune.experiment.checks.space import examples
from hptune.experiment.graph import FROM
from hptune.experiment.keras_table import Arguments, KerasKind, arguments, names
from hptune.experiment.model import CODE_NAME
from hptune.experiment.reading.problems import show, unknown_key
from hptune.experiment.space.conditions import Conditions
from hptune.experiment.space.references import Ref
from hptune.experiment.space.space import Domain

_SINGULAR: dict[str, str] = {
    "layers": "layer",
    "optimizers": "optimizer",
    "losses": "loss",
    "metrics": "metric",
    "activations": "activation",
    "initializers": "initializer",
    "regularizers": "regularizer",
}

_ELSEWHERE = {
    "Input": "the input's shape is taken from the data. Drop this layer.",
    "InputLayer": "the input's shape is taken from the data. Drop this layer.",
    "AugMix": "it draws its operations once, when the graph is made, for all trials that share it. Use RandAugment.",
    "Lambda": "a Python function can't be said in YAML. Use model: {python: module:function}.",
}

FROM_CODE: tuple[KerasKind, ...] = ("layers", "losses", "metrics")
"""What may be a user's own, as `module:name`."""

MOST_TIMES = 1000
MOST_LAYERS = 10_000
"""Far more than a machine could train; building them must not fill its memory first."""

_LAYER_ARGUMENTS = ("layer", "forward_layer", "backward_layer", "cell", "cells", "layers")
_SUFFIXES: dict[str, KerasKind] = {
    "activation": "activations",
    "initializer": "initializers",
    "regularizer": "regularizers",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """The valid part of the search space, to look up what a `$name` stands for."""

    domains: Mapping[str, Domain]
    conditions: Conditions

    def values(self, value: Any) -> list[Any]:
        """What may stand there: the value itself, or for a `$name` values that stand for its whole domain."""
        if not isinstance(value, Ref):
            return [value]
        return list(examples(self.domains[value.name])) if value.name in self.domains else []

    def always(self, value: Any) -> bool:
        """Whether the value is there under every setting."""
        return not isinstance(value, Ref) or value.name not in self.domains or self.conditions.always(value.name)


def layers(raw: Any, path: KeyPath, scope: Scope) -> Iterator[Problem]:
    """Everything that is wrong with a list of layers."""
    if not isinstance(raw, list) or not raw:
        yield Problem(f"must be a list of at least one layer, each after '- ', got {show(raw)}.", path)
        return
    for i, layer in enumerate(raw):
        yield from _layer(layer, (*path, i), scope)


def _layer(raw: Any, path: KeyPath, scope: Scope) -> Iterator[Problem]:
    if isinstance(raw, dict) and set(raw) & {"repeat"}:
        yield from _one_key(raw, path, "repeat") or _repeat(raw["repeat"], (*path, "repeat"), scope)
    else:
        yield from named("layers", _without_from(raw), path=path, scope=scope)


def _without_from(raw: Any) -> Any:
    """The layer without what it takes its input from, which is no argument of its class."""
    if not isinstance(raw, dict):
        return raw
    return {
        name: {k: v for k, v in args.items() if k != FROM} if isinstance(args, dict) else args
        for name, args in raw.items()
    }


def too_many(raw: Any, path: KeyPath, scope: Scope) -> Iterator[Problem]:
    """The problem with a valid list of layers that unfolds into too many."""
    most = _most_layers(raw, scope)
    if most > MOST_LAYERS:
        yield Problem(f"must unfold into at most {MOST_LAYERS:,} layers, got up to {most:,}. Repeat fewer times.", path)


def _most_layers(raw: list[Any], scope: Scope) -> int:
    repeats = [layer["repeat"] for layer in raw if isinstance(layer, dict) and "repeat" in layer]
    inside = (
        int(max(scope.values(repeat["times"]), default=0)) * _most_layers(repeat["layers"], scope) for repeat in repeats
    )
    return len(raw) - len(repeats) + sum(inside)


def _repeat(raw: Any, path: KeyPath, scope: Scope) -> Iterator[Problem]:
    if not isinstance(raw, dict):
        yield Problem(f"must be {{times: N, layers: [...]}}, got {show(raw)}.", path)
        return
    for key in raw:
        if key not in ("times", "layers"):
            yield unknown_key(key, ["times", "layers"], (*path, key))
    for key in ("times", "layers"):
        if key not in raw:
            yield Problem("is required and was not given. Add it.", (*path, key))
    for times in scope.values(raw["times"]) if "times" in raw else []:
        if (
            isinstance(times, bool)
            or not isinstance(times, int | float)
            or times % 1 != 0
            or not 0 <= times <= MOST_TIMES
        ):
            got = f"{raw['times']}, which can be {show(times)}" if isinstance(raw["times"], Ref) else show(times)
            yield Problem(f"must be a whole number from 0 to {MOST_TIMES}, got {got}.", (*path, "times"))
            break
    if not scope.always(raw.get("times")):
        yield _missing(raw["times"], (*path, "times"), scope)
    if "layers" in raw:
        yield from layers(raw["layers"], (*path, "layers"), scope)


def named(kind: KerasKind, raw: Any, *, path: KeyPath, scope: Scope, or_null: bool = False) -> Iterator[Problem]:
    """What is wrong with a name, a `{Name: {arguments}}` or a `$name` of names, of that kind. or_null: null will do."""
    if raw is None and or_null:
        return
    if isinstance(raw, Ref):
        for value in scope.values(raw):
            if value is None and or_null:
                continue
            problems = list(named(kind, value, path=path, scope=scope))
            if problems:
                yield Problem(f"{raw} can be {show(value)}: {problems[0].message}", path)
                return
    elif isinstance(raw, str):
        yield from _check_name(kind, raw, path, on_key=False) or _check_arguments(
            kind, raw, args={}, path=path, scope=scope
        )
    elif isinstance(raw, dict) and kind != "activations":
        yield from _one_key(raw, path, _SINGULAR[kind]) or _check_call(
            kind, *next(iter(raw.items())), path=path, scope=scope
        )
    else:
        form = "a name" if kind == "activations" else "a name, or {Name: {arguments}}"
        yield Problem(f"{_article(_SINGULAR[kind])} must be {form}, got {show(raw)}.", path)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _one_key(raw: Mapping[str, Any], path: KeyPath, noun: str) -> list[Problem]:
    if len(raw) == 1:
        return []
    if not raw:
        return [Problem(f"names no {noun}. Write {{Name: {{arguments}}}}.", path)]
    first, *rest = raw
    message = f"one name with its arguments must stand here, got {', '.join(raw)}."
    return [
        Problem(
            f"{message} If {rest[0]!r} belongs to {first!r}, indent it below {first!r}.", (*path, rest[0]), None, True
        )
    ]


def _check_name(kind: KerasKind, name: str, path: KeyPath, *, on_key: bool) -> list[Problem]:
    if kind == "layers" and name in _ELSEWHERE:
        return [Problem(f"{name} can't stand here: {_ELSEWHERE[name]}", path, on_key=on_key)]
    known = names(kind)
    if name in known or (kind in FROM_CODE and ":" in name):
        return _misspelt_code(name, path, on_key=on_key)
    return [Problem(unknown(_SINGULAR[kind], name, known), path, on_key=on_key)]


def _misspelt_code(name: str, path: KeyPath, *, on_key: bool) -> list[Problem]:
    if ":" not in name or re.fullmatch(CODE_NAME, name):
        return []
    message = f"must be module:name for what stands in a Python module, got {name!r}."
    return [Problem(message, path, on_key=on_key)]


def _check_call(kind: KerasKind, name: str, args: Any, *, path: KeyPath, scope: Scope) -> Iterator[Problem]:
    wrong = _check_name(kind, name, (*path, name), on_key=True)
    if wrong:
        yield from wrong
    elif args is not None and not isinstance(args, dict):
        yield Problem(
            f"the arguments of {name} must be a section {{argument: value}}, got {show(args)}.", (*path, name)
        )
    else:
        yield from _check_arguments(kind, name, args=args or {}, path=(*path, name), scope=scope)


def _check_arguments(
    kind: KerasKind, name: str, *, args: Mapping[str, Any], path: KeyPath, scope: Scope
) -> Iterator[Problem]:
    """The arguments themselves: required ones there, no unknown ones, values of the right kind.

    Those of a user's own class are not known before its code is run.
    """
    if ":" in name:
        return
    known = arguments(kind, name)
    meant = {nearest(key, known) for key in args if key not in known}
    for key, value in args.items():
        if key not in known:
            yield unknown_key(key, known, (*path, key), noun=f"argument of {name}")
        else:
            yield from argument(known, key, value, path=(*path, key), scope=scope)
    for key in required(known):
        if key not in args and key not in meant:
            yield Problem(f"{name} needs {key}, which was not given. Add it.", (*path, key))
        elif not scope.always(args.get(key)):
            yield _missing(args[key], (*path, key), scope)


def required(known: Arguments) -> list[str]:
    """The arguments that have no default."""
    return [key for key, details in known.items() if "default" not in details]


def _missing(ref: Ref, path: KeyPath, scope: Scope) -> Problem:
    needs = scope.domains[ref.name].when
    reason = f"is required, and {ref} is active only where {', '.join(f'{k} is {show(v)}' for k, v in needs.items())}"
    return Problem(f"{reason}. Take its condition away, or give a number here.", path)


def argument(known: Arguments, key: str, value: Any, *, path: KeyPath, scope: Scope) -> Iterator[Problem]:
    """What is wrong with one value: a nested layer, an activation, …; or text where Keras has a number or a boolean."""
    if key in _LAYER_ARGUMENTS:
        nested = value if isinstance(value, list) else [value]
        for i, layer in enumerate(nested):
            yield from named("layers", layer, path=(*path, i) if isinstance(value, list) else path, scope=scope)
        return
    kind = _SUFFIXES.get(key.rsplit("_", 1)[-1])
    if kind is not None and value is not None:
        yield from named(kind, value, path=path, scope=scope, or_null="default" in known[key])
        return
    for possible in scope.values(value):
        rule = _rule(known[key].get("default", "..."), possible)
        if rule:
            got = f"{value}, which can be {show(possible)}" if isinstance(value, Ref) else show(possible)
            yield Problem(f"must be {rule}, got {got}.", path)
            return


def _rule(default: Any, value: Any) -> str | None:
    """What a value must be, judged by Keras's own default; None where it fits, or where the default says nothing."""
    if isinstance(default, bool) and not isinstance(value, bool | None):
        return "true or false"
    number = isinstance(default, int | float) and not isinstance(default, bool)
    if number and isinstance(value, str | bool):
        return "a number"
    return None


def all_of(kind: KerasKind, raw: Iterable[Any], *, path: KeyPath, scope: Scope) -> Iterator[Problem]:
    """What is wrong with a list of names or `{Name: {arguments}}` of one kind, entry by entry."""
    for i, entry in enumerate(raw):
        yield from named(kind, entry, path=(*path, i), scope=scope)
