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
from hptune.experiment.keras_table import arguments, layer_arguments, names
from hptune.experiment.reading.schema import json_schema
from hptune.experiment.sections import TRACKERS

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

KERAS_KEYS = {
    "Layer": {*names("layers"), *(key for name in names("layers") for key in layer_arguments(name))},
    "Optimizer": {key for name in names("optimizers") for key in arguments("optimizers", name)},
}
"""The definitions of the schema that have Keras's own names as keys, and which these are."""

KERAS_WORDS = [set(names(kind)) for kind in ("layers", "optimizers", "losses", "metrics", "initializers")]


def members(node: Any, defs: dict[str, Any], *, within: str = "", seen: set[str] | None = None) -> Iterator[str]:
    """Every key and fixed word below a place of the schema, wherever it stands; Keras's own are left out."""
    seen = set() if seen is None else seen
    if isinstance(node, list):
        for each in node:
            yield from members(each, defs, within=within, seen=seen)
    elif isinstance(node, dict):
        keys = node.get("properties", {})
        yield from set(keys) - KERAS_KEYS.get(within, set())
        words = {word for word in node.get("enum", [node.get("const")]) if isinstance(word, str)}
        yield from set() if any(words <= known for known in KERAS_WORDS) else words
        name = node.get("$ref", "").removeprefix("#/$defs/")
        if name and name not in seen:
            seen.add(name)
            yield from members(defs[name], defs, within=name, seen=seen)
        below = [
            schema for keyword, schema in node.items() if keyword not in ("properties", "default", "discriminator")
        ]
        yield from members([*keys.values(), *below], defs, within=within, seen=seen)


def explained(text: str) -> set[str]:
    """What has code marks."""
    return set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", text))))


def test_every_key_and_fixed_word_of_the_schema_is_explained_in_its_section() -> None:
    schema = json_schema()
    head, *sections = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8").split("\n## ")
    assert set(schema["properties"]) <= explained(head)
    by_key = {text.partition("\n")[0]: explained(text) for text in sections}
    asked = {key: set(members(node, schema["$defs"])) for key, node in schema["properties"].items()}
    asked["track"] |= set(TRACKERS)
    missing = {key: wanted - by_key.get(key, set()) for key, wanted in asked.items()}
    assert {key: names for key, names in missing.items() if names} == {}, "docs/experiment.md"
    assert sum(len(wanted) for wanted in asked.values()) > 250, "most of the schema was passed over"


def test_keys_and_words_are_found_wherever_they_stand() -> None:
    defs = {
        "A": {"properties": {"inner": {"items": {"anyOf": [{"enum": ["first", 2]}, {"$ref": "#/$defs/A"}]}}}},
        "Layer": {"properties": {"Dense": {"properties": {"units": {}, "repeats": {}}}}},
    }
    node = {"anyOf": [{"$ref": "#/$defs/A"}, {"additionalProperties": {"oneOf": [{"const": "two"}]}}, {"type": "null"}]}
    assert set(members(node, defs)) == {"inner", "first", "two"}
    assert set(members({"anyOf": [{"enum": ["adam", "sgd", None]}]}, defs)) == set()
    assert set(members({"$ref": "#/$defs/Layer"}, defs)) == {"repeats"}
