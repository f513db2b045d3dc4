"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# No deadline: a test must not depend on the speed of the machine. Derandomised: a failure is the change's, not luck.
settings.register_profile("hptune", deadline=None, derandomize=True)
settings.load_profile("hptune")
