"""The training core: a Keras model compiled once for one structure, and run for many trials; state in, state out.

An epoch is one call of one compiled function: a loop inside the graph takes each batch (by index from data on the
device, or streamed from the disk) and calls the model's own `train_step`, then `test_step` over the validation part;
the metrics come back as its result. Hyperparameters that don't shape the graph are dials; the learning rate is a table
with a rate for every step; the batch size is a number too: the graph takes batches of any size, as in Keras's `fit`.
"""

from __future__ import annotations

import math
import time
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.base import seeds
from hptune.base.errors import SegmentFailed
from hptune.base.stopwatch import WATCH, counts
from hptune.base.trial import Curves
from hptune.training.core.batches import Feed, batches, leaves, mapped, next_batch
from hptune.training.core.by_sample import is_by_sample
from hptune.training.core.fused import fuse
from hptune.training.core.loops import each_batch, function, last_batch, number
from hptune.training.core.losses import chosen, smoothed
from hptune.training.core.rate_table import rate_table
from hptune.training.core.results import (
    NOT_VALIDATED,
    has_own_steps,
    in_order,
    is_stock,
    makes_its_own_loss,
    numbered,
    numbers,
    packed,
    reported_by,
    reported_by_metrics,
)
from hptune.training.core.slots import Slots, build_optimizer
from hptune.training.core.state import State
from hptune.training.core.variables import begun_otherwise, own_state, parts_of, put, seeded
from hptune.training.data import Part
from hptune.training.models import dials as dial_places
from hptune.training.models.blueprint import SMOOTHING, Blueprint
from hptune.training.models.compiled import Compiled
from hptune.training.models.dials import Dial
from hptune.training.own.needs_fit import changed_in_tracing, python_state
from hptune.training.own.noise import Noise
from hptune.training.reasons import reason
from hptune.training.runtime import Settings, keras

EVALUATION_BATCH = 512
"""Samples in one step of validation where their number makes no difference: see `Program.by_sample`."""

OnEpoch = Callable[[int, Mapping[str, float]], None]
"""Called after each epoch as on_epoch(epochs done, the epoch's metrics)."""


@dataclass(frozen=True, slots=True)
class ProgramSetting:
    """What one trial sets; nothing in it shapes the graph.

    dials: by name, all that the blueprint has.
    rates: float32 [total_steps], the learning rate of every optimizer step of the full training.
    batch_size: samples in one step; the last batch of an epoch, which may be the only one, may be smaller.
    order_seed: the order of the samples in epoch e depends on it and e alone.
    factor: called before each epoch with all curves so far; the rates are multiplied by its result (`plateau`).
    """

    dials: Mapping[str, float]
    rates: NDArray[np.float32]
    batch_size: int
    order_seed: int
    factor: Callable[[Curves], float] | None = None


class Program:
    """A model, its optimizer and its data, traced once (under XLA, whose shapes are static, once a batch size).

    train, validation: samples as arrays of shape [n, …]; a pytree each for several inputs or outputs.
    epoch_s: seconds of the fastest epoch but the first, which compiles; None before the second.
    not_validated: why no validation part is evaluated; None: it is.
    serves: `Blueprint.made_by` of the models that it was shown to stand for.
    traces, brief_traces: how often the functions of `run` and `run_steps` were traced.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        train: Part,
        validation: Part,
        *,
        loss: Any | None = None,
        around: Callable[[Any], Any] = lambda model: model,
        dials: Mapping[str, Dial] | None = None,
        split: Callable[[Any], Any] = lambda batch: batch,
        xla: bool = False,
    ) -> None:
        """Build and compile. Raises what Keras raises where the recipe makes no model.

        loss: replaces the blueprint's. around: puts stock layers before and behind the model; dials: those in them.
        split: turns the targets of a batch into one for each output.
        """
        self.rows = len(train)
        self.traces = self.brief_traces = 0
        self.epoch_s: float | None = None
        self.serves: set[str] = set()
        self.not_validated: str | None = None
        compiled = blueprint.compiled
        core, in_layers = blueprint.build()
        self._settings = Settings.now()  # as the building code left them, for tracing
        self._dials = {**in_layers, **(dials or {})}
        self.model = around(core)
        self._rates = None if math.isnan(blueprint.learning_rate) else rate_table()

        def unbuilt() -> tuple[Any, dict[str, Dial]]:
            optimizer = compiled.optimizer()
            if self._rates is not None:
                optimizer.learning_rate = self._rates
            names = [name for name in blueprint.dials if name.startswith("optimizer.")]
            return optimizer, dial_places.attach_to_optimizer(optimizer, names)

        optimizer, of_optimizer = unbuilt()
        self._dials |= of_optimizer
        fuse(optimizer)
        self._split: Callable[[Any], Any] = lambda batch: packed(split(batch))
        example = mapped(lambda a: a[: blueprint.batch_size], (train.x, train.y, train.sample_weight))
        loss = chosen(loss if loss is not None else compiled.loss(), self.model, split(example)[1])
        self._smoothed = None
        if SMOOTHING in blueprint.dials:
            self._dials[SMOOTHING] = Dial()
            self._smoothed = smoothed(loss, self._dials[SMOOTHING], compiled.loss_weights)
        missing = blueprint.dials.keys() ^ self._dials.keys()
        assert not missing, f"dials without a place, or places without a dial: {', '.join(sorted(missing))}"
        self.own_steps = has_own_steps(self.model)
        self._compile(compiled, optimizer, loss=loss, example=self._split(example))
        self.by_sample = is_by_sample(self.model, loss, example[1])
        self.variables = [*self.model.variables, *own_state(self.model)]
        self._initial = [v.numpy() for v in self.variables]
        self._seeded = seeded(self.model)
        self._slots = Slots(self.model, lambda: unbuilt()[0])
        self._train = batches(train)
        self._scored = validation
        self._validation = batches(validation)
        self._static = xla
        self._noise = Noise()
        model, parts = self.model, self._split
        self._train_step: Callable[[Any], Any] = lambda batch: model.train_step(parts(batch))
        if xla and self._train.streamed:  # XLA can't compile what brings the batches
            self._train_step, xla = function(self._train_step, xla=True), False
        eagerly = compiled.run_eagerly
        self._epoch = function(self._one_epoch, xla=xla, eagerly=eagerly)
        self._brief = function(self._some_steps, xla=False, eagerly=eagerly)
        self._test = function(self._evaluate, xla=False, eagerly=eagerly)
        self.metric_names: list[str] = self._names()

    def steps_per_epoch(self, batch_size: int) -> int:
        """How many steps an epoch has, with the last batch, which may be smaller: as Keras counts them."""
        return math.ceil(self.rows / batch_size)

    # --- what a trial does --------------------------------------------------------------------------------------

    def run(
        self,
        state: State,
        setting: ProgramSetting,
        *,
        from_epoch: int,
        to_epoch: int,
        so_far: Curves | None = None,
        ended: Callable[[Curves], bool] | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Curves:
        """Train from the end of `from_epoch` to the end of `to_epoch`; `state()` then returns the new state.

        so_far: the curves of the first `from_epoch` epochs. ended: called before each epoch with all curves so far;
        returns whether training is over. Returns the curves of the new epochs. Raises SegmentFailed at the first epoch
        whose loss is not a finite number.
        """
        self.load(state)
        self._turn(setting)
        curves: dict[str, list[float]] = {name: list(values) for name, values in (so_far or {}).items()}
        done: dict[str, list[float]] = {}
        for epoch in range(from_epoch, to_epoch):
            if ended is not None and ended({name: tuple(values) for name, values in curves.items()}):
                break
            if setting.factor is not None and self._rates is not None:
                factor = setting.factor({name: tuple(values) for name, values in curves.items()})
                self._rates.factor.assign(factor)
            metrics = self._run_epoch(setting, epoch)
            for name, value in metrics.items():
                curves.setdefault(name, []).append(value)
                done.setdefault(name, []).append(value)
            for name in ("loss", "val_loss"):
                if not math.isfinite(metrics.get(name, 0.0)):
                    raise SegmentFailed(f"{name} is {metrics[name]} after epoch {epoch + 1}: training diverged")
            if on_epoch is not None:
                on_epoch(epoch + 1, metrics)
        return {name: tuple(values) for name, values in done.items()}

    def run_steps(
        self, state: State, setting: ProgramSetting, *, epochs: int, steps_per_epoch: int | None
    ) -> list[float]:
        """Train for the first steps of a few epochs, without validation; returns the plain loss of every step.

        steps_per_epoch: the steps of each epoch, at most all of them; None: all.
        """
        self.load(state)
        self._turn(setting)
        steps = self.steps_per_epoch(setting.batch_size)
        if steps_per_epoch is not None:
            steps = min(steps, steps_per_epoch)
        losses: list[float] = []
        for epoch in range(epochs):
            self._noise.begin(setting.order_seed, epoch)
            feed = self._train.shuffled(setting.order_seed, epoch, setting.batch_size, steps=steps)
            losses += self._brief(feed, number(setting.batch_size), number(steps)).numpy().tolist()
        return losses

    @counts("set up")
    def fresh(self, weights: Sequence[NDArray[Any]], noise_seed: int) -> State:
        """The state before training: these weights (as `get_weights` orders them), noise and dropout from the seed.

        A layer with a seed of its own keeps that.
        """
        weight_of = {id(variable): value for variable, value in zip(self.model.weights, weights, strict=True)}
        model = [
            np.asarray([seeds.derive(noise_seed, index), 0])
            if getattr(variable, "path", "").endswith("seed_generator_state") and id(variable) not in self._seeded
            else weight_of.get(id(variable), initial)
            for index, (variable, initial) in enumerate(zip(self.variables, self._initial, strict=True))
        ]
        return State(tuple(model))

    def turn(self, dials: Mapping[str, float]) -> None:
        """Set each dial to its number."""
        for name, dial in self._dials.items():
            dial.set(dials[name])

    def finalize(self) -> None:
        """Do what Keras's `fit` does last: an optimizer with averaged weights (`use_ema`) puts the averages in."""
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    @counts("checkpoint")
    def state(self) -> State:
        """Every variable as it is now."""
        return State(tuple(v.numpy() for v in self.variables), tuple(v.numpy() for v in self.model.optimizer.variables))

    def evaluate(self, part: Part, batch_size: int) -> dict[str, float]:
        """The plain loss and the metrics of the current weights on samples that were not trained on.

        batch_size: the batches that they are averaged over, as in `model.evaluate`.
        """
        part_batches = self._validation if part is self._scored else batches(part)
        self._noise.begin(0)
        self._settings.put()
        size = EVALUATION_BATCH if self.by_sample else batch_size
        # As a tensor: with a static batch size, Keras weighs the figures of each output by that size.
        values = self._test(part_batches.whole(size), number(size), len(part)).numpy().tolist()
        names = [name.removeprefix("val_") for name in self.metric_names if name.startswith("val_")]
        return dict(zip(names, values, strict=True))

    def weights(self) -> list[NDArray[Any]]:
        """The weights, as `set_weights` of the stock model takes them."""
        return self.model.get_weights()  # type: ignore[no-any-return]  # Keras has no types

    # --- inside -------------------------------------------------------------------------------------------------

    def _compile(self, compiled: Compiled, optimizer: Any, *, loss: Any, example: Any) -> None:
        model = self.model
        compiled.compile(model, optimizer, loss, jit_compile=False)  # under XLA the whole epoch is compiled
        before = python_state(model)
        if self.own_steps:
            self._reported = [reported_by(model.train_step, example), self._reported_by_test(example)]
        else:
            model._symbolic_build(data_batch=example)  # also makes the metrics' variables, outside any graph
        if not model.optimizer.built:  # a LossScaleOptimizer that is built twice holds its scale twice
            build_optimizer(model.optimizer, model.trainable_weights)  # not `optimizer`: under float16 Keras wraps it
        # A model that computes its own loss is left alone: its tracker is what is reported.
        own = makes_its_own_loss(model) or model._compile_loss is None
        self._plain_loss = None if own else keras().metrics.Mean(name="loss")
        if self._plain_loss is not None:
            model.compute_loss = types.MethodType(_compute_loss(self._plain_loss, self._smoothed), model)
        self._begun = begun_otherwise(model)  # `fit` resets no compiled metric before its first epoch
        self.changed_in_tracing = changed_in_tracing(before, python_state(model))

    def _reported_by_test(self, example: Any) -> list[str]:
        """The names of the test step's metrics; [] where Keras's own step can't serve: then nothing is validated."""
        try:
            return reported_by(self.model.test_step, example)
        except Exception as error:  # the user's code may never have been meant to be validated
            if not is_stock(self.model, "test_step"):
                raise
            self.not_validated = f"the model is not validated: {NOT_VALIDATED} ({reason(error).rstrip('.')})"
        return []

    def _names(self) -> list[str]:
        if self.own_steps:
            trained, tested = self._reported
            return [*trained, *(f"val_{name}" for name in tested)]
        reported = in_order(self.model.get_metrics_result())
        results = {name: value for name, value in reported.items() if name != "loss"}
        names = ["loss", *(name for key, value in results.items() for name in numbered(key, value))]
        penalty = ["penalty"] if self._penalties() else []
        return [*names, *penalty, *(f"val_{name}" for name in names)]

    def _penalties(self) -> list[Any]:
        return list(self.model._get_regularization_losses())

    @counts("set up")
    def _turn(self, setting: ProgramSetting) -> None:
        self.turn(setting.dials)
        if self._rates is not None:
            self._rates.table.assign(setting.rates)
            self._rates.factor.assign(1.0)

    @counts("set up")
    def load(self, state: State) -> None:
        """Set every variable to its value in the state; the optimizer starts afresh where the state has none of its."""
        self._settings.put()
        put(self.variables, state.model)
        put(self.model.optimizer.variables, state.optimizer or self._slots.initial())

    def _run_epoch(self, setting: ProgramSetting, epoch: int) -> dict[str, float]:
        self._noise.begin(setting.order_seed, epoch)
        feed = self._train.shuffled(setting.order_seed, epoch, setting.batch_size)
        size = EVALUATION_BATCH if self.by_sample else self._size(setting)
        arguments = feed, self._size(setting), self._validation.whole(int(size)), size
        values = self._next_epoch(*arguments) if self.traces else self._first_epoch(*arguments)
        return dict(zip(self.metric_names, values, strict=True))

    def _size(self, setting: ProgramSetting) -> Any:
        """The batch size as the graph takes it: a tensor; where shapes are static, a Python number."""
        return setting.batch_size if self._static else number(setting.batch_size)

    @counts("compile")
    def _first_epoch(self, *arguments: Any) -> list[float]:
        values: list[float] = self._epoch(*arguments).numpy().tolist()
        return values

    @counts("train")
    def _next_epoch(self, *arguments: Any) -> list[float]:
        started = time.perf_counter()
        values: list[float] = self._epoch(*arguments).numpy().tolist()
        took_s = time.perf_counter() - started
        if self.epoch_s is None:  # the first took this long to train; the rest was compiling
            WATCH.move("compile", "train", took_s)
        self.epoch_s = took_s if self.epoch_s is None else min(took_s, self.epoch_s)
        return values

    @counts("trace")
    def _one_epoch(self, feed: Feed, batch_size: Any, scored: Feed, scored_size: Any) -> Any:
        """One epoch over the training samples, then validation: every metric as one float32 vector."""
        import tensorflow as tf

        self.traces += 1  # Python runs only while the function is traced
        self._noise.stand_in()
        trained = self._pass(feed, self.rows, batch_size, self._train_step, but=self._begun)
        apart = self._penalties() if not self.own_steps else []
        penalty = [tf.add_n([tf.cast(p, tf.float32) for p in apart])] if apart else []
        tested = self._evaluate(scored, scored_size, len(self._scored))
        for metric in self._begun:
            metric.reset_state()
        return tf.concat([tf.stack([*trained, *penalty]), tested], 0)

    def _pass(
        self, feed: Feed, rows: int, batch_size: Any, step: Callable[[Any], Any], but: Sequence[Any] = ()
    ) -> list[Any]:
        """Take every batch; returns the metrics after the last one, or what a model's own step returned for it.

        but: metrics that are not reset before.
        """
        self._reset(but)
        if self.own_steps:
            reported: dict[str, Any] = {}

            def stepped(start: Any, size: Any) -> list[Any]:
                reported.update(step(next_batch(feed, start, size)))
                return numbers(reported)

            last = last_batch(rows, batch_size, stepped)
            tracked = reported_by_metrics(self.model, reported)
            return last if tracked is None else numbers(tracked)
        each_batch(rows, batch_size, lambda start, size: step(next_batch(feed, start, size)))
        return self._results()

    def _some_steps(self, feed: Feed, batch_size: Any, steps: Any) -> Any:
        """float32 [steps]: the plain loss of each of the first batches, trained on in turn."""
        import tensorflow as tf

        self.brief_traces += 1
        self._noise.stand_in()

        def body(index: Any, losses: Any) -> Any:
            self._reset()
            start = index * batch_size
            reported = self._train_step(next_batch(feed, start, tf.minimum(batch_size, self.rows - start)))
            loss = reported["loss"] if self._plain_loss is None else self._plain_loss.result()
            return index + 1, losses.write(index, tf.cast(loss, tf.float32))

        empty = tf.TensorArray(tf.float32, size=steps)
        start = [tf.constant(0), empty]
        return tf.while_loop(lambda index, _: index < steps, body, start, parallel_iterations=1)[1].stack()

    def _evaluate(self, feed: Feed, batch_size: Any, rows: int) -> Any:
        import tensorflow as tf

        if self.not_validated is not None:
            return tf.zeros([0])
        self._noise.stand_in()
        return tf.stack(self._pass(feed, rows, batch_size, lambda batch: self.model.test_step(self._split(batch))))

    def _reset(self, but: Sequence[Any] = ()) -> None:
        for metric in parts_of(self.model.metrics) if but else self.model.metrics:
            if all(metric is not one for one in but):
                metric.reset_state()
        if self._plain_loss is not None:
            self._plain_loss.reset_state()

    def _results(self) -> list[Any]:
        results = self.model.get_metrics_result()
        if self._plain_loss is not None:
            results = {**results, "loss": self._plain_loss.result()}
        return numbers(results)


def _compute_loss(plain: Any, smoothed_loss: Any | None) -> Callable[..., Any]:
    """A `compute_loss` that reports the plain loss on the data, without penalties or smoothing: so trials compare.

    Trained on is the smoothed loss where there is one, with the penalties.
    """

    def compute_loss(
        self: Any, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        import tensorflow as tf

        data_loss = self._compile_loss(y, y_pred, sample_weight)
        plain.update_state(data_loss, sample_weight=tf.shape(leaves(x)[0])[0])
        if not training:
            return data_loss
        goal = data_loss if smoothed_loss is None else smoothed_loss(y, y_pred, sample_weight)
        return tf.add_n([goal, *(tf.cast(self._aggregate_additional_loss(one), goal.dtype) for one in self.losses)])

    return compute_loss
