"""Trials of a `HyperModel` that trains by a `fit` of its own: the plain way, with no program and no reuse.

Its `fit(hp, model, x, y, validation_data=…, epochs=…, callbacks=…, verbose=0)` is called as KerasTuner would, with
keywords from the YAML and the data (`fit_call`). What it returns is the score (`returned`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hptune.base.errors import SegmentFailed, spec_error
from hptune.base.trial import Curves, Values
from hptune.experiment.experiment import Experiment
from hptune.experiment.objective import Objective
from hptune.experiment.recipe import Recipe, resolve
from hptune.experiment.space.references import concrete
from hptune.run.differences import spell_json
from hptune.training.core.results import NOT_VALIDATED, can_be_validated
from hptune.training.core.state import State
from hptune.training.data import Data, Part
from hptune.training.models import hypermodel
from hptune.training.models.compiled import Compiled
from hptune.training.models.hypermodel import Builder
from hptune.training.models.keras_objects import make_loss, make_metric, make_optimizer
from hptune.training.runtime import keras
from hptune.training.trainers.by_fit import fit_call
from hptune.training.trainers.by_fit.fit_call import FitCalls
from hptune.training.trainers.by_fit.returned import Earned, Tally, earned
from hptune.training.trainers.data_loss import DataLoss

BATCH_SIZE = 32
"""The batch size of `evaluate`, Keras's default. The `fit` chooses its own for training."""

CLOSE = 1e-3
"""The largest relative difference of two figures of the same weights on the same samples, however batched."""

UNTESTED = (
    "no figure on the test part, since {why}, and the test part can't be prepared so. Measure the model with your own "
    "code; `hptune predict` gives it samples as `data` prepares them"
)

UNTESTED_AS_IT_IS = f"no figure on the validation and test parts: the model is not validated, since {NOT_VALIDATED}"


@dataclass(frozen=True, slots=True)
class FitContext:
    """What all trials by a `fit` share. objective: by which the best epoch is chosen."""

    builder: Builder
    experiment: Experiment
    data: Data
    folder: Path
    objective: Objective


class OwnFit:
    """One trial's model, trained by the hypermodel's own `fit`.

    seed: of everything random in it. keeps: whether to keep the weights of the best epoch rather than the last.
    bare: report the loss on the data alone, as programs do.
    """

    def __init__(
        self, context: FitContext, values: Values, *, seed: int, keeps: bool = False, bare: bool = False
    ) -> None:
        self._context, self._values, self._seed, self._keeps = context, dict(values), seed, keeps
        self._recipe = resolve(context.experiment, values)
        self._fit = context.builder.fit
        self._tally = Tally(context.objective)
        self._seen = FitCalls()
        self._earned: Earned | None = None
        self._odd: str | None = None  # a note on how the model's own `fit` has trained
        self._trained_on = context.data.train
        self._build()
        self._data_loss = DataLoss.of(self.model) if bare else None

    def _build(self) -> None:
        import tensorflow as tf

        keras().utils.set_random_seed(self._seed)
        tf.random.set_global_generator(tf.random.Generator.from_seed(self._seed))  # no seed resets it
        self.model, self._hp = self._context.builder.build(self._values)
        self._fit = self._context.builder.fit  # of the module as it was imported for this call
        compile_as_asked(self.model, self._recipe, self._context.folder)
        demand_values(self._hp, self._values)

    def run(self, epochs: int, *, on_epoch: Any) -> Curves:
        """Train from the start; returns the curves. on_epoch: called by callbacks with (epochs done, metrics)."""
        self._tally.begin()
        whole = self._context.data
        train, validation = (fit_call.opened(one, self._seed, self._recipe) for one in (whole.train, whole.validation))
        data, self._trained_on = replace(whole, train=train, validation=validation), train
        listening = self._callback(on_epoch)
        keywords, refused = fit_call.keywords(
            self._fit,
            data,
            spec=self._context.experiment.data,
            recipe=self._recipe,
            epochs=epochs,
            callbacks=[listening],
            verbose=0,
        )
        if not self._is_validated:
            del keywords["validation_data"]
        asked = dict(keywords)
        before = [(v, v.numpy()) for v in self.model.trainable_variables] if self._keeps else []
        with fit_call.watched(self.model, self._seen, listener=listening), self._context.builder.watched():
            returned = fit_call.call(
                self._fit, self._hp, model=self.model, part=data.train, keywords=keywords, begun=self._begun
            )
        returned = returned if self._data_loss is None else self._data_loss.history(returned)
        left = [name for name in ("batch_size", "class_weight", "sample_weight") if name in {*refused, *asked}]
        if lost := [name for name in left if name not in keywords]:
            raise SegmentFailed(f"{lost[0]} of the YAML did not reach training: the HyperModel's fit gives its own")
        if not self._context.builder.hypermodel_fits and (passed_over := self._passed_over(asked)) is not None:
            raise SegmentFailed(f"{passed_over}: the model's own fit gives its own. Drop it from the YAML")
        if before and all(np.array_equal(old, variable) for variable, old in before):
            problem = "the HyperModel's fit left the model that build made as it was"
            remedy = "so there is no model that has earned the score. Let fit train the model that it is given"
            raise SegmentFailed(f"{problem}, {remedy}")
        self._tally.confirm(digest(self.model.variables))
        objective, wanted = self._context.objective, self._context.objective in self._context.experiment.objectives
        self._earned = earned(returned, self._tally, objective, epochs=epochs, asked=wanted)
        curves = self._earned.curves
        for name in ("loss", "val_loss"):
            for epoch, value in enumerate(curves.get(name, ()), start=1):
                if not math.isfinite(value):
                    raise SegmentFailed(f"{name} is {value} after epoch {epoch}: training diverged")
        return curves

    def _passed_over(self, asked: Mapping[str, Any]) -> str | None:
        """A message on what the model's own `fit` did not pass on to Keras's; None where it passed on everything."""
        named, trainings = self._recipe.training.model_fields_set, self._tally.asked
        if "epochs" in named and trainings and "epochs" in asked:
            every = [one.get("epochs") for one in trainings]
            if asked["epochs"] not in (*every, sum(filter(None, every)), len(self._tally.epochs)):
                return f"training.epochs ({asked['epochs']}) did not reach training ({every[-1]})"
        train, size = self._context.data.train, asked.get("batch_size")
        steps = [one["steps"] for one in trainings if one.get("steps") is not None]
        if size is None or train.flow is not None or not steps or (whole := math.ceil(len(train) / size)) in steps:
            return None
        if min(steps) > whole:
            return f"training.batch_size ({size}) did not reach training ({steps[-1]} steps an epoch)"
        problem = (
            f"the model's own fit trains {steps[-1]} steps an epoch, and batches of {size} of all samples are {whole}"
        )
        self._odd = f"{problem}: it takes other samples, or another batch size"
        return None

    # --- what the score is of -----------------------------------------------------------------------------------

    @property
    def best(self) -> tuple[int, State | None]:
        """(the epoch that earned the score, the variables after it; None: as the `fit` left them)."""
        assert self._earned is not None, "asked for the best epoch before training"
        return self._earned.epoch, self._earned.state

    @property
    def batch_size(self) -> int:
        """The batch size for the test part: for a model's own `fit` the one that it was asked for."""
        asked = concrete(self._recipe.training.batch_size)
        return (
            asked
            if not self._context.builder.hypermodel_fits and "batch_size" in self._recipe.training.model_fields_set
            else BATCH_SIZE
        )

    def notes(self) -> list[str]:
        """Notes on the model beside its score."""
        outcome, odd = self._earned, [self._odd] if self._odd is not None else []
        if outcome is not None and outcome.lost is not None:
            note = (
                f"the score is the last epoch's: the best one's ({outcome.lost:.6g}) is of weights that were not kept"
            )
            return [*odd, f"{note}, since fit trains another model than the one that build made"]
        if outcome is None or outcome.trainings == 1:
            return odd
        last = "" if outcome.last is None else f"; the last of them scored {outcome.last:.6g}"
        note = f"the score is the mean of the {outcome.trainings} that fit returned"
        return [f"{note}; the model is the one that build made{last}"]

    def untested(self) -> str | None:
        """Why the model, with the weights that earned the score, can't be measured on samples as `data` prepares them.

        It can where the `fit` trained on these, or where they give a figure that the `fit` reported.
        """
        if not self.model.compiled:
            return UNTESTED.format(why="the HyperModel's fit trains a model that is not compiled, by a loop of its own")
        if not self._is_validated:
            return UNTESTED_AS_IT_IS
        if fit_call.as_given(self._seen, self._trained_on):
            return None
        try:
            evaluated = self.evaluate(self._context.data.validation, BATCH_SIZE)
        except Exception:  # noqa: BLE001  # Keras raises anything over samples that do not fit
            evaluated = {}
        figures = self._figures()
        pairs = [(value, figures[f"val_{name}"]) for name, value in evaluated.items() if f"val_{name}" in figures]
        if pairs and all(math.isclose(one, other, rel_tol=CLOSE, abs_tol=1e-6) for one, other in pairs):
            return None
        return UNTESTED.format(why="the HyperModel's fit prepares its samples itself")

    @property
    def _is_validated(self) -> bool:
        """Whether the model can be validated; a HyperModel's own `fit` decides for itself."""
        return self._context.builder.hypermodel_fits or can_be_validated(self.model)

    def _figures(self) -> Mapping[str, float]:
        """The figures reported for the weights that earned the score."""
        assert self._earned is not None, "asked for figures before training"
        return {name: curve[self._earned.epoch - 1] for name, curve in self._earned.curves.items()}

    # --- as of any trained model --------------------------------------------------------------------------------

    def state(self) -> State:
        """A copy of the model's variables, and of the optimizer's where there is one."""
        optimizer = self._optimizer
        slots = tuple(v.numpy() for v in optimizer.variables) if optimizer is not None else ()
        return State(tuple(v.numpy() for v in self.model.variables), slots)

    def load(self, state: State) -> None:
        """Put the model's variables back."""
        for variable, value in zip(self.model.variables, state.model, strict=True):
            variable.assign(value)

    def finalize(self) -> None:
        """Nothing: the `fit` has finalized the model."""

    def evaluate(self, part: Part, batch_size: int) -> dict[str, float]:
        """The loss and metrics on samples that were not trained on."""
        if part.flow is not None:
            samples = {"x": part.flow.for_fit(self._seed, batch_size=batch_size)}
        else:
            samples = {"x": part.x, "y": part.y, "sample_weight": part.sample_weight, "batch_size": batch_size}
        if self._data_loss is not None:
            self._data_loss.take()
        figures = dict(self.model.evaluate(**samples, verbose=0, return_dict=True))
        if self._data_loss is not None and (bare := self._data_loss.take()) is not None:
            figures["loss"] = bare
        return {name: float(value) for name, value in figures.items()}

    @property
    def _optimizer(self) -> Any:
        return getattr(self.model, "optimizer", None)

    def _begun(self) -> bool:
        return bool(self._seen.calls or self._tally.epochs)

    def _callback(self, on_epoch: Callable[[int, Mapping[str, float]], None]) -> Any:
        keep = lambda: self.state() if self._keeps else None  # noqa: E731
        return listener(self._tally, keep, mark=self._mark, on_epoch=on_epoch, data_loss=self._data_loss)

    def _mark(self, model: Any) -> str | None:
        """A digest of the trial's variables where another model than its own is trained."""
        if model is None or model is self.model:  # None: a loop of its own, which sets no model
            return None
        return digest(self.model.variables)


def penalty_of(model: Any) -> float:
    """The sum of the penalties on a model's weights."""
    return float(sum(float(one) for one in model._get_regularization_losses()))


def digest(variables: Sequence[Any]) -> str:
    """A digest of the variables' values, the same for equal values."""
    hasher = hashlib.sha256()
    for variable in variables:
        hasher.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return hasher.hexdigest()


def listener(
    tally: Tally,
    keep: Callable[[], State | None],
    *,
    mark: Callable[[Any], str | None],
    on_epoch: Callable[[int, Mapping[str, float]], None],
    data_loss: DataLoss | None = None,
) -> Any:
    """A Keras callback that reports each epoch; by `data_loss`, where there is one, and not by the sum of losses.

    keep: returns the state to keep of the best epoch so far. mark: returns `EpochLogs.mark` of the trained model.
    """
    ours: dict[str, float] = {}

    def take(name: str | None) -> None:
        """Keep the mean loss under this name; of several evaluations in an epoch the first one is its validation."""
        loss = data_loss.take() if data_loss is not None else None
        if name is not None and loss is not None:
            ours.setdefault(name, loss)

    class EpochReporter(keras().callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        # What it needs is in cells and not in attributes: KerasTuner's users may copy callbacks deeply.
        def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002  # Keras's signature
            tally.begin()
            tally.asked.append(dict(self.params or {}))

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002  # Keras's signature
            ours.clear()
            take(None)

        def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002  # Keras's signature
            take("loss")

        def on_test_end(self, logs: Any = None) -> None:  # noqa: ARG002  # Keras's signature
            take("val_loss")

        def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
            metrics = {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}
            if data_loss is not None:
                take("loss")
                known = {name: value for name, value in ours.items() if name in metrics}
                data_loss.keep(metrics, known)
                metrics |= known
                if self.model._get_regularization_losses():
                    metrics["penalty"] = penalty_of(self.model)
            best = tally.better(epoch + 1, metrics)
            tally.take(epoch + 1, metrics, best=best, state=keep() if best else None, mark=mark(self.model))
            on_epoch(epoch + 1, metrics)

    return EpochReporter()


def compile_as_asked(model: Any, recipe: Recipe, folder: Path) -> None:
    """Compile a model with the optimizer, loss and metrics that the YAML names; what it does not name stays.

    Raises SpecError where the model does not take them.
    """
    training = recipe.training
    named = [name for name in ("optimizer", "loss", "metrics") if name in training.model_fields_set]
    if not named:
        return
    if not model.compiled and "optimizer" not in named:
        problem = "can't be compiled into a model that build leaves uncompiled without training.optimizer. Name it too."
        raise spec_error(problem, "training", named[0])
    own = Compiled.of(model, lambda: model) if model.compiled else None
    name = str(concrete(training.optimizer.name))
    arguments = {**(training.optimizer.model_extra or {}), "learning_rate": concrete(training.optimizer.learning_rate)}
    optimizer = make_optimizer(name, arguments) if "optimizer" in named else model.optimizer
    old_loss = own.loss() if own is not None and own.has_loss else None
    loss = make_loss(training.loss, folder) if "loss" in named else old_loss
    old_metrics = own.metrics() if own is not None and own.has_metrics else None
    metrics = [make_metric(m, folder) for m in training.metrics or []] if "metrics" in named else old_metrics
    options = {"run_eagerly": model.run_eagerly, "steps_per_execution": model.steps_per_execution}
    options |= {"jit_compile": model.jit_compile} if model.compiled else {}
    try:
        Compiled(
            optimizer=lambda: optimizer,
            loss=lambda: loss,
            metrics=lambda: metrics,
            weighted_metrics=own.weighted_metrics if own is not None else lambda: None,
            loss_weights=own.loss_weights if own is not None else None,
        ).compile(model, optimizer, loss, **options)
    except (TypeError, ValueError) as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        problem = f"can't be compiled into {type(model).__name__}: {line}. Drop it, and compile the model in its code."
        raise spec_error(problem, "training", named[0]) from error


def demand_values(hp: Any, values: Values) -> None:
    """From now on, asking `hp` for a hyperparameter that `values` lacks fails, rather than giving a default."""
    retrieve = hp._retrieve

    def demand(parameter: Any) -> Any:
        if type(parameter).__name__ != "Fixed" and parameter.name not in values and hp.is_active(parameter):
            domain = spell_json(hypermodel.as_yaml(parameter))
            raise SegmentFailed(
                f"the HyperModel's fit asks for {parameter.name!r}, which has no value here: it was not found before "
                f"the first trial, or only under other values. Declare it in the YAML: "
                f"search_space: {{{parameter.name}: {domain}}}"
            )
        return retrieve(parameter)

    hp._retrieve = demand
