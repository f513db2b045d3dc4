"""Cases of one option: one experiment with `$o` where its values are plain, one for each value where they are lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .case import Case, Tree, points_of

RATES = (0.05, 0.02)
"""Two trials of a case whose option can't be searched over: they share a program and differ in their rate."""


def cases_of(
    area: str, name: str, option: str, values: list[Any], tree: Callable[[Any], Tree], **more: Any
) -> Iterator[Case]:
    """The cases of `values`. tree: the experiment with a value, or with "$o", in the option's place."""
    plain = [value for value in values if not isinstance(value, list | dict)]
    if plain:
        yield Case(area, name, option, tree("$o"), points_of(plain), **more)
    for value in values:
        if isinstance(value, list | dict):
            yield fixed(area, name, f"{option}={_short(value)}", tree(value), **more)


def fixed(area: str, name: str, option: str, tree: Tree, **more: Any) -> Case:
    """A case without an option of its own: two rates."""
    trained = tree["training"]
    searched = {**trained, "optimizer": {**trained["optimizer"], "learning_rate": "$o"}}
    return Case(area, name, option, {**tree, "training": searched}, points_of(list(RATES)), repeats=True, **more)


def _short(value: Any) -> str:
    return str(value).replace("'", "").replace(" ", "")
