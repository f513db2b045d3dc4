"""Notes on a model from code before the first trial: whether its trials share programs and can be repeated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from hptune.base.quiet import quietly
from hptune.experiment.thresholds import taken_for_probabilities
from hptune.training.core.program import Program
from hptune.training.core.results import makes_its_own_loss
from hptune.training.data.arrays import Array
from hptune.training.export.signature import gives_logits
from hptune.training.models.blueprint import Blueprint
from hptune.training.models.compiled import Compiled
from hptune.training.models.hypermodel import Builder
from hptune.training.own.classes import is_own
from hptune.training.runtime import keras

NONE = "the model {why}: no reuse, every setting is built, traced and compiled anew"

_ALLOWED_BY = "A class with a get_config, or one that holds plain values alone, allows it"

_REMEMBERS = (
    "the model's code gives other initial weights for the same values and the same seed: it draws from a generator of "
    "its own that has no seed, or keeps something from one call to the next. So a trial may not be repeatable"
)


_CHANGES = (
    "the model's code keeps a network from one call to the next and changes its weights in each: a trial begins with "
    "what the call before it has left. Change a copy of it (keras.models.clone_model and set_weights)"
)


_KEEPS = (
    "the model's code keeps something from one call to the next ({names}): its modules are imported anew for each "
    "trial, so that it begins as in a process of its own"
)


def loss_apart(program: Program, builder: Builder | None) -> str | None:
    """A note where a trial's `val_loss` can't be compared with that of the default values' model: the loss of a user's
    own step or `compute_loss` includes the penalties on weights and activities, Keras's is reported without.
    """
    if builder is None or not _is_penalized(program.model):
        return None
    holds = makes_its_own_loss(program.model) or program.own_steps
    if holds == builder.reports_penalties:
        return None
    ours, theirs = ("holds", "leaves them out") if holds else ("leaves out", "holds them")
    note = f"the loss of this model {ours} the penalties of its layers, and that of the default values' {theirs}"
    return f"{note}: compare such models by another metric"


def _is_penalized(model: Any) -> bool:
    """Whether layers add to the loss: penalties on weights or activities, or by `add_loss`."""
    layers = list(model._flatten_layers())
    adding = any(
        getattr(one, "activity_regularizer", None) is not None or getattr(one, "_losses", None) for one in layers
    )
    return adding or bool(model._get_regularization_losses())


def counts_in_python(program: Program) -> str | None:
    """A note on Python state that the model's code changes while graphs are traced, and not while they run."""
    if not program.changed_in_tracing:
        return None
    names = ", ".join(program.changed_in_tracing)
    note = f"the model's code changes {names} in Python, as graphs are made of it and not as they run"
    return f"{note} (a variable counts as they run: add_weight)"


def _of_logits(compiled: Compiled) -> list[str]:
    """Notes on compiled metrics that treat the output as probabilities where the loss treats it as logits."""
    binary = keras().losses.BinaryCrossentropy | keras().losses.BinaryFocalCrossentropy
    loss = compiled.loss()
    if not (isinstance(loss, binary) and gives_logits(loss)):
        return []
    notes = []
    for metric in keras().tree.flatten([compiled.metrics(), compiled.weighted_metrics()]):
        named = isinstance(metric, str)
        known = named or type(metric).__module__.startswith("keras.")
        name, options = (metric, {}) if named else (type(metric).__name__, metric.get_config() if known else {})
        options = {key: value for key, value in options.items() if value not in (0.5, [0.5])}
        notes.append(taken_for_probabilities(name, options) if known else None)
    return [note for note in notes if note is not None]


def ranks_apart(blueprint: Blueprint, model: Any, y: Array) -> list[str]:
    """A note on the user's metrics that differ between targets [n] with predictions [n, 1] and both [n, 1].

    Keras matches the two for its own metrics only. y: some targets.
    """
    if getattr(model, "output_shape", None) != (None, 1) or y.ndim != 1:
        return []
    metrics = keras().tree.flatten([blueprint.compiled.metrics(), blueprint.compiled.weighted_metrics()])
    names = ", ".join(getattr(one, "__name__", None) or one.name for one in metrics if _depends_on_shape(one, y))
    note = f"{names}: the targets are given as [n] beside predictions of [n, 1], so that their difference is [n, n]"
    return [f"{note}. Reshape them in its code, or have the data give y as [n, 1]"] if names else []


def _depends_on_shape(metric: Any, y: Array) -> bool:
    if not inspect.isfunction(metric):  # one that Keras's own counts by is left to that
        own = isinstance(metric, keras().metrics.Metric) and is_own(type(metric).update_state)
        return own and not _is_known_alike(metric, y)
    shares = np.random.default_rng(0).uniform(size=(len(y), 1)).astype(np.float32)
    for targets in (y, y.astype(np.float32)):
        try:
            with quietly():
                first, second = (_mean_of(metric, one, shares) for one in (targets, targets[:, None]))
        except Exception:  # noqa: BLE001  # what it can't take is reported when it is trained
            continue
        return not np.isclose(first, second, equal_nan=True)
    return False


def _is_known_alike(metric: Any, y: Array) -> bool:
    """Whether two new metrics of its kind give the same for both shapes of the target."""
    shares = np.random.default_rng(0).uniform(size=(len(y), 1)).astype(np.float32)
    try:
        first, second = (type(metric).from_config(metric.get_config()) for _ in range(2))
        first.update_state(y, shares)
        second.update_state(y[:, None], shares)
        return bool(np.allclose(first.result(), second.result(), equal_nan=True))
    except Exception:  # noqa: BLE001  # it can't be made anew: it is not known
        return False


def _mean_of(metric: Callable[..., Any], *arrays: Array) -> float:
    return float(np.mean(metric(*map(keras().ops.convert_to_tensor, arrays))))


_FLOATS = (
    "the model's code sets Keras's floatx to {floats}, which layers here don't follow: they are made as "
    "execution.precision says. Give them dtype= in the code"
)


def keeps(names: Iterable[str]) -> str:
    """A note on the names through which the user's modules keep something."""
    kept = sorted(names)
    return _KEEPS.format(names=", ".join(kept[:5]) + (", …" if len(kept) > 5 else ""))


def notes_on_leftovers(builder: Builder) -> list[str]:
    """Notes on what the builder's calls leave behind for the next call."""
    kept = builder.kept_by_code
    notes = [keeps(kept)] if kept else []
    if builder.floats != "float32":
        notes.append(_FLOATS.format(floats=builder.floats))
    return [_CHANGES, *notes] if builder.untouched.changed and not kept else notes


def notes_on(blueprint: Blueprint, *, not_validated: str | None) -> list[str]:
    """Notes on the model of the default values; [] where its programs are shared and its weights repeat."""
    notes = [not_validated] if not_validated is not None else []
    notes += _of_logits(blueprint.compiled)
    if not blueprint.dialled:
        notes.append(NONE.format(why="is a class of its own, whose layers can't be seen"))
    if blueprint.unproved:
        names = ", ".join(blueprint.unproved)
        notes.append(f"{NONE.format(why=f'holds {names}, which can not be looked into')}. {_ALLOWED_BY}")
    first, again = (blueprint.weights(0) for _ in range(2))
    same = len(first) == len(again) and all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    return notes if same else [*notes, _REMEMBERS]
