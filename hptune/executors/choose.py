"""Which executor an experiment names. Each is imported where it is chosen.

A new executor takes a module here and a row in `EXECUTORS`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hptune.base.errors import HptuneError, RunError, message_of, spec_error
from hptune.base.offered import load_offered
from hptune.base.quiet import off_stdout
from hptune.base.rows import load_row
from hptune.base.trial import Segment
from hptune.executors.executor import Executor, OnEpoch, Outcome
from hptune.experiment.execution import EXECUTORS
from hptune.experiment.experiment import Experiment
from hptune.run.rundir import RunPaths


def executor_for(
    experiment: Experiment, folder: Path, paths: RunPaths, on_epoch: OnEpoch, *, trials: int | None = 1
) -> Executor:
    """The executor that the experiment names. trials: how many it will be given at most; None: nobody knows.

    Raises SpecError where another package's can't be made.
    """
    name = experiment.execution.executor
    made: Executor
    if name in EXECUTORS:
        make = load_row("hptune.executors", EXECUTORS[name])
        made = make(experiment, folder, paths, on_epoch, trials=trials)
        return made
    place = ("execution", "executor")
    make = load_offered("hptune.executors", name, place)
    try:
        with off_stdout():
            made = make(experiment, folder, paths, on_epoch, trials=trials)
    except (HptuneError, KeyboardInterrupt):
        raise
    except BaseException as error:  # another package's may raise anything
        reason = f"{name} can't be begun: {type(error).__name__}: {message_of(error)}"
        raise spec_error(f"{reason}. Fix that, or use local.", *place) from error
    return _OfOthers(made, name)


class _OfOthers:
    """Another package's executor: what it prints is no result, and what it raises is told with its name."""

    def __init__(self, executor: Executor, name: str) -> None:
        self._executor, self._name = executor, name

    @property
    def slots(self) -> int:
        """As in `Executor`."""
        with self._told():
            return self._executor.slots

    @property
    def ahead(self) -> int:
        """As in `Executor`."""
        with self._told():
            return self._executor.ahead

    def submit(self, segment: Segment) -> None:
        """As in `Executor`."""
        with self._told():
            self._executor.submit(segment)

    def wait(self, timeout_s: float | None = None) -> list[Outcome]:
        """As in `Executor`."""
        with self._told():
            return self._executor.wait(timeout_s)

    def progress(self, segment: Segment) -> int:
        """As in `Executor`."""
        with self._told():
            return self._executor.progress(segment)

    def close(self) -> None:
        """As in `Executor`."""
        with self._told():
            self._executor.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            with off_stdout():
                yield
        except (HptuneError, KeyboardInterrupt):
            raise
        except BaseException as error:
            reason = f"the executor {self._name} failed: {type(error).__name__}: {message_of(error)}"
            raise RunError(f"{reason}. The same command goes on; or set execution.executor to local.") from error


@contextmanager
def thrown_away(experiment: Experiment, folder: Path, *, alone: bool = False) -> Iterator[Executor]:
    """An executor with a temporary run folder, deleted afterwards. alone: each segment gets a process of its own."""
    from hptune.executors.alone import AloneExecutor

    with tempfile.TemporaryDirectory() as scratch:
        paths = RunPaths(Path(scratch) / experiment.name)
        make = AloneExecutor if alone else executor_for
        with closing(make(experiment, folder, paths, lambda *_: None)) as executor:
            yield executor
