"""`hptune init`: a commented YAML file to begin with, fitted to a table where one is given: it searches at once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hptune.base.errors import Problem, SpecError
from hptune.experiment.data import part_sizes

if TYPE_CHECKING:
    from hptune.training.data.table.survey import Survey

RARE = 3
"""How many times as rare as another a class must be for `init` to suggest `class_weight`."""

_PLAIN = re.compile(r"[^\W\d](?:[\w ./-]*[\w./-])?")
"""What YAML reads as text without quotes, wherever it stands, unless it is one of `_WORDS`."""

_WORDS = ("true", "false", "null")


def write_starter(output: Path, data: Path | None, target: str | None) -> None:
    """Write the starter to `output`. Raises SpecError where it is there already, or the table can't be used."""
    if output.exists():
        raise SpecError(Problem("is there already. Name another file with --output.", place=str(output)))
    name = "".join(c if c.isalnum() and c.isascii() else "-" for c in output.stem).strip("-")[:64] or "experiment"
    text = starter(name) if data is None else fitted(name, data, target, folder=output.parent)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(Problem(f"can't be written: {error.strerror}.", place=str(output))) from error


def starter(name: str) -> str:
    """The YAML text for a data set that is there everywhere."""
    section = ["  source: digits          # or csv: FILE with target: COLUMN, or npz: FILE"]
    return _text(name, section, first="Flatten", outputs=10, classes=True, batches=[32, 64])


def fitted(name: str, data: Path, target: str | None, *, folder: Path) -> str:
    """The YAML text for a table. folder: where the YAML will stand, which the path in it starts from."""
    from hptune.training.data.table.survey import data_options, survey

    table = survey(data, target)
    options = {table.key: os.path.relpath(data, folder), **data_options(table)}
    about = {"target": _about_target(table), "missing": "or drop, mean, median, most_frequent; for all or by column"}
    section = [f"  {key}: {_flow(value)}{_comment(about.get(key))}" for key, value in options.items()]
    train = part_sizes(table.rows, validation=0.2, test=0.2)[0]
    batches = next((sizes for sizes in ([32, 64], [8, 16]) if 2 * sizes[-1] <= train), [1, 2])
    classes = None if table.classes is None else len(table.classes)
    lines = [*section, *_remarks(table)]
    return _text(name, lines, first=None, outputs=classes or 1, classes=classes is not None, batches=batches)


def _about_target(table: Survey) -> str:
    if table.classes is None:
        return "numbers to come close to; say task: classes if they name classes"
    shares = [f"{label} {count / table.rows:.0%}" for label, count in table.classes.items()]
    return f"{len(shares)} classes: {', '.join(shares)}" if len(shares) <= 6 else f"{len(shares)} classes"


def _remarks(table: Survey) -> list[str]:
    """What was seen in the table, and the keys that one might want because of it."""
    lines = [f"  # not used: {column.name} {column.unused}" for column in table.inputs if column.unused is not None]
    counts = [*(table.classes or {}).values()]
    if counts and max(counts) >= RARE * min(counts):
        lines.append("  # class_weight: balanced    # every class counts as much as another, however rare it is")
    lines += [
        f"  # class {label!r} has {count} rows and needs 3: add some, or take it out"
        for label, count in (table.classes or {}).items()
        if count < 3
    ]
    dates = [
        column.name for column in table.inputs if column.kind == "date" and not column.gaps and column.unused is None
    ]
    lines += [
        f"  # time: {_flow(name)}    # validate and test on the latest rows, where rows come one after the other"
        for name in dates
    ]
    return [line.replace("\n", " ") for line in lines]


def _comment(text: str | None) -> str:
    return "" if text is None else f"    # {' '.join(text.split())}"


def _flow(value: Any) -> str:
    """As YAML reads it back, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(str(key))}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _quoted(f"${value}" if value.startswith("$") else value)  # a plain dollar sign is written $$


def _quoted(text: str) -> str:
    """A text as YAML reads it back: JSON's quotes are YAML's."""
    plain = _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def _text(
    name: str, data: Sequence[str], *, first: str | None, outputs: int, classes: bool, batches: Sequence[int]
) -> str:
    section = "\n".join(["data:", *data])
    head = f"    - {first}\n" if first is not None else ""
    last = f"{{units: {outputs}, activation: softmax}}" if classes else "{units: 1}"
    goal = "{metric: val_accuracy, goal: maximize}" if classes else "{metric: val_loss, goal: minimize}"
    return f"""\
# An experiment for hptune. Check it with `hptune validate`, see what it will do with `hptune plan`,
# run it with `hptune search`; then `hptune best` and `hptune train-best`.
version: 1
name: {name}
seed: 0                     # everything random derives from it

{section}
  validation: 0.2           # this part scores the trials
  test: 0.2                 # no search sees this part; only train-best measures on it

model:
  layers:                   # any class of keras.layers, with its own argument names
{head}    - repeat: {{times: $depth, layers: [Dense: {{units: $units, activation: relu}}]}}
    - Dropout: {{rate: $dropout}}
    - Dense: {last}

search_space:               # each name stands as $name above or below
  depth:         {{type: int, min: 1, max: 3}}
  units:         {{type: int, min: 32, max: 256, step: 32}}
  dropout:       {{type: float, min: 0.0, max: 0.5}}
  learning_rate: {{type: float, min: 1e-4, max: 1e-1, log: true, default: 1e-3}}
  batch_size:    {{type: choice, values: {[*batches]}}}

training:
  optimizer: {{name: adam, learning_rate: $learning_rate}}
  batch_size: $batch_size
  epochs: 20
  early_stopping: {{monitor: val_loss, patience: 5}}

schedule: {{name: cosine}}

objective: {goal}
strategy: {{name: random}}    # or grid, bayesian, hyperband
budget: {{trials: 20}}        # also time: 10m, epochs: 500, target: a score
"""
