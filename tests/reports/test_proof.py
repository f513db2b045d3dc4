"""`hptune plan --prove`: an epoch both ways; what differs is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hptune.executors.inline import InlineExecutor
from hptune.experiment.reading.load import load
from hptune.reports.proof import proof, proof_lines
from hptune.run.rundir import RunPaths
from hptune.training.models.dials import Dial

HEAD = "version: 1\nname: t\nstrategy: {name: random}\nexecution: {executor: inline}\n"

SPECS = {
    "classes": """
data: {source: digits, limit: 150}
model:
  layers:
    - Conv2D: {filters: 4, kernel_size: 3, activation: relu}
    - BatchNormalization
    - Flatten
    - Dropout: {rate: $rate}
    - Dense: {units: 10, activation: softmax}
search_space: {rate: {type: float, min: 0, max: 0.5}}
training: {batch_size: 40, regularization: {kernel: {l2: 1e-2}, label_smoothing: 0.1}}
schedule: {name: cosine}
""",
    "regression": """
data: {source: diabetes}
model: {layers: [Dense: {units: $units, activation: relu}, Dense: {units: 1}]}
search_space: {units: {type: int, min: 4, max: 9}}
training:
  optimizer: {name: sgd, learning_rate: 0.05, momentum: 0.9, clipnorm: 1.0}
  loss: huber
  metrics: [mae, r2_score]
""",
    "recurrent": """
data: {source: digits, limit: 100}
model:
  layers:
    - Reshape: {target_shape: [8, 8]}
    - Bidirectional: {layer: {LSTM: {units: 3, kernel_regularizer: {L2: {l2: $l2}}}}}
    - Dense: {units: 10, activation: softmax}
search_space: {l2: {type: float, min: 1e-4, max: 1e-1, log: true}}
""",
    "augmented": """
data: {source: digits, limit: 100, augment: {translate: $shift, rotate: 0.1}}
model: {layers: [Flatten, Dense: {units: 10, activation: softmax}]}
search_space: {shift: {type: float, min: 0, max: 0.2}}
""",
}


def proved(folder: Path, spec: str) -> dict[str, Any]:
    (folder / "t.yaml").write_text(HEAD + spec)
    loaded = load(folder / "t.yaml")
    executor = InlineExecutor(loaded.experiment, folder, RunPaths(folder / "runs" / "t"), lambda *_: None)
    return proof(executor, loaded.experiment)


@pytest.mark.parametrize(
    "name",
    ["classes", "augmented", *(pytest.param(name, marks=pytest.mark.slow) for name in ("regression", "recurrent"))],
)
def test_both_ways_give_the_same(tmp_path: Path, name: str) -> None:
    told = proved(tmp_path, SPECS[name])
    assert told["equal"], told
    assert told["weights"] < 1e-5
    assert "val_loss" in told["metrics"]
    assert "equal but for the noise" in "\n".join(proof_lines(told))


def test_a_dial_that_does_not_count_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break one rule: every dial is turned to half of what it should be."""
    right = Dial.set
    monkeypatch.setattr(Dial, "set", lambda self, value: right(self, value / 2))
    told = proved(tmp_path, SPECS["classes"])
    assert not told["equal"]
    assert "NOT equal" in "\n".join(proof_lines(told))


WEIGHTED = """
import keras
def build(hp):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(hp.Int("units", 3, 4)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", loss_weights=0.3)
    return model
"""


def test_the_plain_figure_has_a_builders_loss_weights(tmp_path: Path) -> None:
    (tmp_path / "weighted_net.py").write_text(WEIGHTED)
    told = proved(
        tmp_path, "data: {source: iris}\nmodel: {python: 'weighted_net:build'}\nobjective: {metric: val_loss}\n"
    )
    assert told["equal"], told


def test_what_keras_does_not_train_is_refused(tmp_path: Path) -> None:
    from hptune.base.errors import SpecError

    with pytest.raises(SpecError, match="not trained by Keras"):
        proved(
            tmp_path,
            "data: {source: iris}\nmodel: {sklearn: sklearn.linear_model.Ridge, params: {alpha: $a}}\n"
            "search_space: {a: {type: float, min: 0, max: 1}}\n",
        )
