"""A table of JSON Lines: an object a line, whose keys name the columns; every problem is told with its line.

UTF-8 (a byte-order mark and blank lines are passed over). Cells are read as those of a CSV file: numbers with all the
digits that they are written with, `true` and `false`, texts without the spaces around them. Missing are null, a key
that a line leaves out, and the words in `cells.MISSING`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hptune.base.errors import Problem, SpecError, spec_error
from hptune.training.data.raw import text_file
from hptune.training.data.sources.csv_table import CsvSheet

_WORDS = {None: "", True: "true", False: "false"}


def json_sheets(file: str, path: Path, names: Sequence[str] | None, *, rows: int | None = None) -> Iterator[CsvSheet]:
    """The columns `names` of a file of JSON Lines (None: all), as far as it has them; `sheets` of `JsonLinesData`."""
    with text_file(file, path, key="jsonl"):
        header = list(dict.fromkeys(name for _, row in _rows(file, path) for name in row))
        if not header:
            raise spec_error(f"{file} has no rows. It needs an object a line.", "data", "jsonl")
        wanted = [(i, name) for i, name in enumerate(header) if names is None or name in names]
        body = _rows(file, path)
        while piece := list(islice(body, rows)):
            columns = {i: [_cell(file, line, name, row.get(name)) for line, row in piece] for i, name in wanted}
            yield CsvSheet(file, header, columns, [line for line, _ in piece], key="jsonl", is_sparse=True)


def _rows(file: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, its object) of every line that is not blank; numbers are the texts that stand there."""
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            try:
                found = json.loads(text, parse_float=str, parse_int=str, object_pairs_hook=_object)
            except (ValueError, RecursionError) as error:
                wrong = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                message = f'is no JSON object ({wrong}). Each line needs one, such as {{"age": 3}}.'
                raise SpecError(Problem(message, place=f"{file}:{line}")) from error
            if not isinstance(found, dict):
                message = f'holds {type(found).__name__}, not an object. Each line needs one, such as {{"age": 3}}.'
                raise SpecError(Problem(message, place=f"{file}:{line}"))
            yield line, found


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it names {name!r} more than once")
        found[name] = value
    return found


def _cell(file: str, line: int, name: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, str) and not _is_whole(value):
        message = f"column {name!r} holds half of a surrogate pair, which is no text: {value!r}. Correct it."
        raise SpecError(Problem(message, place=f"{file}:{line}"))
    if isinstance(value, str | float):  # a float: NaN and Infinity, which Python writes
        return str(value)
    held = "a list" if isinstance(value, list) else "an object"
    message = f"column {name!r} holds {held}, and only numbers, booleans, texts and null can be used"
    raise SpecError(Problem(f"{message}. Leave it out of data.features, or flatten it.", place=f"{file}:{line}"))


def _is_whole(text: str) -> bool:
    """Whether each character is one that a file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
