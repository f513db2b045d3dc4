"""Other libraries answer in one thread, those included that are loaded late."""

from __future__ import annotations

import json
import os
import subprocess
import sys

SCRIPT = """
import json
from threadpoolctl import threadpool_info
from hptune.strategies.samplers.calm import calm

def threads():
    return [pool["num_threads"] for pool in threadpool_info()]

with calm():
    few = threads()
import scipy.linalg  # brings a BLAS of its own
before = threads()
with calm():
    inside = threads()
print(json.dumps([few, before, inside, threads()]))
"""


def test_every_pool_has_one_thread_and_its_own_number_afterwards() -> None:
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    told = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True).stdout
    few, before, inside, after = json.loads(told)
    assert len(few) < len(before)
    assert set(few) <= {1}
    assert max(before) == 2
    assert inside == [1] * len(before)
    assert after == before
