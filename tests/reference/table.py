"""The table of the suite: a row for each area and what it was compared with, and its place in the documentation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .differences import Row

BEGIN, END = "<!-- reference:begin -->", "<!-- reference:end -->"
HEAD = "| area | compared with | cases | largest difference |\n|---|---|---|---|\n"


def read(file: Path) -> list[Row]:
    """The rows that the processes of a run have left, joined and in the order of their areas."""
    found: dict[tuple[str, str], Row] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = Row(*json.loads(line))
        key = (row.area, row.against)
        before = found.get(key, row._replace(cases=0, largest=0.0))
        found[key] = row._replace(cases=before.cases + row.cases, largest=max(before.largest, row.largest))
    return [found[key] for key in sorted(found)]


def markdown(rows: Sequence[Row]) -> str:
    """The table.

    >>> print(markdown([Row("folds", "scikit-learn KFold", 40, 0.0)]).splitlines()[-1])
    | folds | scikit-learn KFold | 40 | 0 |
    """
    return HEAD + "".join(f"| {area} | {against} | {cases:,} | {gap:.1g} |\n" for area, against, cases, gap in rows)


def write(file: Path, rows: Sequence[Row]) -> None:
    """Put the table between the markers of a Markdown file. Raises ValueError where they are not there."""
    text = file.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{file} has no {BEGIN} and {END}. Add them where the table belongs.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    file.write_text(f"{before}{BEGIN}\n{markdown(rows)}{END}{after}", encoding="utf-8")
