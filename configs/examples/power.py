"""A year of hourly power demand, made up: days, weeks, seasons and noise; cut into windows of one day."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HOURS = 24


def windows() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x: float32 [n, 24, 1], the demand of a day; y: float32 [n], that of the hour after it."""
    random = np.random.RandomState(0)
    hour = np.arange(24 * 7 * 20)
    demand = 50 + 10 * np.sin(hour * 2 * np.pi / 24) + 5 * (hour // 24 % 7 < 5) + 8 * np.sin(hour / 1000)
    demand = (demand + random.normal(0, 1, len(hour))).astype(np.float32)
    day = np.lib.stride_tricks.sliding_window_view(demand, HOURS)[:-1]
    return day[..., None].copy(), demand[HOURS:]
