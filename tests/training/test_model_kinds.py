"""What holds for every kind of model, run over all of them; a kind that is missing here fails by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hptune.base.errors import SpecError
from hptune.base.rows import load_row
from hptune.base.trial import Segment
from hptune.experiment.experiment import Experiment
from hptune.experiment.model import MODEL_KINDS, ModelOptions
from hptune.experiment.reading.load import from_json, load, to_json
from hptune.experiment.recipe import full_epochs
from hptune.experiment.space.space import Space
from hptune.reports.lr_range import check_has_rate
from hptune.run.rundir import RunPaths
from hptune.training.runtime import keras
from hptune.training.worker import Worker

ROOT = Path(__file__).parents[2]

CODE = """\
import keras


def build(hp):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")])
    rate = hp.Float("rate", 1e-4, 1e-1)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def score(n, epoch):
    return {"score": n + epoch}
"""

DIGITS: dict[str, Any] = {"source": "digits", "limit": 60}
SPACE: dict[str, Any] = {"n": {"type": "int", "min": 1, "max": 4}}
RATE: dict[str, Any] = {"rate": {"type": "float", "min": 1e-4, "max": 1e-1}}
BY_RATE: dict[str, Any] = {"training": {"optimizer": {"learning_rate": "$rate"}, "epochs": 2}, "search_space": RATE}
SCORE: dict[str, Any] = {"metric": "score", "goal": "maximize"}
TREE = "sklearn.tree.DecisionTreeClassifier"


def saved(folder: Path) -> dict[str, Any]:
    layers = keras().layers
    keras().Sequential([keras().Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, "softmax")]).save(
        folder / "made.keras"
    )
    return {"model": {"saved": "made.keras", "reinitialize": True}, **BY_RATE}


def of(model: dict[str, Any], **sections: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda _: {"model": model, **sections}


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "layers": of({"layers": ["Flatten", {"Dense": {"units": "$n"}}, "Output"]}, search_space=SPACE),
    "preset": of({"preset": "mlp", "depth": 1}),
    "python": of({"python": "kinds_of_a_user:build"}),
    "function": of({"function": "kinds_of_a_user:score"}, search_space=SPACE, objective=SCORE),
    "sklearn": of(
        {"sklearn": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": "$n"}}, search_space=SPACE
    ),
    "application": of({"application": "MobileNetV2", "options": {"alpha": 0.35}, "trainable": "none"}, **BY_RATE),
    "hypermodel": of({"hypermodel": "xception"}, training={"epochs": 2}),
    "saved": saved,
}
"""A small model of each kind: what it puts into the folder, and its sections."""

LARGE = ("application", "hypermodel")
"""Networks that take long to compile, whose training `test_built_models.py` looks at."""


def experiment(key: str, folder: Path, **sections: Any) -> Experiment:
    assert key in CASES, f"add a small model of the kind {key!r} to CASES"
    (folder / "kinds_of_a_user.py").write_text(CODE)
    data = {"data": DIGITS} if MODEL_KINDS[key].takes_data else {}
    epochs = {} if MODEL_KINDS[key].epochs is False else {"training": {"epochs": 2}}
    given = {"version": 1, "name": "k", **data, **epochs, **CASES[key](folder), **sections}
    (folder / "k.yaml").write_text(json.dumps(given))
    return load(folder / "k.yaml").experiment


def refused(key: str, folder: Path, words: str, **sections: Any) -> None:
    with pytest.raises(SpecError, match=words):
        experiment(key, folder, **sections)


@pytest.fixture(params=MODEL_KINDS)
def key(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_kind_is_read_written_as_json_and_read_again(key: str, tmp_path: Path) -> None:
    given = experiment(key, tmp_path)
    kind = MODEL_KINDS[key]
    assert type(given.model) is (kind if kind.trainer else MODEL_KINDS["layers"])
    assert from_json(json.loads(json.dumps(to_json(given)))) == given
    assert given.model.layered == bool(given.model.stack)
    assert given.model.code is None or re.fullmatch(r"\w+:\w+", given.model.code)


@pytest.mark.parametrize("key", [key for key in MODEL_KINDS if key not in LARGE])
def test_every_kind_is_trained_alike_in_another_worker_up_to_its_epochs(key: str, tmp_path: Path) -> None:
    given = experiment(key, tmp_path)
    values = {**Space(given.search_space).defaults(), **({"rate": 1e-2} if given.model.declares else {})}
    epochs = full_epochs(given, values)
    found = []
    for name in ("one", "other"):
        worker = Worker(given, tmp_path, RunPaths(tmp_path / "runs" / name))
        facts = worker.run(Segment(0, {}, purpose="probe")).facts
        assert (facts["task"] is not None) == given.model.takes_data
        assert bool(facts.get("space")) == given.model.declares
        result = worker.run(Segment(0, values, to_epoch=epochs))
        found.append({name: curve for name, curve in result.curves.items() if name != "seconds"})
        assert all(len(curve) == epochs for curve in found[-1].values())
        assert ("val_loss" in found[-1]) == given.model.keras
        scored = {"accuracy"} if given.model.scorers else {"val_loss"} if given.model.keras else {"score"}
        assert scored <= set(found[-1])
    assert found[0] == found[1]
    assert epochs == (1 if given.model.epochs is False else 2)


def test_what_a_kind_has_no_use_for_is_refused(key: str, tmp_path: Path) -> None:
    kind = MODEL_KINDS[key]
    if not kind.takes_data:
        refused(key, tmp_path, f"{kind.called} brings its own data", data=DIGITS)
        refused(key, tmp_path, f"{kind.called} brings its own data", evaluation={"folds": 3})
    if kind.folds is not None:
        refused(key, tmp_path, f"can't stand beside {kind.called}", data={**DIGITS, "validation": 0.3})
        assert experiment(key, tmp_path).evaluation.folds == kind.folds
    if kind.for_pictures:
        refused(key, tmp_path, f"{key} is for pictures, and wine is a table", data={"source": "wine"})
    layers = kind.layered or not kind.trainer
    if not layers:
        refused(key, tmp_path, "initialization", initialization={"kernel": "he_normal"})
    assert experiment(key, tmp_path, **({"initialization": {"kernel": "he_normal"}} if layers else {}))
    if kind.keras:
        return
    with pytest.raises(SpecError, match=f"{kind.called} has no learning rate"):
        check_has_rate(experiment(key, tmp_path))


def test_every_kind_is_documented_has_its_modules_and_is_in_the_schema(key: str) -> None:
    kind = MODEL_KINDS[key]
    page = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8").split("\n## model\n")[1].split("\n### ")[0]
    assert re.search(rf"^\| `{key}`( \$)? \|", page, re.M), f"docs/experiment.md has no row for model.{key}"
    schema = json.loads((ROOT / "configs" / "schema.json").read_text(encoding="utf-8"))
    assert {"$ref": f"#/$defs/{kind.__name__}"} in schema["properties"]["model"]["oneOf"]
    rows = {"training.trainers": kind.trainer, "training.models": kind.maker, "experiment.checks": kind.checks}
    for room, row in rows.items():
        assert not row or callable(load_row(f"hptune.{room}", row))
    assert issubclass(kind, ModelOptions)
