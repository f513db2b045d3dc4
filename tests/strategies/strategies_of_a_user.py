"""Strategies as a user may write them, right and wrong."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from random import Random
from time import monotonic
from typing import Any

import numpy as np

from hptune.base.seeds import derive
from hptune.base.trial import Trial
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import full_epochs
from hptune.experiment.space.space import Space
from hptune.run.history import History
from hptune.strategies.strategy import Continue, Decision, Done, Start, Wait


class Shuffled:
    """Random points, each trained in full."""

    def __init__(self, experiment: Experiment, space: Space) -> None:
        self._experiment, self._seed, self._space = experiment, experiment.seed, space

    def next(self, history: History) -> Decision:
        known = [trial.values for trial in history.trials]
        tried = 0
        while True:
            draw = self._generator(len(known), tried)
            point: dict[str, Any] = self._space.choose(lambda _, domain: domain.from_unit(draw.random()))  # noqa: B023
            if point not in known or tried > 1000:
                return Start(point, full_epochs(self._experiment, point))
            tried += 1

    def _generator(self, *place: int) -> Random | np.random.Generator:
        return Random(derive(self._seed, "shuffled", *place))

    def may_continue(self, trial: Trial, history: History) -> bool:
        return False


def _seeded() -> float:
    random.seed(7)
    return random.random()


READS: dict[str, Callable[[], Any]] = {
    "random": random.random,
    "choice": lambda: random.choice([1, 2]),
    "seeded": _seeded,
    "numpy": np.random.rand,
    "numpy seeded": lambda: (np.random.seed(7), np.random.rand()),
    "times": os.times,
    "time": time.time,
    "monotonic": monotonic,
    "perf_counter_ns": time.perf_counter_ns,
    "now": datetime.now,
    "localtime": time.localtime,
}


class Peeks(Shuffled):
    """Reads what it must not, and makes nothing of it yet: no search shows it."""

    def __init__(self, experiment: Experiment, space: Space, reads: str) -> None:
        super().__init__(experiment, space)
        self._read = READS[reads]

    def next(self, history: History) -> Decision:
        self._read()
        return super().next(history)


class Undetermined(Shuffled):
    """Draws from a generator that nobody seeded."""

    def __init__(self, experiment: Experiment, space: Space, generator: str) -> None:
        super().__init__(experiment, space)
        makers: dict[str, Callable[[], Random | np.random.Generator]] = {
            "python": Random,
            "numpy": np.random.default_rng,
            "system": random.SystemRandom,
        }
        self._make = makers[generator]

    def _generator(self, *place: int) -> Random | np.random.Generator:
        return self._make()


class Counts(Shuffled):
    """Remembers how often it was asked."""

    asked = 0

    def _generator(self, *place: int) -> Random:
        self.asked += 1
        return Random(derive(self._seed, "counts", *place, self.asked))


class Halves(Shuffled):
    """Starts as many points as the budget has, an epoch each, then trains the better half on to the end."""

    def next(self, history: History) -> Decision:
        if len(history.trials) < (self._experiment.budget.trials or 4):
            started = super().next(history)
            assert isinstance(started, Start)
            return replace(started, to_epoch=1)
        ranked = sorted(history.trials, key=lambda trial: trial.curves[0]["score"][0] if trial.curves else 9.0)
        better = [trial for trial in ranked[: len(ranked) // 2] if trial.state == "paused"]
        if any(trial.state == "running" for trial in history.trials):
            return Wait()
        return Continue(better[0].number, 3) if better else Done("all rungs are done")

    def may_continue(self, trial: Trial, history: History) -> bool:
        return True
