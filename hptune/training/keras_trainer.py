"""Trials of Keras models: from a segment's values to a program's run, and from a run to curves, states and models."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from hptune import seeds
from hptune.errors import SegmentFailed
from hptune.history import best_of
from hptune.rundir import RunPaths
from hptune.spec import schedules
from hptune.spec.defaults import fill
from hptune.spec.directions import direction
from hptune.spec.experiment import Experiment
from hptune.spec.model import PythonModel
from hptune.spec.objective import Objective
from hptune.spec.recipe import Recipe, resolve
from hptune.spec.references import concrete
from hptune.training import blueprint as blueprints
from hptune.training import dials, own_fit, runtime
from hptune.training import state as states
from hptune.training.blueprint import Blueprint, Weights
from hptune.training.data import Data, Part, facts, load_data
from hptune.training.export import for_users, in_own_unit, raw_inputs, save_model
from hptune.training.hypermodel import Builder, discover
from hptune.training.losses import Standardized
from hptune.training.own_fit import OwnFit
from hptune.training.probe import check_recipes
from hptune.training.program import Program, Setting
from hptune.training.state import State
from hptune.training.stopping import has_stopped
from hptune.training.trainer import OnEpoch
from hptune.trial import Curves, Segment, SegmentResult, Values

PROGRAMS_KEPT = 8
"""How many compiled programs stay in memory; the least recently used goes first."""

AfterEpoch: TypeAlias = Callable[["Trained", int, Mapping[str, float]], None]
"""Told (what is trained, epochs done, the epoch's metrics)."""


class Trained(Protocol):
    """A model after its training: a `Program`, or an `OwnFit`."""

    @property
    def model(self) -> Any: ...

    def state(self) -> State: ...

    def load(self, state: State) -> None: ...

    def evaluate(self, part: Part) -> dict[str, float]: ...


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What training gave.

    curves: of the new epochs. whole: of all. ended: the recipe ended the training. write: writes the model for
    users and returns facts to tell of it.
    """

    trained: Trained
    curves: Curves
    whole: Curves
    ended: bool
    write: Callable[[], dict[str, Any]]
    facts: Mapping[str, Any]


class KerasTrainer:
    """Keeps the data, the last few programs and the fresh weights by architecture and replica."""

    def __init__(self, experiment: Experiment, folder: Path, run: RunPaths) -> None:
        runtime.start(experiment.execution.precision)
        self._given = experiment
        self._folder = folder
        self._run = run
        self._programs: OrderedDict[str, Program] = OrderedDict()
        self._fresh: dict[tuple[str, int], Weights] = {}

    # --- what is loaded once ------------------------------------------------------------------------------------

    @cached_property
    def data(self) -> Data:
        return self._load_data(with_test=False)

    def _load_data(self, *, with_test: bool) -> Data:
        assert self._given.data is not None, "the spec's check asks for data"
        return load_data(self._given.data, folder=self._folder, seed=self._given.seed, with_test=with_test)

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment with the defaults that the data decides."""
        return fill(self._given, task=self.data.task, classes=len(self.data.labels) if self.data.labels else None)

    @cached_property
    def builder(self) -> Builder | None:
        """The user's code, where the model comes from code."""
        model = self._given.model
        return Builder(model.python, self._folder) if isinstance(model, PythonModel) else None

    # --- segments -----------------------------------------------------------------------------------------------

    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        started = time.perf_counter()
        if segment.purpose == "probe":
            return SegmentResult(segment, 0, {}, time.perf_counter() - started, facts=self._probe())
        best = _Best(self._objective) if segment.purpose in ("best", "baseline") else None

        def after(trained: Trained, epoch: int, metrics: Mapping[str, float]) -> None:
            if best is not None:
                best.take(trained, epoch, metrics)
            if on_epoch is not None:
                on_epoch(segment, epoch, metrics)

        own = self.builder is not None and self.builder.has_own_fit
        outcome = self._train_by_own_fit(segment, after) if own else self._train(segment, after)
        epochs = segment.from_epoch + _epochs(outcome.curves)
        kept = self._keep_state(segment, outcome, epochs)
        told = {"parameters": int(outcome.trained.model.count_params()), **outcome.facts}
        if best is not None:
            told |= self._measure(segment, outcome, best)
        seconds = time.perf_counter() - started
        return SegmentResult(segment, epochs, outcome.curves, seconds, kept, outcome.ended, told)

    def _train(self, segment: Segment, after: AfterEpoch) -> _Outcome:
        recipe = resolve(self.experiment, segment.values)
        blueprint = self._blueprint(recipe, segment.values)
        dials.check(blueprint.dials)
        program = self._program(blueprint)
        state, so_far = self._start(blueprint, segment, program)
        stopper = self._stopper(recipe)
        curves = program.run(
            state,
            self._setting(blueprint, recipe, segment, program),
            segment.from_epoch,
            segment.to_epoch,
            so_far=so_far,
            ended=stopper,
            on_epoch=partial(after, program),
        )
        whole = _joined(so_far, curves)
        ended = _epochs(whole) < segment.to_epoch or (stopper is not None and stopper(whole))
        told: dict[str, Any] = {}
        if segment.purpose in ("best", "baseline"):
            told["learning_rates"] = self._rates_by_epoch(blueprint, recipe, _epochs(whole))
        return _Outcome(program, curves, whole, ended, lambda: self._export(blueprint, program), told)

    def _train_by_own_fit(self, segment: Segment, after: AfterEpoch) -> _Outcome:
        assert self.builder is not None
        seed = seeds.derive(self.experiment.seed, "own fit", dict(segment.values), segment.replica)
        trained = OwnFit(self.builder, segment.values, self.data, seed=seed)
        state: State | None = None
        so_far: Curves = {}
        if segment.from_epoch > 0:
            state, so_far = states.load(self._run.state(segment.trial, segment.replica, segment.from_epoch))
        curves = trained.run(state, segment.from_epoch, segment.to_epoch, on_epoch=partial(after, trained))
        whole = _joined(so_far, curves)
        write = partial(save_model, self._run.best_model, trained.model)
        return _Outcome(trained, curves, whole, _epochs(whole) < segment.to_epoch, write, {})

    def _blueprint(self, recipe: Recipe, values: Values) -> Blueprint:
        builder = self.builder
        if builder is not None:
            given = frozenset({"optimizer", "loss", "metrics"} & recipe.training.model_fields_set)
            rebuild = partial(self._build_by_code, builder, values)
            return blueprints.of_model(rebuild(), recipe, given=given, rebuild=rebuild, tag=dict(values))
        x = self.data.train.x
        return blueprints.of_layers(recipe, x.shape[1:], x.dtype.name)

    def _build_by_code(self, builder: Builder, values: Values) -> Any:
        model, _ = builder.build(values)
        if not model.built:  # no input shape was given: the first sample has one
            model(self.data.train.x[:1])
        return model

    def _program(self, blueprint: Blueprint) -> Program:
        key = blueprint.structure
        if key in self._programs:
            self._programs.move_to_end(key)
            return self._programs[key]
        if blueprint.batch_size > len(self.data.train):
            rows = len(self.data.train)
            raise SegmentFailed(f"batch_size {blueprint.batch_size} is larger than the training part ({rows} samples)")
        while len(self._programs) >= PROGRAMS_KEPT:
            self._programs.popitem(last=False)
        program = self._compile(blueprint)
        self._programs[key] = program
        return program

    def _compile(self, blueprint: Blueprint) -> Program:
        loss, output = blueprint.loss(), lambda model: model
        if self._restores_targets:
            assert self.data.target_scale is not None
            loss = Standardized(loss, *self.data.target_scale)
            output = lambda model: in_own_unit(model, self.data)  # noqa: E731
        return Program(
            blueprint,
            self.data.train,
            self.data.validation,
            loss=loss,
            output=output,
            xla=self.experiment.execution.xla,
        )

    @property
    def _restores_targets(self) -> bool:
        """Whether the loss sees standardised targets, and a last layer brings predictions back to the target's unit.

        Not for a model that the user's code compiled: its loss is meant for the targets as they are.
        """
        return self.data.target_scale is not None and self.builder is None

    def _start(self, blueprint: Blueprint, segment: Segment, program: Program) -> tuple[State, Curves]:
        """The state that the segment starts from, and the curves up to there."""
        if segment.from_epoch > 0:
            return states.load(self._run.state(segment.trial, segment.replica, segment.from_epoch))
        key = (blueprint.architecture, segment.replica)
        if key not in self._fresh:
            self._fresh[key] = blueprint.weights(seeds.derive(self.experiment.seed, "weights", *key))
        noise = seeds.derive(self.experiment.seed, "noise", dict(segment.values), segment.replica)
        return program.fresh(self._fresh[key], noise), {}

    def _setting(self, blueprint: Blueprint, recipe: Recipe, segment: Segment, program: Program) -> Setting:
        rates = schedules.table(
            recipe.schedule,
            base_rate=blueprint.learning_rate,
            epochs=max(concrete(recipe.training.epochs), segment.to_epoch),
            steps_per_epoch=program.steps_per_epoch,
        )
        order = seeds.derive(self.experiment.seed, "samples", dict(segment.values), segment.replica)
        return Setting(blueprint.dials, rates.astype(np.float32), order)

    def _stopper(self, recipe: Recipe) -> Callable[[Curves], bool] | None:
        """Whether early stopping ends the training after these curves."""
        stopping = recipe.training.early_stopping
        if stopping is None:
            return None
        goal = stopping.goal or direction(stopping.monitor)
        assert goal is not None, "the spec's check asks for a goal where the metric is unknown"

        def ended(curves: Curves) -> bool:
            if curves and stopping.monitor not in curves:
                raise SegmentFailed(f"early_stopping.monitor: no metric {stopping.monitor!r}; there are {[*curves]}")
            return has_stopped(
                curves.get(stopping.monitor, ()),
                patience=concrete(stopping.patience),
                min_delta=concrete(stopping.min_delta),
                goal=goal,
            )

        return ended

    def _keep_state(self, segment: Segment, outcome: _Outcome, epochs: int) -> bool:
        if segment.purpose != "trial":
            return False
        wanted = segment.keep_state
        if not wanted and segment.keep_above is not None:
            score = best_of(outcome.whole, self._objective)
            wanted = score is not None and self._objective.better(score, segment.keep_above)
        if wanted:
            path = self._run.state(segment.trial, segment.replica, epochs)
            states.save(path, outcome.trained.state(), outcome.whole)
        return wanted

    @property
    def _objective(self) -> Objective:
        assert self.experiment.objective is not None, "filled in once the data is known"
        return self.experiment.objective

    # --- train-best ---------------------------------------------------------------------------------------------

    def _measure(self, segment: Segment, outcome: _Outcome, best: _Best) -> dict[str, Any]:
        """The test part's metrics with the weights of the best epoch, and for the winner the model written."""
        told: dict[str, Any] = {"best_epoch": best.epoch}
        if best.state is not None:  # None: a fit of its own that passed no callbacks on
            outcome.trained.load(best.state)
        test = self._load_data(with_test=True).test
        if test is not None:
            told["test"] = outcome.trained.evaluate(test)
        if segment.purpose == "best":
            told |= outcome.write()
        return told

    def _export(self, blueprint: Blueprint, program: Program) -> dict[str, Any]:
        model = for_users(blueprint, program.weights(), self.data, restored=self._restores_targets)
        _check_export(model, program, self.data)
        return save_model(self._run.best_model, model)

    def _rates_by_epoch(self, blueprint: Blueprint, recipe: Recipe, epochs: int) -> list[float]:
        full = max(concrete(recipe.training.epochs), epochs)
        return schedules.by_epoch(recipe.schedule, base_rate=blueprint.learning_rate, epochs=full)[:epochs]

    # --- probe --------------------------------------------------------------------------------------------------

    def _probe(self) -> dict[str, Any]:
        """Facts for the journal's head, after everything that can be known before trial 1 was checked."""
        found = facts(self.data)
        builder = self.builder
        if builder is not None:
            ask = partial(own_fit.ask, builder, data=self.data) if builder.has_own_fit else None
            found["space"] = discover(builder, self.experiment.search_space, ask)
            if builder.has_own_fit:
                return {**found, "own_fit": True}
        check_recipes(self.experiment, self.data, self._blueprint, lambda one: self._program(one).metric_names)
        return found


class _Best:
    """The best validation epoch of a run, and the variables after it."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._score: float | None = None
        self.epoch = 0
        self.state: State | None = None

    def take(self, trained: Trained, epoch: int, metrics: Mapping[str, float]) -> None:
        score = metrics.get(self._objective.metric)
        better = score is not None and (self._score is None or self._objective.better(score, self._score))
        if self.state is None or better:
            self._score, self.epoch, self.state = score, epoch, trained.state()


def _epochs(curves: Curves) -> int:
    return max((len(values) for values in curves.values()), default=0)


def _joined(so_far: Curves, curves: Curves) -> Curves:
    return {name: (*so_far.get(name, ()), *curves.get(name, ())) for name in dict.fromkeys([*so_far, *curves])}


def _check_export(model: Any, program: Program, data: Data) -> None:
    """The written model must predict from raw inputs what the program predicts. Raises SegmentFailed where not."""
    x = data.validation.x[:64]
    ours = np.asarray(program.model(x, training=False))
    theirs = np.asarray(model(raw_inputs(x, data), training=False))
    if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
        gap = float(np.max(np.abs(ours - theirs)))
        raise SegmentFailed(f"the exported model's predictions differ from the trained one's by up to {gap:.3g}")
