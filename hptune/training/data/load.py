"""From the `data` section to its parts: read, check, split, prepare."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np

from hptune import seeds
from hptune.errors import spec_error
from hptune.spec.data import CsvData, NpzData, SourceData, part_sizes
from hptune.training.data.csv_table import read_csv
from hptune.training.data.folds import fold_splits, joined
from hptune.training.data.inputs import learn, statistics
from hptune.training.data.npz import read_npz
from hptune.training.data.parts import Array, Data, Part
from hptune.training.data.raw import Raw, fingerprint, take
from hptune.training.data.sklearn_sets import read_source
from hptune.training.data.split import Rows, Split, split, subset
from hptune.training.data.target import Target, read_target

EXAMPLES = 64
"""So many raw samples are kept, to hold an exported model against the one that was trained."""

DataSpec: TypeAlias = SourceData | NpzData | CsvData


def load_data(spec: DataSpec, *, folder: Path, seed: int, with_test: bool = False) -> Data:
    """The samples that `spec` names, split under the experiment's `seed` and prepared.

    folder: where relative paths start (the YAML file's).
    with_test: load the test part too; for train-best alone. The other parts are the same either way.

    Raises `SpecError` for a file that can't be read and for data that can't be learnt from: all problems of the kind
    that was met first, at most ten of them told one by one.
    """
    raw, target = _checked(spec, folder)
    return _data(spec, raw, target, _split(spec, target, raw, seed), with_test=with_test)


def load_folds(spec: DataSpec, *, folder: Path, seed: int, folds: int, with_test: bool = False) -> tuple[Data, ...]:
    """The samples once for each fold, whose validation part it is; prepared by what its own training part shows.

    The test part is the one that `load_data` gives. Raises `SpecError` as that does, and where there are too few
    samples for so many folds.
    """
    raw, target = _checked(spec, folder)
    whole = _split(spec, target, raw, seed)
    splits = fold_splits(whole, target.codes, folds, seed=seeds.derive(seed, "folds"))
    return tuple(_data(spec, raw, target, parts, with_test=with_test) for parts in splits)


def load_joined(spec: DataSpec, *, folder: Path, seed: int) -> Data:
    """The samples with everything but the test part in the training part, and the test part; `validation` is empty."""
    raw, target = _checked(spec, folder)
    return _data(spec, raw, target, joined(_split(spec, target, raw, seed)), with_test=True)


def _checked(spec: DataSpec, folder: Path) -> tuple[Raw, Target]:
    raw = _read(spec, folder)
    _check_finite(raw)
    return raw, read_target(raw, task=spec.task, one_hot=spec.one_hot)


def _data(spec: DataSpec, raw: Raw, target: Target, parts: Split, *, with_test: bool) -> Data:
    """The parts, prepared by what the training part shows."""
    prepare = learn(raw, parts.train, spec.scale)

    def part(rows: Rows) -> Part:
        return Part(prepare(raw.x, rows), np.ascontiguousarray(target.y[rows]))

    standardised = target.task == "regression" and spec.scale != "none"
    return Data(
        train=part(parts.train),
        validation=part(parts.validation),
        test=part(parts.test) if with_test and len(parts.test) else None,
        rows={"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)},
        task=target.task,
        labels=target.labels,
        fingerprint=fingerprint(raw, spec.model_dump(include={"validation", "test", "limit", "task", "missing"})),
        target_scale=statistics(target.y[parts.train]) if standardised else None,
        input_scale=prepare.scale,
        features=raw.features,
        preparation=prepare,
        examples=take(raw.x, parts.train[:EXAMPLES]),
    )


def _read(spec: DataSpec, folder: Path) -> Raw:
    if isinstance(spec, SourceData):
        return read_source(spec)
    return read_npz(spec, folder) if isinstance(spec, NpzData) else read_csv(spec, folder)


def _check_finite(raw: Raw) -> None:
    """Refuse NaN and infinity in arrays; a table's source tells its own with their lines."""
    for name, array, path in (("x", raw.x, raw.x_path), ("y", raw.y, raw.y_path)):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            continue
        bad = ~np.isfinite(array)
        if bad.any():
            first = [int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape)]
            message = f"{name} holds NaN or infinity in {int(bad.sum())} of {bad.size} values, first at index {first}."
            raise spec_error(f"{message} Remove those samples, or replace the values.", *path)


def _split(spec: DataSpec, target: Target, raw: Raw, seed: int) -> Split:
    rows: Rows = np.arange(len(target.codes))
    parts = 3 if spec.test else 2
    if spec.limit is not None and spec.limit < len(rows):
        rows = subset(target.codes, size=spec.limit, least=parts, seed=seeds.derive(seed, "limit"))
    _check_enough(spec, target, target.codes[rows], parts, raw)
    _, codes = np.unique(target.codes[rows], return_inverse=True)
    found = split(codes, validation=spec.validation, test=spec.test, seed=seeds.derive(seed, "split"))
    return Split(rows[found.train], rows[found.validation], rows[found.test])


def _check_enough(spec: DataSpec, target: Target, codes: Array, parts: int, raw: Raw) -> None:
    """Every part needs a row, the training part one of each class, and each class one for every part."""
    whole = np.bincount(target.codes)
    counts = np.bincount(codes, minlength=len(whole))
    train, _, _ = part_sizes(len(codes), validation=spec.validation, test=spec.test)
    limited = f" under limit: {spec.limit}" if len(codes) < len(target.codes) else ""
    remedy = "Raise data.limit" if limited else "Add samples"
    few = np.flatnonzero((counts < parts) & (whole > 0))
    if target.labels is not None and len(few):
        others = f" ({len(few) - 1} more classes are as small)" if len(few) > 1 else ""
        message = (
            f"class {target.labels[few[0]]!r} has too few rows{limited}: {counts[few[0]]}{others}, and needs at least"
        )
        names = "train, validation and test" if parts == 3 else "train and validation"
        ways = f"{remedy}, or leave the class out" + ("" if raw.y.dtype.kind in "OU" else ", or say task: regression")
        raise spec_error(f"{message} {parts}, one for each of {names}. {ways}.", *raw.y_path)
    classes = int((whole > 0).sum())  # one-hot rows may have columns that are never 1
    if train < classes:
        least = f"a row of each of the {classes} classes" if target.labels is not None else "a row"
        message = f"{len(codes)} rows{limited} leave {max(train, 0)} for training, which needs {least}."
        raise spec_error(f"{message} {remedy}, or lower data.validation or data.test.", *raw.x_path)
