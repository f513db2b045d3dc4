"""CONTRIBUTING.md and docs/architecture.md say what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_layers import LAYERS

ROOT = Path(__file__).parents[1]
PAGES = ("CONTRIBUTING.md", "docs/architecture.md")


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:hptune|tests|docs|benchmarks|configs|scripts)/[\w./-]+)`", text))
    named |= set(re.findall(r"\.venv/bin/python -m pytest (\S+)", text))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_targets_are_those_of_make() -> None:
    text, makefile = ((ROOT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "Makefile"))
    asked = set(re.findall(r"make ([a-z-]+)", text))
    assert asked - set(re.findall(r"^([a-z-]+):", makefile, re.M)) == set()


def test_the_layers_are_those_that_hold() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", text, re.M)
    shown = [tuple(re.findall(r"`hptune/(\w+)(?:/|\.py)`", rooms)) for _, rooms in rows]
    assert [number for number, _ in rows] == [str(n) for n in range(1, len(LAYERS) + 1)]
    assert [set(rooms) for rooms in shown] == [set(rooms) for rooms in LAYERS]


def test_the_tables_that_are_named_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for table, module in re.findall(r"`([A-Z_]+)`(?: in `(hptune/[\w/]+\.py)`)?", text):
        places = [ROOT / module] if module else [*(ROOT / "hptune").rglob("*.py")]
        assert any(re.search(rf"^{table}\b", place.read_text(encoding="utf-8"), re.M) for place in places), table
