"""Modules of the user's: those beside the YAML file win over others of the same name, or the clash is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hptune.base.errors import SpecError
from hptune.base.user_code import load_object
from hptune.training.reasons import reason

PATH = ("model", "function")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    modules = dict(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


def folder(at: Path, **files: str) -> Path:
    at.mkdir(parents=True)
    for name, text in files.items():
        (at / f"{name}.py").write_text(text)
    return at


def test_a_module_beside_the_yaml_wins_over_one_that_stands_earlier_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = folder(tmp_path / "elsewhere", my_model="def f(): return 'elsewhere'")
    mine = folder(tmp_path / "mine", my_model="def f(): return 'mine'")
    monkeypatch.setattr(sys, "path", [str(elsewhere), str(mine), *sys.path])
    assert load_object("my_model:f", mine, PATH)() == "mine"


def test_each_experiment_of_a_process_has_the_modules_of_its_own_folder(tmp_path: Path) -> None:
    code = "import my_helper\ndef f(): return my_helper.name"
    a = folder(tmp_path / "a", my_model=code, my_helper="name = 'a'")
    b = folder(tmp_path / "b", my_model=code, my_helper="name = 'b'")
    assert [load_object("my_model:f", one, PATH)() for one in (a, b, a)] == ["a", "b", "a"]


def test_a_module_is_loaded_once(tmp_path: Path) -> None:
    at = folder(tmp_path / "a", my_model="class C: pass")
    first = load_object("my_model:C", at, PATH)
    assert load_object("my_model:C", at, PATH) is first


@pytest.mark.parametrize("name", ["types", "time", "numpy"])
def test_a_name_that_another_module_is_loaded_by_is_told(tmp_path: Path, name: str) -> None:
    at = folder(tmp_path / "a", **{name: "def f(): return 1"})
    with pytest.raises(SpecError) as told:
        load_object(f"{name}:f", at, PATH)
    assert f"another module {name!r} is loaded already" in str(told.value)
    assert f"Rename yours, to my_{name} say" in str(told.value)
    assert told.value.problems[0].path == PATH


def test_a_module_that_imports_one_whose_name_is_taken_is_told(tmp_path: Path) -> None:
    at = folder(tmp_path / "a", my_model="import my_helper\ndef f(): pass", my_helper="import types", types="x = 1")
    with pytest.raises(SpecError, match=r"my_helper\.py imports 'types', and beside the YAML file is"):
        load_object("my_model:f", at, PATH)


IMPORTED = ["from my_space.inner import x\ndef f(): return x", "from my_space import inner\ndef f(): return inner.x"]


@pytest.mark.parametrize("code", [None, *IMPORTED])
@pytest.mark.parametrize("elsewhere_has", [True, False])
def test_a_package_elsewhere_takes_no_place_of_a_folder_beside_the_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str | None, elsewhere_has: bool
) -> None:
    """A folder without `__init__.py` gives way to a package of its name anywhere on Python's path."""
    inside = folder(
        tmp_path / "elsewhere" / "my_space", __init__="inner = 5", **({"inner": "x = 1"} if elsewhere_has else {})
    )
    mine = folder(tmp_path / "mine", **({"my_model": code} if code else {}))
    folder(mine / "my_space", inner="x = 2\ndef f(): return x")
    monkeypatch.setattr(sys, "path", [*sys.path, str(inside.parent)])
    wanted = r"another module 'my_space(\.inner)?' is loaded already .* Rename yours, to my_my_space say"
    with pytest.raises(SpecError, match=wanted):
        load_object("my_model:f" if code else "my_space.inner:f", mine, PATH)


def test_a_package_elsewhere_is_told_where_a_function_alone_would_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = folder(tmp_path / "elsewhere" / "my_space", __init__="", inner="x = 1")
    mine = folder(tmp_path / "mine", my_model="def f():\n    import my_space.inner\n    return my_space.inner.x")
    folder(mine / "my_space", inner="x = 2")
    monkeypatch.setattr(sys, "path", [*sys.path, str(inside.parent)])
    with pytest.raises(
        SpecError, match=r"my_model\.py imports 'my_space\.inner', and beside the YAML file is .*elsewhere"
    ):
        load_object("my_model:f", mine, PATH)


@pytest.mark.parametrize("other", ["package", "module"])
def test_an_attribute_elsewhere_is_told_where_a_function_would_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    at = folder(tmp_path / "elsewhere", **({"my_space": "inner = 1"} if other == "module" else {}))
    if other == "package":
        folder(at / "my_space", __init__="inner = 1")
    mine = folder(tmp_path / "mine", my_model="def f():\n    from my_space import inner\n    return inner")
    folder(mine / "my_space", inner="x = 2")
    monkeypatch.setattr(sys, "path", [*sys.path, str(at)])
    with pytest.raises(
        SpecError, match=r"my_model\.py imports 'my_space\.inner', and beside the YAML file is .*elsewhere"
    ):
        load_object("my_model:f", mine, PATH)


def test_of_a_module_and_a_package_of_one_name_python_takes_the_package(tmp_path: Path) -> None:
    at = folder(tmp_path / "a", my_model="import my_helper\ndef f(): return my_helper.x", my_helper="x = 1")
    folder(at / "my_helper", __init__="x = 2")
    assert load_object("my_model:f", at, PATH)() == 2


def test_a_module_beside_a_folder_of_its_name_is_no_clash(tmp_path: Path) -> None:
    at = folder(tmp_path / "a", my_model="from my_helper import model\ndef f(): return model", my_helper="model = 3")
    folder(at / "my_helper", model="x = 1")
    assert load_object("my_model:f", at, PATH)() == 3


@pytest.mark.parametrize("code", [None, *IMPORTED])
def test_folders_without_init_are_those_beside_the_yaml(tmp_path: Path, code: str | None) -> None:
    def made(name: str, x: int) -> Path:
        at = folder(tmp_path / name, **({"my_model": code} if code else {}))
        folder(at / "my_space", inner=f"x = {x}\ndef f(): return x")
        return at

    folders = [made("a", 1), made("b", 2)]
    found = [load_object("my_model:f" if code else "my_space.inner:f", folders[i], PATH)() for i in (0, 1, 0)]
    assert found == [1, 2, 1]


def test_a_folder_beside_the_yaml_that_is_no_package_is_nobodys_business(tmp_path: Path) -> None:
    at = folder(tmp_path / "a", my_model="import json\ndef f(): return json.dumps(1)")
    folder(at / "json", notes="x = 1")
    assert load_object("my_model:f", at, PATH)() == "1"


def test_a_file_of_that_name_that_nobody_imports_is_nobodys_business(tmp_path: Path) -> None:
    at = folder(tmp_path / "a", my_model="def f(): return 1", types="x = 1")
    assert load_object("my_model:f", at, PATH)() == 1


@pytest.mark.parametrize(
    ("text", "told"), [("print 'x'\n", "(legacy.py, line 1)"), ("x = 1\ny = '\0'\n", "(legacy.py:2)")], ids=["2", "nul"]
)
def test_a_module_that_python_can_not_read_is_told_only_where_it_is_loaded(
    tmp_path: Path, text: str, told: str
) -> None:
    at = folder(tmp_path / "a", my_model="def f(x):\n    import legacy\n", by_now="import legacy", legacy=text)
    function = load_object("my_model:f", at, PATH)
    with pytest.raises((SyntaxError, ValueError)) as raised:
        function(1)
    assert told in reason(raised.value, at)
    with pytest.raises(SpecError, match=r"importing 'by_now' failed: (Syntax|Value)Error") as refused:
        load_object("by_now:f", at, PATH)
    assert told in str(refused.value)


def test_the_clash_is_told_with_its_place_before_anything_is_run(tmp_path: Path) -> None:
    (tmp_path / "types.py").write_text("def f(x): return x\n")
    (tmp_path / "a.yaml").write_text(
        'version: 1\nname: a\nmodel: {function: "types:f"}\nsearch_space: {x: {type: int, min: 0, max: 5}}\n'
        "objective: {metric: score, goal: minimize}\nexecution: {workers: 1}\n"
    )
    command = [sys.executable, "-m", "hptune", "search", "a.yaml", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("a.yaml:3:")
    assert not (tmp_path / "runs" / "a").exists()


def test_a_module_that_exits_as_it_is_imported_is_told(tmp_path: Path) -> None:
    at = folder(tmp_path / "a", my_model="import sys\nsys.exit(3)")
    with pytest.raises(SpecError, match="importing 'my_model' failed: SystemExit: 3"):
        load_object("my_model:f", at, PATH)


WHOSE = """
import json, sys
from hptune.base.own_files import is_own_module
import theirs, theirs.inner, theirs_alone, mine, json.decoder, numpy
print(json.dumps({name: is_own_module(sys.modules[name]) for name in sys.argv[1:]}))
"""


@pytest.mark.parametrize("held", ["user/lib/python3.11/site-packages", "usr/lib/python3/dist-packages", "target"])
def test_installed_packages_are_nobodys_own_wherever_they_lie(tmp_path: Path, held: str) -> None:
    """The user's site, Debian's, and what `pip install --target` was given, which RECORD tells."""
    at = folder(tmp_path / held, theirs_alone="")
    folder(at / "theirs", __init__="", inner="")
    (at / "theirs-1.0.dist-info").mkdir()
    (at / "theirs-1.0.dist-info" / "RECORD").write_text("theirs/__init__.py,,\ntheirs/inner.py,,\ntheirs_alone.py,,\n")
    beside_it = folder(tmp_path / "here", mine="")
    if held == "target":
        (at / "mine.py").write_text("")
        beside_it = at
    names = ["theirs", "theirs.inner", "theirs_alone", "mine", "json.decoder", "numpy"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(at), str(beside_it), *sys.path])}
    run = subprocess.run([sys.executable, "-c", WHOSE, *names], env=env, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == {name: name == "mine" for name in names}
