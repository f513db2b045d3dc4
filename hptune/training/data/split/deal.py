"""Which rows belong to which part, as the `data` section says, and whether there are enough of them."""

from __future__ import annotations

import numpy as np

from hptune.base import seeds
from hptune.base.errors import spec_error
from hptune.experiment.data import DataSpec, part_sizes
from hptune.training.data.arrays import Array, Rows
from hptune.training.data.raw import Raw
from hptune.training.data.split.split import Split, forward, grouped, split, subset
from hptune.training.data.target import Target


def deal(spec: DataSpec, target: Target, *, raw: Raw, seed: int) -> Split:
    """The rows of each part: stratified by class, by whole groups, or forward in time.

    seed: the experiment's. Raises `SpecError` where a part would have no rows, groups or points in time, or the
    training part would lack a class.
    """
    if raw.own_validation is not None or raw.own_test is not None:
        return _own(spec, target, raw=raw, seed=seed)
    rows: Rows = np.arange(len(target.codes))
    parts = 3 if spec.test else 2
    if spec.limit is not None and spec.limit < len(rows):
        rows = subset(target.codes, size=spec.limit, least=parts, seed=seeds.derive(seed, "limit"))
    _check_enough(spec, target, codes=target.codes[rows], parts=parts, raw=raw)
    _, codes = np.unique(target.codes[rows], return_inverse=True)
    seed = seeds.derive(seed, "split")
    if raw.times is not None:
        _check_distinct(raw.times[rows], parts, "time")
        dealt = forward(raw.times[rows], validation=spec.validation, test=spec.test)
    elif raw.groups is not None:
        _check_distinct(raw.groups[rows], parts, "group")
        dealt = grouped(raw.groups[rows], codes, validation=spec.validation, test=spec.test, seed=seed)
    else:
        dealt = split(codes, validation=spec.validation, test=spec.test, seed=seed)
    dealt = Split(rows[dealt.train], rows[dealt.validation], rows[dealt.test])
    _check_classes(target, dealt, raw)
    return dealt


def _own(spec: DataSpec, target: Target, *, raw: Raw, seed: int) -> Split:
    """The source's own parts; where it has no validation part, that is taken from the rest.

    `data.limit` applies to the samples for training and validation.
    """
    none = np.empty(0, np.int64)
    test = raw.own_test if raw.own_test is not None else none
    rest = np.setdiff1d(np.arange(len(target.codes)), test)
    if raw.own_validation is not None:
        train = np.setdiff1d(rest, raw.own_validation)
        if not all(map(len, (train, raw.own_validation))):
            raise spec_error("the training and the validation part each need a sample.", *raw.x_path)
        random = np.random.RandomState(seeds.derive(seed, "split"))
        train = random.permutation(train)[: spec.limit]
        return Split(train, raw.own_validation, test)  # in their order: what sums over a batch depends on it
    if spec.limit is not None and spec.limit < len(rest):
        rest = rest[subset(_numbered(target.codes[rest]), size=spec.limit, least=2, seed=seeds.derive(seed, "limit"))]
    plain = spec.model_copy(update={"test": 0.0})
    _check_enough(plain, target, codes=target.codes[rest], parts=2, raw=raw)
    codes = _numbered(target.codes[rest])
    dealt = split(codes, validation=spec.validation, test=0.0, seed=seeds.derive(seed, "split"))
    return Split(rest[dealt.train], rest[dealt.validation], test)


def _numbered(codes: Rows) -> Rows:
    """The same classes as 0..k−1."""
    return np.asarray(np.unique(codes, return_inverse=True)[1], np.int64)


def _check_enough(spec: DataSpec, target: Target, *, codes: Array, parts: int, raw: Raw) -> None:
    """Check that every part has a row, the training part one of each class, and each class one for every part."""
    whole = np.bincount(target.codes)
    counts = np.bincount(codes, minlength=len(whole))
    train, _, _ = part_sizes(len(codes), validation=spec.validation, test=spec.test)
    limited = f" under limit: {spec.limit}" if len(codes) < len(target.codes) else ""
    remedy = "Raise data.limit" if limited else "Add samples"
    rare = np.flatnonzero((counts < parts) & (whole > 0))
    if target.task == "classes" and target.labels is not None and len(rare):
        others = f" ({len(rare) - 1} more classes are as small)" if len(rare) > 1 else ""
        label, rows = target.labels[rare[0]], counts[rare[0]]
        message = f"class {label!r} has too few rows{limited}: {rows}{others}, and needs at least"
        names = "train, validation and test" if parts == 3 else "train and validation"
        ways = f"{remedy}, or leave the class out" + ("" if raw.y.dtype.kind in "OU" else ", or say task: regression")
        raise spec_error(f"{message} {parts}, one for each of {names}. {ways}.", *raw.y_path)
    classes = int((whole > 0).sum())  # one-hot rows may have columns that are never 1
    if train < classes:
        least = f"a row of each of the {classes} classes" if target.task == "classes" else "a row"
        message = f"{len(codes)} rows{limited} leave {max(train, 0)} for training, which needs {least}."
        raise spec_error(f"{message} {remedy}, or lower data.validation or data.test.", *raw.x_path)


def _check_distinct(values: Array, parts: int, key: str) -> None:
    """Check that every part can have a group, or a point in time, of its own."""
    distinct = len(np.unique(values))
    if distinct < parts:
        kind = "groups" if key == "group" else "different moments"
        least = "train, validation and test need" if parts == 3 else "train and validation need"
        message = f"the column has {distinct} {kind}, and {least} at least {parts}, one each."
        raise spec_error(f"{message} Name another column, or set data.test to 0.", "data", key)


def _check_classes(target: Target, parts: Split, raw: Raw) -> None:
    """Check that the training part has every class: others could not be learnt."""
    missing = np.setdiff1d(target.codes, target.codes[parts.train])
    if not len(missing):
        return
    key = "time" if raw.times is not None else "group"
    label = target.labels[missing[0]] if target.labels is not None else missing[0]
    why = "it comes later in time" if key == "time" else "all its groups went to other parts"
    message = f"class {label!r} has no row in the training part: {why}."
    raise spec_error(f"{message} Leave such rows out, or drop data.{key}.", "data", key)
