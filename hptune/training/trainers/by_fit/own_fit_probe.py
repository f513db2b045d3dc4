"""The probe of a HyperModel's own `fit` before the first trial: it is tried on a few samples.

The first call trains one batch, to see what reaches Keras, which metrics there are and what is returned; options of the
YAML that the `fit` ignores are refused with their place. Later calls, with other settings, find what the `fit` asks
`hp` for: `model.fit` trains nothing there.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hptune.base.errors import KeyPath, Problem, SegmentFailed, SpecError
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import resolve
from hptune.training.core.results import NOT_VALIDATED, can_be_validated
from hptune.training.data import Data
from hptune.training.data.store.stored import Stored
from hptune.training.models.discovery import explore
from hptune.training.runtime import keras
from hptune.training.trainers.by_fit import fit_call
from hptune.training.trainers.by_fit.fit_call import FitCalls
from hptune.training.trainers.by_fit.own_fit import FitContext, compile_as_asked, listener
from hptune.training.trainers.by_fit.returned import WANTED, Tally, numbers
from hptune.training.trainers.probe import check_objective

FEW = 64
"""Samples that the probe gives to the `fit`; where it can't train on these, it gets all."""

EPOCHS = 3
"""Epochs that the probe asks the `fit` for: one that trains another number has epochs of its own."""

DROP = "Drop it, or let fit take it"

LEFT_OUT = ("batch_size", "epochs")
"""Options of `training` that a fit may set itself, so that it matters whether the YAML gives them."""


def check_own_fit(experiment: Experiment, data: Data, why: str | None = None) -> None:
    """Raises SpecError for options of hptune's own training, which have no effect on a `fit`, and for streamed samples.

    why: why the model needs Keras's `fit`; None: the HyperModel has one of its own.
    """
    trains = "the HyperModel trains by a fit of its own" if why is None else f"Keras's fit is to train it: {why}"
    remedy = "drop that fit" if why is None else "change the code"
    if isinstance(data.train.x, Stored):
        problem = f"{trains}, which takes arrays, and these samples are streamed."
        raise SpecError(Problem(f"{problem} Say stream: false if they fit into memory, or {remedy}.", ("data",)))
    if data.train.flow is not None and data.train.flow.steps is not None:
        problem = f"{trains}, which is given the data set for whole passes. Drop it, and give the data set an end."
        raise SpecError(Problem(problem, ("data", "steps_per_epoch")))
    stands_at: dict[KeyPath, bool] = {
        ("initialization", "stabilize"): experiment.initialization.stabilize is not None,
        ("schedule",): "name" in experiment.schedule.model_fields_set and experiment.schedule.name != "constant",
        ("training", "regularization"): experiment.training.regularization is not None,
        ("training", "early_stopping"): experiment.training.early_stopping is not None,
        ("training", "loss_weights"): experiment.training.loss_weights is not None,
        ("data", "augment"): experiment.data is not None and experiment.data.augment is not None,
        ("execution", "xla"): experiment.execution.xla,
    }
    problem = f"has no effect, since {trains}. Drop it, or {remedy}."
    problems = [Problem(problem, path) for path, stands in stands_at.items() if stands]
    if problems:
        raise SpecError(*problems)


def probe_own_fit(context: FitContext, as_written: Experiment, notes: Iterable[str]) -> dict[str, Any]:
    """The probe's facts. as_written: the experiment as the YAML has it, before defaults are filled in.

    notes: more notes for these facts. Raises SpecError for options that the `fit` can't follow.
    """
    why = context.builder.why_by_fit
    check_own_fit(as_written, context.data, None if why is None else f"the model that the code builds {why}")
    probe = FitProbe(context, as_written)
    space = explore(context.builder, context.experiment.search_space, probe.ask, folder=context.folder).space
    probe.check()
    left_out = [name for name in LEFT_OUT if name not in as_written.training.model_fields_set]
    return {"space": space, "own_fit": True, "left_out": left_out, "notes": [*notes, *probe.notes]}


class FitProbe:
    """as_written: the experiment as the YAML has it, before defaults are filled in."""

    def __init__(self, context: FitContext, as_written: Experiment) -> None:
        self._context, self._as_written = context, as_written
        self._rungs = as_written.strategy.halves
        self._rows = FEW
        self._tried = False
        self._problems: list[Problem] = []
        self.notes: list[str] = []

    def ask(self, hp: Any, model: Any) -> None:
        """Let the `fit` ask `hp` for what it needs. Errors before it has trained anything pass through."""
        if not self._tried:
            self._try(hp, model)
            self._tried = True
            return
        seen = FitCalls()
        try:
            self._call(hp, model, seen=seen, tally=Tally(self._context.objective), train=_pretended)
        except Exception:
            if not seen.calls:  # else it fails on the pretended result; its trial shows what it asks after that
                raise

    def check(self) -> None:
        """Raises SpecError with all options of the YAML that the `fit` ignores."""
        if self._problems:
            raise SpecError(*dict.fromkeys(self._problems))

    # --- the first call -----------------------------------------------------------------------------------------

    def _try(self, hp: Any, model: Any) -> None:
        fit, training = self._context.builder.fit, self._as_written.training
        seen, tally = FitCalls(), Tally(self._context.objective)
        compile_as_asked(model, resolve(self._as_written, dict(hp.values)), self._context.folder)
        optimizer = getattr(model, "optimizer", None)
        before = [(v, v.numpy()) for v in model.trainable_variables]
        keywords: dict[str, Any] = {}
        whole, returned = True, None
        try:
            returned = self._call(hp, model, seen=seen, tally=tally, train=self._one_batch, keywords=keywords)
        except SegmentFailed as error:
            whole = False
            self._tell(f"{error}", "model", "python", plain=True)
        except Exception as error:
            if not seen.calls:
                raise
            whole = False  # trials fail likewise, or there were too few samples: nothing is known of what follows
            line = next(iter(str(error).splitlines()), "")
            failure = f"{type(error).__name__}: {line[:200]}"
            self._note(f"the HyperModel's fit, tried on one batch, failed after model.fit ({failure})")
        own_epochs = self._own_epochs(seen, tally, keywords)
        names_epochs = training.epochs != type(training).model_fields["epochs"].default and self._is_given("epochs")
        if own_epochs and names_epochs:
            self._tell(
                "the HyperModel's fit has epochs of its own. Drop it, or let fit take epochs", "training", "epochs"
            )
        elif own_epochs is None and names_epochs:
            self._note(
                "whether the HyperModel's fit trains for training.epochs can't be seen: it trains other models than "
                "build's, and passes no callbacks on"
            )
        if self._rungs and own_epochs is not False:
            self._tell(
                "trains in rungs, and the HyperModel's fit has epochs of its own. Choose a strategy that trains each "
                "trial once, or let fit take epochs",
                "strategy",
                "name",
                plain=True,
            )
        for name, path in self._wanted().items():
            passed = fit_call.names(fit, name) or seen.reached(name) or _in_data_set(name, seen)
            if name in keywords and not passed and not seen.calls:
                self._note(
                    f"whether the HyperModel's fit trains by {name} can't be seen: it trains other models than build's"
                )
            elif not (name in keywords and passed):
                self._tell(f"the HyperModel's fit passes {name} on to no model.fit. {DROP}", *path)
        pair = isinstance(keywords.get("validation_data"), tuple) and len(keywords["validation_data"]) == 2
        if pair and self._context.data.validation.sample_weight is not None:
            self._note("the validation figures are not weighted: the HyperModel's fit takes validation (x, y)")
        if whole:
            self._check_compiled(model, optimizer)
            self._check_returned(returned, tally)
            still = before and all(np.array_equal(old, variable) for variable, old in before)
            if still and self._context.builder.hypermodel_fits:  # Keras's own may gather gradients of several batches
                self._note(
                    "the HyperModel's fit leaves the model that build made as it is (it trains another one): "
                    "train-best will have no model to write"
                )

    def _wanted(self) -> dict[str, KeyPath]:
        """The keywords by which the YAML and the data reach training, and their places."""
        places: dict[str, KeyPath] = {}
        if self._is_given("batch_size"):
            places["batch_size"] = ("training", "batch_size")
        spec, train = self._as_written.data, self._context.data.train
        if train.flow is not None:  # it has these batches, and holds its weights
            return {}
        if train.sample_weight is not None:
            by_class = getattr(spec, "class_weight", None) is not None
            recipe = resolve(
                self._as_written, {name: d.default_value() for name, d in self._as_written.search_space.items()}
            )
            known, refused = fit_call.keywords(self._context.builder.fit, self._context.data, spec=spec, recipe=recipe)
            name = next(name for name in ("class_weight", "sample_weight") if name in {*known, *refused})
            own = None if spec is None else spec.weights_key
            places[name] = ("data", "class_weight") if by_class else ("data", *([own] if own is not None else []))
        return places

    def _own_epochs(self, seen: FitCalls, tally: Tally, keywords: Mapping[str, Any]) -> bool | None:
        """Whether the `fit` trains for other epochs than those asked for; None where it can't be seen."""
        if "epochs" not in keywords:
            return True
        if seen.calls:
            every = [call.get("epochs", 1) for call in seen.calls]
            lengths = [ends - call.get("initial_epoch", 0) for ends, call in zip(every, seen.calls, strict=True)]
            return EPOCHS not in (*every, *lengths, sum(every), sum(lengths))
        if tally.epochs:
            return tally.epochs[-1].epoch != EPOCHS
        return False if fit_call.names(self._context.builder.fit, "epochs") else None

    def _check_compiled(self, model: Any, optimizer: Any) -> None:
        """Check that the optimizer, loss and metrics that the YAML names were trained with."""
        fitted = (
            "the HyperModel's fit does not train with it. Drop it, or let fit train what the model is compiled with"
        )
        compiled = model.compiled and getattr(model, "optimizer", None) is optimizer  # else fit compiled it anew
        used = {
            "optimizer": compiled and optimizer is not None and int(optimizer.iterations.numpy()) > 0,
            "loss": compiled and getattr(model._compile_loss, "built", False),
            "metrics": compiled and getattr(model._compile_metrics, "built", False),
        }
        for name, stands in used.items():
            if self._is_given(name) and not stands:
                self._tell(fitted, "training", name)

    def _check_returned(self, returned: Any, tally: Tally) -> None:
        """Check that the objective is reported, as far as that can be known before the first trial."""
        kinds = returned if isinstance(returned, list) else [returned]
        number = any(isinstance(one, int | float | np.number) for one in kinds)
        try:
            returned_metrics = numbers(returned, self._context.objective)
        except SegmentFailed as error:
            self._tell(f"{error}", "model", "python", plain=True)
            return
        if number and self._as_written.objective is None:
            problem = "is required where the HyperModel's fit returns a number: which way is better can't be known. "
            self._tell(
                f"{problem}Say objective: {{metric: score, goal: minimize}}, or maximize", "objective", plain=True
            )
            return
        if number and len(self._context.experiment.objectives) > 1:
            self._tell(f"is a list, and the HyperModel's fit returns a number; {WANTED}", "objective", plain=True)
            return
        logs = tally.epochs[-1].logs if tally.epochs else {}
        try:
            check_objective(self._context.experiment, list(dict.fromkeys([*returned_metrics, *logs])))
        except SpecError as error:
            self._problems += error.problems

    def _is_given(self, name: str) -> bool:
        return name in self._as_written.training.model_fields_set

    def _tell(self, message: str, *path: str | int, plain: bool = False) -> None:
        problem = f"{message}." if plain else f"has no effect, since {message}."
        self._problems.append(Problem(self._named(problem), path))

    def _note(self, note: str) -> None:
        self.notes.append(self._named(note))

    def _named(self, text: str) -> str:
        """The text with the right name of the `fit`: a HyperModel's, or a model's."""
        return (
            text
            if self._context.builder.hypermodel_fits
            else text.replace("the HyperModel's fit", "the model's own fit")
        )

    # --- a call -------------------------------------------------------------------------------------------------

    def _call(
        self, hp: Any, model: Any, *, seen: FitCalls, tally: Tally, train: Any, keywords: dict[str, Any] | None = None
    ) -> Any:
        """Call the `fit` with a few samples, or with all where it fails with few; returns its result."""
        while True:
            try:
                return self._call_with(
                    hp, model, seen=seen, tally=tally, train=train, passed={} if keywords is None else keywords
                )
            except Exception:
                if seen.calls or tally.epochs or self._rows >= len(self._context.data.train):
                    raise
                self._rows = len(self._context.data.train)

    def _call_with(
        self, hp: Any, model: Any, *, seen: FitCalls, tally: Tally, train: Any, passed: dict[str, Any]
    ) -> Any:
        whole = self._context.data
        sample = replace(
            whole,
            train=fit_call.first(whole.train, self._rows),
            validation=fit_call.first(whole.validation, self._rows),
        )
        recipe = resolve(self._as_written, dict(hp.values))
        fit = self._context.builder.fit
        listening = listener(tally, lambda: None, mark=lambda _: None, on_epoch=lambda *_: None)
        keywords, _ = fit_call.keywords(
            fit, sample, spec=self._as_written.data, recipe=recipe, epochs=EPOCHS, callbacks=[listening], verbose=0
        )
        if not self._context.builder.hypermodel_fits and not can_be_validated(model):
            del keywords["validation_data"]
            self.notes = list(dict.fromkeys([*self.notes, f"the model is not validated: {NOT_VALIDATED}"]))
        passed.clear()
        with fit_call.watched(model, seen, train), self._context.builder.watched():
            try:
                return fit_call.call(
                    fit,
                    hp,
                    model=model,
                    part=sample.train,
                    keywords=keywords,
                    begun=lambda: bool(seen.calls or tally.epochs),
                )
            finally:
                passed |= keywords

    @staticmethod
    def _one_batch(fit: Any, arguments: dict[str, Any]) -> Any:
        """Train one batch of what was given to `model.fit`."""
        batch = {name: _few(arguments[name]) for name in ("x", "y", "sample_weight") if arguments.get(name) is not None}
        once = {"epochs": 1, "initial_epoch": 0, "steps_per_epoch": 1, "verbose": 0}
        if _is_array(arguments.get("x")):
            del once["steps_per_epoch"]
        if arguments.get("validation_data") is not None:
            once |= {"validation_steps": 1, "validation_freq": 1}
        if isinstance(arguments.get("validation_data"), tuple | list):
            once["validation_data"] = tuple(_few(one) for one in arguments["validation_data"])  # type: ignore[assignment]
        history = fit(**{**arguments, **batch, **once})
        epochs = max(1, int(arguments.get("epochs", 1)) - int(arguments.get("initial_epoch", 0)))
        history.history = {name: list(values) * epochs for name, values in history.history.items()}
        return history


def _pretended(fit: Any, arguments: Mapping[str, Any]) -> Any:
    """A History of the epochs asked for, with any metric that is looked up; nothing is trained."""
    epochs = int(arguments.get("epochs", 1))
    history = keras().callbacks.History()
    history.history = defaultdict(lambda: [0.5] * epochs, loss=[0.5] * epochs)
    history.epoch = list(range(epochs))
    with contextlib.suppress(AttributeError):
        fit.__self__.history = history
    return history


def _few(samples: Any) -> Any:
    return keras().tree.map_structure(lambda a: a[:FEW] if _is_array(a) else a, samples)


def _is_array(samples: Any) -> bool:
    leaves = keras().tree.flatten(samples)
    return bool(leaves) and all(hasattr(one, "shape") and hasattr(one, "__getitem__") for one in leaves)


def _in_data_set(name: str, seen: FitCalls) -> bool:
    """Whether the data sets passed to `model.fit` hold the weights of the samples."""
    elements: Iterator[Any] = (getattr(call.get("x"), "element_spec", None) for call in seen.calls)
    return name == "sample_weight" and bool(seen.calls) and all(isinstance(e, tuple) and len(e) == 3 for e in elements)
