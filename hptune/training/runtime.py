"""How TensorFlow is started: quietly, with one thread an operation, once a process.

One intra-op thread is the rule on CPU because the last bits of a convolution depend on it; one inter-op thread leaves
the bits alone and is faster for the small graphs of a search (a hand-over between threads costs more than it saves).
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

    precision: of every layer that is made from now on; None: as it is, which is float32 at first.
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
    """The policy that was set; None where none was, so that layers follow `floatx`."""
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

        tf.get_logger().setLevel("ERROR")  # it takes each new structure for a function that is traced too often
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        import keras

        tf.constant(0)  # the devices are found, and talked about, here
    keras.config.disable_traceback_filtering()


def allow_only_deterministic() -> None:
    """Let every operation from now on give the same bits each time, or raise; on a GPU many are slower for it."""
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
    """What Keras's functions and layers take from the process, and code may set: `keras.config`.

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
        """Set them so."""
        config = keras().config
        config.set_floatx(self.floatx)
        config.set_epsilon(self.epsilon)
        config.set_image_data_format(self.image_data_format)
        _set_policy(self.policy)

    def unusual(self) -> list[Any]:
        """As plain data; [] where they are Keras's own."""
        values = [self.floatx, self.epsilon, self.image_data_format, getattr(self.policy, "name", self.floatx)]
        return [] if values == ["float32", 1e-7, "channels_last", "float32"] else [values]


@contextmanager
def seeded_meanwhile(seed: int) -> Iterator[None]:
    """What is drawn in the block is drawn under the seed; afterwards under the one that was set before it."""
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
    """Let the next layers be named as if none had been made, so that the same model gets the same names.

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
