"""What stands on stderr while trials train: a live table in a terminal, a line a trial elsewhere, or nothing.

All are a `Watch` and an executor's `on_epoch`. None may slow the search down: what they receive is only kept, and drawn
at most ten times a second.
"""

from __future__ import annotations

import bisect
import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hptune.base.errors import printable
from hptune.base.trial import Purpose, Segment, Trial
from hptune.executors.executor import Outcome
from hptune.experiment.checks.search import idle_workers
from hptune.experiment.checks.space import remarks
from hptune.experiment.thresholds import halves_of_logits
from hptune.reports.console import duration, trials_table, values_line
from hptune.reports.leaderboard import objective_name, row
from hptune.reports.spelling import number, numbers
from hptune.run.record import Record
from hptune.run.warm_start import taken_over
from hptune.search.budget import Limits
from hptune.search.watch import Watch

_SHOWN = 5
_REPAINTS_A_SECOND = 8
_NAMES: dict[Purpose, str] = {"best": "the winner", "baseline": "the baseline"}
"""Who is trained, where it is no trial."""


class View(Watch, Protocol):
    """A `Watch` with a beginning and an end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


def view(*, quiet: bool) -> View:
    """The view that suits stderr."""
    if quiet:
        return Silent()
    return Screen() if sys.stderr.isatty() else Lines()


class Silent:
    """Shows nothing; what the other views do differently stands in them."""

    def begun(self, record: Record, limits: Limits) -> None:
        """Shows nothing."""

    def reported(self, trial: Trial) -> None:
        """Shows nothing."""

    def tested(self, finalist: Trial) -> None:
        """Shows nothing."""

    def noted(self, note: str) -> None:
        """Shows nothing."""

    def epoch(self, segment: Segment, epochs: int, metrics: Mapping[str, float]) -> None:
        """Shows nothing."""

    def winner(self, record: Record) -> None:
        """Shows nothing."""

    def trained(self, outcome: Outcome) -> None:
        """Shows nothing."""

    def ended(self) -> None:
        """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass


class Lines(Silent):
    """A line for each report of a trial, after one with the strategy's reason where it gives a new one."""

    _why: str | None = None

    def begun(self, record: Record, limits: Limits) -> None:
        """Print what the search is, how many trials were done before, its budget, and warnings about the run."""
        self._record, self._limits = record, limits
        self._printed_repeats: dict[int, int] = {}  # by finalist
        done = len(record.history.trials)
        state = f"{done} trials done before" if done else "begun"
        for line in [f"{record.head.experiment.name}: {state}; {_rules(limits)}", *opening_lines(record)]:
            print(line, file=sys.stderr)  # noqa: T201  # a renderer

    def reported(self, trial: Trial) -> None:
        """Print the trial's line, after the strategy's reason where that has changed."""
        if trial.why is not None and trial.why != self._why:
            self._why = trial.why
            print(f"because {trial.why}:", file=sys.stderr)  # noqa: T201  # a renderer
        print(report_line(trial, self._record, self._limits), file=sys.stderr)  # noqa: T201  # a renderer

    def tested(self, finalist: Trial) -> None:
        """Print the finalist's scores so far, once for each whole repeat."""
        scores = self._record.history.final_repeats(finalist.number)
        if len(scores) == self._printed_repeats.get(finalist.number, 0):
            return  # a fold alone is no repeat
        self._printed_repeats[finalist.number] = len(scores)
        listed = " ".join(
            "failed" if score is None else text for score, text in zip(scores, numbers(scores), strict=True)
        )
        why = f": {printable(self._record.history.finals_failed[finalist.number][-1])}" if scores[-1] is None else ""
        print(f"finalist, trial {finalist.number}, again: {listed}{why}", file=sys.stderr)  # noqa: T201  # a renderer

    def noted(self, note: str) -> None:
        """Print the note."""
        print(f"note: {note}", file=sys.stderr)  # noqa: T201  # a renderer


def report_line(trial: Trial, record: Record, limits: Limits) -> str:
    """One report as one line."""
    history = record.history
    of = f"/{limits.trials}" if limits.trials is not None else ""
    done = len(history.trials) - sum(1 for _ in history.running())
    head = f"[{done}{of}] trial {trial.number}"
    if trial.state == "failed":
        return f"{head} failed: {printable(trial.error or '')} ({values_line(trial.values)})"
    scores = history.scores(trial) or {}
    best = history.best if history.best is not None and history.best.number != trial.number else None
    own = [scores.get(objective.metric) for objective in history.objectives]
    *texts, of_best = numbers([*own, history.score(best) if best is not None else None])
    figures = " ".join(f"{o.metric} {text}" for o, text in zip(history.objectives, texts, strict=True))
    if trial.state == "stopped" and not scores:
        figures = f"stopped over {sum(map(bool, trial.curves))} folds, the others being spared,"
    line = f"{head} {figures} after {trial.epochs} epoch{'s' if trial.epochs != 1 else ''}"
    line += f" in {duration(trial.seconds)} ({values_line(trial.values)})"
    if best is not None:
        line += f"; best {of_best} (trial {best.number})"
    return line


def opening_lines(record: Record) -> list[str]:
    """The lines shown first: the probe's warnings and notes, remarks on the experiment, and trials taken over."""
    facts = record.head.facts
    notes = [
        *facts.get("notes", ()),
        *map(str, remarks(record.head.space.domains)),
        *map(str, idle_workers(record.head.experiment)),
        *map(str, halves_of_logits(record.head.experiment)),
        *map(taken_over, record.head.warm_start),
    ]
    return [*(f"warning: {warning}" for warning in facts.get("warnings", ())), *(f"note: {note}" for note in notes)]


def _rules(limits: Limits) -> str:
    """The budget in words."""
    parts = []
    if limits.trials is not None:
        parts.append(f"{limits.trials} trials")
    if limits.time_s is not None:
        parts.append(duration(limits.time_s))
    if limits.epochs is not None:
        parts.append(f"{limits.epochs} epochs")
    if limits.target is not None:
        parts.append(f"a score of {limits.target:g}")
    if limits.patience is not None:
        parts.append(f"{limits.patience} trials without a better one")
    return "budget: " + " or ".join(parts) if parts else "until the strategy is done"


class Screen(Silent):
    """The best trials, the progress over the budget, and the epochs of the trial that runs."""

    def __init__(self, console: Console | None = None) -> None:
        self._record: Record | None = None
        self._limits = Limits()
        self._best: list[tuple[float, int]] = []
        self._current: tuple[Segment, int, Mapping[str, float]] | None = None
        self._why: str | None = None  # the strategy's last reason
        self._failed: tuple[int, Trial | None] = (0, None)  # how many have, and the last of them
        # Its own descriptor: loading TensorFlow holds descriptor 2 back, and the screen must not be lost with it.
        self._live = Live(
            console=console or Console(file=os.fdopen(os.dup(2), "w"), force_terminal=True),
            get_renderable=self.draw,
            refresh_per_second=_REPAINTS_A_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.__exit__(kind, error, at)

    def begun(self, record: Record, limits: Limits) -> None:
        """Print warnings about the run, and rank the trials that were done before."""
        self._limits = limits
        self._record = record
        for warning in opening_lines(record):
            self._live.console.print(warning, markup=False)
        for trial in record.history.trials:
            self.reported(trial)

    def reported(self, trial: Trial) -> None:
        """Rank the trial; a failed one is counted."""
        if trial.state == "failed":
            self._failed = (self._failed[0] + 1, trial)
        self._why = trial.why
        self._rank(trial)

    def noted(self, note: str) -> None:
        """Print the note above the table."""
        self._live.console.print(f"note: {note}", markup=False)

    def epoch(self, segment: Segment, epochs: int, metrics: Mapping[str, float]) -> None:
        """Keep the epoch, to be drawn at the next repaint."""
        self._current = (segment, epochs, metrics)

    def _rank(self, trial: Trial) -> None:
        assert self._record is not None
        history = self._record.history
        objective = history.objectives[0]
        ranked = [entry for entry in self._best if entry[1] != trial.number]
        scores = history.scores(trial)
        if scores is not None:
            bisect.insort(ranked, (objective.cost(scores[objective.metric]), trial.number))
        self._best = ranked[:_SHOWN]

    def draw(self) -> RenderableType:
        """What there is to see now. Called from the painting thread; reads what is there and changes nothing."""
        parts: list[RenderableType] = []
        if self._record is not None:
            history = self._record.history
            rows = [row(history.trials[trial], history) for _, trial in self._best]
            if rows:
                parts += [trials_table(rows, objective_name(history)), Text()]
            parts.append(self._progress())
        if self._current is not None:
            segment, epochs, metrics = self._current
            who = _NAMES.get(segment.purpose, f"trial {segment.trial}")
            if segment.purpose == "finalist":
                who = f"finalist, {who} again"
            figures = "  ".join(f"{name} {number(value)}" for name, value in metrics.items())
            parts.append(Text(f"{who}  epoch {epochs}/{segment.to_epoch}  {figures}", no_wrap=True))
        if self._why is not None:
            parts.append(Text(f"because {self._why}", no_wrap=True))
        count, last = self._failed
        if last is not None:
            message = f"{count} failed, the last: trial {last.number}: {printable(last.error or '')}"
            parts.append(Text(message, style="red", no_wrap=True))
        return Group(*parts) if parts else Text("loading the data and the model …", style="dim")

    def _progress(self) -> RenderableType:
        assert self._record is not None
        history, limits = self._record.history, self._limits
        elapsed_s = self._record.spent_s()
        trials = len(history.trials) - sum(1 for _ in history.running())
        shares = [
            trials / limits.trials if limits.trials else 0.0,
            elapsed_s / limits.time_s if limits.time_s else 0.0,
            history.epochs_trained / limits.epochs if limits.epochs else 0.0,
        ]
        finalists = f" + {history.epochs_of_finalists} of finalists" if history.epochs_of_finalists else ""
        epochs = f"{history.epochs_trained}{_of(limits.epochs)} epochs{finalists}"
        figures = f"{trials}{_of(limits.trials)} trials  {epochs}  "
        figures += duration(elapsed_s) + (f" of {duration(limits.time_s)}" if limits.time_s else "")
        line = Table.grid(padding=(0, 2))
        line.add_row(ProgressBar(total=1.0, completed=min(max(shares), 1.0), width=30), figures)
        return line


def _of(limit: int | None) -> str:
    return f"/{limit}" if limit is not None else ""
