"""Where the time of a search went, as a table: for `hptune search --profile`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from rich.console import Group, RenderableType
from rich.table import Table

from hptune.base.stopwatch import Part, Stopwatch
from hptune.reports.console import stderr

_MEANS: Mapping[Part, str] = {
    "start": "TensorFlow and the user's modules loaded in the workers",
    "data": "samples read, split and scaled",
    "build": "models made, and their weights drawn",
    "trace": "graphs made of models",
    "compile": "graphs made ready, in the first epoch of each structure",
    "set up": "variables and dials set",
    "train": "epochs, without their validation",
    "validate": "validation, as measured beside the epochs",
    "checkpoint": "states written and read",
    "rest": "what else the workers did for a segment; the whole of a function",
    "strategy": "the strategy asked",
    "journal": "events written",
    "profile": "done for this table alone",
}


def profile_rows(spent: Mapping[Part, float], trials: int) -> list[dict[str, Any]]:
    """One row a part that took any time, in the order of a trial.

    `seconds`: over all workers. `share`: of all parts together, 0 to 1. `a_trial`: milliseconds for each of `trials`.
    """
    total = sum(spent.values())
    return [
        {
            "part": part,
            "seconds": spent[part],
            "share": spent[part] / total,
            "a_trial": spent[part] / max(trials, 1) * 1000,
            "means": _MEANS[part],
        }
        for part in get_args(Part)
        if spent.get(part, 0.0) > 0.0
    ]


def profile_table(rows: list[dict[str, Any]], notes: list[str]) -> RenderableType:
    """The rows, and under them what would pay."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("part")
    for name in ("seconds", "share", "ms a trial"):
        table.add_column(name, justify="right")
    table.add_column("what")
    for row in rows:
        seconds, share, a_trial = f"{row['seconds']:.2f}", f"{row['share']:.1%}", f"{row['a_trial']:.1f}"
        table.add_row(row["part"], seconds, share, a_trial, row["means"])
    return Group(table, *notes)


def show_profile(watch: Stopwatch, trials: int) -> None:
    """Print the table on stderr. trials: how many were trained."""
    stderr().print(profile_table(profile_rows(watch.spent, trials), watch.notes))
