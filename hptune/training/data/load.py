"""From the `data` section to its parts: read, check, split, prepare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hptune.base import seeds
from hptune.base.errors import KeyPath, spec_error
from hptune.base.rows import load_row
from hptune.experiment.data import DataSpec
from hptune.training.data.arrays import Array
from hptune.training.data.examples import examples_of
from hptune.training.data.inputs import Preparation, learn, unknown_categories
from hptune.training.data.needs import PLAIN, Needs
from hptune.training.data.parts import Data, Part
from hptune.training.data.raw import Raw, fingerprint
from hptune.training.data.reading import Reading
from hptune.training.data.scaling import notes_on, statistics
from hptune.training.data.source_form import source_form
from hptune.training.data.split.deal import deal
from hptune.training.data.split.folds import fold_splits, joined
from hptune.training.data.split.split import Split
from hptune.training.data.store.spool import is_spooled, prepared_on_disk
from hptune.training.data.store.stored import Stored
from hptune.training.data.store.stream import HELD_BYTES, blocks
from hptune.training.data.target import Target, as_taken, read_target, untrained_classes
from hptune.training.data.weights import class_weights, product, refuse_all_0

_CHOOSING = {"validation", "test", "limit", "task", "missing", "columns", "group", "time"}
"""The options that decide on rows and their meaning, which the fingerprint includes."""


def load_data(
    spec: DataSpec,
    *,
    folder: Path,
    seed: int,
    with_test: bool = False,
    cache: Path | None = None,
    needs: Needs = PLAIN,
) -> Data:
    """The samples that `spec` names, split under the experiment's `seed` and prepared.

    folder: where relative paths start (the YAML file's).
    with_test: load the test part too; only for train-best. The other parts are the same either way.
    cache: a folder for decoded or unpacked files that are read from the disk; None: a temporary one.
    needs: what the model needs of its samples.

    Raises `SpecError` for a file that can't be read and for data that can't be learnt from, with all problems of the
    kind met first, at most ten of them listed.
    """
    raw = _read(spec, folder, cache=cache, seed=seed, with_test=with_test, needs=needs)
    if isinstance(raw, Data):
        return raw
    target = _checked(spec, raw)
    parts = deal(spec, target, raw=raw, seed=seed)
    data = _data(spec, raw, target=target, parts=parts, cache=cache, with_test=with_test, needs=needs)
    return replace(data, notes=(*data.notes, *untrained_classes(target, parts)))


def load_folds(
    spec: DataSpec,
    *,
    folder: Path,
    seed: int,
    folds: int,
    with_test: bool = False,
    cache: Path | None = None,
    needs: Needs = PLAIN,
) -> tuple[Data, ...]:
    """The samples once for each fold, which is then the validation part; each prepared by its own training part.

    The test part is the same as in `load_data`. Raises `SpecError` as that does, and where there are too few samples
    for so many folds.
    """
    raw, target = _arrays(spec, folder, cache=cache, seed=seed)
    whole = deal(spec, target, raw=raw, seed=seed)
    splits = fold_splits(
        whole, target.codes, folds, seed=seeds.derive(seed, "folds"), groups=raw.groups, times=raw.times
    )
    return tuple(
        _data(spec, raw, target=target, parts=parts, cache=cache, with_test=with_test, needs=needs) for parts in splits
    )


def load_joined(spec: DataSpec, *, folder: Path, seed: int, cache: Path | None = None, needs: Needs = PLAIN) -> Data:
    """The samples with all but the test part in the training part, and the test part; `validation` is empty."""
    raw, target = _arrays(spec, folder, cache=cache, seed=seed)
    return _data(
        spec,
        raw,
        target=target,
        parts=joined(deal(spec, target, raw=raw, seed=seed)),
        cache=cache,
        with_test=True,
        needs=needs,
    )


def _arrays(spec: DataSpec, folder: Path, *, cache: Path | None, seed: int) -> tuple[Raw, Target]:
    """The samples, which must be arrays or tables, so that they can be divided anew."""
    raw = _read(spec, folder, cache=cache, seed=seed, with_test=True)
    if isinstance(raw, Data):
        problem = "folds deal samples anew, and data.python returned tf.data.Datasets, which can't be. Drop it."
        raise spec_error(problem, "evaluation", "folds")
    return raw, _checked(spec, raw)


def _checked(spec: DataSpec, raw: Raw) -> Target:
    _check_finite(raw)
    return read_target(raw, task=spec.task, one_hot=spec.one_hot)


def _data(
    spec: DataSpec, raw: Raw, *, target: Target, parts: Split, cache: Path | None, with_test: bool, needs: Needs
) -> Data:
    """The parts, prepared as learnt from the training part."""
    # A folder's pictures are of any brightness: without a common level small networks need many epochs to find it.
    level = spec.picture is not None and spec.scale == "auto" and not needs.raw
    scale = "standardize" if level else spec.scale
    if spec.known.holds == "texts":
        needs = replace(needs, numbers=False)
    prepare = learn(raw, parts.train, scale=scale, needs=needs)
    examples = examples_of(raw, parts.train, prepare)

    by_class = class_weights(spec.class_weight, target, parts.train)

    digest = fingerprint(raw, spec.model_dump(include=_CHOOSING, exclude_defaults=True))
    x, last = raw.x, prepare
    if is_spooled(x):
        x, last = prepared_on_disk(x, prepare, fingerprint=digest, folder=cache), Preparation((), None, needs.wide)

    stored = [Stored.of(x, rows, last) for rows in (parts.train, parts.validation, parts.test)]
    most = HELD_BYTES * (2 if needs.wide else 1)  # the same count of numbers either way
    streamed = sum(one.nbytes for one in stored) > most if spec.stream == "auto" else spec.stream

    standardised = needs.standardise(target.task, spec.scale)
    taken = as_taken(target, parts.train, needs, standardised=standardised, path=raw.y_path, outputs=raw.outputs)

    path = raw.x_path if spec.weights_key is None else ("data", spec.weights_key)
    _check_weights(raw, parts, path=path, needs=needs)

    def part(x: Stored, by_class: Array | None = None) -> Part:
        weights = product(raw.weights, by_class)
        y = np.ascontiguousarray(taken.y[x.rows])
        if weights is not None:
            weights = _narrow(weights[x.rows], needs, path)
        return Part(x if streamed else x[:], y, weights)

    return Data(
        train=part(stored[0], by_class),
        validation=part(stored[1]),
        test=part(stored[2]) if with_test and len(parts.test) else None,
        rows={"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)},
        task=target.task,
        labels=target.labels,
        fingerprint=digest,
        target_scale=statistics(taken.y[parts.train]) if standardised else None,
        target_offset=taken.offset,
        input_scale=prepare.scale,
        features=raw.features,
        outputs=raw.outputs,
        notes=(
            *raw.notes,
            *notes_on(raw, parts.train, learnt=prepare, scale=scale, needs=needs),
            *unknown_categories(raw, np.sort(np.concatenate([parts.validation, parts.test])), prepare),
            *taken.notes,
            *needs.kept_scale(target.task, spec.scale),
        ),
        preparation=prepare,
        examples=examples,
        form=source_form(raw, target, parts.train, arrays=spec.known.holds == "arrays"),
    )


def _check_weights(raw: Raw, parts: Split, *, path: KeyPath, needs: Needs) -> None:
    """In each part that weights count in, one must be above 0. scikit-learn gets only those of the training part."""
    if raw.weights is None:
        return
    held = {"validation": parts.validation, "test": parts.test}
    for name, rows in {"training": parts.train, **({} if needs.wide else held)}.items():
        refuse_all_0(raw.weights[rows], name, path)


def _narrow(weights: Array, needs: Needs, path: KeyPath) -> Array:
    """Weights in the model's dtype. Raises `SpecError` where some become 0 or infinite in float32."""
    if needs.wide:
        return weights.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        narrow = weights.astype(np.float32)
    if not np.isfinite(narrow).all() or (narrow[weights > 0] < np.finfo(np.float32).tiny).any():
        problem = f"weights from {weights.min():.3g} to {weights.max():.3g} leave float32, in which Keras computes."
        raise spec_error(f"{problem} Divide them by a constant.", *path)
    return narrow


def _read(
    spec: DataSpec, folder: Path, *, cache: Path | None, seed: int, with_test: bool, needs: Needs = PLAIN
) -> Raw | Data:
    """All samples; or the parts, where they come as streams."""
    read = load_row("hptune.training.data.sources", spec.reader)
    samples: Raw | Data = read(spec, Reading(folder, cache, seeds.derive(seed, "data"), with_test, needs))
    return samples


def _check_finite(raw: Raw) -> None:
    """Refuse NaN and infinity in arrays; in tables the source refuses them, with their lines."""
    for name, array, path in (("x", raw.x, raw.x_path), ("y", raw.y, raw.y_path)):
        if isinstance(array, tuple) or array.dtype.kind != "f":
            continue
        count, first = 0, None
        for start, part in blocks(array):
            bad = ~np.isfinite(part)
            if first is None and bad.any():
                row, *place = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
                first = [start + row, *place]
            count += int(bad.sum())
        if first is not None:
            size = int(np.prod(array.shape))
            message = f"{name} holds NaN or infinity in {count} of {size} values, first at index {first}."
            raise spec_error(f"{message} Remove those samples, or replace the values.", *path)
