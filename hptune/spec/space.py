"""The search space: named domains, the conditions under which they are active, and the recipe that values give.

Knows no strategy. Strategies see every parameter as a list of values or an interval, and as a point of [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from hptune.spec.base import Spec, Whole
from hptune.trial import Value, Values

When: TypeAlias = Mapping[str, Value | list[Value]]


MOST_STEPS = 1_000_000
"""A stepped float range is held as a list."""


class _Domain(Spec):
    when: dict[str, Any] = Field(default_factory=dict)
    """Active only where each named parameter has this value, or one of these values."""


class _Range(_Domain):
    """An interval, both ends included; with `step` the points min, min + step, … up to max."""

    log: bool | Literal["reverse"] = False
    """Logarithmic scale: equal factors are equally likely. `reverse`: min + max less such a value; finest at max."""

    @model_validator(mode="after")
    def _check(self) -> _Range:
        low, high, step, default = self.min, self.max, self.step, self.default  # type: ignore[attr-defined]
        if low > high:
            raise PydanticCustomError("range", f"min must be at most max, got min {low} and max {high}. Swap them.")
        if self.log and low <= 0:
            raise PydanticCustomError(
                "range", f"log: {self._log} needs min above 0, got {low}. Raise min, or drop log."
            )
        if step is not None and step <= 0:
            raise PydanticCustomError("range", f"step must be above 0, got {step}.")
        if self.log and step is not None and not (step == 1 and isinstance(step, int)):
            raise PydanticCustomError("range", f"log: {self._log} and step can't stand together. Drop one of them.")
        if step is not None and (high - low) / step > MOST_STEPS:
            told = f"step {step} makes more than {MOST_STEPS:,} values. Make it larger, or drop it."
            raise PydanticCustomError("range", told)
        if default is not None and not self.contains(default):
            raise PydanticCustomError("range", f"default {default} is not one of its values. Choose one from {self}.")
        return self

    @property
    def _log(self) -> str:
        return str(self.log).lower()

    @property
    def _scale(self) -> str:
        return {False: "", True: " (log)", "reverse": " (reverse log)"}[self.log]

    def contains(self, value: Any) -> bool:
        raise NotImplementedError


class FloatDomain(_Range):
    """Real numbers."""

    type: Literal["float"]
    min: float = Field(allow_inf_nan=False)
    max: float = Field(allow_inf_nan=False)
    step: float | None = None
    default: float | None = None

    def __str__(self) -> str:
        by = f" by {self.step}" if self.step is not None else self._scale
        return f"{self.min} to {self.max}{by}"

    def contains(self, value: Any) -> bool:
        """Whether `value` is a number of this range; a stepped one forgives the last bits, as of 0.1 + 0.2."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        values = self.values()
        if values is None:
            return self.min <= value <= self.max
        return math.isclose(value, values[self._index(value)], rel_tol=1e-9, abs_tol=1e-12)

    def _index(self, value: float) -> int:
        """Which of the stepped values is nearest."""
        last = len(self._stepped) - 1
        return min(max(round((value - self.min) / self.step), 0), last) if self.step is not None else 0

    def values(self) -> Sequence[float] | None:
        """Every value, or None where it is continuous. Both ends are exact decimals: 0, 0.1, …, 1.0."""
        return self._stepped if self.step is not None else [self.min] if self.min == self.max else None

    @cached_property
    def _stepped(self) -> list[float]:
        if self.step is None:
            return [self.min]
        low, high, step = (Decimal(repr(v)) for v in (self.min, self.max, self.step))
        return [float(low + i * step) for i in range(int((high - low) / step) + 1)]

    def default_value(self) -> float:
        if self.default is not None:
            return self.default
        return float(self.from_unit(0.5))

    def from_unit(self, u: float) -> float:
        """The value at `u` in [0, 1]: linear, logarithmic, or the bucket of a stepped range."""
        values = self.values()
        if values is not None:
            return values[min(int(u * len(values)), len(values) - 1)]
        if self.log == "reverse":
            return min(max(self.min + self.max - self._from_log(1.0 - u), self.min), self.max)
        if self.log:
            return self._from_log(u)
        return min(max(self.min + u * (self.max - self.min), self.min), self.max)

    def _from_log(self, u: float) -> float:
        low, high = math.log(self.min), math.log(self.max)
        return min(max(math.exp(low + u * (high - low)), self.min), self.max)

    def to_unit(self, value: Value) -> float:
        """The inverse of `from_unit`; the middle of the bucket where stepped."""
        number = float(value)  # type: ignore[arg-type]  # a member of this domain is a number
        values = self.values()
        if values is not None:
            return (self._index(number) + 0.5) / len(values)
        if self.log == "reverse":
            return 1.0 - self._to_log(min(max(self.min + self.max - number, self.min), self.max))
        if self.log:
            return self._to_log(number)
        return (number - self.min) / (self.max - self.min)

    def _to_log(self, number: float) -> float:
        return (math.log(number) - math.log(self.min)) / (math.log(self.max) - math.log(self.min))


class IntDomain(_Range):
    """Whole numbers."""

    type: Literal["int"]
    min: Whole = Field(ge=-(2**53), le=2**53)  # beyond, not every whole number is a float
    max: Whole = Field(ge=-(2**53), le=2**53)
    step: Whole | None = None
    default: Whole | None = None

    def __str__(self) -> str:
        by = f" by {self.step}" if self.step not in (None, 1) else self._scale
        return f"{self.min} to {self.max}{by}"

    def contains(self, value: Any) -> bool:
        """Whether `value` is one of the whole numbers of this range; 64.0 is a whole number."""
        return not isinstance(value, bool) and isinstance(value, int | float) and value in self.values()

    def values(self) -> Sequence[int]:
        return range(self.min, self.max + 1, self.step or 1)

    def default_value(self) -> int:
        return self.default if self.default is not None else self.from_unit(0.5)

    def from_unit(self, u: float) -> int:
        values = self.values()
        if self.log == "reverse":
            return self.min + self.max - self._from_log(1.0 - u)
        if self.log:
            return self._from_log(u)
        return values[min(int(u * len(values)), len(values) - 1)]

    def to_unit(self, value: Value) -> float:
        number = int(value)  # type: ignore[arg-type]  # a member of this domain is a number
        if self.log == "reverse":
            return 1.0 - self._to_log(self.min + self.max - number)
        if self.log:
            return self._to_log(number)
        values = self.values()
        return (values.index(number) + 0.5) / len(values)

    def _from_log(self, u: float) -> int:
        low, high = math.log(self.min - 0.5), math.log(self.max + 0.5)
        return min(max(round(math.exp(low + u * (high - low))), self.min), self.max)

    def _to_log(self, number: int) -> float:
        low, high = math.log(self.min - 0.5), math.log(self.max + 0.5)
        return (math.log(number) - low) / (high - low)


class ChoiceDomain(_Domain):
    """One of a list, in the user's order; the order counts where all are numbers."""

    type: Literal["choice"]
    values_: list[bool | int | float | str | None] = Field(alias="values", min_length=1)
    default: bool | int | float | str | None = None

    def __str__(self) -> str:
        return ", ".join(str(v) for v in self.values_)

    @field_validator("values_")
    @classmethod
    def _distinct(cls, values: list[Value]) -> list[Value]:
        seen: set[tuple[str, Value]] = set()
        for value in values:
            key = (type(value).__name__, value)
            if key in seen:
                raise PydanticCustomError("choice", f"values holds {value!r} twice. Drop one.")
            seen.add(key)
        return values

    @model_validator(mode="before")
    @classmethod
    def _first_is_default(cls, given: Any) -> Any:
        """None may be a value of its own, so the default can't be left at None for "not given"."""
        if not isinstance(given, dict) or "default" in given or not isinstance(given.get("values"), list):
            return given
        return {**given, "default": given["values"][0]} if given["values"] else given

    @model_validator(mode="after")
    def _check(self) -> ChoiceDomain:
        if not self.contains(self.default):
            raise PydanticCustomError("choice", f"default {self.default!r} is not one of its values: {self}.")
        return self

    @property
    def ordered(self) -> bool:
        """Whether neighbours mean something: all values are numbers, rising or falling."""
        values = self.values_
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            return False
        return values in (sorted(values), sorted(values, reverse=True))  # type: ignore[type-var]  # numbers

    def contains(self, value: Any) -> bool:
        return any(type(v) is type(value) and v == value for v in self.values_)

    def values(self) -> Sequence[Value]:
        return self.values_

    def default_value(self) -> Value:
        return self.default

    def from_unit(self, u: float) -> Value:
        return self.values_[min(int(u * len(self.values_)), len(self.values_) - 1)]

    def to_unit(self, value: Value) -> float:
        at = next(i for i, v in enumerate(self.values_) if type(v) is type(value) and v == value)
        return (at + 0.5) / len(self.values_)


Domain: TypeAlias = Annotated[FloatDomain | IntDomain | ChoiceDomain, Field(discriminator="type")]

DOMAINS: dict[str, type[_Domain]] = {"float": FloatDomain, "int": IntDomain, "choice": ChoiceDomain}
"""`type` -> its class."""


_OTHER = object()  # stands for every value of a parent that no condition names


class Space:
    """The domains by name, parents before the parameters that depend on them.

    domains: as the user declared them (and a model's code asked for).
    """

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self.domains: dict[str, Domain] = {}
        waiting = dict(domains)
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

    def complete(self, given: Values, fill: Any = None) -> dict[str, Value]:
        """`given` with what is left out filled in by `fill(name, domain)` (None: the default); the inactive dropped."""

        def pick(name: str, domain: Domain) -> Value:
            if name in given:
                return given[name]
            return fill(name, domain) if fill is not None else domain.default_value()

        return self.choose(pick)

    def contains(self, values: Values) -> bool:
        """Whether `values` is a whole point: exactly the active parameters, each within its domain."""
        inside = all(name in self.domains and self.domains[name].contains(value) for name, value in values.items())
        return inside and list(self.choose(lambda name, _: values.get(name))) == [
            n for n in self.domains if n in values
        ]

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
        return self._count(list(self.domains), {}, {parent: list(found.values()) for parent, found in named.items()})

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
