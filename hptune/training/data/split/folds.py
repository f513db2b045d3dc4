"""Cross-validation: the rows outside the test part, divided into folds, each of which scores once.

The test part is chosen first, as without folds, so that both measure on the same samples. The folds are stratified by
class; or they keep groups whole; or they go forward in time, each trained only on what came before it.
numpy's `RandomState` shuffles, for the reason given in `split`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hptune.base.errors import spec_error
from hptune.training.data.arrays import Array, Rows
from hptune.training.data.parts import Data
from hptune.training.data.split.split import Split

MOST_TOLD = 6
"""The most notes on folds that lack a class."""


def fold_splits(
    whole: Split, codes: Rows, folds: int, *, seed: int, groups: Array | None = None, times: Array | None = None
) -> list[Split]:
    """One split for each fold, with the test part of `whole`; the rest of its rows validate once each.

    codes: [n], the class of every row of the source, in 0..k−1 (zeros for a regression). groups: [n], whatever can be
    compared; no group is in two folds. times: [n] numbers; fold i of k validates on the (i + 1)-th of k + 1 stretches
    of time and trains on all before it, so that the first stretch never validates, and every part is in order of time.
    Raises SpecError where there are fewer rows, groups or points in time than the folds need.
    """
    rows = np.sort(np.concatenate([whole.train, whole.validation]))
    if times is not None:
        stretches = _stretches(rows, times, folds + 1)
        pairs = [(np.concatenate(stretches[:i]), stretches[i]) for i in range(1, folds + 1)]
        return [Split(train, validation, whole.test) for train, validation in pairs]
    random = np.random.RandomState(seed)
    at = (
        _stratified(codes[rows], folds, random)
        if groups is None
        else _grouped(rows, codes, groups=groups, folds=folds, random=random)
    )
    return [
        Split(random.permutation(rows[at != fold]), random.permutation(rows[at == fold]), whole.test)
        for fold in range(folds)
    ]


def lacking(folds: Sequence[Data]) -> list[str]:
    """A note for each fold whose training or validation part lacks a class; the first MOST_TOLD of them.

    Such folds are trained nevertheless (folds forward in time may have to be), but not silently.
    """
    if folds[0].task != "classes" or folds[0].labels is None:
        return []
    every = set().union(*(_classes(part.y) for part in (folds[-1].train, folds[-1].validation)))
    notes = []
    for number, fold in enumerate(folds, start=1):
        trained, scored = (_classes(part.y) for part in (fold.train, fold.validation))
        for part, held, consequence in (
            ("training", trained, "what it trains has never seen one"),
            ("validation", scored, "its score says nothing of it"),
        ):
            if missing := sorted(every - held):
                names = _some([repr(folds[0].labels[code]) for code in missing])
                classes = f"class {names}" if len(missing) == 1 else f"the classes {names}"
                notes.append(f"fold {number} of {len(folds)} has no row of {classes} in its {part} part: {consequence}")
    more = [f"so it is in {len(notes) - MOST_TOLD} more parts of folds"] if len(notes) > MOST_TOLD else []
    return notes[:MOST_TOLD] + more


def _classes(y: Array) -> set[int]:
    """The classes that occur. y: indices [n], or one-hot rows [n, classes]."""
    codes = y if y.ndim == 1 else y.argmax(axis=1)
    return set(np.unique(codes).astype(int).tolist())


def joined(whole: Split) -> Split:
    """The split with training and validation as one; only the test part is held out."""
    return Split(np.concatenate([whole.train, whole.validation]), whole.validation[:0], whole.test)


def _stratified(codes: Rows, folds: int, random: np.random.RandomState) -> Rows:
    """The fold of each row: the shuffled rows, class by class, go to the folds in turn, so that sizes differ by one."""
    if len(codes) < folds:
        _refuse(folds, len(codes), "rows")
    order = random.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    at = np.empty(len(codes), np.int64)
    at[order] = np.arange(len(codes)) % folds
    return at


def _grouped(rows: Rows, codes: Rows, *, groups: Array, folds: int, random: np.random.RandomState) -> Rows:
    """The fold of each row: groups, the largest first, each go to the fold where their classes are rarest so far.

    After scikit-learn's StratifiedGroupKFold.
    """
    names, group = np.unique(groups[rows], return_inverse=True)
    if len(names) < folds:
        _refuse(folds, len(names), f"groups outside the test part ({_some(names)})")
    classes = codes[rows]
    counts = np.zeros((len(names), int(classes.max()) + 1))
    np.add.at(counts, (group, classes), 1.0)
    shares = counts / np.maximum(counts.sum(axis=0), 1.0)
    order = random.permutation(len(names))
    order = order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]
    held, size = np.zeros((folds, counts.shape[1])), np.zeros(folds)
    fold_of = np.empty(len(names), np.int64)
    for name in order:
        # How much each fold would add to the sum of squares, which is least where all folds hold the same.
        grows = ((held + shares[name]) ** 2 - held**2).sum(axis=1)
        best = min(range(folds), key=lambda fold: (size[fold] > 0, grows[fold], size[fold]))
        fold_of[name] = best
        held[best] += shares[name]
        size[best] += counts[name].sum()
    return np.asarray(fold_of[group], np.int64)


def _stretches(rows: Rows, times: Array, stretches: int) -> list[Rows]:
    """The rows in order of time, divided into stretches of equal size, except the first, which gets the remainder: as
    in scikit-learn's TimeSeriesSplit. Rows of the same time stay together.
    """
    order = rows[np.argsort(times[rows], kind="stable")]
    when = times[order]
    changes = np.flatnonzero(when[1:] != when[:-1]) + 1
    if len(changes) < stretches - 1:
        _refuse(stretches - 1, len(changes) + 1, "points in time outside the test part", least=stretches)
    cuts: list[int] = []
    for i in range(1, stretches):
        # The nearest change of time that leaves one for each later cut.
        free = changes[len(cuts) and int(np.searchsorted(changes, cuts[-1], "right")) :]
        free = free[: len(free) - (stretches - 1 - i)]
        wanted = len(order) - (stretches - i) * (len(order) // stretches)
        cuts.append(int(free[np.abs(free - wanted).argmin()]))
    return [np.asarray(part, np.int64) for part in np.split(order, cuts)]


def _refuse(folds: int, got: int, things: str, *, least: int | None = None) -> None:
    needs = f"{folds} folds need at least {least or folds} {things.split(' (')[0]}"
    raise spec_error(f"{needs}, got {got}. Lower it, or add samples.", "evaluation", "folds")


def _some(names: Sequence[object] | Array) -> str:
    shown = ", ".join(str(name) for name in list(names)[:3])
    return f"{shown}, …" if len(names) > 3 else shown
