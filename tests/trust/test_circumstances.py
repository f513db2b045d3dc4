"""A search that is resumed under other code, versions or settings of Keras: said once, recorded, refused if asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import SPEC, FakeExecutor, InTurn, Watcher
from journals import sealed

from hptune.base.errors import SpecError
from hptune.base.keras_json import check_keras_json, keras_json
from hptune.base.user_code import load_object, packages_behind, packages_of, sources
from hptune.experiment.reading.load import from_json
from hptune.run import circumstances
from hptune.run.circumstances import changes, recorded_in, spelled
from hptune.run.journal import read
from hptune.run.record import replay
from hptune.run.rundir import RunPaths
from hptune.search.tuner import Request, search


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "runs" / "a")


@pytest.fixture(autouse=True)
def _keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def run(
    paths: RunPaths,
    *,
    trials: int,
    code: dict[str, str] | None = None,
    packages: dict[str, str] | None = None,
    strict: bool = False,
) -> list[str]:
    """Search for so many more trials, the probe finding such code and packages; what was noted."""
    spec = from_json({**SPEC, "budget": {"trials": trials}})
    facts: dict[str, Any] = {"task": None, "fingerprint": "f", **({"code": code} if code is not None else {})}
    facts |= {"packages": packages} if packages is not None else {}
    watcher = Watcher()
    request = Request(spec, "the yaml", Path(), "hptune search a.yaml", strict=strict)
    search(request, paths, FakeExecutor(paths, facts=facts), make_strategy=lambda *_: InTurn(trials), watch=watcher)
    return watcher.notes


def resumptions(paths: RunPaths) -> list[dict[str, Any]]:
    return [event for event in read(paths.journal) if event["event"] == "resumed"]


def set_keras(tmp_path: Path, **settings: Any) -> None:
    (tmp_path / "keras").mkdir(exist_ok=True)
    (tmp_path / "keras" / "keras.json").write_text(json.dumps(settings))


def test_a_change_is_said_once_and_recorded(paths: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(paths, trials=1, code={"m.py": "1f", "n.py": "00"}) == []
    assert run(paths, trials=2, code={"m.py": "1f", "n.py": "00"}) == []
    assert "changed" not in resumptions(paths)[-1]
    set_keras(tmp_path, floatx="float64", unknown=1)
    now = {**circumstances.versions(), "keras": "99.0"}
    then = circumstances.versions()["keras"]
    monkeypatch.setattr(circumstances, "versions", lambda: now)
    (note,) = run(paths, trials=3, code={"m.py": "2e", "n.py": "00"})
    assert f"keras was {then} and is 99.0 now; floatx of keras.json was float32 and is float64 now" in note
    assert "the code in m.py has changed" in note
    assert "n.py" not in note
    assert resumptions(paths)[-1]["changed"] == {
        "versions": {"keras": [then, "99.0"]},
        "keras": {"floatx": ["float32", "float64"]},
        "code": {"m.py": ["1f", "2e"]},
    }
    assert run(paths, trials=4, code={"m.py": "2e", "n.py": "00"}) == [], "it was said"
    assert len(replay(paths).history.trials) == 4


def test_another_version_of_a_package_that_the_code_needs_is_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that the YAML names, one that the user's module imports, and one that a strategy imports."""
    held = tmp_path / "lib" / "site-packages"
    for name in ("named", "needed", "sought"):
        (held / name).mkdir(parents=True)
        (held / name / "__init__.py").write_text("def f(x): return x\n")
    at = tmp_path / "here"
    at.mkdir()
    (at / "mine.py").write_text("def f(x):\n    import needed.deep, json\n    return x\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(held)])

    def install(name: str, version: str) -> None:
        about = held / f"{name}-{version}.dist-info"
        for old in held.glob(f"{name}-*.dist-info"):
            shutil.rmtree(old)
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (about / "top_level.txt").write_text(f"{name}\n")
        (about / "RECORD").write_text("")

    for name in ("named", "needed", "sought"):
        install(name, "1.0")
    assert packages_behind(at, {"named", "mine"}) == {"named": "1.0", "needed": "1.0"}
    load_object("sought:f", at, ())
    assert packages_of("sought:f", at) == {"sought": "1.0"}
    install("needed", "2.0")
    then, now = ({"versions": {}, "packages": {"needed": one}, "keras": {}, "code": {}} for one in ("1.0", "2.0"))
    assert packages_behind(at, {"named", "mine"})["needed"] == "2.0"
    assert list(circumstances.spelled(changes(then, now))) == ["needed was 1.0 and is 2.0 now"]


@pytest.mark.parametrize("about", ["none", "bare", "egg"])
def test_a_package_of_which_little_metadata_tells_is_known_by_its_version_or_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, about: str
) -> None:
    """As those of a system are, and what was copied into a site's folder."""
    at = tmp_path / "here"
    at.mkdir()
    (at / "mine.py").write_text("import bared\n")
    known = []
    for number in (1, 2):
        held = tmp_path / f"lib{number}" / "site-packages"
        (held / "bared").mkdir(parents=True)
        (held / "bared" / "__init__.py").write_text(f"x = {number}\n")
        meta = f"Metadata-Version: 2.1\nName: bared\nVersion: {number}.5\n"
        if about == "bare":
            (held / f"bared-{number}.5.dist-info").mkdir()
            (held / f"bared-{number}.5.dist-info" / "METADATA").write_text(meta)
        if about == "egg":
            (held / f"bared-{number}.5.egg-info").write_text(meta)
        with monkeypatch.context() as sitting:
            sitting.setattr(sys, "path", [*sys.path, str(held)])
            known.append(packages_behind(at, {"mine"}))
    assert known[0].keys() == known[1].keys() == {"bared"}
    assert known[0] != known[1]
    assert about == "none" or [one["bared"] for one in known] == ["1.5", "2.5"]


def test_a_package_that_another_hides_or_that_has_no_init_is_known_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = tmp_path / "here"
    at.mkdir()
    (at / "mine.py").write_text("def f(x):\n    import hidden, spaced.inner\n    return x\n")
    first, second = (tmp_path / name / "site-packages" for name in ("first", "second"))
    (second / "hidden").mkdir(parents=True)
    (second / "hidden" / "__init__.py").write_text("x = 1\n")
    (second / "hidden-1.0.dist-info").mkdir()
    (second / "hidden-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: hidden\nVersion: 1.0\n")
    (second / "spaced").mkdir()
    (second / "spaced" / "inner.py").write_text("x = 1\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(first), str(second)])
    was = packages_behind(at, {"mine"})
    assert was.keys() == {"hidden", "spaced"}
    assert was["hidden"] == "1.0"
    (first / "hidden").mkdir(parents=True)
    (first / "hidden" / "__init__.py").write_text("x = 2\n")
    (second / "spaced" / "inner.py").write_text("x = 2\n")
    sys.path_importer_cache.clear()  # another sitting is another process
    now = packages_behind(at, {"mine"})
    assert now.keys() == was.keys()
    assert now["hidden"] != was["hidden"]
    assert now["spaced"] != was["spaced"]


def test_the_packages_of_a_run_are_recorded_and_compared(paths: RunPaths) -> None:
    run(paths, trials=1, packages={"scipy": "1.0"})
    assert run(paths, trials=2, packages={"scipy": "1.0"}, strict=True) == []
    (note,) = run(paths, trials=3, packages={"scipy": "2.0"})
    assert "scipy was 1.0 and is 2.0 now" in note
    with pytest.raises(SpecError, match=r"scipy was 1\.0 and is 2\.0 now"):
        run(paths, trials=4, packages={"scipy": "2.0"}, strict=True)


def test_strict_refuses_and_leaves_the_run_as_it_was(paths: RunPaths) -> None:
    run(paths, trials=1, code={"m.py": "1f"})
    run(paths, trials=2, code={"m.py": "1f"}, strict=True)
    before = paths.journal.read_bytes()
    with pytest.raises(SpecError) as refused:
        run(paths, trials=3, code={"m.py": "2e"}, strict=True)
    assert refused.value.problems[0].message == "the code in m.py has changed"
    assert "leave --strict out" in str(refused.value)
    assert paths.journal.read_bytes() == before
    run(paths, trials=3, code={"m.py": "2e"})
    with pytest.raises(SpecError, match=r"m\.py"):  # by what the run was begun with, not by its last sitting
        run(paths, trials=4, code={"m.py": "2e"}, strict=True)


def test_of_what_is_not_known_nothing_is_said(paths: RunPaths) -> None:
    run(paths, trials=1, code=None)
    assert run(paths, trials=2, code={"m.py": "1f"}, strict=True) == []


def test_code_that_came_or_went_is_a_change(paths: RunPaths) -> None:
    run(paths, trials=1, code={"m.py": "1f", "o.py": "later 2e"})
    (note,) = run(paths, trials=2, code={"n.py": "1f", "o.py": "2e"})
    assert "m.py was part of the code, and is not any more; o.py is loaded with the code now, and was not" in note
    assert "n.py is part of the code now, and was not" in note
    assert resumptions(paths)[-1]["changed"]["code"]["m.py"] == ["1f", None]
    with pytest.raises(SpecError, match=r"n\.py is part"):
        run(paths, trials=3, code={"n.py": "1f", "o.py": "2e"}, strict=True)


def test_a_journal_of_before_can_be_resumed(paths: RunPaths) -> None:
    run(paths, trials=1, code=None)
    head, *others = read(paths.journal)
    del head["keras"], head["versions"]
    paths.journal.write_bytes(sealed([head, *others]))
    assert run(paths, trials=2, code={"m.py": "1f"}, strict=True) == []


def test_code_is_not_compared_over_versions_of_python() -> None:
    then = {"versions": {"python": "3.11.2"}, "keras": {}, "code": {"m.py": "1f"}}
    now = {"versions": {"python": "3.12.2"}, "keras": {}, "code": {"m.py": "2e"}}
    assert changes(then, now) == {"versions": {"python": ["3.11.2", "3.12.2"]}}
    same = {**now, "versions": {"python": "3.11.9"}}
    assert changes(then, same)["code"] == {"m.py": ["1f", "2e"]}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"floatx": "float16"}'])
def test_keras_json_is_read_as_keras_reads_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "keras.json").write_text(text)
    assert keras_json()["floatx"] == ("float16" if "float16" in text else "float32")


def test_a_fingerprint_is_of_what_code_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    at = tmp_path / "code"
    at.mkdir()
    (at / "helped.py").write_text('"""Says."""\nimport helping, json\ndef f(x):\n    return helping.twice(x)\n')
    (at / "helping.py").write_text("def twice(x): return 2 * x\n")
    (at / "idle.py").write_text("x = 1\n")
    load_object("helped:f", at, ())
    first = sources(at)
    assert list(first) == ["helped.py", "helping.py"]
    (at / "helped.py").write_text(
        '"""Says more."""\n# a remark\nimport helping, json\n\n\ndef f(x): return helping.twice(x)'
    )
    assert sources(at) == first
    (at / "helping.py").write_text("def twice(x): return 3 * x\n")
    assert {name for name, one in sources(at).items() if first[name] != one} == {"helping.py"}


def code_of(at: Path, files: dict[str, str]) -> dict[str, str]:
    """The fingerprints of the experiment's code in a process of its own, its files being these, and of `mine`."""
    for name in ("mine.py", "helped", "helped.py", "fast.py", "lib", "lib2"):
        shutil.rmtree(at / name) if (at / name).is_dir() else (at / name).unlink(missing_ok=True)
    for name, text in files.items():
        file = at / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    script = (
        "import json, sys; from pathlib import Path; from hptune.base.user_code import load_object, sources; "
        f"at = Path({str(at)!r}); load_object('mine:f', at, ()); print(json.dumps(sources(at)))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(at / "lib"), str(at / "lib2")])}
    env["PYTHONDONTWRITEBYTECODE"] = "1"  # files change within a second
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    return dict(json.loads(found.stdout))


ONE, TWO = "def s(x): return x\n", "def s(x): return 100 - x\n"
IF_THERE = "try: from fast import s\nexcept ImportError: from helped import s\ndef f(x): return s(x)\n"
BY_NAME = "import importlib\nh = importlib.import_module('hel' + 'ped')\ndef f(x): return h.s(x)\n"
IMPORTS = "import helped\ndef f(x): return helped.s(x)\n"
LATER_ON = "def f(x):\n    from helped import s\n    return s(x)\n"
WITHIN = "from helped.parts import s\ndef f(x): return s(x)\n"


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        pytest.param(
            {"mine": IMPORTS, "helped": ONE},
            {"mine": IMPORTS, "helped/__init__": TWO},
            {
                "helped.py was part of the code, and is not any more",
                "helped/__init__.py is part of the code now, and was not",
            },
            id="became a package",
        ),
        pytest.param(
            {"mine": IF_THERE, "helped": ONE},
            {"mine": IF_THERE, "helped": ONE, "fast": TWO},
            {"fast.py is part of the code now, and was not", "helped.py was loaded with the code, and is not any more"},
            id="appeared",
        ),
        pytest.param(
            {"mine": BY_NAME, "helped": ONE},
            {"mine": BY_NAME, "helped": TWO},
            {"the code in helped.py has changed"},
            id="named by the code",
        ),
        pytest.param(
            {"mine": IMPORTS, "lib/helped": ONE},
            {"mine": IMPORTS, "lib2/helped": TWO},
            {"the code in helped.py has changed"},
            id="lies elsewhere, on the path",
        ),
        pytest.param(
            {"mine": LATER_ON, "helped": ONE},
            {"mine": LATER_ON, "helped": TWO},
            {"the code in helped.py has changed"},
            id="is loaded by a function",
        ),
        pytest.param(
            {
                "mine": WITHIN,
                "helped/__init__": "",
                "helped/parts": "from . import more\ns = more.s",
                "helped/more": ONE,
            },
            {
                "mine": WITHIN,
                "helped/__init__": "",
                "helped/parts": "from . import more\ns = more.s",
                "helped/more": TWO,
            },
            {"the code in helped/more.py has changed"},
            id="is a part of a package",
        ),
        pytest.param(
            {"mine": IMPORTS, "lib/helped": ONE}, {"mine": IMPORTS, "lib2/helped": ONE}, set(), id="moved alone"
        ),
        pytest.param(
            {"mine": IF_THERE, "helped": ONE}, {"mine": IF_THERE, "helped": "# as before\n" + ONE}, set(), id="same"
        ),
    ],
)
def test_code_is_known_whatever_way_it_is_come_by(
    tmp_path: Path, then: dict[str, str], now: dict[str, str], told: set[str]
) -> None:
    old, new = code_of(tmp_path, then), code_of(tmp_path, now)
    empty: dict[str, Any] = {"versions": {}, "keras": {}}
    assert set(spelled(changes({**empty, "code": old}, {**empty, "code": new}))) == told


def test_the_command_tells_and_refuses(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def f(x): return x\n")
    (tmp_path / "a.yaml").write_text(
        'version: 1\nname: a\nmodel: {function: "mine:f"}\nsearch_space: {x: {type: int, min: 0, max: 99}}\n'
        "objective: {metric: score, goal: minimize}\nstrategy: {name: random}\nexecution: {executor: inline}\n"
    )

    def command(*more: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "hptune", "search", "a.yaml", *more]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=os.environ)

    assert command("--set", "budget.trials=2").returncode == 0
    (tmp_path / "mine.py").write_text("def f(x): return x + 1\n")
    refused = command("--set", "budget.trials=3", "--strict")
    assert refused.returncode == 2
    assert "the code in mine.py has changed" in refused.stderr
    went_on = command("--set", "budget.trials=3")
    assert went_on.returncode == 0
    assert went_on.stderr.count("the code in mine.py has changed") == 1
    head: Any = next(read(tmp_path / "runs" / "a" / "journal.jsonl"))
    assert recorded_in(head)["code"].keys() == {"mine.py"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"floatx": "float99"}, "floatx must be float16 or float32 or float64, got 'float99'"),
        ({"epsilon": "small"}, "epsilon must be a number"),
        ({"image_data_format": 1}, "image_data_format must be channels_last or"),
    ],
)
def test_what_keras_would_refuse_without_a_word_is_told(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    set_keras(tmp_path, **settings)
    with pytest.raises(SpecError, match=words) as error:
        check_keras_json()
    assert str(tmp_path / "keras" / "keras.json") in str(error.value)


def test_a_stranger_s_versions_move_no_cursor(paths: RunPaths) -> None:
    facts = {"versions": {"python": "\x1b[2J"}, "keras": {}, "code": {}}
    _, told = circumstances.resumed(facts, facts, {}, strict=False)
    assert told is not None
    assert "\x1b" not in told


STRATEGY = """
from helping import STEP
from hptune.strategies.strategy import Done, Start
class S:
    def __init__(self, experiment, space):
        self.number = experiment.budget.trials
    def next(self, history):
        return Start({"x": STEP * (1 + len(history.trials))}, 1)
    def may_continue(self, trial, history):
        return False
"""
SAMPLER = "from optuna.samplers import RandomSampler\nfrom helping import STEP\nclass S(RandomSampler): pass\n"
ORACLE = (
    "from keras_tuner.oracles import RandomSearchOracle\nfrom helping import STEP\nclass S(RandomSearchOracle): pass\n"
)


@pytest.mark.parametrize(
    ("strategy", "code"),
    [
        ('{name: python, strategy: "chosen:S"}', STRATEGY),
        ('{name: optuna, sampler: "chosen:S"}', SAMPLER),
        pytest.param('{name: keras_tuner, oracle: "chosen:S"}', ORACLE, marks=pytest.mark.slow),
    ],
)
def test_the_code_that_chooses_points_is_looked_at_too(tmp_path: Path, strategy: str, code: str) -> None:
    (tmp_path / "chosen.py").write_text(code)
    (tmp_path / "helping.py").write_text("STEP = 1\n")
    (tmp_path / "scored.py").write_text("def f(x): return x\n")
    text = f"""
version: 1
name: a
model: {{function: "scored:f"}}
search_space: {{x: {{type: int, min: 0, max: 50}}}}
objective: {{metric: score, goal: minimize}}
strategy: {strategy}
"""

    def searched(trials: int, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "a.yaml").write_text(f"{text}budget: {{trials: {trials}}}\n")
        command = [sys.executable, "-m", "hptune", "search", "a.yaml", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert searched(1).returncode == 0
    same = searched(2, "--strict")
    assert (same.returncode, "changed" in same.stderr) == (0, False), same.stderr
    (tmp_path / "helping.py").write_text("STEP = 2\n")
    refused = searched(3, "--strict")
    assert refused.returncode == 2
    assert "the code in helping.py has changed" in refused.stderr
    assert "the code in helping.py has changed" in searched(3).stderr
    paths = RunPaths(tmp_path / "runs" / "a")
    assert resumptions(paths)[-1]["changed"].keys() == {"strategy"}
    command = [sys.executable, "-m", "hptune", "reproduce", "--run", "a", "--trial", "1"]
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (again.returncode, "helping" in again.stdout) == (0, False), "which no curve depends on"


@pytest.mark.parametrize(
    ("named", "file"),
    [
        pytest.param("schedule: {name: python, python: 'sc:s'}", "sc.py", marks=pytest.mark.slow),
        ("training: {epochs: 1, loss: $l}", "lb.py"),
    ],
)
def test_all_code_that_the_yaml_names_is_looked_at(tmp_path: Path, named: str, file: str) -> None:
    """Also what is loaded once a trial trains, or under some values alone."""
    (tmp_path / "sc.py").write_text("def s(*_): return 0.01\n")
    for name in ("la", "lb"):
        (tmp_path / f"{name}.py").write_text(
            "import keras\ndef l(y, p): return keras.losses.mean_squared_error(y, p)\n"
        )
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{n},{n * 0.5}\n" for n in range(40)))
    (tmp_path / "a.yaml").write_text(
        "version: 1\nname: a\ndata: {csv: t.csv, target: y}\nmodel: {layers: [Dense: {units: $u}, Output]}\n"
        "search_space: {u: {type: int, min: 1, max: 4}, l: {type: choice, values: ['la:l', 'lb:l']}}\n"
        f"budget: {{trials: 1}}\n{named if 'training' in named else 'training: {epochs: 1, loss: $l}'}\n"
        + (named + "\n" if "training" not in named else "")
    )

    def searched(trials: int, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hptune", "search", "a.yaml", "--set", f"budget.trials={trials}", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    first = searched(1)
    assert first.returncode == 0, first.stderr
    text = (tmp_path / file).read_text()
    (tmp_path / file).write_text(text.replace("0.01", "0.5").replace("squared", "absolute"))
    refused = searched(2, "--strict")
    assert refused.returncode == 2
    assert f"the code in {file} has changed" in refused.stderr
