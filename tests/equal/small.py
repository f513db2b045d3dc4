"""Small experiments drawn at random, with the points that are tried of each; and processes that have trained nothing.

An experiment is drawn as a user would write it: as YAML, its points under `enqueue`, so that what is printed of a
failure is a file for `hptune search`.
"""

from __future__ import annotations

import math
import multiprocessing
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import yaml
from hypothesis import strategies as st

from hptune.base.errors import SegmentFailed
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths

EPOCHS = 3

CODE = """
import numpy as np

def _draw():
    return np.random.default_rng(5)

def labels():
    x = _draw().normal(size=(70, 5)).astype("float32")
    return x, np.stack([x[:, 0] > 0, x[:, 1] + x[:, 2] > 0, x[:, 3] > 0.3], 1).astype("int32")

def targets():
    x = _draw().normal(size=(70, 5)).astype("float32")
    return x, np.stack([x[:, 0] - x[:, 1], 9 + x[:, 2]], 1).astype("float32")

def sequences():
    x = _draw().normal(size=(61, 5, 3)).astype("float32")
    return x, (x.sum((1, 2)) > 0).astype("int32") + (x[:, 0, 0] > 1)

def words():
    x = _draw().integers(0, 12, size=(61, 6)).astype("int32")
    return x, (x.sum(1) % 2).astype("int32")

def streams():
    import tensorflow as tf
    x, y = sequences()
    parts = (x[:40], y[:40]), (x[40:], y[40:])
    return tuple(tf.data.Dataset.from_tensor_slices(part) for part in parts)

def net(hp, kind):
    import keras
    inputs = keras.Input((5, 3))
    if hp.Boolean("recurrent"):
        x = keras.layers.GRU(4, kernel_regularizer=keras.regularizers.L2(hp.Choice("l2", [0.0, 0.01])))(inputs)
    else:
        x = keras.layers.Flatten()(inputs)
    x = keras.layers.Dense(hp.Choice("units", [3, 6]), activation="relu")(x)
    x = keras.layers.Dropout(hp.Choice("dropout", [0.0, 0.3]))(x)
    model = kind(inputs, keras.layers.Dense(3, activation="softmax")(x))
    sgd = keras.optimizers.SGD(hp.Choice("rate", [0.01, 0.1]), momentum=hp.Choice("momentum", [0.0, 0.9]))
    model.compile(sgd, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def build(hp):
    import keras
    return net(hp, keras.Model)

def own_step(hp):
    import keras

    class Own(keras.Model):
        def train_step(self, data):
            x, y = data
            return super().train_step((x * 1.5, y))

    return net(hp, Own)

def f(x, epoch, seed):
    return {"score": x + epoch / (1 + seed % 97), "other": float(seed)}

def loss(y_true, y_pred):
    import keras
    return keras.losses.sparse_categorical_crossentropy(y_true, y_pred) * 0.5

def metric(y_true, y_pred):
    import keras
    return keras.metrics.sparse_categorical_accuracy(y_true, y_pred)
"""

OWN_FIT = """
import keras_tuner
from small_code import build

class OwnFit(keras_tuner.HyperModel):
    def build(self, hp):
        return build(hp)

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **kwargs, batch_size=8)
"""

# --- what is drawn --------------------------------------------------------------------------------------------------

_ZERO_OR_MORE = {
    "l1": (0.0, 0.001, 0.01),
    "l2": (0.0, 0.01, 0.1),
    "rate": (0.0, 0.2, 0.5),
    "stddev": (0.0, 0.3),
    "dropout": (0.0, 0.4),
    "recurrent_dropout": (0.0, 0.4),
}
"""What may be given or searched; 0 is among the values of each."""

_EVERYWHERE: Mapping[str, tuple[Any, ...]] = {
    "weight_decay": (0.0, 0.01, None),
    "clipnorm": (0.0, 0.5, None),
    "global_clipnorm": (0.5, None),
    "clipvalue": (0.0, 0.1, None),
    "use_ema": (False, True),
    "gradient_accumulation_steps": (None, 2),
}
_AVERAGES: Mapping[str, tuple[Any, ...]] = {"ema_momentum": (0.0, 0.9), "ema_overwrite_frequency": (None, 2)}
_ADAM = {"beta_1": (0.9, 0.0), "beta_2": (0.999, 0.0, 0.9), "epsilon": (1e-7, 1e-3)}

_OPTIMIZERS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "sgd": {"momentum": (0.0, 0.9, 0.5), "nesterov": (False, True)},
    "adam": {**_ADAM, "amsgrad": (False, True)},
    "adamw": _ADAM,
    "rmsprop": {"rho": (0.9, 0.0), "momentum": (0.0, 0.9), "centered": (False, True), "epsilon": (1e-7, 1e-3)},
    "adagrad": {"initial_accumulator_value": (0.1, 0.0, 0.5), "epsilon": (1e-7, 1e-3)},
    "adadelta": {"rho": (0.95, 0.0)},
    "adamax": _ADAM,
    "nadam": _ADAM,
    "ftrl": {
        "l1_regularization_strength": (0.0, 0.01),
        "l2_regularization_strength": (0.0, 0.01),
        "initial_accumulator_value": (0.1, 0.5),
        "beta": (0.0, 0.1),
    },
    "lion": {"beta_1": (0.9, 0.5)},
    "adafactor": {"relative_step": (True, False), "clip_threshold": (1.0, 0.5)},
    "muon": {"momentum": (0.95, 0.0), "nesterov": (True, False), "adam_weight_decay": (0.004, 0.0)},
    "schedulefreeadamw": {"beta_1": (0.9, 0.0), "beta_2": (0.999, 0.9), "warmup_steps": (0, 3)},
}

_METRICS: Mapping[str, list[Any]] = {
    "classes": [
        "accuracy",
        "small_code:metric",
        {"SparseTopKCategoricalAccuracy": {"k": 2}},
        "sparse_categorical_crossentropy",
    ],
    "one_hot": [
        {"AUC": {"num_thresholds": 50}},
        "accuracy",
        {"F1Score": {"average": "macro"}},
        {"Precision": {"thresholds": 0.4}},
        {"TopKCategoricalAccuracy": {"k": 2}},
        {"OneHotMeanIoU": {"num_classes": 3}},
    ],
    "regression": ["mae", "RootMeanSquaredError", "R2Score", {"MeanAbsolutePercentageError": {}}],
    "labels": [{"AUC": {"num_thresholds": 50, "multi_label": True}}, "binary_accuracy", {"Recall": {"top_k": 2}}],
}

_SCHEDULES: list[dict[str, Any]] = [
    {"name": "cosine"},
    {"name": "linear"},
    {"name": "one_cycle"},
    {"name": "plateau", "patience": 1},
    {"name": "time_decay", "decay": 0.05},
    {"name": "piecewise", "epochs": [1, 2], "factors": [0.5, 0.1]},
    {"name": "cosine_restarts", "cycles": 2},
]

_STABILIZE: list[dict[str, Any]] = [
    {"method": "lottery", "draws": 2, "epochs": 1},
    {"method": "lottery", "draws": 2, "epochs": 1, "optimizer": "sgd", "batch_size": 16},
    {"method": "warmup", "epochs": 1},
]


class _Pen:
    """Draws one experiment, and notes each name that it gives as declared."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.space: dict[str, dict[str, Any]] = {}

    def one(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def often(self) -> bool:
        return bool(self.draw(st.sampled_from((True, True, False))))

    def seldom(self) -> bool:
        return bool(self.draw(st.sampled_from((False, False, True))))

    def some(self, values: Sequence[Any], most: int) -> list[Any]:
        kept: list[Any] = self.draw(st.lists(st.sampled_from(values), max_size=most, unique_by=repr))
        return kept

    def number(self, name: str, values: tuple[Any, ...], when: Mapping[str, Any] | None = None) -> Any:
        """One of the values; or a `$name` that is searched over them."""
        if when is None and not self.often():
            return self.one(*values)
        return self.searched(name, values, when)

    def searched(self, name: str, values: tuple[Any, ...], when: Mapping[str, Any] | None = None) -> str:
        while name in self.space:
            name += "_"
        self.space[name] = {"type": "choice", "values": list(values), **({"when": dict(when)} if when else {})}
        return f"${name}"

    def regularizer(self) -> Any:
        kind = self.one("L1", "L2", "L1L2")
        numbers = ("l1", "l2") if kind == "L1L2" else (kind.lower(),)
        return {kind: {number: self.number(number, _ZERO_OR_MORE[number]) for number in numbers}}

    def optional(self, layer: str, arguments: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        """The layer, with some of what it might be given too."""
        for key, make in more.items():
            if self.seldom():
                arguments[key] = make()
        return {layer: arguments}

    # --- layers -------------------------------------------------------------------------------------------------

    def noise(self) -> Any:
        kind = self.one("Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization")
        if kind == "ActivityRegularization":
            return {kind: {"l2": self.number("activity_l2", (0.0, 0.01))}}
        key = "stddev" if kind == "GaussianNoise" else "rate"
        return {kind: {key: self.number(key, _ZERO_OR_MORE[key])}}

    def dense(self) -> Any:
        more = {
            "kernel_regularizer": self.regularizer,
            "activity_regularizer": self.regularizer,
            "bias_regularizer": lambda: "l2",
            "kernel_constraint": lambda: {"MaxNorm": {"max_value": 1.0}},
        }
        activation = self.number("activation", ("relu", "tanh"))
        return self.optional("Dense", {"units": self.number("units", (4, 7)), "activation": activation}, more)

    def between(self) -> Any:
        """A layer that takes any shape and keeps it."""
        if self.often():
            return self.noise()
        return self.one("BatchNormalization", "LayerNormalization", {"BatchNormalization": {"momentum": 0.5}})

    def convolution(self, rank: int) -> Any:
        more = {"kernel_regularizer": self.regularizer, "strides": lambda: 2}
        separable = {"depthwise_regularizer": self.regularizer, "pointwise_regularizer": self.regularizer}
        if self.seldom():
            return self.optional(f"SeparableConv{rank}D", {"filters": 3, "kernel_size": 2}, separable)
        call = {"filters": self.number("filters", (2, 4)), "kernel_size": self.one(2, 3), "activation": "relu"}
        return self.optional(f"Conv{rank}D", call, more)

    def recurrent(self) -> Any:
        kind = self.one("LSTM", "GRU", "SimpleRNN")
        more = {
            "kernel_regularizer": self.regularizer,
            "recurrent_regularizer": self.regularizer,
            "dropout": lambda: self.number("dropout", _ZERO_OR_MORE["dropout"]),
            "recurrent_dropout": lambda: self.number("recurrent_dropout", _ZERO_OR_MORE["recurrent_dropout"]),
        }
        inner = self.optional(kind, {"units": self.number("units", (3, 5))}, more)
        return {"Bidirectional": {"layer": inner}} if self.seldom() else inner

    def hidden(self, kind: str) -> list[Any]:
        """One to three layers, and what lays their output flat."""
        if kind == "table" and self.seldom():
            first, second = (
                {"units": 4, "name": "a"},
                {"units": 4, "name": "b", "kernel_regularizer": self.regularizer()},
            )
            return [{"Dense": first}, self.between(), {"Dense": second}, {"Add": {"from": ["a", "b"]}}]
        if kind == "table":
            middle = [self.between()] if self.often() else []
            return [self.dense(), *middle, *([self.dense()] if self.seldom() else [])]
        if kind == "pictures":
            middle = [
                self.between() if self.often() else {"SpatialDropout2D": {"rate": self.number("rate", (0.0, 0.3))}}
            ]
            return [self.convolution(2), *middle, self.one("Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D")]
        front = [{"Embedding": {"input_dim": 12, "output_dim": 3, "mask_zero": self.one(False, True)}}]
        layers = front if kind == "words" else []
        if kind != "words" and self.seldom():
            rate = self.number("dropout", _ZERO_OR_MORE["dropout"])
            attention = {"num_heads": 1, "key_dim": 2, "dropout": rate, "from": {"query": "input", "value": "input"}}
            attention |= {"kernel_regularizer": self.regularizer()} if self.often() else {}
            inner = self.optional("Dense", {"units": 3}, {"kernel_regularizer": self.regularizer})
            return [{"MultiHeadAttention": attention}, {"TimeDistributed": {"layer": inner}}, "GlobalMaxPooling1D"]
        if self.seldom() and kind != "words":
            return [self.convolution(1), self.between(), "Flatten"]
        if self.seldom():
            layers = [*layers, {"SpatialDropout1D": {"rate": self.number("rate", (0.0, 0.3))}}]
        return [*layers, self.recurrent(), *([self.between()] if self.often() else [])]

    # --- training -----------------------------------------------------------------------------------------------

    def optimizer(self) -> dict[str, Any]:
        names = self.draw(st.lists(st.sampled_from(list(_OPTIMIZERS)), min_size=1, max_size=2, unique=True))
        found: dict[str, Any] = {"name": names[0]}
        if len(names) > 1:
            found["name"] = self.searched("optimizer", tuple(names))
        found["learning_rate"] = self.number("learning_rate", (0.01, 0.05))
        own = {key for name in names for key in _OPTIMIZERS[name]}
        for key in self.some(sorted(own), 3):
            having = [name for name in names if key in _OPTIMIZERS[name]]
            when = {"optimizer": having} if len(having) < len(names) else None
            found[key] = self.number(key, _OPTIMIZERS[having[0]][key], when)
        clipped = False
        for key in self.some(list(_EVERYWHERE), 2):
            if key.startswith(("clip", "global_clip")):
                if clipped:
                    continue
                clipped = True
            found[key] = self.number(key, _EVERYWHERE[key])
        for key in self.some(list(_AVERAGES), 2) if "use_ema" in found else ():
            found[key] = self.number(key, _AVERAGES[key])
        return found

    def training(self, task: str) -> dict[str, Any]:
        found: dict[str, Any] = {"optimizer": self.optimizer(), "epochs": EPOCHS}
        first, *others = _METRICS[task]
        found["metrics"] = [*([first] if self.often() else []), *self.some(others, 2)] or [first]
        if task == "one_hot":
            found["loss"] = self.one("categorical_crossentropy", {"CategoricalFocalCrossentropy": {"gamma": 1.5}})
        own_loss = task == "classes" and self.seldom()
        if own_loss:
            found["loss"] = "small_code:loss"
        found["batch_size"] = self.number("batch_size", (16, 7, 1000))
        regularization: dict[str, Any] = {}
        if self.seldom():
            numbers = self.some(("l1", "l2"), 2) or ["l2"]
            regularization["kernel"] = {key: self.number(f"kernel_{key}", _ZERO_OR_MORE[key]) for key in numbers}
        smooths = task != "regression" and not own_loss and not isinstance(found.get("loss"), dict)
        if smooths and self.seldom():
            regularization["label_smoothing"] = self.number("label_smoothing", (0.0, 0.1))
        if regularization:
            found["regularization"] = regularization
        if self.seldom():
            found["early_stopping"] = {"patience": 1}
        return found

    def schedule(self) -> dict[str, Any]:
        found = dict(self.draw(st.sampled_from(_SCHEDULES)))
        if self.often():
            found["warmup"] = {"epochs": self.number("warmup", (1, 0.5)), "start": self.number("start", (0.0, 1e-3))}
        return found

    def augment(self) -> dict[str, Any]:
        names = self.some(("translate", "rotate", "zoom", "contrast", "brightness"), 2)
        found = {name: self.number(name, (0.0, 0.1)) for name in names}
        if self.seldom() or not found:
            found["flip"] = self.number("flip", ("horizontal", "vertical"))
        return found


_DATA: list[tuple[str, str, dict[str, Any]]] = [
    ("table", "classes", {"source": "iris", "limit": 60}),
    ("table", "one_hot", {"source": "iris", "limit": 60, "one_hot": True}),
    ("table", "one_hot", {"source": "wine", "limit": 60, "one_hot": True}),
    ("table", "regression", {"source": "diabetes", "limit": 60}),
    ("table", "regression", {"python": "small_code:targets"}),
    ("table", "labels", {"python": "small_code:labels"}),
    ("pictures", "classes", {"source": "digits", "limit": 70}),
    ("pictures", "classes", {"source": "digits", "limit": 70, "stream": True}),
    ("sequences", "classes", {"python": "small_code:sequences"}),
    ("sequences", "classes", {"python": "small_code:streams"}),
    ("words", "classes", {"python": "small_code:words"}),
]


@dataclass(frozen=True)
class Drawn:
    """An experiment, as a user would write it, its points under `enqueue`. order: another order of them.

    pieces: where its trials are also trained in two pieces, the epoch at which they are cut. elsewhere: the second
    pieces in another process than the first ones.
    """

    tree: dict[str, Any]
    order: list[int]
    pieces: int | None
    elsewhere: bool

    @property
    def points(self) -> list[dict[str, Any]]:
        """What is tried, each point whole."""
        points: list[dict[str, Any]] = self.tree["enqueue"]
        return points

    @property
    def epochs(self) -> int:
        """How many a trial has; what is fitted in one go counts as one."""
        return 1 if "sklearn" in self.tree["model"] else EPOCHS

    @property
    def yaml(self) -> str:
        return yaml.safe_dump(self.tree, sort_keys=False, default_flow_style=None, width=120)

    @property
    def replicas(self) -> int:
        evaluation = self.tree.get("evaluation", {})
        return int(evaluation.get("folds") or evaluation.get("repeats") or 1)


_BUILT = {
    "recurrent": [False, True],
    "l2": [0.0, 0.01],
    "units": [3, 6],
    "dropout": [0.0, 0.3],
    "rate": [0.01, 0.1],
    "momentum": [0.0, 0.9],
}
"""What the builders ask for."""

_FOREST = {"n_estimators": "$trees", "max_features": "$features", "bootstrap": "$bootstrap"}


def _of_code(pen: _Pen) -> dict[str, Any]:
    """An experiment whose model is code that asks for its own hyperparameters."""
    names = ("small_code:build", "small_code:own_step", "small_fit:OwnFit")
    pen.space = {name: {"type": "choice", "values": values} for name, values in _BUILT.items()}
    pen.space["l2"]["when"] = {"recurrent": [True]}
    training = {"epochs": EPOCHS, "batch_size": pen.number("batch_size", (16, 7, 1000))}
    return {"data": {"python": "small_code:sequences"}, "model": {"python": pen.one(*names)}, "training": training}


def _of_function(pen: _Pen) -> dict[str, Any]:
    pen.searched("x", (0.0, 1.5, 3.0))
    goal = {"metric": "score", "goal": "maximize"}
    return {"model": {"function": "small_code:f"}, "training": {"epochs": EPOCHS}, "objective": goal}


def _of_sklearn(pen: _Pen) -> dict[str, Any]:
    for name, values in (("trees", (2, 5)), ("features", (1, 2)), ("bootstrap", (False, True))):
        pen.searched(name, values)
    forest = {"sklearn": "sklearn.ensemble.RandomForestClassifier", "params": dict(_FOREST)}
    return {"data": {"source": "iris"}, "model": forest, "evaluation": {"folds": 2}}


def _of_layers(pen: _Pen) -> dict[str, Any]:
    kind, task, data = pen.one(*_DATA)
    two = "targets" in str(data) and pen.often()
    model = _two_outputs(pen) if two else {"layers": [*pen.hidden(kind), "Output"]}
    tree: dict[str, Any] = {"data": dict(data), "model": model, "training": pen.training(task)}
    if two:
        tree["training"] |= {"loss": {"one": "mse", "two": "mae"}, "metrics": {"two": [{"R2Score": {}}, "mae"]}}
    if pen.seldom():
        tree["schedule"] = pen.schedule()
    if kind == "pictures" and pen.seldom():
        tree["data"]["augment"] = pen.augment()
    if task == "classes" and "streams" not in str(data) and pen.seldom():
        tree["data"]["class_weight"] = "balanced"
    if pen.seldom():
        tree["initialization"] = {"kernel": pen.number("kernel", ("he_normal", "orthogonal"))}
    if pen.seldom():
        tree.setdefault("initialization", {})["stabilize"] = dict(pen.one(*_STABILIZE))
    if not pen.space:
        tree["training"]["optimizer"]["learning_rate"] = pen.searched("learning_rate", (0.01, 0.05))
    return tree


def _two_outputs(pen: _Pen) -> dict[str, Any]:
    heads = [{"Dense": {"units": 1, "name": name, "from": "body"}} for name in ("one", "two")]
    body = {"units": pen.number("units", (4, 7)), "name": "body", "kernel_regularizer": pen.regularizer()}
    return {"layers": [{"Dense": body}, *heads], "outputs": ["one", "two"]}


@st.composite
def experiments(draw: Any, points: int = 5) -> Drawn:
    """An experiment of two to `points` points."""
    pen = _Pen(draw)
    make = pen.one(*[_of_layers] * 12, *[_of_code] * 3, _of_function, _of_sklearn)
    tree = {"version": 1, "name": "small", "seed": draw(st.integers(0, 9)), **make(pen)}
    if make is not _of_sklearn and pen.seldom():
        whole = make is _of_function or "streams" in str(tree["data"])  # has no folds
        tree["evaluation"] = {"repeats": 2} if whole else pen.one({"folds": 2}, {"repeats": 2})
    if make is _of_layers and pen.seldom():
        tree["execution"] = {"precision": "mixed_bfloat16"}
    most = min(points, math.prod(len(domain["values"]) for domain in pen.space.values()))
    chosen = draw(st.lists(_point(pen.space), min_size=2, max_size=most, unique_by=repr))
    if make is not _of_code:
        tree["search_space"] = pen.space
    elif "batch_size" in pen.space:
        tree["search_space"] = {"batch_size": pen.space["batch_size"]}
    tree |= {"strategy": {"name": "random"}, "budget": {"trials": len(chosen)}, "enqueue": chosen}
    order = list(draw(st.permutations(range(len(chosen)))))
    pieces = None if make is _of_sklearn else draw(st.sampled_from((None, 1, 2)))
    return Drawn(tree, order, pieces, draw(st.booleans()))


@st.composite
def _point(draw: Any, space: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A value for each parameter that is active."""
    point: dict[str, Any] = {}
    for name, domain in space.items():
        if all(point.get(parent) in wanted for parent, wanted in domain.get("when", {}).items()):
            point[name] = draw(st.sampled_from(domain["values"]))
    return point


# --- how it is trained ----------------------------------------------------------------------------------------------

Learnt: TypeAlias = dict[str, Any]
"""`curves`: by metric, as the bits of each number spell; `state`: by variable, a fingerprint; `ended`; `error`."""

Piece: TypeAlias = tuple[int, int, int, int]
"""(trial, replica, from_epoch, to_epoch)."""


@contextmanager
def new_interpreters() -> Iterator[ProcessPoolExecutor]:
    """A pool in which each call has an interpreter of its own, with another order of sets; it costs a start."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        yield pool


@contextmanager
def fresh_processes(workers: int = 2) -> Iterator[ProcessPoolExecutor]:
    """A pool in which each call has a process of its own, forked from one that has imported TensorFlow and run nothing.

    So it costs no start. Forking is safe there: TensorFlow's own threads begin with its first operation.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "hptune.base.quiet",
            "tensorflow",
            "keras",
            "keras_tuner",
            "hptune.training.worker",
            "hptune.training.trainers.keras_trainer",
        ]
    )
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        yield pool


def train(
    tree: dict[str, Any], pieces: Sequence[Piece], folder: str | None = None, *, probed: bool = False
) -> dict[Piece, Learnt]:
    """Train these pieces one after the other, in this process, by one worker. folder: of the run; else a new one.

    probed: whether the worker probes first, as that of a search does. A piece whose trial was ended by its recipe, or
    has failed, is left out.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            return train(tree, pieces, made, probed=probed)
    from hptune.training.worker import Worker

    place, run = Path(folder), RunPaths(Path(folder) / "run")
    (place / "small_code.py").write_text(CODE)
    (place / "small_fit.py").write_text(OWN_FIT)
    (place / "small.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    worker = Worker(load(place / "small.yaml").experiment, place, run)
    if probed:
        worker.run(Segment(0, {}, purpose="probe"))
    found: dict[Piece, Learnt] = {}
    for piece in pieces:
        trial, replica, from_epoch, to_epoch = piece
        over = place / f"over-{trial}-{replica}"
        if from_epoch and over.exists():
            continue
        segment = Segment(trial, tree["enqueue"][trial], from_epoch, to_epoch, replica, keep_state=True)
        found[piece] = _learnt(worker, segment, run)
        if found[piece]["ended"] or found[piece]["error"]:
            over.touch()
    return found


def _learnt(worker: Any, segment: Segment, run: RunPaths) -> Learnt:
    try:
        result = worker.run(segment)
    except SegmentFailed as failed:
        return {"curves": {}, "state": {}, "ended": False, "error": str(failed)}
    curves = {name: [float(value).hex() for value in curve] for name, curve in result.curves.items()}
    state = run.state(segment.trial, segment.replica, result.epochs)
    found = _fingerprints(state) if result.state else {}
    return {"curves": curves, "state": found, "ended": result.ended, "error": None}


def _fingerprints(path: Path) -> dict[str, str]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if not name.startswith("curve.")}
    return {name: sha256(f"{a.dtype}{a.shape}".encode() + a.tobytes()).hexdigest()[:12] for name, a in arrays.items()}
