"""Every layer with every option of its own, the options that all have, and layers within layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import tables, values
from .build import cases_of, fixed
from .case import EXACT, Case, Missing, Tree, experiment, head
from .inputs import Place, around, place_of

REFUSED = (
    "Input",
    "InputLayer",
    "Lambda",
    "Layer",
    "Wrapper",
    "TorchModuleWrapper",
    "JaxLayer",
    "FlaxLayer",
    "TFSMLayer",
)
ELSEWHERE = ("_regularizer", "_constraint", "_initializer")
"""The endings of arguments whose values have areas of their own."""

PART_OF_OTHERS = ("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells")
"""Cells stand in an RNN alone: `nested`."""

TEXT = ("StringLookup", "TextVectorization", "HashedCrossing", "MaxNumBoundingBoxes")
"""They take text, crossed columns or boxes, which no array of numbers is."""


UNREPEATABLE = {"AugMix": "Keras draws its operations with Python's own random while it is traced"}
"""What two runs of `fit` do not agree on, whatever the seeds."""


def names() -> list[str]:
    return [name for name in tables.classes("layers") if name not in (*REFUSED, *PART_OF_OTHERS)]


def cases() -> Iterator[Case | Missing]:
    for name in names():
        place = None if name in TEXT else place_of(name)
        if place is None:
            why = (
                "takes text, crossed columns or boxes" if name in TEXT else "no input was found that Keras builds it on"
            )
            yield Missing("layers", name, "(defaults)", why)
            continue
        if name in UNREPEATABLE:
            yield Missing("layers", name, "(defaults)", UNREPEATABLE[name], status="not comparable")
            continue
        yield fixed("layers", name, "(defaults)", around(name, {}, place), x=place.kind)
        for option, facts in tables.arguments("layers", name).items():
            if option in tables.COMMON or option.endswith(ELSEWHERE) or option in ("layer", "cell", "cells", "layers"):
                continue
            default = facts.get("default", "...")
            found = values.of_option(name, option, default)
            if option in place.given and default is None:
                found = [place.given[option]]
            yield from cases_of("layers", name, option, found, _with(name, option, place), x=place.kind)


def _with(name: str, option: str, place: Place) -> Any:
    return lambda value: around(name, {option: value}, place)


def common() -> Iterator[Case]:
    """What every layer takes."""
    for name in names():
        place = None if name in TEXT else place_of(name)
        if place is None or name in UNREPEATABLE:
            continue
        known = tables.arguments("layers", name)
        for option in tables.COMMON:
            if option not in known or (option == "name" and place.sources > 1):
                continue
            if option == "activity_regularizer":
                tree = around(name, {option: {"L2": {"l2": "$o"}}}, place)
                yield Case("layer options", name, option, tree, tuple({"o": v} for v in (0.0, 0.01, 0.1)), x=place.kind)
                continue
            found = values.of_option(name, option, known[option]["default"])
            yield from cases_of("layer options", name, option, found, _with(name, option, place), x=place.kind)


# --- nested ---------------------------------------------------------------------------------------------------------

RECURRENT = ("SimpleRNN", "GRU", "LSTM")


def nested() -> Iterator[Case]:
    """Layers within layers, with penalties and noise in the inner ones."""
    for inner in RECURRENT:
        for option, tree in _bidirectional(inner):
            yield _of(
                "Bidirectional", f"{inner}.{option}", tree, [0.0, 1e-3, 0.1] if "reg" in option else [0.0, 0.3, 0.6]
            )
        for option in ("kernel_regularizer", "recurrent_regularizer", "bias_regularizer"):
            tree = _behind({"RNN": {"cell": {f"{inner}Cell": {"units": 3, option: {"L2": {"l2": "$o"}}}}}})
            yield _of("RNN", f"{inner}Cell.{option}", tree, [0.0, 1e-3, 0.1])
        for option in ("dropout", "recurrent_dropout"):
            tree = _behind({"RNN": {"cell": {f"{inner}Cell": {"units": 3, option: "$o"}}}})
            yield _of("RNN", f"{inner}Cell.{option}", tree, [0.0, 0.3, 0.6])
        stacked = [{f"{inner}Cell": {"units": 3, "dropout": "$o"}}, {f"{inner}Cell": {"units": 2}}]
        yield _of(
            "StackedRNNCells",
            f"{inner}Cell.dropout",
            _behind({"RNN": {"cell": {"StackedRNNCells": {"cells": stacked}}}}),
            [0.0, 0.3, 0.6],
        )
        stacked = [
            {f"{inner}Cell": {"units": 3, "kernel_regularizer": {"L1": {"l1": "$o"}}}},
            {f"{inner}Cell": {"units": 2}},
        ]
        yield _of(
            "StackedRNNCells",
            f"{inner}Cell.kernel_regularizer",
            _behind({"RNN": {"cell": {"StackedRNNCells": {"cells": stacked}}}}),
            [0.0, 0.1, 0.01],
        )
        yield _of(
            "RNN",
            f"cells of {inner}Cell",
            _behind(
                {"RNN": {"cell": [{f"{inner}Cell": {"units": 3, "dropout": "$o"}}, {f"{inner}Cell": {"units": 2}}]}}
            ),
            [0.0, 0.3, 0.6],
        )
    backward = {"LSTM": {"units": 2, "go_backwards": True, "kernel_regularizer": {"L2": {"l2": "$o"}}}}
    yield _of(
        "Bidirectional",
        "backward_layer",
        _behind({"Bidirectional": {"layer": {"GRU": {"units": 2}}, "backward_layer": backward}}),
        [0.0, 0.1, 0.01],
    )
    for inner, option, found in (
        ("Dense", "kernel_regularizer", [0.0, 1e-3, 0.1]),
        ("Dense", "activity_regularizer", [0.0, 0.1, 0.01]),
    ):
        tree = _behind({"TimeDistributed": {"layer": {inner: {"units": 2, option: {"L2": {"l2": "$o"}}}}}})
        yield _of("TimeDistributed", f"{inner}.{option}", tree, found)
    for inner, option in (
        ("Dropout", "rate"),
        ("GaussianNoise", "stddev"),
        ("GaussianDropout", "rate"),
        ("AlphaDropout", "rate"),
    ):
        yield _of(
            "TimeDistributed",
            f"{inner}.{option}",
            _behind({"TimeDistributed": {"layer": {inner: {option: "$o"}}}}),
            [0.0, 0.3, 0.6],
        )
    yield _of(
        "TimeDistributed",
        "BatchNormalization.momentum",
        _behind({"TimeDistributed": {"layer": {"BatchNormalization": {"momentum": "$o"}}}}),
        [0.99, 0.0, 0.5],
    )
    spectral = {"SpectralNormalization": {"layer": {"Dense": {"units": 3, "kernel_regularizer": {"L2": {"l2": "$o"}}}}}}
    yield _of(
        "SpectralNormalization", "Dense.kernel_regularizer", experiment([spectral, head()]), [0.0, 0.1, 0.01], x="dense"
    )
    twice = {"Bidirectional": {"layer": {"LSTM": {"units": 2, "return_sequences": True, "dropout": "$o"}}}}
    yield _of(
        "Bidirectional",
        "two of them",
        _behind(twice, {"Bidirectional": {"layer": {"LSTM": {"units": 2, "dropout": "$o"}}}}),
        [0.0, 0.3, 0.6],
    )
    masked = _behind({"Masking": {}}, {"Bidirectional": {"layer": {"LSTM": {"units": 2, "dropout": "$o"}}}})
    yield _of("Bidirectional", "behind Masking", masked, [0.0, 0.3, 0.6], x="masked")
    pipeline = {"Pipeline": {"layers": [{"RandomBrightness": {"factor": "$o"}}, {"RandomContrast": {"factor": 0.2}}]}}
    yield _of(
        "Pipeline", "RandomBrightness.factor", experiment([pipeline, "Flatten", head()]), [0.0, 0.3, 0.6], x="rgb"
    )


def _bidirectional(inner: str) -> Iterator[tuple[str, Tree]]:
    for option in ("kernel_regularizer", "recurrent_regularizer", "bias_regularizer"):
        yield option, _behind({"Bidirectional": {"layer": {inner: {"units": 3, option: {"L2": {"l2": "$o"}}}}}})
    for option in ("dropout", "recurrent_dropout"):
        yield option, _behind({"Bidirectional": {"layer": {inner: {"units": 3, option: "$o"}}}})


def _behind(*layers: Any) -> Tree:
    return experiment([*layers, "Flatten", head()])


def _of(name: str, option: str, tree: Tree, found: list[Any], x: str = "sequence") -> Case:
    return Case("nested layers", name, option, tree, tuple({"o": value} for value in found), x=x, tolerance=EXACT)
