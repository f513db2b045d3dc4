"""Every loss and every metric with every option, over targets that it is meant for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from . import tables, values
from .build import cases_of, fixed
from .case import Case, Tree, experiment, head

HIDDEN = {"Dense": {"units": 5, "activation": "tanh"}}

Target: TypeAlias = tuple[str, Tree, dict[str, Any]]

# What the targets are, what the last layer gives, and how the targets' task is called.
CLASSES: Target = ("classes", head(4), {})
ONE_HOT: Target = ("onehot", head(4), {})
BINARY: Target = ("binary", head(1, "sigmoid"), {})
SIGNS = ("signs", head(1, "tanh"), {"task": "regression"})
POSITIVE = ("positive", head(1, "softplus"), {"task": "regression"})
NUMBER = ("small", head(1, None), {"task": "regression"})
NUMBERS = ("two_small", head(2, None), {"task": "regression"})
ROWS = ("distribution", head(4), {"task": "regression"})
LABELS: Target = ("labels", head(3, "sigmoid"), {})

TARGETS: dict[str, Any] = {
    **dict.fromkeys(("BinaryCrossentropy", "BinaryFocalCrossentropy", "BinaryAccuracy", "BinaryIoU"), BINARY),
    **dict.fromkeys(
        ("AUC", "Precision", "Recall", "TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives"), BINARY
    ),
    **dict.fromkeys(
        ("PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity", "SpecificityAtSensitivity"), BINARY
    ),
    **dict.fromkeys(
        ("CategoricalCrossentropy", "CategoricalFocalCrossentropy", "CategoricalHinge", "CategoricalAccuracy"), ONE_HOT
    ),
    **dict.fromkeys(
        ("TopKCategoricalAccuracy", "OneHotIoU", "OneHotMeanIoU", "F1Score", "FBetaScore", "Dice", "Tversky"), ONE_HOT
    ),
    **dict.fromkeys(
        ("SparseCategoricalCrossentropy", "SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy", "Circle"),
        CLASSES,
    ),
    **dict.fromkeys(("IoU", "MeanIoU"), CLASSES),
    **dict.fromkeys(("Hinge", "SquaredHinge"), SIGNS),
    **dict.fromkeys(("KLDivergence",), ROWS),
    **dict.fromkeys(("Poisson", "MeanSquaredLogarithmicError", "MeanAbsolutePercentageError"), POSITIVE),
    **dict.fromkeys(("CosineSimilarity", "PearsonCorrelation", "ConcordanceCorrelation", "R2Score"), NUMBERS),
}
"""By class; plain numbers for what stands in no row."""

REQUIRED = {
    "num_classes": 4,
    "target_class_ids": [0, 1],
    "recall": 0.5,
    "precision": 0.5,
    "specificity": 0.5,
    "sensitivity": 0.5,
}

SHORT = {
    "BCE": "BinaryCrossentropy",
    "KLD": "KLDivergence",
    "MAE": "MeanAbsoluteError",
    "MAPE": "MeanAbsolutePercentageError",
    "MSE": "MeanSquaredError",
    "MSLE": "MeanSquaredLogarithmicError",
}


def _of(name: str) -> Any:
    """The targets of a class, a function or a short name."""
    plain = SHORT.get(name.upper(), "".join(part.capitalize() for part in name.split("_")) if name.islower() else name)
    return TARGETS.get(
        plain,
        TARGETS.get({"Auc": "AUC", "BinaryIoU": "BinaryIoU", "FBetaScore": "FBetaScore"}.get(plain, plain), NUMBER),
    )


def losses() -> Iterator[Case]:
    for name in tables.classes("losses"):
        y, last, data = _of(name)
        known = tables.arguments("losses", name)
        more = {"y": y, "data": data}
        calm = {"gamma": 4.0} if name == "Circle" else {}  # its usual 80 makes of the last bit another curve
        yield fixed("losses", name, "(defaults)", _trained(last, loss={name: {}}), **more)
        for option, facts in known.items():
            if option in ("name", "dtype"):
                continue
            found = values.of_option(name, option, facts.get("default", "..."))
            end = head(int(next(iter(last.values()))["units"]), None) if option == "from_logits" else last
            yield from cases_of(
                "losses",
                name,
                option,
                found,
                lambda v, e=end, name=name, option=option, calm=calm: _trained(e, loss={name: {**calm, option: v}}),
                **more,
            )
        if "reduction" in known:  # what a sum or a mean by weights is, weights show
            tree = lambda v, e=last, name=name, calm=calm: _trained(e, loss={name: {"reduction": v, **calm}})  # noqa: E731
            yield from cases_of(
                "losses",
                name,
                "reduction, weighted",
                ["sum_over_batch_size", "sum", "mean_with_sample_weight"],
                tree,
                weighted=True,
                **more,
            )
    for name in tables.other_names("losses"):
        y, last, data = _of(name)
        yield fixed("losses", name, "(by its name)", _trained(last, loss=name), y=y, data=data)
        for option, facts in tables.arguments("losses", name).items():
            found = values.of_option(name, option, facts.get("default", "..."))
            yield from cases_of(
                "losses",
                name,
                option,
                found,
                lambda v, e=last, name=name, option=option: _trained(e, loss={name: {option: v}}),
                y=y,
                data=data,
            )
    yield fixed(
        "losses",
        "own",
        "a user's function",
        _trained(head(1, None), loss="OWN:squared"),
        y="small",
        data={"task": "regression"},
    )
    yield fixed(
        "losses",
        "own",
        "a user's function, two values",
        _trained(head(2, None), loss="OWN:squared"),
        y="two_small",
        data={"task": "regression"},
    )


def metrics() -> Iterator[Case]:
    for name in tables.classes("metrics"):
        y, last, data = _of(name)
        known = tables.arguments("metrics", name)
        needed = {key: REQUIRED.get(key, 1) for key, facts in known.items() if "default" not in facts}
        given = {"sparse_y_pred": False} if name in ("IoU", "MeanIoU") else {}
        yield fixed("metrics", name, "(defaults)", _measured(y, last, {name: {**needed, **given}}), y=y, data=data)
        yield fixed(
            "metrics", name, "weighted", _measured(y, last, {name: {**needed, **given}}), y=y, data=data, weighted=True
        )
        for option, facts in known.items():
            if option in ("name", "dtype"):
                continue
            found = values.of_option(name, option, facts.get("default", "..."))
            if option in needed:
                found = [needed[option], 0, 0.8] if not isinstance(needed[option], list) else [needed[option], [1]]
            base = {**needed, **given}

            def tree(
                v: Any, e: Tree = last, y: str = y, of: str = name, option: str = option, base: Tree = base
            ) -> Tree:
                return _measured(y, e, {of: {**base, option: v}})

            yield from cases_of("metrics", name, option, found, tree, y=y, data=data)
    for name in tables.other_names("metrics"):
        y, last, data = _of(name)
        yield fixed("metrics", name, "(by its name)", _measured(y, last, name), y=y, data=data)
    for y, last, data in (CLASSES, ONE_HOT, BINARY, LABELS):
        for name in ("accuracy", "acc", "crossentropy", "ce"):
            yield fixed("metrics", name, f"(chosen by Keras for {y})", _measured(y, last, name), y=y, data=data)
    yield fixed(
        "metrics",
        "two of a class",
        "AUC",
        _trained(
            BINARY[1],
            loss="binary_crossentropy",
            metrics=[{"AUC": {}}, {"AUC": {"curve": "PR", "name": "pr"}}, "accuracy"],
        ),
        y="binary",
    )


def _trained(last: Tree, **more: Any) -> Tree:
    return experiment([HIDDEN, last], **more)


def _measured(y: str, last: Tree, metric: Any) -> Tree:
    loss = {
        "classes": "sparse_categorical_crossentropy",
        "onehot": "categorical_crossentropy",
        "binary": "binary_crossentropy",
        "labels": "binary_crossentropy",
    }.get(y, "mean_squared_error")
    return _trained(last, loss=loss, metrics=[metric])
