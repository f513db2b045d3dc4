"""Every optimizer with every option, and a few options together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import tables, values
from .build import cases_of, fixed
from .case import ADAM, EXACT, Case, experiment, head, points_of

LAYERS = [{"Dense": {"units": 5, "activation": "tanh"}}, head()]

TOLERANCES = {"Adam": ADAM, "AdamW": ADAM, "Nadam": EXACT}

NEEDS: Mapping[str, Mapping[str, Any]] = {
    "ema_momentum": {"use_ema": True},
    "ema_overwrite_frequency": {"use_ema": True, "ema_momentum": 0.5},
    "nesterov": {"momentum": 0.9},
}
"""What an option means nothing without."""

TOGETHER: Mapping[str, list[Mapping[str, Any]]] = {
    "SGD": [
        {"momentum": 0.9, "nesterov": True, "clipnorm": 0.1, "weight_decay": 0.05},
        {"momentum": 0.9, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
        {"momentum": 0.9, "gradient_accumulation_steps": 2, "global_clipnorm": 0.1},
    ],
    "Adam": [
        {"amsgrad": True, "clipvalue": 0.01},
        {"use_ema": True, "ema_momentum": 0.5, "weight_decay": 0.05},
        {"gradient_accumulation_steps": 3, "clipnorm": 0.1, "epsilon": 1e-3},
    ],
    "RMSprop": [{"centered": True, "momentum": 0.9, "rho": 0.5}],
}


def cases() -> Iterator[Case]:
    for name in tables.classes("optimizers"):
        more = {"tolerance": TOLERANCES.get(name, EXACT)}
        base = {"name": name.lower(), "learning_rate": 0.05}
        yield fixed("optimizers", name, "(defaults)", experiment(LAYERS, optimizer=base), **more)
        for option, facts in tables.arguments("optimizers", name).items():
            if option == "name":
                continue
            given = {**base, **NEEDS.get(option, {})}
            found = values.of_option(name, option, facts["default"])
            if option == "learning_rate":
                found = [0.05, 0.2]
            yield from cases_of(
                "optimizers",
                name,
                option,
                found,
                lambda v, given=given, option=option: experiment(LAYERS, optimizer={**given, option: v}),
                **more,
            )
        for number, together in enumerate(TOGETHER.get(name, [])):
            tree = experiment(LAYERS, optimizer={**base, **together})
            yield fixed("optimizers", name, f"together {number + 1}: {', '.join(together)}", tree, **more)
    for name in tables.other_names("optimizers"):
        if name.islower() and name not in {one.lower() for one in tables.classes("optimizers")}:
            yield fixed(
                "optimizers", name, "(alias)", experiment(LAYERS, optimizer={"name": name, "learning_rate": 0.05})
            )
    every = [name.lower() for name in tables.classes("optimizers")]
    tree = experiment(LAYERS, optimizer={"name": "$o", "learning_rate": 0.05})
    yield Case("optimizers", "all", "name", tree, points_of(every), tolerance=ADAM)
