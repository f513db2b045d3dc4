"""What is written can be read: whatever people's code gives back, and wherever the clocks stand."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fakes import FakeExecutor, InTurn, Watcher
from hypothesis import given, settings
from hypothesis import strategies as st

from hptune import __main__ as program
from hptune.base.errors import RunError, SegmentFailed
from hptune.base.trial import Segment, SegmentResult
from hptune.executors.executor import Outcome, attempt
from hptune.executors.serve import Progress, _Voice
from hptune.experiment.reading.load import from_json
from hptune.reports.html import html
from hptune.reports.leaderboard import best_rows, plain_json, rows
from hptune.reports.report import make_report
from hptune.run.events import LAST_TIME_S
from hptune.run.journal import Journal, read
from hptune.run.record import replay
from hptune.run.rundir import RunPaths
from hptune.search.tuner import Request, search

# --- whatever its types allow -----------------------------------------------------------------------------------------


class Text(str):
    """A text of the user's."""


class Number(float):
    """A number of the user's."""


TEXTS = st.text(st.characters(exclude_categories=[])) | st.sampled_from(
    ["", "score", "$float", "test", "\0", "\x1b[2J", "a" * 100_000, Text("mine")]
)
FLOATS = st.floats() | st.sampled_from([1e300, -1e300, sys.float_info.max, 9.9e299, -0.0, 5e-324, Number(0.5)])
NUMBERS = (
    FLOATS
    | st.integers()
    | st.booleans()
    | st.floats(width=32).map(np.float32)
    | st.integers(-(2**63), 2**63 - 1).map(np.int64)
    | st.sampled_from([2**64, -(2**70), 10**400, 10**4000, Decimal("0.5"), np.bool_(True), np.array(0.5), np.ones(3)])
)
ODD = st.none() | st.sampled_from([object(), b"bytes", {1}, 1j]) | TEXTS
CURVES = st.dictionaries(TEXTS, st.lists(NUMBERS | ODD, min_size=2, max_size=2), max_size=2)
SCORES = st.lists(FLOATS | NUMBERS, min_size=2, max_size=2)
FACTS = st.dictionaries(
    TEXTS | st.integers(),
    st.recursive(NUMBERS | ODD, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2)),
    max_size=2,
)
SECONDS = st.floats() | st.sampled_from([-1.0, 0.0])


@st.composite
def returned(draw: st.DrawFn) -> Any:
    """What a segment brought back: curves, facts and seconds; or a text that its code raised."""
    if draw(st.integers(0, 4)) == 0:
        return draw(TEXTS)
    return {"score": draw(SCORES), **draw(CURVES)}, draw(FACTS), draw(SECONDS)


class Odd(FakeExecutor):
    """Brings back what it was given, as a worker does."""

    given: list[Any]

    def _train(self, segment: Segment) -> Outcome:  # type: ignore[override]
        return attempt(self, segment, lambda *_: None)

    def run(self, segment: Segment, on_epoch: Any) -> SegmentResult:
        told = self.given[segment.trial]
        if isinstance(told, str):
            raise SegmentFailed(told)
        curves, facts, seconds = told
        return SegmentResult(segment, 2, curves, seconds, facts=facts)


SPEC = {
    "version": 1,
    "name": "a",
    "model": {"function": "m:f"},
    "search_space": {"x": {"type": "float", "min": 0.0, "max": 9.0}},
    "training": {"epochs": 2},
    "objective": {"metric": "score", "goal": "maximize"},
}


@settings(max_examples=60, deadline=None)
@given(st.lists(returned(), min_size=1, max_size=3))
def test_whatever_trials_bring_back_can_be_read_ranked_and_drawn(given_back: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = RunPaths(Path(folder) / "runs" / "a")
        executor = Odd(paths)
        executor.given = [*given_back, ({"score": [0.5, 0.5]}, {}, 1.0)]  # one succeeds, whatever the others do
        request = Request(from_json(SPEC), "yaml", Path(), "hptune search a.yaml")
        strategy = InTurn(len(executor.given), epochs=2)
        record = search(request, paths, executor, make_strategy=lambda *_: strategy, watch=Watcher())
        again = replay(paths)
        assert rows(again.history) == rows(record.history), "read as it was told"
        assert len(again.history.trials) == len(executor.given)
        assert again.history.trials[-1].state == "completed"
        json.dumps(plain_json([*rows(again.history), *best_rows(again.history)]), allow_nan=False)
        html(make_report(again, name="a", size_bytes=1))


# --- real searches ----------------------------------------------------------------------------------------------------

FUNCTION = """\
import sys, decimal
import numpy as np

def raised(text):
    raise ValueError(text)

ODD = [
    lambda: 0.25,
    lambda: sys.float_info.max, lambda: 1e300, lambda: -1e300, lambda: 2e299, lambda: float("inf"),
    lambda: float("nan"),
    lambda: 10**400, lambda: 2**70, lambda: np.float32(3), lambda: np.int64(-4), lambda: np.array([0.5]), lambda: True,
    lambda: -0.0, lambda: 5e-324, lambda: decimal.Decimal("0.5"), lambda: "abc", lambda: None, lambda: [1, 2],
    lambda: {}, lambda: {"other": 1.0}, lambda: {"score": 1, "": 2}, lambda: {"score": 1, "$float": 2},
    lambda: {"score": 1, "\\ud800": float("inf")}, lambda: {"score": 1, "x" * 100_000: 2},
    lambda: {"score": 1, "a\\x1b[31m\\0": float("nan")}, lambda: {"score": 1, 7: 10**400},
    lambda: {"score": 1, None: 2},
    lambda: raised("\\ud800 \\x1b[2J"), lambda: raised("x" * 10**6), lambda: raised(""), lambda: sys.exit("y" * 10**6),
    lambda: {"score": 1, "test": "no number"},
]

def f(x):
    return ODD[x]()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("odd_returns", None)


def command(*words: str) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = program.run(list(words))
    assert "fault in hptune" not in err.getvalue(), err.getvalue()
    assert "damaged" not in err.getvalue(), err.getvalue()
    return code, out.getvalue()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_function_that_returns_anything_costs_its_trial(home: Path, workers: int) -> None:
    (home / "odd_returns.py").write_text(FUNCTION)
    count = FUNCTION.count("lambda:")
    (home / "a.yaml").write_text(
        'version: 1\nname: a\nmodel: {function: "odd_returns:f"}\nobjective: {metric: score, goal: minimize}\n'
        f"search_space: {{x: {{type: int, min: 0, max: {count - 1}}}}}\nstrategy: {{name: grid}}\n"
        f"execution: {{workers: {workers}}}\n"
    )
    assert command("search", "a.yaml", "--quiet")[0] == 0
    told = {row["values"]["x"]: row for row in json.loads(command("trials", "--json")[1])}
    assert len(told) == count
    failed = {x: row["error"] for x, row in told.items() if row["state"] == "failed"}
    assert {1, 2, 3, 5, 6, 7, 11, 16, 17, 18, 19, 20, 25, 26, 28, 29, 30, 31, 32} == set(failed)
    assert "1e+300" in failed[1]
    assert all(len(reason) < 5_000 for reason in failed.values())
    assert json.loads(command("best", "--json")[1])[0]["values"]["x"] == 10
    for words in (["best"], ["trials"], ["report"], ["runs"], ["compare", "a", "a"], ["train-best"], ["trials"]):
        assert command(*words)[0] == 0, words
    assert command("search", "a.yaml", "--quiet", "--set", "budget.epochs=1000")[0] == 0


CLOCK = """\
import turned

def f(x):
    turned.at[:] = [x]
    return x
"""


def test_clocks_may_stand_anywhere_and_be_set_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the search's own process, whose clocks are turned as the function says."""
    (home / "turned_clocks.py").write_text(CLOCK)
    (home / "a.yaml").write_text(
        'version: 1\nname: a\nmodel: {function: "turned_clocks:f"}\nobjective: {metric: score, goal: minimize}\n'
        "search_space: {x: {type: int, min: 0, max: 3}}\nstrategy: {name: grid}\nexecution: {executor: inline}\n"
    )
    turned = ModuleType("turned")
    at: list[int] = []
    turned.at = at  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "turned", turned)
    monotonic, perf_counter = time.monotonic, time.perf_counter
    monkeypatch.setattr(time, "time", lambda: [-5.0, 1e18, float(2**62), 0.0][at[0]] if at else 1e9)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + ([-1e9, 1e6, -2e9, 0.0][at[0]] if at else 0.0))
    monkeypatch.setattr(time, "perf_counter", lambda: perf_counter() - (1e6 if at else 0.0))
    try:
        code = command("search", "a.yaml", "--quiet")[0]
    finally:
        monkeypatch.undo()
        sys.modules.pop("turned_clocks")
    assert code == 0
    paths = RunPaths(home / "runs" / "a")
    events = list(read(paths.journal))
    assert all(0 <= event["time"] <= LAST_TIME_S for event in events)
    assert any(event["time"] == 0 for event in events), "before 1970"
    spent = [event["elapsed"] for event in events if "elapsed" in event]
    assert spent == sorted(spent)
    assert [trial.state for trial in replay(paths).history.trials] == ["completed"] * 4
    assert all(trial.seconds >= 0 for trial in replay(paths).history.trials)


def test_a_journal_of_before_1970(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path / "j") as journal:
        for now in (-1e9, 1e300, float("inf"), 5.25):
            monkeypatch.setattr(time, "time", lambda now=now: now)
            journal.append({"event": "x"})
    assert [event["time"] for event in read(tmp_path / "j")] == [0.0, LAST_TIME_S, LAST_TIME_S, 5.25]


def test_progress_of_odd_metrics_is_of_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Progress] = []
    voice = _Voice(None)  # type: ignore[arg-type]
    monkeypatch.setattr(_Voice, "__call__", lambda self, message: sent.append(message))
    voice.progress(Segment(0, {}), 1, {Text("a"): Number(0.5), "b": object(), "c": "text", "d": 3})  # type: ignore[dict-item]
    (told,) = sent
    assert told.metrics == {"a": 0.5, "d": 3.0}
    assert [type(one) for pair in told.metrics.items() for one in pair] == [str, float, str, float]


def test_a_file_with_half_a_pair_is_written(tmp_path: Path) -> None:
    from hptune.base.files import write_whole

    write_whole(tmp_path / "a.json", json.dumps({"a": "\ud800"}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": "\ud800"}
    with pytest.raises(RunError, match="can't be written"):
        write_whole(tmp_path / "a.json" / "b", "")
