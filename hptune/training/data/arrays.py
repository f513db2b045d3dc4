"""The types of arrays that hold data."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

Rows: TypeAlias = NDArray[np.int64]
"""Indices of samples."""
