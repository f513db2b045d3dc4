"""What a strategy must not read, and no comparison of two searches is sure to show: clocks and shared generators.

A clock that matters once in a thousand trials, or a shared generator that the strategy has seeded, gives the same
search twice; so what is called is watched. Entropy needs no watching: with it no two searches are the same.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import numpy as np

from hptune.base import seeds

CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")
READ = {getattr(time, f"{name}{unit}"): f"time.{name}{unit}" for name in CLOCKS for unit in ("", "_ns")}
SENTINEL = 918_273_645
READ |= {os.times: "os.times", resource.getrusage: "resource.getrusage"}
READ |= {getattr(time, name): f"time.{name}" for name in ("localtime", "gmtime", "ctime", "asctime", "strftime")}
NOW = ("now", "utcnow", "today")
SHARED: Any = random._inst
"""Whose methods `random.random` and its like are."""


@contextmanager
def watched() -> Iterator[list[str]]:
    """The clocks and shared generators that hptune's code, or that of the tests beside this file, reads in the block.

    Libraries may read clocks (Optuna notes when a trial began), but must leave NumPy's shared generator alone too.
    """
    read: list[str] = []
    found = np.random.get_state()
    np.random.seed(SENTINEL)  # which no strategy leaves, whatever it seeds
    held = str(np.random.get_state())

    def look(frame: FrameType, event: str, called: Any) -> None:
        what = _what(called) if event == "c_call" else None
        if what is not None and _is_ours(frame):
            read.append(what)

    before = sys.getprofile()
    with patch.object(seeds, "drawing", lambda _: nullcontext()):  # what keeps a user's strategy from them
        sys.setprofile(look)
        try:
            yield read
        finally:
            sys.setprofile(before)
    if str(np.random.get_state()) != held:
        read.append("numpy.random")
    np.random.set_state(found)


def _what(called: Any) -> str | None:
    owner, name = getattr(called, "__self__", None), called.__name__
    if owner is SHARED and name != "getstate":
        return f"random.{name}"
    if isinstance(owner, type) and issubclass(owner, date) and name in NOW:
        return f"datetime.{name}"
    return READ.get(called)


def _is_ours(frame: FrameType | None) -> bool:
    """Whether it was for hptune's code, or a test's: the standard library does what its caller asks for."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module == "__main__" or module.partition(".")[0] not in sys.stdlib_module_names:
            return module.startswith("hptune.") or Path(frame.f_code.co_filename).parent == Path(__file__).parent
        frame = frame.f_back
    return False
