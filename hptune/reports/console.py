"""Tables for people: what the pure rows hold, drawn with rich on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hptune.base.errors import printable
from hptune.base.trial import Values
from hptune.reports.confidence import difference_interval
from hptune.reports.leaderboard import Row
from hptune.reports.spelling import interval, number, numbers, shown, shown_all
from hptune.run.differences import spell_json

_WIDE = 10_000
"""The width where no terminal says one: a table is as wide as what it holds, and nothing is cut."""


def stdout() -> Console:
    """A console on stdout; cut to the terminal's width where it is one (or COLUMNS says one)."""
    return Console(width=_width(sys.stdout), highlight=False)


def stderr() -> Console:
    """A console on stderr, as wide as `stdout`'s."""
    return Console(width=_width(sys.stderr), highlight=False, stderr=True)


def _width(stream: TextIO) -> int | None:
    return None if stream.isatty() or "COLUMNS" in os.environ else _WIDE


def duration(seconds: float) -> str:
    """Seconds for people to read: in ms, s, minutes and seconds, or hours and minutes.

    >>> duration(0.0021), duration(3.14), duration(75), duration(7500)
    ('2.1ms', '3.1s', '1m15s', '2h05m')
    """
    if seconds < 0.1:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def cell(text: str) -> str:
    r"""A text that hptune did not write itself, for a table: no markup, and nothing that a terminal would obey.

    >>> cell("[red]\x1b[2J")
    '\\[red]\\x1b[2J'
    """
    return escape(printable(text))


def values_line(values: Values) -> str:
    """Whole floats as such, since another line may have the integer.

    >>> values_line({"units": 64, "rate": 0.123456, "share": 1.0})
    'units=64 rate=0.1235 share=1.0'
    """
    texts = {name: _floating(value) or shown(value) for name, value in values.items()}
    return " ".join(f"{printable(name)}={text}" for name, text in texts.items())


def _floating(value: object) -> str | None:
    return repr(value) if isinstance(value, float) and value.is_integer() and abs(value) < _HUGE else None


_HUGE = 1e6


def trials_table(rows: Sequence[Row], metric: str, *, best_first: bool = False) -> Table:
    """The trials, a line each, a column for each hyperparameter that occurs. best_first: the first is the winner."""
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    finals = ["finalists' mean (95 %)"] if any(has_finals(row) for row in rows) else []
    table = _table()
    objectives = next((list(row["objectives"]) for row in rows if row.get("objectives")), None)
    of = means_of(rows)
    for heading in ("trial", *(f"{name}{of}" for name in objectives or [metric]), *finals):
        table.add_column(cell(heading), justify="right")
    for name in names:
        table.add_column(cell(name), justify="right", style="cyan")
    for heading in ("epochs", "time"):
        table.add_column(heading, justify="right")
    table.add_column("state")
    scores, means = score_columns(rows), finalist_column(rows)
    values = [value_column(rows, name) for name in names]
    for at, row in enumerate(rows):
        state = row["state"] if row["state"] != "failed" else f"failed: {row['error']}"
        table.add_row(
            str(row["trial"]),
            *(column[at] for column in scores),
            *(means[at] + (" winner" if best_first and not at and means[at] else "") for _ in finals),
            *(cell(column[at]) for column in values),
            str(row["epochs"]),
            duration(row["seconds"]) + (f" + {duration(lost)} lost" if (lost := row.get("lost_seconds")) else ""),
            cell(state),
        )
    return table


def score_columns(rows: Sequence[Row]) -> list[list[str]]:
    """The scores of a table's rows, with their spreads; a column for each objective where there are several."""
    names = next((list(row["objectives"]) for row in rows if row.get("objectives")), None)
    if names is not None:
        return [numbers((row.get("objectives") or {}).get(name) for row in rows) for name in names]
    return [_with_spreads([row["score"] for row in rows], [row.get("spread") for row in rows])]


def has_finals(row: Row) -> bool:
    """Whether it was trained again as a finalist; one that failed in a repeat has no mean."""
    return "finalist" in row or "finalist_failed" in row


def finalist_column(rows: Sequence[Row]) -> list[str]:
    """The means over finalists' repeats, with half the width of their intervals; empty for other trials."""
    finals = [row.get("finalist") for row in rows]
    means = [None if final is None else final["mean"] for final in finals]
    halves = [None if final is None else (final["interval"][1] - final["interval"][0]) / 2 for final in finals]
    texts = zip(rows, halves, _with_spreads(means, halves), strict=True)
    return [_failed(row.get("finalist_failed", 0)) if half is None else text for row, half, text in texts]


def _failed(repeats: int) -> str:
    return f"{repeats} failed" if repeats else ""


def value_column(rows: Sequence[Row], name: str) -> list[str]:
    """One hyperparameter's values; nothing where it was not active."""
    values = [row["values"][name] for row in rows if name in row["values"]]
    texts = iter(shown_all(values))
    return [next(texts) if name in row["values"] else "" for row in rows]


def _with_spreads(values: Sequence[float | None], spreads: Sequence[float | None]) -> list[str]:
    pairs = zip(numbers(values), spreads, strict=True)
    return [text if spread is None else f"{text} ± {number(spread, 2)}" for text, spread in pairs]


def mean_of(trainings: int) -> str:
    """That a figure is the mean of so many trainings; nothing for one.

    >>> mean_of(5), mean_of(1)
    (' (mean of 5)', '')
    """
    return f" (mean of {trainings})" if trainings > 1 else ""


def means_of(rows: Sequence[Row]) -> str:
    """The same for several objectives of all the trials in a table."""
    return mean_of(max((row.get("means_of", 1) for row in rows), default=1))


def finalist_lines(rows: Sequence[Row]) -> list[str]:
    """Whether the first of two finalists is ahead of the second by more than their noise; nothing where there are none.

    rows: the best trials, the best first.
    """
    pair = [row for row in rows[:2] if "finalist" in row]
    if len(pair) < 2:
        return []
    first, second = (row["finalist"] for row in pair)
    higher, lower = (first, second) if first["mean"] >= second["mean"] else (second, first)
    low, high = difference_interval(higher["scores"], lower["scores"])
    gap = number(higher["mean"] - lower["mean"], 3)
    apart = f"trial {pair[0]['trial']} is ahead of trial {pair[1]['trial']} by {gap}"
    ends = f"95 % interval of the difference {interval(low, high)}"
    verdict = "within the noise" if low <= 0 <= high else "more than the noise"
    verdict += " of other seeds, on the same folds" if "folds" in first else ""  # other samples would move it too
    return [f"{apart}, which is {verdict} ({ends})"]


def runs_table(runs: Sequence[dict[str, Any]]) -> RenderableType:
    """The runs, the newest first; below them why one can't be read, which no column is wide enough for."""
    table, unread = _table(), []
    for heading in ("run", "trials", "failed", "objective", "best", "epochs", "time", "size", "last written"):
        table.add_column(heading, justify="left" if heading in ("run", "objective") else "right")
    for run, best in zip(runs, numbers(run.get("best") for run in runs), strict=True):
        if run.get("error") is not None:
            table.add_row(cell(run["run"]), "", "", "can't be read")
            unread.append(Text(f"{printable(run['run'])}: {printable(run['error'])}", overflow="fold"))
            continue
        best += mean_of(run.get("best_mean_of", 1))
        cells = (run["trials"], run["failed"], cell(run["objective"]), best, run["epochs"])
        size_mb = number(run["bytes"] / 1e6, 3) + " MB" if "bytes" in run else ""
        table.add_row(cell(run["run"]), *map(str, cells), duration(run["seconds"]), size_mb, run["last_written"])
    return Group(table, *unread)


def winner_table(result: Mapping[str, Any]) -> RenderableType:
    """The winner and the baseline side by side. result: as train-best writes it into `best/result.json`."""
    pair = (dict(result), result["baseline"])
    table = _table()
    for heading in ("", "winner", "baseline"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in _names(side["values"] for side in pair):
        table.add_row(cell(name), *map(cell, value_column(pair, name)))
    table.add_section()
    for name in _names(side["test"] for side in pair):
        table.add_row(f"test {name}", *numbers((side["test"].get(name) for side in pair), 5))
    training = [side["training"] for side in pair]
    if any(trained["score"] is not None for trained in training):  # else nothing was held back to score them on
        table.add_row(result["metric"], *numbers((trained["score"] for trained in training), 5))
    table.add_section()
    table.add_row("epochs", *(str(trained["epochs"]) for trained in training))
    if any("ramp" in side for side in pair):
        table.add_row("rate dropped at epoch", *(str(s["ramp"]["epoch"]) if "ramp" in s else "–" for s in pair))
    table.add_row("time", *(duration(trained["seconds"]) for trained in training))
    table.add_row(
        "parameters", *(f"{n:,}" if (n := trained["parameters"]) is not None else "–" for trained in training)
    )
    return titled(f"trial {result['trial']}, trained in full", table)


def winner_lines(result: Mapping[str, Any]) -> list[str]:
    """Expected against achieved, and where the model is."""
    final, achieved = result.get("finalist"), result["training"]["score"]
    mean = None if final is None else final["mean"]
    expected, again, reached = numbers([result["search_score"], mean, achieved], 6)
    trainings = len(result.get("search_scores", ())) or result.get("search_means_of", 1)
    of = f", mean of {trainings}" if trainings > 1 else ""
    lines = [f"expected (search{of}) {result['metric']} {expected}"]
    if final is not None:
        lines[0] += f", as a finalist {again}{mean_of(len(final['scores']) * final.get('folds', 1))}"
    if achieved is not None:
        lines[0] += f", achieved {reached}"
    for who, side in (("", result), ("the baseline's ", result["baseline"])):
        if (ramp := side.get("ramp")) is not None:
            stopped = f"the validation loss had stopped falling at epoch {ramp['stopped_at']}"
            lines.append(f"{who}ramp with epoch: auto drops the rate at epoch {ramp['epoch']}: {stopped}")
    if "error" in result["baseline"]:
        lines.append(f"the baseline could not be trained: {result['baseline']['error']}")
    if result["model"] is not None:
        lines.append(f"model: {result['model']}")
    notes = (("note", result), ("note on the baseline", result["baseline"]))
    lines += [f"{heading}: {side['note']}" for heading, side in notes if "note" in side]
    return lines


def _names(sides: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for side in sides for name in side))


def titled(title: str, table: Table) -> RenderableType:
    """A table under its title, which may be wider than the table."""
    return Group(Text(title, style="bold"), table)


def _table() -> Table:
    return Table(header_style="bold", box=None, pad_edge=False)


def comparison_tables(compared: Mapping[str, Any]) -> list[RenderableType]:
    """Two runs' summaries, and the settings in which they differ."""
    differing = _table()
    differing.add_column("setting")
    for run in compared["runs"]:
        differing.add_column(cell(run["run"]))
    for path, pair in compared["differences"].items():
        differing.add_row(cell(path), *(cell(spell_json(value)) for value in pair))
    values = _table()
    values.add_column("")
    trials = [run["best_trial"] or {"values": {}} for run in compared["runs"]]
    for run in compared["runs"]:
        values.add_column(cell(run["run"]), justify="right")
    for name in _names(trial["values"] for trial in trials):
        values.add_row(cell(name), *map(cell, value_column(trials, name)))
    return [
        runs_table(compared["runs"]),
        titled("the values of their best trials", values),
        titled("where their experiments differ", differing),
    ]
