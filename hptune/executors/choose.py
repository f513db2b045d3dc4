"""Which executor an experiment names. Each is imported where it is chosen."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hptune.executors.executor import Executor, OnEpoch
from hptune.experiment.experiment import Experiment
from hptune.run.rundir import RunPaths


def executor_for(
    experiment: Experiment, folder: Path, paths: RunPaths, on_epoch: OnEpoch, *, trials: int | None = 1
) -> Executor:
    """The executor that the experiment names. trials: how many it will be given at most; None: nobody knows."""
    if experiment.execution.executor == "inline":
        from hptune.executors.inline import InlineExecutor

        return InlineExecutor(experiment, folder, paths, on_epoch)
    from hptune.executors.processes import LocalExecutor

    return LocalExecutor(experiment, folder, paths, on_epoch, trials=trials)


@contextmanager
def thrown_away(experiment: Experiment, folder: Path, *, alone: bool = False) -> Iterator[Executor]:
    """An executor with a run's folder that is thrown away. alone: one that gives each segment a process of its own."""
    from hptune.executors.alone import AloneExecutor

    with tempfile.TemporaryDirectory() as scratch:
        paths = RunPaths(Path(scratch) / experiment.name)
        make = AloneExecutor if alone else executor_for
        with closing(make(experiment, folder, paths, lambda *_: None)) as executor:
            yield executor
