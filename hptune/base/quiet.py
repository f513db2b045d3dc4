"""Imports TensorFlow without its noise, and in the same environment wherever that happens first.

Its C++ libraries write to file descriptor 2 before any Python setting can stop them, so the descriptor itself is
redirected while they load. The environment counts too: the backend of Keras and oneDNN's kernels are chosen by
the first import, be it the worker's or KerasTuner's in a strategy.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

_DEFAULTS = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1", "GRPC_VERBOSITY": "ERROR"}


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 in the block; it is shown only if the block raises."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
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


@contextlib.contextmanager
def off_stdout() -> Iterator[None]:
    """Have what is written to stdout in the block, by whatever way, on stderr: stdout is for results alone."""
    _flush_stdout()
    with contextlib.ExitStack() as after:
        with contextlib.suppress(OSError):  # one of the two is closed
            real = os.dup(1)
            after.callback(os.close, real)
            os.dup2(2, 1)
            after.callback(os.dup2, real, 1)
        after.callback(_flush_stdout)
        after.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _flush_stdout() -> None:
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it is closed, or was taken away
            stream.flush()  # type: ignore[union-attr]
