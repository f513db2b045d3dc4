"""Curves of metrics, epoch by epoch: how they are continued, and the epochs in which one has no value (NaN)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hptune.base.trial import Curves
from hptune.experiment.objective import Objective


def length(curves: Mapping[str, Sequence[float]]) -> int:
    """How many epochs the longest curve has; 0 where there is none."""
    return max(map(len, curves.values()), default=0)


def extended(curves: Curves, more: Mapping[str, Sequence[float]], from_epoch: int) -> Curves:
    """`more` continues `curves` after `from_epoch` epochs; a metric that was not there is NaN up to them."""
    whole = {name: curve[:from_epoch] for name, curve in curves.items()}
    for name, values in more.items():
        whole[name] = (*_filled(whole.get(name, ()), from_epoch), *values)
    return whole


def _filled(curve: Sequence[float], epochs: int) -> Sequence[float]:
    return curve if len(curve) == epochs else (*curve, *(math.nan,) * (epochs - len(curve)))


def whole_epochs(curves: Curves, objectives: Sequence[Objective]) -> Curves:
    """The curves of the objectives that have one, with NaN for all of them in epochs in which one has no value.

    >>> whole_epochs({"a": (1.0, 2.0), "b": (math.nan, 3.0)}, [Objective(metric=m, goal="minimize") for m in "ab"])
    {'a': (nan, 2.0), 'b': (nan, 3.0)}
    """
    chosen = {objective.metric: curves[objective.metric] for objective in objectives if objective.metric in curves}
    if sum(map(sum, chosen.values())) < math.inf:  # no NaN is in it
        return chosen
    whole = [all(value == value for value in epoch) for epoch in zip(*chosen.values(), strict=False)]
    return {
        name: tuple(value if there else math.nan for value, there in zip(curve, whole, strict=False))
        for name, curve in chosen.items()
    }
