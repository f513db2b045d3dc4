"""The inline executor: segments run in this process, one at a time, inside `wait`.

What the code sets in the process is put back for the driver, and is there again for the next segment. What ends the
process (os._exit, a crash) or closes its files ends the search: that takes a process of its own. What can't be put back
ends it too, before another trial is trained: it would not be what it is in a process of its own.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from functools import cached_property
from pathlib import Path

from hptune.base import surroundings
from hptune.base.errors import RunError
from hptune.base.quiet import off_stdout
from hptune.base.trial import Segment
from hptune.executors.executor import OnEpoch, Outcome, Runner, attempt
from hptune.experiment.experiment import Experiment
from hptune.run.rundir import RunPaths


class InlineExecutor:
    """One slot, in this process. What user code prints goes to stderr: stdout belongs to the command's result.

    folder: the YAML file's, which relative paths start from and where modules are looked for first.
    """

    slots = 1
    ahead = 0

    def __init__(
        self,
        experiment: Experiment,
        folder: Path,
        run: RunPaths,
        on_epoch: OnEpoch,
        *,
        trials: int | None = None,  # noqa: ARG002  # one slot, however many there are
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._run = run
        self._on_epoch = on_epoch
        self._queue: deque[Segment] = deque()
        self._children = set(multiprocessing.active_children())
        self._unmended = len(surroundings.unmended())
        self._apart = surroundings.Apart()  # what modules of the user's have set as they were imported is theirs

    @cached_property
    def _runner(self) -> Runner:
        from hptune.training.worker import Worker  # heavy: only where a segment runs

        return Worker(self._experiment, self._folder, self._run)

    def submit(self, segment: Segment) -> None:
        """Queue the segment; it runs in a later `wait`."""
        self._queue.append(segment)

    def wait(self, timeout_s: float | None = None) -> list[Outcome]:  # noqa: ARG002  # nothing to wait for: it runs here
        """Run the next segment to its end, whatever the timeout.

        Raises `RunError` where code of an earlier trial has set something in this process that can't be put back.
        """
        if not self._queue:
            return []
        if left := dict.fromkeys(surroundings.unmended()[self._unmended :]):
            reason = f"the code of an earlier trial has set what can't be put back in this process ({', '.join(left)})"
            way = "The same command goes on in a new one; execution.executor: local has one for each that is needed"
            raise RunError(f"{reason}. {way}.")
        segment = self._queue.popleft()
        with self._apart.at_work(), off_stdout():
            return [attempt(self._runner, segment, self._on_epoch)]

    def progress(self, segment: Segment) -> int:  # noqa: ARG002  # none runs while anybody asks
        """Always 0: while a segment runs, nobody can ask."""
        return 0

    def close(self) -> None:
        """Drop the queue, and kill the child processes that user code started and left running."""
        self._queue.clear()
        for child in set(multiprocessing.active_children()) - self._children:
            child.kill()  # else Python waits for it at the end
