"""Ways in which a valid file goes wrong: its data (keys, types, numbers, references) and its bytes.

All are strategies of hypothesis: what fails is made as simple as it can be, and shown.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

SCALARS: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**30), 0.0, -0.0, 1e-320, 1e308, float("nan"), float("inf"),
    "", " ", "$", "$$", "$x", "$units", "$nowhere", "a" * 5000, "../../etc/passwd", "/etc/passwd", "~", "null", "1e-4",
    "\x1b[31mred\x1b[0m", "\u202e", "\x00", "\ud800", "[bold]", "<script>alert(1)</script>", "os:system", "keras:Model",
    "__import__('os')", "{0.__class__}", "%s%n", "adam", "val_loss", [], {}, [[]], [None], {"": None}, {"name": None},
]  # fmt: skip

TOKENS: list[bytes] = [
    b"\t", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b"---\n", b"...", b"&a ", b"*a", b"<<: *a", b"{", b"}",
    b"[", b"!!python/object ", b"!!python/object/apply:os.system ['true']", b"!!binary aGk=", b"]", b":", b": ", b"- ",
    b"'", b'"', b"|\n", b">\n", b"%YAML 9.9\n", b"$", b"#", b"@", b"`", b"? ", b"\xe2\x80\xa8", b"\xc3(", b"1e999",
    b"0x", b"{" * 200, b"[" * 5000, b"&a [" * 60, b'{"event": "head"}\n', b'{"$float": "nan"}', b'{"$float": []}',
]  # fmt: skip

MOST_BYTES = 200_000

scalars: st.SearchStrategy[Any] = st.sampled_from(SCALARS).map(copy.deepcopy)
"""A value that is wrong in most places; the lists among them are damaged in their turn."""


@st.composite
def mutated(draw: st.DrawFn, tree: Any, most: int = 3) -> Any:
    """A copy of JSON data with one to `most` things wrong in it."""
    changed = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, most))):
        before = json.dumps(changed)
        changed = _once(draw, changed)
        if len(json.dumps(changed)) > MOST_BYTES:  # a thing made fifty times larger fifty times
            return json.loads(before)
    return changed


def _once(draw: st.DrawFn, tree: Any) -> Any:
    places = list(_places(tree))
    if not places:
        return draw(scalars)
    inside, key = places[draw(st.integers(0, len(places) - 1))]
    kind = draw(st.sampled_from(["value", "lost", "key", "copied", "nested", "number", "longer", "value"]))
    if kind == "lost":
        del inside[key]
    elif kind == "key" and isinstance(inside, dict):
        others = [f"{key}s", key.upper(), "name", "", "$x", key[:-1], "\x1b[2J", "type"]
        inside[draw(st.sampled_from(others))] = inside.pop(key)
    elif kind == "copied":
        other, at = places[draw(st.integers(0, len(places) - 1))]
        inside[key] = json.loads(json.dumps(other.get(at) if isinstance(other, dict) else other[at : at + 1]))
    elif kind == "nested":
        in_lists = draw(st.lists(st.booleans(), min_size=1, max_size=3)) * draw(st.sampled_from([1, 1, 3, 40]))
        for in_list in in_lists:
            inside[key] = [inside[key]] if in_list else {"a": inside[key]}
    elif kind == "number" and isinstance(inside[key], int | float) and not isinstance(inside[key], bool):
        old = inside[key]
        third = old / 3 if abs(old) < 1e300 else 0.5
        inside[key] = draw(st.sampled_from([-old, old * 10**6, old + 1, str(old), third]))
    elif kind == "longer" and isinstance(inside[key], list):
        inside[key] = inside[key] * draw(st.sampled_from([2, 50]))
    else:
        inside[key] = draw(scalars)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in it."""
    waiting = [tree]
    while waiting:
        inside = waiting.pop()
        items = inside.items() if isinstance(inside, dict) else enumerate(inside) if isinstance(inside, list) else ()
        for key, value in items:
            yield inside, key
            waiting.append(value)


@st.composite
def garbled(draw: st.DrawFn, text: bytes, most: int = 4) -> bytes:
    """A copy of a file's bytes with one to `most` pieces of it changed, lost, doubled or put in."""
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.sampled_from([1, 1, 3, 20, 300])))
        kind = draw(st.sampled_from(["put in", "put in", "lost", "doubled", "changed", "cut off"]))
        if kind == "put in":
            text = text[:at] + draw(st.sampled_from(TOKENS)) + text[at:]
        elif kind == "lost":
            text = text[:at] + text[end:]
        elif kind == "doubled":
            text = text[:at] + text[at:end] * 2 + text[end:]
        elif kind == "changed":
            text = text[:at] + draw(st.binary(min_size=end - at, max_size=end - at)) + text[end:]
        else:
            text = text[:at]
    return text


@st.composite
def bombs(draw: st.DrawFn) -> str:
    """A few lines of YAML that unfold into very much, or nest very deep."""
    depth, uses = draw(st.sampled_from([(9, 9), (30, 2), (60, 2)]))
    lists = draw(st.booleans())
    lines = ["a0: &a0 [lol, lol]" if lists else "a0: &a0 {x: lol}"]
    for n in range(1, depth):
        last = [f"*a{n - 1}"] * uses
        inner = ", ".join(last) if lists else ", ".join(f"k{i}: {use}" for i, use in enumerate(last))
        lines.append(f"a{n}: &a{n} " + (f"[{inner}]" if lists else f"{{{inner}}}"))
    if draw(st.integers(0, 9)) > 6:
        lines.append("m: {<<: [" + ", ".join(f"*a{n}" for n in range(depth)) + "]}")
    return "\n".join(lines) + "\n"


def as_yaml(tree: Any, *, in_one_line: bool) -> bytes:
    """JSON data as YAML text: in one line, or as people write it where it can be written so."""
    if not in_one_line:
        with contextlib.suppress(UnicodeEncodeError, RecursionError):  # half a character, a great depth: JSON can
            text: str = yaml.dump(tree, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False)
            return text.encode()
    return json.dumps(tree).encode()
