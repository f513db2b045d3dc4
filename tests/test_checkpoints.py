"""`checkpoints.keep`: the weights of the best finished trials are on the disk, at every moment of every search."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fakes import SPEC, FakeExecutor, Halving, Watcher
from hypothesis import given, settings
from hypothesis import strategies as st

from hptune.base.errors import Interrupted, RunError
from hptune.base.trial import Segment, SegmentFailure, SegmentResult
from hptune.executors.executor import Outcome
from hptune.experiment.reading.load import from_json
from hptune.run.history import best_epoch
from hptune.run.record import Record, replay
from hptune.run.rundir import RunPaths
from hptune.search.tuner import Request, search


class Scored(FakeExecutor):
    """Writes the states that a worker does; before each outcome the disk is looked at.

    scores: by trial and epoch. failing: (trial, to_epoch) of segments that fail. dies_after: so many outcomes.
    """

    scores: dict[tuple[int, int], float]
    failing: set[tuple[int, int]]
    keep: int
    dies_after: int | None = None
    looked = 0

    def wait(self, timeout_s: float | None = None) -> list[Outcome]:
        if self.paths.journal.exists():
            look(self.paths, self.keep)
            self.looked += 1
            if self.looked == self.dies_after:
                raise KeyboardInterrupt
        return super().wait(timeout_s)

    def _train(self, segment: Segment) -> Outcome:  # type: ignore[override]
        if (segment.trial, segment.to_epoch) in self.failing:
            return SegmentFailure(segment, "it raised", 0.5)
        whole = tuple(self.scores[segment.trial, epoch] for epoch in range(1, segment.to_epoch + 1))
        new = whole[segment.from_epoch :]
        earned = whole.index(max(whole)) + 1
        wanted = segment.keep_above is None or max(new) > segment.keep_above
        asked = self.keep > 0 and (segment.keep_state or segment.keep_above is not None)
        kept = {segment.to_epoch} if segment.keep_state else set()
        if asked and wanted and earned > segment.from_epoch:
            kept.add(earned)
        for epoch in kept:
            state = self.paths.state(segment.trial, segment.replica, epoch)
            state.parent.mkdir(parents=True, exist_ok=True)
            state.write_text("weights")
        return SegmentResult(segment, segment.to_epoch, {"score": new}, 1.0, segment.to_epoch in kept)


def finished(record: Record) -> list[Any]:
    """The trials that have a score and are not being trained, the best first; of equals the one that reported first."""
    history = record.history
    done = [trial for trial in history.trials if trial.state != "running" and history.score(trial) is not None]
    return sorted(done, key=lambda trial: -(history.score(trial) or 0.0))


def look(paths: RunPaths, keep: int) -> None:
    """That the weights of one of the best finished trials are there, for each of the `keep` best scores."""
    record = replay(paths)
    lead, history = record.history.objectives[0], record.history
    best = finished(record)
    there = [
        history.score(trial)
        for trial in best
        if paths.state(trial.number, 0, best_epoch(trial.curves[0], lead)).exists()
    ]
    assert there[:keep] == [history.score(trial) for trial in best[:keep]], [(t.number, t.state) for t in best]


def run(paths: RunPaths, executor: Scored, *, keep: int) -> Record:
    executor.keep = keep
    request = Request(from_json({**SPEC, "checkpoints": {"keep": keep}}), "yaml", Path(), "hptune search a.yaml")
    strategy = Halving()
    return search(request, paths, executor, make_strategy=lambda *_: strategy, watch=Watcher())


@st.composite
def courses(draw: st.DrawFn) -> tuple[dict[tuple[int, int], float], set[tuple[int, int]]]:
    some = st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])  # so that some are equal
    scores = {(trial, epoch): draw(some) for trial in range(6) for epoch in range(1, 10)}
    return scores, draw(st.sets(st.tuples(st.integers(0, 5), st.sampled_from([1, 3, 9])), max_size=4))


@settings(max_examples=40, deadline=None)
@given(courses(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.none() | st.integers(1, 12))
def test_the_best_finished_trials_weights_are_there(
    course: Any, keep: int, slots: int, order: int, dies_after: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = RunPaths(Path(folder) / "runs" / "a")

        def executor() -> Scored:
            made = Scored(paths, slots=slots, order=lambda waiting: order)
            made.scores, made.failing = course
            return made

        cut = executor()
        cut.dies_after = dies_after
        with contextlib.suppress(RunError):  # no trial has succeeded
            try:
                record = run(paths, cut, keep=keep)
            except Interrupted:
                record = run(paths, executor(), keep=keep)
            look(paths, keep)
            on_disk = sorted(paths.trial_numbers())
            assert len(on_disk) <= keep, "at the end these alone"
            assert on_disk or not finished(record)


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "runs" / "a")


def test_the_best_that_fails_when_promoted_leaves_the_next_best(paths: RunPaths) -> None:
    """The first trials of a search by halves: the best one is trained on, and fails; another one is the best then."""
    executor = Scored(paths)
    executor.scores = {(trial, epoch): (9 - trial) / 10 for trial in range(6) for epoch in range(1, 10)}
    executor.failing = {(0, 3), (1, 9)}
    record = run(paths, executor, keep=1)
    best = finished(record)[0]
    assert [path.name for path in paths.trials.glob("*")] == [f"{best.number:04d}"]
