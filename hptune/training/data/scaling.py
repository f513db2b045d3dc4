"""How numbers are scaled: what the samples are decides the rule, never the type in which they lie; learnt in float64.

Under `scale: auto` the columns of a table (or numbers [n, d]) are standardised and pictures go to [0, 1]; sequences and
numbers that stand for words stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from hptune.base.errors import KeyPath, spec_error
from hptune.training.data.arrays import Array, Rows
from hptune.training.data.needs import Needs
from hptune.training.data.raw import Column, Raw
from hptune.training.data.store.stream import Mapped, blocks

Scale: TypeAlias = Literal["auto", "none", "standardize", "unit"]

Rule: TypeAlias = Literal["none", "standardize", "unit", "pixels", "unit pixels", "grey", "unit grey"]

STRETCH = 2**21
"""Values read at once when computing statistics, about."""

LOOKED_AT = 2**14
"""Samples of an array in which the rounding error of float32 is measured."""

COSTLY = 1e-3
"""What float32 may take off a column's or a target's values, in its deviations, before the user is told."""

_SUMMABLE = 1e140
"""Numbers up to this size, and differences from its inverse on, can be squared and added up in float64."""

_LEAST = 1e-306
"""The smallest divisor."""

CHANNELS = (1, 2, 3, 4)
"""The last axis of pictures: grey or in colours, with what is seen through or without."""

SIDE = 4
"""The least height and width at which an array [n, height, width] is taken for pictures."""

BRIGHT = 128
"""What pictures of bytes reach somewhere, and counts in sequences seldom."""

_BRIGHTEST = (1, 255, 65535)
"""What white may be: of floats, of 8 and of 16 bits."""


_SCALED = "Take a constant off it, or leave data.scale to its default"
"""What to do about a column of which float32 takes much off."""


def rule_of(x: Array | Mapped, scale: Scale, needs: Needs) -> Rule:
    """The rule of an array. `pixels`: from black, which is 0, to white, where they are such; `grey`: and where all
    of them are whole, since without channels they may be sequences; `unit …`: else from the least to the greatest.
    """
    if scale in ("standardize", "none"):
        return scale
    if scale == "auto" and needs.raw:  # whatever their rank
        return "none"
    if x.ndim >= 4 and x.shape[-1] in CHANNELS:
        return "pixels" if scale == "auto" else "unit pixels"
    if x.ndim >= 4 or (x.ndim == 3 and min(x.shape[1:]) >= SIDE):
        return "grey" if scale == "auto" else "unit grey"
    if scale == "unit":
        return "unit"
    return "standardize" if x.ndim == 2 and (x.dtype.kind == "f" or needs.numbers) else "none"


def notes_on(raw: Raw, train: Rows, *, learnt: Any, scale: Scale, needs: Needs) -> tuple[str, ...]:
    """What the user should be told of how x was scaled. learnt: its `Preparation`."""
    if scale == "auto" and needs.prepares:
        note = (
            f"samples are given to the model as they are, for its {needs.prepares} to prepare (name data.scale if not)"
        )
        return (note, *notes_on(raw, train, learnt=learnt, scale="none", needs=needs))
    if isinstance(raw.x, tuple):
        return _costly(raw.x, train) if learnt.scale is None and not needs.wide else ()
    rule = rule_of(raw.x, scale, needs)
    floats = "pixels" in rule and raw.x.dtype.kind == "f"
    if (
        ("grey" in rule or floats)
        and learnt.scale is not None
        and learnt.scale[1].ndim == 0
        and raw.x.dtype != np.uint8
    ):
        white = f"{float(learnt.scale[1]):g}"
        return (
            f"x is taken for pictures from 0 to {white}, and divided by {white}. Say data.scale: none if it is not.",
        )
    if learnt.scale is None and not needs.wide and raw.x.dtype == np.float64:
        return costs(raw.x[train[:LOOKED_AT]], raw.features)
    if scale == "auto" and rule == "none" and raw.x.ndim == 2 and needs.numbers is None:
        note = "x holds whole numbers, which stay as they are: only the model's code knows whether they stand for words"
        return (f"{note}. Say data.scale: none if they do, or standardize if they are columns of numbers.",)
    return ()


def costs(x: Array, features: Sequence[str] = (), *, remedy: str = _SCALED) -> tuple[str, ...]:
    """A note on the places of an array's last axis of which float32 takes much off."""
    if x.dtype != np.float64:
        return ()
    flat = x.reshape(-1, x.shape[-1])
    names = features or tuple(f"column {i}" for i in range(flat.shape[1]))
    return _costly([Column(name, "number", flat[:, i]) for i, name in enumerate(names)], np.arange(len(flat)), remedy)


def _costly(columns: Sequence[Column], train: Rows, remedy: str = _SCALED) -> tuple[str, ...]:
    """Of columns that are not scaled: those of which float32 takes much off."""
    losses = []
    for column in columns:
        if column.kind not in ("number", "date"):
            continue
        values = np.asarray(column.values[train], np.float64)
        values = values[~np.isnan(values)]
        with np.errstate(over="ignore"):
            lost = np.max(np.abs(values.astype(np.float32) - values), initial=0.0) / (np.std(values) or 1.0)
        if lost > COSTLY:
            losses.append(f"{lost:.2g} off {column.name!r}")
    if not losses:
        return ()
    note = f"Keras computes in float32, which takes up to so much of its deviation off a column: {', '.join(losses)}"
    return (f"{note}. {remedy}.",)


def statistics(values: Array) -> tuple[Array, Array]:
    """(mean, standard deviation) over the first axis, float64; the deviation of a constant is 1."""
    return moments(lambda: [values])


def moments(blocks: Callable[[], Iterable[Array]]) -> tuple[Array, Array]:
    """`statistics` of the rows of all blocks; goes over them twice, and once more where numbers are of such a size that
    their sums or squares leave float64.
    """
    per_block = [(len(b), b.min(axis=0), b.max(axis=0), _sum(b)) for b in blocks()]
    sizes, lows, highs, sums = zip(*per_block, strict=True)
    low, high = (np.asarray(one, np.float64) for one in (np.min(lows, axis=0), np.max(highs, axis=0)))
    constant = low == high
    size = np.maximum(np.abs(low), np.abs(high))
    spread = np.where(constant, size, high / 2 - low / 2)
    if (size > _SUMMABLE).any() or (spread[~constant] < 1 / _SUMMABLE).any():
        mean, deviation = _moments_in_unit(blocks, sum(sizes), size=size, spread=spread)
    else:
        mean = np.asarray(sum(sums) / sum(sizes))
        squares = sum(np.add.reduce((b.astype(np.float64) - mean) ** 2, axis=0) for b in blocks())
        deviation = np.sqrt(squares / sum(sizes))
    return np.where(constant, low, mean), np.where(constant, 1.0, deviation)


def _sum(block: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):  # then the sum is taken anew
        total: Array = np.add.reduce(block, axis=0, dtype=np.float64)
    return total


def _moments_in_unit(
    blocks: Callable[[], Iterable[Array]], rows: int, *, size: Array, spread: Array
) -> tuple[Array, Array]:
    """(mean, standard deviation), with numbers brought near 1 by powers of two on the way.

    size, spread: the greatest magnitude of each place, and half of what lies between least and greatest.
    """
    _, near = np.frexp(size)
    mean = sum(np.add.reduce(np.ldexp(b.astype(np.float64), -near), axis=0) for b in blocks()) / rows
    _, apart = np.frexp(np.ldexp(spread, -near))
    squares = sum(
        np.add.reduce(np.ldexp(np.ldexp(b.astype(np.float64), -near) - mean, -apart) ** 2, axis=0) for b in blocks()
    )
    return np.ldexp(mean, near), np.ldexp(np.sqrt(squares / rows), near + apart)


def edges(blocks: Iterable[Array]) -> tuple[Array, Array]:
    """(least, greatest) of each column, float64."""
    per_block = [(block.min(axis=0), block.max(axis=0)) for block in blocks]
    low, high = (np.asarray(one, np.float64) for one in zip(*per_block, strict=True))
    return low.min(axis=0), high.max(axis=0)


def learnt_by(rule: Rule, columns: Callable[[], Iterable[Array]]) -> tuple[Array, Array] | None:
    """(offset, divisor) of x = (raw − offset) / divisor: one for each place of the last axis, as
    `keras.layers.Normalization` has them; of pixels one for all. None: x is raw.

    columns: gives the training part's rows as blocks [rows, places].
    """
    if rule == "none":
        return None
    if rule == "standardize":
        return moments(columns)
    low, high = edges(columns())
    white = next((one for one in _BRIGHTEST if high.max() <= one), None)
    grey = rule in ("grey", "unit grey")
    whole = not grey or (high.max() >= BRIGHT and all((block == np.floor(block)).all() for block in columns()))
    if rule != "unit" and low.min() >= 0 and white is not None and whole:
        return np.asarray(0.0), np.asarray(float(white))
    with np.errstate(over="ignore"):  # refused by `check_scale`
        return None if rule in ("pixels", "grey") else (low, np.where(high == low, 1.0, high - low))


def check_scale(scale: tuple[Array, Array] | None, names: Sequence[str], path: KeyPath) -> None:
    """Refuse numbers whose sums or squares float64 can't hold. names: of the columns; () where they have none."""
    if scale is None:
        return
    bad = np.flatnonzero(~np.isfinite(scale[0]) | ~np.isfinite(scale[1]) | (scale[1] < _LEAST))
    if not len(bad):
        return
    which = f"column {names[bad[0]]!r}" if names else "x"
    problem = f"{which} holds numbers that lie too far from each other, or too close, to be scaled in float64."
    raise spec_error(f"{problem} Give it in another unit, leave it out, or say scale: none.", *path)


def check_range(raw: Raw) -> None:
    """Refuse integers that int32 would silently turn into others."""
    assert not isinstance(raw.x, tuple)
    if raw.x.dtype.kind not in "iu":
        return
    ends = [(int(part.min()), int(part.max())) for _, part in blocks(raw.x)]
    low, high, limit = min(a for a, _ in ends), max(b for _, b in ends), np.iinfo(np.int32)
    if low < limit.min or high > limit.max:
        message = f"integers must fit into 32 bits, got {low} to {high}."
        raise spec_error(f"{message} Save them as floats, or say scale: standardize.", *raw.x_path)


def stretches(train: Rows, width: int, part: Callable[[Rows], Array]) -> Callable[[], Iterable[Array]]:
    """The rows `train` as blocks [rows, places], anew each time."""

    def columns() -> Iterable[Array]:
        for rows in np.array_split(train, min(len(train), -(-len(train) * width // STRETCH))):
            block: Any = part(rows)
            yield block.reshape(-1, block.shape[-1])

    return columns
