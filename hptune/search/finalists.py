"""The finalists: the best trials of a search, trained in full again under seeds that no trial has used.

Under folds each repeat is a cross-validation of its own, the whole of it: what some folds alone score says as much of
these folds as of the trial. Which repeats are left follows from the history and the experiment, so that more of either
continues where it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from hptune.base.trial import Segment
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import resolve
from hptune.run.history import History
from hptune.run.ranking import by_score


def next_finalist(experiment: Experiment, history: History) -> tuple[Segment, Sequence[int]] | None:
    """The next finalist's training in full, and the replicas that it is still to be trained as; None: all are done."""
    finalists = experiment.evaluation.finalists
    if finalists is None:
        return None
    unused = experiment.evaluation.replicas
    trainings = finalists.repeats * (experiment.evaluation.folds or 1)
    for trial in by_score(history)[: finalists.top]:
        known = history.finals.get(trial.number, {})
        replicas = [
            replica
            for replica in range(unused, unused + trainings)
            if replica not in known and ("finalist", trial.number, replica) not in history.pending
        ]
        if replicas:
            epochs = resolve(experiment, trial.values).training.epochs
            assert isinstance(epochs, int), "a resolved recipe holds numbers"
            return Segment(trial.number, trial.values, to_epoch=epochs, purpose="finalist"), replicas
    return None
