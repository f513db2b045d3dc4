"""The samples of one experiment in this process: read when they are first needed, kept, shared with other workers."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from hptune.spec.experiment import Experiment
from hptune.stopwatch import counts
from hptune.training.data import Data, Part, load_data, load_folds, load_joined
from hptune.training.data.shared import SharedData


class Samples:
    """One split of the samples, or under `evaluation.folds` one for each fold.

    folder: the YAML file's. shared: where workers hand the samples over; None where there is one worker alone.
    """

    def __init__(self, experiment: Experiment, folder: Path, shared: SharedData | None = None) -> None:
        assert experiment.data is not None, "the spec's check asks for data"
        self._spec = experiment.data
        self._folder = folder
        self._seed = experiment.seed
        self._folds = experiment.evaluation.folds
        self._shared = shared

    def data(self, fold: int = 0) -> Data:
        """The samples without the test part. Raises SpecError where they can't be used."""
        return self._all[fold]

    def test(self, fold: int = 0) -> Part | None:
        """The test part, prepared as the fold's training part says; None where there is none."""
        return self._load(with_test=True)[fold].test

    @counts("data")
    def joined(self) -> Data:
        """All but the test part to train on, and the test part."""
        return load_joined(self._spec, folder=self._folder, seed=self._seed)

    @cached_property
    def _all(self) -> tuple[Data, ...]:
        return self._shared.get(self._load) if self._shared is not None else self._load()

    @counts("data")
    def _load(self, *, with_test: bool = False) -> tuple[Data, ...]:
        if self._folds is None:
            return (load_data(self._spec, folder=self._folder, seed=self._seed, with_test=with_test),)
        return load_folds(self._spec, folder=self._folder, seed=self._seed, folds=self._folds, with_test=with_test)
