"""In virtual time the trials follow from the YAML alone: whatever finishes when, on however many workers."""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes import SPEC as FUNCTION
from fakes import FakeExecutor, Watcher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hptune.base import seeds
from hptune.base.trial import Segment, Trial, Value
from hptune.experiment.reading.load import from_json
from hptune.reports.leaderboard import rows
from hptune.run.history import History
from hptune.run.journal import Journal, read
from hptune.run.record import Record
from hptune.run.rundir import RunPaths
from hptune.search.tuner import Request, search
from hptune.strategies.strategy import Continue, Decision, Done, Start, Wait

SPEC = {**FUNCTION, "strategy": {"name": "tpe"}}
STABILIZED: dict[str, Any] = {
    "data": {"source": "digits"},
    "model": {"python": "m:build"},
    "initialization": {"stabilize": {"method": "lottery", "draws": 2}},
}


@dataclass
class Touchy:
    """Every decision depends on all that has been told, its order included, and on what is under way."""

    trials: int
    continues: bool = True

    def next(self, history: History) -> Decision:
        told = [(number, history.score(history.trials[number])) for number in history.reports]
        draw = seeds.derive(0, repr(told), repr(sorted(history.pending)), len(history.trials))
        paused = [trial.number for trial in history.trials if trial.state == "paused"]
        if paused and self.continues and draw % 3 == 0:
            number = paused[draw % len(paused)]
            return Continue(number, min(history.trials[number].epochs + 1 + draw % 4, 9))
        if len(history.trials) < self.trials:
            return Start({"x": draw % 1000 / 10}, (1, 2, 5, 9)[draw % 4])
        return Wait() if next(history.running(), None) is not None else Done("all are tried")

    def may_continue(self, trial: Trial, history: History) -> bool:
        return trial.values["x"] != 0 and len(history.reports) < 3 * self.trials


def score(values: Mapping[str, Value], epoch: int, replica: int) -> float:
    return seeds.derive(1, values["x"], epoch, replica) % 1000 / 1000


def ends(segment: Segment) -> int | None:
    """Some stop early."""
    draw = seeds.derive(2, segment.values["x"], segment.replica)
    return 1 + draw % 9 if draw % 3 == 0 else None


def fails(segment: Segment) -> str | None:
    return "boom" if seeds.derive(3, segment.values["x"], segment.replica, segment.from_epoch) % 9 == 0 else None


def ran(
    folder: Path, workers: int, seed: int | None, sections: Mapping[str, Any], strategy: Touchy | None = None
) -> Record:
    """seed: of the order in which what runs at the same time finishes; None: the first one first."""
    paths = RunPaths(folder / "runs" / "a")
    rng = random.Random(seed)
    executor = FakeExecutor(paths, score, slots=workers, ends=ends, fails=fails)
    executor.structure = lambda values: str(int(float(values["x"] or 0)) % 3)
    executor.order = (lambda n: rng.randrange(n)) if seed is not None else (lambda _: 0)
    executor.lost = lambda _: seed is not None and rng.random() < 0.03
    request = Request(from_json({**SPEC, **sections}), "the yaml", Path(), "hptune search a.yaml")
    return search(request, paths, executor, make_strategy=lambda *_: strategy or Touchy(12), watch=Watcher())


def trials(record: Record) -> list[dict[str, Any]]:
    """Without what a watch measures."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "lost_seconds")} for row in rows(record.history)]


def decisions(paths: RunPaths) -> list[Any]:
    """What was started and stopped, in order."""
    kept = ("event", "purpose", "trial", "values", "to_epoch", "from_epoch", "replicas", "after")
    return [
        {key: event[key] for key in kept if key in event}
        for event in read(paths.journal)
        if event["event"] in ("segment_started", "trial_stopped")
    ]


KINDS: list[dict[str, Any]] = [
    {},
    {"evaluation": {"repeats": 3}},
    {"evaluation": {"folds": 4, "stop_after": 1}},
    {"evaluation": {"finalists": {"top": 2, "repeats": 3}}},
    {"budget": {"epochs": 60}},
    {"budget": {"patience": 4}},
    {**STABILIZED},
    {**STABILIZED, "evaluation": {"repeats": 2}},
]
MANY = {"execution": {"retries": 9}}


@pytest.mark.parametrize("sections", KINDS, ids=str)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parallel=st.integers(1, 5), seed=st.integers(0, 2**32), workers=st.sampled_from([1, 2, 4, 7]))
def test_whatever_finishes_when_the_trials_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, sections: dict[str, Any], parallel: int, seed: int, workers: int
) -> None:
    sections = {**sections, "execution": {"parallel": parallel, "retries": 9}}
    first, second = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    one, other = ran(first, 1, None, sections), ran(second, workers, seed, sections)
    assert trials(other) == trials(one)
    assert other.history.finals == one.history.finals
    paths = [RunPaths(folder / "runs" / "a") for folder in (first, second)]
    assert decisions(paths[1]) == decisions(paths[0])


def test_as_they_come_the_trials_differ(tmp_path: Path) -> None:
    """What `order: free` is, and that the strategy of these tests does notice."""
    free = {"execution": {"order": "free", "retries": 9}}
    found = [trials(ran(tmp_path / str(seed), 4, seed, free)) for seed in range(4)]
    assert any(other != found[0] for other in found[1:])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("sections", [KINDS[0], KINDS[2], KINDS[7]], ids=str)
def test_killed_at_any_event_it_ends_as_if_never_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    """By a search of other workers, each time, in which others finish first."""
    sections = {**sections, "execution": {"parallel": 3, "retries": 9}}
    whole = ran(tmp_path / "whole", 2, 1, sections)
    wanted, started = trials(whole), decisions(RunPaths(tmp_path / "whole" / "runs" / "a"))
    append, count = Journal.append, len(list(read(RunPaths(tmp_path / "whole" / "runs" / "a").journal)))
    for event in range(1, count, 2):
        left = iter(range(event))

        def dying(journal: Journal, told: dict[str, Any], *, durable: bool = True, left: Any = left) -> Any:
            if next(left, None) is None:
                raise Killed
            return append(journal, told, durable=durable)

        folder = tmp_path / str(event)
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "append", dying)
            with pytest.raises(Killed):
                ran(folder, 1 + event % 3, event, sections)
        assert trials(ran(folder, 1 + event % 4, event + 1, sections)) == wanted, event
        assert decisions(RunPaths(folder / "runs" / "a")) == started, event


def test_a_raised_budget_goes_on_as_one_that_was_that_high_from_the_start(tmp_path: Path) -> None:
    sections = {"execution": {"retries": 9}, "budget": {"trials": 14}}
    wanted = trials(ran(tmp_path / "whole", 1, None, sections, Touchy(14, continues=False)))
    ran(tmp_path / "twice", 2, 5, {**sections, "budget": {"trials": 8}}, Touchy(8, continues=False))
    assert trials(ran(tmp_path / "twice", 3, 6, sections, Touchy(14, continues=False))) == wanted


@dataclass
class InLine:
    """Trials of these lengths, one after the other."""

    lengths: list[int]

    def next(self, history: History) -> Decision:
        number = len(history.trials)
        if number == len(self.lengths):
            return Done("all are tried")
        return Start({"x": float(number)}, self.lengths[number])

    def may_continue(self, trial: Trial, history: History) -> bool:
        return False


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12), parallel=st.integers(1, 5), seed=st.integers(0, 99)
)
def test_a_segment_lasts_as_long_as_its_epochs(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], parallel: int, seed: int
) -> None:
    """Beside a queue simulated plainly: how many had ended as each trial was started."""
    paths = RunPaths(tmp_path_factory.mktemp("line") / "runs" / "a")
    rng = random.Random(seed)
    executor = FakeExecutor(paths, score, slots=2, order=lambda n: rng.randrange(n))
    spec = from_json({**SPEC, "execution": {"parallel": parallel}})
    request = Request(spec, "the yaml", Path(), "hptune search a.yaml")
    search(request, paths, executor, make_strategy=lambda *_: InLine(lengths), watch=Watcher())
    found = [event["after"] for event in read(paths.journal) if event["event"] == "segment_started"]
    busy: list[tuple[int, int]] = []
    now, ended, wanted = 0, 0, []
    for number, length in enumerate(lengths):
        if len(busy) == parallel:
            now, _ = heapq.heappop(busy)
            ended += 1
        wanted.append(ended)
        heapq.heappush(busy, (now + length, number))
    assert found == wanted
