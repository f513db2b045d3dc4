"""The table of a walk: one row an area, in Markdown, and its place in the documentation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .compare import Result

BEGIN, END = "<!-- equal:begin -->", "<!-- equal:end -->"
HEAD = (
    "| area | compared | largest difference | goes the plain way, is refused, fails or differs |\n|---|---|---|---|\n"
)


def rows(results: Sequence[Result]) -> list[tuple[str, int, float, str]]:
    """(area, trials compared, the largest difference among the equal ones, what else there is)."""
    areas = list(dict.fromkeys(result.area for result in results))
    return [_row(area, [result for result in results if result.area == area]) for area in areas]


def _row(area: str, results: Sequence[Result]) -> tuple[str, int, float, str]:
    equal = [result for result in results if result.status == "equal"]
    others = Counter(result.status for result in results if result.status != "equal")
    told = [f"{count} {status}" for status, count in others.most_common()]
    ways = Counter(result.plain_way for result in equal if result.plain_way)
    told += [f"{count} the plain way: {why}" for why, count in ways.most_common()]
    return area, len(equal) + others["differs"], max((r.difference for r in equal), default=0.0), "; ".join(told)


def markdown(results: Sequence[Result]) -> str:
    """The table.

    >>> print(markdown([Result("losses", "Huber", "delta", "1.0", "first", "equal", 2e-7)]).splitlines()[-1])
    | losses | 1 | 2e-07 |  |
    """
    lines = [f"| {area} | {count} | {gap:.1g} | {told} |" for area, count, gap, told in rows(results)]
    return HEAD + "\n".join(lines) + "\n"


def findings(results: Sequence[Result]) -> list[str]:
    """A line for each trial that is not equal and not refused by both, the worst first."""
    bad = [r for r in results if r.status not in ("equal", "refused by both")]
    order = ["differs", "trains", "fails", "refused by validate", "no input known", "not comparable"]
    bad.sort(key=lambda r: (order.index(r.status), -r.difference if math.isfinite(r.difference) else -math.inf))
    return [f"{r.status}: {r.key} = {r.value} ({r.way}) {r.difference:.2g} {r.where} {r.message}".strip() for r in bad]


def write(file: Path, results: Sequence[Result]) -> None:
    """Put the table between the markers of a Markdown file. Raises ValueError where they are not there."""
    text = file.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{file} has no {BEGIN} and {END}. Add them where the table belongs.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    file.write_text(f"{before}{BEGIN}\n{markdown(results)}{END}{after}", encoding="utf-8")
