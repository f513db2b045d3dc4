"""`hptune init`: a commented YAML file to begin with, fitted to a table where one is given."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hptune.errors import Problem, SpecError, spec_error, unknown

MOST_ROWS = 1000
"""So many rows are looked at to tell what the target is."""

MOST_CLASSES = 20
"""Whole numbers with at most so many distinct values are taken for classes."""


@dataclass(frozen=True, slots=True)
class Table:
    """What the first rows of a CSV file tell about its target.

    classes: how many there are; None for a regression. gaps: whether a value is missing somewhere.
    """

    columns: tuple[str, ...]
    target: str
    classes: int | None
    gaps: bool


def look_at(path: Path, target: str | None) -> Table:
    """Read the first rows of a CSV file. Raises SpecError where it can't be read, or has no such column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(file.read(4_000_000)))
    except OSError as error:
        raise spec_error(f"--data: {path} can't be read: {error.strerror}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise spec_error(f"--data: {path} is not UTF-8. Save it as UTF-8.") from error
    if len(rows) < 2:
        raise spec_error(f"--data: {path} must hold a header line and at least one row.")
    columns = [name.strip() for name in rows[0]]
    if target is None:
        raise spec_error(f"--target is required with --data. Its columns: {', '.join(columns)}.")
    if target not in columns:
        raise spec_error(f"--target: {unknown('column', target, columns)}")
    at = columns.index(target)
    body = [row for row in rows[1 : MOST_ROWS + 1] if len(row) == len(columns)]
    values = [row[at].strip() for row in body if row[at].strip()]
    gaps = any(not cell.strip() for row in body for cell in row)
    return Table(tuple(columns), target, _classes(values), gaps)


def _rows(text: str) -> Iterator[list[str]]:
    lines = text.splitlines(keepends=True)
    if not lines:
        return
    separator = max(",;\t|", key=lines[0].count)
    yield from csv.reader(lines, delimiter=separator)


def _classes(values: Sequence[str]) -> int | None:
    """How many classes the target has: text or few whole numbers; None where it is a measure."""
    distinct = set(values)
    try:
        numbers = {float(value) for value in distinct}
    except ValueError:
        return len(distinct)
    whole = all(number == int(number) for number in numbers if number == number and abs(number) < 1e15)
    return len(numbers) if whole and len(numbers) <= MOST_CLASSES else None


def starter(name: str, table: Table | None = None, *, data: str = "") -> str:
    """The YAML text. data: the path of the table, relative to where the YAML will stand."""
    if table is None:
        section = "data:\n  source: digits          # or csv: FILE with target: COLUMN, or npz: FILE"
        return _text(name, section, first="Flatten", outputs=10, classes=True)
    lines = [f"data:\n  csv: {_quoted(data)}\n  target: {_quoted(table.target)}"]
    if table.gaps:
        lines.append("  missing: median         # or drop, mean, most_frequent")
    if table.classes is None:
        lines.append("  # a measure; say task: classes if it names classes")
    return _text(name, "\n".join(lines), first=None, outputs=table.classes or 1, classes=table.classes is not None)


def _quoted(text: str) -> str:
    """As YAML reads it back: JSON's quotes are YAML's."""
    plain = text.replace("_", "a").replace("-", "a").replace(".", "a").replace("/", "a").isalnum()
    return text if plain and text[0].isalpha() and text.lower() not in ("true", "false", "null") else json.dumps(text)


def _text(name: str, data: str, *, first: str | None, outputs: int, classes: bool) -> str:
    head = f"    - {first}\n" if first is not None else ""
    last = f"{{units: {outputs}, activation: softmax}}" if classes else "{units: 1}"
    goal = "{metric: val_accuracy, goal: maximize}" if classes else "{metric: val_loss, goal: minimize}"
    return f"""\
# An experiment for hptune. Check it with `hptune validate`, see what it will do with `hptune plan`,
# run it with `hptune search`; then `hptune best` and `hptune train-best`.
version: 1
name: {name}
seed: 0                     # everything random derives from it

{data}
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
  batch_size:    {{type: choice, values: [32, 64]}}

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


def write_starter(output: Path, data: Path | None, target: str | None) -> None:
    """Write the starter to `output`. Raises SpecError where it is there already, or the table can't be used."""
    if output.exists():
        raise SpecError(Problem("is there already. Name another file with --output.", place=str(output)))
    name = "".join(c if c.isalnum() and c.isascii() else "-" for c in output.stem).strip("-")[:64] or "experiment"
    if data is None:
        text = starter(name)
    else:
        text = starter(name, look_at(data, target), data=os.path.relpath(data, output.parent))
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(Problem(f"can't be written: {error.strerror}.", place=str(output))) from error
