"""How numbers are scaled: the kind of samples decides the rule, never their dtype; learnt in float64.

Under `scale: auto` the columns of a table (or numbers [n, d]) are standardised and pictures are scaled to [0, 1];
sequences and numbers that stand for words stay as they are.
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
"""About how many values are read at once when computing statistics."""

LOOKED_AT = 2**14
"""Samples of an array in which the rounding error of float32 is measured."""

COSTLY = 1e-3
"""How much float32 may change a column's or a target's values, in its deviations, before there is a note."""

_SUMMABLE = 1e140
"""Numbers up to this size, and differences from its inverse on, can be squared and added up in float64."""

_LEAST = 1e-306
"""The smallest divisor."""

CHANNELS = (1, 2, 3, 4)
"""The sizes of a picture's last axis: grey or in colours, with or without transparency."""

SIDE = 4
"""The least height and width of an array [n, height, width] that is taken for pictures."""

BRIGHT = 128
"""A value that pictures of bytes reach somewhere, and counts in sequences seldom do."""

_BRIGHTEST = (1, 255, 65535)
"""The values of white: of floats, of 8 and of 16 bits."""


_SCALED = "Take a constant off it, or leave data.scale to its default"
"""The remedy for a column that loses digits in float32."""


def rule_of(x: Array | Mapped, scale: Scale, needs: Needs) -> Rule:
    """The rule for an array. `pixels`: from black, which is 0, to white, where values are such; `grey`: also only where
    all are whole, since without channels they may be sequences; `unit …`: else from the least to the greatest.
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
    """Notes for the user on how x was scaled. learnt: its `Preparation`."""
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
    """A note on the places of an array's last axis that lose digits in float32."""
    if x.dtype != np.float64:
        return ()
    flat = x.reshape(-1, x.shape[-1])
    names = features or tuple(f"column {i}" for i in range(flat.shape[1]))
    return _costly([Column(name, "number", flat[:, i]) for i, name in enumerate(names)], np.arange(len(flat)), remedy)


def _costly(columns: Sequence[Column], train: Rows, remedy: str = _SCALED) -> tuple[str, ...]:
    """A note on unscaled columns that lose digits in float32."""
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
    """`statistics` of the rows of all blocks; reads them twice, and once more where sums or squares exceed float64."""
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
    """(mean, standard deviation), computed on numbers that powers of two bring near 1.

    size, spread: the greatest magnitude of each place, and half of its range.
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
    """(offset, divisor) of x = (raw − offset) / divisor: one for each place of the last axis, as in
    `keras.layers.Normalization`; for pixels one for all. None: x is raw.

    columns: returns the training part's rows as blocks [rows, places].
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
    """Refuse numbers whose sums or squares exceed float64. names: of the columns; () where they have none."""
    if scale is None:
        return
    bad = np.flatnonzero(~np.isfinite(scale[0]) | ~np.isfinite(scale[1]) | (scale[1] < _LEAST))
    if not len(bad):
        return
    which = f"column {names[bad[0]]!r}" if names else "x"
    problem = f"{which} holds numbers that lie too far from each other, or too close, to be scaled in float64."
    raise spec_error(f"{problem} Give it in another unit, leave it out, or say scale: none.", *path)


def check_range(raw: Raw) -> None:
    """Refuse integers that would overflow int32."""
    assert not isinstance(raw.x, tuple)
    if raw.x.dtype.kind not in "iu":
        return
    ends = [(int(part.min()), int(part.max())) for _, part in blocks(raw.x)]
    low, high, limit = min(a for a, _ in ends), max(b for _, b in ends), np.iinfo(np.int32)
    if low < limit.min or high > limit.max:
        message = f"integers must fit into 32 bits, got {low} to {high}."
        raise spec_error(f"{message} Save them as floats, or say scale: standardize.", *raw.x_path)


def stretches(train: Rows, width: int, part: Callable[[Rows], Array]) -> Callable[[], Iterable[Array]]:
    """A function that reads the rows `train` as blocks [rows, places], anew at each call."""

    def columns() -> Iterable[Array]:
        for rows in np.array_split(train, min(len(train), -(-len(train) * width // STRETCH))):
            block: Any = part(rows)
            yield block.reshape(-1, block.shape[-1])

    return columns
