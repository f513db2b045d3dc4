"""What a scikit-learn winner predicts is what scikit-learn itself predicts, fitted on the same file read plainly.

No test part: the winner is fitted on all rows. The file is read with Python's csv alone; nothing here is hptune's.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.worker import Worker
from hptune.winner.predict import predict

SCALED = "sklearn.preprocessing.StandardScaler"


def winner(folder: Path, data: str, model: str, value: float) -> RunPaths:
    """The run, of which the winner was fitted on all rows. value: of `$v` in the model."""
    text = f"version: 1\nname: t\ndata: {{{data}, test: 0}}\nmodel: {{sklearn: {model}}}\n"
    (folder / "spec.yaml").write_text(f"{text}search_space: {{v: {{type: choice, values: [{value}]}}}}\n")
    loaded = load(folder / "spec.yaml")
    run = RunPaths(folder / "runs" / "t")
    Worker(loaded.experiment, loaded.folder, run).run(Segment(0, {"v": value}, to_epoch=1, purpose="best"))
    return run


def told(run: RunPaths, file: Path) -> tuple[list[str], list[list[float]]]:
    """The predictions of `hptune predict`, and the numbers behind them."""
    out = io.StringIO()
    predict(run, file, out)
    _, *rows = csv.reader(io.StringIO(out.getvalue()))
    return [row[0] for row in rows], [[float(number) for number in row[1:]] for row in rows]


def written(folder: Path, columns: dict[str, Any], name: str = "t.csv") -> Path:
    rows = zip(*(map(repr, np.asarray(column).tolist()) for column in columns.values()), strict=True)
    (folder / name).write_text("\n".join([",".join(columns), *(",".join(r).replace("'", "") for r in rows)]) + "\n")
    return folder / name


def read(file: Path, names: list[str]) -> Any:
    with file.open() as lines:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(lines)])


def numbers(rng: Any, rows: int) -> dict[str, Any]:
    """Columns that float32 would merge, flatten or overflow."""
    return {
        "far": 1.7e9 + rng.integers(0, 300, rows),
        "tiny": rng.normal(size=rows) * 1e-60,
        "huge": rng.normal(size=rows) * 1e120,
        "plain": rng.normal(size=rows),
    }


def test_columns_of_any_size_reach_the_estimator_with_all_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = numbers(rng, 120)
    y = np.where((x["far"] - 1.7e9 > 150) ^ (x["tiny"] > 0), "late", "early")
    file = written(tmp_path, {**x, "y": y})
    run = winner(
        tmp_path,
        "csv: t.csv, target: y",
        f"[{SCALED}, {{sklearn.neighbors.KNeighborsClassifier: {{n_neighbors: $v}}}}]",
        5,
    )
    plain = make_pipeline(StandardScaler(), KNeighborsClassifier()).fit(read(file, list(x)), y)
    labels, shares = told(run, file)
    assert labels == plain.predict(read(file, list(x))).tolist()
    assert np.array_equal(shares, plain.predict_proba(read(file, list(x))))


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e15])
def test_targets_far_from_nought_keep_their_digits(tmp_path: Path, offset: float) -> None:
    rng = np.random.default_rng(1)
    x = numbers(rng, 90)
    y = offset + np.round(x["plain"] * 64) / 8 + (x["far"] - 1.7e9)
    file = written(tmp_path, {**x, "y": y})
    run = winner(
        tmp_path,
        "csv: t.csv, target: y, task: regression",
        f"[{SCALED}, {{sklearn.linear_model.Ridge: {{alpha: $v}}}}]",
        1.0,
    )
    plain = make_pipeline(StandardScaler(), Ridge()).fit(read(file, list(x)), y).predict(read(file, list(x)))
    assert np.allclose([float(one) for one in told(run, file)[0]], plain, rtol=1e-10, atol=0)


def test_arrays_keep_their_type(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(2**52, 2**53, (80, 3)), rng.normal(size=80)
    np.savez(tmp_path / "t.npz", x=x, y=y)
    run = winner(
        tmp_path,
        "npz: t.npz, x: x, y: y, task: regression",
        "sklearn.neighbors.KNeighborsRegressor, params: {n_neighbors: $v}",
        5,
    )
    plain = KNeighborsRegressor().fit(x, y).predict(x)
    assert [float(one) for one in told(run, tmp_path / "t.npz")[0]] == plain.tolist()


def test_weights_keep_their_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=80), 1 + rng.uniform(size=80) * 1e-9
    y = 3 * x + rng.normal(size=80)
    file = written(tmp_path, {"x": x, "w": w, "y": y})
    run = winner(
        tmp_path,
        "csv: t.csv, target: y, task: regression, sample_weight: w",
        "sklearn.linear_model.Ridge, params: {alpha: $v}",
        1.0,
    )
    plain = Ridge(alpha=1.0).fit(x[:, None], y, sample_weight=w).predict(x[:, None])
    assert np.allclose([float(one) for one in told(run, file)[0]], plain, rtol=1e-12)


def test_the_class_is_the_one_that_the_estimator_chooses(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(200, 2))
    y = np.where(x[:, 0] + rng.normal(size=200) > 1, "ill", "ok")
    file = written(tmp_path, {"a": x[:, 0], "b": x[:, 1], "y": y})
    run = winner(
        tmp_path,
        "csv: t.csv, target: y",
        "sklearn.model_selection.FixedThresholdClassifier, "
        "params: {estimator: {sklearn.linear_model.LogisticRegression: {C: 1.0}}, threshold: $v}",
        0.8,
    )
    plain = FixedThresholdClassifier(LogisticRegression(C=1.0), threshold=0.8).fit(x, y == "ok")
    labels, shares = told(run, file)
    assert labels == np.where(plain.predict(x), "ok", "ill").tolist()
    by_share = np.where(np.array(shares)[:, 1] > 0.5, "ok", "ill").tolist()
    assert labels != by_share, "the threshold must matter here, or nothing is shown"


def test_a_label_that_is_always_on_is_told_so(tmp_path: Path) -> None:
    """In the training rows of a fold a label may have one value alone; of all rows hptune asks that it has two."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(120, 2))
    y = np.stack([x[:, 0] > 0, np.r_[np.zeros(1), np.ones(119)]], axis=1).astype(int)
    np.savez(tmp_path / "t.npz", x=x, y=y)
    run = winner(
        tmp_path,
        "npz: t.npz, x: x, y: y, task: labels",
        "sklearn.multioutput.MultiOutputClassifier, params: {estimator: {sklearn.tree.DecisionTreeClassifier: "
        "{max_depth: $v, min_samples_leaf: 9, random_state: 0}}}",
        1,
    )
    tree = DecisionTreeClassifier(max_depth=1, min_samples_leaf=9, random_state=0)
    plain = MultiOutputClassifier(tree).fit(x, y)
    labels, shares = told(run, tmp_path / "t.npz")
    wanted = [";".join(str(i) for i in np.flatnonzero(row)) for row in plain.predict(x)]
    assert labels == wanted
    assert np.allclose(np.array(shares), np.stack([one[:, 1] for one in plain.predict_proba(x)], axis=1))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_labels_of_many_digits_are_not_merged(tmp_path: Path, kind: str) -> None:
    """Numbers above 2**53, which floats would merge."""
    rng = np.random.default_rng(6)
    ids = 2**60 + np.arange(3)
    which = rng.integers(0, 3, 120)
    x, y = which + rng.normal(size=120) * 0.1, ids[which]
    file = written(tmp_path, {"x": x, "y": y})
    if kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        file = tmp_path / "t.parquet"
        parquet.write_table(pyarrow.table({"x": x, "y": y}), file)
    run = winner(
        tmp_path,
        f"{kind}: {file.name}, target: y, task: classes",
        "sklearn.tree.DecisionTreeClassifier, params: {max_depth: $v}",
        4,
    )
    assert told(run, file)[0] == [str(one) for one in y.tolist()]


@pytest.mark.parametrize(
    ("labels", "scorers"),
    [
        ((1, 2), ["f1", "precision", "recall", "average_precision", "jaccard", "roc_auc"]),
        ((10, 20, 40), ["f1_macro", "neg_mean_absolute_error", "neg_root_mean_squared_error"]),
    ],
)
def test_scorers_see_the_labels_of_the_file(tmp_path: Path, labels: tuple[Any, ...], scorers: list[str]) -> None:
    """`f1` asks for the class 1, and an error is one of the labels; on the folds as scikit-learn scores a split."""
    from sklearn.metrics import get_scorer

    from hptune.training.data.parts import Part
    from hptune.training.trainers.sklearn_trainer import measured

    rng = np.random.default_rng(6)
    x = rng.normal(size=(150, 2))
    codes = np.digitize(x[:, 0] + rng.normal(size=150), np.linspace(-1, 1, len(labels) + 1)[1:-1])
    y = np.array(labels)[codes]
    file = written(tmp_path, {"a": x[:, 0], "b": x[:, 1], "y": y})
    estimator = "sklearn.tree.DecisionTreeClassifier, params: {max_depth: $v}"
    run = winner(tmp_path, "csv: t.csv, target: y, task: classes", estimator, 3)
    plain = DecisionTreeClassifier(max_depth=3, random_state=0).fit(read(file, ["a", "b"])[:100], y[:100])
    given = measured(plain, Part(x[100:], codes[100:].astype(np.int32)), scorers=scorers, labels=labels)
    for name in scorers:
        assert given[name] == pytest.approx(get_scorer(name)(plain, x[100:], y[100:])), name
    assert {float(one) for one in told(run, file)[0]} <= set(map(float, labels))


def test_broken_numbers_are_classes_too(tmp_path: Path) -> None:
    """scikit-learn takes them for no classes: it is given their numbers, and they are what is predicted."""
    rng = np.random.default_rng(9)
    x = rng.normal(size=(150, 1))
    y = np.array([0.5, 1.5, 2.5])[np.digitize(x[:, 0], [-0.5, 0.5])]
    file = written(tmp_path, {"a": x[:, 0], "y": y})
    estimator = "sklearn.tree.DecisionTreeClassifier, params: {max_depth: $v}"
    run = winner(tmp_path, "csv: t.csv, target: y, task: classes", estimator, 3)
    assert [float(one) for one in told(run, file)[0]] == y.tolist()


def test_texts_are_scored_by_their_order(tmp_path: Path) -> None:
    """scikit-learn's `f1` takes no texts: of two classes the second is the one that is asked for."""
    from sklearn.metrics import f1_score

    from hptune.training.data.parts import Part
    from hptune.training.trainers.sklearn_trainer import measured

    rng = np.random.default_rng(7)
    x = rng.normal(size=(120, 1))
    codes = (x[:, 0] + rng.normal(size=120) > 0.5).astype(np.int32)
    plain = DecisionTreeClassifier(max_depth=2).fit(x, np.array(["no", "yes"])[codes])
    given = measured(plain, Part(x, codes), scorers=["f1", "roc_auc"], labels=("no", "yes"))
    assert given["f1"] == pytest.approx(f1_score(codes, plain.predict(x) == "yes"))


def test_class_weights_are_by_the_labels_and_an_outlier_detector_is_no_classifier(tmp_path: Path) -> None:
    from hptune.base.errors import SpecError

    rng = np.random.default_rng(8)
    x = rng.normal(size=(120, 2))
    y = np.where(x[:, 0] + rng.normal(size=120) > 1, "ham", "spam")
    file = written(tmp_path, {"a": x[:, 0], "b": x[:, 1], "y": y})
    weighted = "sklearn.linear_model.LogisticRegression, params: {C: $v, class_weight: {ham: 20, spam: 1}}"
    run = winner(tmp_path, "csv: t.csv, target: y", weighted, 1.0)
    plain = LogisticRegression(C=1.0, class_weight={"ham": 20, "spam": 1}).fit(read(file, ["a", "b"]), y)
    assert told(run, file)[0] == plain.predict(read(file, ["a", "b"])).tolist()
    text = "version: 1\nname: t\ndata: {csv: t.csv, target: y}\nmodel: {sklearn: sklearn.ensemble.IsolationForest, "
    (tmp_path / "o.yaml").write_text(
        f"{text}params: {{n_estimators: $v}}}}\nsearch_space: {{v: {{type: choice, values: [5]}}}}\n"
    )
    loaded = load(tmp_path / "o.yaml")
    with pytest.raises(SpecError, match="IsolationForest is no classifier"):
        Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "o")).run(Segment(0, {}, purpose="probe"))


@pytest.mark.parametrize("source", ["breast_cancer", "digits", "iris", "wine"])
@pytest.mark.parametrize("scorer", ["accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr"])
def test_the_sets_of_scikit_learn(tmp_path: Path, source: str, scorer: str) -> None:
    """Their classes have names, which are not in the alphabet's order everywhere; scored over five folds."""
    from sklearn import datasets
    from sklearn.metrics import get_scorer

    model = "sklearn.tree.DecisionTreeClassifier, params: {max_depth: $v, random_state: 0}"
    text = f"version: 1\nname: t\ndata: {{source: {source}, test: 0}}\nmodel: {{sklearn: {model}}}\n"
    text += f"objective: {{metric: {scorer}}}\nevaluation: {{folds: 5}}\n"
    (tmp_path / "spec.yaml").write_text(text + "search_space: {v: {type: choice, values: [3]}}\n")
    loaded = load(tmp_path / "spec.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "t"))
    x, y = getattr(datasets, f"load_{source}")(return_X_y=True)
    x = x / 16 if source == "digits" else x
    place = {row.tobytes(): number for number, row in enumerate(np.asarray(x, np.float32))}
    trainer: Any = worker.trainer()
    for fold in range(5):
        found = worker.run(Segment(0, {"v": 3}, to_epoch=1, replica=fold)).curves[scorer][0]
        given = trainer._samples.data(fold)
        train, validation = (
            [place[row.tobytes()] for row in np.asarray(part.x[:], np.float32).reshape(len(part), -1)]
            for part in (given.train, given.validation)
        )
        fitted = DecisionTreeClassifier(max_depth=3, random_state=0).fit(x[train], y[train])
        assert found == pytest.approx(get_scorer(scorer)(fitted, x[validation], y[validation]), abs=1e-12)
