"""Ways in which a valid file goes wrong: its data (keys, types, numbers, references) and its bytes."""

from __future__ import annotations

import contextlib
import copy
import json
from random import Random
from typing import Any

import yaml

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


def mutated(tree: Any, random: Random, most: int = 3) -> Any:
    """A copy of JSON data with one to `most` things wrong in it."""
    changed = json.loads(json.dumps(tree))
    for _ in range(random.randint(1, most)):
        before = json.dumps(changed)
        changed = _once(changed, random)
        if len(json.dumps(changed)) > MOST_BYTES:  # a thing made fifty times larger fifty times
            return json.loads(before)
    return changed


def _once(tree: Any, random: Random) -> Any:
    places = list(_places(tree))
    value = copy.deepcopy(random.choice(SCALARS))  # the lists among them are changed in their turn
    if not places:
        return value
    inside, key = random.choice(places)
    kind = random.randrange(8)
    if kind == 0:
        del inside[key]
    elif kind == 1 and isinstance(inside, dict):
        inside[random.choice([f"{key}s", key.upper(), "name", "", "$x", key[:-1], "\x1b[2J", "type"])] = inside.pop(key)
    elif kind == 2:
        other, at = random.choice(places)
        inside[key] = json.loads(json.dumps(other.get(at) if isinstance(other, dict) else other[at : at + 1]))
    elif kind == 3:
        for _ in range(random.choice([1, 1, 3, 120])):
            inside[key] = [inside[key]] if random.random() < 0.5 else {"a": inside[key]}
    elif kind == 4 and isinstance(inside[key], int | float) and not isinstance(inside[key], bool):
        old = inside[key]
        third = old / 3 if abs(old) < 1e300 else 0.5
        inside[key] = random.choice([-old, old * 10**6, old + 1, str(old), third])
    elif kind == 5 and isinstance(inside[key], list):
        inside[key] = inside[key] * random.choice([2, 50])
    else:
        inside[key] = value
    return tree


def _places(tree: Any) -> Any:
    """Every (container, key) in it."""
    waiting = [tree]
    while waiting:
        inside = waiting.pop()
        items = inside.items() if isinstance(inside, dict) else enumerate(inside) if isinstance(inside, list) else ()
        for key, value in items:
            yield inside, key
            waiting.append(value)


def garbled(text: bytes, random: Random, most: int = 4) -> bytes:
    """A copy of a file's bytes with one to `most` pieces of it changed, lost, doubled or put in."""
    for _ in range(random.randint(1, most)):
        at = random.randrange(len(text) + 1)
        end = min(len(text), at + random.choice([1, 1, 3, 20, 300]))
        kind = random.randrange(6)
        if kind == 0:
            text = text[:at] + text[end:]
        elif kind == 1:
            text = text[:at] + text[at:end] * 2 + text[end:]
        elif kind == 2:
            text = text[:at] + bytes(random.randrange(256) for _ in range(end - at)) + text[end:]
        elif kind == 3:
            text = text[:at]
        else:
            text = text[:at] + random.choice(TOKENS) + text[at:]
    return text


def bomb(random: Random) -> str:
    """A few lines of YAML that unfold into very much, or nest very deep."""
    depth, width = random.choice([(9, 9), (30, 2), (60, 2)]), random.choice("[{")
    lines = ["a0: &a0 [lol, lol]" if width == "[" else "a0: &a0 {x: lol}"]
    for n in range(1, depth[0]):
        uses = [f"*a{n - 1}"] * depth[1]
        inner = ", ".join(uses) if width == "[" else ", ".join(f"k{i}: {use}" for i, use in enumerate(uses))
        lines.append(f"a{n}: &a{n} " + (f"[{inner}]" if width == "[" else f"{{{inner}}}"))
    if random.random() < 0.3:
        lines.append("m: {<<: [" + ", ".join(f"*a{n}" for n in range(depth[0])) + "]}")
    return "\n".join(lines) + "\n"


def as_yaml(tree: Any, random: Random) -> bytes:
    """JSON data as YAML text: in one line, or as people write it where it can be written so."""
    if random.random() < 0.5:
        with contextlib.suppress(UnicodeEncodeError, RecursionError):  # half a character, a great depth: JSON can
            text: str = yaml.dump(tree, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False)
            return text.encode()
    return json.dumps(tree).encode()
