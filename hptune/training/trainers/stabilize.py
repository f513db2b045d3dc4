"""Stabilised weights: the state that trials of one architecture start from, instead of the first random draw.

`lottery` draws several sets of weights, trains each briefly at a small rate and keeps the one with the lowest training
loss; `warmup` trains one set while the rate rises. Both are trained through the program that the trials use.
References: F. Ferlitsch, Deep Learning Patterns and Practices, ch. 10; the lottery after Frankle & Carbin 2019,
arXiv:1803.03635, and the survey of seeds in Picard 2021, arXiv:2109.08203.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hptune.base import seeds
from hptune.base.errors import SegmentFailed
from hptune.experiment import schedules
from hptune.experiment.recipe import Recipe
from hptune.experiment.training import Lottery, Optimizer, Schedule, Stabilize
from hptune.training.core.program import Program, ProgramSetting
from hptune.training.models.blueprint import Blueprint, Weights

_OFF = {"clipnorm": 1e9, "global_clipnorm": 1e9, "clipvalue": 1e9}
"""The optimizer's dials that have no effect when large."""


@dataclass(frozen=True, slots=True)
class StabilizedWeights:
    """weights: of the draw that was kept, as `get_weights` orders them. losses: the training loss of each draw."""

    weights: Weights
    losses: tuple[float, ...]
    chosen: int


def recipe_for(recipe: Recipe, options: Stabilize, defaults: Recipe) -> Recipe:
    """The recipe that the draws are trained by: the trial's layers, trained as at the defaults of the space.

    `options` may name another optimizer and batch size. So it does not matter which trial first needs the weights.
    """
    changes: dict[str, Any] = {}
    if options.optimizer is not None:
        changes["optimizer"] = Optimizer(name=options.optimizer)
    if options.batch_size is not None:
        changes["batch_size"] = options.batch_size
    training = defaults.training.model_copy(update=changes) if changes else defaults.training
    return replace(recipe, training=training)


def stabilize(options: Stabilize, program: Program, blueprint: Blueprint, *, seed: int) -> StabilizedWeights:
    """Draw, train and choose weights.

    The result depends on the blueprint's architecture and structure, its batch size, the data and `seed` alone:
    dropout, penalties and smoothing are off. Raises SegmentFailed where every draw diverges.
    """
    whole = steps = program.steps_per_epoch(blueprint.batch_size)
    if isinstance(options, Lottery):
        draws = options.draws
        steps = whole if options.steps_per_epoch is None else min(whole, options.steps_per_epoch)
        rates = np.full(options.epochs * steps, options.learning_rate, np.float32)
    else:
        draws = 1
        rise = Schedule.model_validate({"warmup": {"epochs": options.epochs, "start": options.start}})
        table = schedules.table(rise, base_rate=options.end, epochs=options.epochs, steps_per_epoch=steps)
        rates = table.astype(np.float32)
    best: Weights | None = None
    losses: list[float] = []
    for draw in range(draws):
        weights = blueprint.weights(seeds.derive(seed, "draw", draw))
        order = seeds.derive(seed, "order", draw)
        setting = ProgramSetting(_neutral(blueprint), rates, blueprint.batch_size, order)
        step_losses = program.run_steps(
            program.fresh(weights, seed), setting, epochs=options.epochs, steps_per_epoch=steps
        )
        # Each step counts by its samples, as in Keras's loss of an epoch: the last batch may be a smaller one.
        sizes = [min(blueprint.batch_size, program.rows - step * blueprint.batch_size) for step in range(steps)]
        losses.append(math.fsum(map(operator.mul, step_losses[-steps:], sizes)) / sum(sizes))
        if math.isfinite(losses[-1]) and losses[-1] == min(x for x in losses if math.isfinite(x)):
            best = program.weights()
    if best is None:
        raise SegmentFailed(f"stabilize: the loss of every draw diverged ({losses}); lower its learning rate")
    chosen = losses.index(min(loss for loss in losses if math.isfinite(loss)))
    return StabilizedWeights(best, tuple(losses), chosen)


def _neutral(blueprint: Blueprint) -> Mapping[str, float]:
    """Every dial at a value without effect; the optimizer's at Keras's own defaults."""
    plain = type(blueprint.compiled.optimizer())()
    neutral: dict[str, float] = {}
    for name in blueprint.dials:
        owner, _, attribute = name.partition(".")
        default = getattr(plain, attribute, None) if owner == "optimizer" else None
        neutral[name] = float(default) if default is not None else _OFF.get(attribute, 0.0)
    return neutral
