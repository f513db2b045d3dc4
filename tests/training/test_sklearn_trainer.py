"""scikit-learn models: any estimator by its path, scored by folds, refitted, written without a pickle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import get_scorer_names

from hptune.base import seeds
from hptune.base.errors import SegmentFailed, SpecError
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.experiment.scorers import SCORERS
from hptune.run.rundir import RunPaths
from hptune.training.data import load_folds
from hptune.training.worker import Worker

FOREST = """\
version: 1
name: forest
data: {source: wine}
model: {sklearn: sklearn.ensemble.RandomForestClassifier, params: {n_estimators: $trees}}
search_space: {trees: {type: int, min: 5, max: 20}}
evaluation: {folds: 3}
"""

PIPELINE = """\
version: 1
name: pipeline
data: {source: diabetes}
model:
  sklearn:
    - sklearn.preprocessing.StandardScaler
    - sklearn.ensemble.BaggingRegressor: {estimator: {sklearn.tree.DecisionTreeRegressor: {max_depth: $depth}}}
search_space: {depth: {type: int, min: 1, max: 4}}
objective: {metric: neg_mean_absolute_error}
"""


def worker(folder: Path, text: str) -> Worker:
    (folder / "spec.yaml").write_text(dedent(text))
    loaded = load(folder / "spec.yaml")
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / loaded.experiment.name))


def refused(folder: Path, text: str) -> str:
    """What the probe says."""
    with pytest.raises(SpecError) as caught:
        worker(folder, text).run(Segment(0, {}, purpose="probe"))
    return str(caught.value)


def test_a_fold_is_scored_as_scikit_learn_itself_would(tmp_path: Path) -> None:
    result = worker(tmp_path, FOREST).run(Segment(4, {"trees": 7}, to_epoch=1, replica=2))
    spec = load(tmp_path / "spec.yaml").experiment
    assert spec.data is not None
    fold = load_folds(spec.data.model_copy(update={"scale": "none"}), folder=tmp_path, seed=0, folds=3)[2]
    seed = seeds.derive(0, "estimator", {"trees": 7}, 2, "random_state")
    forest = RandomForestClassifier(7, random_state=seed).fit(fold.train.x, fold.train.y)
    assert result.curves == {"accuracy": (forest.score(fold.validation.x, fold.validation.y),)}
    assert result.ended
    assert result.epochs == 1
    assert fold.train.x.max() > 500, "the columns are in their own units"


def test_folds_and_repeats_of_them_differ_and_the_same_one_does_not(tmp_path: Path) -> None:
    one = worker(tmp_path, FOREST)
    scores = [one.run(Segment(0, {"trees": 5}, replica=replica)).curves["accuracy"] for replica in (0, 1, 2, 3, 0)]
    assert len(set(scores)) > 1
    assert scores[0] == scores[4]


def test_the_winner_is_refitted_measured_and_written_without_a_pickle(tmp_path: Path) -> None:
    from skops import io

    one = worker(tmp_path, PIPELINE)
    facts = one.run(Segment(0, {"depth": 3}, to_epoch=1, purpose="best")).facts
    assert set(facts["test"]) == {"neg_mean_absolute_error", "r2", "mae"}
    assert facts["test"]["mae"] == -facts["test"]["neg_mean_absolute_error"] < 60
    model = io.load(facts["model"], trusted=io.get_untrusted_types(file=facts["model"]))
    assert [name for name, _ in model.steps] == ["standardscaler", "baggingregressor"]
    assert model.steps[1][1].estimator.max_depth == 3
    spec = load(tmp_path / "spec.yaml").experiment
    assert spec.data is not None
    whole = load_folds(spec.data, folder=tmp_path, seed=0, folds=2)
    rows = len(whole[0].train) + len(whole[0].validation)
    assert model.steps[0][1].n_samples_seen_ == rows
    baseline = one.run(Segment(0, {"depth": 1}, to_epoch=1, purpose="baseline")).facts
    assert "model" not in baseline
    assert baseline["test"]["mae"] > 0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("n_estimators", "n_estimatrs", "did you mean 'n_estimators'?"),
        ("RandomForestClassifier", "RandomForestClasifier", "Did you mean 'RandomForestClassifier'?"),
        ("sklearn.ensemble.RandomForestClassifier", "sklearn.metrics.accuracy_score", "no scikit-learn estimator"),
        ("RandomForestClassifier", "RandomForestRegressor", "predicts numbers, and the target is classes"),
        ("sklearn.ensemble.RandomForestClassifier", "skleern.svm.SVC", "no module 'skleern'"),
        ("$trees}}", "$trees, criterion: ginni}}", "The 'criterion' parameter of RandomForestClassifier must be"),
        ("evaluation", "objective: {metric: f1}\nevaluation", "f1 can't score this target"),
        ("folds: 3", "folds: 200", "200 folds need at least 200 rows"),
    ],
)
def test_what_can_not_work_is_told_before_the_first_trial(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert told in refused(tmp_path, FOREST.replace(old, new))


def test_a_step_that_can_not_transform_and_a_nested_parameter_are_told_together(tmp_path: Path) -> None:
    text = PIPELINE.replace("preprocessing.StandardScaler", "svm.SVR").replace("max_depth", "max_dept")
    told = refused(tmp_path, text).splitlines()
    assert "model.sklearn[0]: SVR has no transform" in told[0]
    assert "did you mean 'max_depth'" in told[1]


def test_weights_reach_the_last_step_or_are_refused(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    rows = [f"{random.rand():.3f},{int(n % 3 == 0)},{1 + 9 * (n % 3 == 0)}" for n in range(60)]
    (tmp_path / "t.csv").write_text("x,y,w\n" + "\n".join(rows))
    text = """\
        version: 1
        name: weighted
        data: {csv: t.csv, target: y, features: [x], task: classes, sample_weight: w, test: 0.2}
        model: {sklearn: [sklearn.preprocessing.StandardScaler, {sklearn.linear_model.LogisticRegression: {C: $c}}]}
        search_space: {c: {type: float, min: 0.1, max: 1.0}}
        """
    plain = worker(tmp_path, text.replace("sample_weight: w, ", "")).run(Segment(0, {"c": 1.0}, replica=0))
    weighted = worker(tmp_path, text).run(Segment(0, {"c": 1.0}, replica=0))
    assert weighted.curves != plain.curves
    (note,) = worker(tmp_path, text).run(Segment(0, {}, purpose="probe")).facts["notes"]
    assert note.endswith("StandardScaler could take them too and gets none")
    knn = text.replace("linear_model.LogisticRegression: {C", "neighbors.KNeighborsClassifier: {p")
    with pytest.raises(SegmentFailed, match="takes no sample weights"):
        worker(tmp_path, knn).run(Segment(0, {"c": 1.0}, replica=0))


def test_weights_reach_the_regressor_of_a_transformed_target(tmp_path: Path) -> None:
    """Its transformer is one that changes nothing, so that the plain regressor is the same."""
    random = np.random.RandomState(0)
    rows = [f"{random.rand():.3f},{random.rand():.3f},{1 + 9 * (n % 3)}" for n in range(60)]
    (tmp_path / "t.csv").write_text("x,y,w\n" + "\n".join(rows))
    ridge = "{sklearn.linear_model.Ridge: {alpha: $a}}"
    wrapped = f"sklearn.compose.TransformedTargetRegressor, params: {{regressor: {ridge}}}"
    text = """\
        version: 1
        name: weighted
        data: {csv: t.csv, target: y, features: [x], task: regression, sample_weight: w}
        model: {sklearn: %s}
        search_space: {a: {type: float, min: 0.1, max: 1.0}}
        """
    plain, whole = (worker(tmp_path, text % model) for model in (f"[{ridge}]", wrapped))
    of = Segment(0, {"a": 1.0}, replica=0)
    assert whole.run(of).curves["r2"] == pytest.approx(plain.run(of).curves["r2"])


def test_the_worker_never_loads_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FOREST)
    code = """
import sys
from pathlib import Path
from hptune.run.rundir import RunPaths
from hptune.experiment.reading.load import load
from hptune.training.worker import Worker
from hptune.base.trial import Segment
loaded = load(Path("spec.yaml"))
worker = Worker(loaded.experiment, loaded.folder, RunPaths(Path("runs/forest")))
for purpose in ("probe", "trial", "best"):
    worker.run(Segment(0, {"trees": 5}, to_epoch=1, purpose=purpose))
print(sorted({"tensorflow", "keras", "keras_tuner"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_the_scorers_are_scikit_learns() -> None:
    assert set(get_scorer_names()) <= SCORERS


def test_an_estimator_that_hands_keywords_on_takes_weights(tmp_path: Path) -> None:
    """`VotingClassifier.fit(X, y, **fit_params)`, beside scikit-learn itself."""
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(60, 2)), rng.uniform(0.1, 5, 60)
    y = (x[:, 0] + rng.normal(size=60) > 0).astype(int)
    (tmp_path / "voting.py").write_text(
        "from sklearn.ensemble import VotingClassifier\nfrom sklearn.linear_model import LogisticRegression\n"
        "from sklearn.tree import DecisionTreeClassifier\n"
        "class Votes(VotingClassifier):\n    def __init__(self, depth=1):\n        self.depth = depth\n"
        "        both = [('a', LogisticRegression()), ('b', DecisionTreeClassifier(max_depth=depth, random_state=0))]\n"
        "        super().__init__(both, voting='soft')\n"
    )
    rows = [f"{a},{b},{'yn'[label]},{weight}" for (a, b), label, weight in zip(x, y, w, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y,w", *rows]))
    text = """
        version: 1
        name: t
        data: {csv: t.csv, target: y, sample_weight: w, test: 0.2}
        model: {sklearn: "voting:Votes", params: {depth: $depth}}
        search_space: {depth: {type: int, min: 1, max: 3}}
        evaluation: {folds: 3}
        """
    one = worker(tmp_path, text)
    score = one.run(Segment(0, {"depth": 2}, replica=0)).curves["accuracy"][0]
    data = one.trainer()._samples.data(0)  # type: ignore[attr-defined]
    both = [("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=2, random_state=0))]
    plain = VotingClassifier(both, voting="soft")
    plain.fit(data.train.x, data.train.y, sample_weight=data.train.sample_weight)
    assert score == pytest.approx(plain.score(data.validation.x, data.validation.y))
