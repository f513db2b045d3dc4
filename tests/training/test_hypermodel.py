"""What a builder's code asks for is found before the first trial, with the conditions that the code implies."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from hptune.base import surroundings
from hptune.base.errors import SpecError
from hptune.experiment.space.space import FloatDomain, IntDomain
from hptune.training.models.discovery import discover
from hptune.training.models.hypermodel import Builder, from_code
from hptune.training.own import reuse

HEAD = """
import keras, keras_tuner
def model(*layers):
    made = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3, activation="softmax")])
    made.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made
Dense = keras.layers.Dense
"""


def builder(folder: Path, code: str, name: str = "build") -> Builder:
    module = f"code_{abs(hash(code)) % 10**9}"
    (folder / f"{module}.py").write_text(HEAD + dedent(code))
    return from_code(f"{module}:{name}", folder)


def found(folder: Path, code: str, **declared: Any) -> dict[str, Any]:
    return discover(builder(folder, code), declared)


def test_every_kind_of_parameter(tmp_path: Path) -> None:
    code = """
    def build(hp):
        hp.Float("rate", 1e-4, 1e-1, sampling="log", default=1e-3)
        hp.Float("share", 0, 1, step=0.25)
        hp.Choice("kind", ["a", "b"])
        hp.Boolean("flag", default=True)
        hp.Fixed("fixed", 3)
        hp.Int("power", 1, 100, step=10, sampling="log")
        return model(Dense(hp.Int("units", 8, 64, step=8)))
    """
    assert found(tmp_path, code) == {
        "rate": {"type": "float", "min": 1e-4, "max": 1e-1, "log": True, "default": 1e-3},
        "share": {"type": "float", "min": 0.0, "max": 1.0, "step": 0.25, "default": 0.0},
        "kind": {"type": "choice", "values": ["a", "b"], "default": "a"},
        "flag": {"type": "choice", "values": [True, False], "default": True},
        "power": {"type": "choice", "values": [1, 10, 100], "default": 1},
        "units": {"type": "int", "min": 8, "max": 64, "step": 8, "default": 8},
    }


def test_a_branch_is_a_condition(tmp_path: Path) -> None:
    code = """
    def build(hp):
        layers = []
        if hp.Boolean("head"):
            layers = [Dense(hp.Int("units", 2, 4))]
            if hp.Choice("drop", ["no", "some", "much"]) != "no":
                layers.append(keras.layers.Dropout(hp.Float("rate", 0.1, 0.5)))
        return model(*layers)
    """
    space = found(tmp_path, code)
    assert space["units"]["when"] == {"head": [True]}
    assert space["drop"]["when"] == {"head": [True]}
    assert sorted(space["rate"]["when"]["drop"]) == ["much", "some"]
    assert "when" not in space["head"]


def test_a_loop_over_an_integer_gives_each_name_its_values(tmp_path: Path) -> None:
    code = """
    def build(hp):
        return model(*[Dense(hp.Int(f"units_{i}", 2, 9)) for i in range(hp.Int("depth", 1, 4))])
    """
    space = found(tmp_path, code)
    assert "when" not in space["units_0"]
    assert [sorted(space[f"units_{i}"]["when"]["depth"]) for i in (1, 2, 3)] == [[2, 3, 4], [3, 4], [4]]


def test_kerastuners_own_scopes_are_conditions_too(tmp_path: Path) -> None:
    code = """
    def build(hp):
        kind = hp.Choice("kind", ["plain", "deep"])
        with hp.conditional_scope("kind", ["deep"]):
            if kind == "deep":
                return model(Dense(hp.Int("units", 2, 4)))
        return model()
    """
    assert found(tmp_path, code)["units"]["when"] == {"kind": ["deep"]}


def test_the_yaml_takes_a_name_over(tmp_path: Path) -> None:
    code = """
    def build(hp):
        assert 3 <= hp.Int("units", 100, 200) <= 5
        hp.Float("rate", 0.0, 1.0)
        return model(Dense(3))
    """
    assert list(found(tmp_path, code, units=IntDomain(type="int", min=3, max=5))) == ["rate"]
    assert (
        found(tmp_path, code, units=IntDomain(type="int", min=4, max=4), rate=FloatDomain(type="float", min=0, max=1))
        == {}
    )


def test_a_build_gets_the_values_and_stable_names(tmp_path: Path) -> None:
    one = builder(tmp_path, """def build(hp): return model(Dense(hp.Int("units", 8, 64)))""")
    names = []
    for units in (12, 40):
        made, _ = one.build({"units": units})
        assert made.layers[0].units == units
        names.append([layer.name for layer in made.layers])
    assert names[0] == names[1]


def test_classes_and_their_own_fit(tmp_path: Path) -> None:
    code = """
    class Plain(keras_tuner.HyperModel):
        def build(self, hp): return model(Dense(hp.Int("units", 1, 2)))
    class Own(Plain):
        def fit(self, hp, model, *args, **kwargs): return model.fit(*args, **kwargs)
    """
    assert list(discover(builder(tmp_path, code, "Plain"), {})) == ["units"]
    assert not builder(tmp_path, code, "Plain").has_own_fit
    assert builder(tmp_path, code, "Own").has_own_fit


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("nowhere_at_all:build", "no module 'nowhere_at_all' beside the YAML file"),
        ("broken_module:build", "importing 'broken_module' failed: ZeroDivisionError"),
        ("whole_module:biuld", "Did you mean 'build'?"),
        ("whole_module:number", "neither a build.hp. function nor a keras_tuner.HyperModel"),
        ("whole_module", "must be module:name"),
    ],
)
def test_wrong_references_are_told(tmp_path: Path, reference: str, told: str) -> None:
    (tmp_path / "broken_module.py").write_text("1 / 0")
    (tmp_path / "whole_module.py").write_text("number = 3\ndef build(hp): ...\n")
    with pytest.raises(SpecError, match=told) as error:
        from_code(reference, tmp_path)
    assert error.value.problems[0].path == ("model", "python")


def test_a_module_that_the_builder_imports_itself_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "late_settings.py").write_text(
        "UNITS = {'first': 4, 'act': lambda x: x}\nclass Sizes:\n    second = 5\n"
    )
    code = """
    def build(hp):
        import late_settings
        if hp.Boolean("wide"):
            late_settings.UNITS["first"] = 9
            late_settings.Sizes.second += 1
        return model(Dense(late_settings.UNITS["first"]), Dense(late_settings.Sizes.second))
    """
    made = builder(tmp_path, code)
    sizes = [[one.units for one in made.build({"wide": wide})[0].layers[:2]] for wide in (True, False, True, False)]
    assert sizes == [[9, 6], [4, 5], [9, 6], [4, 5]]


def test_what_can_not_be_put_back_is_imported_anew(tmp_path: Path) -> None:
    code = """
    import collections, threading, numpy as np, contextvars
    TABLE, LOCAL, VAR = np.ones(300_000), threading.local(), contextvars.ContextVar("var", default=0)
    LOCAL.calls, PAIR, NUMBERS = 0, ({"n": 0, "f": lambda: 0},), iter(range(100))
    class Single:
        made = None
        def __new__(cls):
            if cls.made is None:
                cls.made = super().__new__(cls)
                cls.made.calls = 0
            return cls.made
    class Slots:
        __slots__ = ("n",)
    SLOTS = Slots(); SLOTS.n = 0; SAME = [SLOTS]
    def build(hp):
        TABLE[0] += 1; LOCAL.calls += 1; VAR.set(VAR.get() + 1); PAIR[0]["n"] += 1
        Single().calls += 1; SAME[0].n += 1
        calls = [TABLE[0] - 1, LOCAL.calls, VAR.get(), PAIR[0]["n"], Single().calls, SLOTS.n, next(NUMBERS) + 1]
        return model(Dense(1 + int(sum(calls))))
    """
    made = builder(tmp_path, code)
    assert [made.build({})[0].layers[0].units for _ in range(3)] == [8, 8, 8]
    assert {name.partition(".")[2] for name in made.kept_by_code} >= {"TABLE", "LOCAL", "VAR", "PAIR", "NUMBERS"}


def test_code_that_keeps_nothing_is_imported_once(tmp_path: Path) -> None:
    code = """
    import functools, numpy as np
    LOADED, SIZES, TABLE = [], {"a": [4]}, np.ones((30, 3))
    LOADED.append(1)
    class Kind:
        size = 5
    @functools.lru_cache
    def never(): return 1
    def build(hp):
        return model(Dense(SIZES["a"][0] + Kind.size + int(TABLE.sum())))
    """
    made = builder(tmp_path, code)
    for _ in range(3):
        made.build({})
    assert not made.kept_by_code


def test_modules_that_are_imported_anew_do_not_pile_up(tmp_path: Path) -> None:
    code = """
    import numpy as np
    TABLE = np.ones(300_000)
    def build(hp):
        TABLE[0] += 1
        return model(Dense(int(TABLE[0])))
    """
    made = builder(tmp_path, code)
    alive = []
    for _ in range(4):
        assert made.build({})[0].layers[0].units == 2
        alive.append(weakref.ref(sys.modules[made.reference.partition(":")[0]]))
    gc.collect()
    assert [one() is not None for one in alive] == [False, False, False, True]


def test_layers_are_added_to_a_network_that_outlives_the_calls(tmp_path: Path) -> None:
    made = builder(
        tmp_path,
        """
        KEPT = model(Dense(5))
        def build(hp):
            KEPT.add(Dense(hp.Int("units", 1, 9)))
            return KEPT
        """,
    )
    for units in (4, 6, 4):
        built, _ = made.build({"units": units})
        assert [layer.units for layer in built.layers] == [5, 3, units]


def test_builders_of_one_module_see_nothing_of_each_other(tmp_path: Path) -> None:
    """Each fold has one in the same process."""
    code = """
    import functools, threading
    LOCAL = threading.local()
    @functools.lru_cache
    def cached(of): return [of]
    def build(hp):
        LOCAL.calls = getattr(LOCAL, "calls", 0) + 1
        cached(1).append(0)
        return model(Dense(LOCAL.calls), Dense(len(cached(1))))
    """
    first = builder(tmp_path, code)
    both = (first, from_code(first.reference, tmp_path))
    for one in (0, 0, 1, 1, 0, 1, 0, 0):
        assert [layer.units for layer in both[one].build({})[0].layers[:2]] == [1, 2]


def test_what_is_made_in_other_languages_is_looked_into_or_taken_for_changed(tmp_path: Path) -> None:
    code = """
    import array, ctypes, hashlib, itertools, mmap, re, threading
    import tensorflow as tf
    TABLE = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    NUMBER, MAPPED, LOCK, NEXT = ctypes.c_int(0), mmap.mmap(-1, 8), threading.Lock(), itertools.count().__next__
    PATTERN, LAYER = re.compile("a"), keras.layers.StringLookup(vocabulary=["a", "b"])
    def build(hp):
        what = hp.Choice("what", ["nothing", "table", "number", "mapped", "lock", "next"])
        calls = int(TABLE.size()) + NUMBER.value + MAPPED[0] + LOCK.locked()
        if what == "table": TABLE.insert(tf.constant(["a"]), tf.constant([1], tf.int64))
        if what == "number": NUMBER.value += 1
        if what == "mapped": MAPPED[0] += 1
        if what == "lock": LOCK.acquire()
        if what == "next": calls += NEXT()
        return model(Dense(1 + calls))
    """
    made = builder(tmp_path, code)
    for _ in range(2):
        made.build({"what": "nothing"})
    assert not made.kept_by_code
    for what in ("table", "number", "mapped", "lock", "next"):
        other = builder(tmp_path, code.replace('"nothing",', f'"nothing",  # {what}\n        '))
        assert [other.build({"what": what})[0].layers[0].units for _ in range(2)] == [1, 1], what


def test_names_that_keras_looks_up_are_put_back(tmp_path: Path) -> None:
    code = """
    def build(hp):
        if hp.Boolean("other"):
            keras.src.activations.ALL_OBJECTS_DICT["relu"] = keras.activations.linear
        return model(Dense(4, "relu"))
    """
    made = builder(tmp_path, code)
    told = [made.build({"other": other})[0].layers[0].activation.__name__ for other in (True, False, True, False)]
    assert told == ["linear", "relu", "linear", "relu"]


def test_floats_that_layers_do_not_follow_are_told(tmp_path: Path) -> None:
    code = """
    def build(hp):
        hp.Int("n", 1, 3)
        keras.config.set_floatx("float64")
        return model(Dense(1))
    """
    made = builder(tmp_path, code)
    with surroundings.kept():
        made.build({"n": 1})
    assert reuse.notes_on_leftovers(made)[-1].startswith(
        "the model's code sets Keras's floatx to float64, which layers here don't"
    )


def test_a_module_that_is_imported_late_by_two_ways_is_forgotten_once(tmp_path: Path) -> None:
    (tmp_path / "loaded_late.py").write_text("import keras\nkeras.config.set_max_epochs(7)\n")
    code = """
    def build(hp):
        import loaded_late
        return model(Dense(hp.Int("n", 1, 3)))
    """
    made = builder(tmp_path, code)
    with surroundings.kept(), made.watched():
        for n in (1, 2, 3):
            made.build({"n": n})
