"""The rows that every renderer draws: the trials as plain JSON data, read out of a History."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, TypeAlias

from hptune.base.trial import Trial
from hptune.reports.confidence import mean_interval
from hptune.run.history import History
from hptune.run.ranking import pareto_front, ranked

TOP = 10
"""Trials shown by default."""

Row: TypeAlias = dict[str, Any]
"""One trial: `trial`, `score`, `values`, `epochs`, `seconds`, `state`; where tries were lost `lost_seconds`; where its
strategy gave a reason `why`; where failed `error`; with several objectives `objectives`, the scores by metric, of
repeats and folds their means (of so many: `means_of`), and `score` is None; with repeats `scores`, one each, and their
sample standard deviation `spread`; a finalist's `finalist`: {"scores", "mean", "interval": [low, high]} with the mean's
95 % interval, and `folds`, where each of the scores is the mean of so many; one that failed in repeats has how many as
`finalist_failed` and the first reason as `finalist_error`."""


def rows(history: History) -> list[Row]:
    """Every trial, in the order of their numbers."""
    return [row(trial, history) for trial in history.trials]


def best_rows(history: History, top: int | None = None) -> list[Row]:
    """The `top` best trials (None: all that have a score), the best first; failed trials are never among them.

    With several objectives these are the trials of the Pareto front, the best by the first objective first.
    """
    return [row(trial, history) for trial in ranked(history)[:top]]


def shown_of(history: History) -> int:
    """How many of the best trials are shown unless it is said: all of a front, none of which is better than another."""
    return len(history.trials) if len(history.objectives) > 1 else TOP


def front_left_out(history: History, shown: int) -> list[str]:
    """That the Pareto front has more trials than are shown; nothing where it has not, or there is none."""
    more = len(pareto_front(history)) - shown if len(history.objectives) > 1 else 0
    return [f"{more} more on the Pareto front, which `hptune best` shows whole"] if more > 0 else []


def objective_name(history: History) -> str:
    """What is optimised, in a word."""
    return ", ".join(objective.metric for objective in history.objectives)


def row(trial: Trial, history: History) -> Row:
    """One trial's row."""
    several = len(history.objectives) > 1
    entry: Row = {
        "trial": trial.number,
        "score": None if several else history.score(trial),
        **({"objectives": history.scores(trial)} if several else {}),
        "values": dict(trial.values),
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 6),
        "state": trial.state,
    }
    if trial.lost_s > 0:
        entry["lost_seconds"] = round(trial.lost_s, 6)
    if trial.why is not None:
        entry["why"] = trial.why
    if trial.state == "failed":
        entry["error"] = trial.error
    if len(trial.curves) > 1 and several:
        entry["means_of"] = len(trial.curves)
    if len(trial.curves) > 1 and not several:
        entry["scores"] = scores = history.replica_scores(trial, history.objective)
        if len(scores) > 1:
            entry["spread"] = statistics.stdev(scores)
    if (finals := history.final_scores(trial.number)) is not None:
        mean, interval = statistics.fmean(finals), mean_interval(finals)
        entry["finalist"] = {"scores": finals, "mean": mean, "interval": list(interval)}
        if history.folds is not None:
            entry["finalist"]["folds"] = history.folds
    elif failed := history.final_repeats(trial.number).count(None):
        entry["finalist_failed"] = failed
        entry["finalist_error"] = history.finals_failed[trial.number][0]
    return entry


def figure(row: Row) -> tuple[float | None, int]:
    """A trial's figure as it is shown, and how many trainings it is the mean of.

    A finalist's own mean, by which it is ranked; else its score.

    >>> figure({"score": 0.9, "scores": [0.8, 1.0], "finalist": {"mean": 0.7, "scores": [0.6, 0.7, 0.8]}})
    (0.7, 3)
    >>> figure({"score": 0.9, "finalist": {"mean": 0.7, "scores": [0.6, 0.8], "folds": 5}})
    (0.7, 10)
    >>> figure({"score": 0.9, "scores": [0.8, 1.0]}), figure({"score": 0.9})
    ((0.9, 2), (0.9, 1))
    """
    if "finalist" in row:
        return row["finalist"]["mean"], len(row["finalist"]["scores"]) * row["finalist"].get("folds", 1)
    return row["score"], max(len(row.get("scores", ())), 1)


def counts(trials: Sequence[Trial]) -> dict[str, int]:
    """How many trials are in each state, those that occur."""
    by_state: dict[str, int] = {}
    for trial in trials:
        by_state[trial.state] = by_state.get(trial.state, 0) + 1
    return by_state


def plain_json(value: Any) -> Any:
    """JSON data that every reader takes: numbers that are not finite become null.

    >>> plain_json({"loss": [0.5, float("nan")]})
    {'loss': [0.5, None]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: plain_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(inner) for inner in value]
    return value
