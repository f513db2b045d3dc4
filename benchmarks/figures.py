"""From what the tools told to the figures that are compared: pure functions of the runs.

Everything is a median over the rounds. A time that was not reached within the budget counts as infinite, so that a
median of them is honest; it is told as `null`.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REFERENCE = "reference"
"""The tool that is run for its best score alone."""

SHARE = 0.98
"""Of the best known score: what counts as found."""


@dataclass(frozen=True, slots=True)
class Report:
    """A score that a tool knew: `at_s` seconds after its process began, after `epochs` more epochs of the trial."""

    at_s: float
    trial: int
    epochs: int
    score: float
    structure: str


@dataclass(frozen=True, slots=True)
class Run:
    """One tool's run in one round. begun_s: when its first trial could begin; infinite where it never did."""

    tool: str
    seed: int
    begun_s: float
    reports: tuple[Report, ...]
    peak_mb: float

    @property
    def best(self) -> float:
        return max((report.score for report in self.reports), default=-math.inf)

    def per_minute(self, what: Callable[[Sequence[Report]], float]) -> float:
        """How much of something a minute brought, from the beginning of the first trial to the last report."""
        return what(self.reports) / (self.reports[-1].at_s - self.begun_s) * 60 if self.reports else 0.0

    def reached_s(self, score: float) -> float:
        """Seconds until a score was known, infinite where it never was."""
        return next((report.at_s for report in self.reports if report.score >= score), math.inf)


def summarised(runs: Sequence[Run], *, limit_s: float, arithmetic: Mapping[str, float]) -> dict[str, Any]:
    """The figures of one workload, as JSON: {"limit_s", "rounds", "best_known", "tools": {tool: figures}}.

    arithmetic: by structure, the seconds of an epoch's arithmetic on one core.
    """
    seeds = sorted({run.seed for run in runs})
    known = {seed: max(run.best for run in runs if run.seed == seed) for seed in seeds}
    tools = list(dict.fromkeys(run.tool for run in sorted(runs, key=lambda run: run.seed)))
    tools = [tool for tool in tools if tool != REFERENCE]
    return {
        "limit_s": limit_s,
        "rounds": len(seeds),
        "best_known": _told(statistics.median(known.values())),
        "tools": {tool: _figures([run for run in runs if run.tool == tool], known, arithmetic) for tool in tools},
    }


def _figures(runs: Sequence[Run], known: Mapping[int, float], arithmetic: Mapping[str, float]) -> dict[str, Any]:
    reached = [run.reached_s(SHARE * known[run.seed]) for run in runs]
    searching = [at - run.begun_s if math.isfinite(at) else at for at, run in zip(reached, runs, strict=True)]
    figures = {
        "startup_s": [run.begun_s for run in runs],
        "trials_per_minute": [run.per_minute(_trials) for run in runs],
        "epochs_per_minute": [run.per_minute(_epochs) for run in runs],
        "to_target_s": reached,
        "to_target_searching_s": searching,
        "best": [run.best for run in runs],
        "peak_mb": [run.peak_mb for run in runs],
        "arithmetic": [arithmetic_share(run, arithmetic) for run in runs],
    }
    return {
        **{name: _told(statistics.median(values)) for name, values in figures.items()},
        "reached": sum(math.isfinite(at) for at in reached),
        "curve": best_so_far(runs),
    }


def arithmetic_share(run: Run, arithmetic: Mapping[str, float], *, cores: int | None = None) -> float:
    """Of the time that all cores had while the run lasted, start-up included, what its epochs' arithmetic takes."""
    if not run.reports:
        return 0.0
    cores = cores if cores is not None else len(os.sched_getaffinity(0))
    needed = sum(report.epochs * arithmetic[report.structure] for report in run.reports)
    return needed / (run.reports[-1].at_s * cores)


def best_so_far(runs: Sequence[Run]) -> list[list[float]]:
    """[seconds, the median over the runs of the best score known by then], where it rises; from when most have one.

    >>> run = Run("a", 0, 0.0, (Report(1, 0, 1, .5, ""), Report(2, 1, 1, .4, ""), Report(3, 2, 1, .9, "")), 0)
    >>> best_so_far([run])
    [[1, 0.5], [3, 0.9]]
    """
    curve: list[list[float]] = []
    best = dict.fromkeys(range(len(runs)), -math.inf)
    arrivals = sorted((report.at_s, number, report.score) for number, run in enumerate(runs) for report in run.reports)
    for at, number, score in arrivals:
        best[number] = max(best[number], score)
        middle = statistics.median_low(best.values())
        if middle > (curve[-1][1] if curve else -math.inf):
            curve.append([at, middle])
    return curve


def _trials(reports: Sequence[Report]) -> int:
    return len({report.trial for report in reports})


def _epochs(reports: Sequence[Report]) -> int:
    return sum(report.epochs for report in reports)


def _told(value: float) -> float | None:
    """JSON knows no infinity."""
    return round(value, 6) if math.isfinite(value) else None
