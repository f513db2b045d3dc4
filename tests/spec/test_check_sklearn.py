"""What can't be meant of folds and of scikit-learn models is told at its place, without loading scikit-learn."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptune.base.errors import SpecError
from hptune.experiment.directions import direction
from hptune.experiment.reading.load import from_json, load, to_json
from hptune.experiment.scorers import SCORERS

FOREST = """\
version: 1
name: forest
data: {source: wine}
model: {sklearn: sklearn.svm.SVC, params: {C: $c}}
search_space: {c: {type: float, min: 0.1, max: 10.0}}
"""


def told(folder: Path, text: str) -> list[str]:
    (folder / "s.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load(folder / "s.yaml")
    return str(caught.value).replace(f"{folder}/s.yaml:", "").splitlines()


@pytest.mark.parametrize(
    ("old", "new", "place", "rule"),
    [
        ("sklearn.svm.SVC", "SVC", "4:18: model.sklearn", "import path such as sklearn.svm.SVC, got 'SVC'"),
        ("sklearn.svm.SVC", "[sklearn.svm.SVC, 3]", "4:36: model.sklearn[1]", "{sklearn.svm.SVC: {C: 1.0}}"),
        ("sklearn.svm.SVC", "[sklearn.svm.SVC]", "4:37: model.params", "belongs to one estimator"),
        ("$c", "1.0", "5:16: search_space.c", "never used"),
        ("source: wine", "source: wine, validation: 0.1", "3:22: data.validation", "scored by folds"),
        ("source: wine", "source: wine, one_hot: true", "3:22: data.one_hot", "is for Keras models"),
        ("version: 1", "training: {epochs: 3}\nversion: 1", "1:1: training", "is for Keras models"),
        ("version: 1", "schedule: {name: cosine}\nversion: 1", "1:1: schedule", "is for Keras models"),
        ("version: 1", "execution: {xla: true}\nversion: 1", "1:13: execution.xla", "is for Keras models"),
        ("version: 1", "strategy: {name: asha}\nversion: 1", "1:18: strategy.name", "trains by epochs"),
        ("version: 1", "evaluation: {repeats: 2}\nversion: 1", "1:14: evaluation.repeats", "scored by folds"),
        ("version: 1", "evaluation: {stop_after: 5}\nversion: 1", "1:26: evaluation.stop_after", "below the 5 folds"),
        (
            "version: 1",
            "objective: {metric: val_acuracy, goal: maximize}\nversion: 1",
            "1:21: objective.metric",
            "'accuracy'",
        ),
        ("version: 1", "objective: {metric: r2, goal: minimize}\nversion: 1", "1:31: objective.goal", "more is better"),
    ],
)
def test_a_fault_is_told_at_its_place(tmp_path: Path, old: str, new: str, place: str, rule: str) -> None:
    line = told(tmp_path, FOREST.replace(old, new))[0]
    assert line.startswith(place), line
    assert rule in line


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ("evaluation: {stop_after: 1}", "there are none. Add folds: 5"),
        ("evaluation: {folds: 3, stop_after: 1}\nobjective: {metric: seconds}", "and seconds is none. Drop it"),
        ("evaluation: {folds: 3, stop_after: 1}\nstrategy: {name: hyperband}", "hyperband stops what is not promising"),
        ("evaluation: {folds: 3, repeats: 2}", "repeats and folds can't stand together"),
    ],
)
def test_folds_that_serve_nothing_are_refused(tmp_path: Path, more: str, rule: str) -> None:
    layers = "model: {layers: [Dense: {units: 3, activation: softmax}, Dropout: {rate: $c}]}"
    text = FOREST.replace("model: {sklearn: sklearn.svm.SVC, params: {C: $c}}", layers).replace("10.0", "0.5")
    assert any(rule in line for line in told(tmp_path, text + more + "\n"))


def test_folds_are_filled_in_and_nothing_of_keras_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(FOREST + "objective: {metric: f1_macro}\n")
    experiment = load(tmp_path / "s.yaml").experiment
    assert experiment.evaluation.folds == 5
    assert experiment.objectives[0].goal == "maximize"
    assert "training" not in to_json(experiment)
    assert to_json(from_json(to_json(experiment))) == to_json(experiment)


def test_more_is_better_of_every_scorer() -> None:
    assert {direction(name) for name in SCORERS} == {"maximize"}
