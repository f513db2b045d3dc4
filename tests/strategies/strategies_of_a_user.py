"""A strategy as a user may write one."""

from __future__ import annotations

from random import Random
from typing import Any

from hptune.base.seeds import derive
from hptune.base.trial import Trial
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import full_epochs
from hptune.experiment.space.space import Space
from hptune.run.history import History
from hptune.strategies.strategy import Decision, Start


class Shuffled:
    """Random points, each trained in full."""

    def __init__(self, experiment: Experiment, space: Space) -> None:
        self._experiment, self._seed, self._space = experiment, experiment.seed, space

    def next(self, history: History) -> Decision:
        known = [trial.values for trial in history.trials]
        tried = 0
        while True:
            draw = Random(derive(self._seed, "shuffled", len(known), tried))
            point: dict[str, Any] = self._space.choose(lambda _, domain: domain.from_unit(draw.random()))  # noqa: B023
            if point not in known or tried > 1000:
                return Start(point, full_epochs(self._experiment, point))
            tried += 1

    def may_continue(self, trial: Trial, history: History) -> bool:
        return False
