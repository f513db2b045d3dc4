"""Why training failed, in one line with the place in the user's own code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import KeyPath
from hptune.training.reasons import LayerError, is_fatal, place, reason
from hptune.training.runtime import keras

CODE = """\
import keras
import json
import tensorflow as tf

def direct(x):
    raise ValueError("Model too large!\\nmore")

def through_keras(x):
    return keras.layers.Dense(
        -1)

def through_python(x):
    return json.loads("{")

@tf.function
def traced(x):
    if tf.reduce_sum(x) > 0:
        raise TypeError("not this one")
    return x

@tf.function
def in_a_graph(x):
    tf.debugging.assert_less(x, 0.0, "must be below 0")
    return x

class Net(keras.Model):
    def train_step(self, data):
        x, y = data
        return self.lose(x)

    def lose(self, x):
        raise KeyError("no such loss")

def custom_step(x):
    net = Net()
    net.compile("sgd", "mse")
    net.fit(x, x, verbose=0)

def chained(x):
    try:
        direct(x)
    except ValueError as error:
        raise RuntimeError("on top") from error
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("code")
    (folder / "reasons_code.py").write_text(CODE)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("reasons_code")
    sys.path.remove(str(folder))
    del sys.modules["reasons_code"]


def raised(do: Callable[[Any], Any]) -> BaseException:
    """What it raises; the frames of this test, which are no user's, are taken off."""
    with pytest.raises(BaseException) as error:  # noqa: PT011  # whatever it is
        do(np.ones((4, 2), np.float32))
    found = error.value
    assert found.__traceback__ is not None
    return found.with_traceback(found.__traceback__.tb_next)


@pytest.mark.parametrize(
    ("name", "told", "line"),
    [
        ("direct", "ValueError: Model too large!", 6),
        ("through_keras", "ValueError: ", 9),
        ("through_python", "JSONDecodeError: Expecting property name", 13),
        ("traced", "TypeError: not this one", 18),
        ("in_a_graph", "InvalidArgumentError: ", 23),
        ("custom_step", "KeyError: ", 32),
        ("chained", "RuntimeError: on top", 43),
    ],
)
def test_the_innermost_line_of_the_users(code: Any, name: str, told: str, line: int) -> None:
    folder = Path(code.__file__).parent
    error = raised(getattr(code, name))
    assert reason(error, folder).startswith(told)
    assert reason(error, folder).endswith(f"(reasons_code.py:{line})")
    assert place(error) == f"{code.__file__}:{line}"


def test_what_no_user_wrote_has_no_place() -> None:
    assert reason(raised(lambda _: keras().layers.Dense(-1)).with_traceback(None)).startswith("ValueError: ")
    assert place(ValueError("raised nowhere")) is None
    assert reason(MemoryError()) == "MemoryError"


def test_a_layer_tells_what_it_got(code: Any) -> None:
    path: KeyPath = ("model", "layers", 0)
    error = LayerError(path, "Dense(units=3)")
    error.__cause__ = raised(code.direct)
    assert reason(error, Path(code.__file__).parent) == (
        "Dense(units=3): ValueError: Model too large! (reasons_code.py:6)"
    )


def test_what_is_fatal() -> None:
    import keras_tuner

    errors = keras_tuner.errors
    assert all(map(is_fatal, (errors.FatalError(), errors.FatalValueError(), errors.FatalRuntimeError())))
    assert not any(map(is_fatal, (errors.FailedTrialError(), ValueError())))
    wrapped = LayerError((), "Dense()")
    wrapped.__cause__ = errors.FatalTypeError()
    assert is_fatal(wrapped)


def test_of_groups_inside_each_other_the_innermost_is_told() -> None:
    error: Exception = ValueError("inner")
    for _ in range(3000):
        error = ExceptionGroup("outer", [error])
    assert reason(error) == "ExceptionGroup: outer (1 sub-exception); the first of them: ValueError: inner"


def test_what_can_not_be_told_is_said_to_be_so() -> None:
    class Odd(ValueError):
        def __str__(self) -> str:
            raise RuntimeError("no")

    class Itself(ExceptionGroup[Exception]):
        @property
        def exceptions(self) -> Any:
            return (self,)

    class Broken(ExceptionGroup[Exception]):
        @property
        def exceptions(self) -> Any:
            raise RuntimeError("no")

    assert "Odd: " in reason(Odd(), Path())
    assert reason(Itself("g", [ValueError()])).endswith("(it holds more than 100,000 others inside each other)")
    assert reason(Broken("g", [ValueError()])) == "Broken: (what it holds can't be read: RuntimeError)"
