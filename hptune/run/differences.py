"""Where two pieces of JSON data differ, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hptune.base.errors import KeyPath, plain_text

ABSENT = object()
"""In the place of a value where a key is missing on one side."""


def differences(old: Any, new: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any, Any]]:
    """Where two pieces of JSON data differ, as deep as they can be told apart by a key.

    >>> list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}))
    [(('a', 'c'), 2, 3)]
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, (*path, at))
    elif old != new or type(old) is not type(new):
        yield path, old, new


def spell_json(value: Any) -> str:
    """JSON data on one line, as YAML spells it.

    >>> spell_json({"when": None, "values": [1, True, "a", "1"]})
    '{when: null, values: [1, true, a, "1"]}'
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {spell_json(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(spell_json, value)) + "]"
    return plain_text(value) if isinstance(value, str) else str(value)


def or_absent(value: Any) -> str:
    """A value that `differences` gave, on one line."""
    return "(not there)" if value is ABSENT else spell_json(value)
