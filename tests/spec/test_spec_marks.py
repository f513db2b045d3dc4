"""Scalars as people write them, marks, and texts that must not be read."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hptune.experiment.reading import marks
from hptune.experiment.reading.marks import read, read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E-2", 1e-2),
        ("3.2e1", 32.0),
        ("6e1", 60.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5e+3", -1500.0),
        ("1_000", 1000),
        ("1_000.5", 1000.5),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("-3", -3),
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("~", None),
        ("null", None),
        ("2024-01-01", "2024-01-01"),
        ("12:30:00", "12:30:00"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("e5", "e5"),
        ("1e", "1e"),
        ("1__0", "1__0"),
        ("-.inf", -math.inf),
        ("=", "="),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    found = read_value(text)
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_float() -> None:
    assert math.isnan(read_value(".nan"))


TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_is_read_as_json(value: Any) -> None:
    """YAML 1.2 holds JSON."""
    text = json.dumps(value, ensure_ascii=False)
    document = read(text)
    assert not document.problems
    assert document.data == value
    assert json.dumps(document.data, ensure_ascii=False) == text


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_read_or_told(text: str) -> None:
    document = read(text)
    assert all(str(problem) and line >= 1 and column >= 1 for problem, (line, column) in document.problems)


def bomb(open_: str, close: str, first: str, join: str) -> str:
    lines = [f"a: &a {first}"]
    for here, before in zip("bcdefghi", "abcdefgh", strict=True):
        lines.append(f"{here}: &{here} {open_}{join.join([f'*{before}'] * 10)}{close}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (bomb("[", "]", "[x, x]", ","), "Use fewer aliases"),
        (bomb("{<<: [", "]}", "{x: 1}", ","), "Use fewer aliases"),
        ("[" * 50_000, "stand within each other"),
        ("- " * 5_000 + "x", "stand within each other"),
        ("a: " + "9" * 5_000, "100 digits"),
        ("a: &a {b: *a}", "inside its own anchor"),
        ("a: &a {<<: *a}", "inside its own anchor"),
        ("a: \x00", "not valid YAML"),
        ("%YAML 9.9\n---\na: 1", "not valid YAML"),
    ],
)
def test_texts_that_could_do_harm_are_refused(text: str, words: str) -> None:
    document = read(text)
    assert words in str(document.problems[0][0])


def test_both_parsers_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: 1e-4\nb: &x {c: [on, '1', ~]}\nd: {<<: *x, e: .5}\nf:\n  - g: 1\n    h: 2\na: 2\n"
    fast = read(text)
    slow_loader = type("Slow", (yaml.SafeLoader,), {"resolve": marks._YamlLoader.resolve})
    monkeypatch.setattr(marks, "_YamlLoader", slow_loader)
    slow = read(text)
    assert (fast.data, fast.keys, fast.values) == (slow.data, slow.keys, slow.values)
    assert fast.problems == slow.problems


def test_marks_of_keys_and_values() -> None:
    document = read("a:\n  - b: 1\n    c: {d: 2}\n")
    assert document.spot(("a", 0, "c", "d")) == (3, 12)
    assert document.spot(("a", 0, "c", "d"), on_key=True) == (3, 9)
    assert document.spot(("a", 0, "c", "missing")) == (3, 5)
    assert document.spot(("a", 0, "missing")) == (2, 5)
    assert document.spot(("missing",)) == (1, 1)
