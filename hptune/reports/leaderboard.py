"""The rows that every renderer draws: the trials as plain JSON data, read out of a History."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, TypeAlias

from hptune.history import History
from hptune.reports.confidence import mean_interval
from hptune.trial import Trial

Row: TypeAlias = dict[str, Any]
"""One trial: `trial`, `score`, `values`, `epochs`, `seconds`, `state`; where failed `error`; with repeats `scores`, one
each, and their sample standard deviation `spread`; a finalist's `finalist`: {"scores", "mean", "interval": [low, high]}
with the mean's 95 % interval."""


def rows(history: History) -> list[Row]:
    """Every trial, in the order of their numbers."""
    return [row(trial, history) for trial in history.trials]


def best_rows(history: History, top: int | None = None) -> list[Row]:
    """The `top` best trials (None: all that have a score), the best first; failed trials are never among them."""
    return [row(trial, history) for trial in ranked(history)[:top]]


def ranked(history: History) -> list[Trial]:
    """The trials that have a score, the best first: the finalists by their means, then the others by their scores."""
    means = {
        number: history.objective.cost(statistics.fmean(scores))
        for number in history.finals
        if (scores := history.final_scores(number)) is not None
    }
    finalists = sorted(means, key=lambda number: (means[number], number))
    others = [trial for trial in by_score(history) if trial.number not in means]
    return [history.trials[number] for number in finalists] + others


def by_score(history: History) -> list[Trial]:
    """The trials that have a score, the best of the search first; of equals the earlier one first."""
    objective = history.objective
    scored = [(history.score(trial), trial) for trial in history.trials]
    costs = [(objective.cost(score), trial) for score, trial in scored if score is not None]
    return [trial for _, trial in sorted(costs, key=lambda pair: (pair[0], pair[1].number))]


def row(trial: Trial, history: History) -> Row:
    """One trial's row."""
    found: Row = {
        "trial": trial.number,
        "score": history.score(trial),
        "values": dict(trial.values),
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 6),
        "state": trial.state,
    }
    if trial.state == "failed":
        found["error"] = trial.error
    if len(trial.curves) > 1:
        found["scores"] = scores = history.replica_scores(trial, history.objective)
        if len(scores) > 1:
            found["spread"] = statistics.stdev(scores)
    if (finals := history.final_scores(trial.number)) is not None:
        mean, interval = statistics.fmean(finals), mean_interval(finals)
        found["finalist"] = {"scores": finals, "mean": mean, "interval": list(interval)}
    return found


def counts(trials: Sequence[Trial]) -> dict[str, int]:
    """How many trials are in each state, those that occur."""
    found: dict[str, int] = {}
    for trial in trials:
        found[trial.state] = found.get(trial.state, 0) + 1
    return found


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
