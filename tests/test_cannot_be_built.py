"""Points that can't be built, as users meet them: each fails its own trial, with its place and what it got."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_cli import Done, Sandbox

CODE = """\
import keras, keras_tuner
from keras import layers

def arrays():
    import numpy as np
    x = np.random.default_rng(0).random((40, 4), np.float32)
    return (x[:20], x[:20, :1]), (x[20:], x[20:, :1])

def compiled(*hidden):
    model = keras.Sequential([keras.Input((4,)), *hidden, layers.Dense(1)])
    model.compile("sgd", "mse")
    return model

def build(hp):
    units = hp.Int("units", 1, 4)
    if units > 2:
        raise ValueError("Model too large!")
    return compiled(layers.Dense(units))

class Hyper(keras_tuner.HyperModel):
    def build(self, hp):
        if hp.Choice("kind", ["a", "b", "c"]) != "b":
            raise keras_tuner.errors.FailedTrialError("only b")
        return compiled(layers.Dense(hp.Int("units", 1, 2)))

def fatal(hp):
    units = hp.Int("units", 1, 4)
    if units == 3:
        raise keras_tuner.errors.FatalError("look here")
    return compiled(layers.Dense(units))

def fatal_at_once(hp):
    raise keras_tuner.errors.FatalTypeError("look here")

def never(hp):
    hp.Int("units", 7, 9)
    return compiled(layers.Dense(hp.Int("n", 3, 4), activation="reluu"))

def late(hp):
    units = hp.Int("units", 1, 99, default=1)
    hidden = [layers.Dense(hp.Int("late", 8, 64), name="late")] if units in (50, 51) else []
    return compiled(layers.Dense(1), *hidden)

def huge(hp):
    return compiled(layers.Dense(hp.Int("n", 1, 10**9)))

class Narrow(layers.Layer):
    def __init__(self, width):
        super().__init__()
        self.width = width

    def call(self, x):
        if self.width > 4:
            raise ValueError("wider than the samples")
        return x[:, :self.width]
"""

SPEC = """\
version: 1
name: t
data: {{python: "cannot_build:arrays"}}
model: {{python: "cannot_build:{build}"}}
training: {{epochs: 1}}
strategy: {{name: {strategy}}}
execution: {{executor: inline}}
budget: {{trials: {trials}}}
"""

LAYERS = """\
version: 1
name: t
data: {python: "cannot_build:arrays"}
model:
  layers:
    - repeat:
        times: 2
        layers:
          - Reshape: {target_shape: [$width, 2]}
          - Flatten
    - Dense: {units: 1}
search_space:
  width: {type: choice, values: [2, 3]}
training: {epochs: 1}
strategy: {name: grid}
execution: {executor: inline}
"""


@pytest.fixture
def sb(tmp_path: Path) -> Iterator[Sandbox]:
    (tmp_path / "cannot_build.py").write_text(CODE)
    yield Sandbox(tmp_path)
    sys.modules.pop("cannot_build", None)
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def search(sb: Sandbox, build: str, *, expect: int = 0) -> Done:
    sb.spec(SPEC.format(build=build, strategy="grid", trials=8))
    return sb("search", "spec.yaml", "--quiet", expect=expect)


def rows(sb: Sandbox) -> dict[Any, Any]:
    """Each trial's error, or its state, by what it tried."""
    told = sb("trials", "--json").json
    return {tuple(row["values"].values()): row.get("error") or row["state"] for row in told}


def line(part: str) -> int:
    """The line of the code that holds it first."""
    return next(number for number, text in enumerate(CODE.splitlines(), start=1) if part in text)


def test_each_fails_its_own_trial_and_the_winner_is_trained(sb: Sandbox) -> None:
    search(sb, "build")
    too_large = "ValueError: Model too large! (cannot_build.py:17)"
    assert rows(sb) == {(1,): "completed", (2,): "completed", (3,): too_large, (4,): too_large}
    assert sb("train-best", "--json").json["baseline"]["values"] == {"units": 1}


@pytest.mark.slow
def test_a_class_whose_defaults_fail(sb: Sandbox) -> None:
    search(sb, "Hyper")
    told = f"FailedTrialError: only b (cannot_build.py:{line('only b')})"
    assert {values[0]: error for values, error in rows(sb).items()} == {"a": told, "b": "completed", "c": told}
    assert "time: " in sb("plan", "spec.yaml", "--probe").out


def test_a_fatal_error_ends_the_search_and_keeps_what_was_finished(sb: Sandbox) -> None:
    done = search(sb, "fatal", expect=1)
    place = line("look here")
    assert f"the code has ended the run: FatalError: look here (cannot_build.py:{place})" in done.err
    assert rows(sb) == {(1,): "completed", (2,): "completed", (3,): "running"}
    (sb.folder / "cannot_build.py").write_text(CODE.replace("if units == 3:", "if units == 30:"))
    sys.modules.pop("cannot_build", None)
    search(sb, "fatal")
    assert set(rows(sb).values()) == {"completed"}


def test_a_fatal_error_at_the_defaults_ends_it_before_the_first_trial(sb: Sandbox) -> None:
    assert "FatalTypeError: look here (cannot_build.py:" in search(sb, "fatal_at_once", expect=1).err
    assert sb("runs", "--json").json == []


def test_where_no_point_builds_the_search_is_refused_at_its_line(sb: Sandbox) -> None:
    told = search(sb, "never", expect=2).err
    assert told.startswith("spec.yaml:4:17: model.python: no model is built by any of the ")
    assert "ValueError: " in told
    assert f"(cannot_build.py:{line('reluu')}) (with units=7, n=3). Fix the code" in told
    assert "Traceback" not in told


def test_what_is_asked_late_fails_its_trial_and_the_yaml_that_is_told_mends_it(sb: Sandbox) -> None:
    text = SPEC.format(build="late", strategy="random", trials=2) + "enqueue: [{units: 50}, {units: 7}]\n"
    sb.spec(text)
    sb("search", "spec.yaml", "--quiet")
    error = rows(sb)[(50,)]
    assert error.startswith("the code asks for late under these values")
    assert rows(sb)[(7,)] == "completed"
    pasted = error.split("search_space: ", 1)[1]
    assert pasted == "{late: {type: int, min: 8, max: 64, default: 8}}"
    sb.spec(f"{text}search_space: {pasted}\n")
    sb("search", "spec.yaml", "--quiet", "--fresh")
    assert set(rows(sb).values()) == {"completed"}


def test_a_huge_int_is_declared_and_not_built(sb: Sandbox) -> None:
    sb.spec(SPEC.format(build="huge", strategy="random", trials=1) + "enqueue: [{n: 3}]\n")
    sb("search", "spec.yaml", "--quiet")
    assert rows(sb) == {(3,): "completed"}


def test_layers_are_told_with_their_line_and_what_they_got(sb: Sandbox) -> None:
    sb.spec(LAYERS, "mine.yaml")
    sb("search", "mine.yaml", "--quiet")
    told = rows(sb)
    assert told[(2,)] == "completed"
    assert told[(3,)].startswith(
        "model.layers[0].repeat.layers[0] (mine.yaml:9): Reshape(target_shape=[3, 2]): ValueError: "
    )


def test_a_layer_of_the_users_own_has_both_places(sb: Sandbox) -> None:
    text = LAYERS.replace("Reshape: {target_shape: [$width, 2]}", "cannot_build:Narrow: {width: $width}")
    sb.spec(text.replace("[2, 3]", "[2, 5]").replace("cannot_build:Narrow:", '"cannot_build:Narrow":'))
    sb("search", "spec.yaml", "--quiet")
    told = rows(sb)[(5,)]
    assert told.startswith("model.layers[0].repeat.layers[0] (spec.yaml:9): cannot_build:Narrow(width=5): ValueError: ")
    assert told.endswith(f"(cannot_build.py:{line('wider')})")


def test_layers_of_which_no_point_builds_are_refused_at_their_line(sb: Sandbox) -> None:
    sb.spec(LAYERS.replace("[2, 3]", "[3, 5]"))
    told = sb("search", "spec.yaml", "--quiet", expect=2).err
    assert told.startswith("spec.yaml:9:")
    assert "model.layers[0].repeat.layers[0]: no model for width=3 over samples of [4]: Reshape(" in told
