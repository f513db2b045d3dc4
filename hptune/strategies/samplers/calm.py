"""Asking another library for a point: in one thread, and without its warnings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]


@contextmanager
def calm() -> Iterator[None]:
    """The last bits of a matrix product depend on the number of threads, and a search must not."""
    with warnings.catch_warnings(), _thread_pools(len(sys.modules)).limit(limits=1):
        warnings.simplefilter("ignore")
        yield


@lru_cache(maxsize=1)
def _thread_pools(modules: int) -> ThreadpoolController:  # noqa: ARG001
    """Those of the libraries that are loaded. Finding them takes milliseconds: it is done again where a module, which
    may have brought one, was imported since.
    """
    return ThreadpoolController()
