"""The one split: which rows belong to which part. A function of the classes, the shares and the seed alone.

Regression is the case of a single class. numpy's `RandomState` shuffles, because its stream is frozen for all versions
(NEP 19) and a resumed run must meet the same parts; `Generator` gives no such promise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hptune.experiment.data import part_sizes
from hptune.training.data.arrays import Array, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The rows of each part, in a shuffled order unless they go forward in time; together every row once."""

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


def forward(times: Array, *, validation: float, test: float) -> Split:
    """Deal the rows forward in time: every row of a part comes later than all of the part before it, in that order.

    times: floats [n], with at least as many distinct values as there are parts. Rows of the same moment stay together,
    so that sizes are off by less than the moments' own.
    """
    order = np.argsort(times, kind="stable")
    moments, starts = np.unique(times[order], return_index=True)
    train_size, validation_size, test_size = part_sizes(len(times), validation=validation, test=test)
    parts = 3 if test_size else 2
    first = _boundary(starts, train_size, least=1, most=len(moments) - parts + 1)
    if parts == 2:
        return Split(order[: starts[first]], order[starts[first] :], order[:0])
    second = _boundary(starts, train_size + validation_size, least=first + 1, most=len(moments) - 1)
    return Split(order[: starts[first]], order[starts[first] : starts[second]], order[starts[second] :])


def _boundary(starts: Rows, size: int, *, least: int, most: int) -> int:
    """The index of the moment before which there are about `size` rows."""
    return least + int(np.argmin(np.abs(starts[least : most + 1] - size)))


def grouped(groups: Array, codes: Rows, *, validation: float, test: float, seed: int) -> Split:
    """Deal whole groups, so that each part has about its share of every class, and the test part first.

    groups: [n], anything that compares, with at least as many distinct values as there are parts. The test part does
    not depend on `validation`.
    """
    _, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((int(group.max()) + 1, int(codes.max()) + 1), np.int64)
    np.add.at(counts, (group, codes), 1)
    _, validation_size, test_size = part_sizes(len(groups), validation=validation, test=test)
    random = np.random.RandomState(seed)
    order = random.permutation(len(counts))
    part = np.zeros(len(counts), np.int64)
    for number, size, others in ((2, test_size, 2), (1, validation_size, 1)):
        left = order[part[order] == 0]
        part[_chosen(counts[left], size, others=others, groups=left)] = number
    test_rows, validation_rows, train_rows = (random.permutation(np.flatnonzero(part[group] == k)) for k in (2, 1, 0))
    return Split(train_rows, validation_rows, test_rows)


def _chosen(counts: Rows, size: int, *, others: int, groups: Rows) -> Rows:
    """Those of `groups`, in their order, that together come near to `size` rows, with its share of each class.

    counts: [groups, classes]. others: so many groups at least are left.
    """
    whole = counts.sum(axis=0)
    goal = size * whole / whole.sum()
    held = np.zeros(len(goal))
    chosen: list[int] = []
    for i, count in enumerate(counts if size else counts[:0]):
        far, near = (float((((mine - goal) ** 2) / np.maximum(whole, 1)).sum()) for mine in (held, held + count))
        if near < far and len(counts) - len(chosen) > others:
            chosen.append(i)
            held = held + count
    if size and not chosen:  # every group is larger than twice the part: the smallest is the nearest
        chosen.append(int(counts.sum(axis=1).argmin()))
    return groups[chosen]


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
