"""Random numbers that code draws without a seed of its own while a graph is traced or run.

Keras has one generator for all calls without a seed (`keras.random.normal(shape)` in a user's layer), which would go on
from trial to trial. A program has its own in its place, which starts each epoch anew. Numbers from Python's and NumPy's
generators become part of a graph when it is traced: they must not depend on what the process did before.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from hptune.base import seeds
from hptune.training.runtime import keras

_NAME = "global_seed_generator"
"""The name of Keras's generator in its global state."""


class Noise:
    """Stands in for Keras's global generator while one program's graphs are traced."""

    def __init__(self) -> None:
        self._generator = keras().random.SeedGenerator(0)
        self._drawn: bool | None = None  # None: not known before the first trace
        following = self._generator.next

        def next_seed(*args: Any, **options: Any) -> Any:
            self._drawn = True
            return following(*args, **options)

        self._generator.next = next_seed

    def stand_in(self) -> None:
        """Take the global generator's place. To be called first while tracing."""
        from keras.src.backend.common import global_state

        global_state.set_global_attribute(_NAME, self._generator)
        self._drawn = self._drawn or False
        random.seed(0)
        np.random.seed(0)

    def begin(self, seed: int, *labels: object) -> None:
        """Start anew under a seed derived from these; nothing to do where no code draws."""
        if self._drawn is not False:
            self._generator.state.assign([seeds.derive(seed, "noise", *labels), 0])
