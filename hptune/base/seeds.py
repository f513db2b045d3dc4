"""Where every seed comes from: one master seed and a path of labels; nothing else in hptune makes one.

So a trial's randomness depends on what it is, never on when, where or in which order it ran.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Iterator


def derive(master: int, *labels: object) -> int:
    """A seed in [0, 2**31) for what `labels` name, under the experiment's seed `master`.

    Labels are anything that JSON can spell, a dict included; the same labels give the same seed on every machine and
    in every version of Python.

    >>> derive(0, "suggest", 0) == derive(0, "suggest", 0)
    True
    >>> derive(0, "suggest", 0) == derive(0, "suggest", 1)
    False
    """
    text = json.dumps([master, *labels], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4]) & 0x7FFFFFFF


@contextlib.contextmanager
def drawing(seed: int) -> Iterator[None]:
    """What Python's and NumPy's shared generators give in the block follows from `seed`; then they are as before it.

    >>> with drawing(7):
    ...     first = random.random()
    >>> with drawing(7):
    ...     first == random.random()
    True
    """
    import numpy as np

    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
