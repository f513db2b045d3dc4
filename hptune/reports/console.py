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

from hptune.errors import printable
from hptune.reports.confidence import difference_interval
from hptune.reports.leaderboard import Row
from hptune.trial import Value, Values

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


def number(value: float | None, digits: int = 4) -> str:
    """
    >>> number(0.123456), number(None), number(3)
    ('0.1235', '–', '3')
    """
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    """
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
    """A text that hptune did not write itself, for a table: no markup, and nothing that a terminal would obey.

    >>> cell("[red]\\x1b[2J")
    '\\\\[red]\\\\x1b[2J'
    """
    return escape(printable(text))


def shown(value: Value) -> str:
    """A hyperparameter's value."""
    return number(value) if isinstance(value, float) else printable(str(value))


def values_line(values: Values) -> str:
    """
    >>> values_line({"units": 64, "rate": 0.123456})
    'units=64 rate=0.1235'
    """
    return " ".join(f"{printable(name)}={shown(value)}" for name, value in values.items())


def trials_table(rows: Sequence[Row], metric: str, *, best_first: bool = False) -> Table:
    """The trials, a line each, a column for each hyperparameter that occurs. best_first: the first is the winner."""
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    finals = ["finalists' mean (95 %)"] if any("finalist" in row for row in rows) else []
    table = _table()
    objectives = next((list(row["objectives"]) for row in rows if row.get("objectives")), None)
    for heading in ("trial", *(objectives or [metric]), *finals):
        table.add_column(cell(heading), justify="right")
    for name in names:
        table.add_column(cell(name), justify="right", style="cyan")
    for heading in ("epochs", "time"):
        table.add_column(heading, justify="right")
    table.add_column("state")
    for row in rows:
        state = row["state"] if row["state"] != "failed" else f"failed: {row['error']}"
        table.add_row(
            str(row["trial"]),
            *(
                [_with_spread(row["score"], row.get("spread"))]
                if objectives is None
                else [number((row["objectives"] or {}).get(name)) for name in objectives]
            ),
            *(_finalist(row, winner=best_first and row is rows[0]) for _ in finals),
            *(cell(shown(row["values"][name])) if name in row["values"] else "" for name in names),
            str(row["epochs"]),
            duration(row["seconds"]) + (f" + {duration(lost)} lost" if (lost := row.get("lost_seconds")) else ""),
            cell(state),
        )
    return table


def _with_spread(value: float | None, spread: float | None) -> str:
    return number(value) if spread is None else f"{number(value)} ± {number(spread, 2)}"


def _finalist(row: Row, *, winner: bool) -> str:
    """The mean over a finalist's repeats, with half the width of its interval."""
    if "finalist" not in row:
        return ""
    low, high = row["finalist"]["interval"]
    return _with_spread(row["finalist"]["mean"], (high - low) / 2) + (" winner" if winner else "")


def mean_of(trainings: int) -> str:
    """That a figure is the mean of so many trainings; nothing for one.

    >>> mean_of(5), mean_of(1)
    (' (mean of 5)', '')
    """
    return f" (mean of {trainings})" if trainings > 1 else ""


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
    interval = f"95 % interval of the difference {number(low, 2)} to {number(high, 2)}"
    verdict = "within the noise" if low <= 0 <= high else "more than the noise"
    return [f"{apart}, which is {verdict} ({interval})"]


def runs_table(runs: Iterable[dict[str, Any]]) -> RenderableType:
    """The runs, the newest first; below them why one can't be read, which no column is wide enough for."""
    table, unread = _table(), []
    for heading in ("run", "trials", "failed", "objective", "best", "epochs", "time", "size", "last written"):
        table.add_column(heading, justify="left" if heading in ("run", "objective") else "right")
    for run in runs:
        if run.get("error") is not None:
            table.add_row(cell(run["run"]), "", "", "can't be read")
            unread.append(Text(f"{printable(run['run'])}: {printable(run['error'])}", overflow="fold"))
            continue
        best = number(run["best"]) + mean_of(run.get("best_mean_of", 1))
        cells = (run["trials"], run["failed"], cell(run["objective"]), best, run["epochs"])
        size_mb = number(run["bytes"] / 1e6, 3) + " MB" if "bytes" in run else ""
        table.add_row(cell(run["run"]), *map(str, cells), duration(run["seconds"]), size_mb, run["last_written"])
    return Group(table, *unread)


def winner_table(result: Mapping[str, Any]) -> RenderableType:
    """The winner and the baseline side by side. result: as train-best writes it into `best/result.json`."""
    pair = (result, result["baseline"])
    table = _table()
    for heading in ("", "winner", "baseline"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in _names(side["values"] for side in pair):
        table.add_row(cell(name), *(cell(shown(s["values"][name])) if name in s["values"] else "" for s in pair))
    table.add_section()
    for name in _names(side["test"] for side in pair):
        table.add_row(f"test {name}", *(number(side["test"].get(name), 5) for side in pair))
    training = [side["training"] for side in pair]
    if any(one["score"] is not None for one in training):  # else nothing was held back to score them on
        table.add_row(result["metric"], *(number(one["score"], 5) for one in training))
    table.add_section()
    table.add_row("epochs", *(str(one["epochs"]) for one in training))
    if any("ramp" in side for side in pair):
        table.add_row("rate dropped at epoch", *(str(s["ramp"]["epoch"]) if "ramp" in s else "–" for s in pair))
    table.add_row("time", *(duration(one["seconds"]) for one in training))
    table.add_row("parameters", *(f"{n:,}" if (n := one["parameters"]) is not None else "–" for one in training))
    return titled(f"trial {result['trial']}, trained in full", table)


def winner_lines(result: Mapping[str, Any]) -> list[str]:
    """Expected against achieved, and where the model is."""
    expected, achieved = result["search_score"], result["training"]["score"]
    trainings = len(result.get("search_scores", ()))
    of = f", mean of {trainings}" if trainings > 1 else ""
    lines = [f"expected (search{of}) {result['metric']} {number(expected, 6)}"]
    if (final := result.get("finalist")) is not None:
        lines[0] += f", as a finalist {number(final['mean'], 6)}{mean_of(len(final['scores']))}"
    if achieved is not None:
        lines[0] += f", achieved {number(achieved, 6)}"
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


def comparison_tables(told: Mapping[str, Any]) -> list[RenderableType]:
    """Two runs' summaries, and the settings in which they differ."""
    differing = _table()
    differing.add_column("setting")
    for run in told["runs"]:
        differing.add_column(cell(run["run"]))
    for path, pair in told["differences"].items():
        differing.add_row(cell(path), *(cell(str(value)) for value in pair))
    values = _table()
    values.add_column("")
    trials = [run["best_trial"] or {"values": {}} for run in told["runs"]]
    for run in told["runs"]:
        values.add_column(cell(run["run"]), justify="right")
    for name in _names(trial["values"] for trial in trials):
        values.add_row(cell(name), *(cell(shown(t["values"][name])) if name in t["values"] else "" for t in trials))
    return [
        runs_table(told["runs"]),
        titled("the values of their best trials", values),
        titled("where their experiments differ", differing),
    ]
