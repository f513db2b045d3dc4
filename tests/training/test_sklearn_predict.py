"""`hptune predict` with a scikit-learn winner gives what the fitted model itself would, over raw rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from sklearn.multioutput import ClassifierChain
from sklearn.naive_bayes import GaussianNB
from skops import io as skops

from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.worker import Worker
from hptune.winner.predict import predict

TABLE = """\
version: 1
name: t
data: {csv: t.csv, target: bought, missing: median}
model: {sklearn: sklearn.tree.DecisionTreeClassifier, params: {max_depth: $depth}}
search_space: {depth: {type: int, min: 1, max: 9}}
"""


def winner(folder: Path, text: str, values: dict[str, int]) -> RunPaths:
    """The run, of which the winner with these values was trained."""
    (folder / "spec.yaml").write_text(text)
    loaded = load(folder / "spec.yaml")
    run = RunPaths(folder / "runs" / "t")
    Worker(loaded.experiment, loaded.folder, run).run(Segment(0, values, to_epoch=1, purpose="best"))
    return run


def predicted(run: RunPaths, file: Path) -> list[list[str]]:
    out = io.StringIO()
    predict(run, file, out)
    return list(csv.reader(io.StringIO(out.getvalue())))


def test_a_table_with_text_and_holes(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    rows = [
        (age, city, "yes" if age > 50 or city == "Oslo" else "no")
        for age, city in zip(random.randint(18, 80, 90), random.choice(["Oslo", "Lima"], 90), strict=True)
    ]
    (tmp_path / "t.csv").write_text(
        "age,city,bought\n" + "\n".join(f"{a},{c},{b}" for a, c, b in rows) + "\n,Lima,no\n"
    )
    run = winner(tmp_path, TABLE, {"depth": 3})
    (tmp_path / "new.csv").write_text("city,age\n" + "\n".join(f"{c},{a}" for a, c, _ in rows))
    head, *found = predicted(run, tmp_path / "new.csv")
    assert head == ["prediction", "no", "yes"]
    assert sum(told[0] == row[2] for told, row in zip(found, rows, strict=True)) >= 88
    assert {(row[1], row[2]) for row in found} == {("1", "0"), ("0", "1")}


def test_several_numbers_and_an_estimator_without_probabilities(tmp_path: Path) -> None:
    x = np.random.RandomState(1).normal(size=(60, 3)).astype(np.float32)
    np.savez(tmp_path / "t.npz", x=x, y=np.stack([x.sum(axis=1), x[:, 0]], axis=1))
    text = """\
version: 1
name: t
data: {npz: t.npz}
model: {sklearn: sklearn.neighbors.KNeighborsRegressor, params: {n_neighbors: $k}}
search_space: {k: {type: int, min: 1, max: 5}}
"""
    run = winner(tmp_path, text, {"k": 2})
    head, *found = predicted(run, tmp_path / "t.npz")
    assert len(head) == 3
    ours = skops.load(run.best_estimator, trusted=skops.get_untrusted_types(file=run.best_estimator)).predict(x)
    assert np.allclose([[float(number) for number in row[1:]] for row in found], ours, atol=1e-5)
    np.savez(tmp_path / "t.npz", x=x, y=(x[:, 0] > 0).astype(int))
    svm = text.replace("neighbors.KNeighborsRegressor", "svm.LinearSVC").replace("n_neighbors", "C")
    head, *found = predicted(winner(tmp_path, svm, {"k": 1}), tmp_path / "t.npz")
    assert head == ["prediction", "0", "1"]
    assert sum(row[0] == str(int(one[0] > 0)) for row, one in zip(found, x, strict=True)) > 50


def test_a_chain_with_a_label_of_one_value_predicts_as_scikit_learn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose `predict` works, and whose `predict_proba` raises."""
    x = np.random.default_rng(0).normal(size=(90, 3))
    labels = np.stack([x[:, 0] > 0, np.ones(90, bool), x[:, 1] > 0], axis=1).astype(int)
    labels[80:, 1] = 0  # in the test part alone
    rows = [f"{t},{','.join(map(str, [*x[t], *labels[t]]))}" for t in range(90)]
    (tmp_path / "t.csv").write_text("\n".join(["t,a,b,c,p,q,r", *rows]) + "\n")
    text = """\
version: 1
name: t
data: {csv: t.csv, target: [p, q, r], task: labels, features: [a, b, c], time: t, scale: none}
model:
  sklearn: [{sklearn.multioutput.ClassifierChain: {estimator: {sklearn.naive_bayes.GaussianNB: {var_smoothing: $k}}}}]
search_space: {k: {type: float, min: 0.1, max: 0.5}}
"""
    run = winner(tmp_path, text, {"k": 0.1})  # type: ignore[dict-item]
    found = predicted(run, tmp_path / "t.csv")[1:]
    assert "the model gives no probabilities" in capsys.readouterr().err
    fitted = ClassifierChain(GaussianNB(var_smoothing=0.1)).fit(x[:72], labels[:72])
    wanted = [";".join(name for name, on in zip("pqr", row, strict=True) if on) for row in fitted.predict(x)]
    assert [row[0] for row in found] == wanted
