"""How values are written for people: short, and never so that two that differ read alike beside each other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from hptune.base.errors import plain_text, printable
from hptune.base.trial import Value

_ALL_DIGITS = 17
"""Significant digits in which no two floats read alike."""

V = TypeVar("V", bound=Value)


def number(value: float | None, digits: int = 4) -> str:
    """A number as users are shown it: of a float `digits` significant digits, of None a dash.

    >>> number(0.123456), number(None), number(3)
    ('0.1235', '–', '3')
    """
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"


def numbers(values: Iterable[float | None], digits: int = 4) -> list[str]:
    """Numbers that stand beside each other; those that would read alike and differ get more digits.

    >>> numbers([0.123456, 0.12347, 0.5, 3, None, 0.5])
    ['0.12346', '0.12347', '0.5', '3', '–', '0.5']
    >>> numbers([1.2341, 1.23446, 1.23454, 1.2349])
    ['1.2341', '1.23446', '1.23454', '1.2349']
    """
    return _apart(list(values), number, digits)


def interval(low: float, high: float, digits: int = 2) -> str:
    """The ends of an interval, in as many digits as its width asks for.

    >>> interval(-0.484, 4.484), interval(0.99977, 1.00023), interval(1.0, 1.0)
    ('-0.48 to 4.5', '0.99977 to 1.00023', '1 to 1')
    """
    near = (high - low) / 20
    while digits < _ALL_DIGITS and any(abs(float(number(end, digits)) - end) > near for end in (low, high)):
        digits += 1
    return f"{number(low, digits)} to {number(high, digits)}"


def shown(value: Value, digits: int = 4) -> str:
    """A hyperparameter's value; a text that would read as something else stands in quotes.

    >>> shown(0.123456), shown(1), shown("1"), shown(True), shown("True"), shown("relu"), shown(None)
    ('0.1235', '1', '"1"', 'True', '"True"', 'relu', 'None')
    """
    if isinstance(value, float):
        return number(value, digits)
    return printable(plain_text(value) if isinstance(value, str) else str(value))


def shown_all(values: Iterable[Value], digits: int = 4) -> list[str]:
    """Values that stand beside each other.

    >>> shown_all([1, "1", True, 0.00101, 0.001012])
    ['1', '"1"', 'True', '0.00101', '0.001012']
    >>> shown_all([1, 1.00000001])
    ['1', '1.00000001']
    >>> shown_all([1, 1.0, 1000.0])
    ['1', '1.0', '1000']
    """
    values = list(values)
    whole = {value for value in values if type(value) is int}

    def spelled(value: Value, digits: int) -> str:
        return repr(value) if isinstance(value, float) and value in whole else shown(value, digits)

    return _apart(values, spelled, digits)


def identity(value: Value) -> Hashable:
    """What distinguishes a value from others: 1, 1.0, "1" and true are four (Python takes all but the text for one).

    >>> len({identity(value) for value in (1, "1", True, 1.0)})
    4
    """
    return (type(value), value)


def shortened(names: Sequence[str], most: int = 14) -> list[str]:
    """Names of at most so many characters; those that would read alike keep their ends too, or are numbered.

    >>> shortened(["a name that is too long", "short"])
    ['a name that i…', 'short']
    >>> shortened(["a name that is long 1", "a name that is long 2"])
    ['a name …long 1', 'a name …long 2']
    """
    ways: tuple[Callable[[int, str], str], ...] = (
        lambda _, name: f"{name[: most - 1]}…",
        lambda _, name: f"{name[: most // 2]}…{name[len(name) - (most - most // 2 - 1) :]}",
        lambda at, name: f"{name[: most - len(str(at)) - 3]}… #{at}",
    )
    for way in ways:
        short = [name if len(name) <= most else way(at, name) for at, name in enumerate(names, start=1)]
        if len(set(short)) == len(set(names)):
            break
    return short


def _apart(values: Sequence[V], spell: Callable[[V, int], str], digits: int) -> list[str]:
    """Each value spelled in `digits` digits, or in as many more as tell it from all the others.

    Those that read alike get more digits until none do: what tells one value from its likes may be another's text.
    """
    known = {identity(value): value for value in values}
    needed = dict.fromkeys(known, digits)
    again = list(known)
    texts: dict[Hashable, str] = {}
    while again:
        texts |= {key: spell(known[key], needed[key]) for key in again}
        alike: dict[str, list[Hashable]] = {}
        for key, text in texts.items():
            alike.setdefault(text, []).append(key)
        again = []
        for keys in alike.values():
            more = max(needed[key] for key in keys) + 1
            if len(keys) > 1 and more <= _ALL_DIGITS:
                needed |= dict.fromkeys(keys, more)
                again += keys
    return [spell(value, needed[identity(value)]) for value in values]
