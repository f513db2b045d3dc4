"""Trials of Keras models: from a segment's values to a program's run, and from a run to curves, states and models."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hptune import seeds
from hptune.errors import SegmentFailed, SpecError, spec_error
from hptune.rundir import RunPaths
from hptune.spec import schedules
from hptune.spec.defaults import fill
from hptune.spec.directions import direction
from hptune.spec.experiment import Experiment
from hptune.spec.model import LayersModel, PythonModel
from hptune.spec.objective import Objective
from hptune.spec.recipe import Recipe, resolve
from hptune.spec.references import Ref, concrete
from hptune.spec.space import Space
from hptune.training import blueprint as blueprints
from hptune.training import dials, runtime
from hptune.training import state as states
from hptune.training.blueprint import Blueprint, Weights
from hptune.training.data import Data, facts, load_data
from hptune.training.export import export, in_own_unit, raw_inputs
from hptune.training.fit_check import check_output
from hptune.training.hypermodel import Builder, discover
from hptune.training.losses import Standardized
from hptune.training.program import Program, Setting
from hptune.training.state import State
from hptune.training.stopping import has_stopped
from hptune.training.trainer import OnEpoch
from hptune.trial import Curves, Segment, SegmentResult, Values

PROGRAMS_KEPT = 8
"""How many compiled programs stay in memory; the least recently used goes first."""


@dataclass(slots=True)
class _Best:
    """The best validation epoch of a run, and the variables after it."""

    score: float | None = None
    epoch: int = 0
    state: State | None = None


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
        assert self._given.data is not None, "the spec's check asks for data"
        return load_data(self._given.data, folder=self._folder, seed=self._given.seed)

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment with the defaults that the data decides."""
        return fill(self._given, task=self.data.task, classes=len(self.data.labels) if self.data.labels else None)

    @cached_property
    def builder(self) -> Builder:
        assert isinstance(self._given.model, PythonModel)
        return Builder(self._given.model.python, self._folder)

    # --- segments -----------------------------------------------------------------------------------------------

    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        started = time.perf_counter()
        if segment.purpose == "probe":
            return SegmentResult(segment, 0, {}, time.perf_counter() - started, facts=self._probe())
        recipe = resolve(self.experiment, segment.values)
        blueprint = self._blueprint(recipe, segment.values)
        dials.check(blueprint.dials)
        program = self._program(blueprint)
        setting = self._setting(blueprint, recipe, segment, program)
        state, so_far = self._start(blueprint, segment, program)
        best = _Best()

        def after(epoch: int, metrics: Mapping[str, float]) -> None:
            if segment.purpose in ("best", "baseline"):
                self._keep_best(best, program, epoch, metrics)
            if on_epoch is not None:
                on_epoch(segment, epoch, metrics)

        stopper = self._stopper(recipe)
        curves = program.run(
            state, setting, segment.from_epoch, segment.to_epoch, so_far=so_far, ended=stopper, on_epoch=after
        )
        epochs = segment.from_epoch + max((len(values) for values in curves.values()), default=0)
        whole = {name: (*so_far.get(name, ()), *values) for name, values in curves.items()} or so_far
        told: dict[str, Any] = {"parameters": int(program.model.count_params())}
        kept = self._keep_state(segment, program, whole, epochs)
        if best.state is not None:
            program.load(State(best.state.model))
            told |= self._measure(segment, blueprint, program, best.epoch)
            told["learning_rates"] = self._rates_by_epoch(blueprint, recipe, epochs)
        ended = epochs < segment.to_epoch or (stopper is not None and stopper(whole))
        return SegmentResult(segment, epochs, curves, time.perf_counter() - started, kept, ended, told)

    def _blueprint(self, recipe: Recipe, values: Values) -> Blueprint:
        if isinstance(self.experiment.model, PythonModel):
            model, _ = self.builder.build(values)
            training = self.experiment.training
            given = frozenset(n for n in ("optimizer", "loss", "metrics") if getattr(training, n) is not None)
            return blueprints.of_model(
                model, recipe, given=given, rebuild=lambda: self.builder.build(values)[0], tag=dict(values)
            )
        x = self.data.train.x
        return blueprints.of_layers(recipe, x.shape[1:], x.dtype.name)

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
        return self.data.target_scale is not None and not isinstance(self.experiment.model, PythonModel)

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

    def _keep_state(self, segment: Segment, program: Program, curves: Curves, epochs: int) -> bool:
        if segment.purpose != "trial":
            return False
        wanted = segment.keep_state
        if not wanted and segment.keep_above is not None:
            objective = self._objective
            score = objective.best(curves[objective.metric]) if objective.metric in curves else None
            wanted = score is not None and objective.better(score, segment.keep_above)
        if wanted:
            states.save(self._run.state(segment.trial, segment.replica, epochs), program.state(), curves)
        return wanted

    @property
    def _objective(self) -> Objective:
        assert self.experiment.objective is not None, "filled in once the data is known"
        return self.experiment.objective

    # --- train-best ---------------------------------------------------------------------------------------------

    def _keep_best(self, best: _Best, program: Program, epoch: int, metrics: Mapping[str, float]) -> None:
        objective = self._objective
        score = metrics.get(objective.metric)
        if best.state is None or (score is not None and (best.score is None or objective.better(score, best.score))):
            best.score, best.epoch, best.state = score, epoch, program.state()

    def _measure(self, segment: Segment, blueprint: Blueprint, program: Program, epoch: int) -> dict[str, Any]:
        """The test part's metrics for the weights now loaded, and the model written for the winner."""
        assert self._given.data is not None
        data = load_data(self._given.data, folder=self._folder, seed=self._given.seed, with_test=True)
        told: dict[str, Any] = {"best_epoch": epoch}
        if data.test is not None:
            told["test"] = program.evaluate(data.test)
        if segment.purpose == "best":
            model = export(self._run.best_model, blueprint, program.weights(), data, restored=self._restores_targets)
            _check_export(model, program, data)
            told["model"] = str(self._run.best_model)
        return told

    def _rates_by_epoch(self, blueprint: Blueprint, recipe: Recipe, epochs: int) -> list[float]:
        full = max(concrete(recipe.training.epochs), epochs)
        return schedules.by_epoch(recipe.schedule, base_rate=blueprint.learning_rate, epochs=full)[:epochs]

    # --- probe --------------------------------------------------------------------------------------------------

    def _probe(self) -> dict[str, Any]:
        """Facts for the journal's head, after everything that can be known before trial 1 was checked."""
        found = facts(self.data)
        if isinstance(self._given.model, PythonModel):
            found["space"] = discover(self.builder, self._given.search_space)
            found["own_fit"] = self.builder.has_own_fit
        warnings = self._check_recipes()
        return {**found, **({"warnings": warnings} if warnings else {})}

    def _check_recipes(self) -> list[str]:
        """Try the recipe at the defaults and at both ends of the space. Raises SpecError if none can be built."""
        space = Space(self._given.search_space)
        settings = [space.defaults(), *(space.choose(lambda _, d, u=u: d.from_unit(u)) for u in (0.0, 1.0))]
        failures: list[str] = []
        for values in settings:
            try:
                self._check_recipe(values)
                return failures
            except SpecError:
                raise
            except Exception as error:  # noqa: BLE001  # Keras and users' code raise anything; it is told below
                shown = ", ".join(f"{name}={value}" for name, value in values.items())
                failures.append(f"no model for {shown or 'the recipe'}: {str(error).strip().splitlines()[0]}")
        raise spec_error(f"{failures[0]}. Mend the model, or narrow the search space.", "model")

    def _check_recipe(self, values: Values) -> None:
        recipe = resolve(self.experiment, values)
        batch_size = self.experiment.training.batch_size
        rows = len(self.data.train)
        if not isinstance(batch_size, Ref) and batch_size > rows:
            told = f"must be at most the {rows} samples of the training part, got {batch_size}. Lower it."
            raise spec_error(told, "training", "batch_size")
        blueprint = self._blueprint(recipe, values)
        model = self._given.model
        last = ("layers", len(model.layers) - 1) if isinstance(model, LayersModel) else ()
        check_output(blueprint.build(), self.data, ("model", *last))
        program = self._program(blueprint)
        if self._objective.metric not in [*program.metric_names, "seconds", "parameters"]:
            known = ", ".join(program.metric_names)
            told = f"no metric {self._objective.metric!r} is reported. Known: {known}."
            raise spec_error(told, "objective", "metric")


def _check_export(model: Any, program: Program, data: Data) -> None:
    """The written model must predict from raw inputs what the program predicts. Raises SegmentFailed otherwise."""
    x = data.validation.x[:64]
    ours = np.asarray(program.model(x, training=False))
    theirs = np.asarray(model(raw_inputs(x, data), training=False))
    if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
        gap = float(np.max(np.abs(ours - theirs)))
        raise SegmentFailed(f"the exported model's predictions differ from the trained one's by up to {gap:.3g}")
