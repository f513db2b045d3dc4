"""What is learnt of a HyperModel's own `fit` before the first trial: it is tried on a few samples.

The first call trains one batch, to see what reaches Keras, which metrics there are and what is returned; what the YAML
asks for and the `fit` passes over is refused with its place. Later calls, of other settings, are for what the `fit`
asks `hp` for: `model.fit` trains nothing there.
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
from hptune.training.trainers.by_fit.fit_call import Seen
from hptune.training.trainers.by_fit.own_fit import OwnWay, compile_as_asked, listener
from hptune.training.trainers.by_fit.returned import WANTED, Tally, numbers
from hptune.training.trainers.probe import check_objective

FEW = 64
"""Samples that the probe gives to the `fit`; where it can't train on these, it is given all."""

EPOCHS = 3
"""Epochs that the probe asks the `fit` for: one that trains another number has epochs of its own."""

DROP = "Drop it, or let fit take it"

LEFT_OUT = ("batch_size", "epochs")
"""Numbers of `training` of which a fit may have its own, so that it counts whether the YAML gave them."""


def check_own_fit(experiment: Experiment, data: Data, why: str | None = None) -> None:
    """What hptune's own training does can't be asked of a `fit`, which is given arrays. why: the model needs Keras's;
    None: the HyperModel has one of its own. Raises SpecError.
    """
    trains = "the HyperModel trains by a fit of its own" if why is None else f"Keras's fit is to train it: {why}"
    way = "drop that fit" if why is None else "change the code"
    if isinstance(data.train.x, Stored):
        told = f"{trains}, which takes arrays, and these samples are streamed."
        raise SpecError(Problem(f"{told} Say stream: false if they fit into memory, or {way}.", ("data",)))
    if data.train.flow is not None and data.train.flow.steps is not None:
        told = f"{trains}, which is given the data set for whole passes. Drop it, and give the data set an end."
        raise SpecError(Problem(told, ("data", "steps_per_epoch")))
    given: dict[KeyPath, bool] = {
        ("initialization", "stabilize"): experiment.initialization.stabilize is not None,
        ("schedule",): "name" in experiment.schedule.model_fields_set and experiment.schedule.name != "constant",
        ("training", "regularization"): experiment.training.regularization is not None,
        ("training", "early_stopping"): experiment.training.early_stopping is not None,
        ("training", "loss_weights"): experiment.training.loss_weights is not None,
        ("data", "augment"): experiment.data is not None and experiment.data.augment is not None,
        ("execution", "xla"): experiment.execution.xla,
    }
    told = f"has no effect, since {trains}. Drop it, or {way}."
    problems = [Problem(told, path) for path, stands in given.items() if stands]
    if problems:
        raise SpecError(*problems)


def probe_own_fit(way: OwnWay, given: Experiment, notes: Iterable[str]) -> dict[str, Any]:
    """The probe's facts of it. given: the experiment as the YAML has it, before defaults are filled in.

    notes: what is to be told anyway. Raises SpecError for what can't be asked of the `fit`.
    """
    why = way.builder.why_by_fit
    check_own_fit(given, way.data, None if why is None else f"the model that the code builds {why}")
    probe = FitProbe(way, given)
    space = explore(way.builder, way.experiment.search_space, probe.ask, folder=way.folder).space
    probe.check()
    left_out = [name for name in LEFT_OUT if name not in given.training.model_fields_set]
    return {"space": space, "own_fit": True, "left_out": left_out, "notes": [*notes, *probe.notes]}


class FitProbe:
    """given: the experiment as the YAML has it, before defaults are filled in."""

    def __init__(self, way: OwnWay, given: Experiment) -> None:
        self._way, self._given = way, given
        self._rungs = given.strategy.halves
        self._rows = FEW
        self._tried = False
        self._problems: list[Problem] = []
        self.notes: list[str] = []

    def ask(self, hp: Any, model: Any) -> None:
        """Let the `fit` ask `hp` for what it wants. What it raises before it has trained anything passes through."""
        if not self._tried:
            self._try(hp, model)
            self._tried = True
            return
        seen = Seen()
        try:
            self._call(hp, model, seen, Tally(self._way.objective), train=_pretended)
        except Exception:
            if not seen.calls:  # else it can't do with what was pretended; its trial tells of what it asks after that
                raise

    def check(self) -> None:
        """Raises SpecError for what the YAML asks for and the `fit` passes over, all of it."""
        if self._problems:
            raise SpecError(*dict.fromkeys(self._problems))

    # --- the first call -----------------------------------------------------------------------------------------

    def _try(self, hp: Any, model: Any) -> None:
        fit, training = self._way.builder.fit, self._given.training
        seen, tally = Seen(), Tally(self._way.objective)
        compile_as_asked(model, resolve(self._given, dict(hp.values)), self._way.folder)
        optimizer = getattr(model, "optimizer", None)
        before = [(v, v.numpy()) for v in model.trainable_variables]
        keywords: dict[str, Any] = {}
        whole, returned = True, None
        try:
            returned = self._call(hp, model, seen, tally, train=self._one_batch, keywords=keywords)
        except SegmentFailed as error:
            whole = False
            self._tell(f"{error}", "model", "python", plain=True)
        except Exception as error:
            if not seen.calls:
                raise
            whole = False  # a trial of it fails likewise, or it was for want of samples: nothing is known of its end
            line = next(iter(str(error).splitlines()), "")
            told = f"{type(error).__name__}: {line[:200]}"
            self._note(f"the HyperModel's fit, tried on one batch, failed after model.fit ({told})")
        own_epochs = self._own_epochs(seen, tally, keywords)
        given = training.epochs != type(training).model_fields["epochs"].default and self._is_given("epochs")
        if own_epochs and given:
            self._tell(
                "the HyperModel's fit has epochs of its own. Drop it, or let fit take epochs", "training", "epochs"
            )
        elif own_epochs is None and given:
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
        if pair and self._way.data.validation.sample_weight is not None:
            self._note("the validation figures are not weighted: the HyperModel's fit takes validation (x, y)")
        if whole:
            self._check_compiled(model, optimizer)
            self._check_returned(returned, tally)
            still = before and all(np.array_equal(old, variable) for variable, old in before)
            if still and self._way.builder.hypermodel_fits:  # Keras's own may gather gradients of several batches
                self._note(
                    "the HyperModel's fit leaves the model that build made as it is (it trains another one): "
                    "train-best will have no model to write"
                )

    def _wanted(self) -> dict[str, KeyPath]:
        """The keywords by which the YAML and the data reach training, and their places."""
        found: dict[str, KeyPath] = {}
        if self._is_given("batch_size"):
            found["batch_size"] = ("training", "batch_size")
        spec, train = self._given.data, self._way.data.train
        if train.flow is not None:  # the data set is cut so, and holds its weights
            return {}
        if train.sample_weight is not None:
            by_class = getattr(spec, "class_weight", None) is not None
            recipe = resolve(self._given, {name: d.default_value() for name, d in self._given.search_space.items()})
            known, refused = fit_call.keywords(self._way.builder.fit, self._way.data, spec, recipe)
            name = next(name for name in ("class_weight", "sample_weight") if name in {*known, *refused})
            own = None if spec is None else spec.weights_key
            found[name] = ("data", "class_weight") if by_class else ("data", *([own] if own is not None else []))
        return found

    def _own_epochs(self, seen: Seen, tally: Tally, keywords: Mapping[str, Any]) -> bool | None:
        """Whether the `fit` trains otherwise than for the epochs that it was asked for; None where it can't be seen."""
        if "epochs" not in keywords:
            return True
        if seen.calls:
            every = [call.get("epochs", 1) for call in seen.calls]
            lengths = [ends - call.get("initial_epoch", 0) for ends, call in zip(every, seen.calls, strict=True)]
            return EPOCHS not in (*every, *lengths, sum(every), sum(lengths))
        if tally.epochs:
            return tally.epochs[-1].epoch != EPOCHS
        return False if fit_call.names(self._way.builder.fit, "epochs") else None

    def _check_compiled(self, model: Any, optimizer: Any) -> None:
        """The optimizer, loss and metrics that the YAML names must be those that trained."""
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
        """The objective must be among what is told, as far as it can be known before the first trial."""
        kinds = returned if isinstance(returned, list) else [returned]
        number = any(isinstance(one, int | float | np.number) for one in kinds)
        try:
            found = numbers(returned, self._way.objective)
        except SegmentFailed as error:
            self._tell(f"{error}", "model", "python", plain=True)
            return
        if number and self._given.objective is None:
            told = "is required where the HyperModel's fit returns a number: which way is better can't be known. "
            self._tell(f"{told}Say objective: {{metric: score, goal: minimize}}, or maximize", "objective", plain=True)
            return
        if number and len(self._way.experiment.objectives) > 1:
            self._tell(f"is a list, and the HyperModel's fit returns a number; {WANTED}", "objective", plain=True)
            return
        logs = tally.epochs[-1].logs if tally.epochs else {}
        try:
            check_objective(self._way.experiment, list(dict.fromkeys([*found, *logs])))
        except SpecError as error:
            self._problems += error.problems

    def _is_given(self, name: str) -> bool:
        return name in self._given.training.model_fields_set

    def _tell(self, message: str, *path: str | int, plain: bool = False) -> None:
        told = f"{message}." if plain else f"has no effect, since {message}."
        self._problems.append(Problem(self._named(told), path))

    def _note(self, note: str) -> None:
        self.notes.append(self._named(note))

    def _named(self, told: str) -> str:
        """With the `fit` as it is: a HyperModel's, or a model's."""
        return (
            told if self._way.builder.hypermodel_fits else told.replace("the HyperModel's fit", "the model's own fit")
        )

    # --- a call -------------------------------------------------------------------------------------------------

    def _call(
        self, hp: Any, model: Any, seen: Seen, tally: Tally, *, train: Any, keywords: dict[str, Any] | None = None
    ) -> Any:
        """Call the `fit` with a few samples, or with all where it can't do with few. What it returns."""
        while True:
            try:
                return self._call_with(hp, model, seen, tally, train=train, found={} if keywords is None else keywords)
            except Exception:
                if seen.calls or tally.epochs or self._rows >= len(self._way.data.train):
                    raise
                self._rows = len(self._way.data.train)

    def _call_with(self, hp: Any, model: Any, seen: Seen, tally: Tally, *, train: Any, found: dict[str, Any]) -> Any:
        whole = self._way.data
        few = replace(
            whole,
            train=fit_call.first(whole.train, self._rows),
            validation=fit_call.first(whole.validation, self._rows),
        )
        recipe = resolve(self._given, dict(hp.values))
        fit = self._way.builder.fit
        listening = listener(tally, lambda: None, lambda _: None, lambda *_: None)
        keywords, _ = fit_call.keywords(
            fit, few, self._given.data, recipe, epochs=EPOCHS, callbacks=[listening], verbose=0
        )
        if not self._way.builder.hypermodel_fits and not can_be_validated(model):
            del keywords["validation_data"]
            self.notes = list(dict.fromkeys([*self.notes, f"the model is not validated: {NOT_VALIDATED}"]))
        found.clear()
        with fit_call.watched(model, seen, train), self._way.builder.watched():
            try:
                return fit_call.call(
                    fit, hp, model, few.train, keywords, begun=lambda: bool(seen.calls or tally.epochs)
                )
            finally:
                found |= keywords

    @staticmethod
    def _one_batch(fit: Any, arguments: dict[str, Any]) -> Any:
        """Train one batch of what was given to `model.fit`."""
        few = {name: _few(arguments[name]) for name in ("x", "y", "sample_weight") if arguments.get(name) is not None}
        once = {"epochs": 1, "initial_epoch": 0, "steps_per_epoch": 1, "verbose": 0}
        if _is_array(arguments.get("x")):
            del once["steps_per_epoch"]
        if arguments.get("validation_data") is not None:
            once |= {"validation_steps": 1, "validation_freq": 1}
        if isinstance(arguments.get("validation_data"), tuple | list):
            once["validation_data"] = tuple(_few(one) for one in arguments["validation_data"])  # type: ignore[assignment]
        history = fit(**{**arguments, **few, **once})
        epochs = max(1, int(arguments.get("epochs", 1)) - int(arguments.get("initial_epoch", 0)))
        history.history = {name: list(values) * epochs for name, values in history.history.items()}
        return history


def _pretended(fit: Any, arguments: Mapping[str, Any]) -> Any:
    """A History of as many epochs as were asked for, of whatever metric is looked up, and no training."""
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


def _in_data_set(name: str, seen: Seen) -> bool:
    """Whether the weights of samples lie in the data sets that were given to `model.fit`."""
    elements: Iterator[Any] = (getattr(call.get("x"), "element_spec", None) for call in seen.calls)
    return name == "sample_weight" and bool(seen.calls) and all(isinstance(e, tuple) and len(e) == 3 for e in elements)
