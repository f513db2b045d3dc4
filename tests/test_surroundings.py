"""Libraries' settings are put back after the user's code; Python's and NumPy's: `trust/test_strange_trials.py`."""

from __future__ import annotations

import contextvars
import timeit

import keras
import numpy as np
import sklearn
import tensorflow as tf

from hptune.base import surroundings


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


def scopes() -> list[object]:
    names, jit = keras.saving.get_custom_objects(), tf.config.optimizer.get_jit()
    placed, rounded = tf.config.get_soft_device_placement(), tf.config.experimental.tensor_float_32_execution_enabled()
    told = [keras.activations.get("relu"), dict(names), keras.config.dtype_policy().name, jit, placed, rounded]
    return [*told, keras.distribution.distribution(), keras.src.saving.serialization_lib.in_safe_mode()]


def test_a_scope_that_is_never_left_and_a_name_that_is_taken_are_put_back() -> None:
    before = scopes()
    with surroundings.kept():
        keras.saving.get_custom_objects()["relu"] = keras.activations.tanh
        keras.saving.CustomObjectScope({"relu": keras.activations.tanh}).__enter__()
        keras.name_scope("left").__enter__()
        keras.RematScope(mode="full").__enter__()
        keras.StatelessScope().__enter__()
        keras.config.enable_unsafe_deserialization()
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
        tf.config.set_soft_device_placement(False)
        tf.config.optimizer.set_jit(True)
        tf.config.experimental.enable_tensor_float_32_execution(False)
        keras.utils.clear_session()
        keras.config.set_dtype_policy("mixed_bfloat16")
    assert scopes() == before
    assert keras.layers.Dense(2, activation="relu")(np.ones((1, 2))).shape == (1, 2), "in no scope without state"
    assert not {"scopes", "tensorflow"} & set(surroundings.unmended())


def test_names_that_keras_makes_begin_anew() -> None:
    with surroundings.kept():
        first = [keras.layers.Dense(1).name, keras.metrics.AUC().name]
    with surroundings.kept():
        assert [keras.layers.Dense(1).name, keras.metrics.AUC().name] == first


def test_what_is_registered_with_its_package_stays() -> None:
    """It hides nothing, and what was made of it may have to be found."""
    with surroundings.kept():
        keras.saving.get_custom_objects()["Mine>Layer"] = keras.layers.Dense
    assert keras.saving.get_custom_objects().pop("Mine>Layer") is keras.layers.Dense


def test_a_strategys_scope_that_is_never_left_ends_the_process() -> None:
    before = len(surroundings.unmended())
    scope = tf.distribute.OneDeviceStrategy("CPU:0").scope()
    try:
        with surroundings.kept():
            scope.__enter__()
        assert surroundings.unmended()[before:] == ["tensorflow"]
    finally:
        scope.__exit__(None, None, None)


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


def test_it_costs_a_fifth_of_a_millisecond() -> None:
    def once() -> None:
        with surroundings.kept():
            pass

    assert min(timeit.repeat(once, number=20, repeat=20)) / 20 < 5e-3, "on a busy machine"
