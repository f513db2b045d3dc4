"""Two runs side by side: their best trials, their sizes, and where their experiments differ."""

from __future__ import annotations

import time
from typing import Any

from hptune.base.errors import RunError, SpecError, spell_path
from hptune.reports.leaderboard import best_rows, counts, figure, objective_name
from hptune.run.differences import differences
from hptune.run.record import Record, replay
from hptune.run.rundir import RunPaths, size_bytes


def run_row(paths: RunPaths) -> dict[str, Any]:
    """One run in a line, with what its folder takes up on the disk; `error` where its journal can't be read."""
    try:
        record = replay(paths)
    except (RunError, SpecError) as error:
        return {"run": paths.name, "error": str(error)}
    return {"run": paths.name, **summary(record), "bytes": size_bytes(paths)}


def summary(record: Record) -> dict[str, Any]:
    """What a run amounts to.

    best: the winner's figure (`leaderboard.figure`); `best_mean_of` only where it is a mean. epochs: trained in all,
    `epochs_of_finalists` of them (only where there were any). seconds: spent searching, finalists included. ended: why
    the last search ended; null: cut short.
    """
    history = record.history
    best = best_rows(history, 1)
    score, trainings = figure(best[0]) if best else (None, 1)
    finalists = history.epochs_of_finalists
    return {
        "trials": len(history.trials),
        "failed": counts(history.trials).get("failed", 0),
        "objective": objective_name(history),
        "best": score,
        **({"best_mean_of": trainings} if trainings > 1 else {}),
        "epochs": history.epochs_trained + finalists,
        **({"epochs_of_finalists": finalists} if finalists else {}),
        "seconds": record.elapsed_s,
        "ended": record.ended,
        "last_written": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.last_time)),
    }


def comparison(a: RunPaths, b: RunPaths) -> dict[str, Any]:
    """Both runs' summaries and best trials, and the settings that differ, by key path. Raises RunError."""
    pair = [(paths, replay(paths)) for paths in (a, b)]
    old, new = (record.head.event["experiment"] for _, record in pair)
    return {
        "runs": [
            {"run": paths.name, **summary(record), "best_trial": next(iter(best_rows(record.history, 1)), None)}
            for paths, record in pair
        ],
        "differences": {
            spell_path(path): [_as_json(before), _as_json(after)] for path, before, after in differences(old, new)
        },
    }


def _as_json(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else None
