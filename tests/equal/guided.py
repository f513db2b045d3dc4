"""Guides of Keras and KerasTuner beside the program that their reader would write, with none of hptune in it.

A builder is trained by Keras's `fit` from the same variables over the same batches (`people.trained`); a HyperModel's
own `fit` is called as KerasTuner calls it, from the trial's seed.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np

from hptune.base import seeds
from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.core import state as states
from hptune.training.runtime import Settings, reset_names
from hptune.training.worker import Worker

from .guide import Guide
from .people import BATCH, EPOCHS, SEED, same, trained

FOLDER = Path(__file__).parent / "guides"


@dataclass(frozen=True, slots=True)
class Told:
    """What training at a point gives. curves: metric -> its values. predicted: of the validation samples."""

    curves: Mapping[str, Sequence[float]]
    predicted: Any


class Kept(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Keeps the variables of the best epoch, and what was told of each."""

    def __init__(self, guide: Guide) -> None:
        super().__init__()
        self.sign = -1 if guide.goal == "maximize" else 1
        self.metric = guide.metric if guide.plain_loss is None else f"val_{guide.plain_loss}"
        self.best = float("inf")
        self.curves: dict[str, list[float]] = {}
        self.weights: list[Any] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.best, self.curves, self.weights = float("inf"), {}, None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name, value in logs.items():
            self.curves.setdefault(name, []).append(float(value))
        if self.sign * logs.get(self.metric, np.nan) < self.best:
            self.best = self.sign * float(logs[self.metric])
            self.weights = [variable.numpy() for variable in self.model.variables]


def write(folder: Path, guide: Guide) -> Path:
    """The guide's module and its YAML, in a folder of their own."""
    (folder / f"{guide.module}.py").write_text((FOLDER / f"{guide.module}.py").read_text())
    own_fit = inspect.isclass(getattr(plainly(guide), guide.name)) or guide.name == "gan"
    training = {} if guide.own_epochs else {"epochs": EPOCHS} if own_fit else {"epochs": EPOCHS, "batch_size": BATCH}
    tree = {
        "version": 1,
        "name": guide.name,
        "seed": SEED,
        "data": {"python": f"{guide.module}:{guide.data}", "scale": "none", "task": guide.task},
        "model": {"python": f"{guide.module}:{guide.name}"},
        "training": training,
        "objective": {"metric": guide.metric, "goal": guide.goal},
    }
    for section, more in guide.yaml.items():
        tree[section] = {**tree.get(section, {}), **more}  # type: ignore[dict-item]  # sections are mappings
    path = folder / f"{guide.name}.yaml"
    path.write_text(json.dumps(tree))
    return path


def plainly(guide: Guide) -> ModuleType:
    """The guide's module, anew."""
    file = FOLDER / f"{guide.module}.py"
    module = ModuleType(guide.module)
    keras.utils.set_random_seed(seeds.derive(SEED, "import"))
    exec(compile(file.read_text(), file, "exec"), module.__dict__)
    return module


def differences(folder: Path, guide: Guide) -> list[str]:
    """Where hptune and the plain program lie apart, at every point in both orders; and of the model that it writes."""
    spec = write(folder, guide)
    theirs: dict[str, Told] = {}
    found: list[str] = []
    settings = Settings.now()
    for order, points in (("forwards", guide.points), ("backwards", guide.points[::-1])):
        settings.put()
        sys.modules.pop(guide.module, None)
        reset_names()  # as in a process of its own
        loaded = load(spec)
        run = RunPaths(folder / "runs" / f"{guide.name}-{order}")
        worker = Worker(loaded.experiment, loaded.folder, run)
        if order == "forwards":
            space = worker.run(Segment(0, {}, purpose="probe")).facts["space"]
            asked = {*space, *guide.yaml.get("search_space", {})}
            found += [f"{name} was not found" for point in points for name in point if name not in asked]
        for number, values in enumerate(points):
            key = json.dumps(values)
            ours, initial = _ours(worker, guide, run, number, values)
            if key not in theirs:
                trainer: Any = worker.trainer()
                theirs[key] = plain_program(guide, values, initial, trainer.loaded.data)
            found += _apart(f"{order} {key}", ours.curves, theirs[key].curves)
        if order == "forwards":
            best = worker.run(Segment(number, values, to_epoch=trained_to(guide), purpose="best"))
            found += _apart(f"best {key}", best.curves, theirs[key].curves)
            found += _exported_apart(best, theirs[key], worker)
    settings.put()
    return found


def trained_to(guide: Guide) -> int:
    """The epochs of a trial; of one that has its own, as many as where the YAML says nothing."""
    return 20 if guide.own_epochs else EPOCHS


def _ours(
    worker: Worker, guide: Guide, run: RunPaths, number: int, values: Mapping[str, Any]
) -> tuple[SegmentResult, Any]:
    """What hptune gives at a point, and the variables that it began with; None for a fit of its own."""
    segment = Segment(number, values, to_epoch=trained_to(guide))
    trainer: Any = worker.trainer()
    if trainer.loaded.builder.has_own_fit:
        return worker.run(segment), None
    worker.run(segment._replace(to_epoch=0, keep_state=True))
    return worker.run(segment), states.load(run.state(number, 0, 0))[0].model


def plain_program(guide: Guide, values: Mapping[str, Any], initial: Any = None, data: Any = None) -> Told:
    """What the plain program gives. initial: the variables to begin with, data: what hptune deals, for a builder."""
    import keras_tuner

    settings = Settings.now()
    module, hp, kept = plainly(guide), keras_tuner.HyperParameters(), Kept(guide)
    train, held = getattr(module, guide.data)()
    hp.values = dict(values)
    made = getattr(module, guide.plain or guide.name)
    if inspect.isclass(made):
        made = made()
    build = made if inspect.isfunction(made) else made.build
    if initial is None:
        keras.utils.set_random_seed(seeds.derive(SEED, "own fit", dict(values), 0))
        model = build(hp)
        fit = _by_model if inspect.isfunction(made) else made.fit
        options = {"validation_data": held} if guide.validates else {}
        options |= {} if guide.own_epochs else {"epochs": EPOCHS}
        told = fit(hp, model, *train, callbacks=[kept], verbose=0, **options)
        curves = _returned(told, kept, guide)
        if isinstance(told, float) and not same([told], [kept.best]):
            kept.weights = None  # the number is of the model as it was left
    else:
        keras.utils.set_random_seed(seeds.derive(SEED, "build"))  # for what the code draws beside weights
        model = build(hp)
        if not model.built:
            model(train[0][:1])
        curves = trained(model, values, initial, data, callbacks=[kept], validates=guide.validates)
        if guide.plain_loss is not None:
            curves = {**curves, "loss": curves[guide.plain_loss], "val_loss": curves[f"val_{guide.plain_loss}"]}
    settings.put()
    if kept.weights is not None:
        for variable, value in zip(model.variables, kept.weights, strict=True):
            variable.assign(value)
    return Told(curves, predicted(model, held[0]))


def _by_model(_: Any, model: Any, *given: Any, **options: Any) -> Any:
    return model.fit(*given, **options)


def _returned(told: Any, kept: Kept, guide: Guide) -> Mapping[str, Sequence[float]]:
    """What a `fit` of its own has told: a History; or a dict or number, and the epochs that the callbacks heard of."""
    if isinstance(told, keras.callbacks.History):
        history: Mapping[str, Sequence[float]] = told.history
        return history
    numbers = told if isinstance(told, Mapping) else {guide.metric: told}
    return {**{name: [float(value)] for name, value in numbers.items()}, **kept.curves}


def predicted(model: Any, x: Any) -> Any:
    """Its predictions of x, cropped to what it takes, with what draws random numbers set to one state.

    None for a model without a `call`.
    """
    if type(model).call is keras.Model.call:
        return None
    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign([0, 0])
    shape = model.inputs[0].shape if getattr(model, "inputs", None) else x.shape
    crop = (slice(None), *map(slice, shape[1:]))  # a model that one sample has built says that it takes one
    return np.asarray(model(x[crop], training=False))


def _apart(where: str, ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> list[str]:
    """The metrics that differ. One that was told once stands for every epoch."""
    found = []
    for name, curve in theirs.items():
        mine = list(ours.get(name, ()))
        wanted = list(curve) * (len(mine) if len(curve) == 1 else 1)
        if not same(mine, wanted):
            found.append(f"{where}: {name} is {mine}, and {wanted} by the plain program")
    return found


def _exported_apart(best: SegmentResult, theirs: Told, worker: Worker) -> list[str]:
    """Whether the model that was written, loaded as it is told, predicts as the plain program's does."""
    if theirs.predicted is None:
        return []
    trainer: Any = worker.trainer()
    note = best.facts.get("note", "")
    code = re.search(r"[Ll]oad it by `(.*?)`", note)
    scope: dict[str, Any] = {}
    exec(code[1] if code else f"import keras; model = keras.models.load_model({best.facts['model']!r})", scope)
    found = predicted(scope["model"], trainer.loaded.data.validation.x)
    gap = float(np.max(np.abs(found - theirs.predicted)))
    return [f"the exported model's predictions are {gap:.3g} apart"] if gap > 1e-4 else []
