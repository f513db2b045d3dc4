"""The domains of a search space: what values a parameter may have, and the one form in which each is spelled.

Strategies see every domain as a list of values or an interval, and as a point of [0, 1]. A value, whoever wrote it, has
the form in which its domain spells it (`own`): 1 is 1.0 among real numbers, 0.1 + 0.2 is the 0.3 of a stepped range.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from hptune.base.errors import plain_text
from hptune.base.trial import Value
from hptune.experiment.base import Spec, Whole

When: TypeAlias = Mapping[str, Value | list[Value]]


MOST_STEPS = 1_000_000
"""A stepped float range is held as a list."""

_LAST_BITS = 1e-12
"""How far sums such as 0.1 + 0.2 may stray, as a share of the numbers themselves."""

_OF_A_STEP = 1e-8
"""How far a number may lie from a stepped one and still be meant by it, as a share of the step."""


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
        if isinstance(low, int) and (high - low) // (step or 1) >= 2**53:
            reason = f"{low} to {high} holds more than 2**53 numbers: some would never be drawn. Make it smaller."
            raise PydanticCustomError("range", reason)
        if step is not None and _steps(low, high, step) > MOST_STEPS:
            reason = f"step {step} makes more than {MOST_STEPS:,} values. Make it larger, or drop it."
            raise PydanticCustomError("range", reason)
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
        """Whether `value` is a member, however it is spelled."""
        return self._member(value) is not None

    def own(self, value: Any) -> Any:
        """`value` as this domain spells it. Raises ValueError where it is no member."""
        member = self._member(value)
        if member is None:
            raise ValueError(f"must be one of {self}, got {value!r}")
        return member

    @property
    def greatest(self) -> Any:
        """The greatest member, which is below `max` where the steps do not end there."""
        values: Any = self.values()  # type: ignore[attr-defined]  # both ranges have it
        return self.max if values is None else values[-1]  # type: ignore[attr-defined]

    def _member(self, value: Any) -> Any:
        """The member that `value` stands for, or None."""
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

    def _member(self, value: Any) -> float | None:
        """A stepped range forgives the last bits, as of 0.1 + 0.2, and has the step itself for them."""
        number = as_float(value)
        if number is None or not self.min - self._slack <= number <= self.max + self._slack:
            return None
        values = self.values()
        if values is None:
            return number + 0.0  # -0.0 is 0.0
        nearest = values[self._index(number)]
        return nearest if abs(number - nearest) <= self._slack else None

    @cached_property
    def _slack(self) -> float:
        """How far from a listed value a number may lie that stands for it; 0 where the range is continuous."""
        step = math.inf if self.step is None else self.step
        if step == math.inf and self.min < self.max:
            return 0.0
        near = _OF_A_STEP * step if step < math.inf else 0.0
        return min(max(near, _LAST_BITS * max(abs(self.min), abs(self.max))), step / 4)

    def _index(self, value: float) -> int:
        """Which of the stepped values is nearest."""
        last = len(self._stepped) - 1
        return min(max(round((value - self.min) / self.step), 0), last) if self.step is not None else 0

    def values(self) -> Sequence[float] | None:
        """Every value, or None where it is continuous. All are exact decimals: 0, 0.1, …, 1.0.

        `max` is the last one where the steps end there but for their last bits, as three of 0.1 + 0.2 do at 0.9.
        """
        return self._stepped if self.step is not None else [self.min] if self.min == self.max else None

    @cached_property
    def _stepped(self) -> list[float]:
        if self.step is None:
            return [self.min]
        low, high, step = (Decimal(repr(v)) for v in (self.min, self.max, self.step))
        steps = (high - low) / step
        whole = int(steps.to_integral_value())
        if whole and abs(steps - whole) <= Decimal(_OF_A_STEP):
            return [*(float(low + i * step) for i in range(whole)), self.max]
        return [float(low + i * step) for i in range(int(steps) + 1)]

    def default_value(self) -> float:
        """The default as this domain spells it; `middle` where it is left out."""
        return self.middle() if self.default is None else float(self.own(self.default))

    def middle(self) -> float:
        """What stands for a default that is left out; geometric on a log scale."""
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

    def _member(self, value: Any) -> int | None:
        """64.0 is a whole number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if isinstance(value, float) and not value.is_integer():
            return None
        number = int(value)
        return number if number in self.values() else None

    def values(self) -> Sequence[int]:
        """Every value, from `min` to `max` (inclusive) by `step`."""
        return range(self.min, self.max + 1, self.step or 1)

    def default_value(self) -> int:
        """The default as this domain spells it; the middle where it is left out."""
        return self.middle() if self.default is None else self.own(self.default)

    def middle(self) -> int:
        """What stands for a default that is left out; on a log scale the geometric mean of both ends."""
        if not self.log:
            return self.from_unit(0.5)
        mean = min(max(round(math.sqrt(self.min * self.max)), self.min), self.max)
        return self.min + self.max - mean if self.log == "reverse" else mean

    def from_unit(self, u: float) -> int:
        """The value at `u` in [0, 1]: each value has an equal share, or a logarithmic one where `log`."""
        values = self.values()
        if self.log == "reverse":
            return self.min + self.max - self._from_log(1.0 - u)
        if self.log:
            return self._from_log(u)
        return values[min(int(u * len(values)), len(values) - 1)]

    def to_unit(self, value: Value) -> float:
        """A place in [0, 1] that `from_unit` maps back to `value`: the middle of its share where not `log`."""
        number = int(value)  # type: ignore[arg-type]  # a member of this domain is a number
        if self.log == "reverse":
            return 1.0 - self.log_unit(self.min + self.max - number)
        if self.log:
            return self.log_unit(number)
        values = self.values()
        return (values.index(number) + 0.5) / len(values)

    def _from_log(self, u: float) -> int:
        low, high = math.log(self.min - 0.5), math.log(self.max + 0.5)
        return min(max(round(math.exp(low + u * (high - low))), self.min), self.max)

    def log_unit(self, number: float) -> float:
        """Where a number lies on the logarithmic scale, whose ends are half a unit beyond the range's."""
        low, high = math.log(self.min - 0.5), math.log(self.max + 0.5)
        return (math.log(number) - low) / (high - low)


class ChoiceDomain(_Domain):
    """One of a list, in the user's order; the order counts where all are numbers."""

    type: Literal["choice"]
    values_: list[bool | int | float | str | None] = Field(alias="values", min_length=1)
    default: bool | int | float | str | None = None

    def __str__(self) -> str:
        return ", ".join(plain_text(v) if isinstance(v, str) else str(v) for v in self.values_)

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
    def _first_is_default(cls, raw: Any) -> Any:
        """None may be a value of its own, so the default can't be left at None for "not given"."""
        if not isinstance(raw, dict) or "default" in raw or not isinstance(raw.get("values"), list):
            return raw
        return {**raw, "default": raw["values"][0]} if raw["values"] else raw

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
        """Whether `value` is one of the list, with the same type: 1 is neither 1.0 nor true."""
        return any(type(v) is type(value) and v == value for v in self.values_)

    def own(self, value: Any) -> Value:
        """The value itself, or the only number among the values that equals it, as the 16 of a list does 16.0.

        Raises ValueError where there is none: True, 1, 1.0 and "1" are four values, and a list may hold all.
        """
        if self.contains(value):
            return value  # type: ignore[no-any-return]  # it is one of the values
        equal = [v for v in self.values_ if None is not as_float(v) == as_float(value)]
        if len(equal) != 1:
            raise ValueError(f"must be one of {self}, got {value!r}")
        return equal[0]

    def values(self) -> Sequence[Value]:
        """Every value, in the user's order."""
        return self.values_

    def default_value(self) -> Value:
        """The given default, else the first value."""
        return self.default

    def middle(self) -> Value:
        """What stands for a default that is left out."""
        return self.values_[0]

    def from_unit(self, u: float) -> Value:
        """The value at `u` in [0, 1]; each has an equal share."""
        return self.values_[min(int(u * len(self.values_)), len(self.values_) - 1)]

    def to_unit(self, value: Value) -> float:
        """The middle of the share of [0, 1] that `from_unit` maps to `value`, which must be a member."""
        at = next(i for i, v in enumerate(self.values_) if type(v) is type(value) and v == value)
        return (at + 0.5) / len(self.values_)


Domain: TypeAlias = Annotated[FloatDomain | IntDomain | ChoiceDomain, Field(discriminator="type")]

DOMAINS: dict[str, type[_Domain]] = {"float": FloatDomain, "int": IntDomain, "choice": ChoiceDomain}
"""`type` -> its class."""


def _steps(low: float, high: float, step: float) -> float:
    """How many steps lead from `low` to `high`, whose difference may be beyond floats."""
    return (high - low) / step if math.isfinite(high - low) else high / step - low / step


def unreached(domain: Domain) -> str | None:
    """The remark on a range whose steps never reach its `max`; None for all others.

    >>> print(unreached(IntDomain(type="int", min=16, max=100, step=32)))
    is never reached: from 16 on, steps of 32 end at 80. Make it 80, or choose a step that divides max - min.
    """
    if isinstance(domain, ChoiceDomain) or domain.step is None or domain.greatest == domain.max:
        return None
    reason = f"is never reached: from {domain.min} on, steps of {domain.step} end at {domain.greatest}"
    return f"{reason}. Make it {domain.greatest}, or choose a step that divides max - min."


def beyond_floats(domain: Domain) -> str | None:
    """Why nobody can draw from a range of floats, with the remedy: what its ends come to is no float; else None.

    The libraries add, subtract and (for log) divide them.
    """
    if not isinstance(domain, FloatDomain):
        return None
    low, high, most = domain.min, domain.max, f"{sys.float_info.max:.2g}"
    if domain.log and not math.isfinite(high / low):
        return f"max / min must be below {most}, the largest float, got {high} / {low}. Raise min, or lower max."
    if domain.log is not True and not (math.isfinite(high - low) and math.isfinite(high + low)):
        reason = f"max - min and max + min must be below {most}, the largest float, got min {low} and max {high}"
        return f"{reason}. Keep both between -8e307 and 8e307."
    return None


def as_float(value: Any) -> float | None:
    """A finite number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def own_when(when: Mapping[str, Any], domains: Mapping[str, Domain]) -> dict[str, Any]:
    """Conditions with their values as the parents spell them; what is no member, or of no domain, is as it was.

    >>> tenths = FloatDomain(type="float", min=0.0, max=1.0, step=0.1)
    >>> own_when({"x": [0.1 + 0.2, 1]}, {"x": tenths})
    {'x': [0.3, 1.0]}
    """

    def spelled(parent: str, value: Any) -> Any:
        domain = domains.get(parent)
        return domain.own(value) if domain is not None and domain.contains(value) else value

    return {
        parent: [spelled(parent, value) for value in wanted] if isinstance(wanted, list) else spelled(parent, wanted)
        for parent, wanted in when.items()
    }
