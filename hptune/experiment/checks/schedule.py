"""Checks the learning rate's schedule: its options under every name it can have, and its epochs against the training.

The sections come as the user wrote them, with `$name` bound. Where domains meet, their least favourable values count.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hptune.base.errors import KeyPath, Problem
from hptune.experiment.checks.keras_names import Scope
from hptune.experiment.checks.recipe import can_meet, not_under, numbers, section
from hptune.experiment.checks.space import needs_of
from hptune.experiment.reading.problems import show
from hptune.experiment.space.conditions import both
from hptune.experiment.space.references import Ref
from hptune.experiment.training import REQUIRED, SCHEDULE_OPTIONS, Training


@dataclass(frozen=True, slots=True)
class _Given:
    """options: as the user wrote them. name: as written, or what follows. choices: every schedule that it can be."""

    options: Mapping[str, Any]
    name: Any
    choices: list[str]
    scope: Scope

    def values(self, key: str, choice: str) -> list[Any]:
        """What the option can be under that schedule; nothing where it is not given there."""
        value = self.options.get(key)
        there = choice in self.choices and value is not None and can_meet(value, self.name, choice, self.scope)
        return self.scope.values(value) if there else []


def schedule(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """Everything that is wrong with `schedule`, and with the unit of early stopping's patience."""
    options = section(raw, "schedule")
    name = options.get("name", "constant" if options.get("python") is None else "python")
    choices = [value for value in scope.values(name) if isinstance(value, str) and value in SCHEDULE_OPTIONS]
    given = _Given(options, name, choices, scope)
    training = section(raw, "training")
    yield from _foreign(given)
    yield from _missing(given)
    yield from _out_of_range(given)
    yield from _piecewise(given)
    yield from _beyond(given, numbers(scope.values(training.get("epochs", Training().epochs))))
    unit = section(training, "early_stopping").get("unit")
    if unit == "cycles" and set(choices) - {"cosine_restarts"}:
        others = ", ".join(choice for choice in choices if choice != "cosine_restarts")
        told = f"only cosine_restarts has cycles, and the schedule {_can_be(given)} {others}"
        remedy = "Leave unit out: patience then counts cycles under cosine_restarts, and epochs elsewhere"
        yield Problem(f"{told}. {remedy}.", ("training", "early_stopping", "unit"))


def _can_be(given: _Given) -> str:
    return "can be" if isinstance(given.name, Ref) else "is"


# --- options --------------------------------------------------------------------------------------------------------


def _foreign(given: _Given) -> Iterator[Problem]:
    """Options that a schedule has not, and under which they are given."""
    for key, value in given.options.items():
        owners = [choice for choice, options in SCHEDULE_OPTIONS.items() if key in options]
        if value is None or not owners:  # warmup is everyone's; unknown keys are told already
            continue
        for choice in given.choices:
            if key not in SCHEDULE_OPTIONS[choice] and can_meet(value, given.name, choice, given.scope):
                yield _no_option(key, value, choice, owners, given)
                break


def _no_option(key: str, value: Any, choice: str, owners: list[str], given: _Given) -> Problem:
    mine = [owner for owner in owners if owner in given.choices]
    if isinstance(given.name, Ref) and mine:
        return not_under(key, value, given.name, choice, mine, ("schedule",))
    if key == "python":
        told = f"is a schedule of its own, and the schedule {_can_be(given)} {choice}. Keep either name or python."
    else:
        told = f"{choice} has no {key}, which belongs to {', '.join(owners)}. Drop it, or choose another schedule."
    return Problem(told, ("schedule", key), on_key=True)


def _missing(given: _Given) -> Iterator[Problem]:
    """Options that a schedule must have under every setting that chooses it."""
    for choice in given.choices:
        for key, default in SCHEDULE_OPTIONS[choice].items():
            value = given.options.get(key)
            if default is not REQUIRED or (value is not None and _there_under(value, choice, given)):
                continue
            needs = f"{given.name} can be {choice}, which needs {key}" if _refers(given) else f"{choice} needs {key}"
            if isinstance(value, Ref):
                told = f"{needs}, and {value} is not active under every setting with it"
                yield Problem(f"{told}. Widen its condition.", ("schedule", key))
            else:
                yield Problem(f"{needs}, which was not given. Add it.", ("schedule", key))


def _refers(given: _Given) -> bool:
    return isinstance(given.name, Ref)


def _there_under(value: Any, choice: str, given: _Given) -> bool:
    if not isinstance(value, Ref) or value.name not in given.scope.domains:
        return True
    conditions = given.scope.conditions
    chosen = both(conditions.needs(given.name.name), needs_of(given.name.name, choice)) if _refers(given) else {}
    return conditions.follows(value.name, chosen)


def _out_of_range(given: _Given) -> Iterator[Problem]:
    """Bounds that an option has under one schedule alone."""
    factors, decays = (numbers(given.values(*of)) for of in (("factor", "plateau"), ("decay", "cosine_restarts")))
    if factors and max(factors) >= 1:
        got = _got(given.options["factor"], max(factors))
        yield Problem(f"must be below 1 under plateau, which lowers the rate, got {got}.", ("schedule", "factor"))
    if decays and min(decays) <= 0:
        got = _got(given.options["decay"], min(decays))
        told = f"must be above 0 under cosine_restarts, where each peak is so much of the last one, got {got}."
        yield Problem(told, ("schedule", "decay"))


def _got(written: Any, value: Any) -> str:
    return f"{written}, which can be {show(value)}" if isinstance(written, Ref) else show(value)


# --- epochs ---------------------------------------------------------------------------------------------------------


def _piecewise(given: _Given) -> Iterator[Problem]:
    """As many factors as epochs, and the epochs in order."""
    epochs, factors = given.options.get("epochs"), given.options.get("factors")
    if "piecewise" not in given.choices or not isinstance(epochs, list):
        return
    if isinstance(factors, list) and len(factors) != len(epochs):
        told = f"must hold one factor for each of the {len(epochs)} epochs, got {len(factors)}. Even them out."
        yield Problem(told, ("schedule", "factors"))
    for i, (one, other) in enumerate(itertools.pairwise(epochs), start=1):
        before, after = numbers(given.scope.values(one)), numbers(given.scope.values(other))
        if before and after and max(before) >= min(after):
            told = f"the epochs must rise, and {_got(other, min(after))} follows {_got(one, max(before))}"
            yield Problem(f"{told}. Put them in order.", ("schedule", "epochs", i))
            return


def _beyond(given: _Given, training: list[float]) -> Iterator[Problem]:
    """Epochs that the shortest training never reaches."""
    if not training:
        return
    least = min(training)
    pieces = given.options.get("epochs")
    warmup = section(dict(given.options), "warmup").get("epochs")
    ends: list[tuple[KeyPath, list[Any]]] = [(("schedule", "warmup", "epochs"), given.scope.values(warmup))]
    ends += [(("schedule", "epoch"), given.values("epoch", "ramp"))]
    if "piecewise" in given.choices and isinstance(pieces, list):
        ends += [(("schedule", "epochs", i), given.scope.values(piece)) for i, piece in enumerate(pieces)]
    for path, values in ends:
        found = numbers(values)
        if found and max(found) >= least:
            told = f"must be < training.epochs ({least:g}), got {max(found):g}. Lower it, or train longer."
            yield Problem(told, path)
