"""Training the values of a segment: by a compiled program, or by the code's own `fit`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from hptune.base import seeds
from hptune.base.errors import SegmentFailed, SpecError
from hptune.base.stopwatch import WATCH
from hptune.base.trial import Curves, Segment
from hptune.experiment.recipe import Recipe, resolve
from hptune.experiment.space.references import concrete
from hptune.run.curves import length
from hptune.training.core import state as states
from hptune.training.core.outcome import AfterEpoch, Outcome, joined, retrained
from hptune.training.core.program import Program, ProgramSetting
from hptune.training.core.state import State
from hptune.training.models.blueprint import Blueprint
from hptune.training.own import reuse
from hptune.training.trainers import course as courses
from hptune.training.trainers.advice import advise, record_validation
from hptune.training.trainers.by_fit.own_fit import OwnFit
from hptune.training.trainers.by_fit.own_fit_probe import check_own_fit
from hptune.training.trainers.course import Course
from hptune.training.trainers.loaded import Loaded
from hptune.training.trainers.programs import NeedsFit


class Trials:
    """Trains one point after the other."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._advised = False

    def run(self, segment: Segment, after: AfterEpoch) -> Outcome:
        """Train the segment's epochs in the way that its values need. after: called after each epoch."""
        _ = self._loaded.programs  # loads all that they need: an error there is not the trial's
        try:
            return self._run(segment, after)
        except SpecError as error:  # the first point's model was looked at before the search; this is another's
            raise SegmentFailed(f"{error}") from error

    def _run(self, segment: Segment, after: AfterEpoch) -> Outcome:
        if self._loaded.builder is not None and self._loaded.builder.has_own_fit:
            return self._train_by_own_fit(segment, after)
        try:
            with contextlib.nullcontext() if self._loaded.builder is None else self._loaded.builder.watched():
                return self.by_program(segment, after)
        except NeedsFit as needed:  # the plain way, for these values alone
            check_own_fit(self._loaded.as_written, self._loaded.data, str(needed))
            outcome = self._train_by_own_fit(segment, after, bare=True)
            note = "; ".join([*([outcome.facts["note"]] if outcome.facts else []), f"{needed}: trained by Keras's fit"])
            return replace(outcome, facts={**outcome.facts, "note": note})

    def by_program(self, segment: Segment, after: AfterEpoch) -> Outcome:
        """By a compiled program. Raises NeedsFit where none can train these values' model."""
        recipe = resolve(self._loaded.experiment, segment.values)
        blueprint, program = self._loaded.programs.serving(recipe, segment.values)
        if math.isnan(blueprint.learning_rate) and _asks_for_a_course(recipe):
            problem = "schedule has no effect, since the optimizer that the code builds has a schedule of its own"
            raise SegmentFailed(f"{problem}. Drop one of the two")
        counts = reuse.counts_in_python(program)
        if counts is not None and self._loaded.builder is not None:
            raise NeedsFit(counts)
        resumed = states.latest(
            self._loaded.run, segment, partial(states.fits, program.variables, program.model.optimizer)
        )
        state, so_far = resumed.state or self.fresh(blueprint, recipe, segment=segment, program=program), resumed.curves
        learnt = retrained(resumed, segment)
        if notes := [one for one in (counts, reuse.loss_apart(program, self._loaded.builder)) if one is not None]:
            learnt["note"] = "; ".join(notes)
        if courses.seeks_ramp(recipe) and segment.purpose in ("best", "baseline"):
            learnt["ramp"] = self._find_ramp(blueprint, recipe, segment=segment, program=program, state=state)
            epoch = learnt["ramp"]["epoch"]
            recipe = courses.with_ramp_at(recipe, epoch)
            if epoch >= segment.to_epoch:
                learnt["note"] = (
                    f"the rate did not drop: its epoch, {epoch}, lies behind the {segment.to_epoch} trained"
                )
        course = self.course(blueprint, recipe, segment=segment, program=program)
        setting = self.setting(blueprint, course, segment)
        ended = course.ended()
        if (
            resumed.epoch < segment.from_epoch
        ):  # the epochs before the lost state are trained again, the same to the bit
            again = program.run(
                state, setting, from_epoch=resumed.epoch, to_epoch=segment.from_epoch, so_far=so_far, ended=ended
            )
            state, so_far = program.state(), joined(so_far, again)
        curves = program.run(
            state,
            setting,
            from_epoch=segment.from_epoch,
            to_epoch=segment.to_epoch,
            so_far=so_far,
            ended=ended,
            on_epoch=partial(after, program),
        )
        self._loaded.programs.check_asked(program)
        if WATCH.asked:
            self._explain(blueprint, program, state=state, setting=setting, epochs=length(curves))
        whole = joined(so_far, curves)
        over = length(whole) < segment.to_epoch or (ended is not None and ended(whole))
        if segment.purpose in ("best", "baseline"):
            learnt["learning_rates"] = course.rates_by_epoch(whole, length(whole))
        restored = self._loaded.programs.restores_targets
        write = partial(self._loaded.handover.trained, blueprint, program, segment.values, restored=restored)
        untested = lambda: program.not_validated  # noqa: E731
        return Outcome(program, curves, whole, over, write, learnt, blueprint.batch_size, untested=untested)

    def _explain(
        self, blueprint: Blueprint, program: Program, *, state: State, setting: ProgramSetting, epochs: int
    ) -> None:
        """For `--profile`: where the time goes inside an epoch, which is one call."""
        record_validation(program, self._loaded.data.validation, setting, epochs=epochs)
        if not self._advised and program.epoch_s is not None and not program.own_steps:
            self._advised = True
            advise(program, partial(self._loaded.programs.compile, blueprint, xla=True), state=state, setting=setting)

    def fresh(self, blueprint: Blueprint, recipe: Recipe, *, segment: Segment, program: Program) -> State:
        """The state before the first epoch: weights by architecture, noise by values."""
        weights = self._loaded.programs.weights(blueprint, recipe, values=segment.values, replica=segment.replica)
        noise = seeds.derive(self._loaded.experiment.seed, "noise", dict(segment.values), segment.replica)
        return program.fresh(weights, noise)

    def course(self, blueprint: Blueprint, recipe: Recipe, *, segment: Segment, program: Program) -> Course:
        """The course of the whole training, of which the segment may be a part."""
        epochs = max(concrete(recipe.training.epochs), segment.to_epoch)
        steps = program.steps_per_epoch(blueprint.batch_size)
        return Course(recipe, blueprint.learning_rate, epochs, steps, self._loaded.folder)

    def setting(self, blueprint: Blueprint, course: Course, segment: Segment) -> ProgramSetting:
        """What a program needs for a run of the segment."""
        order = seeds.derive(self._loaded.experiment.seed, "samples", dict(segment.values), segment.replica)
        rates = course.rates().astype(np.float32)
        return ProgramSetting(blueprint.dials, rates, blueprint.batch_size, order, course.factor())

    def _find_ramp(
        self, blueprint: Blueprint, recipe: Recipe, *, segment: Segment, program: Program, state: State
    ) -> dict[str, int]:
        """Train at a constant rate until the validation loss stops falling; the epoch at which the rate drops."""
        curves: Curves = {}
        steps = program.steps_per_epoch(blueprint.batch_size)
        for epochs in (courses.RAMP_SEARCH_EPOCHS, 2 * courses.RAMP_SEARCH_EPOCHS):
            course = Course(recipe, blueprint.learning_rate, epochs, steps, self._loaded.folder)
            setting = self.setting(blueprint, course, segment)
            curves = joined(
                curves,
                program.run(
                    state,
                    setting,
                    from_epoch=length(curves),
                    to_epoch=epochs,
                    so_far=curves,
                    ended=courses.stops_falling,
                ),
            )
            if courses.stops_falling(curves):
                break
            state = program.state()
        return {"epoch": courses.ramp_epoch(length(curves)), "stopped_at": length(curves)}

    def _train_by_own_fit(self, segment: Segment, after: AfterEpoch, *, bare: bool = False) -> Outcome:
        seed = seeds.derive(self._loaded.experiment.seed, "own fit", dict(segment.values), segment.replica)
        keeps = segment.purpose in ("best", "baseline")
        trained = OwnFit(self._loaded.fit_context, segment.values, seed=seed, keeps=keeps, bare=bare)

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
            ended=length(whole) < segment.to_epoch,
            write=partial(self._loaded.handover.fitted, trained.model, segment.values, seed),
            facts={"note": "; ".join(notes)} if notes else {},
            batch_size=trained.batch_size,
            best=trained.best,
            untested=trained.untested,
        )


def _asks_for_a_course(recipe: Recipe) -> bool:
    return recipe.schedule.name != "constant" or recipe.schedule.warmup is not None
