"""Checks how layers are connected: every `from:` names a layer above it, and no layer's output goes nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hptune.base.errors import KeyPath, Problem, unknown
from hptune.experiment.checks.keras_names import Scope
from hptune.experiment.graph import FROM, INPUT
from hptune.experiment.reading.problems import show
from hptune.experiment.space.references import Ref

MERGES = ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract")
"""The layers that take a list."""

Reach: TypeAlias = frozenset[KeyPath]
"""The layers (or inputs) that a name may stand for, by their places; one in a `repeat` may or may not have come."""


@dataclass(slots=True)
class _Walk:
    """What is known on the way through the layers.

    names: what `from:` may name. maybe: those that a `repeat` of 0 times takes away. before: what a layer without
    `from:` takes. used: the layers whose output is taken.
    """

    names: dict[str, Reach]
    before: Reach
    maybe: set[str] = field(default_factory=set)
    used: set[KeyPath] = field(default_factory=set)
    seen: dict[KeyPath, str] = field(default_factory=dict)

    def look_up(self, name: Any, path: KeyPath) -> Iterator[Problem]:
        if not isinstance(name, str):
            yield Problem(f"must be the name of a layer above, got {show(name)}.", path)
        elif name not in self.names:
            reason = unknown("layer", name, self.names)
            yield Problem(f"{reason} Only a layer above, by its name:, can stand here.", path)
        else:
            self.used |= self.names[name]
            if name in self.maybe:
                reason = f"{name} stands in a repeat alone, which may be of 0 times"
                yield Problem(f"{reason}. Give the name to a layer before the repeat too.", path)


def graph(model: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """Everything that is wrong with how the layers of a `layers` model are connected."""
    listed = model.get("inputs")
    inputs = listed if isinstance(listed, list) and listed else [INPUT]
    outputs = model.get("outputs")
    names = {name: frozenset([("model", "inputs", i)]) for i, name in enumerate(inputs) if isinstance(name, str)}
    first: Reach = frozenset([("model", "inputs", 0)]) if len(inputs) == 1 else frozenset()
    walk = _Walk(dict(names), first)
    problems = list(_layers(model["layers"], ("model", "layers"), walk=walk, scope=scope))
    yield from dict.fromkeys(problems)
    if outputs is None:
        walk.used |= walk.before
    for i, name in enumerate(outputs if isinstance(outputs, list) else []):
        yield from walk.look_up(name, ("model", "outputs", i))
        if isinstance(name, str) and name in names:
            yield Problem(f"{name} is an input. Name a layer.", ("model", "outputs", i))
    if problems:
        return  # a layer that was not found counts as unused too
    for path, layer in walk.seen.items():
        if path not in walk.used:
            message = f"the output of {layer} goes nowhere. Name it in the from: of a layer below"
            yield Problem(f"{message}, list it in outputs:, or drop it.", path)
    for name, reach in names.items():
        if not reach <= walk.used:
            message = f"no layer takes {name}. Write from: {name} where it belongs, or drop it."
            yield Problem(message, next(iter(reach)) if "inputs" in model else ("model", "layers", 0))


def _layers(raw: list[Any], path: KeyPath, *, walk: _Walk, scope: Scope) -> Iterator[Problem]:
    for i, layer in enumerate(raw):
        if isinstance(layer, dict) and "repeat" in layer:
            yield from _repeat(layer["repeat"], (*path, i, "repeat"), walk=walk, scope=scope)
            continue
        name, written = next(iter(layer.items())) if isinstance(layer, dict) and layer else (layer, None)
        args = written if isinstance(written, dict) else {}
        inside = (*path, i, name) if isinstance(layer, dict) else (*path, i)
        yield from _check_input(str(name), args.get(FROM), path=(*inside, FROM), walk=walk, scope=scope)
        walk.seen[(*path, i)] = str(name)
        walk.before = frozenset([(*path, i)])
        label = args.get("name")
        if isinstance(label, str):
            if any(place[:2] == ("model", "inputs") for place in walk.names.get(label, ())):
                yield Problem(f"{label} is what the input is called. Give the layer another name.", (*inside, "name"))
            walk.names[label] = walk.before
            walk.maybe.discard(label)


def _check_input(layer: str, source: Any, *, path: KeyPath, walk: _Walk, scope: Scope) -> Iterator[Problem]:
    """What a layer takes its input from."""
    if source is None:
        if layer in MERGES:
            yield Problem(f"{layer} takes several layers. Add from: [one, other], with their names.", path)
        elif not walk.before:
            yield Problem(f"there are several inputs. Say which with from: ({', '.join(walk.names)}).", path)
        walk.used |= walk.before
        return
    if isinstance(source, dict):
        for key, entry in source.items():
            yield from _check_names(entry, (*path, key), walk=walk, scope=scope)
        return
    if layer in MERGES and not (isinstance(source, list) and len(source) > 1):
        yield Problem(f"{layer} takes several layers, as from: [one, other], got {show(source)}.", path)
    yield from _check_names(source, path, walk=walk, scope=scope)


def _check_names(source: Any, path: KeyPath, *, walk: _Walk, scope: Scope) -> Iterator[Problem]:
    entries: Iterable[tuple[KeyPath, Any]]
    entries = [((*path, i), entry) for i, entry in enumerate(source)] if isinstance(source, list) else [(path, source)]
    for place, entry in entries:
        if isinstance(entry, Ref) and not scope.always(entry):
            yield Problem(f"{entry} is not always active, and a layer always takes its input. Drop its when:.", place)
        for name in scope.values(entry):
            yield from walk.look_up(name, place)


def _repeat(raw: Any, path: KeyPath, *, walk: _Walk, scope: Scope) -> Iterator[Problem]:
    """Check the layers once for what they name, and again: the first layer may take the output of the last one."""
    inner = raw.get("layers") if isinstance(raw, dict) else None
    if not isinstance(inner, list):
        return
    before, names = walk.before, dict(walk.names)
    yield from _layers(inner, (*path, "layers"), walk=walk, scope=scope)
    for _ in _layers(inner, (*path, "layers"), walk=walk, scope=scope):
        pass  # reported already
    if any(times == 0 for times in scope.values(raw.get("times"))):
        walk.maybe |= set(walk.names) - set(names)
        walk.names = {name: reach | names.get(name, frozenset()) for name, reach in walk.names.items()}
        walk.before |= before
