"""Models that are built elsewhere: what can be told of them before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptune.base.errors import SpecError
from hptune.experiment.reading.load import from_json, load, to_json

RATE = "rate: {type: float, min: 1e-4, max: 1e-2}"
NET = "net: {type: choice, values: [MobileNetV2, Unknown]}"
TRAINING = "training: {optimizer: {learning_rate: $rate}}"


def told(folder: Path, model: str, more: str = "", *, data: str = "{source: digits}") -> list[str]:
    path = folder / "b.yaml"
    space = f"search_space: {{{RATE}{f', {NET}' if '$net' in model else ''}}}"
    path.write_text(f"version: 1\ndata: {data}\nmodel: {model}\n{space}\n{TRAINING}\n{more}\n")
    try:
        experiment = load(path).experiment
    except SpecError as error:
        return str(error).splitlines()
    assert from_json(to_json(experiment)) == experiment
    return []


@pytest.mark.parametrize(
    "model",
    [
        "{application: MobileNetV2, weights: null, trainable: 3, dropout: 0.2, size: [32, 32], options: {alpha: 0.5}}",
        "{application: ResNet50, weights: imagenet, trainable: none, pooling: max}",
        "{hypermodel: resnet}",
        "{saved: some.keras, reinitialize: true, custom_objects: {Mine: 'mine:Mine'}}",
    ],
)
def test_what_is_right_loads_without_a_look_at_any_file(tmp_path: Path, model: str) -> None:
    assert told(tmp_path, model) == []


@pytest.mark.parametrize(
    ("model", "place", "words"),
    [
        ("{application: MobilNetV2}", "3:22", "unknown application 'MobilNetV2'; did you mean 'MobileNetV2'?"),
        ("{application: $net}", "3:22", "$net can be 'Unknown': unknown application 'Unknown'"),
        ("{application: MobileNetV2, options: {alpa: 1}}", "3:45", "did you mean 'alpha'?"),
        ("{application: MobileNetV2, options: {alpha: big}}", "3:52", "must be a number, got 'big'"),
        ("{application: MobileNetV2, trainable: some}", "3:46", "'all' or 'none' or a whole number"),
        ("{application: MobileNetV2, size: [32]}", "3:41", "must be a list of at least 2"),
        ("{hypermodel: alexnet}", "3:21", "must be one of 'resnet', 'xception' or 'efficientnet'"),
        ("{saved: some.keras, custom_objects: {Mine: mine}}", "3:51", "module:name"),
    ],
)
def test_a_fault_is_told_at_its_place(tmp_path: Path, model: str, place: str, words: str) -> None:
    lines = told(tmp_path, model)
    assert any(f"b.yaml:{place}: " in line and words in line for line in lines), lines


def test_what_has_no_effect_is_refused(tmp_path: Path) -> None:
    (line,) = told(tmp_path, "{saved: some.keras}", "initialization: {kernel: he_normal}")
    assert "initialization.kernel: has no effect" in line
    for kind, model in {"hypermodel": "xception", "application": "MobileNetV2"}.items():
        (line,) = told(tmp_path, f"{{{kind}: {model}}}", data="{source: wine}")
        assert f"{kind} is for pictures, and wine is a table" in line


@pytest.mark.parametrize("model", ["{application: MobileNetV2}", "{saved: some.keras}"])
def test_a_parameter_that_nothing_uses_is_refused(tmp_path: Path, model: str) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(f"version: 1\ndata: {{source: digits}}\nmodel: {model}\nsearch_space: {{{RATE}}}\n")
    with pytest.raises(SpecError, match="rate is declared and never used"):
        load(path)
