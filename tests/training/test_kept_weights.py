"""`checkpoints.keep`: the weights on the disk are those of the epoch that the score is of, as plain Keras finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from hptune import __main__ as program
from hptune.training.core.best import Best

CODE = """
import numpy as np

def data():
    rng = np.random.RandomState(0)
    x = rng.normal(size=(90, 4)).astype("float32")
    y = (x[:, 0] + 1.5 * rng.normal(size=90) > 0).astype("int64")  # mostly noise: it is soon learnt by heart
    return (x[:60], y[:60]), (x[60:], y[60:])

def samples():
    (x, y), (more, labels) = data()
    return np.concatenate([x, more]), np.concatenate([y, labels])
"""

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "a",
    "data": {"python": "kept_data:data", "scale": "none"},
    "model": {
        "layers": [{"Dense": {"units": 32, "activation": "relu"}}, {"Dense": {"units": 2, "activation": "softmax"}}]
    },
    "search_space": {"rate": {"type": "choice", "values": [0.03, 0.05, 0.1]}},
    "training": {"optimizer": {"name": "adam", "learning_rate": "$rate"}, "epochs": 9, "batch_size": 16},
    "objective": {"metric": "val_loss", "goal": "minimize"},
    "strategy": {"name": "grid"},
    "execution": {"executor": "inline"},
}


def searched(folder: Path, capsys: pytest.CaptureFixture[str], **sections: Any) -> list[dict[str, Any]]:
    """The rows of the best trials."""
    (folder / "kept_data.py").write_text(CODE)
    (folder / "a.yaml").write_text(yaml.safe_dump({**SPEC, **sections}))
    runs = ["--runs-dir", str(folder / "runs")]
    assert program.run(["search", str(folder / "a.yaml"), "--quiet", *runs]) == 0
    capsys.readouterr()
    assert program.run(["best", "--json", *runs]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def samples(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec((folder / "kept_data.py").read_text(), found)
    return found


def evaluated(path: Path, x: Any, y: Any) -> float:
    """The loss of the weights in a state, put into a model that plain Keras builds."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(2, "softmax")])
    with np.load(path) as file:
        for at, variable in enumerate(model.variables):
            variable.assign(file[f"model.{at}"])
    model.compile(loss="sparse_categorical_crossentropy")
    return float(model.evaluate(x, y, verbose=0))


STRATEGIES: list[Any] = [
    {"name": "grid"},
    {"name": "asha", "min_epochs": 1, "factor": 3},
    {"name": "hyperband", "factor": 3},
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_kept_weights_earned_the_score(tmp_path: Path, capsys: pytest.CaptureFixture[str], strategy: Any) -> None:
    rows = searched(tmp_path, capsys, strategy=strategy, checkpoints={"keep": 2}, budget={"trials": 3})
    _, (x, y) = samples(tmp_path)["data"]()
    kept = sorted((tmp_path / "runs" / "a" / "trials").glob("*/state-*.npz"))
    assert len(kept) == 2, "of the two best, one each"
    for path in kept:
        (row,) = (row for row in rows[:2] if row["trial"] == int(path.parent.name))
        assert evaluated(path, x, y) == pytest.approx(row["score"], rel=1e-5)
    if strategy["name"] == "grid":
        assert any(not path.name.endswith("-e009.npz") for path in kept), "else the last epoch's would do too"


def test_so_do_those_of_each_repeat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = searched(tmp_path, capsys, evaluation={"repeats": 2})[0]
    _, (x, y) = samples(tmp_path)["data"]()
    kept = sorted((tmp_path / "runs" / "a" / "trials").glob("*/state-*.npz"))
    assert [int(path.parent.name) for path in kept] == [row["trial"]] * 2
    assert [evaluated(path, x, y) for path in kept] == pytest.approx(row["scores"], rel=1e-5)


class Counted:
    """What is trained; its state tells how often it was asked for."""

    asked = 0

    def state(self) -> Any:
        self.asked += 1
        return self.asked


@pytest.mark.parametrize(
    ("scores", "above", "epoch"),
    [
        ((0.5, 0.9, 0.9, 0.7), None, 2),
        ((0.5, 0.9, 0.9, 0.7), 0.8, 2),
        ((0.5, 0.9, 0.9, 0.7), 0.9, 0),
        ((float("nan"), 0.1, float("nan")), None, 2),
        ((float("nan"), float("nan")), None, 2),
    ],
)
def test_the_first_of_the_best_epochs_is_taken(scores: tuple[float, ...], above: float | None, epoch: int) -> None:
    from hptune.experiment.objective import Objective

    best = Best(Objective(metric="score", goal="maximize"), above)
    for at, score in enumerate(scores, start=1):
        best.take(Counted(), at, {"score": score})
    assert best.epoch == epoch
    assert (best.state is None) == (epoch == 0)
