"""Libraries' settings are put back after the user's code; Python's and NumPy's: `trust/test_strange_trials.py`."""

from __future__ import annotations

import contextvars
import timeit

import keras
import sklearn
import tensorflow as tf

from hptune import surroundings


def settings() -> list[object]:
    config = keras.config
    held = [config.is_interactive_logging_enabled(), config.is_traceback_filtering_enabled(), config.floatx()]
    held += [config.max_epochs(), config.max_steps_per_epoch(), config.dtype_policy().name, config.image_data_format()]
    return [*held, sklearn.get_config(), tf.config.functions_run_eagerly(), VARIABLE.get(), UNSET.get(None)]


VARIABLE = contextvars.ContextVar("VARIABLE", default=0)
UNSET: contextvars.ContextVar[int | None] = contextvars.ContextVar("UNSET", default=None)


def test_what_code_sets_in_libraries_is_put_back() -> None:
    VARIABLE.set(1)
    before = settings()
    with surroundings.kept():
        for switch in ("interactive_logging", "traceback_filtering"):
            on = getattr(keras.config, f"is_{switch}_enabled")()
            getattr(keras.config, f"{'disable' if on else 'enable'}_{switch}")()
        keras.config.set_max_epochs(1)
        keras.config.set_max_steps_per_epoch(1)
        keras.config.set_dtype_policy("mixed_float16")
        keras.config.set_floatx("float64")
        keras.config.set_image_data_format("channels_first")
        sklearn.set_config(assume_finite=True)
        tf.config.run_functions_eagerly(True)
        VARIABLE.set(2)
        UNSET.set(3)
        assert [a for a, b in zip(before, settings(), strict=True) if a == b] == []
    assert settings() == before
    assert "keras" not in surroundings.unmended()


def test_what_modules_set_as_they_are_imported_stays_and_the_rest_goes() -> None:
    try:
        with surroundings.kept():
            with surroundings.importing():
                tf.config.run_functions_eagerly(True)
            sklearn.set_config(assume_finite=True)
        assert tf.config.functions_run_eagerly()
        assert not sklearn.get_config()["assume_finite"]
    finally:
        tf.config.run_functions_eagerly(False)


def test_it_costs_a_tenth_of_a_millisecond() -> None:
    def once() -> None:
        with surroundings.kept():
            pass

    assert min(timeit.repeat(once, number=20, repeat=20)) / 20 < 0.5e-3, "on a busy machine"
