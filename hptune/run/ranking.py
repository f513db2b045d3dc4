"""In which order trials stand: by their scores, finalists by their means, or on the Pareto front."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from hptune.base.trial import Trial
from hptune.run.history import History


def ranked(history: History) -> list[Trial]:
    """The trials that have a score, the best first: the finalists by their means, then the others by their scores.

    With several objectives: the Pareto front.
    """
    if len(history.objectives) > 1:
        return pareto_front(history)
    means = {
        number: history.objective.cost(statistics.fmean(scores))
        for number in history.finals
        if (scores := history.final_scores(number)) is not None
    }
    finalists = sorted(means, key=lambda number: (means[number], number))
    others = [trial for trial in by_score(history) if trial.number not in means]
    return [history.trials[number] for number in finalists] + others


def by_score(history: History) -> list[Trial]:
    """The trials that have a score, the best of the search first; of equals the earlier one first."""
    objective = history.objective
    scored = [(history.score(trial), trial) for trial in history.trials]
    costs = [(objective.cost(score), trial) for score, trial in scored if score is not None]
    return [trial for _, trial in sorted(costs, key=lambda pair: (pair[0], pair[1].number))]


def pareto_front(history: History) -> list[Trial]:
    """The trials than which none is better by one objective and no worse by another; the first objective's best first.

    In the order of their costs no trial is beaten by a later one, so that each is compared with the front alone.
    """
    costs: list[tuple[list[float], int]] = []
    for trial in history.trials:
        scores = history.scores(trial)
        if scores is not None:
            costs.append(([o.cost(scores[o.metric]) for o in history.objectives], trial.number))
    front: list[tuple[list[float], int]] = []
    for cost, number in sorted(costs):
        if not any(_beats(other, cost) for other, _ in front):
            front.append((cost, number))
    return [history.trials[number] for _, number in front]


def _beats(a: Sequence[float], b: Sequence[float]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
