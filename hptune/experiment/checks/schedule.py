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
class _Schedule:
    """options: as the user wrote them. name: as written, or what follows. choices: every schedule that it can be."""

    options: Mapping[str, Any]
    name: Any
    choices: list[str]
    scope: Scope

    def values(self, key: str, choice: str) -> list[Any]:
        """What the option can be under that schedule; nothing where it is not given there."""
        value = self.options.get(key)
        there = (
            choice in self.choices and value is not None and can_meet(value, self.name, choice=choice, scope=self.scope)
        )
        return self.scope.values(value) if there else []


def schedule(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """Everything that is wrong with `schedule`, and with the unit of early stopping's patience."""
    options = section(raw, "schedule")
    name = options.get("name", "constant" if options.get("python") is None else "python")
    choices = [value for value in scope.values(name) if isinstance(value, str) and value in SCHEDULE_OPTIONS]
    written = _Schedule(options, name, choices, scope)
    training = section(raw, "training")
    yield from _options_of_others(written)
    yield from _missing(written)
    yield from _out_of_range(written)
    yield from _piecewise(written)
    yield from _past_the_end(written, numbers(scope.values(training.get("epochs", Training().epochs))))
    unit = section(training, "early_stopping").get("unit")
    if unit == "cycles" and set(choices) - {"cosine_restarts"}:
        others = ", ".join(choice for choice in choices if choice != "cosine_restarts")
        reason = f"only cosine_restarts has cycles, and the schedule {_can_be(written)} {others}"
        remedy = "Leave unit out: patience then counts cycles under cosine_restarts, and epochs elsewhere"
        yield Problem(f"{reason}. {remedy}.", ("training", "early_stopping", "unit"))


def _can_be(written: _Schedule) -> str:
    return "can be" if isinstance(written.name, Ref) else "is"


# --- options --------------------------------------------------------------------------------------------------------


def _options_of_others(written: _Schedule) -> Iterator[Problem]:
    """Options that a schedule has not, and under which they are given."""
    for key, value in written.options.items():
        owners = [choice for choice, options in SCHEDULE_OPTIONS.items() if key in options]
        if value is None or not owners:  # warmup is everyone's; unknown keys are reported already
            continue
        for choice in written.choices:
            if key not in SCHEDULE_OPTIONS[choice] and can_meet(
                value, written.name, choice=choice, scope=written.scope
            ):
                yield _no_option(key, value, choice=choice, owners=owners, written=written)
                break


def _no_option(key: str, value: Any, *, choice: str, owners: list[str], written: _Schedule) -> Problem:
    mine = [owner for owner in owners if owner in written.choices]
    if isinstance(written.name, Ref) and mine:
        return not_under(key, value, name=written.name, choice=choice, having=mine, path=("schedule",))
    if key == "python":
        message = f"is a schedule of its own, and the schedule {_can_be(written)} {choice}. Keep either name or python."
    else:
        message = f"{choice} has no {key}, which belongs to {', '.join(owners)}. Drop it, or choose another schedule."
    return Problem(message, ("schedule", key), on_key=True)


def _missing(written: _Schedule) -> Iterator[Problem]:
    """Options that a schedule must have under every setting that chooses it."""
    for choice in written.choices:
        for key, default in SCHEDULE_OPTIONS[choice].items():
            value = written.options.get(key)
            if default is not REQUIRED or (value is not None and _there_under(value, choice, written)):
                continue
            needs = (
                f"{written.name} can be {choice}, which needs {key}"
                if _name_is_searched(written)
                else f"{choice} needs {key}"
            )
            if isinstance(value, Ref):
                reason = f"{needs}, and {value} is not active under every setting with it"
                yield Problem(f"{reason}. Widen its condition.", ("schedule", key))
            else:
                yield Problem(f"{needs}, which was not given. Add it.", ("schedule", key))


def _name_is_searched(written: _Schedule) -> bool:
    return isinstance(written.name, Ref)


def _there_under(value: Any, choice: str, written: _Schedule) -> bool:
    if not isinstance(value, Ref) or value.name not in written.scope.domains:
        return True
    conditions = written.scope.conditions
    chosen = (
        both(conditions.needs(written.name.name), needs_of(written.name.name, choice))
        if _name_is_searched(written)
        else {}
    )
    return conditions.follows(value.name, chosen)


def _out_of_range(written: _Schedule) -> Iterator[Problem]:
    """Bounds that an option has under one schedule alone."""
    factors, decays = (numbers(written.values(*of)) for of in (("factor", "plateau"), ("decay", "cosine_restarts")))
    if factors and max(factors) >= 1:
        got = _got(written.options["factor"], max(factors))
        yield Problem(f"must be below 1 under plateau, which lowers the rate, got {got}.", ("schedule", "factor"))
    if decays and min(decays) <= 0:
        got = _got(written.options["decay"], min(decays))
        message = f"must be above 0 under cosine_restarts, where each peak is so much of the last one, got {got}."
        yield Problem(message, ("schedule", "decay"))


def _got(written: Any, value: Any) -> str:
    return f"{written}, which can be {show(value)}" if isinstance(written, Ref) else show(value)


# --- epochs ---------------------------------------------------------------------------------------------------------


def _piecewise(written: _Schedule) -> Iterator[Problem]:
    """As many factors as epochs, and the epochs in order."""
    epochs, factors = written.options.get("epochs"), written.options.get("factors")
    if "piecewise" not in written.choices or not isinstance(epochs, list):
        return
    if isinstance(factors, list) and len(factors) != len(epochs):
        reason = f"must hold one factor for each of the {len(epochs)} epochs, got {len(factors)}. Even them out."
        yield Problem(reason, ("schedule", "factors"))
    for i, (one, other) in enumerate(itertools.pairwise(epochs), start=1):
        before, after = numbers(written.scope.values(one)), numbers(written.scope.values(other))
        if before and after and max(before) >= min(after):
            reason = f"the epochs must rise, and {_got(other, min(after))} follows {_got(one, max(before))}"
            yield Problem(f"{reason}. Put them in order.", ("schedule", "epochs", i))
            return


def _past_the_end(written: _Schedule, training: list[float]) -> Iterator[Problem]:
    """Epochs that the shortest training never reaches."""
    if not training:
        return
    least = min(training)
    pieces = written.options.get("epochs")
    warmup = section(dict(written.options), "warmup").get("epochs")
    ends: list[tuple[KeyPath, list[Any]]] = [(("schedule", "warmup", "epochs"), written.scope.values(warmup))]
    ends += [(("schedule", "epoch"), written.values("epoch", "ramp"))]
    if "piecewise" in written.choices and isinstance(pieces, list):
        ends += [(("schedule", "epochs", i), written.scope.values(piece)) for i, piece in enumerate(pieces)]
    for path, values in ends:
        epochs = numbers(values)
        if epochs and max(epochs) >= least:
            message = f"must be < training.epochs ({least:g}), got {max(epochs):g}. Lower it, or train longer."
            yield Problem(message, path)
