"""The README against the program: its files and YAML are right, its commands are run, and print what it shows.

In a ```console block, `$ hptune …` is run and what follows is what it prints, where `…` stands for any lines or for the
rest of one. Durations count as equal, numbers with a point as equal when they are close: the last bits of a training
depend on the processor.
"""

from __future__ import annotations

import contextlib
import io
import math
import random
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hptune import __main__ as main
from hptune.experiment.reading.schema import json_schema

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

BASE: dict[str, Any] = {
    "version": 1,
    "data": {"source": "digits"},
    "model": {"layers": ["Flatten", {"Dense": {"units": 10, "activation": "softmax"}}]},
    "search_space": {"learning_rate": {"type": "float", "min": 1e-4, "max": 1e-1}},
    "training": {"optimizer": {"learning_rate": "$learning_rate"}},
}
"""What a block that shows some sections alone is put into."""

TIME = re.compile(r"\b\d+(\.\d+)?m?s\b|\b\d+m\d\ds\b|\b\d+h\d\dm\b")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(README) if found == kind]


def files() -> Iterator[tuple[str, str]]:
    """(name, text) of every block that begins with its file's name."""
    for text in [*blocks("python"), *blocks("yaml")]:
        named = re.match(r"# ([\w.-]+\.(?:py|yaml))\n", text)
        if named:
            yield named[1], text


def commands() -> list[tuple[str, list[str]]]:
    """(command, what the README shows of its output), in order."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's files, the configs, and a table of flats."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "configs", folder / "configs")
    for name, text in files():
        (folder / name).write_text(text)
    draw = random.Random(0)
    rents = {"north": 0, "south": 80, "harbour": 250}
    rows = [(draw.randint(20, 140), draw.choice(list(rents)), draw.randint(-60, 60)) for _ in range(120)]
    lines = [f"{area},{max(1, area // 30)},{where},{9 * area + rents[where] + noise}" for area, where, noise in rows]
    (folder / "flats.csv").write_text("\n".join(["area,rooms,district,rent", *lines]) + "\n")
    return folder


def run(command: str, folder: Path) -> tuple[int, str]:
    """The exit code, and what a terminal would show. Searches train in this process, which changes no result."""
    words = shlex.split(command, comments=True)[1:]
    if words[0] == "search":
        words += ["--set", "execution.executor=inline"]
    shown = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        return main.run(words), shown.getvalue()


def alike(shown: str, printed: str) -> bool:
    shown, printed = (" ".join(TIME.sub("TIME", line).split()) for line in (shown, printed))
    if shown.endswith(" …"):
        shown = shown.removesuffix(" …")
        printed = printed[: len(shown)]
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    return all(close(a, b) for a, b in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True))


def close(a: str, b: str) -> bool:
    return a == b or ("." in a + b and math.isclose(float(a), float(b), rel_tol=0.05, abs_tol=0.03))


def matches(shown: list[str], printed: list[str]) -> bool:
    if not shown:
        return not printed
    if shown[0] == "…":
        return any(matches(shown[1:], printed[i:]) for i in range(len(printed) + 1))
    return bool(printed) and alike(shown[0], printed[0]) and matches(shown[1:], printed[1:])


def test_every_command_prints_what_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPTUNE_RUNS_DIR", raising=False)
    for command, shown in commands():
        monkeypatch.delenv("COLUMNS", raising=False)  # tables as wide as what they hold …
        if "--help" in command:
            monkeypatch.setenv("COLUMNS", "120")  # … and help as on a wide terminal
        code, printed = run(command, folder)
        wanted = re.search(r"# exit code (\d+)", command)
        assert code == (int(wanted[1]) if wanted else 0), printed
        assert matches(shown, printed.rstrip("\n").splitlines()), f"$ {command}\n{printed}"


@pytest.mark.parametrize(
    "text", [text for text in blocks("yaml") if "# wrong" not in text], ids=lambda text: text.splitlines()[0]
)
def test_every_yaml_block_is_valid(text: str, folder: Path) -> None:
    if "version:" not in text:
        text = yaml.safe_dump({**BASE, **yaml.safe_load(text)})
    (folder / "block.yaml").write_text(text)
    code, printed = run("hptune validate block.yaml", folder)
    assert code == 0, printed


def test_whatever_model_is_shown_builds(folder: Path) -> None:
    code, printed = run("hptune plan hypermodel.yaml --probe", folder)
    assert code == 0, printed


def test_make_has_the_targets_that_are_shown() -> None:
    lines = "".join(blocks("sh")).splitlines()
    targets = [line.split()[1] for line in lines if line.startswith("make ")]
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["search", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("0  0.9889  1.1s", "0 0.9881 250.3ms", True),
        ("0  0.9889  1.1s", "1 0.9889 1.1s", False),
        ("0  0.9889", "0 0.8", False),
        ("adam 0.5", "sgd 0.5", False),
        ("37,962", "37,963", False),
    ],
)
def test_what_counts_as_the_same(shown: str, printed: str, same: bool) -> None:
    assert alike(shown, printed) == same
    assert matches(["…", shown], ["more", "x 1", printed]) == same
    assert not matches([shown], [printed, "more"])


# --- docs/ ------------------------------------------------------------------------------------------------------------

OPEN_ENDED = ("Layer", "Optimizer", "Ref")
"""Definitions that take Keras's own names."""


def test_every_key_of_the_schema_is_explained() -> None:
    schema = json_schema()
    sections = {"the experiment": schema, **{n: d for n, d in schema["$defs"].items() if n not in OPEN_ENDED}}
    page = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8")
    mentioned = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", page))))
    for name, section in sections.items():
        missing = set(section.get("properties", {})) - mentioned
        assert not missing, f"docs/experiment.md: {name}"


def test_every_choice_of_the_schema_is_explained() -> None:
    """Every strategy, schedule and other fixed word."""
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    for name, definition in json_schema()["$defs"].items():
        for key, given in definition.get("properties", {}).items():
            if name not in OPEN_ENDED and key not in ("kernel", "loss", "metrics"):
                words = {word for word in [given.get("const"), *given.get("enum", [])] if isinstance(word, str)}
                assert all(word in pages for word in words), f"{name}.{key}: {words}"
