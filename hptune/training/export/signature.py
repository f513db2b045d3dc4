"""What the winner takes and gives: kept beside its model, so that unseen samples can be read for it and answers named.

It is all that `hptune predict` knows of the experiment: neither the YAML nor the training data is needed.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, get_type_hints

import numpy as np
from pydantic import TypeAdapter

from hptune.base import files
from hptune.base.errors import RunError, spec_error
from hptune.base.trial import Value
from hptune.experiment.experiment import Experiment
from hptune.experiment.thresholds import MARGINS
from hptune.run.rundir import RunPaths
from hptune.training.data.inputs import Preparation
from hptune.training.data.parts import Data

VERSION = 1

Each: TypeAlias = bool | tuple[bool, ...]
"""One value for all outputs, or one for each."""


def any_of(each: Each) -> bool:
    """Whether it holds for one output at least."""
    return each if isinstance(each, bool) else any(each)


PICTURE = "picture"
"""Stands for a picture's file where a table has column names."""


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """The samples that a run's winner takes, as a file holds them, and what its outputs mean.

    raw: whether the model takes samples as the file holds them; else it takes what `preparation` makes of them.
    shape, integers: of one raw sample, where samples are arrays. array: the array's name in a .npz file.
    features: the names of a table's columns, or of the places of a one-dimensional sample; () where they have none.
    dropped: columns in which training dropped rows with a missing value (of pictures, undecodable ones).
    picture: the height, width and channels that a picture file is brought to; None: samples are no picture files.
    labels: the classes (of `task: labels`, the names of what may hold), in the order of the outputs; None: numbers.
    targets: the names of the numbers that are predicted; () where they have none.
    logits: outputs are logits, not probabilities. margins: outputs are scores that are separated at 0, and can't become
        probabilities. For a model of several outputs, one for each label.
    code: the user's own objects that the model needs, {name: module:name}. folder: where they are looked for.
    built: {"by": module:name, "values": …} where the builder makes the model and only its weights are saved.
    unusable: why nothing can be predicted with it.
    """

    task: str
    preparation: Preparation
    shape: tuple[int, ...] = ()
    integers: bool = False
    array: str = "x"
    features: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    picture: tuple[int, int, int] | None = None
    labels: tuple[Value, ...] | None = None
    targets: tuple[str, ...] = ()
    logits: bool | tuple[bool, ...] = False
    margins: bool | tuple[bool, ...] = False
    raw: bool = True
    code: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    built: Mapping[str, Any] | None = None
    unusable: str = ""

    @property
    def is_table(self) -> bool:
        """Whether a sample is a row of columns of several kinds."""
        return bool(self.preparation.encodings)

    @property
    def columns(self) -> int:
        """How many numbers a prepared sample has."""
        return self.preparation.width if self.is_table else math.prod(self.shape)


def signature_of(
    experiment: Experiment, data: Data, *, logits: Each = False, margins: Each = False, raw: bool = True
) -> Signature:
    """The signature of a model that was trained on `data`."""
    spec = experiment.data
    assert spec is not None, "a model that was trained on data"
    assert data.preparation is not None, "data without its preparation"
    examples = data.examples
    arrays = isinstance(examples, np.ndarray)
    return Signature(
        task=data.task,
        preparation=data.preparation,
        shape=tuple(examples.shape[1:]) if isinstance(examples, np.ndarray) else (),
        integers=arrays and data.train.x.dtype.kind in "iu",
        array=spec.array,
        features=data.features,
        dropped=tuple(filter(spec.may_drop, data.features if spec.picture is None else (PICTURE,))),
        picture=spec.picture,
        labels=data.labels,
        targets=data.outputs,
        logits=logits,
        margins=margins,
        raw=raw,
    )


def write_signature(run: RunPaths, signature: Signature) -> None:
    """Write it as JSON into the winner's folder, whole or not at all."""
    values = {name: getattr(signature, name) for name in (one.name for one in dataclasses.fields(signature))}
    text = json.dumps(
        {"version": VERSION, **values, "preparation": signature.preparation.as_json()}, ensure_ascii=False
    )
    files.write_whole(run.best_signature, text + "\n", below=run.runs)


def read_signature(run: RunPaths) -> Signature:
    """What `write_signature` wrote. Raises SpecError where train-best was not run yet, RunError where it is damaged."""
    try:
        stored: dict[str, Any] = json.loads(files.read_bytes(run.best_signature, below=run.runs))
    except FileNotFoundError as error:
        remedy = f"Train it first: hptune train-best --run {run.name}"
        raise spec_error(f"{run.name} has no best model to predict with. {remedy}") from error
    except ValueError as error:
        raise damaged(run) from error
    try:
        del stored["version"]
        kinds = get_type_hints(Signature)
        preparation = Preparation.from_json(stored.pop("preparation"))
        fields = {name: TypeAdapter(kinds[name]).validate_python(value) for name, value in stored.items()}
        return Signature(**fields, preparation=preparation)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(run) from error


def damaged(run: RunPaths) -> RunError:
    """The error for a signature that can't be what train-best wrote."""
    return RunError(f"{run.best_signature} is damaged. Write it anew: hptune train-best --run {run.name}")


def gives_logits(loss: Any) -> bool:
    """Whether a Keras loss (or its name, or a function) takes logits, so that the model gives logits."""
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    return bool(config.get("from_logits", False))


def gives_margins(loss: Any) -> bool:
    """Whether a Keras loss (or its name, or a function) takes scores on both sides of 0."""
    return (loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)) in MARGINS
