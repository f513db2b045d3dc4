"""Segments of Keras models, by their purpose."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hptune.base import seeds
from hptune.base.errors import SegmentFailed, SpecError
from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import resolve
from hptune.run.curves import length
from hptune.run.history import best_epoch
from hptune.run.rundir import RunPaths
from hptune.training.core import state as states
from hptune.training.core.best import Best
from hptune.training.core.outcome import Outcome, TrainedModel, parameters
from hptune.training.core.program import Program, ProgramSetting
from hptune.training.trainers.by_fit.own_fit import OwnFit
from hptune.training.trainers.by_fit.own_fit_probe import check_own_fit
from hptune.training.trainers.keras_probe import probe
from hptune.training.trainers.loaded import Loaded
from hptune.training.trainers.programs import NeedsFit
from hptune.training.trainers.prove import prove
from hptune.training.trainers.samples import Samples
from hptune.training.trainers.trainer import OnEpoch
from hptune.training.trainers.trials import Trials

RANGE = (1e-7, 10.0)
"""The rates of a range test, from the first step to the last."""

RANGE_STEPS = 200
"""Steps that a range test trains at least, rounded up to whole epochs."""


Learn: TypeAlias = Callable[[Loaded, Trials, Segment], dict[str, Any]]
"""Runs a segment that trains no trial; returns the facts that it learnt."""


def stabilize(loaded: Loaded, trials: Trials, segment: Segment) -> dict[str, Any]:  # noqa: ARG001
    """Make the stabilised weights of the segment's architecture, unless they exist."""
    try:
        recipe = resolve(loaded.experiment, segment.values)
        try:
            blueprint = loaded.programs.blueprint(recipe, segment.values)
            loaded.programs.weights(blueprint, recipe, values=segment.values, replica=segment.replica)
        except NeedsFit as needed:
            check_own_fit(loaded.as_written, loaded.data, str(needed))  # names `stabilize`
            raise
    except SpecError as error:  # the first point's model was looked at before the search; this is another's
        raise SegmentFailed(f"{error}") from error
    return {"architecture": blueprint.architecture}


def try_rates(loaded: Loaded, trials: Trials, segment: Segment) -> dict[str, Any]:
    """Train once over rising rates: {"rates", "losses"}, one value a step."""
    recipe = resolve(loaded.experiment, segment.values)
    blueprint, program = loaded.programs.serving(recipe, segment.values)
    batch_size = blueprint.batch_size
    steps = program.steps_per_epoch(batch_size)
    epochs = -(-RANGE_STEPS // steps)
    rates = np.geomspace(*RANGE, epochs * steps).astype(np.float32)
    order = seeds.derive(loaded.experiment.seed, "samples", dict(segment.values), segment.replica)
    state = trials.fresh(blueprint, recipe, segment=segment, program=program)
    setting = ProgramSetting(blueprint.dials, rates, batch_size, order)
    losses = program.run_steps(state, setting, epochs=epochs, steps_per_epoch=None)
    return {"rates": rates[: len(losses)].astype(float).tolist(), "losses": losses}


def prove_both_ways(loaded: Loaded, trials: Trials, segment: Segment) -> dict[str, Any]:
    """Train an epoch both ways, compiled and by Keras's `fit`: the `prove.Proof` as JSON data."""
    if loaded.builder is not None and loaded.builder.has_own_fit:
        raise SegmentFailed("the HyperModel trains by a fit of its own, which is the plain way already")
    recipe = resolve(loaded.experiment, segment.values)
    blueprint, program = loaded.programs.serving(recipe, segment.values)
    state = trials.fresh(blueprint, recipe, segment=segment, program=program)
    setting = trials.setting(blueprint, trials.course(blueprint, recipe, segment=segment, program=program), segment)
    restored = loaded.programs.restores_targets
    return prove(blueprint, program, state=state, setting=setting, data=loaded.data, restored=restored).as_json()


LEARN: dict[str, Learn] = {
    "probe": probe,
    "stabilize": stabilize,
    "lr_range": try_rates,
    "prove": prove_both_ways,
}
"""By the purpose of the segment."""


class KerasTrainer:
    """Keeps the data of one fold (or of the single split), and programs and weights that the next trial may need."""

    def __init__(
        self, experiment: Experiment, folder: Path, *, run: RunPaths, samples: Samples, fold: int | None = None
    ) -> None:
        self.loaded = Loaded(experiment, folder, run=run, samples=samples, fold=fold)
        self._trials = Trials(self.loaded)

    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        """As in `Trainer`."""
        with self.loaded.trial():
            return self._run(segment, on_epoch)

    def _run(self, segment: Segment, on_epoch: OnEpoch | None) -> SegmentResult:
        started = time.perf_counter()
        if segment.purpose in LEARN:
            learnt = {**LEARN[segment.purpose](self.loaded, self._trials, segment), **self._news()}
            return SegmentResult(segment, 0, {}, time.perf_counter() - started, facts=learnt)
        best = Best(self.loaded.objective, self._above(segment)) if self._may_be_kept(segment) else None

        def after(trained: TrainedModel, epoch: int, metrics: Mapping[str, float]) -> None:
            if best is not None and isinstance(trained, Program):  # a `fit` keeps its own best epoch
                best.take(trained, epoch, metrics)
            if on_epoch is not None:
                on_epoch(segment, epoch, metrics)

        outcome = self._trials.run(segment, after)
        epochs = segment.from_epoch + length(outcome.curves)
        kept = self._keep_state(segment, outcome, epochs=epochs, best=best)
        seconds = time.perf_counter() - started  # of training alone, without testing and writing the model
        learnt = {"parameters": parameters(outcome.trained.model), **outcome.facts, **self._news()}
        if segment.purpose in ("best", "baseline"):
            assert best is not None, "made above"
            learnt |= self._measure(segment, outcome, best)
        return SegmentResult(segment, epochs, outcome.curves, seconds, kept, outcome.ended, learnt)

    def _may_be_kept(self, segment: Segment) -> bool:
        """Whether the state of the best epoch may be wanted."""
        if segment.purpose == "trial":
            asked = segment.keep_state or segment.keep_above is not None
            return asked and self.loaded.experiment.checkpoints.keep > 0 and len(self.loaded.experiment.objectives) == 1
        return segment.purpose in ("best", "baseline")

    def _above(self, segment: Segment) -> float | None:
        """The score above which a trial's state is kept; None for any: with repeats their mean decides."""
        evaluation = self.loaded.experiment.evaluation
        return segment.keep_above if evaluation.replicas == 1 else None

    def _keep_state(self, segment: Segment, outcome: Outcome, *, epochs: int, best: Best | None) -> bool:
        """Write the last state where training may go on from it, and that of the best epoch where the trial may be one
        of the best; whether the last one was written.
        """
        if segment.purpose != "trial" or isinstance(outcome.trained, OwnFit):
            return False
        earned = best_epoch(outcome.whole, self.loaded.objective)
        taken = best.state if best is not None and best.epoch == earned else None
        if taken is not None and earned < epochs:
            curves = {name: values[:earned] for name, values in outcome.whole.items()}
            path = self.loaded.run.state(segment.trial, segment.replica, earned)
            states.save(path, taken, curves, below=self.loaded.run.runs)
        at_end = segment.keep_state or (taken is not None and earned == epochs)
        if at_end:
            path = self.loaded.run.state(segment.trial, segment.replica, epochs)
            states.save(path, outcome.trained.state(), outcome.whole, below=self.loaded.run.runs)
        return at_end

    def _measure(self, segment: Segment, outcome: Outcome, best: Best) -> dict[str, Any]:
        """The test part's metrics with the weights of the best epoch; for the winner, write the model too."""
        epoch, state = outcome.best or (best.epoch, best.state)
        learnt: dict[str, Any] = {"best_epoch": epoch}
        if state is not None:
            outcome.trained.load(state)
        outcome.trained.finalize()
        test, untested = self.loaded.test(), outcome.untested()
        if test is not None and untested is None:
            learnt["test"] = outcome.trained.evaluate(test, outcome.batch_size)
        written = outcome.write() if segment.purpose == "best" else {}
        notes = [facts["note"] for facts in (outcome.facts, written) if "note" in facts]
        notes += [untested] if test is not None and untested is not None else []
        return {**learnt, **written, **({"note": "; ".join(notes)} if notes else {})}

    def _news(self) -> dict[str, Any]:
        """The news since the last call, such as what was stabilised."""
        news, self.loaded.programs.news = self.loaded.programs.news, {}
        return news
