"""Reads YAML text into plain data and remembers where each key and value stands.

Only plain YAML is read: no tags, no objects, one document. Scalars follow YAML 1.2's core schema, with numbers as
people write them: `1e-4` and `1_000` are numbers; `on`, `yes` and `2024-01-01` are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from hptune.base.errors import KeyPath, Problem

Spot: TypeAlias = tuple[int, int]
"""Line and column, both from 1."""

MOST_NODES = 100_000
"""Aliases count each time they are used, so that a few lines can't unfold into gigabytes."""

DEEPEST = 100
"""How many sections may stand within each other: libyaml's composer is recursive and dies of a stack overflow."""

_TOO_DEEP = f"more than {DEEPEST} sections stand within each other. Write a flatter file."

_PLAIN: dict[str, re.Pattern[str]] = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+(_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(\.[0-9]+|[0-9]+(_[0-9]+)*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
}

# libyaml's parser is some twenty times faster; PyYAML's wheels bring it on every platform that TensorFlow runs on.
_Base: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class _YamlLoader(_Base):  # type: ignore[misc]  # chosen while running
    """Gives each node without a tag of its own a short one, so that any other tag is one that the user wrote."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.MappingNode:
            return "map"
        if kind is yaml.SequenceNode:
            return "seq"
        if not implicit[0]:
            return "text"
        return next((tag for tag, pattern in _PLAIN.items() if pattern.fullmatch(value)), "text")


@dataclass(slots=True)
class Document:
    """What a text holds: its data, where each key and value stands, and what is wrong with it."""

    data: Any = None
    keys: dict[KeyPath, Spot] = field(default_factory=dict)
    values: dict[KeyPath, Spot] = field(default_factory=dict)
    problems: list[tuple[Problem, Spot]] = field(default_factory=list)

    def spot(self, path: KeyPath, *, on_key: bool = False) -> Spot:
        """Where `path` stands: its value (or key); where it is not there, the key of the nearest section around it."""
        if path in self.values and not on_key:
            return self.values[path]
        for end in range(len(path), 0, -1):
            spot = self.keys.get(path[:end]) or self.values.get(path[:end])
            if spot:
                return spot
        return self.values.get((), (1, 1))


def read(text: str) -> Document:
    """The data of one YAML document. Its `problems` hold everything that can't be read, with what could be read."""
    document = Document()
    try:
        too_deep = _too_deep(text)
        node = None if too_deep else yaml.compose(text, Loader=_YamlLoader)
    except yaml.YAMLError as error:
        document.problems.append(_syntax(error))
        return document
    if too_deep:
        document.problems.append((Problem(_TOO_DEEP), too_deep))
        return document
    if node is not None:
        _Builder(document).run(node)
    return document


def read_value(text: str) -> Any:
    """The data of a single value, as `--set key=value` gives it. Raises ValueError saying what is wrong."""
    document = read(text)
    if document.problems:
        raise ValueError(document.problems[0][0].message)
    return document.data


def _too_deep(text: str) -> Spot | None:
    """Where a section stands that is nested deeper than `DEEPEST`."""
    depth = 0
    for event in yaml.parse(text, Loader=_YamlLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                return _spot(event.start_mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return None


def _syntax(error: yaml.YAMLError) -> tuple[Problem, Spot]:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    if "single document" in str(context):
        return Problem("holds a second YAML document. Keep one experiment in a file."), _spot(mark)
    if "nesting depth" in problem:  # libyaml has a limit of its own from PyYAML 6.0.4 on
        return Problem(_TOO_DEEP), _spot(mark)
    if "undefined alias" in problem:
        return Problem(f"not valid YAML: {problem}. Give the anchor (&name) before its alias (*name)."), _spot(mark)
    description = f"{problem}, {context}" if context and context != problem else problem
    remedy = "Check the indentation, brackets, quotes and the space after each colon."
    return Problem(f"not valid YAML: {description}. {remedy}"), _spot(mark)


def _spot(mark: Any) -> Spot:
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


class _Builder:
    """Turns nodes into data, once; stops where aliases unfold into too much."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0
        self.open: set[int] = set()  # the nodes around the present one: an alias to one of them is a circle

    def run(self, node: yaml.Node) -> None:
        try:
            self.document.data = self.build(node, ())
        except (_TooMuch, RecursionError):
            message = f"holds more than {MOST_NODES:,} values once its aliases are filled in. Use fewer aliases."
            self.document.problems = [(Problem(message), _spot(node.start_mark))]
            self.document.data = None

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self.count()
        self.document.values.setdefault(path, _spot(node.start_mark))
        if node.tag not in ("map", "seq", "text", *_PLAIN):
            shown = node.tag.replace("tag:yaml.org,2002:", "!!")
            self.wrong(f"the tag {shown} is not allowed: only plain YAML is read. Remove it.", node, path)
            return None
        if id(node) in self.open:
            self.wrong("an alias stands inside its own anchor. Write the value out.", node, path)
            return None
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
            return self.mapping(node, path)
        finally:
            self.open.discard(id(node))

    def mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        section: dict[str, Any] = {}
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        for key, child in node.value:
            if key.tag == "text" and key.value == "<<":
                merged += self.merge(child, path)
                continue
            name = self.key(key, path)
            if name is None:
                continue
            here = (*path, name)
            if name in section:
                first = self.document.keys[here][0]
                message = f"{name} is given twice, first in line {first}. Keep one of them."
                self.wrong(message, key, here)
                continue
            self.document.keys[here] = _spot(key.start_mark)
            section[name] = self.build(child, here)
        for key, child in merged:  # what stands here itself wins, then the first merged section
            name = self.key(key, path)
            if name is not None and name not in section:
                self.document.keys[(*path, name)] = _spot(key.start_mark)
                section[name] = self.build(child, (*path, name))
        return section

    def key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == "text":
            return str(node.value)
        shown = repr(node.value) if isinstance(node, yaml.ScalarNode) else f"a {node.tag}"
        self.wrong(f"a key must be text, got {shown}. Put it in quotes if it is meant as text.", node, path)
        return None

    def merge(self, node: yaml.Node, path: KeyPath) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """The keys and values that `<<: *section` or `<<: [*a, *b]` brings in."""
        self.count()
        if id(node) in self.open:
            self.wrong("an alias stands inside its own anchor. Write the value out.", node, path)
        elif node.tag == "seq":
            for part in node.value:
                yield from self.merge(part, path)
        elif node.tag == "map":
            self.open.add(id(node))
            for key, child in node.value:
                self.count()
                if key.tag == "text" and key.value == "<<":
                    yield from self.merge(child, path)
                else:
                    yield key, child
            self.open.discard(id(node))
        else:
            self.wrong("<< takes a section, or a list of sections. Give it an alias such as *name.", node, path)

    def scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        text = node.value
        if node.tag == "null":
            return None
        if node.tag == "bool":
            return text.lower() == "true"
        if node.tag == "int":
            return self.whole(node, path)
        if node.tag == "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan").replace("_", ""))
        return text

    def whole(self, node: yaml.Node, path: KeyPath) -> int | None:
        if len(node.value) > 100:  # Python itself refuses above 4300 digits
            self.wrong("a number of more than 100 digits. Write it as a float (1e100).", node, path)
            return None
        return int(node.value, 0) if node.value[:2] in ("0o", "0x") else int(node.value.replace("_", ""))

    def count(self) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise _TooMuch

    def wrong(self, message: str, node: yaml.Node, path: KeyPath) -> None:
        self.document.problems.append((Problem(message, path), _spot(node.start_mark)))


class _TooMuch(Exception):
    """More nodes than `MOST_NODES`."""
