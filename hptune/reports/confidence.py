"""What a few repeats say of a mean: 95 % intervals by Student's t, of one mean and of the difference between two."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

Interval: TypeAlias = tuple[float, float]
"""(low, high), both included."""

LEVEL = 0.95
_PANELS = 400


def mean_interval(scores: Sequence[float]) -> Interval:
    """The 95 % interval of the mean of at least two scores.

    >>> [round(end, 3) for end in mean_interval([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
    """
    half = t_quantile(len(scores) - 1) * statistics.stdev(scores) / math.sqrt(len(scores))
    mean = statistics.fmean(scores)
    return (mean - half, mean + half)


def difference_interval(a: Sequence[float], b: Sequence[float]) -> Interval:
    """The 95 % interval of mean(a) − mean(b), whose spreads may differ; at least two scores each.

    References: Welch 1947, doi:10.2307/2332510.
    """
    gap = statistics.fmean(a) - statistics.fmean(b)
    of_a, of_b = (statistics.stdev(scores) / math.sqrt(len(scores)) for scores in (a, b))
    both = math.hypot(of_a, of_b)  # never the squares, which are 0 or infinite for scores that are neither
    if both == 0:
        return (gap, gap)
    share_a, share_b = (of_a / both) ** 2, (of_b / both) ** 2
    df = 1 / (share_a**2 / (len(a) - 1) + share_b**2 / (len(b) - 1))
    half = t_quantile(df) * both
    return (gap - half, gap + half)


@lru_cache
def t_quantile(df: float) -> float:
    """The t with P(|T| ≤ t) = 95 % under `df` ≥ 1 degrees of freedom, which need not be whole.

    With t = √df·tan θ the density becomes cos(θ)^(df − 1) up to a factor, which is smooth enough for Simpson's rule.

    >>> [round(t_quantile(df), 3) for df in (1, 4, 30)]
    [12.706, 2.776, 2.042]
    """
    half_of_all = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(df / 2) - math.lgamma((df + 1) / 2))
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _integral(df - 1, middle) < LEVEL * half_of_all:
            low = middle
        else:
            high = middle
    return math.sqrt(df) * math.tan(low)


def _integral(power: float, end: float) -> float:
    """∫ cos(θ)^power dθ from 0 to `end`, by Simpson's rule."""
    values = [math.pow(math.cos(end * i / _PANELS), power) for i in range(_PANELS + 1)]
    return end / _PANELS / 3 * (values[0] + 4 * math.fsum(values[1::2]) + 2 * math.fsum(values[2:-1:2]) + values[-1])
