"""From the `data` section to its parts: read, check, split, prepare."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hptune import seeds
from hptune.errors import spec_error
from hptune.spec.data import CsvData, DataSpec, NpzData, SourceData
from hptune.training.data.csv_table import read_csv
from hptune.training.data.deal import deal
from hptune.training.data.folds import fold_splits, joined
from hptune.training.data.inputs import learn, statistics
from hptune.training.data.npz import read_npz
from hptune.training.data.parquet_table import read_parquet
from hptune.training.data.parts import Array, Data, Part
from hptune.training.data.raw import Raw, fingerprint, take
from hptune.training.data.sklearn_sets import read_source
from hptune.training.data.split import Rows, Split
from hptune.training.data.target import Target, read_target
from hptune.training.data.weights import class_weights, product

EXAMPLES = 64
"""So many raw samples are kept, to hold an exported model against the one that was trained."""

_CHOOSING = {"validation", "test", "limit", "task", "missing", "columns", "group", "time"}
"""The options that choose rows and meaning."""


def load_data(spec: DataSpec, *, folder: Path, seed: int, with_test: bool = False) -> Data:
    """The samples that `spec` names, split under the experiment's `seed` and prepared.

    folder: where relative paths start (the YAML file's).
    with_test: load the test part too; for train-best alone. The other parts are the same either way.

    Raises `SpecError` for a file that can't be read and for data that can't be learnt from: all problems of the kind
    that was met first, at most ten of them told one by one.
    """
    raw, target = _checked(spec, folder)
    return _data(spec, raw, target, deal(spec, target, raw, seed), with_test=with_test)


def load_folds(spec: DataSpec, *, folder: Path, seed: int, folds: int, with_test: bool = False) -> tuple[Data, ...]:
    """The samples once for each fold, whose validation part it is; prepared by what its own training part shows.

    The test part is the one that `load_data` gives. Raises `SpecError` as that does, and where there are too few
    samples for so many folds.
    """
    raw, target = _checked(spec, folder)
    whole = deal(spec, target, raw, seed)
    splits = fold_splits(
        whole, target.codes, folds, seed=seeds.derive(seed, "folds"), groups=raw.groups, times=raw.times
    )
    return tuple(_data(spec, raw, target, parts, with_test=with_test) for parts in splits)


def load_joined(spec: DataSpec, *, folder: Path, seed: int) -> Data:
    """The samples with everything but the test part in the training part, and the test part; `validation` is empty."""
    raw, target = _checked(spec, folder)
    return _data(spec, raw, target, joined(deal(spec, target, raw, seed)), with_test=True)


def _checked(spec: DataSpec, folder: Path) -> tuple[Raw, Target]:
    raw = _read(spec, folder)
    _check_finite(raw)
    return raw, read_target(raw, task=spec.task, one_hot=spec.one_hot)


def _data(spec: DataSpec, raw: Raw, target: Target, parts: Split, *, with_test: bool) -> Data:
    """The parts, prepared by what the training part shows."""
    prepare = learn(raw, parts.train, spec.scale)

    by_class = class_weights(spec.class_weight, target, parts.train)

    def part(rows: Rows, by_class: Array | None = None) -> Part:
        weights = product(raw.weights, by_class)
        y = np.ascontiguousarray(target.y[rows])
        return Part(prepare(raw.x, rows), y, None if weights is None else weights[rows])

    standardised = target.task == "regression" and spec.scale != "none"
    return Data(
        train=part(parts.train, by_class),
        validation=part(parts.validation),
        test=part(parts.test) if with_test and len(parts.test) else None,
        rows={"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)},
        task=target.task,
        labels=target.labels,
        fingerprint=fingerprint(raw, spec.model_dump(include=_CHOOSING, exclude_defaults=True)),
        target_scale=statistics(target.y[parts.train]) if standardised else None,
        input_scale=prepare.scale,
        features=raw.features,
        outputs=raw.outputs,
        preparation=prepare,
        examples=take(raw.x, parts.train[:EXAMPLES]),
    )


def _read(spec: DataSpec, folder: Path) -> Raw:
    if isinstance(spec, SourceData):
        return read_source(spec)
    if isinstance(spec, NpzData):
        return read_npz(spec, folder)
    return read_csv(spec, folder) if isinstance(spec, CsvData) else read_parquet(spec, folder)


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
