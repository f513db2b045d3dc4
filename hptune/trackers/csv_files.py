"""`track: {csv: true}`: `trials.csv` and `epochs.csv` in the run's folder, written anew as the search goes.

They are read out of the history, so that a search that is resumed has them as if it had never been interrupted.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hptune.base import files
from hptune.base.trial import Segment, Trial
from hptune.executors.executor import Outcome
from hptune.reports.leaderboard import rows
from hptune.run.curves import length
from hptune.run.record import Record
from hptune.run.rundir import RunPaths
from hptune.search.budget import Limits

EVERY_S = 2.0
"""Seconds between two writes at least; the end of the search writes at once."""


class CsvFiles:
    """A Watch that writes the two tables."""

    def __init__(self, run: RunPaths) -> None:
        self._run = run
        self._record: Record | None = None
        self._written = 0.0

    def begun(self, record: Record, limits: Limits) -> None:  # noqa: ARG002  # the protocol's
        """Write both tables, with the trials that were done before."""
        self._record = record
        self._write()

    def reported(self, trial: Trial) -> None:  # noqa: ARG002
        """Write both tables, unless that was done less than `EVERY_S` seconds ago."""
        if time.monotonic() - self._written >= EVERY_S:
            self._write()

    def tested(self, finalist: Trial) -> None:
        """As `reported`."""
        self.reported(finalist)

    def noted(self, note: str) -> None:
        """Nothing: notes stand in no table."""

    def epoch(self, segment: Segment, epochs: int, metrics: Mapping[str, float]) -> None:
        """Nothing: epochs are written once they are recorded."""

    def winner(self, record: Record) -> None:
        """Keep the record; the tables are written at the end."""
        self._record = record

    def trained(self, outcome: Outcome) -> None:
        """Its epochs stand in `best/history.csv`."""

    def ended(self) -> None:
        """Write both tables a last time."""
        if self._record is not None:
            self._write()

    def _write(self) -> None:
        assert self._record is not None, "`begun` or `winner` is called first"
        files.write_whole(self._run.trials_table, table(*trials_of(self._record)), below=self._run.runs)
        files.write_whole(self._run.epochs_table, table(*epochs_of(self._record)), below=self._run.runs)
        self._written = time.monotonic()


def trials_of(record: Record) -> tuple[list[str], list[dict[str, Any]]]:
    """(columns, a row for each trial): its score (or each objective's), how it went, and its values.

    An objective or a parameter that is named like another column is `NAME (objective)` or `NAME (parameter)`.
    """
    objectives = [objective.metric for objective in record.history.objectives]
    scores = ["score"] if len(objectives) == 1 else objectives
    own = ["trial", "state", "epochs", "seconds", "error"]
    measured = {name: f"{name} (objective)" if name in own else name for name in scores}
    fixed = [*own[:2], *measured.values(), *own[2:]]
    names = list(record.head.space.domains)
    columns = {name: f"{name} (parameter)" if name in fixed else name for name in names}
    lines = []
    for row in rows(record.history):
        figures = row.get("objectives") or {"score": row.get("score")}
        values = {columns[name]: value for name, value in row["values"].items()}
        figures = {column: figures.get(name) for name, column in measured.items()}
        lines.append({**{key: row.get(key) for key in fixed}, **figures, **values})
    return [*fixed, *columns.values()], lines


def epochs_of(record: Record) -> tuple[list[str], list[dict[str, Any]]]:
    """(columns, a row for each epoch of each repeat or fold of each trial): every metric's value."""
    places = ("trial", "replica", "epoch")
    metrics: dict[str, str] = {}  # the column of each
    lines = []
    for trial in record.history.trials:
        for replica, curves in enumerate(trial.curves):
            metrics |= {name: _column(name, (*places, *curves)) for name in curves}
            for epoch in range(length(curves)):
                values = {metrics[name]: curve[epoch] for name, curve in curves.items() if epoch < len(curve)}
                lines.append({"trial": trial.number, "replica": replica, "epoch": epoch + 1, **values})
    return [*places, *metrics.values()], lines


def _column(metric: str, taken: Sequence[str]) -> str:
    """A column name for a metric that no other column has. taken: the names of columns and metrics."""
    if taken.count(metric) == 1:
        return metric
    name = f"{metric} (metric)"
    while name in taken:
        name += "'"
    return name


def table(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """CSV text: floats with all their digits, missing values as nothing."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _spelled(value) for name, value in line.items()} for line in lines)
    return out.getvalue()


def _spelled(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else value
