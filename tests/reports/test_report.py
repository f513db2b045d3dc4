"""The report: what it holds is what the journal tells, and a page made of a stranger's run can do nothing."""

from __future__ import annotations

import math
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hptune import __main__ as program
from hptune.base.trial import Purpose, Segment, SegmentFailure, SegmentResult
from hptune.reports.html import html
from hptune.reports.report import MOST_DOTS, Report, as_number, make_report
from hptune.reports.svg import choice_axis, number_axis, without_outliers
from hptune.run.events import failed, finished, started
from hptune.run.journal import Journal
from hptune.run.record import Record, replay
from hptune.run.rundir import RunPaths

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """A page as a browser takes it: its elements, the texts in them, and that every one that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.texts.append(data)

    def count(self, tag: str, class_: str | None = None) -> int:
        return sum(name == tag and (class_ is None or a.get("class") == class_) for name, a in self.elements)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def record(objective: Any = None, **head: Any) -> Record:
    experiment = {"objective": objective or {"metric": "score", "goal": "maximize"}}
    event: Any = {"event": "head", "time": 0.0, "experiment": experiment, "space": {}, "facts": {}, **head}
    return Record(event)


def train(run: Record, number: int, score: float | str, *, values: Any = None, complete: bool = True) -> None:
    segment = Segment(number, values or {"x": number}, to_epoch=2)
    run.apply({**started(segment), "time": 1.0})
    if isinstance(score, str):
        run.apply({**failed(SegmentFailure(segment, score, 0.5)), "time": 2.0})
    else:
        result = SegmentResult(segment, 2, {"score": (score - 1, score)}, 1.5)
        run.apply({**finished(result, complete=complete), "time": 2.0})


def made(run: Record) -> Report:
    return make_report(run, name="a", size_bytes=1_500_000)


def page(run: Record) -> Page:
    return Page(html(made(run)))


# --- what it holds ----------------------------------------------------------------------------------------------------


def test_the_report_holds_what_the_journal_tells() -> None:
    run = record()
    scores: list[float | str] = [1.0, "boom", 3.0, 2.0, "boom"]
    for number, score in enumerate(scores):
        train(run, number, score, values={"x": number, "kind": "a" if number < 3 else "b", "same": 7})
    told = made(run)
    assert [row["trial"] for row in told.rows] == [2, 3, 0, 1, 4]
    assert [(dot.trial, dot.y) for dot in told.progress] == [(0, 1.0), (2, 3.0), (3, 2.0)]
    assert told.best_so_far == [(0, 1.0), (2, 3.0)]
    assert [curve.trial for curve in told.curves] == [2, 3, 0]
    assert told.failures == [("boom", 2)]
    assert [(p.name, p.is_number) for p in told.parameters] == [("x", True), ("kind", False)]
    assert (told.trials, told.scored) == (5, 3)
    shown = page(run)
    assert shown.count("svg") == 4, "the search, the curves, two hyperparameters"
    assert shown.count("circle") == 3 + 2 * 3
    assert shown.count("path", "best") == 1
    assert shown.count("tr", "first") == 1
    for words in ("best (maximize)", "score 3", "1.5 MB", "boom", "failed: boom", "trial 2"):
        assert words in shown.text


def test_the_goal_decides_what_is_better() -> None:
    run = record({"metric": "score", "goal": "minimize"})
    for number, score in enumerate([2.0, 3.0, 1.0]):
        train(run, number, score)
    assert made(run).best_so_far == [(0, 1.0), (2, 0.0)]
    assert "best (minimize)" in page(run).text


def test_the_winner_stands_beside_the_baseline() -> None:
    run = record()
    train(run, 0, 3.0)
    assert "trained in full" not in page(run).text
    trained: list[tuple[Purpose, int, float]] = [("best", 5, 0.75), ("baseline", 1, 0.5)]
    for purpose, x, accuracy in trained:
        segment = Segment(0, {"x": x}, to_epoch=2, purpose=purpose)
        run.apply({**started(segment), "time": 3.0})
        curves = {"loss": (2.0, 1.0), "val_loss": (2.5, math.nan), "score": (1.0, float(x))}
        result = SegmentResult(segment, 2, curves, 1.0, facts={"test": {"accuracy": accuracy, "odd": "text"}})
        run.apply({**finished(result, complete=True), "time": 4.0})
    told = made(run)
    assert told.winner is not None
    assert told.baseline is not None
    assert (told.winner.values, told.winner.test, told.winner.score) == ({"x": 5}, {"accuracy": 0.75}, 5.0)
    assert (told.baseline.values, told.baseline.test) == ({"x": 1}, {"accuracy": 0.5})
    texts = page(run).texts
    at = texts.index("test accuracy")
    assert texts[at : at + 3] == ["test accuracy", "0.75", "0.5"]


def test_several_objectives_show_their_front() -> None:
    run = record([{"metric": "score", "goal": "maximize"}, {"metric": "cost", "goal": "minimize"}])
    for number, (score, cost) in enumerate([(1.0, 1.0), (3.0, 2.0), (2.0, 5.0)]):
        segment = Segment(number, {"x": number}, to_epoch=1)
        run.apply({**started(segment), "time": 1.0})
        result = SegmentResult(segment, 1, {"score": (score,), "cost": (cost,)}, 1.0)
        run.apply({**finished(result, complete=True), "time": 2.0})
    assert made(run).front == [(0, 1.0, 1.0, True), (1, 3.0, 2.0, True), (2, 2.0, 5.0, False)]
    shown = page(run)
    assert {"Pareto front", "cost (minimize)"} <= set(shown.texts)
    assert sum(a.get("class") == "winner" and a.get("r") == "4" for _, a in shown.elements) == 2


def test_a_run_without_a_trial_has_a_page_too() -> None:
    shown = page(record())
    assert shown.count("svg") == 0
    assert "under way, or cut short: search again to go on" in shown.text


def test_a_condition_that_does_not_hold_leaves_a_gap() -> None:
    run = record()
    for number in range(4):
        train(run, number, 1.0 + number, values={"x": number, **({"momentum": number / 9} if number > 1 else {})})
    (momentum,) = (p for p in made(run).parameters if p.name == "momentum")
    assert [dot.trial for dot in momentum.dots] == [2, 3]


def test_many_trials_are_thinned_out_and_the_best_are_drawn() -> None:
    run = record()
    for number in range(4 * MOST_DOTS):
        train(run, number, float(number * 7919 % 6007))
    told = made(run)
    assert len(told.progress) == MOST_DOTS
    assert {row["trial"] for row in told.rows[:100]} <= {dot.trial for dot in told.progress}
    assert told.progress[0].trial < 5
    assert told.progress[-1].trial > 4 * MOST_DOTS - 10
    text = html(told)
    assert len(text) < 1_500_000
    assert "1,500 of 6,000 trials are drawn" in Page(text).text


# --- what it must not do ----------------------------------------------------------------------------------------------

EVIL = (
    "</title></style></svg><script>alert(1)</script><img src=x onerror=alert(2)>"
    "\"'` onload=alert(3)\x00\x1b[2J\u202e&lt;"
)


def evil_run(folder: Path) -> RunPaths:
    """A stranger's run, as far as its journal is read at all: every text in it would like to be markup."""
    paths = RunPaths(folder / "runs" / "evil")
    paths.root.mkdir(parents=True)
    objective = {"metric": EVIL, "goal": "maximize"}
    head = {
        "event": "head",
        "experiment": {"objective": objective, EVIL: {EVIL: [EVIL, {EVIL: 1}]}},
        "space": {EVIL: {"log": True}, "n": [1]},
        "facts": {"task": EVIL, "fingerprint": {EVIL: EVIL}, "rows": {EVIL: EVIL}},
        "folder": EVIL,
        "versions": {EVIL: EVIL},
        "platform": EVIL,
    }
    with Journal(paths.journal) as journal:
        journal.append(head)
        for number, (text, n) in enumerate([(EVIL, 10**400), (f"{EVIL}2", -1), ("x", 1e300), (None, 5e-324)]):
            segment = Segment(number, {EVIL: text, "n": n}, to_epoch=2)
            journal.append(started(segment))
            curves = {EVIL: (-1e299, 1e299 * number / 3), "loss": (math.inf, math.nan)}
            journal.append(finished(SegmentResult(segment, 2, curves, 1e300), complete=True))
        for purpose in ("best", "baseline"):
            segment = Segment(0, {EVIL: EVIL}, to_epoch=2, purpose=purpose)
            journal.append(started(segment))
            facts = {"test": {EVIL: 1.0, "b": math.nan, "c": [EVIL]}}
            curves = {"loss": (math.inf, 2.0), EVIL: (math.nan, math.inf)}
            journal.append(finished(SegmentResult(segment, 2, curves, 0.0, facts=facts), complete=True))
        segment = Segment(4, {EVIL: EVIL}, to_epoch=2)
        journal.append(started(segment))
        journal.append(failed(SegmentFailure(segment, EVIL, 0.0)))
        journal.append({"event": "search_ended", "why": EVIL})
    return paths


KNOWN = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "dl", "div", "dt", "dd", "section", "details"),
    *("table", "thead", "tbody", "tr", "th", "td", "summary", "span", "svg", "path", "circle", "text"),
}
ATTRIBUTES = {
    *("charset", "http-equiv", "content", "name", "class", "lang", "viewbox", "role", "aria-label"),
    *("x", "y", "d", "cx", "cy", "r", "transform"),
}


def test_no_text_of_a_stranger_becomes_markup(tmp_path: Path) -> None:
    paths = evil_run(tmp_path)
    text = html(make_report(replay(paths), name=paths.name, size_bytes=0))
    shown = Page(text)
    assert {name for name, _ in shown.elements} <= KNOWN
    assert {key for _, attributes in shown.elements for key in attributes} <= ATTRIBUTES
    assert "</title></style></svg><script>alert(1)</script><img src=x" in shown.text, "it is shown as it was written"
    assert not {"\x00", "\x1b", "\u202e"} & set(text)
    assert "\\x00\\x1b[2J\\u202e&lt;" in shown.text
    assert "nan" not in {value for _, attributes in shown.elements for value in attributes.values()}


def test_a_page_loads_nothing_and_forbids_it(tmp_path: Path) -> None:
    paths = evil_run(tmp_path)
    text = html(make_report(replay(paths), name=paths.name, size_bytes=0))
    policy = next(a["content"] for _, a in Page(text).elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    style = text[text.index("<style>") : text.index("</style>")]
    assert not any(word in style for word in ("url(", "@import", "http"))


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_shows_it_and_runs_nothing(tmp_path: Path) -> None:
    paths = evil_run(tmp_path)
    assert program.run(["report", "--runs-dir", str(tmp_path / "runs")]) == 0
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
    ]  # fmt: skip
    command = [str(CHROMIUM), *options, "--dump-dom", paths.report.as_uri()]
    dom = Page(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    assert {name for name, _ in dom.elements} <= KNOWN
    assert dom.count("circle") >= 8
    assert dom.count("details") == 2
    assert "<script>alert(1)</script>" in dom.text


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = evil_run(tmp_path)
    before = paths.journal.read_bytes()
    runs = ["--runs-dir", str(tmp_path / "runs")]
    assert program.run(["report", *runs]) == 0
    assert capsys.readouterr().out == f"wrote {paths.report}\n"
    assert paths.report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert program.run(["report", *runs, "--output", str(tmp_path / "mine.html"), "--json"]) == 0
    assert capsys.readouterr().out == f'{{"written": "{tmp_path / "mine.html"}"}}\n'
    assert (tmp_path / "mine.html").read_bytes()[:200] == paths.report.read_bytes()[:200]
    assert paths.journal.read_bytes() == before
    assert program.run(["report", *runs, "--output", str(tmp_path / "runs")]) == 1
    assert "can't be written" in capsys.readouterr().err


# --- axes -------------------------------------------------------------------------------------------------------------

_DRAWN = st.floats(-1e299, 1e299)


@given(st.lists(_DRAWN, max_size=6))
def test_an_axis_holds_all_its_values_and_a_few_ticks(values: list[float]) -> None:
    axis = number_axis("x", values)
    assert all(0 < axis.share(value) < 1 for value in values)
    assert 1 <= len(axis.ticks) <= 10
    assert len({label for _, label in axis.ticks}) == len(axis.ticks)
    assert all(0 <= axis.share_of_place(place) <= 1 for place, _ in axis.ticks)


@given(st.lists(st.floats(5e-324, 1.7e308), min_size=1, max_size=6))
def test_a_logarithmic_axis_too(values: list[float]) -> None:
    axis = number_axis("x", values, log=True)
    assert all(0 < axis.share(value) < 1 for value in values)
    assert 1 <= len(axis.ticks) <= 8
    assert len({label for _, label in axis.ticks}) == len(axis.ticks)
    assert all(0 < float(label) < math.inf for _, label in axis.ticks)
    if max(values) >= 1e6 * min(values):
        assert all(label.startswith("1e") for _, label in axis.ticks)


def test_equal_distances_on_a_logarithmic_axis_are_equal_factors() -> None:
    axis = number_axis("x", [1e-4, 1e-1], log=True)
    assert axis.share(1e-3) - axis.share(1e-4) == pytest.approx(axis.share(1e-1) - axis.share(1e-2))
    assert [label for _, label in axis.ticks] == ["1e-4", "1e-3", "1e-2", "1e-1"]


@pytest.mark.parametrize("log", [False, True])
@given(st.floats(1e-9, 1e9), st.floats(1e-12, 1e-2), st.integers(2, 5))
def test_no_two_ticks_read_alike(log: bool, middle: float, spread: float, count: int) -> None:
    """Close together and far from 0, where four digits would tell 0.001 three times."""
    axis = number_axis("x", [middle * (1 + spread * n / count) for n in range(count)], log=log)
    assert len({label for _, label in axis.ticks}) == len(axis.ticks)
    for place, label in axis.ticks:
        told = math.log10(float(label)) if log else float(label)
        assert told == pytest.approx(place, abs=(axis.high - axis.low) / 50)


def test_one_two_letters_and_true_are_three_values() -> None:
    run = record()
    for number, value in enumerate([1, "1", True, 1]):
        train(run, number, 1.0 + number, values={"kind": value})
    (kind,) = made(run).parameters
    assert not kind.is_number
    shown = page(run)
    ticks = [text for text in shown.texts if text in ("1", '"1"', "True")]
    assert {"1", '"1"', "True"} <= set(ticks)
    places = [a["cx"] for tag, a in shown.elements if tag == "circle"][-4:]
    assert len(set(places)) == 3
    assert any('at "1"' in text for text in shown.texts)
    two = record()
    for number, value in enumerate([True, 1]):
        train(two, number, 1.0 + number, values={"kind": value})
    assert [p.name for p in made(two).parameters] == ["kind"], "more than one value was given"


def test_names_that_begin_alike_have_labels_of_their_own() -> None:
    names = [f"a long name of a choice, the {n}th" for n in range(3)] + [f"{'x' * 20}{n}{'y' * 20}" for n in range(2)]
    axis = choice_axis("x", names)
    assert len({label for _, label in axis.ticks}) == 5
    assert all(len(label) <= 14 for _, label in axis.ticks)
    long = ["z" * 400 + "1", "z" * 400 + "2"]
    run = record()
    for number, value in enumerate(long):
        train(run, number, 1.0 + number, values={"kind": value})
    places = [a["cx"] for tag, a in page(run).elements if tag == "circle"][-2:]
    assert len(set(places)) == 2


def test_each_replica_has_its_curve() -> None:
    run = record()
    for number in range(2):
        segment = Segment(number, {"x": number}, to_epoch=2)
        run.apply({**started(segment, [0, 1]), "time": 1.0})
        for replica in range(2):
            result = SegmentResult(segment._replace(replica=replica), 2, {"score": (0.1, number + replica / 4)}, 1.5)
            run.apply({**finished(result, complete=True), "time": 2.0})
    assert [(curve.trial, curve.replica, curve.values) for curve in made(run).curves] == [
        (1, 0, (0.1, 1.0)),
        (1, 1, (0.1, 1.25)),
        (0, 0, (0.1, 0.0)),
        (0, 1, (0.1, 0.25)),
    ]
    shown = page(run)
    assert {"trial 1 (2 replicas)", "trial 1, replica 0", "trial 1, replica 1"} <= set(shown.texts)
    assert shown.count("path", "c0") == 2, "in one colour"


def test_what_diverged_does_not_squeeze_the_others() -> None:
    losses = [0.1 * n for n in range(1, 20)] + [1e6]
    assert max(without_outliers(losses, lambda a, b: a > b)) == pytest.approx(1.8)
    assert without_outliers(losses[:-1], lambda a, b: a > b) == sorted(losses[:-1])
    assert without_outliers([1.0, 1e6], lambda a, b: a > b) == [1.0, 1e6], "of a few all are shown"
    assert as_number("3") is None
