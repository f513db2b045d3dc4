"""Trials of scikit-learn models: a segment fits one fold and scores it on the samples that the fold holds out.

Nothing here loads TensorFlow. The winner is fitted again on everything but the test part and written by skops, whose
files, unlike pickles, run no code when they are read.
"""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hptune.base import files, generators, seeds, surroundings
from hptune.base.errors import RunError, SegmentFailed, SpecError, spec_error
from hptune.base.stopwatch import counts
from hptune.base.trial import Segment, SegmentResult, Value
from hptune.experiment.defaults import fill
from hptune.experiment.experiment import Experiment
from hptune.experiment.model import SklearnModel
from hptune.experiment.recipe import resolve
from hptune.experiment.space.space import Space
from hptune.run.rundir import RunPaths
from hptune.training import reasons, runtime
from hptune.training.data import Data, Part, facts
from hptune.training.data.arrays import Array
from hptune.training.data.store.shared import SharedData
from hptune.training.export.signature import signature_of, write_signature
from hptune.training.export.skops_types import strange_types, trust_note
from hptune.training.models import estimators
from hptune.training.models.estimators import Estimator
from hptune.training.trainers.points import points
from hptune.training.trainers.samples import Samples
from hptune.training.trainers.trainer import OnEpoch

_WEIGHTS_OF_STEPS = (
    "sample weights go to the pipeline's last step alone, as in scikit-learn; {steps} could take them too and gets none"
)


class SklearnTrainer:
    """Fits in one thread, so that results are the same in one worker and in many.

    Samples of several dimensions (pictures) are flattened. Numbers stay as they are unless the YAML gives `data.scale`:
    a pipeline brings its own scaling, and trees need none.
    """

    def __init__(self, experiment: Experiment, folder: Path, run: RunPaths, shared: SharedData | None = None) -> None:
        import sklearn  # noqa: F401  # loaded before a segment's time counts

        assert experiment.data is not None, "the spec's check asks for data"
        if experiment.data.picture is not None:  # decoded by TensorFlow
            runtime.start()
        assert isinstance(experiment.model, SklearnModel)
        assert experiment.evaluation.folds is not None, "filled in with the spec"
        self._model = experiment.model
        self._folds = experiment.evaluation.folds
        if experiment.data.scale == "auto":
            plain = experiment.data.model_copy(update={"scale": "none"})
            experiment = experiment.model_copy(update={"data": plain})
        self._before_defaults = experiment
        self._folder = folder
        self._run = run
        self._samples = Samples(experiment, folder, shared=shared, cache=run.data)

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment with the defaults that depend on the data."""
        return fill(self._before_defaults, task=self._samples.data(0).task)

    @property
    def scorers(self) -> list[str]:
        """The scorers to measure: the objectives, and the usual one of the task."""
        common = {"classes": ["accuracy"], "labels": ["accuracy"], "regression": ["r2"]}[self._samples.data(0).task]
        asked = [objective.metric for objective in self.experiment.objectives if objective.metric != "seconds"]
        return list(dict.fromkeys([*asked, *common]))

    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        """As in `Trainer`. A segment fits one fold; the final trainings fit all but the test part."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        started = time.perf_counter()
        with threadpool_limits(1):
            if segment.purpose == "probe":
                learnt = self._probe()
                return SegmentResult(segment, 0, {}, time.perf_counter() - started, facts=learnt)
            with generators.begun(self._seed(segment)):  # for estimators that draw when made or when predicting
                if segment.purpose in ("best", "baseline"):
                    learnt = self._fit_in_full(segment)
                    return SegmentResult(segment, 1, {}, time.perf_counter() - started, ended=True, facts=learnt)
                scores = self._fit_fold(segment)
        if on_epoch is not None:
            on_epoch(segment, 1, scores)
        curves = {name: (score,) for name, score in scores.items()}
        return SegmentResult(segment, 1, curves, time.perf_counter() - started, ended=True)

    def _fit_fold(self, segment: Segment) -> dict[str, float]:
        data = self._samples.data(segment.replica % self._folds)
        return measured(
            self._fitted(segment, data.train, data.labels), data.validation, scorers=self.scorers, labels=data.labels
        )

    @counts("train")
    def _fitted(self, segment: Segment, train: Part, labels: Labels) -> Estimator:
        model = resolve(self.experiment, segment.values).model
        assert isinstance(model, SklearnModel)
        estimator = estimators.build(model, self._folder)

        estimator = estimators.seeded(estimator, lambda name: self._seed(segment, name))
        weights: dict[str, Any] = {}
        if train.sample_weight is not None:
            keyword = estimators.weights_keyword(estimator)
            if keyword is None:
                last = getattr(estimator, "steps", [(None, estimator)])[-1][1]
                raise SegmentFailed(f"{type(last).__name__} takes no sample weights; choose one that does")
            weights[keyword] = train.sample_weight
        wanted = target(train, labels if takes_labels(estimator) else None)
        with (
            surroundings.only_this_process(),
            generators.begun(self._seed(segment)),
        ):  # for estimators without random_state
            return estimator.fit(table(train), wanted, **weights)

    def _seed(self, segment: Segment, name: str = "") -> int:
        """The seed of an estimator, or of its parameter of this name."""
        return seeds.derive(self.experiment.seed, "estimator", dict(segment.values), segment.replica, name)

    # --- train-best ---------------------------------------------------------------------------------------------

    def _fit_in_full(self, segment: Segment) -> dict[str, Any]:
        """Fit on all but the test part, measure on that part, and for the winner write `best/model.skops`."""
        data = self._samples.joined()
        estimator = self._fitted(segment, data.train, data.labels)
        learnt: dict[str, Any] = {}
        if data.test is not None:
            learnt["test"] = measured(estimator, data.test, scorers=self.scorers, labels=data.labels)
            if data.task == "regression":
                learnt["test"]["mae"] = _mean_absolute_error(estimator, data.test)
        if segment.purpose == "best":
            learnt["model"] = str(save(self._run, estimator))
            if (note := trust_note(strange_types(self._run.best_estimator))) is not None:
                learnt["note"] = note
            write_signature(self._run, signature_of(self.experiment, data, raw=False))
        return learnt

    # --- probe --------------------------------------------------------------------------------------------------

    def _probe(self) -> dict[str, Any]:
        """Facts for the journal's head, after everything that can be checked before trial 1 was checked."""
        estimators.check(self._model, self._folder)
        data = self._samples.data(0)
        if not isinstance(data.train.x, np.ndarray):
            problem = "a scikit-learn model takes samples in memory, as one array. Say stream: false where they fit"
            raise spec_error(f"{problem}, or limit: 100000.", "data")
        self._check_task(data)
        self._check_scorers(data)
        learnt = facts(data)
        steps = estimators.steps_without_weights(self._any_estimator()) if data.train.sample_weight is not None else ()
        if steps:
            learnt["notes"] = [*learnt.get("notes", ()), _WEIGHTS_OF_STEPS.format(steps=", ".join(steps))]
        return learnt

    def _check_task(self, data: Data) -> None:
        """Check that a classifier gets classes, and a regressor numbers."""
        from sklearn.base import is_classifier, is_regressor

        estimator = self._any_estimator()
        if data.task == "regression" and is_classifier(estimator):
            raise spec_error(f"{_name(estimator)} tells classes apart, and the target is numbers.", "model", "sklearn")
        if data.task != "regression" and is_regressor(estimator):
            raise spec_error(f"{_name(estimator)} predicts numbers, and the target is classes.", "model", "sklearn")
        if data.task == "classes" and takes_labels(estimator) and not is_classifier(estimator):
            problem = f"{_name(estimator)} is no classifier: what it answers is none of the target's classes."
            raise spec_error(f"{problem} Choose a classifier.", "model", "sklearn")

    def _any_estimator(self) -> Estimator:
        """The estimator at the defaults, or else at another point. Raises SpecError where all of them are refused."""
        failures: list[str] = []
        for values in points(Space(self.experiment.search_space), seed=self.experiment.seed):
            model = resolve(self.experiment, values).model
            assert isinstance(model, SklearnModel)
            try:
                estimator = estimators.build(model, self._folder)
                estimators.check_values(estimator)
                return estimator
            except SpecError:
                raise
            except Exception as error:  # noqa: BLE001  # an estimator's constructor raises anything; it is reported below
                where = reasons.place(error, self._folder)
                problem = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
                failures.append(f"{problem} ({where})" if where else problem)
        raise spec_error(f"{failures[0].rstrip('.')}. Fix the parameters, or narrow the search space.", "model")

    def _check_scorers(self, data: Data) -> None:
        """Check that each scorer can score this target, on a model that has learnt nothing."""
        from sklearn.dummy import DummyClassifier, DummyRegressor

        dummy = DummyRegressor() if data.task == "regression" else DummyClassifier(strategy="prior")
        dummy.fit(table(data.train), target(data.train, data.labels))
        for i, objective in enumerate(self.experiment.objectives):
            place = (i,) if isinstance(self.experiment.objective, list) else ()
            if objective.metric == "seconds":
                continue
            try:
                measured(dummy, data.validation, scorers=[objective.metric], labels=data.labels)
            except ValueError as error:
                problem = f"{objective.metric} can't score this target: {str(error).splitlines()[0]}"
                raise spec_error(
                    f"{problem.rstrip('.')}. Choose another scorer.", "objective", *place, "metric"
                ) from error


def table(part: Part) -> Array:
    """The samples as scikit-learn takes them: [n, columns]."""
    flat: Array = part.x.reshape(len(part), -1)
    return flat


Labels: TypeAlias = tuple[Value, ...] | None


def takes_labels(estimator: Estimator) -> bool:
    """Whether the estimator gets classes as the source spells them: scikit-learn's own take any labels, others may need
    numbers from 0 on.
    """
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    return type(last).__module__.partition(".")[0] == "sklearn"


def target(part: Part, labels: Labels = None) -> Array:
    """The target as scikit-learn takes it: the class of each sample [n] (its index, without `labels` and where
    these are no whole numbers), 0 and 1 [n, labels], or numbers [n] or [n, outputs].
    """
    names = _spelled(labels) if part.y.ndim == 1 else None
    return part.y if names is None else names[part.y]


def _spelled(labels: Labels) -> Array | None:
    """The labels as an array; None where there are none, where scikit-learn doesn't take them for classes (0.5, 1e300,
    …), or where they are not in its order, the alphabet's.
    """
    names = np.array(labels) if labels is not None else np.empty(0)
    if names.dtype.kind != "O" and (names[:-1] > names[1:]).any():
        return None
    if names.dtype.kind == "f" and ((names != np.floor(names)) | (np.abs(names) >= 2.0**53)).any():
        return None
    return None if labels is None or names.dtype.kind == "O" else names


def measured(estimator: Estimator, part: Part, *, scorers: list[str], labels: Labels = None) -> dict[str, float]:
    """Each scorer's value on the part: on the classes as the source spells them where they are numbers. Texts count by
    their order, so that of two the second is the positive class of `f1` and the like.
    """
    from sklearn.metrics import get_scorer

    x, y = table(part), target(part)
    names = _spelled(labels) if y.ndim == 1 and takes_labels(estimator) else None
    if names is not None and names.dtype.kind in "iuf":
        y = names[y]
    elif names is not None:
        estimator = Numbered(estimator, names)
    return {name: float(get_scorer(name)(estimator, x, y)) for name in scorers}


class Numbered:
    """A fitted classifier that predicts the numbers of its classes. labels: the classes, sorted."""

    def __init__(self, estimator: Estimator, labels: Array) -> None:
        self._estimator, self._labels = estimator, labels
        self.classes_ = np.searchsorted(labels, estimator.classes_)

    def predict(self, x: Array) -> Array:
        """The numbers of the predicted classes [n], for samples x [n, columns]."""
        numbers: Array = np.searchsorted(self._labels, self._estimator.predict(x))
        return numbers

    def __getattr__(self, name: str) -> Any:  # its probabilities, its tags
        return getattr(self._estimator, name)


def _mean_absolute_error(estimator: Estimator, part: Part) -> float:
    from sklearn.metrics import mean_absolute_error

    return float(mean_absolute_error(target(part), estimator.predict(table(part))))


def _name(estimator: Estimator) -> str:
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__


def save(run: RunPaths, estimator: Estimator) -> Path:
    """Write a skops file into the winner's folder, whole or not at all; returns its place. Raises RunError."""
    from skops import io

    if (year := time.localtime().tm_year) < 1980:
        problem = f"{run.best_estimator} can't be written: it is a ZIP file, which holds no time before 1980"
        raise RunError(f"{problem}, and the clock stands in {year}. Set it, then: hptune train-best --run {run.name}.")
    with files.whole_file(run.best_estimator, below=run.runs) as file:
        file.write(io.dumps(estimator))
    return run.in_place(run.best_estimator)
