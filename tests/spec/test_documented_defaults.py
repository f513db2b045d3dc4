"""docs/experiment.md tells the strategies, the schedules and the defaults that the program has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hptune.experiment.base import Spec
from hptune.experiment.data import Augment, KerasData, SourceData
from hptune.experiment.execution import Execution
from hptune.experiment.reading.schema import json_schema
from hptune.experiment.sections import STRATEGIES, Checkpoints, Evaluation, Finalists
from hptune.experiment.training import SCHEDULE_OPTIONS, EarlyStopping, Lottery, Training, WarmedUp

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RECIPE = ((DOCS / name).read_text(encoding="utf-8") for name in ("experiment.md", "recipe.md"))

SECTIONS: dict[str, tuple[type[Spec], ...]] = {
    "data": (SourceData, KerasData, Augment),
    "training": (Training, EarlyStopping),
    "initialization": (Lottery, WarmedUp),
    "evaluation": (Evaluation, Finalists),
    "execution": (Execution,),
    "checkpoints": (Checkpoints,),
}
"""Which of the program's sections a heading of the page tells of."""

_LITERAL = r"`?([\w.+-]+)`?"


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def told(text: str) -> Iterator[tuple[str, object]]:
    """(key, default) wherever `key` (default) or | `key` | default | stands and the default is a plain value."""
    for key, value in re.findall(rf"`(\w+)`(?: \$)? \({_LITERAL}[);]", text):
        yield key, plain(value)
    for key, value in re.findall(rf"^\| `(\w+)`(?: \$)? \| {_LITERAL} \|", text, re.MULTILINE):
        yield key, plain(value)


def plain(text: str) -> object:
    """A number as people write it (PyYAML takes 1e-4 for text), or what YAML makes of it."""
    try:
        return float(text)
    except ValueError:
        return yaml.safe_load(text)


def fits(key: str, value: object, classes: tuple[type[Spec], ...]) -> bool:
    """Whether one of the classes that have such a key has this default; what no plain value can tell is passed over."""
    defaults = [one.model_fields[key].default for one in classes if key in one.model_fields]
    known = [default for default in defaults if isinstance(default, bool | int | float | str)]
    return not known or any(default == value or str(default) == str(value) for default in known)


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_section_tells_its_defaults(heading: str) -> None:
    found = list(told(section(heading)))
    assert [pair for pair in found if not fits(*pair, SECTIONS[heading])] == []
    keys = {key for one in SECTIONS[heading] for key in one.model_fields}
    assert any(key in keys for key, _ in found), "none was read"


def row_of(name: str, text: str) -> str:
    """The one row of the tables in `text` that is about `name`."""
    (row,) = (row for row in text.splitlines() if re.match(rf"\| (`\w+`, )*`{name}`(, `\w+`)* \|", row))
    return row


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_tells_its_options_and_their_defaults(name: str) -> None:
    row = row_of(name, section("strategy"))
    assert [key for key in STRATEGIES[name].model_fields if key != "name" and f"`{key}`" not in row] == []
    assert [pair for pair in told(row) if not fits(*pair, (STRATEGIES[name],))] == []


def test_every_schedule_has_its_options() -> None:
    of_schema = json_schema()["$defs"]["Schedule"]["properties"]["name"]["anyOf"][0]["enum"]
    assert set(SCHEDULE_OPTIONS) == set(of_schema)


@pytest.mark.parametrize("name", SCHEDULE_OPTIONS)
def test_a_schedule_tells_its_options_their_defaults_and_its_formula(name: str) -> None:
    row = row_of(name, section("schedule"))
    assert [key for key in SCHEDULE_OPTIONS[name] if f"`{key}`" not in row] == []
    wrong = [(key, value) for key, value in told(row) if SCHEDULE_OPTIONS[name][key] not in (value, None)]
    assert wrong == []
    assert row_of(name, RECIPE)


def test_what_is_wrong_would_be_seen() -> None:
    assert list(told("`candidates` (24) drawn")) == [("candidates", 24.0)]
    assert not fits("candidates", 24, (STRATEGIES["tpe"],))
    assert fits("candidates", 64, (STRATEGIES["tpe"],))
