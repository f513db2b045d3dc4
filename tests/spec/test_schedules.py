"""Schedules against closed forms over the whole curve, against Keras's own, and by their properties."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hptune.base.errors import SegmentFailed
from hptune.experiment.directions import Goal
from hptune.experiment.schedules import by_epoch, counts_steps, cycle_ends, plateau_multiplier, rates, table
from hptune.experiment.training import SCHEDULE_OPTIONS, Schedule
from hptune.training import runtime

R, EPOCHS, STEPS = 0.1, 12, 7
AT = np.arange(EPOCHS * STEPS) / STEPS
"""The place of every step, in epochs."""


def made(**given: Any) -> Schedule:
    return Schedule.model_validate(given)


def curve(**given: Any) -> Any:
    return table(made(**given), base_rate=R, epochs=EPOCHS, steps_per_epoch=STEPS)


def cosine(share: float) -> float:
    """From 1 at share 0 to 0 at share 1."""
    return 0.5 * (1 + math.cos(math.pi * share))


def one_cycle(e: float, *, peak: float = 0.3 * EPOCHS, start: float = R / 25, end: float = R / 1e4) -> float:
    if e < peak:
        return start + (R - start) * (1 - cosine(e / peak))
    return end + (R - end) * cosine((e - peak) / (EPOCHS - peak))


CLOSED: list[tuple[dict[str, Any], Callable[[float], float]]] = [
    ({"name": "constant"}, lambda e: R),
    ({"name": "plateau"}, lambda e: R),
    ({"name": "linear"}, lambda e: R * (1 - e / EPOCHS)),
    ({"name": "ramp", "epoch": 7}, lambda e: R if e < 7 else R / 10),
    ({"name": "ramp", "epoch": 2.5, "factor": 4.0}, lambda e: R if e < 2.5 else R / 4),
    ({"name": "ramp", "epoch": "auto"}, lambda e: R),
    ({"name": "time_decay", "decay": 0.5, "per": "epoch"}, lambda e: R / (1 + 0.5 * e)),
    ({"name": "time_decay", "decay": 0.5}, lambda e: R / (1 + 0.5 * round(e * STEPS))),
    (
        {"name": "piecewise", "epochs": [3, 6], "factors": [0.5, 0.1]},
        lambda e: R if e < 3 else R * 0.5 if e < 6 else R * 0.1,
    ),
    ({"name": "exponential", "factor": 0.5, "per_epochs": 2.0}, lambda e: R * 0.5 ** (e / 2)),
    ({"name": "polynomial", "power": 2.0, "end": 0.01}, lambda e: (R - 0.01) * (1 - e / EPOCHS) ** 2 + 0.01),
    ({"name": "polynomial"}, lambda e: R * (1 - e / EPOCHS)),
    ({"name": "cosine"}, lambda e: R * cosine(e / EPOCHS)),
    ({"name": "cosine", "alpha": 0.1}, lambda e: R * (0.9 * cosine(e / EPOCHS) + 0.1)),
    (
        {"name": "cosine_restarts", "cycles": 3, "decay": 0.5, "alpha": 0.1},
        lambda e: R * 0.5 ** (e // 4) * (0.9 * cosine(e % 4 / 4) + 0.1),
    ),
    (
        {"name": "cosine_restarts", "cycles": 2, "multiply": 2.0},
        lambda e: R * (cosine(e / 4) if e < 4 else cosine((e - 4) / 8)),
    ),
    ({"name": "one_cycle"}, one_cycle),
    (
        {"name": "one_cycle", "peak_at": 0.5, "start": 0.02, "end": 0.01},
        lambda e: one_cycle(e, peak=6, start=0.02, end=0.01),
    ),
]


@pytest.mark.parametrize(("given_", "formula"), CLOSED, ids=[str(c[0]) for c in CLOSED])
def test_every_step_follows_the_formula(given_: dict[str, Any], formula: Callable[[float], float]) -> None:
    assert_allclose(curve(**given_), [formula(e) for e in AT], rtol=1e-12, atol=1e-15)


def test_every_schedule_is_held_to_a_formula() -> None:
    assert {given_["name"] for given_, _ in CLOSED} | {"python"} == set(SCHEDULE_OPTIONS)


def test_compounding_multiplies_up_over_whole_epochs_or_steps() -> None:
    by_epochs = curve(name="time_decay", decay=1e-3, per="epoch", compounding=True)
    known = [0.1, 0.0999, 0.0997, 0.0994, 0.0990, 0.0985, 0.0979, 0.0972, 0.0964, 0.0955, 0.0945]
    assert_allclose(by_epochs[::STEPS][:11], known, atol=2e-4)  # the table was rounded at each step
    assert_allclose(by_epochs.reshape(EPOCHS, STEPS), by_epochs[::STEPS, None] * np.ones(STEPS))
    by_steps, rate = [], R
    for step in range(EPOCHS * STEPS):
        rate /= 1 + 1e-3 * step
        by_steps.append(rate)
    assert_allclose(curve(name="time_decay", decay=1e-3, compounding=True), by_steps, rtol=1e-12)


@pytest.mark.parametrize(("given_", "formula"), CLOSED, ids=[str(c[0]) for c in CLOSED])
def test_a_warm_up_comes_before_and_what_follows_fills_the_rest(
    given_: dict[str, Any], formula: Callable[[float], float]
) -> None:
    warm = curve(**given_, warmup={"epochs": 2, "start": 0.02})
    assert_allclose(warm[: 2 * STEPS], 0.02 + (R - 0.02) * AT[: 2 * STEPS] / 2, rtol=1e-12)
    if given_["name"] in ("ramp", "piecewise"):  # their epochs count from the very start
        rest = [formula(e) for e in AT[2 * STEPS :]]
    else:
        alone = made(**given_)
        after = table(alone, base_rate=R, epochs=EPOCHS - 2, steps_per_epoch=STEPS)
        rest = after.tolist()
    assert_allclose(warm[2 * STEPS :], rest, rtol=1e-9)


def test_a_warm_up_of_one_epoch_is_one() -> None:
    assert by_epoch(made(warmup={"epochs": 1}), base_rate=R, epochs=3) == [0.0, R, R]


MORE: list[dict[str, Any]] = [
    {"name": "time_decay", "decay": 0.5, "compounding": True},
    {"python": "m:f"},
    {"python": "m:f", "per": "epoch"},
]


@pytest.mark.parametrize("given_", [*(given_ for given_, _ in CLOSED), *MORE], ids=str)
def test_where_no_epoch_is_asked_no_rate_is_given(given_: dict[str, Any]) -> None:
    found = rates(made(**given_), base_rate=R, epochs=2, at=[], steps_per_epoch=STEPS, function=lambda *_: R)
    assert found.shape == (0,)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    share, factor = st.floats(0, 1), st.floats(0.05, 1.0)
    options: dict[str, st.SearchStrategy[Any]] = {
        **{"per": st.sampled_from(["step", "epoch"]), "compounding": st.booleans(), "alpha": share},
        **{
            "epoch": st.floats(0, 11),
            "epochs": st.just([3.0, 6.5]),
            "factors": st.lists(share, min_size=2, max_size=2),
        },
        **{"per_epochs": st.floats(0.5, 5), "power": st.floats(0.5, 3), "cycles": st.integers(1, 5)},
        **{"multiply": st.floats(0.5, 2), "peak_at": st.floats(0.1, 0.9), "start": st.floats(0, R)},
        **{"end": st.floats(0, R), "decay": factor, "factor": st.floats(0.1, 0.9), "patience": st.integers(1, 5)},
        **{"min": share, "monitor": st.just("val_loss"), "goal": st.just("minimize")},
    }
    name = draw(st.sampled_from([n for n in SCHEDULE_OPTIONS if n != "python"]))
    given_ = {key: draw(options[key]) for key in SCHEDULE_OPTIONS[name]}
    if name == "ramp":
        given_["factor"] = draw(st.floats(1, 100))
    if draw(st.booleans()):
        given_["warmup"] = {"epochs": draw(st.floats(0.1, 11)), "start": draw(st.floats(0, R))}
    return made(name=name, **given_)


@given(schedules(), st.integers(1, 5))
def test_rates_lie_between_nothing_and_the_base_rate(schedule: Schedule, steps: int) -> None:
    found = table(schedule, base_rate=R, epochs=EPOCHS, steps_per_epoch=steps)
    assert found.shape == (EPOCHS * steps,)
    assert ((found >= 0) & (found <= R * (1 + 1e-9))).all()


@given(schedules())
def test_the_rate_of_an_epoch_is_that_of_its_first_step(schedule: Schedule) -> None:
    every = table(schedule, base_rate=R, epochs=EPOCHS, steps_per_epoch=STEPS)
    assert by_epoch(schedule, base_rate=R, epochs=EPOCHS, steps_per_epoch=STEPS) == every[::STEPS].tolist()


def test_the_rate_of_an_epoch_may_depend_on_its_steps() -> None:
    schedule = made(name="time_decay", decay=0.5)
    found = by_epoch(schedule, base_rate=R, epochs=3, steps_per_epoch=4)
    assert_allclose(found, [R, R / (1 + 0.5 * 4), R / (1 + 0.5 * 8)])


@given(schedules(), st.floats(0.01, 100))
def test_a_schedule_scales_with_its_base_rate(schedule: Schedule, factor: float) -> None:
    """But for the rates that are given as such."""
    if schedule.start is None and schedule.end is None and schedule.warmup is None:
        small = table(schedule, base_rate=R, epochs=EPOCHS, steps_per_epoch=STEPS)
        large = table(schedule, base_rate=R * factor, epochs=EPOCHS, steps_per_epoch=STEPS)
        assert_allclose(large, small * factor, rtol=1e-9)


@given(schedules())
def test_only_those_that_count_steps_need_them(schedule: Schedule) -> None:
    if counts_steps(schedule):
        with pytest.raises(AssertionError):
            by_epoch(schedule, base_rate=R, epochs=EPOCHS)
    else:
        assert len(by_epoch(schedule, base_rate=R, epochs=EPOCHS)) == EPOCHS


@given(st.integers(1, 8), st.floats(0.5, 3), st.just(0.0) | st.floats(0.01, 5))
def test_cycles_grow_by_multiply_and_fill_the_training(cycles: int, multiply: float, warmup: float) -> None:
    given_: dict[str, Any] = {"warmup": {"epochs": warmup}} if warmup > 0 else {}
    schedule = made(name="cosine_restarts", cycles=cycles, multiply=multiply, **given_)
    ends = cycle_ends(schedule, 20)
    lengths = np.diff([warmup, *ends])
    assert len(ends) == cycles
    assert ends[-1] == 20
    assert_allclose(lengths[1:], lengths[:-1] * multiply, rtol=1e-9)
    just_before, at = (
        rates(schedule, base_rate=R, epochs=20, at=np.asarray(ends[:-1]) + shift) for shift in (-1e-6, 0.0)
    )
    assert_allclose(at, R)
    assert (just_before < R * 1e-3).all()


# --- Keras's own ------------------------------------------------------------------------------------------------------

TOTAL = EPOCHS * STEPS


@pytest.mark.parametrize(
    ("given_", "theirs"),
    [
        ({"name": "cosine", "alpha": 0.1}, ("CosineDecay", (R, TOTAL), {"alpha": 0.1})),
        (
            {"name": "cosine", "warmup": {"epochs": 2, "start": 0.01}},
            ("CosineDecay", (0.01, TOTAL - 2 * STEPS), {"warmup_target": R, "warmup_steps": 2 * STEPS}),
        ),
        (
            {"name": "exponential", "factor": 0.5, "per_epochs": 2.0},
            ("ExponentialDecay", (R, 2 * STEPS, 0.5), {}),
        ),
        (
            {"name": "polynomial", "power": 2.0, "end": 0.01},
            ("PolynomialDecay", (R, TOTAL), {"end_learning_rate": 0.01, "power": 2.0}),
        ),
        (  # Keras changes after `step <= boundary`
            {"name": "piecewise", "epochs": [3, 6], "factors": [0.5, 0.1]},
            ("PiecewiseConstantDecay", ([3 * STEPS - 1, 6 * STEPS - 1], [R, R * 0.5, R * 0.1]), {}),
        ),
        (  # Keras keeps its floor in every cycle, ours is a share of the peak: the same without one
            {"name": "cosine_restarts", "cycles": 2, "multiply": 2.0, "decay": 0.5},
            ("CosineDecayRestarts", (R, 4 * STEPS), {"t_mul": 2.0, "m_mul": 0.5}),
        ),
        ({"name": "time_decay", "decay": 0.3, "per": "epoch"}, ("InverseTimeDecay", (R, STEPS, 0.3), {})),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value["name"],
)
def test_the_same_as_keras(given_: dict[str, Any], theirs: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
    keras = runtime.keras()
    name, arguments, more = theirs
    schedule = getattr(keras.optimizers.schedules, name)(*arguments, **more)
    assert_allclose(curve(**given_), [float(schedule(step)) for step in range(TOTAL)], atol=1e-6)


# --- plateau ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.5, 0.50005, math.nan]), max_size=12), st.integers(1, 3))
def test_plateau_is_keras_own(values: list[float], patience: int) -> None:
    """A transcription of ReduceLROnPlateau, cooldown 0 and min_lr 0."""
    improves: dict[Goal, Callable[[float, float], bool]] = {
        "minimize": lambda a, b: a < b - 1e-4,
        "maximize": lambda a, b: a > b + 1e-4,
    }
    for goal, better in improves.items():
        rate, waited = 1.0, 0
        best = math.inf if goal == "minimize" else -math.inf
        for value in values:
            if better(value, best):
                best, waited = value, 0
            else:
                waited += 1
                if waited >= patience:
                    rate, waited = rate * 0.5, 0
        assert plateau_multiplier(values, factor=0.5, patience=patience, goal=goal) == rate


@pytest.mark.parametrize(
    ("values", "times"),
    [
        ([], 0),
        ([math.nan], 0),
        ([math.nan, math.nan], 1),
        ([1.0, 1.0], 0),
        ([1.0, 1.0, 1.0, 1.0, 1.0], 2),
        ([0.0, -1e-4, -1e-4], 1),  # the least change that counts must be exceeded
        ([0.0, -1.1e-4, -1.1e-4], 0),
    ],
)
def test_plateau_counts_epochs_in_a_row(values: list[float], times: int) -> None:
    for goal, sign in (("minimize", 1), ("maximize", -1)):
        told = [sign * value for value in values]
        assert plateau_multiplier(told, factor=0.5, patience=2, goal=goal) == 0.5**times  # type: ignore[arg-type]


def test_plateau_against_the_callback_itself() -> None:
    keras = runtime.keras()
    values = [1.0, 0.9, 0.89995, 0.89995, 0.95, 0.8, 0.8, 0.8, 0.8, 0.8, 0.7]
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    callback = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=2, mode="min")
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_loss": value})
        ours = plateau_multiplier(values[: epoch + 1], factor=0.5, patience=2)
        assert ours == pytest.approx(float(model.optimizer.learning_rate))


# --- the user's own ---------------------------------------------------------------------------------------------------


def test_a_function_of_the_step() -> None:
    asked: list[tuple[int, int, float]] = []

    def falling(step: int, total_steps: int, base_rate: float) -> float:
        asked.append((step, total_steps, base_rate))
        return base_rate * (1 - step / total_steps)

    schedule = made(python="m:f")
    found = table(schedule, base_rate=R, epochs=EPOCHS, steps_per_epoch=STEPS, function=falling)
    assert_allclose(found, curve(name="linear"))
    assert asked == [(step, TOTAL, R) for step in range(TOTAL)]
    warm = made(python="m:f", warmup={"epochs": 2})
    found = table(warm, base_rate=R, epochs=EPOCHS, steps_per_epoch=STEPS, function=falling)
    assert_allclose(found, curve(name="linear", warmup={"epochs": 2}))


def test_a_function_of_the_epoch_goes_on_from_the_last_rate() -> None:
    asked = []

    def step_decay(epoch: int, lr: float) -> float:
        asked.append(epoch)
        return lr * 0.5 if epoch in (2, 3) else lr

    found = by_epoch(made(python="m:f", per="epoch"), base_rate=R, epochs=5, function=step_decay)
    assert found == [R, R, R / 2, R / 4, R / 4]
    assert asked == [0, 1, 2, 3, 4]
    every = table(made(python="m:f", per="epoch"), base_rate=R, epochs=5, steps_per_epoch=3, function=step_decay)
    assert every.tolist() == np.repeat(found, 3).tolist()


def test_a_function_may_give_nothing() -> None:
    assert table(made(python="m:f"), base_rate=R, epochs=1, steps_per_epoch=2, function=lambda *_: 0).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda step, total, rate: math.nan, "finite rate"),
        (lambda step, total, rate: -1, "at least 0"),
        (lambda step: 1, "TypeError"),
        (lambda step, total, rate: "fast", "ValueError"),
    ],
)
def test_a_function_that_gives_no_rate_fails_the_segment(function: Any, words: str) -> None:
    with pytest.raises(SegmentFailed, match=rf"schedule\.python: .*{words}"):
        table(made(python="m:f"), base_rate=R, epochs=1, steps_per_epoch=2, function=function)
