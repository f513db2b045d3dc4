"""The one split: which rows belong to which part. A function of the classes, the shares and the seed alone.

Regression is the case of a single class. numpy's `RandomState` shuffles, because its stream is frozen for all versions
(NEP 19) and a resumed run must meet the same parts; `Generator` gives no such promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hptune.spec.data import part_sizes

Rows: TypeAlias = NDArray[np.int64]
"""Indices of samples."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The rows of each part, each in a shuffled order; together every row once."""

    train: Rows
    validation: Rows
    test: Rows


def split(codes: Rows, *, validation: float, test: float, seed: int) -> Split:
    """Deal the rows, stratified by `codes` [n], the class of each row in 0..k−1.

    Every class is in the training part, and in each other part that has a row for every class. The test part depends
    on `validation` only where classes are so small that it must leave them a row.
    Needs: every class has a row for each part, and the training part a row for every class.
    """
    counts = np.bincount(codes)
    train_size, validation_size, test_size = part_sizes(len(codes), validation=validation, test=test)
    assert train_size >= len(counts), "the caller lets no training part through that can't hold every class"
    random = np.random.RandomState(seed)
    blocks = _by_class(random.permutation(len(codes)), codes, counts)
    reserve = 2 if validation_size >= len(counts) else 1  # left for validation and training
    held = apportion(counts, test_size, least=test_size >= len(counts), most=counts - reserve)
    scored = apportion(counts - held, validation_size, least=validation_size >= len(counts), most=counts - held - 1)
    test_rows = _take(blocks, 0 * held, held)
    validation_rows = _take(blocks, held, held + scored)
    train_rows = _take(blocks, held + scored, counts)
    test_rows, validation_rows, train_rows = map(random.permutation, (test_rows, validation_rows, train_rows))
    return Split(train_rows, validation_rows, test_rows)


def subset(codes: Rows, *, size: int, least: int, seed: int) -> Rows:
    """`size` rows, stratified, with at least `least` of each class where `size` and the class allow it."""
    counts = np.bincount(codes)
    random = np.random.RandomState(seed)
    blocks = _by_class(random.permutation(len(codes)), codes, counts)
    floor = np.minimum(counts, min(least, size // len(counts)))
    chosen = _take(blocks, 0 * counts, apportion(counts, size, least=floor, most=counts))
    return np.asarray(random.permutation(chosen), np.int64)


def apportion(counts: Rows, size: int, *, least: Rows | int, most: Rows) -> Rows:
    """Share `size` out in proportion to `counts`, each share within [least, most], the largest remainders first.

    >>> apportion(np.array([60, 30, 10]), 6, least=1, most=np.array([60, 30, 10]))
    array([3, 2, 1])
    """
    least = np.broadcast_to(np.asarray(least, np.int64), counts.shape)
    assert least.sum() <= size <= most.sum(), f"{size} can't be shared out within {least} and {most}"
    quota = counts * (size / counts.sum())
    shares = np.clip(np.floor(quota).astype(np.int64), least, most)
    while (missing := size - int(shares.sum())) != 0:
        step = 1 if missing > 0 else -1
        room = shares < most if step > 0 else shares > least
        shares[np.argmax(np.where(room, (quota - shares) * step, -np.inf))] += step
    return np.asarray(shares, np.int64)


def _by_class(order: Rows, codes: Rows, counts: Rows) -> list[Rows]:
    """The rows of each class, in the order given."""
    grouped = order[np.argsort(codes[order], kind="stable")]
    return np.split(grouped, np.cumsum(counts)[:-1])


def _take(blocks: list[Rows], start: Rows, stop: Rows) -> Rows:
    return np.concatenate([block[a:b] for block, a, b in zip(blocks, start, stop, strict=True)])
