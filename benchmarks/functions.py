"""Closed-form functions with a known optimum, as search problems: what the strategies are compared on.

Every function gives its regret: how far it is above its least value. Sources: Vizier `benchmarks/experimenters`,
mf-prior-bench `synthetic/hartmann` (the multi-fidelity Hartmanns).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from hptune.base.seeds import derive
from hptune.base.trial import Values

Regret: TypeAlias = Callable[[Values], float]
Space: TypeAlias = Mapping[str, Mapping[str, Any]]

MAX_EPOCHS = 100
"""The full training of the multi-fidelity functions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A space and the regret over it. noise: the standard deviation of what is seen of it."""

    space: Space
    regret: Regret
    noise: float = 0.0

    def seen(self, values: Values) -> float:
        """What a trial with these values reports: the same each time."""
        if not self.noise:
            return self.regret(values)
        return self.regret(values) + Random(derive(0, "noise", dict(values))).gauss(0, self.noise)


@dataclass(frozen=True, slots=True)
class Fidelities:
    """A problem that is seen more clearly with every epoch.

    After z of 100 epochs every peak of the function is lower by bias · (1 − log z / log 100), which its order changes
    under, and |N(0, 1)| · sigma · (1 − log z / log 100), drawn once a point, is added.
    """

    peaks: Callable[[Values, float], float]
    space: Space
    bias: float
    sigma: float

    def regret(self, values: Values) -> float:
        return self.peaks(values, 0.0)

    def seen(self, values: Values, epoch: int) -> float:
        unclear = 1 - math.log(epoch) / math.log(MAX_EPOCHS)
        noise = abs(Random(derive(0, "noise", dict(values))).gauss(0, 1)) * self.sigma * unclear
        return self.peaks(values, self.bias * unclear) + noise


def box(names: str, low: float, high: float) -> Space:
    return {name: {"type": "float", "min": low, "max": high} for name in names}


def numbers(values: Values) -> list[float]:
    return [float(value) for value in values.values()]  # type: ignore[arg-type]  # these spaces hold numbers alone


# --- one fidelity ---------------------------------------------------------------------------------------------------


def branin(values: Values) -> float:
    x, y = numbers(values)
    b, c, t = 5.1 / (4 * math.pi**2), 5 / math.pi, 1 / (8 * math.pi)
    return (y - b * x * x + c * x - 6) ** 2 + 10 * (1 - t) * math.cos(x) + 10 - 0.39788735772973816


_WEIGHTS = (1.0, 1.2, 3.0, 3.2)
_A3 = ((3, 10, 30), (0.1, 10, 35), (3, 10, 30), (0.1, 10, 35))
_P3 = ((0.3689, 0.1170, 0.2673), (0.4699, 0.4387, 0.7470), (0.1091, 0.8732, 0.5547), (0.03815, 0.5743, 0.8828))
_A6 = ((10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14), (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14))
_P6 = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


def _hartmann(a: Sequence[Sequence[float]], p: Sequence[Sequence[float]], most: float) -> Any:
    def regret(values: Values, lower: float = 0.0) -> float:
        x = numbers(values)
        heights = (
            (weight - lower) * math.exp(-sum(w * (u - c) ** 2 for w, u, c in zip(row, x, centre, strict=True)))
            for weight, row, centre in zip(_WEIGHTS, a, p, strict=True)
        )
        return most - sum(heights)

    return regret


hartmann3 = _hartmann(_A3, _P3, 3.86278214782076)
hartmann6 = _hartmann(_A6, _P6, 3.32236801141551)


def levy(values: Values) -> float:
    w = [1 + (x - 1) / 4 for x in numbers(values)]
    middle = sum((u - 1) ** 2 * (1 + 10 * math.sin(math.pi * u + 1) ** 2) for u in w[:-1])
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return math.sin(math.pi * w[0]) ** 2 + middle + last


def ackley(values: Values) -> float:
    x = [u - 7.3 for u in numbers(values)]  # no strategy begins at the middle of the box and is right
    root, waves = math.sqrt(sum(u * u for u in x) / len(x)), sum(math.cos(2 * math.pi * u) for u in x) / len(x)
    return -20 * math.exp(-0.2 * root) - math.exp(waves) + 20 + math.e


def conditional(values: Values) -> float:
    """Three branches with parameters of their own; the best is the one with the most of them."""
    if values["kind"] == "a":
        return 0.5 + abs(float(values["a"]) - 0.2)  # type: ignore[arg-type]
    if values["kind"] == "b":
        return 0.2 + (float(values["b"]) - 0.9) ** 2 + 0.1 * (values["flag"] is False)  # type: ignore[arg-type]
    c, depth = float(values["c"]), float(values["depth"])  # type: ignore[arg-type]
    return (math.log10(c) + 3) ** 2 / 4 + (depth - 4) ** 2 / 10


def mixed(values: Values) -> float:
    """A learning rate, a width, a depth, an activation and a dropout, as a network might take them."""
    rate, units, depth = (float(values[name]) for name in ("rate", "units", "depth"))  # type: ignore[arg-type]
    off = (math.log10(rate / 3e-3)) ** 2 / 2 + (math.log2(units / 208)) ** 2 / 4 + (depth - 3) ** 2 / 10
    kinds = {"relu": 0.0, "elu": 0.05, "tanh": 0.2, "sigmoid": 0.8}
    return off + kinds[str(values["kind"])] + (float(values["drop"]) - 0.2) ** 2 * 4  # type: ignore[arg-type]


CONDITIONAL: Space = {
    "kind": {"type": "choice", "values": ["a", "b", "c"]},
    "a": {"type": "float", "min": 0.0, "max": 1.0, "when": {"kind": "a"}},
    "b": {"type": "float", "min": 0.0, "max": 1.0, "when": {"kind": "b"}},
    "flag": {"type": "choice", "values": [True, False], "when": {"kind": "b"}},
    "c": {"type": "float", "min": 1e-6, "max": 1.0, "log": True, "when": {"kind": "c"}},
    "depth": {"type": "int", "min": 1, "max": 12, "when": {"kind": "c"}},
}
MIXED: Space = {
    "rate": {"type": "float", "min": 1e-5, "max": 1.0, "log": True},
    "units": {"type": "int", "min": 16, "max": 512, "step": 16},
    "depth": {"type": "int", "min": 1, "max": 8},
    "kind": {"type": "choice", "values": ["sigmoid", "tanh", "elu", "relu"]},
    "drop": {"type": "float", "min": 0.0, "max": 0.6, "step": 0.1},
}

PROBLEMS: dict[str, Problem] = {
    "Branin": Problem(
        {"x": {"type": "float", "min": -5.0, "max": 10.0}, "y": {"type": "float", "min": 0.0, "max": 15.0}}, branin
    ),
    "Hartmann6": Problem(box("abcdef", 0.0, 1.0), hartmann6),
    "Levy4": Problem(box("abcd", -10.0, 10.0), levy),
    "Ackley5": Problem(box("abcde", -20.0, 40.0), ackley),
    "conditional": Problem(CONDITIONAL, conditional),
    "mixed": Problem(MIXED, mixed),
    "noisy Hartmann6": Problem(box("abcdef", 0.0, 1.0), hartmann6, noise=0.2),
}

FIDELITIES: dict[str, Fidelities] = {
    "mfh3_good": Fidelities(hartmann3, box("abc", 0.0, 1.0), 2.5, 2.0),
    "mfh3_terrible": Fidelities(hartmann3, box("abc", 0.0, 1.0), 4.0, 5.0),
    "mfh6_good": Fidelities(hartmann6, box("abcdef", 0.0, 1.0), 2.5, 2.0),
    "mfh6_terrible": Fidelities(hartmann6, box("abcdef", 0.0, 1.0), 4.0, 5.0),
    "mfh6_default": Fidelities(hartmann6, box("abcdef", 0.0, 1.0), 0.5, 0.1),
}
