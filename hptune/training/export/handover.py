"""Writes trained models for users, with the user's own code in them: each is loaded again as a test.

Keras writes a class or a function by its name and its config alone; whether that restores what was trained is tested.
Where it does not, the weights are written for the model that the builder's code makes.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from hptune.base import files, seeds
from hptune.base.errors import SegmentFailed, spec_error
from hptune.base.quiet import quietly
from hptune.base.trial import Values
from hptune.experiment.experiment import Experiment
from hptune.experiment.thresholds import PROBABILITIES
from hptune.run.rundir import RunPaths
from hptune.training.core.program import Program
from hptune.training.core.results import has_call
from hptune.training.core.several_outputs import columns_of
from hptune.training.core.variables import plain_variables, put
from hptune.training.data import Data
from hptune.training.export.export import (
    for_users,
    prepared_examples,
    raw_samples,
    save_model,
    save_weights,
    side_by_side,
)
from hptune.training.export.signature import Each, gives_logits, gives_margins, signature_of, write_signature
from hptune.training.models.blueprint import Blueprint
from hptune.training.models.bounds import activation_of, last_activation
from hptune.training.models.hypermodel import Builder
from hptune.training.own.classes import is_own, lenient, own_objects
from hptune.training.runtime import keras

FLOAT64 = (
    "the model takes float64, since float32 would lose digits: give it samples by model(…) or "
    "model.predict_on_batch(…); Keras's model.predict makes float32 of NumPy's float64 first"
)


_NO_KEYWORDS = (
    "`hptune predict` loads it; for Keras's load_model give {} a constructor that takes **more and hands it on to "
    "super().__init__, and train the winner anew"
)


@dataclass(frozen=True, slots=True)
class Handed:
    """How a written model is loaded again.

    path: the file. code: the user's own objects that Keras needs for it, {name: `module:name`}.
    built: {"by": `module:name`, "values": …} where the builder makes the model, and `path` holds its weights.
    unusable: why nothing can be predicted with it. note: a note on it for the user.
    """

    path: Path
    code: Mapping[str, str] = field(default_factory=dict)
    built: Mapping[str, Any] | None = None
    unusable: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Handover:
    """Writes a run's winner into its `best/`. builder: of a model from code. folder: where that code is looked for."""

    run: RunPaths
    experiment: Experiment
    data: Data
    builder: Builder | None
    folder: Path

    def check_first(self, blueprint: Blueprint, program: Program, *, restored: bool) -> list[str]:
        """Check before the first trial that the exported model predicts from raw samples what the trained one does.

        Notes on what no file will bring back. Raises SpecError where the predictions differ. A model from code is
        checked by train-best, which has other ways to restore it.
        """
        if self.builder is not None or not has_call(program.model):
            return []
        plain = [variable.numpy() for variable in plain_variables(program.model)]
        model = for_users(blueprint, program.weights(), self.data, restored=restored, plain=plain)
        try:
            check_export(model, program, blueprint=blueprint, data=self.data, restored=restored)
        except SegmentFailed as failed:
            problem = f"train-best could not write a model that is right: {failed}."
            raise spec_error(f"{problem} Look at columns of extreme size, or say data.scale: none.", "data") from failed
        return self._notes_on_restoring(model) if own_objects(model) else []

    def _notes_on_restoring(self, model: Any) -> list[str]:
        """Whether Keras brings back from a file a model with layers of the user's."""
        held = plain_variables(model)  # a file has none of these; as they are first, a new layer may have them too
        values = [one.numpy() for one in held]
        put(held, [value + 1 if value.dtype.kind in "iuf" else value for value in values])
        with tempfile.TemporaryDirectory() as folder:
            handed = hand_over(
                model,
                RunPaths(Path(folder) / "runs" / "first"),
                self.data,
                compiled_with=(),
                inner=lambda: model,
                builder=None,
                values={},
                seed=0,
            )
        if not handed.unusable:
            return []
        return [
            f"the winner's file will be of no use to `predict`: {handed.unusable}; code that builds it "
            "(model.python) has its weights written"
        ]

    def trained(self, blueprint: Blueprint, program: Program, values: Values, *, restored: bool) -> dict[str, Any]:
        """Write the model that a program trained, as stock Keras; returns facts on it."""
        weights = program.weights()
        plain = [variable.numpy() for variable in plain_variables(program.model)]
        model = for_users(blueprint, weights, self.data, restored=restored, plain=plain)
        check_export(model, program, blueprint=blueprint, data=self.data, restored=restored)
        loss, metrics = blueprint.compiled.loss(), blueprint.compiled.metrics()

        def inner() -> Any:
            made = blueprint.stock()
            made.set_weights(list(weights))
            put(plain_variables(made), plain)
            return made

        handed = hand_over(
            model,
            self.run,
            self.data,
            compiled_with=keras().tree.flatten([loss, metrics]),
            inner=inner,
            builder=self.builder,
            values=values,
            seed=self._seed,
        )
        wide = [one.name for one in getattr(model, "inputs", None) or [] if one.dtype == "float64"]
        if wide and handed.built is None:
            note = FLOAT64 if len(model.inputs) == 1 else f"{FLOAT64} ({', '.join(wide)})"
            handed = replace(handed, note="; ".join(filter(None, [handed.note, note])))
        return self._signed(handed, model=model, loss=loss, raw=handed.built is None)

    def fitted(self, model: Any, values: Values, seed: int) -> dict[str, Any]:
        """Write the model that a `fit` trained, which takes prepared samples; returns facts on it.

        seed: under which it was built.
        """
        compiled = keras().tree.flatten([model.loss, model.metrics]) if model.compiled else []
        handed = hand_over(
            model,
            self.run,
            self.data,
            compiled_with=compiled,
            inner=lambda: model,
            builder=self.builder,
            values=values,
            seed=seed,
            raw=False,
        )
        return self._signed(handed, model=model, loss=model.loss if model.compiled else None, raw=False)

    @property
    def _seed(self) -> int:
        return seeds.derive(self.experiment.seed, "build")

    def _kinds(self, model: Any, loss: Any) -> tuple[Each, Each]:
        """(whether the outputs are logits, whether margins); for several outputs, one value for each label."""
        if not isinstance(loss, Mapping):
            return gives_logits(loss), gives_margins(loss) and last_activation(model) not in PROBABILITIES
        ends = model.output if isinstance(model.output, Mapping) else {}
        order = sorted((column, name) for name, column in columns_of(tuple(loss), self.data).items())
        logits = tuple(gives_logits(loss[name]) for _, name in order)
        apart = (gives_margins(loss[name]) and activation_of(ends.get(name)) not in PROBABILITIES for _, name in order)
        return logits, tuple(apart)

    def _signed(self, handed: Handed, *, model: Any, loss: Any, raw: bool) -> dict[str, Any]:
        logits, margins = self._kinds(model, loss)
        signature = replace(
            signature_of(self.experiment, self.data, logits=logits, margins=margins, raw=raw),
            code=handed.code,
            folder=str(self.folder.resolve()),
            built=handed.built,
            unusable=handed.unusable,
        )
        write_signature(self.run, signature)
        return {"model": str(self.run.in_place(handed.path)), **({"note": handed.note} if handed.note else {})}


def hand_over(
    model: Any,
    run: RunPaths,
    data: Data,
    *,
    compiled_with: Sequence[Any],
    inner: Callable[[], Any],
    builder: Builder | None,
    values: Values,
    seed: int,
    raw: bool = True,
) -> Handed:
    """Write the model into the winner's folder. compiled_with: its loss and metrics. raw: whether it takes samples as
    the files hold them.

    inner: makes the builder's model at these values, with the trained variables. seed: under which it was built.
    """
    path, weights = run.best_model, run.best_weights
    written, weights_alone = save_model(run, model)
    objects = own_objects(model)
    more = [one if hasattr(one, "__name__") else type(one) for one in compiled_with if not isinstance(one, str)]
    compiled = {one.__name__: one for one in more if is_own(one)}
    if written == path and not objects and not compiled:
        return Handed(written)
    prepared = prepared_examples(data)
    x = data.examples if raw else prepared
    wanted = _predicted(model, x)
    if isinstance(wanted, str):
        return Handed(written, unusable=wanted, note=wanted)
    if written == path:
        code = {name: f"{one.__module__}:{one.__qualname__}" for name, one in objects.items() if _is_importable(one)}
        with _without([one for one in {**objects, **compiled}.values() if not _is_importable(one)]):
            loads = _equal(_loaded(path, {name: objects[name] for name in code}), x, wanted)
            importable = {name: one for name, one in {**objects, **compiled}.items() if _is_importable(one)}
            whole = loads and _loaded(path, importable, compiled=True) is not None
        if loads:
            return Handed(written, code=code, note=_how_to_load(run.in_place(path), code, compiled, whole=whole))
        if builder is None and _equal(_loaded(path, lenient({name: objects[name] for name in code})), x, wanted):
            return Handed(written, code=code, note=_NO_KEYWORDS.format(", ".join(code)))
    if builder is not None and builder.call is not None:
        made = inner()
        save_weights(weights, made)
        ours = _predicted(made, prepared)
        for drawn, needed in ((seed + 1, None), (seed, seed)):  # a seed restores what its code draws beside weights
            keras().utils.set_random_seed(drawn)
            again, _ = builder.build(values)
            shape = None if again.built else (1, *prepared.shape[1:])
            if not _brought_back(again, weights, x=prepared, wanted=ours, shape=shape):
                continue
            files.remove(path, below=run.runs)
            module = builder.reference.partition(":")[0]
            imports, place = f"import keras_tuner, numpy, {module}", run.in_place(weights)
            note = _how_to_build(place, imports, call=builder.call, values=values, shape=shape, seed=needed)
            built = {"by": builder.reference, "values": dict(values), "shape": shape, "seed": needed}
            return Handed(weights, built=built, note=note)
        files.remove(weights, below=run.runs)
    why = weights_alone or "the file does not bring back what was trained"
    classes = sorted(name for name, one in objects.items() if "." not in one.__qualname__)
    named = f" ({', '.join(classes)})" if classes else ""
    held = f"code of your own{named} that can't be imported by its name, or whose get_config leaves something out"
    state = "state that Keras doesn't save, such as a tf.Variable (add_weight makes one that it saves)"
    problem = f"{why}. It holds {held}, or {state}"
    return Handed(written, unusable=problem, note=problem)


def _brought_back(again: Any, weights: Path, *, x: Any, wanted: Any, shape: tuple[int, ...] | None) -> bool:
    """Whether a newly built model predicts the same once it has the weights."""
    try:
        if shape is not None:
            again(np.zeros(shape))
        for variable in [*again.weights, *plain_variables(again)]:
            variable.assign(np.zeros_like(variable.numpy()))
        again.load_weights(weights)
    except Exception:  # noqa: BLE001  # Keras, and the user's code in it, raise anything over what does not fit
        return False
    return _equal(again, x, wanted)


def check_export(model: Any, program: Program, *, blueprint: Blueprint, data: Data, restored: bool) -> None:
    """Check that the exported model predicts from raw samples what the program predicts. Raises SegmentFailed."""
    columns = columns_of(blueprint.outputs, data)
    theirs = _predicted(model, data.examples, columns)
    if isinstance(theirs, str):
        return  # it predicts nothing
    ours = _predicted(program.model, prepared_examples(data), columns)
    # A target in farads, or one far from 0, is compared relative to its spread, so that both are about 1.
    level, spread, offset = np.zeros(1), np.ones(1), np.zeros(1)
    if data.target_scale is not None and np.size(data.target_scale[1]) in (1, ours.shape[-1]):
        level, spread = (np.reshape(one, -1) for one in data.target_scale)
        offset = np.reshape(data.target_offset, -1) if restored and data.target_offset is not None else offset
    if not _close((ours - level) / spread, (theirs - offset - level) / spread):
        gap = float(np.max(np.abs(ours - (theirs - offset)) / spread))
        problem = f"the exported model's predictions differ from the trained one's by up to {gap:.3g}"
        raise SegmentFailed(problem if data.target_scale is None else f"{problem} of the target's deviation")


def _loaded(path: Path, custom_objects: Mapping[str, Any], *, compiled: bool = False) -> Any:
    """The model as a user would load it; None where Keras can't."""
    try:
        with quietly():
            return keras().models.load_model(path, custom_objects=dict(custom_objects), compile=compiled)
    except Exception:  # noqa: BLE001  # Keras, and the user's code in it, raise anything for what they can't bring back
        return None


def _predicted(model: Any, x: Any, columns: Mapping[str, int] = MappingProxyType({})) -> Any:
    """The model's predictions, or why it has none. Random numbers in prediction are the same each time."""
    if not has_call(model):
        return f"{type(model).__name__} has no call(), so that it predicts nothing (give it one for `predict`)"
    keras().utils.set_random_seed(0)
    before = [(one, one.numpy()) for one in model.variables if one.path.endswith("seed_generator_state")]
    for state, _ in before:
        state.assign([0, 0])
    outputs = model(raw_samples(x), training=False)
    for state, value in before:
        state.assign(value)
    if isinstance(outputs, list | tuple):
        return np.concatenate([np.asarray(one).reshape(len(one), -1) for one in outputs], axis=-1)
    return side_by_side(outputs, columns)


def _equal(model: Any, x: Any, expected: Any) -> bool:
    return model is not None and not isinstance(expected, str) and _close(_predicted(model, x), expected)


def _close(predicted: Any, expected: Any) -> bool:
    return predicted.shape == expected.shape and bool(
        np.allclose(predicted, expected, rtol=1e-3, atol=1e-4, equal_nan=True)
    )


@contextlib.contextmanager
def _without(those: Sequence[Any]) -> Iterator[None]:
    """Within the block, Keras doesn't know these objects that the builder registered, as when a user loads the file."""
    there = keras().saving.get_custom_objects()
    hidden = {name: one for name, one in there.items() if any(one is other for other in those)}
    for name in hidden:
        del there[name]
    try:
        yield
    finally:
        there.update(hidden)


def _is_importable(obj: Any) -> bool:
    """Whether `module.name` in a user's program is this very object."""
    imported: Any = sys.modules.get(obj.__module__) or importlib.import_module(obj.__module__)
    for part in obj.__qualname__.split("."):
        imported = getattr(imported, part, None)
    return imported is obj


def _how_to_load(path: Path, code: Mapping[str, str], compiled: Mapping[str, Any], *, whole: bool) -> str:
    """How to load the model's file. whole: whether Keras restores what the model is compiled with."""
    lost = [name for name, one in compiled.items() if not whole or not _is_importable(one)]
    named = {
        **code,
        **{n: f"{one.__module__}:{one.__qualname__}" for n, one in compiled.items() if n not in lost},
    }
    if not named and not lost:
        return ""
    modules = sorted({"keras", *(reference.split(":")[0] for reference in named.values())})
    arguments = ", ".join(f"{name!r}: {reference.replace(':', '.')}" for name, reference in named.items())
    objects = f", custom_objects={{{arguments}}}" if named else ""
    bare = ", compile=False" if lost else ""
    call = f"keras.models.load_model({str(path)!r}{objects}{bare})"
    why = f" (it is not compiled: {', '.join(lost)} can't be brought back from its name and config)" if lost else ""
    return f"it holds code of your own: load it by `import {', '.join(modules)}; model = {call}`{why}"


def _how_to_build(
    weights: Path, imports: str, *, call: str, values: Values, shape: tuple[int, ...] | None, seed: int | None
) -> str:
    """How to build the model and load its weights. call: `module.build(hp)`. shape: of the input of a model that has no
    weights before it is called. seed: restores what its code draws beside weights; None: nothing.
    """
    hp = f"hp = keras_tuner.HyperParameters(); hp.values = {dict(values)!r}"
    built = (
        "" if shape is None else f"model(numpy.zeros({shape!r})); "
    )  # after `build(shape)` alone Keras loads nothing
    if seed is not None:
        imports = f"{imports}, keras; keras.utils.set_random_seed({seed})"
    code = f"{imports}; {hp}; model = {call}; {built}model.load_weights({str(weights)!r})"
    return f"Keras can't bring it back from a file, since its code has more than a config tells. Load it by `{code}`"
