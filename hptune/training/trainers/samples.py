"""The samples of one experiment in this process: read when they are first needed, kept, shared with other workers."""

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
from hptune.training.models.needs import needs_of

T = TypeVar("T")


class Samples:
    """One split of the samples, or under `evaluation.folds` one for each fold.

    folder: the YAML file's. shared: where workers hand the samples over; None where there is one worker alone.
    cache: where what is decoded or unpacked is kept.
    """

    def __init__(
        self, experiment: Experiment, folder: Path, shared: SharedData | None = None, cache: Path | None = None
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
        """The samples without the test part, split as for the fold, or once. Raises SpecError for unusable ones."""
        return self._split if fold is None else self._folded[fold]

    @counts("data")
    def test(self) -> Part | None:
        """The test part, prepared as the training part of the one split says; None where there is none."""
        return load_data(self._spec, **self._how, with_test=True).test

    @counts("data")
    def joined(self) -> Data:
        """All but the test part to train on, and the test part."""
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
        """What the first worker reads is handed over to the others: what the search's segments train on.

        Where a function of the user's brings it, and leaves something for the model's code to find, each calls it.
        """
        if self._shared is None:
            return read()
        found, leaves = self._shared.get(lambda: (read(), self._leaves))
        if leaves:
            self.left()
        return found

    @property
    def _leaves(self) -> bool:
        function = self._spec.function
        return function is not None and flow.leaves(function)

    def left_again(self) -> None:
        """As `left`, where the function was seen to leave anything."""
        if self._leaves:
            self.left()

    def left(self) -> None:
        """Have what the user's function leaves behind, where it is not: its module may have been imported anew."""
        function = self._spec.function
        if function is not None and not flow.was_called(function):
            flow.called(function, self._folder, seeds.derive(self._seed, "data"))
