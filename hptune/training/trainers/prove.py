"""`hptune plan --prove`: one point of an experiment trained for an epoch both ways, compiled and by Keras's own `fit`.

The plain way is stock Keras from end to end: the layers with their numbers, the optimizer, the loss over targets that
were standardised or smoothed as arrays, and the penalties in the layers. Initial weights, noise and batches are the
same; the learning rate is set before each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.base.errors import SegmentFailed
from hptune.training.core.batches import Batches, batches, next_batch
from hptune.training.core.program import Program, ProgramSetting
from hptune.training.core.results import build_as_fit
from hptune.training.core.several_outputs import columns_of, splitter
from hptune.training.core.state import State
from hptune.training.data import Data, Part
from hptune.training.export.export import behind, in_own_unit
from hptune.training.models.blueprint import SMOOTHING, Blueprint
from hptune.training.runtime import keras, reset_names

TOLERANCE = {"float32": 1e-5}
"""The largest relative difference that counts as noise of the arithmetic, by precision."""

SMALLEST = 0.1
"""Smaller numbers are compared as if of this size: the noise of a sum is that of its largest terms."""

HALF_TOLERANCE = 2e-2
"""The same in half precision."""


@dataclass(frozen=True, slots=True)
class Proof:
    """How far the compiled training is from Keras's `fit`.

    metrics: (compiled, fit) by name, of the one epoch. not_compared: the curves that `fit` reports in another way or
    not at all, such as a loss that includes penalties there. weights: the largest relative difference.
    equal: whether all differences are noise of the arithmetic.
    """

    metrics: Mapping[str, tuple[float, float]]
    not_compared: tuple[str, ...]
    weights: float
    equal: bool
    compiled_s: float
    fit_s: float

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON data."""
        return {
            "metrics": {name: list(pair) for name, pair in self.metrics.items()},
            "not_compared": list(self.not_compared),
            "weights": self.weights,
            "equal": self.equal,
            "compiled_s": self.compiled_s,
            "fit_s": self.fit_s,
        }


def prove(
    blueprint: Blueprint, program: Program, *, state: State, setting: ProgramSetting, data: Data, restored: bool
) -> Proof:
    """Train both ways. restored: the loss sees standardised targets. Raises SegmentFailed where one of them fails."""
    started = time.perf_counter()
    curves = program.run(state, setting, from_epoch=0, to_epoch=1)
    compiled_s = time.perf_counter() - started
    ours = program.weights()
    plain = _Plain(blueprint, program, state=state, setting=setting, data=data, restored=restored)
    started = time.perf_counter()
    plain.fit()
    fit_s = time.perf_counter() - started
    theirs = plain.metrics()
    metrics = {name: (curves[name][0], value) for name, value in theirs.items() if name in curves}
    pairs = zip(ours, plain.model.get_weights(), strict=True)
    weights = max((_apart(one, other) for one, other in pairs), default=0.0)  # never NaN
    limit = TOLERANCE.get(keras().config.dtype_policy().name, HALF_TOLERANCE)
    equal = all(gap <= limit for gap in [weights, *(_apart(*pair) for pair in metrics.values())])
    left_out = tuple(name for name in curves if name not in metrics)
    return Proof(metrics, left_out, weights, equal, compiled_s, fit_s)


def _apart(ours: Any, theirs: Any) -> float:
    """The largest difference of two arrays relative to their largest number; infinite where only one is finite."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if not ours.size or np.array_equal(ours, theirs, equal_nan=True):
        return 0.0
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    return float(np.max(np.abs(ours - theirs)) / max(SMALLEST, np.max(np.abs(ours)), np.max(np.abs(theirs))))


class _Plain:
    """The plain program of one point."""

    def __init__(
        self,
        blueprint: Blueprint,
        program: Program,
        *,
        state: State,
        setting: ProgramSetting,
        data: Data,
        restored: bool,
    ) -> None:
        self._blueprint, self._program, self._setting, self._data = blueprint, program, setting, data
        self._columns = columns_of(blueprint.outputs, data)
        self._scale = data.target_scale if restored else None
        self._smoothing = blueprint.dials.get(SMOOTHING, 0.0)
        reset_names()
        front = blueprint.front()
        core = blueprint.stock()
        self.model = behind(front, core, data)
        # The same layers with the target's own unit behind them, for metrics.
        self._in_unit = behind(front, in_own_unit(core, data, self._columns), data) if restored else self.model
        if not self.model.built:
            build_as_fit(self.model, data.train.x[:1])
        program.load(state)
        _start_alike(program.model, self._in_unit)
        self._optimizer = blueprint.compiled.optimizer()
        self._loss = blueprint.compiled.loss()

    def fit(self) -> None:
        """One epoch of `model.fit`."""
        setting, compiled = self._setting, self._blueprint.compiled
        optimizer, rates = self._optimizer, setting.rates

        class Rate(keras().callbacks.Callback):  # type: ignore[misc]  # Keras has no types
            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  # Keras's signature
                if len(rates) and np.isfinite(rates[batch]):
                    optimizer.learning_rate = float(rates[batch])

        compiled.compile(self.model, optimizer, self._smoothed_loss(), jit_compile=False)
        steps = self._program.steps_per_epoch(setting.batch_size)
        feed = batches(self._data.train).shuffled(setting.order_seed, 0, setting.batch_size, steps=steps)
        self._history = self.model.fit(
            self._batches(feed, self._data.train, steps, targets=self._targets),
            steps_per_epoch=steps,
            epochs=1,
            shuffle=False,
            verbose=0,
            callbacks=[Rate()],
        ).history

    def metrics(self) -> dict[str, float]:
        """The epoch's figures, named as in the curves."""
        plain_loss = not self._smoothing and not self.model.losses
        figures = {"loss": float(self._history["loss"][0])} if plain_loss else {}
        batched: Batches = batches(self._data.validation)
        size = self._setting.batch_size
        steps = -(-len(self._data.validation) // size)
        compiled = self._blueprint.compiled
        compiled.compile(self._in_unit, compiled.optimizer(), self._loss, jit_compile=False)
        evaluated = self._in_unit.evaluate(
            self._batches(batched.whole(size), self._data.validation, steps, targets=lambda y: y),
            steps=steps,
            return_dict=True,
            verbose=0,
        )
        # A loss in the target's unit, and one with penalties, are no part of the curves: the loss is taken alone.
        metrics = {f"val_{name}": value for name, value in evaluated.items() if "loss" not in name}
        figures |= {name: float(value) for name, value in metrics.items() if np.ndim(value) == 0}
        figures["val_loss"] = self._validation_loss(batched.whole(size), size, steps)
        return figures

    def _validation_loss(self, feed: Any, size: int, steps: int) -> float:
        """The mean of the batches' losses, each by its size, as `evaluate` has it, without penalties."""
        from keras.src.trainers.compile_utils import CompileLoss

        weights, names = self._blueprint.compiled.loss_weights, getattr(self.model, "output_names", None)
        loss = CompileLoss(self._loss, weights, output_names=names)
        total = 0.0
        for x, y, *weight in self._batches(feed, self._data.validation, steps, targets=self._standardized, size=size):
            value = loss(y, self.model(x, training=False), weight[0] if weight else None)
            total += len(keras().tree.flatten(x)[0]) * float(value)
        return total / len(self._data.validation)

    def _batches(
        self, feed: Any, part: Part, steps: int, *, targets: Callable[[Any], Any], size: int | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """The batches of one pass as arrays (x, y) or (x, y, sample_weight)."""
        size = self._setting.batch_size if size is None else size
        split = splitter(self._columns)
        for step in range(steps):
            start = step * size
            batch = next_batch(feed, start, min(size, len(part) - start))
            x, y, weight = (
                keras().tree.map_structure(lambda a: None if a is None else np.asarray(a), one) for one in batch
            )
            x, y, weight = split((x, targets(y), weight))
            yield (x, y) if weight is None else (x, y, weight)

    def _standardized(self, y: NDArray[Any]) -> NDArray[Any]:
        if self._scale is None:
            return y
        mean, deviation = self._scale
        scaled: NDArray[Any] = ((y.astype(np.float64) - mean) / deviation).astype(np.float32)
        return scaled

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """The targets that the loss sees in training: smoothed integer labels become rows of shares."""
        y = self._standardized(y)
        if not self._smoothing or type(self._loss).__name__ != "SparseCategoricalCrossentropy":
            return y
        classes = self.model.output_shape[-1]
        rows = np.eye(classes, dtype=np.float32)[y.astype(int).reshape(len(y))]
        soft: NDArray[Any] = rows * np.float32(1 - self._smoothing) + np.float32(self._smoothing / classes)
        return soft

    def _smoothed_loss(self) -> Any:
        loss, losses = self._loss, keras().losses
        if not self._smoothing:
            return loss
        options = {"from_logits": loss.from_logits, "reduction": loss.reduction}
        if type(loss).__name__ == "SparseCategoricalCrossentropy":
            return losses.CategoricalCrossentropy(**options)
        return type(loss)(label_smoothing=self._smoothing, **options)


def _start_alike(program_model: Any, plain_model: Any) -> None:
    """Give the plain model the program's initial weights and states of random generators."""
    plain_model.set_weights(program_model.get_weights())
    ours, theirs = (list(model._flatten_layers(include_self=False)) for model in (program_model, plain_model))
    if len(ours) != len(theirs):
        raise SegmentFailed("the compiled model has other layers than the plain one")
    for ours_layer, theirs_layer in zip(
        ours, theirs, strict=True
    ):  # a dropout of 0 has a generator in the program alone
        for generator, plain in zip(ours_layer._seed_generators, theirs_layer._seed_generators, strict=False):
            plain.state.assign(generator.state)
