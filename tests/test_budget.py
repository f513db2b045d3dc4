"""When a search has had enough: `patience`, beside what the tests of the loop hold."""

from __future__ import annotations

import pytest

from hptune.base.trial import Segment, SegmentFailure, SegmentResult
from hptune.experiment.objective import Objective
from hptune.run import events
from hptune.run.history import History
from hptune.search.budget import Limits


def told(*scores: float | None) -> History:
    """A history of complete trials with these scores; None: failed."""
    history = History([Objective(metric="score", goal="minimize")])
    for number, score in enumerate(scores):
        segment = Segment(number, {"x": number}, 0, 1)
        history.apply(events.started(segment))
        if score is None:
            history.apply(events.failed(SegmentFailure(segment, "boom", 0.1)))
        else:
            result = SegmentResult(segment, 1, {"score": (score,)}, 0.1)
            history.apply(events.finished(result, complete=True))
    return history


@pytest.mark.parametrize(
    ("scores", "since"),
    [
        ([3, 2, 1], None),
        ([1, 2, 3], None),
        ([1, 2, 3, 4], 3),
        ([1, 1, 1, 1], 3),  # as good is no better
        ([5, 6, 7, 4, 5, None], None),
        ([5, 6, 7, 4, 5, None, 6], 3),
        ([None, None, None], 3),
    ],
)
def test_patience_counts_the_trials_since_the_best(scores: list[float | None], since: int | None) -> None:
    reached = Limits(patience=3).reached(told(*scores), 0.0, paused=False)
    assert reached == (None if since is None else f"{since} trials in a row brought nothing better")


def test_training_the_best_on_is_no_other_trial() -> None:
    history = told(1.0)
    history.trials[0] = history.trials[0].__class__(0, {"x": 0}, "paused", 1, epochs=1, curves=({"score": (1.0,)},))
    for epoch in (2, 3, 4):
        segment = Segment(0, {"x": 0}, epoch - 1, epoch)
        history.apply(events.started(segment))
        history.apply(events.finished(SegmentResult(segment, epoch, {"score": (2.0,)}, 0.1), complete=epoch == 4))
    assert Limits(patience=1).reached(history, 0.0, paused=False) is None
