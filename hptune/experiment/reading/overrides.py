"""`--set path.to.key=value`: changes to the tree that a YAML file holds, and where problems with them are placed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hptune.base.errors import KeyPath, Problem
from hptune.experiment.reading.marks import read_value
from hptune.experiment.reading.problems import show

_MOST_SHOWN = 200
"""Characters of an override that stand before what is wrong with it."""


@dataclass(slots=True)
class Overrides:
    """The overrides applied so far, by their key path."""

    texts: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str | None:
        """The override that set what stands at `path`, as users typed it; None where the file did."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.texts:
                return _shortened(f"--set {self.texts[path[:end]]}")
        return None

    def apply(self, tree: Any, text: str, problems: list[Problem]) -> Any:
        """`tree` with the override `text` (path.to.key=value) put in; itself where `text` is wrong (see `problems`)."""
        keys, equals, value = text.partition("=")
        place = _shortened(f"--set {text}")
        if not equals or not all(keys.strip().split(".")):
            problems.append(Problem("must be path.to.key=value, such as budget.trials=5.", place=place))
            return tree
        path = key_path(keys.strip())
        try:
            changed = _put(tree if tree is not None else {}, path, read_value(value))
        except ValueError as error:
            problems.append(Problem(str(error), path, place=place))
            return tree
        self.texts = {p: t for p, t in self.texts.items() if p[: len(path)] != path}
        self.texts[path] = text
        return changed


def _shortened(place: str) -> str:
    return place if len(place) <= _MOST_SHOWN else f"{place[:_MOST_SHOWN]}…"


def key_path(text: str) -> KeyPath:
    """A key path as `--set` spells it.

    >>> key_path("enqueue.0.units")
    ('enqueue', 0, 'units')
    """
    return tuple(int(part) if part.isdigit() else part for part in text.split("."))


def _put(tree: Any, path: KeyPath, value: Any) -> Any:
    """A copy of `tree` with `value` at `path`. Raises ValueError where the path leads through something else."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if tree is None:
        tree = [] if key == 0 else {}
    if isinstance(tree, dict):
        return {**tree, str(key): _put(tree.get(str(key)), rest, value)}
    if not isinstance(tree, list):
        raise ValueError(f"leads through {show(tree)}, which is no section. Shorten the path.")
    if not isinstance(key, int) or key > len(tree):
        raise ValueError(
            f"leads to entry {key!r} of a list of {len(tree)}. Give 0 to {len(tree)} ({len(tree)} adds one)."
        )
    old = tree[key] if key < len(tree) else None
    return [*tree[:key], _put(old, rest, value), *tree[key + 1 :]]
