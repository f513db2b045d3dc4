"""Discovery where builds fail, where conditions combine, where a Float decides, and where an Int is huge."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from test_hypermodel import builder

from hptune.base.errors import SegmentFailed, SpecError
from hptune.experiment.reading.load import load
from hptune.experiment.space.space import ChoiceDomain, FloatDomain, IntDomain, Space
from hptune.run.record import joined_space
from hptune.training.models.discovery import Explored, discover, explore
from hptune.training.models.hypermodel import Builder, keras_tuner
from hptune.training.trainers.points import LARGEST, within_reach

BUILD = "def build(hp):\n"


def explored(folder: Path, body: str, **declared: Any) -> Explored:
    return explore(of(folder, body), declared, folder=folder)


def of(folder: Path, body: str) -> Builder:
    return builder(folder, BUILD + "".join(f"    {line}\n" for line in body.strip().splitlines()))


# --- conditions: in doubt there is none -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "when"),
    [
        ("a, b = hp.Boolean('a'), hp.Boolean('b')\nif a or b: hp.Int('n', 1, 4)", None),
        ("a, b = hp.Boolean('a'), hp.Boolean('b')\nif a and b: hp.Int('n', 1, 4)", {"a": [True], "b": [True]}),
        ("if hp.Float('rate', 0.0, 1.0) > 0.3: hp.Int('n', 1, 4)", None),
        ("if hp.Float('rate', 0.0, 1.0, default=0.5) < 0.2: hp.Int('n', 1, 4)", None),
        ("if hp.Float('x', 0, 1, step=1e-5) > 0.5: hp.Int('n', 1, 4)", None),
        ("if hp.Float('x', 0, 1, step=0.25) > 0.3: hp.Int('n', 1, 4)", {"x": [0.5, 0.75, 1.0]}),
        ("if hp.Int('units', 8, 512) > 256: hp.Int('n', 1, 4)", None),
        ("if hp.Int('depth', 1, 5) >= 3: hp.Int('n', 1, 4)", {"depth": [3, 4, 5]}),
        (
            "k = hp.Choice('k', 'abc')\nif k == 'b' or (k == 'c' and hp.Boolean('f')): hp.Int('n', 1, 4)",
            {"k": ["b", "c"]},
        ),
        ("if hp.Float('x', 0, 1) > 0.5:\n    if hp.Boolean('f'): hp.Int('n', 1, 4)", {"f": [True]}),
    ],
    ids=[
        "or",
        "and",
        "float above",
        "float below",
        "many steps",
        "few steps",
        "a size",
        "few values",
        "or of a branch",
        "behind a float",
    ],
)
def test_a_condition_never_leaves_out_what_the_code_asks(tmp_path: Path, body: str, when: Any) -> None:
    one = of(tmp_path, f"{body}\nreturn model()")
    space = discover(one, {})
    assert space["n"].get("when") == when
    whole = joined_space(load(_spec(tmp_path)).experiment, {"space": space})
    for u in range(40):  # every point of the space is whole: the build meets nothing that it has no value for
        one.build(whole.choose(lambda name, domain, u=u: domain.from_unit(_share(name, u))))


def _share(name: str, u: int) -> float:
    return (sum(map(ord, name)) * 0.377 + u * 0.618) % 1.0


def _spec(folder: Path) -> Path:
    path = folder / "spec.yaml"
    path.write_text("version: 1\ndata: {source: iris}\nmodel: {python: 'x:build'}\n")
    return path


def test_a_declared_parameter_decides_over_all_of_its_values(tmp_path: Path) -> None:
    body = "for i in range(hp.Int('depth', 9, 9)): hp.Int(f'n_{i}', 1, 2)\nreturn model()"
    found = explored(tmp_path, body, depth=IntDomain(type="int", min=1, max=4, default=2)).space
    assert [found[f"n_{i}"].get("when") for i in range(4)] == [
        None,
        {"depth": [2, 3, 4]},
        {"depth": [3, 4]},
        {"depth": [4]},
    ]


def test_the_same_again(tmp_path: Path) -> None:
    one = of(tmp_path, "if hp.Boolean('a') and hp.Float('b', 0, 1) > 0.5: hp.Int('n', 1, 4)\nreturn model()")
    assert explore(one, {}) == explore(one, {})


# --- builds that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fall",
    ["raise ValueError('no')", "raise keras_tuner.errors.FailedTrialError('no')", "raise SystemExit(3)", "return None"],
)
def test_a_build_that_fails_shows_what_it_asked_for(tmp_path: Path, fall: str) -> None:
    body = f"""
k = hp.Choice('k', ['broken', 'plain', 'deep'])
depth = hp.Int('depth', 1, 3)
if k == 'broken':
    hp.Int('seen', 1, 2)
    {fall}
if k == 'deep':
    for i in range(depth): hp.Int(f'n_{{i}}', 1, 4)
hp.Float('late', 0, 1)
return model()
"""
    found = explored(tmp_path, body)
    assert set(found.space) == {"k", "depth", "seen", "late", "n_0", "n_1", "n_2"}
    assert "when" not in found.space["late"]
    assert found.space["n_2"]["when"]["depth"] == [3]
    assert "deep" in found.space["n_2"]["when"]["k"]
    assert "plain" not in found.space["n_2"]["when"]["k"]
    assert found.built
    assert all(values["k"] != "broken" for values in found.built)


def test_where_nothing_builds_the_first_failure_is_told_with_its_place_and_values(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        explored(tmp_path, "n = hp.Int('n', 1, 9)\nk = hp.Choice('k', ['a', 'b'])\nraise ValueError('never ever')")
    (problem,) = error.value.problems
    assert problem.path == ("model", "python")
    assert "ValueError: never ever (code_" in problem.message
    line = len((next(tmp_path.glob("code_*.py"))).read_text().splitlines())
    assert f".py:{line}) (with n=1, k='a')" in problem.message
    assert re.search(r"none|no model is built by any of the \d+ settings", problem.message)


def test_a_fatal_error_ends_it_at_the_defaults_alone(tmp_path: Path) -> None:
    fatal = keras_tuner().errors.FatalError
    with pytest.raises(fatal, match="stop"):
        explored(tmp_path, "raise keras_tuner.errors.FatalValueError('stop')")
    body = "if hp.Boolean('a'): raise keras_tuner.errors.FatalError('stop')\nreturn model()"
    assert list(explored(tmp_path, body).space) == ["a"]


def test_what_can_not_be_searched_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"what the code asks for as seed can't be searched: .*9007199254740992"):
        explored(tmp_path, f"hp.Int('seed', 0, {2**60})\nreturn model()")


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_nothing_huge_is_built(tmp_path: Path) -> None:
    body = f"""
assert hp.Int('n', 1, 10**9) <= {LARGEST}
assert hp.Int('m', 10, 10**6, step=10, default=1000) <= 16000
assert hp.Int('l', 1, 10**8, sampling='log') <= {LARGEST}
assert hp.Int('low', 10**6, 10**7) <= 10**7
return model()
"""
    found = explored(tmp_path, body)
    assert [found.space[name]["max"] for name in "nml"] == [10**9, 10**6, 10**8]
    assert max(values["n"] for values in found.built) == LARGEST  # type: ignore[type-var]  # numbers


def test_what_is_in_reach() -> None:
    assert within_reach(IntDomain(type="int", min=1, max=10**9, default=1)).max == LARGEST  # type: ignore[union-attr]
    stepped = IntDomain(type="int", min=5, max=10**6, step=100, default=5)
    assert within_reach(stepped).max == 4005  # type: ignore[union-attr]
    small = IntDomain(type="int", min=1, max=LARGEST, default=1)
    assert within_reach(small) is small
    share = FloatDomain(type="float", min=0, max=10**9)
    assert within_reach(share) is share


# --- what is asked late -----------------------------------------------------------------------------------------------


def test_what_is_asked_late_fails_with_the_yaml_that_declares_it(tmp_path: Path) -> None:
    body = """
hp.Fixed('fixed', 3)
if hp.Float('rate', 0, 1) == 0.123:
    hp.Int('units 3', 8, 64, step=8)
    hp.Choice('kind', ['a', 'no, never', 'true'], default='true')
    hp.Float('decay', 1e-5, 1e-1, sampling='reverse_log')
with hp.conditional_scope('rate', [0.5]): hp.Int('inactive', 1, 2)
return model()
"""
    one = of(tmp_path, body)
    space = discover(one, {})
    assert list(space) == ["rate"]
    one.build({"rate": 0.3})
    with pytest.raises(SegmentFailed, match=r"asks for units 3, kind, decay under these values") as error:
        one.build({"rate": 0.123})
    pasted = str(error.value).split("search_space: ", 1)[1]
    text = f"version: 1\ndata: {{source: iris}}\nmodel: {{python: 'x:build'}}\nsearch_space: {pasted}\n"
    (tmp_path / "pasted.yaml").write_text(text)
    declared = load(tmp_path / "pasted.yaml").experiment.search_space
    assert declared["units 3"] == IntDomain(type="int", min=8, max=64, step=8, default=8)
    assert declared["kind"] == ChoiceDomain(type="choice", values=["a", "no, never", "true"], default="true")
    assert declared["decay"] == FloatDomain(type="float", min=1e-5, max=1e-1, log="reverse", default=1e-5)
    assert discover(one, declared).keys() == {"rate"}
    one.build({**Space(declared).defaults(), "rate": 0.123})


# --- scales -----------------------------------------------------------------------------------------------------------


def test_steps_on_a_log_scale_are_lists_either_way(tmp_path: Path) -> None:
    body = """
hp.Int('log', 1, 100, step=10, sampling='log', default=7)
hp.Int('back', 1, 100, step=10, sampling='reverse_log')
hp.Float('off', 1.0, 50.0, step=10, sampling='reverse_log')
return model()
"""
    space = explored(tmp_path, body).space
    assert space["log"] == {"type": "choice", "values": [1, 10, 100], "default": 10}
    assert space["back"] == {"type": "choice", "values": [100, 91, 1], "default": 1}
    assert space["off"] == {"type": "choice", "values": [50.0, 41.0], "default": 41.0}


@pytest.mark.parametrize(
    ("asked", "default"),
    [
        ("Int('x', 32, 512, step=32, default=100)", 96),
        ("Int('x', 1, 9, default=20)", 9),
        ("Int('x', 1, 100, step=10, default=99)", 91),
        ("Float('x', 0, 1, step=0.25, default=0.3)", 0.25),
        ("Float('x', 0, 1, step=0.1, default=0.3)", 0.3),
        ("Float('x', 1e-3, 1, sampling='log', default=2)", 1.0),
    ],
)
def test_a_default_beside_the_values_is_the_nearest_of_them(tmp_path: Path, asked: str, default: float) -> None:
    space = explored(tmp_path, f"hp.{asked}\nreturn model()").space
    assert space["x"]["default"] == default
    joined_space(load(_spec(tmp_path)).experiment, {"space": space})


def test_a_range_beyond_floats_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"asks for as x can't be searched: max - min .* Keep both between"):
        explored(tmp_path, "hp.Float('x', -1e308, 1e308)\nreturn model()")


def test_a_default_of_the_codes_is_the_step_that_it_means(tmp_path: Path) -> None:
    space = explored(tmp_path, "hp.Float('x', 0.0, 1.0, step=0.1, default=0.1 + 0.2)\nreturn model()").space
    assert joined_space(load(_spec(tmp_path)).experiment, {"space": space}).defaults() == {"x": 0.3}
