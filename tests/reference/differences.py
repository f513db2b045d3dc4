"""How far what hptune gives is from what plain libraries give: asserted where it is measured, and kept for the table.

A difference is told in the unit that matters: of a prepared column or a target its own deviation, of a statistic its
own size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Row(NamedTuple):
    """Of an area, what it was compared with, how many arrays, and the largest difference among them."""

    area: str
    against: str
    cases: int
    largest: float


_found: dict[tuple[str, str], tuple[int, float]] = {}


def rows() -> list[Row]:
    """Everything that was compared in this process and held, in the order in which it came first."""
    return [Row(*key, cases, largest) for key, (cases, largest) in _found.items()]


def gaps(got: Any, wanted: Any, unit: Any = 1.0) -> Any:
    """|got − wanted| / unit of each value, in long doubles; infinity where one alone is not finite.

    Raises AssertionError where shapes differ.
    """
    found, plain = (np.asarray(a).astype(np.longdouble) for a in (got, wanted))
    assert found.shape == plain.shape, f"of shape {found.shape}, and {plain.shape} is wanted"
    with np.errstate(invalid="ignore"):
        found = np.where(found == plain, 0, np.abs(found - plain) / unit)
    return np.where(np.isfinite(found), found, np.inf)


def apart(got: Any, wanted: Any, unit: Any = 1.0) -> float:
    """The largest of `gaps`.

    >>> apart([1.0, 2.0], [1.0, 2.5], unit=10)
    0.05
    >>> apart([1.0, float("nan")], [1.0, 2.0])
    inf
    """
    return float(gaps(got, wanted, unit).max(initial=0))


def close(area: str, against: str, got: Any, wanted: Any, *, within: float, unit: Any = 1.0) -> None:
    """Assert that the difference is `within` at most, and keep it for the table. unit: as in `gaps`."""
    found = gaps(got, wanted, unit)
    gap = float(found.max(initial=0))
    if gap > within:
        at = np.unravel_index(int(found.argmax()), found.shape)
        pair = f"got {np.asarray(got)[at]!r} for {np.asarray(wanted)[at]!r} at {[int(i) for i in at]}"
        count = f"{int((found > within).sum())} of {found.size}"
        raise AssertionError(f"{area}: {gap:.3g} from {against}, {within:g} at most: {pair}, {count} differ")
    _keep(area, against, gap)


def same(area: str, against: str, got: Any, wanted: Any) -> None:
    """Assert that two lists, arrays or values are equal, type for type in texts, and count them as one case."""
    found, plain = (a.tolist() if isinstance(a, np.ndarray) else a for a in (got, wanted))
    assert found == plain, f"{area}: not as {against}\ngot {got}\nwanted {wanted}"
    _keep(area, against, 0.0)


def _keep(area: str, against: str, gap: float) -> None:
    cases, largest = _found.get((area, against), (0, 0.0))
    _found[area, against] = (cases + 1, max(largest, gap))
