"""The report as one HTML file that needs nothing else: no script, no picture, no font, no address that it would load.

The page's Content-Security-Policy forbids the browser all of that, so that a page about a stranger's run could not run
anything even if one of its texts were left unescaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any
from xml.etree.ElementTree import Element, tostring

from hptune.reports.console import (
    duration,
    finalist_column,
    finalist_lines,
    has_finals,
    mean_of,
    means_of,
    score_columns,
    value_column,
    values_line,
)
from hptune.reports.report import Curve, Dot, Parameter, Report, TrainedInFull, as_number
from hptune.reports.spelling import identity, number, numbers, shown_all
from hptune.reports.svg import Axis, Chart, choice_axis, number_axis, tag, without_outliers
from hptune.run.differences import spell_json

_WIDE, _HIGH = 900, 300
_NARROW, _LOW = 430, 230
_HIGHLIGHTED = 5
_LONGEST_VALUE = 300
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html(report: Report) -> str:
    """The whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{report.name} · hptune"),
        tag("style", files("hptune.reports").joinpath("report.css").read_text(encoding="utf-8")),
    )
    body = tag("body", *_header(report), *_sections(report))
    return "<!DOCTYPE html>\n" + tostring(tag("html", head, body, lang="en"), encoding="unicode", method="html") + "\n"


def _sections(report: Report) -> Iterable[Element]:
    if report.winner is not None:
        yield tag("section", tag("h2", "The winner, trained in full"), *_winner(report, report.winner))
    if report.rows:
        yield tag("section", tag("h2", "Trials"), *_leaderboard(report))
    if report.progress:
        yield tag("section", tag("h2", "Over the search"), *_progress(report))
    if report.pair is not None and report.front:
        yield tag("section", tag("h2", "Pareto front"), _front(report))
    if report.curves:
        yield tag("section", tag("h2", "Learning curves"), *_curves(report))
    if report.parameters:
        charts = (_parameter(parameter, report) for parameter in report.parameters)
        yield tag("section", tag("h2", "Hyperparameters"), tag("div", *charts, class_="grid2"))
    if report.failures:
        rows = [[str(count), reason] for reason, count in report.failures]
        yield tag("section", tag("h2", "Failures"), _table(["trials", "reason"], rows, texts={1}))
    settings = [[path, _cut(spell_json(value))] for path, value in report.spec]
    origin = [[name, _spelled(value)] for name, value in report.origin]
    yield tag(
        "section",
        tag("h2", "How it was made"),
        tag("details", tag("summary", "Versions and data"), _table(["", ""], origin, texts={0, 1})),
        tag("details", tag("summary", "The experiment"), _table(["setting", "value"], settings, texts={0, 1})),
    )


# --- words and tables -------------------------------------------------------------------------------------------------


def _header(report: Report) -> Iterable[Element]:
    summary, goal = report.summary, report.objective.goal
    yield tag("h1", report.name)
    ended = summary["ended"]
    yield tag("p", ended if ended is not None else "under way, or cut short: search again to go on", class_="dim")
    best = f"{report.metric}: see below"
    if summary["best"] is not None:
        best = f"{report.metric} {number(summary['best'])}{mean_of(summary.get('best_mean_of', 1))}"
    finalists = summary.get("epochs_of_finalists")
    figures = {
        f"best ({goal})" if report.pair is None else "objectives": best,
        "trials": f"{summary['trials']:,}",
        "failed": f"{summary['failed']:,}",
        "epochs trained": f"{summary['epochs']:,}" + (f" ({finalists:,} of finalists)" if finalists else ""),
        "time": duration(summary["seconds"]),
        "on the disk": f"{number(report.size_bytes / 1e6, 3)} MB",
        "last written": summary["last_written"],
    }
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in figures.items())
    yield tag("dl", *pairs, class_="facts")


def _winner(report: Report, winner: TrainedInFull) -> Iterable[Element]:
    """The winner beside the baseline, on the test part."""
    sides = [winner, *([report.baseline] if report.baseline is not None else [])]
    names = dict.fromkeys(name for side in sides for name in side.values)
    figures = dict.fromkeys(name for side in sides for name in side.test)
    rows = [[f"test {name}", *numbers((side.test.get(name) for side in sides), 5)] for name in figures]
    rows.append([report.objective.metric, *numbers((side.score for side in sides), 5)])
    shown = [{"values": side.values} for side in sides]
    rows += [[name, *map(_cut, value_column(shown, name))] for name in names]
    yield _table(["", "winner", "baseline"][: len(sides) + 1], rows, texts={0})
    yield tag("p", f"Trial {winner.trial}. No search has seen the test part.", class_="dim")
    losses = [name for name in ("loss", "val_loss") if name in winner.curves]
    if losses and max(len(winner.curves[name]) for name in losses) > 1:
        values = [v for name in losses for v in winner.curves[name] if v is not None]
        epochs = max(len(winner.curves[name]) for name in losses)
        chart = Chart(
            number_axis("epoch", [1, epochs]), number_axis("loss", values), width=_WIDE, height=_LOW, title="losses"
        )
        for at, name in enumerate(losses):
            chart.line(list(enumerate(winner.curves[name], start=1)), name, class_=f"c{at}")
        yield chart.element
        yield _key((name, f"c{at}") for at, name in enumerate(losses))


def _leaderboard(report: Report) -> Iterable[Element]:
    rows = report.rows
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    metrics = [objective for row in rows[:1] for objective in row.get("objectives") or ()] or [report.objective.metric]
    finals = any(has_finals(row) for row in rows)
    of = means_of(rows)
    final = ["finalists' mean (95 %)"] if finals else []
    heads = ["trial", *(f"{metric}{of}" for metric in metrics), *final, *names, "epochs", "time", "state"]
    scores, means = score_columns(rows), finalist_column(rows)
    values = [value_column(rows, name) for name in names]
    cells = [
        [
            str(row["trial"]),
            *(column[at] for column in scores),
            *([means[at]] if finals else []),
            *(_cut(column[at]) for column in values),
            str(row["epochs"]),
            duration(row["seconds"]) + (f" + {duration(lost)} lost" if (lost := row.get("lost_seconds")) else ""),
            row["state"] if row["state"] != "failed" else f"failed: {_cut(str(row['error']))}",
        ]
        for at, row in enumerate(rows)
    ]
    top = tag("div", _table(heads, cells[:10], texts={len(heads) - 1}, first=True), class_="scroll")
    yield top
    for line in finalist_lines(rows):
        yield tag("p", line)
    if len(cells) > 10:
        rest = tag("div", _table(heads, cells[10:], texts={len(heads) - 1}), class_="scroll")
        yield tag("details", tag("summary", f"{len(cells) - 10} more"), rest)
    if len(rows) < report.trials:
        yield tag("p", f"{report.trials - len(rows):,} more: hptune trials --run {report.name}", class_="dim")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, texts: set[int], first: bool = False) -> Element:
    """texts: the columns of text, which may be long. first: the first row is the winner's."""

    def kind(column: int) -> dict[str, str]:
        return {"class_": "text wrap"} if column in texts else {}

    header = tag("tr", *(tag("th", head, **kind(column)) for column, head in enumerate(heads)))
    lines = (
        tag("tr", *(tag("td", cell, **kind(column)) for column, cell in enumerate(row)), **_first(first and at == 0))
        for at, row in enumerate(rows)
    )
    return tag("table", tag("thead", header), tag("tbody", *lines))


def _first(is_first: bool) -> Mapping[str, str]:
    return {"class_": "first"} if is_first else {}


def _spelled(value: Any) -> str:
    return _cut(spell_json(value) if isinstance(value, dict | list | bool) else str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


# --- charts -----------------------------------------------------------------------------------------------------------


def _score_axis(scores: Sequence[float], report: Report) -> Axis:
    return number_axis(report.objective.metric, without_outliers(scores, lambda a, b: report.objective.better(b, a)))


def _dot_class(dot: Dot) -> str:
    return "trial" if dot.state == "completed" else "part"


def _progress(report: Report) -> Iterable[Element]:
    """Every trial's score, and the best so far."""
    axis = _score_axis([dot.y for dot in report.progress], report)
    trials = number_axis("trial", [0, max(report.trials - 1, 1)])
    chart = Chart(trials, axis, width=_WIDE, height=_HIGH, title="scores in the order of the trials")
    named = {row["trial"]: row for row in report.rows}
    for dot in report.progress:
        text = f"trial {dot.trial}: {number(dot.y, 6)} ({dot.state})"
        if dot.trial in named:
            text += f"\n{_cut(values_line(named[dot.trial]['values']))}"
        chart.dot(dot.trial, dot.y, text, class_=_dot_class(dot))
    record: list[tuple[float, float | None]] = [(float(trial), score) for trial, score in report.best_so_far]
    if record:
        chart.line([*record, (float(report.trials - 1), record[-1][1])], "the best so far", class_="best", steps=True)
    yield chart.element
    text = (
        "The line is the best so far; trials that were trained in part are grey. What is off the scale lies at its end."
    )
    if len(report.progress) < report.scored:
        text += f" {len(report.progress):,} of {report.scored:,} trials are drawn, the best among them."
    yield tag("p", text, class_="dim")


def _front(report: Report) -> Element:
    assert report.pair is not None
    first, second = report.pair
    x = number_axis(f"{first.metric} ({first.goal})", [pair[1] for pair in report.front])
    y = number_axis(f"{second.metric} ({second.goal})", [pair[2] for pair in report.front])
    chart = Chart(x, y, width=_WIDE, height=_HIGH, title="two objectives against each other")
    for trial, first_score, second_score, is_best in sorted(report.front, key=lambda pair: pair[3]):
        label = f"trial {trial}: {first.metric} {number(first_score, 6)}, {second.metric} {number(second_score, 6)}"
        chart.dot(first_score, second_score, label, class_="winner" if is_best else "trial", radius=4 if is_best else 3)
    return chart.element


def _curves(report: Report) -> Iterable[Element]:
    """The best trials' learning curves in colours, the others' behind them."""
    longest = max(len(curve.values) for curve in report.curves)
    values = [value for curve in report.curves for value in curve.values if value is not None]
    chart = Chart(
        number_axis("epoch", [1, longest]),
        _score_axis(values, report),
        width=_WIDE,
        height=_HIGH,
        title="learning curves",
    )
    best = {
        trial: f"c{at}" for at, trial in enumerate(dict.fromkeys(c.trial for c in report.curves)) if at < _HIGHLIGHTED
    }
    for curve in reversed(report.curves):
        chart.line(list(enumerate(curve.values, start=1)), _named(curve), class_=best.get(curve.trial, "other"))
    yield chart.element
    lines = Counter(curve.trial for curve in report.curves)
    yield _key((f"trial {trial}{_replicas(lines[trial])}", class_) for trial, class_ in best.items())


def _named(curve: Curve) -> str:
    return f"trial {curve.trial}" + (f", replica {curve.replica}" if curve.replica is not None else "")


def _replicas(lines: int) -> str:
    return f" ({lines} replicas)" if lines > 1 else ""


def _key(entries: Iterable[tuple[str, str]]) -> Element:
    return tag("p", *(tag("span", name, class_=class_) for name, class_ in entries), class_="key")


def _parameter(parameter: Parameter, report: Report) -> Element:
    """One hyperparameter against the score."""
    y = _score_axis([dot.y for dot in parameter.dots], report)
    best = report.rows[0]["trial"] if report.rows else None
    if parameter.is_number:
        places = [as_number(dot.x) or 0.0 for dot in parameter.dots]
        x = number_axis(parameter.name, places, log=parameter.log)
    else:
        choices = {identity(dot.x): dot.x for dot in parameter.dots}
        at = {key: float(place) for place, key in enumerate(choices)}
        places = [at[identity(dot.x)] for dot in parameter.dots]
        x = choice_axis(parameter.name, shown_all(choices.values()))
    chart = Chart(x, y, width=_NARROW, height=_LOW, title=f"{parameter.name} against {report.objective.metric}")
    texts = shown_all((dot.x for dot in parameter.dots), 6)
    dots = zip(places, parameter.dots, texts, strict=True)
    for place, dot, text in sorted(dots, key=lambda entry: entry[1].trial == best):
        label = f"trial {dot.trial}: {number(dot.y, 6)} at {_cut(text)}"
        winner = dot.trial == best
        chart.dot(place, dot.y, label, class_="winner" if winner else _dot_class(dot), radius=4.5 if winner else 2.6)
    return chart.element
