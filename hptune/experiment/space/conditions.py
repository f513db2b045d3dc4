"""Under which values of other parameters a parameter is active, and which parameters can be active together.

Every condition asks one parent to be one of some values, and all of them must hold. So what it takes for a parameter to
be active is one set of values for each of its ancestors, and two can be together where no such sets exclude each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from hptune.base.trial import Value
from hptune.experiment.space.space import Domain

Key: TypeAlias = tuple[str, Value]
Needs: TypeAlias = Mapping[str, frozenset[Key]]
"""Parameter -> the values of which it must have one."""


def key(value: Value) -> Key:
    """True, 1 and 1.0 are three values."""
    return (type(value).__name__, value)


class Conditions:
    """The conditions of a set of domains that are free of circles; parents that are no domain are passed over."""

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self._domains = domains
        self._needs: dict[str, Needs] = {}

    def needs(self, name: str) -> Needs:
        """What must hold for `name` to be active, over all its ancestors."""
        if name not in self._needs:
            needs: dict[str, frozenset[Key]] = {}
            when = self._domains[name].when if name in self._domains else {}
            for parent, wanted in when.items():
                values = frozenset(key(v) for v in (wanted if isinstance(wanted, list) else [wanted]))
                needs = both(needs, {**self.needs(parent), parent: values})
            self._needs[name] = needs
        return self._needs[name]

    def always(self, name: str) -> bool:
        """Whether `name` is active whatever the others are."""
        return self.follows(name, {})

    def follows(self, name: str, others: Needs) -> bool:
        """Whether `name` is active wherever `others` hold."""
        return all(others.get(parent, self._all(parent)) <= values for parent, values in self.needs(name).items())

    def together(self, name: str, others: Needs) -> bool:
        """Whether `name` can be active while `others` hold (and what those themselves need)."""
        needs = both(self.needs(name), others)
        for other in others:
            needs = both(needs, self.needs(other))
        return all(needs.values())

    def _all(self, name: str) -> frozenset[Key]:
        domain = self._domains.get(name)
        values = domain.values() if domain is not None else None
        return frozenset(map(key, values)) if values is not None else frozenset([("", "any")])


def both(a: Needs, b: Needs) -> dict[str, frozenset[Key]]:
    """What holds where both hold.

    >>> both({"x": frozenset([("int", 1), ("int", 2)])}, {"x": frozenset([("int", 2)])})
    {'x': frozenset({('int', 2)})}
    """
    return {
        name: a[name] & b[name] if name in a and name in b else a.get(name, b.get(name, frozenset()))
        for name in dict.fromkeys([*a, *b])
    }


def one_of(values: Iterable[Value]) -> frozenset[Key]:
    """The keys of these values, as a set to which a parent is bound."""
    return frozenset(key(v) for v in values)
