"""What a schedule and dials cost: a training step with them against one with plain numbers in stock Keras.

The same recipe is trained through the same epoch function, three times over. `constant`: Adam at a constant rate, stock
`Dropout`, a stock L2 penalty. `schedule`: each step's rate is looked up in the table. `dials`: the table, and dropout's
rate and the penalty's strength are read from variables too. They are timed in turn, in CPU time of this process, so
that whatever else the machine does meets all; told are the median ratios to `constant` of the same round.

    python benchmarks/step.py [--rounds 30]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from hptune.experiment import schedules
from hptune.experiment.recipe import LayerCall, Recipe
from hptune.experiment.training import Initialization, Schedule, Training
from hptune.training.core.program import Program, ProgramSetting
from hptune.training.data import Part
from hptune.training.models.blueprint import Blueprint
from hptune.training.models.from_layers import of_layers

DENSE = (
    LayerCall("Flatten", {}),
    LayerCall("Dense", {"units": 128, "activation": "relu", "kernel_regularizer": {"L2": {"l2": 1e-4}}}),
    LayerCall("Dropout", {"rate": 0.2}),
    LayerCall("Dense", {"units": 10, "activation": "softmax"}),
)
CNN = (
    LayerCall("Conv2D", {"filters": 16, "kernel_size": 3, "padding": "same", "activation": "relu"}),
    LayerCall("MaxPooling2D", {}),
    *DENSE,
)
BATCH, ROWS = 32, 1056
EPOCHS = {"dense": 20, "cnn": 8}
"""In one timing."""

NO_RATE_OF_OURS = float("nan")
"""What a blueprint has where the optimizer keeps its own rate."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often each is timed")
    rounds = parser.parse_args().rounds
    for name, layers in (("dense", DENSE), ("cnn", CNN)):
        times = timed_in_turn(trainings(layers, EPOCHS[name]), rounds)
        step_us = statistics.median(times["constant"]) / (EPOCHS[name] * ROWS // BATCH) * 1e6
        told = [f"{kind} {told_ratio(times[kind], times['constant'])}" for kind in ("schedule", "dials")]
        sys.stdout.write(f"{name}: {step_us:.0f} us a step; {'; '.join(told)}\n")


def timed_in_turn(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each, once a round; who goes first changes."""
    times: dict[str, list[float]] = {kind: [] for kind in runs}
    for number in range(rounds):
        for kind in list(runs)[:: 1 if number % 2 else -1]:
            started = time.process_time()
            runs[kind]()
            times[kind].append(time.process_time() - started)
    return times


def told_ratio(times: list[float], to: list[float]) -> str:
    low, middle, high = statistics.quantiles((a / b for a, b in zip(times, to, strict=True)), n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def trainings(layers: tuple[LayerCall, ...], epochs: int) -> dict[str, Callable[[], Any]]:
    """By kind, what trains so many epochs."""
    schedule = Schedule.model_validate({"name": "cosine", "warmup": {"epochs": 2}})
    training = Training.model_validate(
        {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], "batch_size": BATCH}
    )
    dialled = of_layers(Recipe(layers, training, Initialization(), schedule, None), (8, 8, 1), input_dtype="float32")
    stock = replace(dialled, build=dialled.stock, dialled=False, dials={})
    rates = schedules.table(schedule, base_rate=1e-3, epochs=epochs, steps_per_epoch=ROWS // BATCH).astype(np.float32)
    blueprint_of = {
        "constant": replace(stock, learning_rate=NO_RATE_OF_OURS),
        "schedule": stock,
        "dials": dialled,
    }
    return {kind: training_of(blueprint, rates, epochs) for kind, blueprint in blueprint_of.items()}


def training_of(blueprint: Blueprint, rates: Any, epochs: int) -> Callable[[], Any]:
    """What trains so many epochs from the same state; traced already."""
    program = Program(blueprint, samples(ROWS), samples(BATCH))
    setting = ProgramSetting(blueprint.dials, rates, BATCH, order_seed=0)
    state = program.fresh(blueprint.weights(0), 0)
    program.run(state, setting, from_epoch=0, to_epoch=1)
    return lambda: program.run(state, setting, from_epoch=0, to_epoch=epochs)


def samples(rows: int) -> Part:
    generator = np.random.default_rng(0)
    x = generator.random((rows, 8, 8, 1), np.float32)
    return Part(x, generator.integers(0, 10, rows).astype(np.int32))


if __name__ == "__main__":
    main()
