"""Which metrics cut at 0, and what is remarked of those that the YAML has cut at 0.5."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from hptune.experiment.defaults import fill
from hptune.experiment.reading.load import LoadedExperiment, load
from hptune.experiment.thresholds import halves_of_logits

LOGITS = "{BinaryCrossentropy: {from_logits: true}}"
AT_0 = {"BinaryAccuracy": {"threshold": 0.0, "name": "accuracy"}}


def loaded(folder: Path, loss: str, last: str, metrics: str = "") -> LoadedExperiment:
    (folder / "s.yaml").write_text(
        "version: 1\nname: s\ndata: {source: breast_cancer}\nsearch_space: {n: {type: int, min: 1, max: 4}}\n"
        f"model: {{layers: [Dense: {{units: $n}}, Dense: {last}]}}\ntraining: {{loss: {loss}{metrics}}}\n"
    )
    return load(folder / "s.yaml")


@pytest.mark.parametrize(
    ("loss", "last", "metric"),
    [
        (LOGITS, "{units: 1}", AT_0),
        ("hinge", "{units: 1, activation: tanh}", AT_0),
        ("binary_crossentropy", "{units: 1, activation: sigmoid}", "accuracy"),
        ("hinge", "{units: 1, activation: sigmoid}", "accuracy"),
        ("{SparseCategoricalCrossentropy: {from_logits: true}}", "{units: 2}", "accuracy"),
        ("categorical_hinge", "{units: 2}", "accuracy"),
        ("mse", "{units: 1}", "accuracy"),
    ],
)
def test_accuracy_is_cut_where_the_loss_tells_classes_apart(tmp_path: Path, loss: str, last: str, metric: Any) -> None:
    experiment = fill(loaded(tmp_path, loss, last).experiment, "classes", 2)
    assert experiment.training.metrics == [metric]
    assert experiment.objective is not None
    assert [one.metric for one in experiment.objectives] == ["val_accuracy"]
    assert fill(experiment, "classes", 2) == experiment


def test_a_loss_that_is_searched_for_among_margins_is_cut_as_they_are(tmp_path: Path) -> None:
    space = "{n: {type: int, min: 1, max: 4}, l: {type: choice, values: [hinge, OTHER]}}"
    for other, metric in (("squared_hinge", AT_0), ("binary_crossentropy", "accuracy")):
        (tmp_path / "s.yaml").write_text(
            "version: 1\nname: s\ndata: {source: breast_cancer}\n"
            f"search_space: {space.replace('OTHER', other)}\n"
            "model: {layers: [Dense: {units: $n}, Dense: {units: 1}]}\ntraining: {loss: $l}\n"
        )
        assert fill(load(tmp_path / "s.yaml").experiment, "classes", 2).training.metrics == [metric]


@pytest.mark.parametrize(
    ("last", "metric"),
    [
        ("Dense: {units: 1}, Activation: {activation: tanh}", AT_0),
        ("Dense: {units: 1}, BatchNormalization", AT_0),
        ("Dense: {units: 1}, Reshape: {target_shape: [1]}", AT_0),
        ("Reshape: {target_shape: [30, 1]}, LSTM: {units: 1}", AT_0),
        ("Dense: {units: 1}, Activation: {activation: sigmoid}", "accuracy"),
        ("Dense: {units: 2}, BatchNormalization", "accuracy"),
        ("repeat: {times: 1, layers: [Dense: {units: 1}]}", AT_0),
        ("Dense: {units: 4}, Reshape: {target_shape: [4, 1]}, GlobalAveragePooling1D", AT_0),
        ("Output", "accuracy"),
    ],
)
def test_what_stands_behind_the_last_unit_is_looked_through(tmp_path: Path, last: str, metric: Any) -> None:
    (tmp_path / "s.yaml").write_text(
        "version: 1\nname: s\ndata: {source: breast_cancer}\nsearch_space: {n: {type: int, min: 1, max: 4}}\n"
        f"model: {{layers: [Dense: {{units: $n}}, {last}]}}\ntraining: {{loss: hinge}}\n"
    )
    assert fill(load(tmp_path / "s.yaml").experiment, "classes", 2).training.metrics == [metric]


def test_a_last_layer_that_changes_nothing_is_looked_through(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "version: 1\nname: s\ndata: {source: breast_cancer}\nsearch_space: {n: {type: int, min: 1, max: 4}}\n"
        "model: {layers: [Dense: {units: $n}, Dense: {units: 1}, Activation: {activation: linear}]}\n"
        f"training: {{loss: {LOGITS}}}\n"
    )
    assert fill(load(tmp_path / "s.yaml").experiment, "classes", 2).training.metrics == [AT_0]


def test_metrics_of_several_labels_under_logits_are_remarked(tmp_path: Path) -> None:
    told = loaded(tmp_path, LOGITS, "{units: 3}", ", metrics: [binary_accuracy]").remarks
    assert len(told) == 1
    assert "Say BinaryAccuracy: {threshold: 0}" in told[0]


def test_labels_of_logits_are_cut_at_0_each(tmp_path: Path) -> None:
    experiment = fill(loaded(tmp_path, LOGITS, "{units: 3}").experiment, "labels", None)
    assert experiment.training.metrics == [{"BinaryAccuracy": {"threshold": 0.0, "name": "binary_accuracy"}}]


@pytest.mark.parametrize(
    ("metrics", "remarked"),
    [
        ("[accuracy]", ["accuracy counts what is above 0.5", "Say BinaryAccuracy: {threshold: 0}"]),
        ("[mse, Recall: {name: r}]", ["metrics[1]: Recall counts what is above 0.5", "Say Recall: {thresholds: 0}"]),
        ("[AUC: {name: a}]", ["AUC takes them for probabilities", "Say AUC: {from_logits: true}"]),
        ("[PrecisionAtRecall: {recall: 0.5}]", ["End the network with a sigmoid"]),
        ("[BinaryAccuracy: {threshold: 0.5}, AUC: {from_logits: true}, Recall: {thresholds: 0}, mae]", []),
    ],
)
def test_a_metric_that_cuts_logits_at_a_half_is_remarked(tmp_path: Path, metrics: str, remarked: list[str]) -> None:
    told = loaded(tmp_path, LOGITS, "{units: 1}", f", metrics: {metrics}").remarks
    assert len(told) == bool(remarked)
    assert all(words in told[0] for words in remarked)
    assert not loaded(tmp_path, "mse", "{units: 1}", f", metrics: {metrics}").remarks


@pytest.mark.parametrize(
    ("loss", "choices", "told"),
    [
        ("$l", "[hinge, binary_crossentropy]", True),
        ("$l", "[mse, binary_crossentropy]", False),
        ("{BinaryCrossentropy: {from_logits: $l}}", "[true, false]", True),
    ],
)
@pytest.mark.parametrize("metrics", ["", ", metrics: [accuracy]"])
def test_a_loss_that_is_searched_for_is_looked_at_in_each_of_its_forms(
    tmp_path: Path, loss: str, choices: str, told: bool, metrics: str
) -> None:
    text = f"""
        version: 1
        name: t
        data: {{source: breast_cancer}}
        model: {{layers: [Dense: {{units: 1}}]}}
        search_space: {{l: {{type: choice, values: {choices}}}}}
        training: {{loss: {loss}{metrics}}}
        """
    (tmp_path / "s.yaml").write_text(dedent(text))
    found = halves_of_logits(load(tmp_path / "s.yaml").experiment)
    assert [one.message.startswith("accuracy counts what is above 0.5") for one in found] == ([True] if told else [])
