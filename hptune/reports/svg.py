"""Charts as inline SVG: axes, dots, lines. Elements, never text that is put together by hand.

What stands in a page is made by `tag` alone, which takes texts as texts: they are escaped when the page is written, and
what would steer a terminal or turn the reading direction is spelled out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement

from hptune.base.errors import printable
from hptune.reports.spelling import number, shortened

Child: TypeAlias = "Element | str | None"

_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 12, 38
_MARGIN = 0.04
_LONGEST_NAME = 40
_NEAR = 0.01
"""How far a tick's label may be from where it lies, as a share of the axis: less than a pen's width."""

_LEAST_POWER, _LARGEST_POWER = -323, 308
"""Of ten, among floats: an axis has room beyond them, but no ticks."""


def tag(name: str, /, *children: Child, **attributes: object) -> Element:
    """An element. children: elements, texts, or None for nothing. attributes: `class_` is class, `x_y` is x-y.

    >>> from xml.etree.ElementTree import tostring
    >>> tostring(tag("p", "a < b", tag("b", "&"), class_="x"), encoding="unicode")
    '<p class="x">a &lt; b<b>&amp;</b></p>'
    """
    element = Element(name, {_name(key): printable(str(value)) for key, value in attributes.items()})
    for child in children:
        if isinstance(child, str):
            text = printable(child, keep="\n")
            if len(element):
                element[-1].tail = (element[-1].tail or "") + text
            else:
                element.text = (element.text or "") + text
        elif child is not None:
            element.append(child)
    return element


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a chart. All places are on its scale: decimal logarithms where `log`.

    low, high: the places of its ends. ticks: (place, label).
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def share(self, value: float) -> float:
        """How far along a value lies: 0 at the low end, 1 at the high one; what is beyond them lies at the end."""
        return self.share_of_place(_place(value, log=self.log))

    def share_of_place(self, place: float) -> float:
        """As `share`, for a place: a value that is already on the scale of the axis."""
        return min(max((place - self.low) / (self.high - self.low), 0.0), 1.0)


def number_axis(label: str, values: Iterable[float], *, log: bool = False) -> Axis:
    """An axis around finite values, all above 0 where `log`, with a little room at both ends."""
    places = [_place(value, log=log) for value in values]
    low, high = min(places, default=0.0), max(places, default=1.0)
    room = (high - low) * _MARGIN or abs(high) * _MARGIN or 1.0
    low, high = low - room, high + room
    powers = range(max(math.ceil(low), _LEAST_POWER), min(math.floor(high), _LARGEST_POWER) + 1)
    if not log:
        ticks = _labelled(_round_ticks(low, high), _NEAR * (high - low))
    elif len(powers) >= 2:
        ticks = [(float(power), f"1e{power}") for power in powers[:: math.ceil(len(powers) / 7)]]
    else:
        ends = [10.0**place for place in (low + room, high - room)]
        ticks = _labelled(ends, _NEAR * (high - low), digits=2, log=True)
    return Axis(label, low, high, tuple(ticks), log)


def choice_axis(label: str, names: Sequence[str]) -> Axis:
    """An axis with a place for each name, at 0, 1, 2 and so on."""
    ticks = tuple((float(at), name) for at, name in enumerate(shortened(names)))
    return Axis(label, -0.5, len(names) - 0.5, ticks[:: math.ceil(len(ticks) / 10)])


def _labelled(values: Sequence[float], near: float, *, digits: int = 4, log: bool = False) -> list[tuple[float, str]]:
    """(place, label) of each tick; in as many digits as it takes that no two read alike and none lies beside its label.

    near: how far the label's number may lie from its tick, on the axis's scale.
    """
    apart = list(dict.fromkeys(values))
    labels = [number(value, digits) for value in apart]
    while digits < 17 and not (
        len(set(labels)) == len(labels)
        and all(abs(_place(float(t), log=log) - _place(v, log=log)) <= near for t, v in zip(labels, apart, strict=True))
    ):
        digits += 1
        labels = [number(value, digits) for value in apart]
    return [(_place(value, log=log), label) for value, label in zip(apart, labels, strict=True)]


def _place(value: float, *, log: bool) -> float:
    return math.log10(value) if log else value


def _round_ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers between the two.

    >>> _round_ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    power = 10.0 ** math.floor(math.log10(high - low))
    step = next(step * power for step in (0.1, 0.2, 0.5, 1.0, 2.0) if (high - low) / (step * power) < 8)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(n * step, 12 - math.floor(math.log10(step))) for n in range(first, last + 1)]


class Chart:
    """Two axes, and what is drawn between them in the order in which it is asked for."""

    def __init__(self, x: Axis, y: Axis, *, width: int, height: int, title: str) -> None:
        self.x, self.y = x, y
        self._width, self._height = width, height
        self.element = tag("svg", viewBox=f"0 0 {width} {height}", role="img", aria_label=title)
        self._draw_axes()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point, to a tenth of a pixel."""
        return self._across(self.x.share(x)), self._down(self.y.share(y))

    def _across(self, share: float) -> float:
        return round(_LEFT + share * (self._width - _LEFT - _RIGHT), 1)

    def _down(self, share: float) -> float:
        return round(self._height - _BOTTOM - share * (self._height - _TOP - _BOTTOM), 1)

    def dot(self, x: float, y: float, title: str, *, class_: str, radius: float = 3.0) -> None:
        """Draw a point. title: shown when the mouse is over it. class_: the CSS class. radius: in pixels."""
        across, down = self.at(x, y)
        self.element.append(tag("circle", tag("title", title), cx=across, cy=down, r=radius, class_=class_))

    def line(
        self, points: Sequence[tuple[float, float | None]], title: str, *, class_: str, steps: bool = False
    ) -> None:
        """A line through the points; broken where one has no y. steps: level until the next point."""
        path, pen = "", "M"
        before: float | None = None
        for x, y in points:
            if y is None:
                pen = "M"
                continue
            across, down = self.at(x, y)
            path += f"H{across}V{down}" if steps and before is not None else f"{pen}{across} {down}"
            pen, before = "L", down
        if path:
            self.element.append(tag("path", tag("title", title), d=path, class_=class_))

    def _draw_axes(self) -> None:
        left, right, bottom = _LEFT, self._width - _RIGHT, self._height - _BOTTOM
        for place, label in self.y.ticks:
            down = self._down(self.y.share_of_place(place))
            SubElement(self.element, "path", {"d": f"M{left} {down}H{right}", "class": "grid"})
            self.element.append(tag("text", label, x=left - 6, y=down + 3.5, class_="tick end"))
        for place, label in self.x.ticks:
            across = self._across(self.x.share_of_place(place))
            SubElement(self.element, "path", {"d": f"M{across} {bottom}v4", "class": "grid"})
            self.element.append(tag("text", label, x=across, y=bottom + 15, class_="tick middle"))
        SubElement(self.element, "path", {"d": f"M{left} {bottom}H{right}", "class": "axis"})
        across, down = (left + right) / 2, (_TOP + bottom) / 2
        for axis, places in (
            (self.x, {"x": across, "y": self._height - 5}),
            (self.y, {"x": 12, "y": down, "transform": f"rotate(-90 12 {down})"}),
        ):
            self.element.append(tag("text", *shortened([axis.label], _LONGEST_NAME), **places, class_="label middle"))


def without_outliers(values: Sequence[float], worse: Callable[[float, float], bool]) -> list[float]:
    """The values that an axis is to show: the worst tenth is left out where it would squeeze the others together.

    worse: whether the first is worse than the second.
    """
    if len(values) < 10:
        return list(values)
    ordered = sorted(values)
    if worse(ordered[0], ordered[-1]):
        ordered.reverse()
    kept = ordered[: math.ceil(0.9 * len(ordered))]
    whole, most = abs(ordered[-1] - ordered[0]), abs(kept[-1] - kept[0])
    return kept if most > 0 and whole > 4 * most else ordered
