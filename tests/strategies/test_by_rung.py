"""From which rung a sampler learns, to the very report that changes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from hptune.base.trial import Segment, SegmentFailure, SegmentResult, Trial
from hptune.experiment.objective import Objective
from hptune.run.events import failed, finished, started
from hptune.run.history import History
from hptune.strategies.sampler import RESULTS
from hptune.strategies.samplers.by_rung import ByRung

RUNGS = (1, 3, 9)


@dataclass
class Asked:
    """Remembers how far it was told to compare."""

    epochs: list[int | None] = field(default_factory=list)

    def suggest(self, history: History, epochs: int | None = None) -> Any:
        self.epochs.append(epochs)
        return {}


def rung(by: ByRung, asked: Asked, history: History) -> int | None:
    by.suggest(history)
    return asked.epochs[-1]


def empty(earlier: tuple[Trial, ...] = ()) -> History:
    return History([Objective(metric="score", goal="maximize")], earlier)


def train(history: History, trial: int, from_epoch: int, to_epoch: int, *, complete: bool = False) -> None:
    segment = Segment(trial, {"x": trial}, from_epoch, to_epoch)
    history.apply(started(segment))
    curve = {"score": (0.5,) * (to_epoch - from_epoch)}
    history.apply(finished(SegmentResult(segment, to_epoch, curve, 1.0), complete=complete))


def test_it_goes_up_with_the_eighth_result_of_a_rung_and_not_before() -> None:
    history, asked = empty(), Asked()
    by = ByRung(asked, RUNGS)
    assert rung(by, asked, history) == 1
    for trial in range(RESULTS + 3):
        train(history, trial, 0, 1)
        assert rung(by, asked, history) == 1
    for trial in range(RESULTS):
        assert rung(by, asked, history) == 1
        train(history, trial, 1, 3)
    assert rung(by, asked, history) == 3
    for trial in range(RESULTS):
        assert rung(by, asked, history) == 3
        train(history, trial, 3, 9, complete=True)
    assert rung(by, asked, history) == 9
    assert rung(ByRung(asked, RUNGS), asked, history) == 9, "a fresh one reads the same"


def test_a_trial_that_ends_early_counts_on_every_rung_and_one_that_fails_on_none() -> None:
    history, asked = empty(), Asked()
    by = ByRung(asked, RUNGS)
    for trial in range(RESULTS):
        train(history, trial, 0, 1, complete=True)
        assert rung(by, asked, history) == (9 if trial == RESULTS - 1 else 1)
    segment = Segment(RESULTS, {"x": 1}, 0, 1)
    history.apply(started(segment))
    history.apply(failed(SegmentFailure(segment, "no", 0.0)))
    assert rung(by, asked, history) == 9


def test_a_trial_that_fails_later_is_taken_back() -> None:
    history, asked = empty(), Asked()
    by = ByRung(asked, RUNGS)
    for trial in range(RESULTS):
        train(history, trial, 0, 3)
    assert rung(by, asked, history) == 3
    segment = Segment(0, {"x": 0}, 3, 9)
    history.apply(started(segment))
    history.apply(failed(SegmentFailure(segment, "no", 0.0)))
    assert rung(by, asked, history) == 1


@pytest.mark.parametrize("trials", [RESULTS - 1, RESULTS])
def test_earlier_runs_count_and_another_history_is_read_from_its_beginning(trials: int) -> None:
    earlier = tuple(Trial(n - trials, {"x": n}, "completed", 9, epochs=9) for n in range(trials))
    asked = Asked()
    by = ByRung(asked, RUNGS)
    assert rung(by, asked, empty(earlier)) == (9 if trials == RESULTS else 1)
    assert rung(by, asked, empty()) == 1
