"""The peers' figures as a table and as a plot, and the part of README.md that holds them.

peers.json holds the figures of every workload that was measured; table and plot are drawn from it alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import SHARE

FIGURES, PLOT, README = "peers.json", "peers.png", "README.md"
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"

COLUMNS = (
    "tool",
    "start-up, s",
    "trials a minute",
    "epochs a minute",
    "to the target, s",
    "without start-up, s",
    "best val_accuracy",
    "peak memory, MB",
    "arithmetic",
)

COLOURS = {
    "hptune": "#c1272d",
    "hptune-hyperband": "#e8743b",
    "kerastuner": "#3a5683",
    "optuna-tpe": "#2a9d8f",
    "optuna-hyperband": "#7b8794",
    "ray-asha": "#6d4c9f",
}


def write_report(folder: Path, workload: str, summary: Mapping[str, Any]) -> None:
    """Take in one workload's figures, and write peers.json, peers.png and the part of README.md anew."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FIGURES
    figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    figures[workload] = summary
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_plot(folder / PLOT, figures)
    readme = folder / README
    text = readme.read_text(encoding="utf-8") if readme.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    readme.write_text(replaced(text, section(figures)), encoding="utf-8")


def replaced(text: str, new: str) -> str:
    """`text` with what stands between the marks replaced. Raises ValueError where they are missing.

    >>> replaced("a\\n<!-- peers: begin -->\\nold\\n<!-- peers: end -->\\nb\\n", "new")
    'a\\n<!-- peers: begin -->\\nnew\\n<!-- peers: end -->\\nb\\n'
    """
    if BEGIN not in text or END not in text:
        raise ValueError(f"{README}: the figures stand between the lines {BEGIN} and {END}, of which one is missing.")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{new}\n{END}{rest.partition(END)[2]}"


def section(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """What is told of every workload, in Markdown."""
    parts = []
    for name, summary in figures.items():
        rounds = f"{summary['rounds']} round" + ("s" if summary["rounds"] != 1 else "")
        skipped = f" Not installed, so not run: {', '.join(summary['skipped'])}." if summary["skipped"] else ""
        known, limit_s = summary["best_known"], summary["limit_s"]
        parts.append(
            f"### {name}: {summary['title']}\n\n"
            f"{summary['epochs']} epochs a trial; {rounds} of {limit_s:g} s a tool. Best known: {_number(known, 4)}. "
            f"{advantage(summary)}\n\n{table(summary)}\n\n"
            f"Measured on {summary['machine']}; load average before: {summary['load']:.1f}.{skipped}"
        )
    return "\n\n".join(["", *parts, f"![The best score known so far, by tool]({PLOT})", ""])


def table(summary: Mapping[str, Any]) -> str:
    """The tools' figures as a Markdown table."""
    rows = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1))]
    rows += [(name, *_cells(tool, summary)) for name, tool in summary["tools"].items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def advantage(summary: Mapping[str, Any]) -> str:
    """How our default compares with the peer that is the fastest to the target; nothing where it is not there."""
    ours = summary["tools"].get("hptune", {}).get("to_target_s")
    peers = {name: tool for name, tool in summary["tools"].items() if not name.startswith("hptune")}
    times = {name: tool["to_target_s"] for name, tool in peers.items() if tool["to_target_s"] is not None}
    if ours is None or not peers:
        return ""
    if not times:
        return f"hptune reaches the target in {ours:.1f} s, no peer within {summary['limit_s']:g} s."
    best = min(times, key=lambda name: times[name])
    theirs, own = peers[best]["to_target_searching_s"], summary["tools"]["hptune"]["to_target_searching_s"]
    return (
        f"hptune reaches the target in {ours:.1f} s, the fastest peer ({best}) in {times[best]:.1f} s: "
        f"{times[best] / ours:.1f} times as long; without the start-up {own:.1f} s and {theirs:.1f} s: "
        f"{theirs / own:.1f} times."
    )


def _cells(tool: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[str, ...]:
    reached = f" ({tool['reached']} of {summary['rounds']})" if tool["reached"] < summary["rounds"] else ""
    never = f"> {summary['limit_s']:g}"
    return (
        _number(tool["startup_s"], 1),
        _number(tool["trials_per_minute"], 0 if (tool["trials_per_minute"] or 0) >= 10 else 1),
        _number(tool["epochs_per_minute"], 0),
        (_number(tool["to_target_s"], 1) if tool["to_target_s"] is not None else never) + reached,
        _number(tool["to_target_searching_s"], 1),
        _number(tool["best"], 4),
        _number(tool["peak_mb"], 0),
        f"{tool['arithmetic']:.0%}" if tool["arithmetic"] >= 0.095 else f"{tool['arithmetic']:.1%}",
    )


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def write_plot(path: Path, figures: Mapping[str, Mapping[str, Any]]) -> None:
    """A panel a workload: what is still wrong in the best model known so far, over the time; both on log scales."""
    from matplotlib.figure import Figure

    columns = min(len(figures), 2)
    rows = -(-len(figures) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, (name, summary) in zip(panels, figures.items(), strict=False):
        for tool, found in summary["tools"].items():
            if found["curve"]:
                at, scores = zip(*[*found["curve"], [summary["limit_s"], found["curve"][-1][1]]], strict=True)
                errors = [max(1 - score, 1e-4) for score in scores]
                width = 2.2 if tool == "hptune" else 1.3
                panel.step(at, errors, where="post", label=tool, color=COLOURS.get(tool), linewidth=width)
        if summary["best_known"] is not None:
            panel.axhline(1 - SHARE * summary["best_known"], color="black", linewidth=0.7, linestyle=":")
        panel.set(xscale="log", yscale="log", title=name, xlabel="seconds since the start", ylabel="1 − val_accuracy")
        panel.grid(alpha=0.25, which="both", linewidth=0.5)
    for panel in list(figure.axes)[len(figures) :]:
        panel.set_visible(False)
    figure.axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=130)
