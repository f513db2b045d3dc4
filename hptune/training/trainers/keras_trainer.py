"""Trials of Keras models: from a segment's values to a program's run, and from a run to curves, states and models."""

from __future__ import annotations

import contextlib
import math
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hptune.base import seeds
from hptune.base.errors import SegmentFailed, SpecError
from hptune.base.rows import load_row
from hptune.base.stopwatch import WATCH
from hptune.base.trial import Curves, Segment, SegmentResult, Values
from hptune.experiment.defaults import ends_in_one_unit, fill, is_one_hot
from hptune.experiment.experiment import Experiment
from hptune.experiment.objective import Objective, leading
from hptune.experiment.recipe import Recipe, resolve
from hptune.experiment.space.references import concrete, texts_in
from hptune.experiment.space.space import Space
from hptune.run.history import best_epoch
from hptune.run.record import joined_space
from hptune.run.rundir import RunPaths
from hptune.training import runtime
from hptune.training.core import state as states
from hptune.training.core.best import Best
from hptune.training.core.outcome import AfterEpoch, Outcome, Trained, epochs_of, joined, parameters, retrained
from hptune.training.core.program import Program, Setting
from hptune.training.core.state import State
from hptune.training.data import Data, Part, facts
from hptune.training.data.given import as_given, beside_outputs, target_as_given
from hptune.training.export.handover import Handover
from hptune.training.models.blueprint import Blueprint
from hptune.training.models.discovery import explore
from hptune.training.models.hypermodel import Builder, from_code
from hptune.training.models.needs import notes_for_code
from hptune.training.own import reuse
from hptune.training.trainers import course as courses
from hptune.training.trainers.advice import advise, tell_validation
from hptune.training.trainers.course import Course
from hptune.training.trainers.own_fit import OwnFit, OwnWay
from hptune.training.trainers.own_fit_probe import check_own_fit, probe_own_fit
from hptune.training.trainers.probe import check_precision, check_recipes
from hptune.training.trainers.programs import MODELS, NeedsFit, Programs
from hptune.training.trainers.prove import prove
from hptune.training.trainers.samples import Samples
from hptune.training.trainers.trainer import OnEpoch

RANGE = (1e-7, 10.0)
"""The rates of a range test, from the first step to the last."""

RANGE_STEPS = 200
"""A range test trains whole epochs, of so many steps together at least."""


class KerasTrainer:
    """Keeps the data of one fold (or of the one split), and the programs and weights that the next trial may need."""

    def __init__(
        self, experiment: Experiment, folder: Path, run: RunPaths, samples: Samples, *, fold: int | None = None
    ) -> None:
        runtime.start(experiment.execution.precision)
        if experiment.execution.deterministic:
            runtime.allow_only_deterministic()
        runtime.reset_names()  # a module of the user's may build as it is loaded: the same in every process
        runtime.keras().utils.set_random_seed(seeds.derive(experiment.seed, "import"))
        self._given = experiment
        self._folder = folder
        self._run = run
        self._samples = samples
        self._fold = fold
        self._advised = False

    # --- what is loaded once ------------------------------------------------------------------------------------

    @cached_property
    def data(self) -> Data:
        """The samples; for a model, a loss or a metric from code as the source has them, on which code may count."""
        dealt, builder = self._samples.data(self._fold), self.builder
        if builder is not None and builder.reference:
            return as_given(dealt, ordered=builder.has_own_fit)
        if not self._has_own_figures:
            return dealt
        return as_given(beside_outputs(dealt) if self._has_one_output(dealt) else dealt)

    def _has_one_output(self, data: Data) -> bool:
        """Whether a network that fits the target gives one number a sample: for two classes its layers tell."""
        if data.task == "regression":
            return True
        loss = fill(self._given, data.task, len(data.labels or ())).training.loss
        names = [name.lower() for name in texts_in(loss, self._given.search_space)]
        return any(name.startswith("binary") for name in names) or ends_in_one_unit(self._given)

    @property
    def _has_own_figures(self) -> bool:
        """Whether the YAML names a loss or a metric of the user's."""
        training = self._given.training
        return any(":" in name for name in texts_in([training.loss, training.metrics], self._given.search_space))

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment with the defaults that the data decides."""
        task, classes, shape = self.data.task, len(self.data.labels or ()) or None, self.data.train.y.shape[1:]
        return fill(self._given, task, classes, outputs=math.prod(shape), one_hot=is_one_hot(task, shape))

    @cached_property
    def builder(self) -> Builder | None:
        """The code that builds the model, where it comes from code."""
        model = self._given.model
        if not model.declares:
            return None
        if model.code is None:
            made: Builder = load_row(MODELS, model.maker)(model, self._samples.data(self._fold), self._folder)
            return made
        builder = from_code(model.code, self._folder)
        builder.prepare = self._samples.left_again
        x, declared = self._samples.data(self._fold).train.x[:1], Space(self._given.search_space).defaults()
        builder.begin(x, declared, seed=seeds.derive(self._given.seed, "import"))
        return builder

    @cached_property
    def programs(self) -> Programs:
        folds = self._given.evaluation.folds or 1
        return Programs(self.experiment, self.data, self.builder, self._run, folder=self._folder, folds=folds)

    # --- segments -----------------------------------------------------------------------------------------------

    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        started = time.perf_counter()
        learn = {
            "probe": self._probe,
            "stabilize": self._stabilize,
            "lr_range": self._try_rates,
            "prove": self._prove,
        }.get(segment.purpose)
        if learn is not None:  # trains no trial
            found = {**learn(segment), **self._news()}
            return SegmentResult(segment, 0, {}, time.perf_counter() - started, facts=found)
        best = Best(self._objective, self._above(segment)) if self._may_be_kept(segment) else None

        def after(trained: Trained, epoch: int, metrics: Mapping[str, float]) -> None:
            if best is not None and isinstance(trained, Program):  # a fit of its own says what it has earned
                best.take(trained, epoch, metrics)
            if on_epoch is not None:
                on_epoch(segment, epoch, metrics)

        outcome = self._trained(segment, after)
        epochs = segment.from_epoch + epochs_of(outcome.curves)
        kept = self._keep_state(segment, outcome, epochs, best)
        seconds = time.perf_counter() - started  # of training: measuring the test part and writing the model are none
        told = {"parameters": parameters(outcome.trained.model), **outcome.facts, **self._news()}
        if segment.purpose in ("best", "baseline"):
            assert best is not None, "made above"
            told |= self._measure(segment, outcome, best)
        return SegmentResult(segment, epochs, outcome.curves, seconds, kept, outcome.ended, told)

    def _trained(self, segment: Segment, after: AfterEpoch) -> Outcome:
        if self.builder is not None and self.builder.has_own_fit:
            return self._train_by_own_fit(segment, after)
        try:
            with contextlib.nullcontext() if self.builder is None else self.builder.watched():
                return self._train(segment, after)
        except NeedsFit as needed:  # the plain way, for these values alone
            try:
                check_own_fit(self._given, self.data, str(needed))
            except SpecError as refused:
                raise SegmentFailed(f"{refused}") from refused
            outcome = self._train_by_own_fit(segment, after, bare=True)
            note = "; ".join([*([outcome.facts["note"]] if outcome.facts else []), f"{needed}: trained by Keras's fit"])
            return replace(outcome, facts={**outcome.facts, "note": note})

    def _train(self, segment: Segment, after: AfterEpoch) -> Outcome:
        recipe = resolve(self.experiment, segment.values)
        blueprint, program = self.programs.serving(recipe, segment.values)
        counts = reuse.counts_in_python(program)
        if counts is not None and self.builder is not None:
            raise NeedsFit(counts)
        found = states.latest(self._run, segment, partial(states.fits, program.variables, program.model.optimizer))
        state, so_far = found.state or self._fresh(blueprint, recipe, segment, program), found.curves
        told = retrained(found, segment)
        if notes := [one for one in (counts, reuse.loss_apart(program, self.builder)) if one is not None]:
            told["note"] = "; ".join(notes)
        if courses.seeks_ramp(recipe) and segment.purpose in ("best", "baseline"):
            told["ramp"] = self._find_ramp(blueprint, recipe, segment, program, state)
            epoch = told["ramp"]["epoch"]
            recipe = courses.with_ramp_at(recipe, epoch)
            if epoch >= segment.to_epoch:
                told["note"] = f"the rate did not drop: its epoch, {epoch}, lies behind the {segment.to_epoch} trained"
        course = self._course(blueprint, recipe, segment, program)
        setting = self._setting(blueprint, course, segment)
        ended = course.ended()
        if found.epoch < segment.from_epoch:  # what led to the lost state is trained again, and is the same to the bit
            again = program.run(state, setting, found.epoch, segment.from_epoch, so_far=so_far, ended=ended)
            state, so_far = program.state(), joined(so_far, again)
        curves = program.run(
            state,
            setting,
            segment.from_epoch,
            segment.to_epoch,
            so_far=so_far,
            ended=ended,
            on_epoch=partial(after, program),
        )
        if WATCH.asked:
            self._explain(blueprint, program, state, setting, epochs=epochs_of(curves))
        whole = joined(so_far, curves)
        over = epochs_of(whole) < segment.to_epoch or (ended is not None and ended(whole))
        if segment.purpose in ("best", "baseline"):
            told["learning_rates"] = course.rates_by_epoch(whole, epochs_of(whole))
        write = partial(
            self._handover.trained, blueprint, program, segment.values, restored=self.programs.restores_targets
        )
        untested = lambda: program.not_validated  # noqa: E731
        return Outcome(program, curves, whole, over, write, told, blueprint.batch_size, untested=untested)

    def _explain(self, blueprint: Blueprint, program: Program, state: State, setting: Setting, *, epochs: int) -> None:
        """For who asks where the time goes: what can't be told from outside one call for an epoch."""
        tell_validation(program, self.data.validation, setting, epochs=epochs)
        if not self._advised and program.epoch_s is not None and not program.own_steps:
            self._advised = True
            advise(program, partial(self.programs.compile, blueprint, xla=True), state, setting)

    def _fresh(self, blueprint: Blueprint, recipe: Recipe, segment: Segment, program: Program) -> State:
        """The state before the first epoch: weights by architecture, noise by values."""
        weights = self.programs.weights(blueprint, recipe, segment.values, segment.replica)
        noise = seeds.derive(self.experiment.seed, "noise", dict(segment.values), segment.replica)
        return program.fresh(weights, noise)

    def _course(self, blueprint: Blueprint, recipe: Recipe, segment: Segment, program: Program) -> Course:
        epochs = max(concrete(recipe.training.epochs), segment.to_epoch)
        steps = program.steps_per_epoch(blueprint.batch_size)
        return Course(recipe, blueprint.learning_rate, epochs, steps, self._folder)

    def _setting(self, blueprint: Blueprint, course: Course, segment: Segment) -> Setting:
        order = seeds.derive(self.experiment.seed, "samples", dict(segment.values), segment.replica)
        rates = course.rates().astype(np.float32)
        return Setting(blueprint.dials, rates, blueprint.batch_size, order, course.factor())

    def _find_ramp(
        self, blueprint: Blueprint, recipe: Recipe, segment: Segment, program: Program, state: State
    ) -> dict[str, int]:
        """Train at the constant rate until the validation loss stops falling; the epoch at which the rate drops."""
        curves: Curves = {}
        steps = program.steps_per_epoch(blueprint.batch_size)
        for epochs in (courses.RAMP_SEARCH_EPOCHS, 2 * courses.RAMP_SEARCH_EPOCHS):
            course = Course(recipe, blueprint.learning_rate, epochs, steps, self._folder)
            setting = self._setting(blueprint, course, segment)
            curves = joined(
                curves,
                program.run(state, setting, epochs_of(curves), epochs, so_far=curves, ended=courses.stops_falling),
            )
            if courses.stops_falling(curves):
                break
            state = program.state()
        return {"epoch": courses.ramp_epoch(epochs_of(curves)), "stopped_at": epochs_of(curves)}

    def _stabilize(self, segment: Segment) -> dict[str, Any]:
        """Make the stabilised weights of the segment's architecture, unless they are there."""
        recipe = resolve(self.experiment, segment.values)
        blueprint = self.programs.blueprint(recipe, segment.values)
        self.programs.weights(blueprint, recipe, segment.values, segment.replica)
        return {"architecture": blueprint.architecture}

    def _try_rates(self, segment: Segment) -> dict[str, Any]:
        """Train once over rising rates: {"rates", "losses"}, one value a step."""
        recipe = resolve(self.experiment, segment.values)
        blueprint, program = self.programs.serving(recipe, segment.values)
        batch_size = blueprint.batch_size
        steps = program.steps_per_epoch(batch_size)
        epochs = -(-RANGE_STEPS // steps)
        rates = np.geomspace(*RANGE, epochs * steps).astype(np.float32)
        order = seeds.derive(self.experiment.seed, "samples", dict(segment.values), segment.replica)
        state = self._fresh(blueprint, recipe, segment, program)
        setting = Setting(blueprint.dials, rates, batch_size, order)
        losses = program.run_steps(state, setting, epochs=epochs, steps_per_epoch=None)
        return {"rates": rates[: len(losses)].astype(float).tolist(), "losses": losses}

    def _prove(self, segment: Segment) -> dict[str, Any]:
        """Train an epoch both ways, compiled and by Keras's `fit`: what `prove.Proof` has."""
        if self.builder is not None and self.builder.has_own_fit:
            raise SegmentFailed("the HyperModel trains by a fit of its own, which is the plain way already")
        recipe = resolve(self.experiment, segment.values)
        blueprint, program = self.programs.serving(recipe, segment.values)
        state = self._fresh(blueprint, recipe, segment, program)
        setting = self._setting(blueprint, self._course(blueprint, recipe, segment, program), segment)
        restored = self.programs.restores_targets
        return prove(blueprint, program, state, setting, self.data, restored=restored).facts()

    @cached_property
    def _own_way(self) -> OwnWay:
        assert self.builder is not None, "the fit of a builder"
        data = as_given(self._samples.data(self._fold), ordered=True)
        return OwnWay(self.builder, self.experiment, data, self._folder, self._objective)

    def _train_by_own_fit(self, segment: Segment, after: AfterEpoch, *, bare: bool = False) -> Outcome:
        seed = seeds.derive(self.experiment.seed, "own fit", dict(segment.values), segment.replica)
        keeps = segment.purpose in ("best", "baseline")
        trained = OwnFit(self._own_way, segment.values, seed=seed, keeps=keeps, bare=bare)

        def new(epoch: int, metrics: Mapping[str, float]) -> None:
            if epoch > segment.from_epoch:
                after(trained, epoch, metrics)

        # From the start in each rung: such code keeps more from epoch to epoch than a state that can be saved.
        whole = trained.run(segment.to_epoch, on_epoch=new)
        curves = {name: values[segment.from_epoch :] for name, values in whole.items()}
        notes = trained.notes()
        return Outcome(
            trained,
            curves,
            whole,
            ended=epochs_of(whole) < segment.to_epoch,
            write=partial(self._handover.fitted, trained.model, segment.values, seed),
            facts={"note": "; ".join(notes)} if notes else {},
            batch_size=trained.batch_size,
            best=trained.best,
            untested=trained.untested,
        )

    def _may_be_kept(self, segment: Segment) -> bool:
        """Whether the state of the best epoch may be wanted."""
        if segment.purpose == "trial":
            asked = segment.keep_state or segment.keep_above is not None
            return asked and self.experiment.checkpoints.keep > 0 and len(self.experiment.objectives) == 1
        return segment.purpose in ("best", "baseline")

    def _above(self, segment: Segment) -> float | None:
        """The score above which a trial's state is wanted; None for any: with repeats their mean decides."""
        evaluation = self.experiment.evaluation
        return segment.keep_above if (evaluation.folds or evaluation.repeats) == 1 else None

    def _keep_state(self, segment: Segment, outcome: Outcome, epochs: int, best: Best | None) -> bool:
        """Write the state at the end where training may go on from it, and that of the epoch which the score is of
        where the trial may be one of the best; whether the one at the end was written."""
        if segment.purpose != "trial" or isinstance(outcome.trained, OwnFit):
            return False
        earned = best_epoch(outcome.whole, self._objective)
        taken = best.state if best is not None and best.epoch == earned else None
        if taken is not None and earned < epochs:
            curves = {name: values[:earned] for name, values in outcome.whole.items()}
            path = self._run.state(segment.trial, segment.replica, earned)
            states.save(path, taken, curves, below=self._run.runs)
        at_end = segment.keep_state or (taken is not None and earned == epochs)
        if at_end:
            path = self._run.state(segment.trial, segment.replica, epochs)
            states.save(path, outcome.trained.state(), outcome.whole, below=self._run.runs)
        return at_end

    @property
    def _objective(self) -> Objective:
        """What tells the best epoch."""
        return leading(self.experiment.objectives)

    # --- train-best ---------------------------------------------------------------------------------------------

    def _measure(self, segment: Segment, outcome: Outcome, best: Best) -> dict[str, Any]:
        """The test part's metrics with the weights of the best epoch, and for the winner the model written."""
        epoch, state = outcome.best or (best.epoch, best.state)
        told: dict[str, Any] = {"best_epoch": epoch}
        if state is not None:
            outcome.trained.load(state)
        outcome.trained.finalize()
        test, untested = self._test(), outcome.untested()
        if test is not None and untested is None:
            told["test"] = outcome.trained.evaluate(test, outcome.batch_size)
        written = outcome.write() if segment.purpose == "best" else {}
        notes = [facts["note"] for facts in (outcome.facts, written) if "note" in facts]
        notes += [untested] if test is not None and untested is not None else []
        return {**told, **written, **({"note": "; ".join(notes)} if notes else {})}

    def _test(self) -> Part | None:
        part = self._samples.test()
        as_given = self.builder is not None or self._has_own_figures
        return target_as_given(part, self.data.given) if part is not None and as_given else part

    @property
    def _handover(self) -> Handover:
        return Handover(self._run, self._given, self.data, self.builder, self._folder)

    # --- probe --------------------------------------------------------------------------------------------------

    def _probe(self, segment: Segment) -> dict[str, Any]:
        """Facts for the journal's head, after everything that can be known before trial 1 was checked.

        A probe that may train (`to_epoch` above 0) also tells what training costs.
        """
        check_precision(self._given)
        found = facts(self.data)
        found |= {"notes": [*found.get("notes", ()), *notes_for_code(self.data, self._given)]}
        builder = self.builder
        built: Sequence[Values] = ()
        if builder is not None and builder.has_own_fit:
            notes = [*found.get("notes", ()), reuse.NONE.format(why=builder.why_by_fit or "trains by a fit of its own")]
            found |= probe_own_fit(self._own_way, self._given, notes)
            return {**found, "notes": [*found["notes"], *reuse.left(builder)]}
        if builder is not None:
            explored = explore(builder, self.experiment.search_space, folder=self._folder)
            found["space"], built = explored.space, explored.built
        programs = self.programs
        drawn, values, doubts = check_recipes(
            self.experiment,
            self.data,
            programs.drawn,
            lambda one: (programs.program(one).metric_names, programs.program(one).not_validated),
            space=joined_space(self.experiment, found),
            built=built,
            folder=self._folder,
        )
        program = programs.program(drawn)
        self._handover.check_first(drawn, program, restored=programs.restores_targets)
        told = [*doubts]
        if builder is not None:
            if not math.isnan(drawn.learning_rate):
                found["learning_rate"] = drawn.learning_rate
            told += [*reuse.left(builder), *reuse.told(drawn, not_validated=program.not_validated)]
        told += reuse.ranks_apart(drawn, program.model, self.data.train.y[:16])
        told += filter(None, [programs.news.pop("note", None)])
        found |= {"notes": [*found.get("notes", ()), *told]} if told else {}
        return {**found, **self._cost(segment._replace(values=values))} if segment.to_epoch else found

    def _cost(self, segment: Segment) -> dict[str, Any]:
        """What training the segment's values costs.

        Seconds of the first epoch, which is traced and compiled in it, and of another; the peak of this process's
        memory in MB; the model's parameters.
        """
        ends: list[float] = [time.perf_counter()]
        outcome = self._train(
            segment._replace(purpose="trial", to_epoch=3), lambda *_: ends.append(time.perf_counter())
        )
        times = [after - before for before, after in pairwise(ends)]
        return {
            "first_epoch_s": times[0],
            "epoch_s": min(times[1:], default=times[0]),
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "parameters": parameters(outcome.trained.model),
        }

    def _news(self) -> dict[str, Any]:
        """What was stabilised on the way, once."""
        news, self.programs.news = self.programs.news, {}
        return news
