"""Write `hptune/training/export/known_types.txt`: the types that files of scikit-learn's own estimators hold.

`hptune predict` makes these of a `model.skops` and nothing else that its user has not named. Every estimator of the
installed scikit-learn that may stand in an experiment is fitted, under options that change what it keeps, and saved:
what the files hold is the list. Run it after raising scikit-learn, and look through what is new:

    python scripts/known_types.py

A test saves every estimator again and asks that its file needs nothing else.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import (
    calibration,
    feature_selection,
    linear_model,
    metrics,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
)
from sklearn.ensemble import BaggingClassifier, GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.ensemble import HistGradientBoostingClassifier as HistClassifier
from sklearn.ensemble import HistGradientBoostingRegressor as HistRegressor
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401  # named by this
from sklearn.gaussian_process import GaussianProcessRegressor, kernels
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances
from skops import io
from skops.io import _trusted_types

from hptune.training.export.skops_types import types_in

FILE = Path(__file__).parent.parent / "hptune" / "training" / "export" / "known_types.txt"

X = np.abs(np.random.RandomState(0).normal(size=(60, 4))) + 0.1
_CLASSES = np.arange(60) % 3
TARGETS = (
    _CLASSES,
    X @ [1.0, 2.0, 3.0, 4.0],
    _CLASSES % 2,
    np.stack([_CLASSES % 2, _CLASSES // 2], axis=1),
    X[:, :2],
    np.array(["a", "b", "c"])[_CLASSES],
)

UFUNCS = sorted({f.__name__ for f in vars(np).values() if isinstance(f, np.ufunc) and (f.nin, f.nout) == (1, 1)})
"""numpy's functions of one number: what `FunctionTransformer` and transformed targets are given. They only compute."""

_NOT_SAVED = {"Birch", "FrozenEstimator"}
"""What skops can't save, and what is made of a fitted estimator."""


def plain() -> Iterator[Any]:
    """Every estimator that predicts or transforms, as scikit-learn's own checks make it."""
    for name, kind in all_estimators():
        if name not in _NOT_SAVED and (hasattr(kind, "predict") or hasattr(kind, "transform")):
            yield from _construct_instances(kind)


def _others() -> Iterator[Any]:
    """Options under which an estimator keeps other helpers."""
    for metric in (
        "euclidean",
        "manhattan",
        "chebyshev",
        "minkowski",
        "hamming",
        "canberra",
        "braycurtis",
        "haversine",
    ):
        for algorithm in ("brute", "kd_tree", "ball_tree"):
            yield neighbors.KNeighborsClassifier(algorithm=algorithm, metric=metric, p=3)
            yield neighbors.RadiusNeighborsRegressor(algorithm=algorithm, metric=metric, radius=9.0)
    for solver in ("sgd", "adam", "lbfgs"):
        yield neural_network.MLPClassifier((3,), solver=solver, max_iter=3)
    for loss in ("squared_error", "absolute_error", "gamma", "poisson", "quantile"):
        yield HistRegressor(loss=loss, quantile=0.5, max_iter=2)
    yield HistClassifier(max_iter=2, early_stopping=True)
    yield HistClassifier(max_iter=2, categorical_features=[0])
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        yield GradientBoostingRegressor(loss=loss, n_estimators=2)
    for loss in ("log_loss", "exponential"):
        yield GradientBoostingClassifier(loss=loss, n_estimators=2)
        yield GradientBoostingClassifier(loss=loss, n_estimators=2, init="zero")
    for power in (0, 1, 1.5, 2, 3):
        for link in ("identity", "log"):
            yield linear_model.TweedieRegressor(power=power, link=link)
    for loss in ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "squared_error", "huber"):
        yield linear_model.SGDClassifier(loss=loss, max_iter=5)
        yield linear_model.SGDClassifier(loss=loss, max_iter=5, average=True, early_stopping=True)
    for loss in ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"):
        yield linear_model.SGDRegressor(loss=loss, max_iter=5)
    for kernel in _kernels():
        yield GaussianProcessRegressor(kernel=kernel, optimizer=None)
    for name in ("f_classif", "f_regression", "chi2", "mutual_info_classif", "mutual_info_regression", "r_regression"):
        yield feature_selection.SelectKBest(getattr(feature_selection, name), k=2)
    for scorer in metrics.get_scorer_names():
        yield GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1]}, scoring=scorer, cv=2, error_score=0.0)
        yield GridSearchCV(linear_model.Ridge(), {"alpha": [1.0]}, scoring=scorer, cv=2, error_score=0.0)
    yield pipeline.make_pipeline(preprocessing.StandardScaler(), svm.SVC(probability=True, kernel="rbf"))
    yield pipeline.make_pipeline(preprocessing.OneHotEncoder(), linear_model.LogisticRegression())
    yield BaggingClassifier(svm.LinearSVC(), n_estimators=2)
    for method in ("sigmoid", "isotonic", "temperature"):
        yield calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=2, method=method)
    for name in UFUNCS:
        yield preprocessing.FunctionTransformer(getattr(np, name))
    for average in ParameterGrid({"encode": ["onehot", "ordinal"], "strategy": ["uniform", "quantile", "kmeans"]}):
        yield preprocessing.KBinsDiscretizer(n_bins=3, **average)


def _kernels() -> Iterator[Any]:
    yield from (kernels.RBF(), kernels.Matern(), kernels.RationalQuadratic(), kernels.ExpSineSquared())
    yield from (kernels.DotProduct(), kernels.PairwiseKernel(), kernels.RBF() + kernels.WhiteKernel())
    yield from (kernels.ConstantKernel() * kernels.RBF(), kernels.Exponentiation(kernels.RBF(), 2))
    yield kernels.CompoundKernel([kernels.RBF(), kernels.WhiteKernel()])


def fitted() -> Iterator[Any]:
    """Each estimator, fitted to every target that it takes."""
    for estimators, targets in ((plain(), TARGETS), (_others(), TARGETS[:2])):
        for one in estimators:
            for y in targets:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        yield one.fit(X, y)
                    except Exception:  # noqa: BLE001  # not for this estimator: they raise anything
                        continue


def types(estimator: Any) -> frozenset[str]:
    """What the estimator's file holds."""
    with tempfile.NamedTemporaryFile(suffix=".skops") as file:
        io.dump(estimator, file.name)
        return types_in(Path(file.name))


def found() -> frozenset[str]:
    """What all the files hold, every estimator and type of number included."""
    plain_types = (*_trusted_types.PRIMITIVE_TYPE_NAMES, *_trusted_types.NUMPY_DTYPE_TYPE_NAMES)
    return frozenset().union(plain_types, _trusted_types.SKLEARN_ESTIMATOR_TYPE_NAMES, *map(types, fitted()))


def main() -> None:
    names = found()
    FILE.write_text("\n".join(sorted(names)) + "\n", encoding="utf-8")
    print(f"{len(names)} types in {FILE}")


if __name__ == "__main__":
    main()
