"""Where the time went: parts that add up, and the table of them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from hptune.base import stopwatch
from hptune.base.stopwatch import Part, Stopwatch, counts
from hptune.reports.profile import profile_rows


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    """A stopwatch on a clock that stands still."""
    watch = Stopwatch()
    monkeypatch.setattr(stopwatch, "WATCH", watch)
    return watch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_a_part_inside_another_counts_for_itself_alone(watch: Stopwatch, clock: list[float]) -> None:
    @counts("checkpoint")
    def save() -> None:
        clock[0] += 2

    @counts("rest")
    def run() -> str:
        clock[0] += 1
        save()
        clock[0] += 4
        return "done"

    clock[0] += 8  # in no part
    assert run() == "done"
    assert dict(watch.spent) == {"rest": 5, "checkpoint": 2}
    assert watch.take() == ({"rest": 5, "checkpoint": 2}, [])
    assert watch.take() == ({}, [])


def test_what_raises_is_counted_too(watch: Stopwatch, clock: list[float]) -> None:
    @counts("data")
    def read() -> None:
        clock[0] += 3
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011  # any will do
        read()
    clock[0] += 5
    assert dict(watch.spent) == {"data": 3}


def test_what_is_done_for_the_profile_is_told_apart(watch: Stopwatch, clock: list[float]) -> None:
    @counts("build")
    def build() -> None:
        clock[0] += 3

    with watch.aside():
        build()
        watch.move("build", "train", 1)
    assert dict(watch.spent) == {"profile": 3}


def test_no_more_is_moved_than_there_is(watch: Stopwatch) -> None:
    watch.add({"train": 2.0}, [])
    watch.move("train", "validate", 5.0)
    assert dict(watch.spent) == {"train": 0.0, "validate": 2.0}


def test_rows_in_the_order_of_a_trial() -> None:
    rows = profile_rows({"journal": 1.0, "train": 3.0, "data": 0.0}, trials=10)
    assert [(row["part"], row["share"], row["a_trial"]) for row in rows] == [
        ("train", 0.75, 300),
        ("journal", 0.25, 100),
    ]
    assert profile_rows({}, trials=0) == []
    assert len(profile_rows(dict.fromkeys(get_args(Part), 1.0), trials=1)) == len(get_args(Part))


SPEC = """\
version: 1
name: a
data: {source: digits, limit: 200}
model: {layers: [Flatten, {Dense: {units: 10, activation: softmax}}]}
search_space: {rate: {type: float, min: 0.001, max: 0.1}}
training: {epochs: 3, optimizer: {name: adam, learning_rate: $rate}}
strategy: {name: tpe}
budget: {trials: 2}
execution: {workers: 1}
"""


@pytest.mark.slow
def test_the_command_shows_it_and_trains_the_same(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    told = {}
    for name, more in (("plain", []), ("profiled", ["--profile"])):
        command = [sys.executable, "-m", "hptune", "search", "spec.yaml", "--quiet", "--runs-dir", name, *more]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        rows = [sys.executable, "-m", "hptune", "trials", "--json", "--runs-dir", name]
        trials = subprocess.run(rows, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        told[name] = (done.stderr, [line.split('"seconds"')[0] for line in trials.splitlines()])
    for part in ("start", "data", "build", "trace", "compile", "train", "validate", "strategy", "journal", "profile"):
        assert f"\n{part} " in told["profiled"][0], part
    assert "execution.xla" in told["profiled"][0]
    assert "execution.xla" not in told["plain"][0]
    assert told["plain"][1] == told["profiled"][1]
