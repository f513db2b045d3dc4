"""How TensorFlow is started: quietly, with one thread an operation, once a process.

One intra-op thread is the rule on CPU because the last bits of a convolution depend on it; one inter-op thread leaves
the bits alone and is faster for the small graphs of a search (a hand-over between threads costs more than it saves).
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from typing import Any

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1", "GRPC_VERBOSITY": "ERROR"}


@cache
def start(precision: str = "float32") -> None:
    """Import TensorFlow and Keras, and set what must be set before they first run. Later calls cost nothing."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        os.environ["KERAS_BACKEND"] = "tensorflow"
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with quiet_stderr():
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        import keras

        tf.constant(0)  # the devices are found, and talked about, here
    keras.config.set_dtype_policy(precision)
    keras.config.disable_traceback_filtering()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what C++ libraries write to file descriptor 2; show it after all if the block raises."""
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        real = os.dup(2)
        try:
            os.dup2(held.fileno(), 2)
            yield
        except BaseException:
            held.seek(0)
            os.write(real, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)


def keras() -> Any:
    """The Keras module, started."""
    start()
    import keras as module

    return module
