"""Starts TensorFlow: quietly, with one thread per operation, once per process.

One intra-op thread is the rule on a CPU because the last bits of a convolution depend on their number. One inter-op
thread changes no bits and is faster for the small graphs of a search: switching between threads costs more than it
saves.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from hptune.base.keras_json import check_keras_json
from hptune.base.quiet import quietly
from hptune.base.surroundings import importing


def start(precision: str | None = None) -> None:
    """Import TensorFlow and Keras, and set what must be set before they first run. Later calls cost nothing.

    precision: of every layer made from now on; None: unchanged, which is float32 at first.
    """
    _start()
    if precision is not None:
        import keras

        with importing():
            if precision == keras.config.floatx():
                _set_policy(None)  # then it follows `set_floatx`, as in any program
            else:
                keras.config.set_dtype_policy(precision)


_POLICY = "dtype_policy"


def _policy() -> Any:
    """The dtype policy that was set; None where none was, so that layers follow `floatx`."""
    from keras.src.backend.common.global_state import get_global_attribute

    return get_global_attribute(_POLICY)


def _set_policy(policy: Any) -> None:
    from keras.src.backend.common.global_state import set_global_attribute

    set_global_attribute(_POLICY, policy)


@cache
def _start() -> None:
    check_keras_json()
    with importing(), quietly():
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # it warns of each new structure as a function that is traced too often
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        import keras

        tf.constant(0)  # the devices are found, and logged, here
    keras.config.disable_traceback_filtering()


def allow_only_deterministic() -> None:
    """From now on every operation gives the same bits each time, or raises; on a GPU many become slower."""
    start()
    import tensorflow as tf

    tf.random.set_seed(0)  # asked for by operations that draw; what hptune draws has seeds of its own
    tf.config.experimental.enable_op_determinism()


def keras() -> Any:
    """The Keras module, started."""
    start()
    import keras as module

    return module


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of `keras.config`, which Keras's functions and layers read, and code may change.

    policy: None where none was set.
    """

    floatx: str
    epsilon: float
    image_data_format: str
    policy: Any

    @classmethod
    def now(cls) -> Settings:
        """The settings as they are now."""
        config = keras().config
        return cls(config.floatx(), config.epsilon(), config.image_data_format(), _policy())

    def put(self) -> None:
        """Put these settings in force."""
        config = keras().config
        config.set_floatx(self.floatx)
        config.set_epsilon(self.epsilon)
        config.set_image_data_format(self.image_data_format)
        _set_policy(self.policy)

    def unusual(self) -> list[Any]:
        """The settings as plain data; [] where they are Keras's defaults."""
        values = [self.floatx, self.epsilon, self.image_data_format, getattr(self.policy, "name", self.floatx)]
        return [] if values == ["float32", 1e-7, "channels_last", "float32"] else [values]


@contextmanager
def seeded_meanwhile(seed: int) -> Iterator[None]:
    """Within the block, random numbers follow from the seed; after it, from the state before."""
    set_random_seed, before = keras().utils.set_random_seed, (random.getstate(), np.random.get_state())
    from keras.src.utils.rng_utils import get_random_seed

    set_before = get_random_seed()
    set_random_seed(seed)
    try:
        yield
    finally:
        if set_before is not None:
            set_random_seed(set_before)
        random.setstate(before[0])
        np.random.set_state(before[1])


def reset_names(beside: Iterable[str] = ()) -> None:
    """Name the next layers as if none had been made, so that the same model gets the same names.

    beside: names that are taken.
    """
    keras()
    from keras.src.utils.naming import reset_uids, uniquify

    reset_uids()
    taken = set(beside)
    for base in {name.rstrip("0123456789").removesuffix("_") for name in taken}:
        numbers = [name.removeprefix(f"{base}_") for name in taken if name.startswith(f"{base}_")]
        last = max((int(number) for number in numbers if number.isdecimal()), default=0)
        for _ in range(last + 1):
            uniquify(base)
