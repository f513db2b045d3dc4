"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from hptune.base.quiet import quietly
from hptune.training import runtime

with quietly():
    """The environment that TensorFlow is to be loaded in, whichever test file imports it first."""

collect_ignore_glob = ["equal/guides/*"]  # modules of users, which make networks as they are imported

# No deadline: a test must not depend on the speed of the machine. Derandomised: a failure is the change's, not luck.
settings.register_profile("hptune", deadline=None, derandomize=True)
settings.load_profile("hptune")


@pytest.fixture(autouse=True, scope="session")
def _tensorflow() -> None:
    """TensorFlow is started in hptune's way before any test can start it in another: its threads can't be set later."""
    if "MUTANT_UNDER_TEST" not in os.environ:  # set by mutmut, whose tests train nothing
        runtime.start()


@pytest.fixture(autouse=True)
def _path_as_it_was() -> Iterator[None]:
    """A test's folders leave `sys.path` with it: what lies there must not be imported by the processes of others."""
    before = list(sys.path)
    yield
    sys.path[:] = before
