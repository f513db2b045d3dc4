"""Which executor an experiment names. Each is imported where it is chosen.

A new executor takes a module here and a row in `EXECUTORS`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hptune.base.errors import HptuneError, spec_error
from hptune.base.offered import load_offered
from hptune.base.rows import load_row
from hptune.executors.executor import Executor, OnEpoch
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
        made = make(experiment, folder, paths, on_epoch, trials=trials)
    except HptuneError:
        raise
    except Exception as error:  # another package's may raise anything
        reason = f"{name} can't be begun: {type(error).__name__}: {error}"
        raise spec_error(f"{reason}. Fix that, or use local.", *place) from error
    return made


@contextmanager
def thrown_away(experiment: Experiment, folder: Path, *, alone: bool = False) -> Iterator[Executor]:
    """An executor with a temporary run folder, deleted afterwards. alone: each segment gets a process of its own."""
    from hptune.executors.alone import AloneExecutor

    with tempfile.TemporaryDirectory() as scratch:
        paths = RunPaths(Path(scratch) / experiment.name)
        make = AloneExecutor if alone else executor_for
        with closing(make(experiment, folder, paths, lambda *_: None)) as executor:
            yield executor
