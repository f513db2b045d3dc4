"""Which trials are not worth their remaining folds (`evaluation.stop_after`); read out of the history alone.

References: the median rule of Golovin et al. 2017, doi:10.1145/3097983.3098043, over folds in place of steps.
"""

from __future__ import annotations

import statistics

from hptune.base.trial import Trial
from hptune.run.history import History, best_of

FIRST = 5
"""Trials that are trained on all their folds before any is stopped."""


def unpromising(history: History, trial: Trial, *, stop_after: int) -> bool:
    """Whether a running trial, over the folds that it has finished, is worse than the median of the whole trials there.

    stop_after: how many folds it must have finished to be judged.
    """
    done = [replica for replica, curves in enumerate(trial.curves) if curves]
    whole = [other for other in history.trials if other.state == "completed"]
    if len(done) < stop_after or len(whole) < FIRST:
        return False
    known = [mean for other in whole if (mean := _mean(history, other, done)) is not None]
    own = _mean(history, trial, done)
    return own is not None and bool(known) and history.objective.better(statistics.median(known), own)


def _mean(history: History, trial: Trial, folds: list[int]) -> float | None:
    """A trial's mean score over some folds; None where it has none."""
    scores = [best_of(trial.curves[fold], history.objective) for fold in folds if fold < len(trial.curves)]
    present = [score for score in scores if score is not None]
    return statistics.fmean(present) if len(present) == len(folds) else None
