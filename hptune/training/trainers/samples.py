"""The samples of one experiment in this process: read when first needed, kept, and shared with other workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from hptune.base import seeds
from hptune.base.stopwatch import counts
from hptune.experiment.experiment import Experiment
from hptune.training.data import Data, Part, load_data, load_folds, load_joined
from hptune.training.data.sources import flow
from hptune.training.data.split.folds import lacking
from hptune.training.data.store.shared import SharedData
from hptune.training.models.sample_needs import needs_of

T = TypeVar("T")


class Samples:
    """One split of the samples, or under `evaluation.folds` one for each fold.

    folder: the YAML file's. shared: where workers hand the samples over; None for a single worker.
    cache: the folder for decoded and unpacked files.
    """

    def __init__(
        self, experiment: Experiment, folder: Path, *, shared: SharedData | None = None, cache: Path | None = None
    ) -> None:
        assert experiment.data is not None, "the spec's check asks for data"
        self._spec = experiment.data
        self._folder = folder
        self._seed = experiment.seed
        self._folds = experiment.evaluation.folds
        self._shared = shared
        self._cache = cache
        self._needs = needs_of(experiment)

    def data(self, fold: int | None = None) -> Data:
        """The samples without the test part, split for the fold, or once (None). Raises SpecError if unusable."""
        return self._split if fold is None else self._folded[fold]

    @counts("data")
    def test(self) -> Part | None:
        """The test part, prepared as the training part of the one split says; None where there is none."""
        return load_data(self._spec, **self._how, with_test=True).test

    @counts("data")
    def joined(self) -> Data:
        """All but the test part as training part, and the test part."""
        return load_joined(self._spec, **self._how)

    @cached_property
    def _split(self) -> Data:
        return self._once(self._read_split) if self._folds is None else self._read_split()

    @cached_property
    def _folded(self) -> tuple[Data, ...]:
        return self._once(self._read_folds)

    @counts("data")
    def _read_split(self) -> Data:
        return load_data(self._spec, **self._how)

    @counts("data")
    def _read_folds(self) -> tuple[Data, ...]:
        assert self._folds is not None, "asked for a fold where there are none"
        first, *others = folds = load_folds(self._spec, **self._how, folds=self._folds)
        return (replace(first, notes=(*first.notes, *lacking(folds))), *others)

    @property
    def _how(self) -> dict[str, Any]:
        return {"folder": self._folder, "seed": self._seed, "cache": self._cache, "needs": self._needs}

    def _once(self, read: Callable[[], T]) -> T:
        """What `read` returns: the first worker reads it and hands it over to the others.

        Where the data comes from the user's function, and that leaves something for the model's code, each worker calls
        the function.
        """
        if self._shared is None:
            return read()
        read_samples, leaves = self._shared.get(lambda: (read(), self._leaves))
        if leaves:
            self.left()
        return read_samples

    @property
    def _leaves(self) -> bool:
        function = self._spec.function
        return function is not None and flow.leaves(function)

    def left_again(self) -> None:
        """As `left`, but only where the function was seen to leave something."""
        if self._leaves:
            self.left()

    def left(self) -> None:
        """Call the user's function for what it leaves behind, where that is missing (its module was imported anew)."""
        function = self._spec.function
        if function is not None and not flow.was_called(function):
            flow.called(function, self._folder, seeds.derive(self._seed, "data"))
