"""The Executor protocol: where segments run; and how a trainer's exception becomes a failed segment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from hptune.base.errors import SegmentFailed
from hptune.base.trial import Segment, SegmentFailure, SegmentResult
from hptune.run.usable import lasted, plain_result, shortened

Outcome: TypeAlias = SegmentResult | SegmentFailure

OnEpoch: TypeAlias = Callable[[Segment, int, Mapping[str, float]], None]
"""Called with (segment, epochs done, metrics) while a segment runs; for the live view alone."""


class Executor(Protocol):
    """Runs segments somewhere. Made for one experiment and one run folder; knows no strategy and writes no journal.

    It is made of the experiment, the folder of the YAML file, the run's paths, an `OnEpoch`, and (`trials`) how many
    trials there are to come at most; None: nobody knows. Wherever a segment runs, `attempt` runs it.
    """

    @property
    def slots(self) -> int:
        """How many segments run at once; it may grow. No more than this (and `ahead`) are submitted and unfinished."""
        ...

    @property
    def ahead(self) -> int:
        """How many more segments may wait here where their order does not matter; 0 for none."""
        ...

    def submit(self, segment: Segment) -> None:
        """Take a segment. Returns at once where the place allows it."""
        ...

    def wait(self, timeout_s: float | None = None) -> list[Outcome]:
        """The outcomes that have come since the last call, at least one unless the timeout (seconds) passes first.

        None at all where nothing was submitted. Training that raises is a `SegmentFailure`. Raises `SpecError` where a
        probe finds that the data or the model can't be used, `RunError` where the place itself has broken.
        """
        ...

    def progress(self, segment: Segment) -> int:
        """How many epochs a submitted segment is trained for, as far as is known; those before it count too."""
        ...

    def close(self) -> None:
        """End and drop what is running, and release everything."""
        ...


def run_one(executor: Executor, segment: Segment, *, meanwhile: Callable[[], None] = lambda: None) -> Outcome:
    """Run a segment while nothing else runs. meanwhile: called while it runs, if the executor has a process for it."""
    executor.submit(segment)
    meanwhile()
    (outcome,) = executor.wait()
    return outcome


class Runner(Protocol):
    """What runs a segment: `hptune.training.worker.Worker`."""

    def run(self, segment: Segment, on_epoch: OnEpoch) -> SegmentResult:
        """Raises SegmentFailed, and SpecError where the data or the model can't be used."""
        ...


def attempt(runner: Runner, segment: Segment, on_epoch: OnEpoch) -> Outcome:
    """Run the segment; a failure of its training is an outcome too, and so is a result that can't be used.

    Every other HptuneError passes through.
    """
    started = time.perf_counter()
    try:
        return plain_result(runner.run(segment, on_epoch))
    except SegmentFailed as failed:
        reason = str(failed)
    except SystemExit as ended:  # user code must not end the search
        reason = f"the code ended the process: sys.exit({_spelled_code(ended.code)})"
    return SegmentFailure(segment, shortened(reason), lasted(time.perf_counter() - started))


def _spelled_code(code: object) -> str:
    """What `sys.exit` was given: a number, a text, or any object."""
    return repr(code)[:100] if code is None or isinstance(code, int | str) else f"<{type(code).__name__}>"
