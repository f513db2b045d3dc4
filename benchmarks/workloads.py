"""The work that every tool is given: one description of data, model and value ranges for all of them.

hptune reads it as YAML; the peers' builders read the same layers and domains, and train on the very arrays that hptune
makes of the data, so that split, scaling, ranges, batch sizes and epochs can't differ. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

Domain: TypeAlias = Mapping[str, Any]
"""As hptune's `search_space` spells it: type, min, max, step, log; or values."""

Values: TypeAlias = Mapping[str, Any]

IMAGES = "images.npz"
"""The generated pictures, in the folder of the run."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A data set, a model and the values to search. All are classifiers, trained by Adam, scored by accuracy.

    data: hptune's `data` section. layers: its `model.layers`. space: its `search_space`; it has `learning_rate` and
    `batch_size`. seeds, budget_s: how often a tool runs and for how many seconds each time, unless told otherwise.
    """

    name: str
    title: str
    data: Mapping[str, Any]
    layers: tuple[Any, ...]
    space: Mapping[str, Domain]
    epochs: int
    seeds: int
    budget_s: float

    def experiment(self, *, seed: int, strategy: Mapping[str, Any], trials: int, epochs: int) -> dict[str, Any]:
        """The experiment as hptune reads it."""
        return {
            "version": 1,
            "name": self.name,
            "seed": seed,
            "data": {**self.data, "validation": 0.2, "test": 0.2},
            "model": {"layers": list(self.layers)},
            "search_space": {name: dict(domain) for name, domain in self.space.items()},
            "training": {
                "optimizer": {"name": "adam", "learning_rate": "$learning_rate"},
                "loss": "sparse_categorical_crossentropy",
                "metrics": ["accuracy"],
                "batch_size": "$batch_size",
                "epochs": epochs,
            },
            "objective": {"metric": "val_accuracy", "goal": "maximize"},
            "strategy": dict(strategy),
            "budget": {"trials": trials},
        }

    def structures(self) -> list[Values]:
        """Every combination of the values that shape the graph; the floats, which don't, in the middle."""
        axes = [[(name, value) for value in _points(domain)] for name, domain in self.space.items()]
        return [dict(point) for point in product(*axes)]


def structure_of(values: Values) -> str:
    """What tells the graph of these values from another's.

    >>> structure_of({"units": 32, "dropout": 0.25, "batch_size": 64})
    'batch_size=64,units=32'
    """
    return ",".join(f"{name}={value}" for name, value in sorted(values.items()) if not isinstance(value, float))


def model_of(layers: tuple[Any, ...], values: Values, input_shape: tuple[int, ...]) -> Any:
    """The layers with these values as a Keras model, compiled as `Workload.experiment` says."""
    import keras

    model = keras.Sequential([keras.Input(input_shape)])
    for layer in layers:
        ((name, arguments),) = {layer: {}}.items() if isinstance(layer, str) else layer.items()
        model.add(getattr(keras.layers, name)(**{key: _filled(given, values) for key, given in arguments.items()}))
    optimizer = keras.optimizers.Adam(values["learning_rate"])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def write_images(folder: Path, *, count: int = 20_000) -> None:
    """Generated pictures: uint8 [count, 28, 28, 1] in ten classes, the same whenever they are made.

    A class is a smooth random pattern; a picture shows it shifted by up to 4 pixels each way, weakly, under noise.
    """
    import numpy as np

    random = np.random.RandomState(0)  # its stream is frozen for all versions of numpy
    coarse = random.normal(size=(10, 7, 7))
    patterns = np.kron(coarse, np.ones((1, 6, 6)))[:, 1:41, 1:41]
    patterns = np.mean([np.roll(patterns, (i, j), (1, 2)) for i in range(-2, 3) for j in range(-2, 3)], axis=0)
    y = random.randint(0, 10, count)
    down, right = random.randint(0, 9, (2, count))
    rows, columns = np.arange(28)[None, :, None], np.arange(28)[None, None, :]
    shown = patterns[y[:, None, None], down[:, None, None] + rows, right[:, None, None] + columns]
    strength = random.uniform(0.3, 1.0, (count, 1, 1))
    x = 128 + 48 * (strength * shown + random.normal(0, 0.8, shown.shape))
    np.savez(folder / IMAGES, x=np.clip(x, 0, 255).astype(np.uint8)[..., None], y=y.astype(np.int32))


def _filled(given: Any, values: Values) -> Any:
    return values[given[1:]] if isinstance(given, str) and given.startswith("$") else given


def _points(domain: Domain) -> list[Any]:
    if domain["type"] == "choice":
        return list(domain["values"])
    if domain["type"] == "int":
        return list(range(domain["min"], domain["max"] + 1, domain.get("step", 1)))
    low, high = domain["min"], domain["max"]
    return [float((low * high) ** 0.5 if domain.get("log") else (low + high) / 2)]


_RATE: Domain = {"type": "float", "min": 1e-4, "max": 1e-1, "log": True}
_WIDE_RATE: Domain = {**_RATE, "min": 1e-5}
_DROPOUT: Domain = {"type": "float", "min": 0.0, "max": 0.5}
_DROP = {"Dropout": {"rate": "$dropout"}}


def _choice(*values: int) -> Domain:
    return {"type": "choice", "values": list(values)}


def _dense(units: Any, activation: str = "relu") -> dict[str, Any]:
    return {"Dense": {"units": units, "activation": activation}}


def _conv(filters: Any) -> dict[str, Any]:
    return {"Conv2D": {"filters": filters, "kernel_size": 3, "activation": "relu"}}


WORKLOADS: tuple[Workload, ...] = (
    Workload(
        name="digits-dense",
        title="a dense net on digits (1,797 pictures of 8 × 8)",
        data={"source": "digits"},
        layers=("Flatten", _dense("$units"), _DROP, _dense(10, "softmax")),
        space={
            "units": {"type": "int", "min": 32, "max": 128, "step": 32},
            "dropout": _DROPOUT,
            "learning_rate": _RATE,
            "batch_size": _choice(32, 64),
        },
        epochs=10,
        seeds=3,
        budget_s=12,
    ),
    Workload(
        name="digits-cnn",
        title="a CNN on digits",
        data={"source": "digits"},
        layers=(_conv("$filters"), _conv(64), "Flatten", _dense(128), _DROP, _dense(10, "softmax")),
        # As for a network that its user does not know yet: the rates of Optuna's own example for Keras, and every usual
        # size. It was 1e-4 and up, 16 to 64 filters, batches of 32 and 64 at first: of those points six in ten reach
        # the target, the first or second trial has it, and what is measured is how long TensorFlow takes to start.
        space={
            "filters": _choice(8, 16, 32, 64),
            "dropout": _DROPOUT,
            "learning_rate": _WIDE_RATE,
            "batch_size": _choice(16, 32, 64, 128),
        },
        epochs=10,
        seeds=5,
        budget_s=20,
    ),
    Workload(
        name="cancer-dense",
        title="a dense net on breast_cancer (569 rows of 30 columns)",
        data={"source": "breast_cancer"},
        layers=(_dense("$units"), _DROP, _dense(2, "softmax")),
        space={
            "units": _choice(16, 32, 64),
            "dropout": _DROPOUT,
            "learning_rate": _RATE,
            "batch_size": _choice(16, 32),
        },
        epochs=10,
        seeds=2,
        budget_s=12,
    ),
    Workload(
        name="images-cnn",
        title="a larger CNN on 20,000 generated pictures of 28 × 28",
        data={"npz": IMAGES},
        layers=(
            _conv("$filters"),
            "MaxPooling2D",
            _conv(64),
            "MaxPooling2D",
            "Flatten",
            _dense(128),
            _DROP,
            _dense(10, "softmax"),
        ),
        space={
            "filters": _choice(16, 32),
            "dropout": _DROPOUT,
            "learning_rate": _RATE,
            "batch_size": _choice(64, 128),
        },
        epochs=3,
        seeds=1,
        budget_s=60,
    ),
)
"""In the order of the report. The ranges were chosen before anything was measured, but for digits-cnn's."""
