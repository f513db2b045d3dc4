"""Ways of training: the recipe, batches, sample weights, outputs, targets, precision, streams, folds, schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .build import fixed
from .case import ADAM, HALF, RATE, Case, Tree, experiment, head, points_of
from .inputs import around, place_of

DENSE = [{"Dense": {"units": 5, "activation": "tanh"}}, head()]
PICTURE = [
    {"Conv2D": {"filters": 3, "kernel_size": 3, "use_bias": False}},  # a bias before a mean is taken off is but noise
    {"BatchNormalization": {}},
    {"Activation": {"activation": "relu"}},
    {"Dropout": {"rate": 0.2}},
    "Flatten",
    head(),
]

_CELLS = {"StackedRNNCells": {"cells": [{"GRUCell": {"units": 3}}, {"SimpleRNNCell": {"units": 2}}]}}

KERNELS: list[Any] = [
    *((name, {}) for name in ("Dense", "Conv1D", "Conv2D", "Conv2DTranspose", "SeparableConv1D", "SeparableConv2D")),
    *((name, {}) for name in ("DepthwiseConv1D", "DepthwiseConv2D", "SimpleRNN", "GRU", "LSTM", "ConvLSTM1D")),
    *((name, {}) for name in ("EinsumDense", "MultiHeadAttention", "GroupQueryAttention", "Embedding")),
    ("Bidirectional", {"layer": {"LSTM": {"units": 3}}}),
    ("TimeDistributed", {"layer": {"Dense": {"units": 3}}}),
    ("RNN", {"cell": {"LSTMCell": {"units": 3}}}),
    ("RNN", {"cell": _CELLS}),
    ("SpectralNormalization", {"layer": {"Dense": {"units": 3}}}),
    ("BatchNormalization", {}),
    ("PReLU", {}),
]
"""Layers with kernels, within others too, and a few that have none."""


def recipe() -> Iterator[Case]:
    """`training.regularization`: a penalty on every kernel, smoothing of every loss that takes it."""
    for name, given in KERNELS:
        place = place_of(name)
        assert place is not None
        for kind in ("l2", "l1"):
            tree = around(name, given, place, regularization={"kernel": {kind: "$o"}})
            label = "+".join(str(next(iter(v))) for v in given.values() if isinstance(v, dict)) or "itself"
            yield Case("recipe", name, f"kernel.{kind} of {label}", tree, points_of([0.0, 1e-3, 0.05]), x=place.kind)
    both = experiment(DENSE, regularization={"kernel": {"l1": "$o", "l2": "$p"}})
    yield Case(
        "recipe", "Dense", "kernel.l1 and l2", both, tuple({"o": a, "p": b} for a in (0.0, 0.01) for b in (0.0, 0.05))
    )
    own = [{"Dense": {"units": 5, "kernel_regularizer": {"L1": {"l1": 0.01}}}}, head()]
    yield Case(
        "recipe",
        "Dense",
        "kernel beside its own",
        experiment(own, regularization={"kernel": {"l2": "$o"}}),
        points_of([0.0, 0.05]),
    )
    smoothed = {
        "sparse_categorical_crossentropy": ("classes", 4, "softmax"),
        "categorical_crossentropy": ("onehot", 4, "softmax"),
        "binary_crossentropy": ("binary", 1, "sigmoid"),
    }
    for loss, (y, units, activation) in smoothed.items():
        name = "".join(part.capitalize() for part in loss.split("_"))
        for label, given, last in (
            ("by its name", loss, activation),
            ("from logits", {name: {"from_logits": True}}, None),
            ("summed", {name: {"reduction": "sum"}}, activation),
        ):
            tree = experiment(
                [DENSE[0], head(units, last)],
                loss=given,
                metrics=["accuracy"],
                regularization={"label_smoothing": "$o"},
            )
            yield Case("recipe", loss, f"label_smoothing, {label}", tree, points_of([0.0, 0.2]), y=y)
            yield Case(
                "recipe", loss, f"label_smoothing, {label}, weighted", tree, points_of([0.0, 0.2]), y=y, weighted=True
            )
    ignoring = {"SparseCategoricalCrossentropy": {"ignore_class": 2}}
    tree = experiment(DENSE, loss=ignoring, regularization={"label_smoothing": "$o", "kernel": {"l2": 0.01}})
    yield Case(
        "recipe", "sparse_categorical_crossentropy", "label_smoothing, ignore_class", tree, points_of([0.0, 0.2])
    )


def batches() -> Iterator[Case]:
    """Batches that fill, that leave a rest, of one sample, as large as the data and larger."""
    sizes = points_of([16, 11, 1, 44, 43, 64])
    yield Case("batches", "Dense", "batch_size", experiment(DENSE, batch_size="$o", metrics=["accuracy"]), sizes)
    yield Case("batches", "BatchNormalization", "batch_size", experiment(PICTURE, batch_size="$o"), sizes, x="picture")
    lstm = [{"LSTM": {"units": 3, "dropout": 0.2}}, head()]
    yield Case("batches", "LSTM", "batch_size", experiment(lstm, batch_size="$o"), sizes, x="sequence")
    summed = experiment(DENSE, batch_size="$o", loss={"SparseCategoricalCrossentropy": {"reduction": "sum"}})
    yield Case("batches", "Dense", "batch_size, summed", summed, sizes)
    adam = experiment(DENSE, batch_size="$o", optimizer={"name": "rmsprop", "learning_rate": 0.01, "momentum": 0.5})
    yield Case("batches", "RMSprop", "batch_size", adam, sizes)
    stateful = [{"GRU": {"units": 3, "stateful": True}}, head()]
    yield Case("batches", "GRU", "stateful", experiment(stateful, batch_size="$o"), points_of([22, 44]), x="sequence")


def weights() -> Iterator[Case]:
    """Data that says how much each sample counts."""
    for loss, y, last in (
        ("sparse_categorical_crossentropy", "classes", head()),
        ("categorical_crossentropy", "onehot", head()),
        ("binary_crossentropy", "binary", head(1, "sigmoid")),
        ("mean_squared_error", "small", head(1, None)),
        ("huber", "two_small", head(2, None)),
    ):
        data = {"task": "regression"} if "small" in y else {}
        tree = experiment([DENSE[0], last], loss=loss, metrics=["mae" if data else "accuracy"])
        yield fixed("sample weights", loss, "loss", tree, y=y, data=data, weighted=True)
        penalised = experiment([{"Dense": {"units": 5, "kernel_regularizer": {"L2": {"l2": 0.05}}}}, last], loss=loss)
        yield fixed("sample weights", loss, "beside a penalty", penalised, y=y, data=data, weighted=True)
    yield Case(
        "sample weights",
        "picture",
        "batch_size",
        experiment(PICTURE, batch_size="$o"),
        points_of([16, 44]),
        x="picture",
        weighted=True,
    )
    scaled = experiment([DENSE[0], head(1, None)], loss="mean_squared_error", metrics=["mae"])
    yield fixed(
        "sample weights",
        "mean_squared_error",
        "standardised",
        scaled,
        y="number",
        data={"task": "regression", "scale": "auto"},
        weighted=True,
    )


def outputs() -> Iterator[Case]:
    """Several heads, each with a column of the target."""

    def heads(**more: Any) -> Tree:
        layers = [
            {"Dense": {"units": 5, "activation": "tanh", "name": "base"}},
            {"Dense": {"units": 1, "name": "a", "from": "base", "kernel_regularizer": {"L2": {"l2": 0.01}}}},
            {"Dense": {"units": 1, "name": "b", "from": "base"}},
        ]
        return experiment(layers, model={"outputs": ["a", "b"]}, **more)

    plain: dict[str, Any] = {"y": "two_small", "data": {"task": "regression"}}
    for loss in (
        "mean_squared_error",
        "mae",
        {"Huber": {"delta": 0.5}},
        {"MeanSquaredError": {"reduction": "sum"}},
        {"a": "mse", "b": "mae"},
    ):
        yield fixed("outputs", "two", f"loss {loss}", heads(loss=loss, metrics=["mae"]), **plain)
    yield fixed(
        "outputs", "two", "loss_weights", heads(loss="mse", loss_weights={"a": 0.3, "b": 2.0}, metrics=["mse"]), **plain
    )
    yield fixed("outputs", "two", "loss_weights of one", heads(loss="mse", loss_weights={"a": 0.0}), **plain)
    yield fixed("outputs", "two", "metrics by output", heads(loss="mse", metrics={"a": ["mae"], "b": ["mse"]}), **plain)
    yield fixed("outputs", "two", "weighted", heads(loss="mse", metrics=["mae"]), weighted=True, **plain)
    yield fixed(
        "outputs",
        "two",
        "standardised",
        heads(loss="mse", metrics=["mae"]),
        y="two",
        data={"task": "regression", "scale": "auto"},
    )
    yield Case("outputs", "two", "batch_size", heads(loss="mse", batch_size="$o"), points_of([16, 11, 44]), **plain)


def targets() -> Iterator[Case]:
    """Regression: the loss over standardised targets, the metrics in the target's own unit."""
    auto = {"task": "regression", "scale": "auto"}
    for loss in (
        "mean_squared_error",
        "mae",
        "huber",
        {"Huber": {"delta": 0.3}},
        {"MeanSquaredError": {"reduction": "sum"}},
        "log_cosh",
        "OWN:squared",
    ):
        for y, units in (("number", 1), ("two", 2)):
            tree = experiment([DENSE[0], head(units, None)], loss=loss, metrics=["mae", {"RootMeanSquaredError": {}}])
            yield fixed("targets", str(loss), f"standardised, {units}", tree, y=y, data=auto)
    penalised = experiment([DENSE[0], head(1, None)], loss="mse", regularization={"kernel": {"l2": "$o"}})
    yield Case("targets", "mse", "standardised, penalty", penalised, points_of([0.0, 0.05]), y="number", data=auto)


def precision() -> Iterator[Case]:
    """Layers that compute in bfloat16."""
    half = {"execution": {"precision": "mixed_bfloat16"}}
    attention = place_of("MultiHeadAttention")
    assert attention is not None
    for name, layers, x in (
        ("Dense", DENSE, "dense"),
        ("picture", PICTURE, "picture"),
        ("LSTM", [{"LSTM": {"units": 3, "dropout": 0.2}}, head()], "sequence"),
        (
            "MultiHeadAttention",
            around("MultiHeadAttention", {}, attention)["model"]["layers"],
            "sequence",
        ),
    ):
        for optimizer in ("sgd", "adam"):
            tree = experiment(layers, optimizer={"name": optimizer, "learning_rate": 0.02}, more=half)
            yield fixed("precision", name, f"mixed_bfloat16, {optimizer}", tree, x=x, tolerance=HALF)
    for noise, option in (
        ("Dropout", "rate"),
        ("GaussianNoise", "stddev"),
        ("GaussianDropout", "rate"),
        ("AlphaDropout", "rate"),
        ("SpatialDropout2D", "rate"),
    ):
        layers = [{"Conv2D": {"filters": 3, "kernel_size": 3}}, {noise: {option: "$o"}}, "Flatten", head()]
        yield Case(
            "precision",
            noise,
            f"mixed_bfloat16, {option}",
            experiment(layers, more=half),
            points_of([0.0, 0.3]),
            x="picture",
            tolerance=HALF,
        )
    penalised = experiment(DENSE, regularization={"kernel": {"l2": "$o"}}, more=half)
    yield Case("precision", "Dense", "mixed_bfloat16, penalty", penalised, points_of([0.0, 0.05]), tolerance=HALF)
    smoothed = experiment(DENSE, regularization={"label_smoothing": "$o"}, more=half)
    yield Case("precision", "Dense", "mixed_bfloat16, smoothing", smoothed, points_of([0.0, 0.2]), tolerance=HALF)


def streams() -> Iterator[Case]:
    """Samples that come from the disk batch by batch, and those that a `tf.data.Dataset` brings."""
    for name, data, flow in (("stored", {"stream": True}, False), ("tf.data", {}, True)):
        yield Case(
            "streams",
            name,
            "batch_size",
            experiment(DENSE, batch_size="$o", metrics=["accuracy"]),
            points_of([16, 11, 44]),
            data=data,
            flow=flow,
        )
        yield fixed("streams", name, "picture", experiment(PICTURE), x="picture", data=data, flow=flow)
        yield fixed(
            "streams", name, "weighted", experiment(DENSE, metrics=["accuracy"]), data=data, flow=flow, weighted=True
        )
        momentum = experiment(DENSE, optimizer={"name": "sgd", "learning_rate": RATE, "momentum": "$o"})
        yield Case("streams", name, "momentum", momentum, points_of([0.0, 0.9]), data=data, flow=flow)


def folds() -> Iterator[Case]:
    """Each replica on the fold that it is."""
    more = {"evaluation": {"folds": 3}}
    for replica in range(3):
        tree = experiment(DENSE, batch_size="$o", metrics=["accuracy"], more=more)
        yield Case("folds", "Dense", f"fold {replica}", tree, points_of([16, 11]), replica=replica, data={"test": 0.0})
        penalised = experiment(DENSE, regularization={"kernel": {"l2": "$o"}}, more=more)
        yield Case(
            "folds",
            "Dense",
            f"fold {replica}, penalty",
            penalised,
            points_of([0.0, 0.05]),
            replica=replica,
            data={"test": 0.0},
        )


def schedules() -> Iterator[Case]:
    """Rates that change by the step, and training that ends early."""
    for given in (
        {"name": "linear"},
        {"name": "cosine", "alpha": 0.1},
        {"name": "exponential", "factor": 0.5},
        {"name": "polynomial", "power": 2.0},
        {"name": "cosine", "warmup": {"epochs": 1, "start": 0.001}},
        {"name": "constant", "warmup": {"epochs": 1.5}},
    ):
        for optimizer in ({"name": "sgd", "momentum": 0.9}, {"name": "rmsprop"}):
            tree = experiment(DENSE, optimizer={**optimizer, "learning_rate": RATE}, more={"schedule": given})
            warm = " after a warm-up" if "warmup" in given else ""
            yield fixed("schedules", str(given["name"]), f"{optimizer['name']}{warm}", tree)
    stopped = experiment(
        DENSE, optimizer={"name": "sgd", "learning_rate": "$o"}, early_stopping={"monitor": "val_loss", "patience": 1}
    )
    yield Case("schedules", "early stopping", "learning_rate", stopped, points_of([0.05, 5.0]))
    each = experiment(DENSE, more={"schedule": {"name": "$o"}})
    yield Case("schedules", "all", "name", each, points_of(["constant", "cosine", "linear"]))


def winners() -> Iterator[Case]:
    """The winner's test metrics, with the weights that `fit` leaves: averaged ones under `use_ema`."""
    averaged = {"name": "sgd", "learning_rate": 0.3, "use_ema": True, "ema_momentum": "$o"}
    tree = experiment(DENSE, optimizer=averaged, metrics=["accuracy"])
    yield Case("winners", "SGD", "ema_momentum", tree, points_of([0.5, 0.9]), winner=True)
    overwritten = {"name": "adam", "learning_rate": 0.02, "use_ema": True, "ema_momentum": 0.5}
    tree = experiment(DENSE, optimizer={**overwritten, "ema_overwrite_frequency": "$o"})
    yield Case("winners", "Adam", "ema_overwrite_frequency", tree, points_of([None, 2]), winner=True, tolerance=ADAM)
    free = experiment(DENSE, optimizer={"name": "schedulefreeadamw", "learning_rate": "$o"})
    yield Case("winners", "ScheduleFreeAdamW", "learning_rate", free, points_of([0.02, 0.05]), winner=True)
    momentum = experiment(PICTURE, optimizer={"name": "sgd", "learning_rate": RATE, "momentum": "$o"})
    yield Case("winners", "SGD", "momentum", momentum, points_of([0.0, 0.9]), x="picture", winner=True)
    summed = experiment(DENSE, loss={"SparseCategoricalCrossentropy": {"reduction": "sum"}}, batch_size="$o")
    yield Case("winners", "SGD", "batch_size, summed", summed, points_of([16, 11]), winner=True)
    penalised = experiment(DENSE, regularization={"kernel": {"l2": "$o"}, "label_smoothing": 0.1})
    yield Case("winners", "SGD", "penalty and smoothing", penalised, points_of([0.0, 0.05]), winner=True)
