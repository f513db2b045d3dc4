"""Random numbers that code draws without a seed of its own while a graph is traced or run.

Keras has one generator for all who ask without a seed (`keras.random.normal(shape)` in a layer of the user's); it would
go on from trial to trial. A program has its own in its place, which begins each epoch anew. What Python's and NumPy's
generators give while a graph is traced is built into the graph: it must not depend on what the process did before.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from hptune.base import seeds
from hptune.training.runtime import keras

_NAME = "global_seed_generator"
"""What Keras calls its generator in its global state."""


class Noise:
    """What stands in the place of Keras's global generator while one program's graphs are traced."""

    def __init__(self) -> None:
        self._generator = keras().random.SeedGenerator(0)
        self._drawn: bool | None = None  # None: not known before the first trace
        following = self._generator.next

        def next_seed(*args: Any, **options: Any) -> Any:
            self._drawn = True
            return following(*args, **options)

        self._generator.next = next_seed

    def stand_in(self) -> None:
        """Call this first while tracing."""
        from keras.src.backend.common import global_state

        global_state.set_global_attribute(_NAME, self._generator)
        self._drawn = self._drawn or False
        random.seed(0)
        np.random.seed(0)

    def begin(self, seed: int, *labels: object) -> None:
        """Begin anew, under a seed that follows from these; nothing to do where nobody draws."""
        if self._drawn is not False:
            self._generator.state.assign([seeds.derive(seed, "noise", *labels), 0])
