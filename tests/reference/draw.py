"""What the suite draws: columns of any size, far from 0, constant, at the ends of their types; names of any kind.

`HPTUNE_REFERENCE=20` draws twenty times as many cases as `make test` does.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

TIMES = int(os.environ.get("HPTUNE_REFERENCE", "1"))


def cases(count: int, *, shrink: bool = True) -> settings:
    """So many cases in `make test`, and `HPTUNE_REFERENCE` times as many where that is set.

    shrink: whether a case that fails is made smaller, which takes many more.
    """
    phases = [phase for phase in Phase if phase is not Phase.explain and (shrink or phase is not Phase.shrink)]
    ignored = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count * TIMES, suppress_health_check=ignored, phases=phases)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for one case: pytest's own is one for all of a test."""
    with tempfile.TemporaryDirectory(prefix="reference-") as made:
        yield Path(made)


# --- numbers ---------------------------------------------------------------------------------------------------------

SIZES = range(-150, 151)
"""Powers of ten of a column's deviation, whose squares float64 holds."""

FAR = (0.0, 1.0, -1.0, 1e3, -1e6, 1e9)
"""Offsets, in deviations."""

ENDS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint32, np.uint64)


@st.composite
def floats(
    draw: Callable[..., Any], rows: int, sizes: range = SIZES, far: Sequence[float] = FAR, constant: bool = True
) -> Array:
    """float64 [rows]: normal, skewed, of two values or constant; of any size and anywhere."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.sampled_from(["normal", "skewed", "two", *(["constant"] if constant else [])]))
    small = (
        range(sizes.start, min(sizes.stop, -3)) if shape == "constant" else sizes
    )  # huge ones have a test of their own
    size, offset = 10.0 ** draw(st.sampled_from(small or sizes)), draw(st.sampled_from(far))
    made = {
        "normal": random.normal(size=rows),
        "skewed": random.lognormal(0, 2, rows),
        "two": np.where(random.permutation(rows) < rows // 3, 1.0, 0.0),
        "constant": np.full(rows, draw(st.sampled_from([0.0, 1.0, -3.7]))),
    }[shape]
    return np.asarray((made + offset) * size)


@st.composite
def integers(draw: Callable[..., Any], rows: int) -> Array:
    """Integers [rows] that reach both ends of their type."""
    kind = np.iinfo(draw(st.sampled_from(ENDS)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    made = random.integers(kind.min, kind.max, rows, kind.dtype, endpoint=True)
    made[random.permutation(rows)[:2]] = [kind.min, kind.max]
    return np.asarray(made)


def columns(rows: int, least: int = 1, most: int = 3, sizes: range = SIZES) -> Any:
    """Lists of columns of numbers."""
    return st.lists(floats(rows, sizes) | integers(rows), min_size=least, max_size=most)


def moderate(rows: int) -> Any:
    """float64 [rows] of everyday sizes, which every library holds well."""
    return floats(rows, range(-3, 4))


def varied(rows: int, sizes: range = range(-30, 30), far: Sequence[float] = FAR[:3]) -> Any:
    """float64 [rows], no constant: what a regression can learn. Of sizes, and as near to 0, as float32 holds."""
    return floats(rows, sizes, far, False)


def holes(rows: int) -> Any:
    """bool [rows], where values are missing: a few; never in the first and the last row, nor everywhere."""

    def made(seed: int, share: float) -> Array:
        found = np.random.default_rng(seed).random(rows) < share
        found[[0, -1]] = False
        return np.asarray(found)

    return st.builds(made, st.integers(0, 2**32), st.sampled_from([0.05, 0.2, 0.4]))


# --- names -----------------------------------------------------------------------------------------------------------

STRANGE = (
    *("[UNK]", "[MASK]", "None", "none", "True", "-", "?", "0x10", "1_000", "007", "1e5x", "1,5", "a,b", 'say "x"'),
    *("two\nlines", "tab\there", "a;b|c", "Straße", "strasse", "ﬁ", "fi", "é", "é", "日本", "🙂", "#", "'", "a b", "A"),
    *("a", "nil", "inf x", "NA.", "%s", "{x}", "$x", "\\n", "x\u200b", "=1+1", "@", "--"),
)
"""Names of categories that something on the way might take for something else."""

_LETTERS = st.characters(exclude_categories=["C", "Z"])

NAMES = st.sampled_from(STRANGE) | st.text(_LETTERS, min_size=1, max_size=6).map(lambda text: f"q{text}")
"""A name without white space around it, which is no number, date or missing value."""


@st.composite
def texts(draw: Callable[..., Any], rows: int, most: int = 8) -> Array:
    """str objects [rows], of a few names, of which more than half are no numbers; some of them rare."""
    names = draw(st.lists(NAMES, min_size=2, max_size=most, unique=True))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = random.dirichlet(np.full(len(names), draw(st.sampled_from([0.3, 5.0]))))
    made = random.choice(len(names), rows, p=weights)
    made[: len(names)] = np.arange(len(names))
    return np.array([names[i] for i in made], object)
