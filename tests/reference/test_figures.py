"""Test figures and folds' scores beside scikit-learn's own metrics, over models fitted on plainly read files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hptune.base.trial import Segment

from . import asked, plain
from .differences import close
from .draw import SIZES, Array, cases, floats, folder
from .winners import of_keras, of_sklearn, worker

ROWS = 90
SCALER = "sklearn.preprocessing.StandardScaler"


def table(drawn: list[Array], seed: int) -> pd.DataFrame:
    """Columns of any size, and targets of every task that depend on them."""
    frame = asked.with_rows(pd.DataFrame({f"c{i}": column for i, column in enumerate(drawn)}))
    z = np.stack([plain.standardised(column, np.arange(ROWS)) for column in drawn]).sum(0).astype(float)
    noise = np.random.default_rng(seed).normal(size=ROWS)
    score = z + noise
    return frame.assign(
        number=score,
        other=noise - z,
        name=np.array(["low", "mid", "top"])[np.digitize(score, np.quantile(score, [0.4, 0.7]))],
        on=(score > 0).astype(int),
        off=(noise > z).astype(int),
    )


FEATURES = ["row", "c0", "c1"]
DRAWN = st.lists(floats(ROWS, SIZES, (0.0, 1.0, -1e3), False), min_size=2, max_size=2)
SPLIT = {"test": 0.25}

CLASSES = ["accuracy", "balanced_accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr"]
NUMBERS = ["r2", "neg_mean_absolute_error", "neg_root_mean_squared_error", "explained_variance", "neg_max_error"]
LABELS = ["accuracy", "f1_samples", "f1_micro"]

TASKS: dict[str, tuple[Any, str, Any, list[str]]] = {
    "classes": (
        "name",
        f"[{SCALER}, {{sklearn.linear_model.LogisticRegression: {{C: $v}}}}]",
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.01)),
        CLASSES,
    ),
    "regression": (
        "number",
        f"[{SCALER}, {{sklearn.linear_model.Ridge: {{alpha: $v}}}}]",
        lambda: make_pipeline(StandardScaler(), Ridge(alpha=0.01)),
        NUMBERS,
    ),
    "several numbers": (
        ["number", "other"],
        f"[{SCALER}, {{sklearn.linear_model.Ridge: {{alpha: $v}}}}]",
        lambda: make_pipeline(StandardScaler(), Ridge(alpha=0.01)),
        NUMBERS[:4],
    ),
    "labels": (
        ["on", "off"],
        f"[{SCALER}, {{sklearn.multioutput.MultiOutputClassifier: "
        "{estimator: {sklearn.linear_model.LogisticRegression: {C: $v}}}}]",
        lambda: make_pipeline(StandardScaler(), MultiOutputClassifier(LogisticRegression(C=0.01))),
        LABELS,
    ),
}


@cases(2, shrink=False)
@given(drawn=DRAWN, seed=st.integers(0, 2**32), kind=st.sampled_from(["csv", "parquet", "jsonl"]))
@pytest.mark.parametrize("task", TASKS)
def test_what_scikit_learn_s_winner_scores_on_the_test_part(
    task: str, drawn: list[Array], seed: int, kind: str
) -> None:
    target, model, plainly, scorers = TASKS[task]
    with folder() as where:
        options = {**asked.written(where, kind, table(drawn, seed)), "target": target, "features": FEATURES, **SPLIT}
        objectives = ", ".join(f"{{metric: {one}, goal: maximize}}" for one in scorers)
        found = of_sklearn(where, options, model, f"objective: [{objectives}]").facts["test"]
        rows = asked.joined(where, {**options, "scale": "none"}, rows=ROWS).rows
        read = asked.plainly(where, kind)
    x, y = read[FEATURES].to_numpy(), read[target].to_numpy()
    fitted = plainly().fit(x[rows["train"]], y[rows["train"]])
    for name in scorers:
        wanted = get_scorer(name)(fitted, x[rows["test"]], y[rows["test"]])
        close("figures", "sklearn.metrics", found[name], wanted, within=1e-9)
    if task in ("regression", "several numbers"):
        wanted = metrics.mean_absolute_error(y[rows["test"]], fitted.predict(x[rows["test"]]))
        close("figures", "sklearn.metrics", found["mae"], wanted, within=1e-9)


@cases(1, shrink=False)
@given(drawn=DRAWN, seed=st.integers(0, 2**32), folds=st.sampled_from([3, 5]))
@pytest.mark.parametrize("task", ["classes", "regression"])
def test_what_a_fold_scores(task: str, drawn: list[Array], seed: int, folds: int) -> None:
    target, model, plainly, scorers = TASKS[task]
    with folder() as where:
        options = {**asked.written(where, "csv", table(drawn, seed)), "target": target, "features": FEATURES, **SPLIT}
        objectives = ", ".join(f"{{metric: {one}, goal: maximize}}" for one in scorers)
        more = f"objective: [{objectives}]\nevaluation: {{folds: {folds}}}"
        trainer = worker(where, options, f"{{sklearn: {model}}}", more)
        told = [trainer.run(Segment(0, {"v": 0.01}, to_epoch=1, replica=fold)).curves for fold in range(folds)]
        rows = [one.rows for one in asked.folds(where, options, rows=ROWS, count=folds)]
        read = asked.plainly(where, "csv")
    x, y = read[FEATURES].to_numpy(), read[target].to_numpy()
    for curves, parts in zip(told, rows, strict=True):
        fitted = plainly().fit(x[parts["train"]], y[parts["train"]])
        for name in scorers:
            wanted = get_scorer(name)(fitted, x[parts["validation"]], y[parts["validation"]])
            close("figures", "sklearn.metrics", curves[name], (wanted,), within=1e-9)


def test_weights_count_in_the_fit_and_not_in_the_figures(tmp_path: Path) -> None:
    frame = table([np.random.default_rng(i).normal(size=ROWS) for i in range(2)], 0)
    frame["w"] = np.random.default_rng(3).lognormal(size=ROWS)
    options = {**asked.written(tmp_path, "csv", frame), "target": "name", "features": FEATURES, "sample_weight": "w"}
    model = "sklearn.neighbors.KNeighborsClassifier, params: {n_neighbors: $v}"
    import re

    from hptune.base.errors import SegmentFailed

    with pytest.raises(SegmentFailed, match=re.escape("takes no sample weights")):
        of_sklearn(tmp_path, options, model, value=3)
    model = "sklearn.linear_model.LogisticRegression, params: {C: $v}"
    found = of_sklearn(tmp_path, {**options, "class_weight": "balanced"}, model, value=1.0).facts["test"]
    rows = asked.joined(tmp_path, {**options, "scale": "none"}, rows=ROWS).rows
    read = asked.plainly(tmp_path, "csv")
    train, test = read.iloc[rows["train"]], read.iloc[rows["test"]]
    plainly = LogisticRegression(C=1.0, class_weight="balanced")
    plainly.fit(train[FEATURES].to_numpy(), train["name"], sample_weight=train["w"])
    wanted = metrics.accuracy_score(test["name"], plainly.predict(test[FEATURES].to_numpy()))
    close("figures", "sklearn.metrics", found["accuracy"], wanted, within=1e-12)


@cases(1, shrink=False)
@given(drawn=DRAWN, seed=st.integers(0, 2**32))
def test_neighbours_of_columns_as_they_are(drawn: list[Array], seed: int) -> None:
    """Without a scaler every digit counts."""
    with folder() as where:
        options = {**asked.written(where, "csv", table(drawn, seed)), "target": "name", "features": FEATURES, **SPLIT}
        found = of_sklearn(
            where, options, "sklearn.neighbors.KNeighborsClassifier, params: {n_neighbors: $v}", value=3
        ).facts["test"]
        rows = asked.joined(where, {**options, "scale": "none"}, rows=ROWS).rows
        read = asked.plainly(where, "csv")
    x, y = read[FEATURES].to_numpy(), read["name"].to_numpy()
    fitted = KNeighborsClassifier(3).fit(x[rows["train"]], y[rows["train"]])
    wanted = metrics.accuracy_score(y[rows["test"]], fitted.predict(x[rows["test"]]))
    close("figures", "sklearn.metrics", found["accuracy"], wanted, within=1e-12)


# --- Keras's own names for them --------------------------------------------------------------------------------------

OF_KERAS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "regression": (
        "number",
        "[mae, mse, r2_score, RootMeanSquaredError]",
        {
            "mae": metrics.mean_absolute_error,
            "mse": metrics.mean_squared_error,
            "r2_score": metrics.r2_score,
            "RootMeanSquaredError": metrics.root_mean_squared_error,
        },
    ),
    "classes": (
        "name",
        "[accuracy, SparseCategoricalCrossentropy]",
        {
            "accuracy": lambda y, p: metrics.accuracy_score(y, p.argmax(1)),
            "SparseCategoricalCrossentropy": lambda y, p: metrics.log_loss(y, p / p.sum(1, keepdims=True)),
            "loss": lambda y, p: metrics.log_loss(y, p / p.sum(1, keepdims=True)),
        },
    ),
    "labels": (
        ["on", "off"],
        "[binary_accuracy, F1Score: {average: macro, threshold: 0.5}]",
        {
            "binary_accuracy": lambda y, p: np.mean((p > 0.5) == y),
            "f1_score": lambda y, p: metrics.f1_score(y, p > 0.5, average="macro", zero_division=0),
        },
    ),
}


@pytest.mark.parametrize("task", OF_KERAS)
def test_what_keras_s_winner_scores_on_the_test_part(task: str, tmp_path: Path) -> None:
    """Of the file that users get, loaded plainly, over the rows of the file as pandas reads them."""
    target, names, wanted = OF_KERAS[task]
    frame = table([np.random.default_rng(i).normal(size=ROWS) * 10**i for i in range(2)], 0)
    options = {**asked.written(tmp_path, "csv", frame), "target": target, "features": FEATURES, **SPLIT}
    found = of_keras(tmp_path, options, metrics=names)
    rows = asked.loaded(tmp_path, options, rows=ROWS).rows["test"]
    read = asked.plainly(tmp_path, "csv").iloc[rows]
    outputs = np.asarray(
        found.model().predict_on_batch({name: read[[name]].to_numpy() for name in FEATURES}), np.float64
    )
    y = read[target].to_numpy()
    if task == "classes":
        y = np.searchsorted(["low", "mid", "top"], y)
    for name, scored in wanted.items():
        assert name in found.facts["test"], found.facts["test"]
        told = found.facts["test"][name]
        close("figures", "sklearn.metrics on model.keras", told, scored(y, outputs), unit=max(1, told), within=1e-5)


@pytest.mark.parametrize("far", [1e4, 1e6])
def test_figures_of_a_target_far_from_nought(tmp_path: Path, far: float) -> None:
    frame = table([np.random.default_rng(i).normal(size=ROWS) for i in range(2)], 0)
    frame["number"] += far
    options = {**asked.written(tmp_path, "csv", frame), "target": "number", "features": FEATURES, **SPLIT}
    found = of_keras(tmp_path, options, metrics="[mae, r2_score]", epochs=4)
    rows = asked.loaded(tmp_path, options, rows=ROWS).rows["test"]
    read = asked.plainly(tmp_path, "csv").iloc[rows]
    outputs = found.model().predict_on_batch({name: read[[name]].to_numpy() for name in FEATURES})
    y, deviation = read["number"].to_numpy(), frame["number"].std()
    mae = metrics.mean_absolute_error(y, np.asarray(outputs, np.float64)[:, 0])
    r2 = metrics.r2_score(y, np.asarray(outputs, np.float64)[:, 0])
    close("figures", "sklearn.metrics on model.keras", found.facts["test"]["mae"], mae, unit=deviation, within=1e-5)
    close("figures", "sklearn.metrics on model.keras", found.facts["test"]["r2_score"], r2, within=1e-4)


@pytest.mark.parametrize("size", [1e-15, 1e-12, 1e12, 1e14])
def test_figures_of_a_target_of_any_size(tmp_path: Path, size: float) -> None:
    frame = table([np.random.default_rng(i).normal(size=ROWS) for i in range(2)], 0)
    frame["number"] *= size
    options = {**asked.written(tmp_path, "csv", frame), "target": "number", "features": FEATURES, **SPLIT}
    found = of_keras(tmp_path, options, metrics="[mae, r2_score]")
    rows = asked.loaded(tmp_path, options, rows=ROWS).rows["test"]
    read = asked.plainly(tmp_path, "csv").iloc[rows]
    outputs = found.model().predict_on_batch({name: read[[name]].to_numpy() for name in FEATURES})
    y = read["number"].to_numpy()
    mae = metrics.mean_absolute_error(y, np.asarray(outputs, np.float64)[:, 0])
    r2 = metrics.r2_score(y, np.asarray(outputs, np.float64)[:, 0])
    close("figures", "sklearn.metrics on model.keras", found.facts["test"]["mae"], mae, unit=size, within=1e-5)
    close("figures", "sklearn.metrics on model.keras", found.facts["test"]["r2_score"], r2, within=1e-4)
