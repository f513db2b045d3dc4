"""What `hptune predict` prints, beside the same model fitted or run plainly on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from hptune.base.errors import SpecError

from . import asked, plain
from .differences import close, same
from .draw import ENDS, FAR, NAMES, Array, cases, columns, floats, folder, texts
from .winners import of_keras, of_sklearn

ROWS = 60
AREA = "predictions"
FEATURES = ["row", "c0", "c1"]
SCALER = "sklearn.preprocessing.StandardScaler"


def table(drawn: list[Array], **targets: Any) -> pd.DataFrame:
    frame = asked.with_rows(pd.DataFrame({f"c{i}": column for i, column in enumerate(drawn)}))
    return frame.assign(**targets)


def score(seed: int) -> Array:
    return np.asarray(np.sin(np.arange(ROWS) / 9) + np.random.default_rng(seed).normal(size=ROWS))


DRAWN = columns(ROWS, 2, 2)


@cases(2, shrink=False)
@given(
    drawn=DRAWN,
    seed=st.integers(0, 2**32),
    names=st.lists(NAMES, min_size=3, max_size=3, unique=True),
    kind=st.sampled_from(["csv", "parquet", "jsonl"]),
)
def test_classes_of_scikit_learn(drawn: list[Array], seed: int, names: list[str], kind: str) -> None:
    y = np.array(names, object)[np.digitize(score(seed), [-0.5, 0.5])]
    assume(all((y == name).sum() > 5 for name in names))
    with folder() as where:
        options = {**asked.written(where, kind, table(drawn, y=y)), "target": "y", "task": "classes", "test": 0}
        found = of_sklearn(where, options, f"[{SCALER}, {{sklearn.linear_model.LogisticRegression: {{C: $v}}}}]")
        labels, shares = found.told(where / f"t.{kind}")
        read = asked.plainly(where, kind, **({"dtype": {"y": str}} if kind == "csv" else {}))
    x, y = read[FEATURES].to_numpy(), read["y"].to_numpy().astype(str)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.01)).fit(x, y)
    wanted = fitted.predict_proba(x)
    close(AREA, "scikit-learn predict_proba", shares, wanted, within=1e-4)
    clear = np.abs(np.diff(np.sort(wanted, axis=1)[:, -2:], axis=1))[:, 0] > 1e-3
    same(AREA, "scikit-learn predict", np.array(labels, object)[clear], fitted.predict(x)[clear])


@cases(2, shrink=False)
@given(drawn=DRAWN, y=floats(ROWS, range(-150, 150), FAR, False), kind=st.sampled_from(["csv", "parquet", "jsonl"]))
def test_numbers_of_scikit_learn(drawn: list[Array], y: Array, kind: str) -> None:
    """In all digits: of targets of any size, and far from 0."""
    with folder() as where:
        options = {**asked.written(where, kind, table(drawn, y=y)), "target": "y", "task": "regression", "test": 0}
        found = of_sklearn(where, options, f"[{SCALER}, {{sklearn.linear_model.Ridge: {{alpha: $v}}}}]")
        told, _ = found.told(where / f"t.{kind}")
        read = asked.plainly(where, kind)
    x = read[FEATURES].to_numpy()
    wanted = make_pipeline(StandardScaler(), Ridge(alpha=0.01)).fit(x, read["y"].to_numpy()).predict(x)
    close(AREA, "scikit-learn predict", np.array(told, float), wanted, unit=np.abs(wanted).max(), within=1e-12)


@cases(2, shrink=False)
@given(named=texts(ROWS), seed=st.integers(0, 2**32), kind=st.sampled_from(["csv", "parquet", "jsonl"]))
def test_categories_with_strange_names(named: Array, seed: int, kind: str) -> None:
    y = score(seed) + (named == named[0])
    with folder() as where:
        options = {
            **asked.written(where, kind, table([named], y=y)),
            **{"target": "y", "task": "regression", "test": 0, "columns": {"c0": "category"}},
        }
        found = of_sklearn(where, options, "sklearn.linear_model.Ridge, params: {alpha: $v}")
        told, _ = found.told(where / f"t.{kind}")
        read = asked.plainly(where, kind, **({"dtype": {"c0": str}} if kind == "csv" else {}))
    made = ColumnTransformer([("row", "passthrough", ["row"]), ("c0", OneHotEncoder(sparse_output=False), ["c0"])])
    fitted = make_pipeline(made, Ridge(alpha=0.01)).fit(read, read["y"])
    close(AREA, "scikit-learn predict", np.array(told, float), fitted.predict(read), within=1e-10)


@cases(2, shrink=False)
@given(number=st.sampled_from(ENDS), seed=st.integers(0, 2**32), kind=st.sampled_from(["csv", "parquet", "npz"]))
def test_labels_at_the_ends_of_their_type(number: Any, seed: int, kind: str) -> None:
    end = np.iinfo(number)
    ids = np.array([end.min, end.max - 1, end.max], number)
    which = np.digitize(score(seed), [-0.5, 0.5])
    x = which + np.arange(ROWS) / 1000
    with folder() as where:
        if kind == "npz":
            np.savez(where / "t.npz", x=x, y=ids[which])
            options: dict[str, Any] = {"npz": "t.npz"}
        else:
            options = {**asked.written(where, kind, pd.DataFrame({"x": x, "y": ids[which]})), "target": "y"}
        model = "sklearn.tree.DecisionTreeClassifier, params: {max_depth: $v}"
        found = of_sklearn(where, {**options, "task": "classes", "test": 0}, model, value=4)
        told, _ = found.told(where / f"t.{kind}")
    plainly = DecisionTreeClassifier(max_depth=4).fit(x[:, None], ids[which]).predict(x[:, None])
    same(AREA, "scikit-learn predict", told, [str(one) for one in plainly.tolist()])


def test_labels_of_which_several_hold(tmp_path: Path) -> None:
    y = np.stack([score(0) > 0, score(1) > 0.5], axis=1).astype(int)
    drawn = [score(2) + y[:, 0], score(3)]
    named = asked.written(tmp_path, "csv", table(drawn, on=y[:, 0], off=y[:, 1]))
    options = {**named, "target": ["on", "off"], "test": 0}
    one = "{sklearn.linear_model.LogisticRegression: {C: $v}}"
    model = f"sklearn.multioutput.MultiOutputClassifier, params: {{estimator: {one}}}"
    told, shares = of_sklearn(tmp_path, options, model).told(tmp_path / "t.csv")
    read = asked.plainly(tmp_path, "csv")
    x = read[FEATURES].to_numpy()
    fitted = MultiOutputClassifier(LogisticRegression(C=0.01)).fit(x, y)
    wanted = [";".join(name for name, on in zip(("on", "off"), row, strict=True) if on) for row in fitted.predict(x)]
    same(AREA, "scikit-learn predict", told, wanted)
    proba = np.stack([one[:, 1] for one in fitted.predict_proba(x)], axis=1)
    close(AREA, "scikit-learn predict_proba", shares, proba, within=1e-9)


# --- Keras -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classes", "two classes", "regression", "several numbers", "labels"])
def test_what_is_printed_is_what_the_file_says(task: str, tmp_path: Path) -> None:
    """`model.keras` on raw rows: its numbers in all digits of float32, and the label that they mean."""
    names = np.array(["low", "mid", "top"], object)
    codes = np.digitize(score(0), [-0.5, 0.5])
    targets: dict[str, dict[str, Any]] = {
        "classes": {"y": names[codes]},
        "two classes": {"y": names[(codes > 0) * 2]},
        "regression": {"y": score(1) * 1e-7},
        "several numbers": {"y": score(1) * 1e5, "z": score(2) - 30},
        "labels": {"y": (codes > 0).astype(int), "z": (codes > 1).astype(int)},
    }
    columns_ = targets[task]
    frame = table([score(4) * 1e-12, score(5) + 1e6], **columns_)
    options = {
        **asked.written(tmp_path, "csv", frame),
        **{"target": [*columns_] if len(columns_) > 1 else "y", "features": FEATURES},
    }
    layers = "[Dense: {units: 1, activation: sigmoid}]" if task == "two classes" else "[Output]"
    found = of_keras(tmp_path, options, layers, epochs=1)
    told, numbers = found.told(tmp_path / "t.csv")
    read = asked.plainly(tmp_path, "csv")
    outputs = np.asarray(found.model().predict_on_batch({n: read[[n]].to_numpy() for n in FEATURES}))
    if task == "regression":
        same(AREA, "model.keras", np.array(told, np.float32), outputs[:, 0])
        return
    if task == "two classes":
        close(AREA, "model.keras", numbers[:, 1], outputs[:, 0], within=1e-7)
        same(AREA, "model.keras", told, np.where(outputs[:, 0] > 0.5, "top", "low").tolist())
        return
    close(AREA, "model.keras", numbers, outputs, unit=np.abs(outputs).max(axis=0), within=1e-6)
    if task == "classes":
        same(AREA, "model.keras", told, names[outputs.argmax(1)].tolist())
    elif task == "labels":
        wanted = [";".join(n for n, p in zip("yz", row, strict=True) if p > 0.5) for row in outputs]
        same(AREA, "model.keras", told, wanted)
    else:
        parts = np.array([[float(one) for one in line.split(";")] for line in told])
        close(AREA, "model.keras", parts, outputs, unit=np.abs(outputs).max(axis=0), within=1e-6)


def test_rows_that_training_has_not_seen(tmp_path: Path) -> None:
    """With gaps that are filled, of another file and kind than training's."""
    y = score(0)
    gaps = np.arange(ROWS) % 7 == 3
    city = np.array(["Oslo", "Lima", "São Paulo"], object)[np.arange(ROWS) % 3]
    frame = table([np.where(gaps, np.nan, score(1)), city], y=y)
    options = {
        **asked.written(tmp_path, "csv", frame),
        **{"target": "y", "missing": {"c0": "median"}, "features": ["row", "c0", "c1"], "test": 0},
    }
    found = of_sklearn(tmp_path, options, "sklearn.linear_model.Ridge, params: {alpha: $v}")
    unseen = pd.DataFrame(
        {"c1": ["Lima", "Oslo", "São Paulo", "Oslo"], "row": [1, 70, -5, 3], "c0": [np.nan, 0.5, 2.5, np.nan]}
    )
    read = asked.plainly(tmp_path, "csv")
    made = ColumnTransformer([("n", "passthrough", ["row", "c0"]), ("c", OneHotEncoder(sparse_output=False), ["c1"])])
    median = read["c0"].median()
    fitted = make_pipeline(made, Ridge(alpha=0.01)).fit(read.fillna({"c0": median}), read["y"])
    wanted = fitted.predict(unseen.fillna({"c0": median}))
    for kind in ("csv", "parquet"):
        told, _ = found.told(tmp_path / asked.written(tmp_path, kind, unseen)[kind])
        close(AREA, "scikit-learn predict", np.array(told, float), wanted, within=1e-10)


@pytest.mark.parametrize(("trained", "predicted"), [("csv", "parquet"), ("parquet", "csv")])
def test_true_and_false_are_categories_however_a_file_has_them(tmp_path: Path, trained: str, predicted: str) -> None:
    """Typed values in the one, `true` and `false` in the other."""
    y = score(0)
    new = np.arange(ROWS) % 3 == 0
    frame = table([score(1), new], y=y + 3 * new)
    spelled = frame.assign(c1=np.where(new, "true", "false"))
    kinds = {"csv": spelled, "parquet": frame}
    options = {
        **asked.written(tmp_path, trained, kinds[trained]),
        **{"target": "y", "test": 0, "columns": {"c1": "category"}},
    }
    found = of_sklearn(tmp_path, options, "sklearn.linear_model.Ridge, params: {alpha: $v}")
    made = ColumnTransformer([("n", "passthrough", ["row", "c0"]), ("c", OneHotEncoder(sparse_output=False), ["c1"])])
    wanted = make_pipeline(made, Ridge(alpha=0.01)).fit(frame, frame["y"]).predict(frame)
    for kind in (trained, predicted):
        told, _ = found.told(tmp_path / asked.written(tmp_path, kind, kinds[kind])[kind])
        close(AREA, "scikit-learn predict", np.array(told, float), wanted, within=1e-10)


def test_tokens_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 20, (ROWS, 4))
    np.savez(tmp_path / "t.npz", x=x, y=x[:, 0] * 0.5)
    layers = "[Embedding: {input_dim: 20, output_dim: 2}, Flatten, Output]"
    found = of_keras(tmp_path, {"npz": "t.npz", "task": "regression"}, layers, epochs=1)
    told, _ = found.told(tmp_path / "t.npz")
    outputs = np.asarray(found.model().predict_on_batch(x))[:, 0]
    same(AREA, "model.keras", np.array(told, np.float32), outputs)
    for number in (2**31, 2**32 + 1, -(2**31) - 1, 2**63 - 1):
        x[2, 2] = number
        np.savez(tmp_path / "other.npz", x=x)
        with pytest.raises(SpecError):
            found.told(tmp_path / "other.npz")


def test_moments_are_those_of_the_training_part_alone(tmp_path: Path) -> None:
    """The preparation that `predict` keeps beside the model."""
    column = score(0) * 1e-30
    found = of_sklearn(
        tmp_path,
        {**asked.written(tmp_path, "csv", table([column, column], y=score(1))), "target": "y", "scale": "standardize"},
        "sklearn.linear_model.Ridge, params: {alpha: $v}",
    )
    told, _ = found.told(tmp_path / "t.csv")
    options = {"csv": "t.csv", "target": "y", "scale": "standardize"}
    train = asked.joined(tmp_path, options, rows=ROWS).train
    read = asked.plainly(tmp_path, "csv")
    x = np.stack([plain.standardised(read[name], train).astype(float) for name in FEATURES], axis=1)
    wanted = Ridge(alpha=0.01).fit(x[train], read["y"].to_numpy()[train]).predict(x)
    close(AREA, "scikit-learn predict", np.array(told, float), wanted, within=1e-10)
