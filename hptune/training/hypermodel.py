"""Models that code builds: `build(hp)` functions and KerasTuner `HyperModel` classes, the user's and KerasTuner's own.

The space that the code declares is discovered by building before the first trial, and joined with the YAML's.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hptune.errors import SegmentFailed, spec_error
from hptune.quiet import quietly
from hptune.spec.space import Domain
from hptune.training.runtime import keras, reset_names
from hptune.training.untouched import Untouched
from hptune.trial import Value, Values
from hptune.user_code import load_object

MOST_BUILDS = 200
"""Where a model's code keeps asking for something new, discovery ends after this many builds."""


class Builder:
    """A HyperModel, or what has its `build(hp)`: `build(values)` gives the model, and what it asked `hp` for."""

    def __init__(self, hypermodel: Any, *, branches: bool = True, reference: str = "") -> None:
        """branches: whether it may ask for a parameter under some values of another alone. reference: `module:name`."""
        self.hypermodel = hypermodel
        self.reference = reference
        self.branches = branches
        self._kt = keras_tuner()

    @cached_property
    def untouched(self) -> Untouched:
        """What its calls share; asked for before the first one."""
        return Untouched()

    @cached_property
    def has_own_fit(self) -> bool:
        """Whether the HyperModel trains by a `fit` of its own, which is used then."""
        return getattr(type(self.hypermodel), "fit", None) not in (None, self._kt.HyperModel.fit)

    @property
    def call(self) -> str | None:
        """How a user's program calls it, with an `hp`; None where it is none of the user's."""
        if not self.reference:
            return None
        found = load_object(self.reference, Path(), ("model", "python"))
        name = self.reference.replace(":", ".")
        if inspect.isclass(found):
            return f"{name}().build(hp)"
        return f"{name}(hp)" if isinstance(self.hypermodel, _Function) else f"{name}.build(hp)"

    def build(self, values: Values) -> tuple[Any, Any]:
        """(the model, the `HyperParameters` it asked). What `values` leaves out takes the code's default."""
        self.untouched.before()
        reset_names()
        hp = self._kt.HyperParameters()
        hp.values = dict(values)
        model = self.hypermodel.build(hp)
        if not isinstance(model, keras().Model):
            raise SegmentFailed(f"the builder returned {type(model).__name__}, not a keras.Model")
        return self.build(values) if self.untouched.after(model) else (model, hp)


def keras_tuner() -> Any:
    """KerasTuner, imported when it is first needed."""
    keras()
    with quietly():
        import keras_tuner
    return keras_tuner


def from_code(reference: str, folder: Path) -> Builder:
    """The builder that the user's code is. Raises SpecError where it is none."""
    found = load_object(reference, folder, ("model", "python"))
    hypermodel = keras_tuner().HyperModel
    if inspect.isclass(found) and issubclass(found, hypermodel):
        return Builder(found(), reference=reference)
    if isinstance(found, hypermodel):
        return Builder(found, reference=reference)
    if callable(found):
        return Builder(_Function(found), reference=reference)
    told = f"{reference} is neither a build(hp) function nor a keras_tuner.HyperModel. Name one of these."
    raise spec_error(told, "model", "python")


@dataclass(frozen=True, slots=True)
class _Function:
    """A `build(hp)` function in the place of a HyperModel."""

    build: Any


@dataclass(frozen=True, slots=True)
class _Build:
    """One build: the setting it was made with and what was asked for; where from, and which parameter was turned."""

    setting: Values
    asked: frozenset[str]
    origin: _Build | None
    turned: str | None


def discover(
    builder: Builder, declared: Mapping[str, Domain], ask: Callable[[Any, Any], None] | None = None
) -> dict[str, dict[str, Any]]:
    """The domains that the builder asks for and the YAML does not declare, as the YAML would spell them.

    Builds with the defaults, then with every Boolean and choice flipped and every Int at both ends (at each of its
    values, where something came or went between the ends), until nothing new appears. A name that is asked for under
    some values of another parameter only is given the condition (`when`) that was seen. A builder without branches is
    built once. `ask(hp, model)` is called after each build, for code that asks for more later on.
    """
    domains: dict[str, dict[str, Any]] = {}
    builds: list[_Build] = []
    waiting: deque[tuple[Values, _Build | None, str | None]] = deque()
    waiting.append(({name: domain.default_value() for name, domain in declared.items()}, None, None))
    while waiting and len(builds) < MOST_BUILDS:
        setting, origin, turned = waiting.popleft()
        same = [b for b in builds if b.origin is origin and b.turned == turned] if turned is not None else []
        if any(b.setting[b.turned] == setting[b.turned] for b in same if b.turned is not None):
            continue
        model, hp = builder.build(setting)
        if ask is not None:
            ask(hp, model)
        asked = {p.name: p for p in hp.space if hp.is_active(p) and type(p).__name__ != "Fixed"}
        whole = {**setting, **{name: hp.values[name] for name in asked}}
        build = _Build(whole, frozenset(asked) | frozenset(declared), origin, turned)
        builds.append(build)
        turns: dict[str, list[Value]] = {}
        if origin is None and builder.branches:
            turns |= {name: _ends(domain.values(), domain.type) for name, domain in declared.items()}
        for name in [n for n in asked if n not in domains and n not in declared]:
            domains[name] = _domain(asked[name])
            turns[name] = _ends(_values(domains[name]), domains[name]["type"]) if builder.branches else []
        waiting += [({**whole, name: v}, build, name) for name, vs in turns.items() for v in vs if v != whole[name]]
        if origin is not None and turned in domains and build.asked != origin.asked:  # what lies between the ends?
            waiting += [({**origin.setting, turned: v}, origin, turned) for v in _values(domains[turned])]
    return {name: {**domain, **_condition(name, builds)} for name, domain in domains.items()}


def _values(domain: Mapping[str, Any]) -> list[Value]:
    if domain["type"] == "int":
        return list(range(domain["min"], domain["max"] + 1, domain.get("step") or 1))
    return list(domain.get("values", ()))


def _ends(values: Sequence[Value] | None, kind: str) -> list[Value]:
    """Every choice, both ends of an Int, nothing of a Float (which switches nothing)."""
    if kind == "float" or not values:
        return []
    return list(values) if kind == "choice" else [values[0], values[-1]]


def _condition(name: str, builds: Sequence[_Build]) -> dict[str, Any]:
    """{"when": …} with each parameter whose turning alone made the name come or go."""
    when: dict[str, list[Value]] = {}
    for build in builds:
        turned, origin = build.turned, build.origin
        if origin is None or turned is None or turned == name or turned in when:
            continue
        row = [b for b in builds if b.origin is origin and b.turned == turned]
        row += [origin] if all(b.setting[turned] != origin.setting[turned] for b in row) else []
        active = [b.setting[turned] for b in row if name in b.asked]
        if active and len(active) < len(row):
            when[turned] = active
    return {"when": when} if when else {}


def _domain(parameter: Any) -> dict[str, Any]:
    """A KerasTuner parameter as the YAML would spell it."""
    kind = type(parameter).__name__
    if kind in ("Boolean", "Choice"):
        return {"type": "choice", "values": list(parameter.values), "default": parameter.default}
    if parameter.sampling == "log" and parameter.step is not None:  # a step on a log scale multiplies
        return {"type": "choice", "values": list(parameter.values), "default": parameter.default}
    number = int if kind == "Int" else float
    domain: dict[str, Any] = {
        "type": "int" if kind == "Int" else "float",
        "min": number(parameter.min_value),
        "max": number(parameter.max_value),
    }
    if parameter.sampling == "log":
        domain["log"] = True
    elif parameter.step is not None and (kind == "Float" or parameter.step != 1):
        domain["step"] = number(parameter.step)
    return {**domain, "default": number(parameter.default)}
