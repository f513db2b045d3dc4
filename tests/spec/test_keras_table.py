"""The table of Keras's names and arguments is that of the installed Keras, and every metric has its direction."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from hptune.experiment.directions import DIRECTIONS, direction
from hptune.experiment.keras_table import arguments, names, reported_name, table
from hptune.training import runtime

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("keras_api", ROOT / "scripts" / "keras_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_what_the_installed_keras_says(script: ModuleType) -> None:
    assert json.loads(json.dumps(script.table())) == table(), "run: python scripts/keras_api.py"


def test_what_stands_in_it() -> None:
    assert "default" not in arguments("layers", "Dense")["units"]
    assert arguments("layers", "Dense")["use_bias"] == {"default": True}
    assert {"name", "trainable", "dtype"} <= set(arguments("layers", "Flatten"))
    assert {"momentum", "nesterov", "clipnorm"} <= set(arguments("optimizers", "sgd"))
    assert "momentum" not in arguments("optimizers", "adam")
    assert {"sparse_categorical_crossentropy", "SparseCategoricalCrossentropy", "mse"} <= set(names("losses"))
    assert {"accuracy", "acc", "mae", "AUC"} <= set(names("metrics"))
    assert not {"Layer", "Input", "Lambda"} & set(names("layers"))


def test_every_metric_has_a_direction() -> None:
    """But those that only add up; for these a goal must be given."""
    reported = {name for n in names("metrics") for name in (reported_name(n), reported_name(n, {}))}
    assert {name for name in reported if direction(name) is None} == {"Mean", "Sum", "mean", "sum"}
    assert all(direction(name) is not None for name in names("losses") if name in names("metrics"))


def test_directions_agree_with_keras() -> None:
    """What Keras itself knows of a metric's direction is what the table says."""
    keras = runtime.keras()  # not imported bare: TensorFlow must be started as hptune starts it
    checked = 0
    for name in names("metrics"):
        try:
            metric = keras.metrics.get(name)
        except (TypeError, ValueError):
            continue
        upward = getattr(metric, "_direction", None)
        if upward is not None and name in DIRECTIONS:
            assert DIRECTIONS[name] == {"up": "maximize", "down": "minimize"}[upward], name
            checked += 1
    assert checked > 20
