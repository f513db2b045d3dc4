"""The search space: named domains and the conditions under which they are active. Knows no strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.base.trial import Value, Values
from hptune.experiment.space.domains import (
    DOMAINS,
    ChoiceDomain,
    Domain,
    FloatDomain,
    IntDomain,
    beyond_floats,
    own_when,
    unreached,
)

__all__ = [
    "DOMAINS",
    "ChoiceDomain",
    "Domain",
    "FloatDomain",
    "IntDomain",
    "Space",
    "beyond_floats",
    "own_when",
    "point_key",
    "unreached",
]

_OTHER = object()  # stands for every value of a parent that no condition names


class Space:
    """The domains by name, parents before the parameters that depend on them.

    domains: as the user declared them (and a model's code asked for); the values in their conditions become the
        parents' own.
    """

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self.domains: dict[str, Domain] = {}
        waiting = {
            name: domain.model_copy(update={"when": own_when(domain.when, domains)}) if domain.when else domain
            for name, domain in domains.items()
        }
        while waiting:
            ready = [n for n, d in waiting.items() if all(p in self.domains or p not in domains for p in d.when)]
            assert ready, "conditions in a circle; the spec's check lets none through"
            for name in ready:
                self.domains[name] = waiting.pop(name)

    def active(self, name: str, values: Values) -> bool:
        """Whether `name` is active, given the values of its parents (an inactive parent makes it inactive)."""
        for parent, wanted in self.domains[name].when.items():
            options = wanted if isinstance(wanted, list) else [wanted]
            if parent not in values or not any(
                type(values[parent]) is type(option) and values[parent] == option for option in options
            ):
                return False
        return True

    def choose(self, pick: Any) -> dict[str, Value]:
        """A setting: `pick(name, domain)` for each active parameter, in the space's order."""
        values: dict[str, Value] = {}
        for name, domain in self.domains.items():
            if self.active(name, values):
                values[name] = pick(name, domain)
        return values

    def defaults(self) -> dict[str, Value]:
        """Every active parameter at its default."""
        return self.choose(lambda _, domain: domain.default_value())

    def complete(self, values: Values, fill: Any = None) -> dict[str, Value]:
        """`values` with what is left out filled in by `fill(name, domain)` (None: the default); the inactive dropped.

        Members of their domains are as these spell them.
        """

        def pick(name: str, domain: Domain) -> Value:
            if name in values:
                return domain.own(values[name]) if domain.contains(values[name]) else values[name]
            return fill(name, domain) if fill is not None else domain.default_value()

        return self.choose(pick)

    def own(self, values: Values) -> dict[str, Value]:
        """`values` as this space spells them, in its order. Raises ValueError, which says why, where they are no point.

        A point has exactly the active parameters, each within its domain.
        """

        def pick(name: str, domain: Domain) -> Value:
            if name not in values:
                raise ValueError(f"{name} has no value")
            try:
                return domain.own(values[name])
            except ValueError:
                raise ValueError(f"{name} is not one of {domain}") from None

        point = self.choose(pick)
        for name in values:
            if name not in point:
                raise ValueError(f"{name} is {'not active' if name in self.domains else 'no parameter'}")
        return point

    def contains(self, values: Values) -> bool:
        """Whether `values` is a whole point, however it is spelled."""
        try:
            self.own(values)
        except ValueError:
            return False
        return True

    @property
    def size(self) -> int | None:
        """How many points there are; None where a parameter is continuous."""
        if any(domain.values() is None for domain in self.domains.values()):
            return None
        named: dict[str, dict[tuple[str, Value], Value]] = {}  # parent -> the values that conditions name
        for domain in self.domains.values():
            for parent, wanted in domain.when.items():
                options = wanted if isinstance(wanted, list) else [wanted]
                named.setdefault(parent, {}).update({(type(v).__name__, v): v for v in options})
        return self._count(list(self.domains), {}, {parent: list(values.values()) for parent, values in named.items()})

    def _count(self, names: list[str], values: dict[str, Any], named: Mapping[str, list[Value]]) -> int:
        """The points over `names`; the values of a parent that no condition names are counted together."""
        if not names:
            return 1
        name, rest = names[0], names[1:]
        if not self.active(name, values):
            return self._count(rest, values, named)
        domain = self.domains[name]
        of_domain = len(domain.values() or ())
        if name not in named:
            return of_domain * self._count(rest, values, named)
        own = [value for value in named[name] if domain.contains(value)]
        total = sum(self._count(rest, {**values, name: value}, named) for value in own)
        others = of_domain - len(own)
        return total + (others * self._count(rest, {**values, name: _OTHER}, named) if others else 0)

    def points(self) -> Iterator[dict[str, Value]]:
        """Every point of a finite space, the last parameter turning fastest."""
        return self._settings(list(self.domains))

    def _settings(self, names: list[str], values: dict[str, Value] | None = None) -> Iterator[dict[str, Value]]:
        values = values or {}
        if not names:
            yield values
            return
        name, rest = names[0], names[1:]
        if not self.active(name, values):
            yield from self._settings(rest, values)
            return
        for value in self.domains[name].values() or ():
            yield from self._settings(rest, {**values, name: value})


def point_key(values: Values) -> tuple[tuple[str, str, Value], ...]:
    """A hashable key of a point; True, 1 and 1.0 are three values.

    >>> point_key({"a": 1}) == point_key({"a": True})
    False
    """
    return tuple((name, type(value).__name__, value) for name, value in sorted(values.items()))
