"""Regularisers, constraints and initialisers: every one of them in every argument that takes one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import tables, values
from .build import cases_of, fixed
from .case import Case, experiment, head, points_of
from .inputs import around, place_of
from .of_layers import TEXT, names

PENALTIES = (0.0, 1e-3, 0.1)


def _arguments(ending: str) -> Iterator[tuple[str, str]]:
    """(layer, argument) of every argument with that ending."""
    for name in names():
        for option in tables.arguments("layers", name):
            if option.endswith(ending) and option != "activity_regularizer" and name not in TEXT:
                yield name, option


def regularizers() -> Iterator[Case]:
    """L2 in every argument; every regulariser with every option in a Dense layer's."""
    for name, option in _arguments("_regularizer"):
        place = place_of(name)
        if place is not None:
            tree = around(name, {option: {"L2": {"l2": "$o"}}}, place)
            yield Case("regularizers", name, option, tree, points_of(list(PENALTIES)), x=place.kind)
    for name, option in (
        ("LSTM", "recurrent_regularizer"),
        ("Conv2D", "bias_regularizer"),
        ("BatchNormalization", "gamma_regularizer"),
    ):
        place = place_of(name)
        assert place is not None
        tree = around(name, {option: {"L1L2": {"l1": "$o", "l2": 0.01}}}, place)
        yield Case("regularizers", name, f"{option} L1L2", tree, points_of(list(PENALTIES)), x=place.kind)
    for name in tables.classes("regularizers"):
        for option, facts in tables.arguments("regularizers", name).items():
            found = values.of_option(name, option, facts["default"])
            found += [0.1] if isinstance(facts["default"], float) else []
            yield from cases_of(
                "regularizers",
                name,
                option,
                found,
                lambda v, name=name, option=option: _dense("kernel_regularizer", {name: {option: v}}),
            )
        yield fixed("regularizers", name, "(by its name)", _dense("kernel_regularizer", name))
    for name in tables.other_names("regularizers"):
        yield fixed("regularizers", name, "(alias)", _dense("kernel_regularizer", name))
    tree = _dense("kernel_regularizer", {"L1L2": {"l1": "$o", "l2": "$p"}})
    points = tuple({"o": a, "p": b} for a in (0.0, 0.01) for b in (0.0, 0.1))
    yield Case("regularizers", "L1L2", "both", tree, points)


def constraints() -> Iterator[Case]:
    """MaxNorm in every argument; every constraint in a Dense layer's."""
    for name, option in _arguments("_constraint"):
        place = place_of(name)
        if place is not None:
            tree = around(name, {option: {"MaxNorm": {"max_value": "$o"}}}, place)
            yield Case("constraints", name, option, tree, points_of([2, 0.0, 0.3]), x=place.kind)
    numbers = {"MaxNorm": ("max_value", [2, 0, 0.3]), "MinMaxNorm": ("rate", [1.0, 0.0, 0.5])}
    for name in tables.constraints():
        yield fixed("constraints", name, "(by its name)", _dense("kernel_constraint", name))
        if name in numbers:
            option, found = numbers[name]
            yield Case(
                "constraints", name, option, _dense("kernel_constraint", {name: {option: "$o"}}), points_of(found)
            )


def initializers() -> Iterator[Case]:
    """Every initialiser by its name, in a Dense layer's kernel; seeded ones give Keras's own weights."""
    for name in tables.classes("initializers"):
        known = tables.arguments("initializers", name)
        yield fixed("initializers", name, "(by its name)", _dense("kernel_initializer", name))
        if "seed" in known:
            first = {"Dense": {"units": 4, "activation": "tanh", "kernel_initializer": {name: {"seed": "$o"}}}}
            last = {
                "Dense": {"units": 4, "activation": "softmax", "kernel_initializer": {"GlorotUniform": {"seed": 1}}}
            }
            yield Case("initializers", name, "seed", experiment([first, last]), points_of([0, 5]), seeded=True)
        for option, facts in known.items():
            if option in ("seed", "input_axes", "output_axes"):
                continue
            found = values.of_option(name, option, facts["default"])
            yield from cases_of(
                "initializers",
                name,
                option,
                found,
                lambda v, name=name, option=option: _dense("kernel_initializer", {name: {option: v}}),
            )
    for name in tables.other_names("initializers"):
        yield fixed("initializers", name, "(alias)", _dense("kernel_initializer", name))
    for name, option in _arguments("_initializer"):
        place = place_of(name)
        if place is not None:
            tree = around(name, {option: {"RandomNormal": {"stddev": "$o"}}}, place)
            yield Case("initializers", name, option, tree, points_of([0.1, 0.3]), x=place.kind)
    tree = experiment([{"Dense": {"units": 4}}, head()], more={"initialization": {"kernel": "$o"}})
    yield Case("initializers", "recipe", "initialization.kernel", tree, points_of(["he_normal", "zeros", "orthogonal"]))


def _dense(option: str, value: Any) -> Any:
    return experiment([{"Dense": {"units": 4, "activation": "tanh", option: value}}, head()])
