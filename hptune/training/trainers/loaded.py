"""What is loaded once for all segments of a Keras model: its samples, the code that builds it, its programs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from hptune.base import seeds
from hptune.base.rows import load_row
from hptune.base.user_code import is_own
from hptune.experiment.defaults import ends_in_one_unit, fill, is_one_hot
from hptune.experiment.experiment import Experiment
from hptune.experiment.objective import Objective, leading
from hptune.experiment.reading.code_names import modules_named
from hptune.experiment.space.references import texts_in
from hptune.experiment.space.space import Space
from hptune.run.rundir import RunPaths
from hptune.training import runtime
from hptune.training.data import Data, Part
from hptune.training.data.source_form import as_given, beside_outputs, target_as_given
from hptune.training.export.handover import Handover
from hptune.training.models.hypermodel import Builder, from_code
from hptune.training.own.named_code import NamedCode
from hptune.training.own.reuse import keeps
from hptune.training.trainers.by_fit.own_fit import FitContext
from hptune.training.trainers.programs import MODELS, Programs
from hptune.training.trainers.samples import Samples


class Loaded:
    """What is loaded for one fold, or for the single split (None).

    as_written: the experiment as the YAML has it, without defaults that depend on the data. folder: the YAML file's.
    """

    def __init__(
        self, as_written: Experiment, folder: Path, *, run: RunPaths, samples: Samples, fold: int | None = None
    ) -> None:
        runtime.start(as_written.execution.precision)
        if as_written.execution.deterministic:
            runtime.allow_only_deterministic()
        runtime.reset_names()  # a module of the user's may build as it is loaded: the same in every process
        runtime.keras().utils.set_random_seed(seeds.derive(as_written.seed, "import"))
        self.as_written = as_written
        self.folder = folder
        self.run = run
        self._samples = samples
        self._fold = fold

    @cached_property
    def data(self) -> Data:
        """The samples; as the source has them where the user's code (model, loss or metric) may rely on that."""
        dealt, builder = self._samples.data(self._fold), self.builder
        if builder is not None and builder.reference:
            return as_given(dealt, ordered=builder.has_own_fit)
        if not self._has_own_figures:
            return dealt
        return as_given(beside_outputs(dealt) if self._has_one_output(dealt) else dealt)

    def _has_one_output(self, data: Data) -> bool:
        """Whether a network that fits the target gives one number per sample: for two classes its layers decide."""
        if data.task == "regression":
            return True
        loss = fill(self.as_written, data.task, len(data.labels or ())).training.loss
        names = [name.lower() for name in texts_in(loss, self.as_written.search_space)]
        return any(name.startswith("binary") for name in names) or ends_in_one_unit(self.as_written)

    @property
    def _has_own_figures(self) -> bool:
        """Whether the YAML names a loss or a metric of the user's own."""
        training = self.as_written.training
        return any(":" in name for name in texts_in([training.loss, training.metrics], self.as_written.search_space))

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment with the defaults that depend on the data."""
        task, classes, shape = self.data.task, len(self.data.labels or ()) or None, self.data.train.y.shape[1:]
        return fill(self.as_written, task, classes, outputs=math.prod(shape), one_hot=is_one_hot(task, shape))

    @cached_property
    def builder(self) -> Builder | None:
        """The code that builds the model; None where none does."""
        model = self.as_written.model
        if not model.declares:
            return None
        if model.code is None:
            made: Builder = load_row(MODELS, model.maker)(model, self._samples.data(self._fold), self.folder)
            return made
        builder = from_code(model.code, self.folder)
        builder.prepare = self._samples.left_again
        x, declared = self._samples.data(self._fold).train.x[:1], Space(self.as_written.search_space).defaults()
        builder.begin(x, declared, seed=seeds.derive(self.as_written.seed, "import"))
        return builder

    @cached_property
    def _code(self) -> NamedCode:
        without_data = self.as_written.model_copy(update={"data": None})
        named = set() if self.as_written.model.declares else modules_named(without_data)
        return NamedCode([name for name in named if is_own(name, self.folder)], self.folder, self.as_written.seed)

    @contextlib.contextmanager
    def trial(self) -> Iterator[None]:
        """For a segment to run in: as in a process of its own, whatever others have left in the user's modules."""
        known = "programs" in vars(self)
        if self._code.renewed() and known:
            news = self.programs.news
            del self.programs  # it was made of what is no longer there
            self.programs.news = news
            self.programs.news.setdefault("note", keeps(self._code.kept))
        with self._code.watched():
            yield

    @cached_property
    def programs(self) -> Programs:
        """The compiled programs and the weights that the next trial may need."""
        folds = self.as_written.evaluation.folds or 1
        return Programs(self.experiment, self.data, builder=self.builder, run=self.run, folder=self.folder, folds=folds)

    @cached_property
    def fit_context(self) -> FitContext:
        """What training by a `fit` needs."""
        assert self.builder is not None, "the fit of a builder"
        data = as_given(self._samples.data(self._fold), ordered=True)
        return FitContext(self.builder, self.experiment, data, self.folder, self.objective)

    @property
    def objective(self) -> Objective:
        """The objective by which the best epoch is chosen."""
        return leading(self.experiment.objectives)

    @property
    def handover(self) -> Handover:
        """The writer of the winner's model."""
        return Handover(self.run, self.as_written, self.data, self.builder, self.folder)

    def test(self) -> Part | None:
        """The test part; None where the data has none."""
        part = self._samples.test()
        as_given = self.builder is not None or self._has_own_figures
        return target_as_given(part, self.data.form) if part is not None and as_given else part
