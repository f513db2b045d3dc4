"""Winners as users get them: trained once, by the values of a spec; their files, figures and predictions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.worker import Worker
from hptune.winner.predict import predict

from .draw import Array

VALUE = 0.01
"""Of the one hyperparameter, `$v`."""


@dataclass(frozen=True, slots=True)
class Winner:
    """A run, of which the winner was trained, and what is told of it."""

    run: RunPaths
    facts: Mapping[str, Any]

    def told(self, file: Path) -> tuple[list[str], Array]:
        """What `hptune predict` prints for a file: the predictions, and the numbers behind them [n, k]."""
        out = io.StringIO()
        predict(self.run, file, out)
        _, *rows = csv.reader(io.StringIO(out.getvalue()))
        return [row[0] for row in rows], np.array([[float(number) for number in row[1:]] for row in rows])

    def model(self) -> Any:
        """`model.keras`, loaded as anyone would."""
        import keras

        return keras.models.load_model(self.run.best_model)


def worker(where: Path, data: Mapping[str, Any], model: str, more: str = "", value: Any = VALUE) -> Worker:
    """The worker of an experiment. more: further sections, a line each."""
    space = f"search_space: {{v: {{type: choice, values: [{value}]}}}}"
    lines = ["version: 1", "name: t", f"data: {json.dumps(data)}", f"model: {model}", space, more]
    (where / "spec.yaml").write_text("\n".join(lines) + "\n")
    loaded = load(where / "spec.yaml")
    return Worker(loaded.experiment, loaded.folder, RunPaths(where / "runs" / "t"))


def of_sklearn(where: Path, data: Mapping[str, Any], model: str, more: str = "", value: Any = VALUE) -> Winner:
    """model: `{sklearn: …}`, with `$v` somewhere."""
    made = worker(where, data, f"{{sklearn: {model}}}", more, value).run(
        Segment(0, {"v": value}, to_epoch=1, purpose="best")
    )
    return Winner(RunPaths(where / "runs" / "t"), made.facts)


def of_keras(
    where: Path, data: Mapping[str, Any], layers: str = "[Output]", *, metrics: str = "", epochs: int = 2
) -> Winner:
    """layers: as the YAML has them; `Output` is a Dense layer as large as the data wants it."""
    told = f", metrics: {metrics}" if metrics else ""
    more = f"training: {{epochs: {epochs}, batch_size: 16, optimizer: {{name: adam, learning_rate: $v}}{told}}}"
    made = worker(where, data, f"{{layers: {layers}}}", more).run(
        Segment(0, {"v": VALUE}, to_epoch=epochs, purpose="best")
    )
    return Winner(RunPaths(where / "runs" / "t"), made.facts)


def dense(model: Any) -> list[tuple[Array, Array]]:
    """(kernel, bias) of every Dense layer, in the order in which they are called; float64."""
    import keras

    flat = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)]
    return [tuple(np.asarray(one, np.float64) for one in layer.get_weights()) for layer in flat]  # type: ignore[misc]


def softmax(numbers: Array) -> Array:
    powers = np.exp(numbers - numbers.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def sigmoid(numbers: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-numbers)))
