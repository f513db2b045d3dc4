"""The course of a training: how the learning rate runs over it, and when it ends.

Both are functions of the recipe and of the curves so far, so a training that goes on from a file needs no extra state
for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hptune.base.errors import SegmentFailed
from hptune.base.trial import Curves
from hptune.base.user_code import load_object
from hptune.experiment import schedules
from hptune.experiment.recipe import Recipe
from hptune.experiment.space.references import concrete
from hptune.experiment.training import Schedule
from hptune.training.trainers.stopping import by_cycle, has_stopped

RAMP_SEARCH_EPOCHS = 50
"""Epochs that `ramp: {epoch: auto}` trains at most, and once again while the validation loss still falls."""

RAMP_PATIENCE = 2
RAMP_BACK = 5
"""How many epochs the ramp begins before the validation loss stopped falling."""


@dataclass(frozen=True, slots=True)
class Course:
    """One recipe's course over `epochs` epochs of `steps_per_epoch` steps.

    base_rate: NaN where the optimizer keeps a schedule of its own. folder: where a schedule in Python is looked for.
    """

    recipe: Recipe
    base_rate: float
    epochs: int
    steps_per_epoch: int
    folder: Path

    def rates(self) -> NDArray[np.float64]:
        """float64 [epochs · steps_per_epoch]: the rate of every step, without `plateau`'s factor."""
        return schedules.table(
            self.recipe.schedule,
            base_rate=self.base_rate,
            epochs=self.epochs,
            steps_per_epoch=self.steps_per_epoch,
            function=self._function(),
        )

    def factor(self) -> Callable[[Curves], float] | None:
        """For `plateau`, the factor of the rates as a function of the curves; None for every other schedule."""
        schedule = self.recipe.schedule
        if schedule.name != "plateau":
            return None
        assert schedule.monitor is not None, "filled in with the schedule's defaults"
        assert schedule.min is not None
        monitor = schedule.monitor
        least = min(1.0, concrete(schedule.min) / self.base_rate)  # a floor above the base rate raises nothing
        drop, patience = concrete(schedule.factor), concrete(schedule.patience)

        def factor(curves: Curves) -> float:
            values = _monitored(curves, monitor, "schedule")
            assert drop is not None
            assert patience is not None
            goal = schedule.goal or "minimize"
            return max(least, schedules.plateau_multiplier(values, factor=drop, patience=patience, goal=goal))

        return factor

    def ended(self) -> Callable[[Curves], bool] | None:
        """Whether early stopping ends the training, as a function of the curves; None without early stopping.

        Under `cosine_restarts` patience counts whole cycles unless the user says otherwise: that the loss rises at each
        restart is no sign that the training is over.
        """
        stopping = self.recipe.training.early_stopping
        if stopping is None:
            return None
        cycles = schedules.cycle_ends(self.recipe.schedule, epochs=self.epochs) if self._counts_cycles() else None

        def ended(curves: Curves) -> bool:
            values = _monitored(curves, stopping.monitor, "early_stopping")
            return has_stopped(
                values if cycles is None else by_cycle(values, cycles, goal=stopping.goal),
                patience=concrete(stopping.patience),
                min_delta=concrete(stopping.min_delta),
                goal=stopping.goal,
            )

        return ended

    def rates_by_epoch(self, curves: Curves, epochs: int) -> list[float]:
        """The rate at the first step of each of the first `epochs` epochs, given these curves."""
        first = self.rates()[:: self.steps_per_epoch][:epochs]
        factor = self.factor()
        if factor is not None:
            first *= [factor({name: values[:epoch] for name, values in curves.items()}) for epoch in range(epochs)]
        rates: list[float] = first.tolist()
        return rates

    def _counts_cycles(self) -> bool:
        stopping = self.recipe.training.early_stopping
        assert stopping is not None
        unit = stopping.unit or ("cycles" if self.recipe.schedule.name == "cosine_restarts" else "epochs")
        return unit == "cycles"

    def _function(self) -> Callable[..., float] | None:
        named = concrete(self.recipe.schedule.python)
        if named is None:
            return None
        function: Callable[..., float] = load_object(named, self.folder, ("schedule", "python"))
        return function


def seeks_ramp(recipe: Recipe) -> bool:
    """Whether the epoch of the ramp has yet to be found."""
    return recipe.schedule.name == "ramp" and recipe.schedule.epoch == "auto"


def with_ramp_at(recipe: Recipe, epoch: int) -> Recipe:
    """The recipe with the epoch of its ramp filled in."""
    options = {**recipe.schedule.model_dump(exclude_unset=True), "epoch": epoch}
    return replace(recipe, schedule=Schedule.model_validate(options))


def stops_falling(curves: Curves) -> bool:
    """Whether the search for the ramp's epoch is over: the validation loss has not fallen for two epochs."""
    return has_stopped(curves.get("val_loss", ()), patience=RAMP_PATIENCE, goal="minimize")


def ramp_epoch(stopped_at: int) -> int:
    """The epoch at which the rate drops, from the epoch at which the validation loss had stopped falling."""
    return max(1, stopped_at - RAMP_BACK)


def _monitored(curves: Curves, monitor: str, section: str) -> tuple[float, ...]:
    if curves and monitor not in curves:
        raise SegmentFailed(f"{section}.monitor: no metric {monitor!r} is reported; there are {', '.join(curves)}")
    return curves.get(monitor, ())
