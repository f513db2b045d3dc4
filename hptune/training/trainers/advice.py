"""What would make the training faster, found by trying: for `hptune search --profile`.

XLA and half precision change results, so they are never switched on by a measurement; the advice says what they bring.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hptune.base.stopwatch import WATCH
from hptune.training.core.program import Program, ProgramSetting
from hptune.training.core.state import State
from hptune.training.data import Part

_PAYS = 1.2
"""How many times faster an epoch must become for the advice to be given."""

_TRIED_EPOCHS = 4
"""Epochs that the advice is measured over; the first one compiles."""


def record_validation(program: Program, validation: Part, setting: ProgramSetting, *, epochs: int) -> None:
    """Tell the stopwatch how much of these epochs, which are one call each, was validation."""
    if program.epoch_s is None:
        return
    with WATCH.aside():
        state = program.state()  # some layers draw random numbers in inference too
        program.evaluate(validation, setting.batch_size)  # traces
        started = time.perf_counter()
        program.evaluate(validation, setting.batch_size)
        took_s = time.perf_counter() - started
        program.load(state)
    WATCH.move("train", "validate", epochs * min(took_s, program.epoch_s))


def advise(program: Program, with_xla: Callable[[], Program], *, state: State, setting: ProgramSetting) -> None:
    """Note what XLA, and half precision, would bring to a trial like this. `program` is left as it is."""
    if program.epoch_s is None:
        return
    with WATCH.aside():
        WATCH.notes += [_on_xla(program.epoch_s, with_xla(), state=state, setting=setting), *_on_precision()]


def _on_xla(plain_s: float, program: Program, *, state: State, setting: ProgramSetting) -> str:
    started = time.perf_counter()
    program.run(state, setting, from_epoch=0, to_epoch=_TRIED_EPOCHS)
    total_s = time.perf_counter() - started
    assert program.epoch_s is not None, "several epochs were run"
    timing = (
        f"an epoch of the first trial takes {plain_s * 1000:.1f} ms, with XLA {program.epoch_s * 1000:.1f} ms "
        f"after {total_s - (_TRIED_EPOCHS - 1) * program.epoch_s:.1f} s of compiling for each structure"
    )
    if plain_s < _PAYS * program.epoch_s:
        return f"execution.xla would not pay: {timing}"
    return f"execution.xla: true would pay (it changes results, so for another search): {timing}"


def _on_precision() -> list[str]:
    import keras
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus or keras.config.dtype_policy().name != "float32":
        return []
    major, _ = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    if major < 7:  # no hardware for half precision
        return []
    return ["execution.precision: mixed_float16 is likely to pay for large layers (it changes results)"]
