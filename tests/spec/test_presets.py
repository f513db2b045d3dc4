"""Presets: three lines of YAML that search, and what becomes of them when something is fixed or declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptune.base.errors import SpecError
from hptune.experiment.experiment import Experiment
from hptune.experiment.model import LayersModel
from hptune.experiment.presets import PRESETS
from hptune.experiment.reading.load import from_json, load, to_json
from hptune.experiment.recipe import resolve
from hptune.experiment.space.references import Ref
from hptune.experiment.space.space import IntDomain, Space

TRAINED = {"learning_rate", "batch_size"}


def loaded(folder: Path, text: str) -> Experiment:
    path = folder / "p.yaml"
    path.write_text(f"version: 1\ndata: {{source: digits}}\n{text}\n")
    return load(path).experiment


@pytest.mark.parametrize("name", PRESETS)
def test_one_line_makes_a_model_and_its_space(tmp_path: Path, name: str) -> None:
    experiment = loaded(tmp_path, f"model: {{preset: {name}}}")
    assert set(experiment.search_space) == {*PRESETS[name].domains, *TRAINED}
    assert isinstance(experiment.model, LayersModel)
    assert experiment.model.layers[-1] == "Output"
    assert experiment.training.optimizer.learning_rate == Ref("learning_rate")
    space = Space(experiment.search_space)
    for u in (0.0, 0.5, 1.0):  # every corner makes a recipe
        assert resolve(experiment, space.choose(lambda _, domain, u=u: domain.from_unit(u))).layers
    assert from_json(to_json(experiment)) == experiment


def test_what_is_given_is_fixed(tmp_path: Path) -> None:
    given = "model: {preset: mlp, depth: 2, dropout: 0.0}\ntraining: {optimizer: {learning_rate: 1e-2}}"
    experiment = loaded(tmp_path, given)
    assert set(experiment.search_space) == {"units", "batch_size"}
    assert Space(experiment.search_space).size == 5 * 3
    assert experiment.training.optimizer.learning_rate == 1e-2
    recipe = resolve(experiment, {"units": 16, "batch_size": 16})
    assert [call.name for call in recipe.layers] == ["Flatten", "Dense", "Dropout", "Dense", "Dropout", "Output"]
    assert [call.args.get("rate") for call in recipe.layers if call.name == "Dropout"] == [0.0, 0.0]


def test_a_name_of_ones_own_and_a_domain_of_ones_own(tmp_path: Path) -> None:
    space = "search_space: {width: {type: int, min: 3, max: 9}, depth: {type: int, min: 1, max: 7}}"
    experiment = loaded(tmp_path, f"model: {{preset: mlp, units: $width}}\n{space}")
    assert set(experiment.search_space) == {"width", "depth", "dropout", *TRAINED}
    assert experiment.search_space["depth"] == IntDomain(type="int", min=1, max=7, default=4)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("model: {preset: mlq}", "3:17", "must be one of 'mlp', 'cnn' or 'resnet', got 'mlq'"),
        ("model: {preset: mlp, unts: 3}", "3:22", "did you mean 'units'?"),
        ("model: {preset: mlp, stages: 3}", "3:22", "mlp has no stages. It has depth, units, dropout"),
        ("model: {preset: mlp, depth: 0}", "3:29", "must be at least 1, got 0"),
        ("model: {preset: mlp, depth: 1}\nsearch_space: {depth: {type: int, min: 1, max: 2}}", "4:16", "never used"),
        ("model: {preset: mlp, layers: [Flatten]}", "3:22", "can't stand together"),
        ("model: {preset: mlp}\ntraining: {epochs: 0}", "4:20", "must be at least 1"),
    ],
)
def test_a_fault_is_told_at_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, text)
    assert any(f"p.yaml:{place}: " in line and words in line for line in str(caught.value).splitlines()), caught.value


def test_pictures_are_not_looked_for_in_a_table(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\ndata: {source: wine}\nmodel: {preset: cnn}\n")
    with pytest.raises(SpecError, match="cnn is for pictures, and wine is a table"):
        load(path)
