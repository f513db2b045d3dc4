"""docs/security.md: each sentence holds, shown by tests that are named here; and the tests that stand nowhere else."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from hptune import __main__ as program
from hptune.base.errors import SpecError
from hptune.cli import app
from hptune.experiment.reading.load import load

ROOT = Path(__file__).parents[2]

SKOPS, FUZZ, STRANGERS, LINKS, HERE = (
    f"tests/trust/test_{one}.py" for one in ("skops", "fuzz", "strangers", "links", "security_doc")
)

ADVICE = [
    "hptune runs on your machine",
    "This page says",
    "Don't give these three commands",
    "What a file may still do",
    "Models are opened by Keras and skops, by their path",  # what does not hold
]
"""How sentences begin that promise nothing."""

HELD = {
    "**Your YAML, in `search`": [f"{HERE}::test_looking_at_a_spec_runs_none_of_its_code"],
    "The modules are looked for beside": ["tests/executors/test_executors.py::test_every_segment_comes_back_with_what"],
    "Nothing else in it is run": [f"{HERE}::test_yaml_is_plain", f"{FUZZ}::test_specs"],
    "**A run's folder, in": [f"{SKOPS}::test_a_type_of_the_users_own_is_named_by_the_user_alone"],
    "`validate`, and `plan`": [f"{HERE}::test_looking_at_a_spec_runs_none_of_its_code"],
    "`best`, `trials`, `runs`": [f"{FUZZ}::test_journals", f"{HERE}::test_looking_at_a_run_runs_none_of_its_code"],
    "A journal is JSON": [f"{STRANGERS}::test_what_can_not_be_replayed_is_told", f"{FUZZ}::test_journals"],
    "Control characters": [
        f"{STRANGERS}::test_a_terminal_is_shown_names_and_obeys_none",
        "tests/test_predict.py::test_a_terminal_is_shown_class_names_and_obeys_none",
    ],
    "The page that `report` makes": [
        "tests/reports/test_report.py::test_a_page_loads_nothing_and_forbids_it",
        "tests/reports/test_report.py::test_no_text_of_a_stranger_becomes_markup",
    ],
    "States of trials": ["tests/trust/test_lost_states.py::test_no_state_is_unpickled", f"{FUZZ}::test_states"],
    "Models of Keras": [f"{HERE}::test_a_pickled_lambda_in_a_keras_file_is_not_run"],
    "Models of scikit-learn": [f"{SKOPS}::test_no_module_of_training_trusts_by_a_prefix"],
    "`predict` makes the types": [
        f"{SKOPS}::test_every_known_estimator_comes_back_and_needs_nothing_else",
        f"{SKOPS}::test_the_list_holds_no_function_that_runs_text",
    ],
    "Every other type or function": [f"{SKOPS}::test_functions_that_numpy_ships_are_shown_and_not_called"],
    "Neither the file nor anything else": [f"{SKOPS}::test_the_runs_folder_names_no_type_and_no_place_for_modules"],
    "A module that you name": [
        f"{SKOPS}::test_a_module_that_is_installed_goes_before_one_in_the_folder",
        f"{SKOPS}::test_the_runs_folder_names_no_type_and_no_place_for_modules",
    ],
    "A file that has an estimator keep pickles": [f"{SKOPS}::test_no_folder_of_pickles_is_named"],
    "A run writes into": [f"{HERE}::test_no_name_leaves_the_runs_folder", f"{FUZZ}::test_specs"],
    "No link inside a run's folder": [
        f"{LINKS}::test_a_linked_folder_is_refused_and_what_it_points_to_is_left",
        f"{LINKS}::test_a_link_on_the_way_is_refused_by_each_function",
    ],
    "A run's folder itself": [
        f"{LINKS}::test_the_runs_folder_itself_may_be_a_link",
        f"{FUZZ}::test_a_link_is_no_journal_and_nothing_is_written_through_one",
    ],
    "A link in the place of `report.html`": [f"{LINKS}::test_a_linked_file_is_left"],
    "Whatever else stands in the place": [
        f"{LINKS}::test_a_pipe_is_refused_and_never_waited_for",
        f"{LINKS}::test_a_device_is_refused",
    ],
    "`init`, `predict`, `lr-range` and `report`": [
        "tests/test_cli.py::test_init_writes_once",
        "tests/reports/test_report.py::test_the_command_writes_one_file",
    ],
    "`reproduce`, `plan --probe`": [f"{HERE}::test_temporary_folders_are_deleted"],
    "hptune opens no port": [f"{HERE}::test_no_port_is_open_while_workers_train"],
    "Workers talk to their driver": [f"{HERE}::test_no_port_is_open_while_workers_train"],
    "`data: {keras: …}`": ["tests/training/data/test_keras_sets.py::"],
    "`make fuzz` gives": [f"{FUZZ}::test_specs", f"{FUZZ}::test_journals", f"{FUZZ}::test_states"],
    "The tests try 250": [f"{FUZZ}::test_tables"],
    "And while a model without types that you trust": [
        f"{SKOPS}::test_an_estimator_that_predicts_can_do_nothing_else",
        f"{SKOPS}::test_predict_is_guarded",
    ],
}
"""How each sentence begins that promises something, and the tests that show it: FILE::the beginning of a name."""


def sentences(text: str) -> Iterator[str]:
    """The sentences of a Markdown text, without its headings."""
    block = ""
    for line in [*text.splitlines(), ""]:
        if block and (not line.strip() or line.startswith(("- ", "#"))):
            yield from re.split(r"(?<=\.)\s+(?=[A-Z`*])", block)
            block = ""
        if not line.startswith("#"):
            block = f"{block} {line.removeprefix('- ').strip()}".strip()


def test_each_sentence_has_its_tests() -> None:
    found = list(sentences((ROOT / "docs" / "security.md").read_text(encoding="utf-8")))
    assert len(found) > 25
    for sentence in found:
        beginnings = [one for one in (*ADVICE, *HELD) if sentence.startswith(one)]
        assert len(beginnings) == 1, f"no test is named for: {sentence}"
    for one in (*ADVICE, *HELD):
        assert any(sentence.startswith(one) for sentence in found), f"it says no more: {one}"


@pytest.mark.parametrize("named", sorted({one for tests in HELD.values() for one in tests}))
def test_the_tests_that_are_named_are_there(named: str) -> None:
    file, _, name = named.partition("::")
    assert f"\ndef {name or 'test_'}" in (ROOT / file).read_text(encoding="utf-8")


# --- what runs code ---------------------------------------------------------------------------------------------------

EVIL = """\
version: 1
name: evil
data: {python: "canary:data"}
model: {python: "canary:build"}
schedule: {python: "canary:rate"}
strategy: {name: keras_tuner, oracle: "canary:Oracle"}
objective: {metric: val_loss, goal: minimize}
search_space: {x: {type: float, min: 0.0, max: 1.0}}
"""


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that `canary.py`, beside an experiment which names it everywhere, makes when it is imported."""
    (tmp_path / "canary.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "evil.yaml").write_text(EVIL)
    return tmp_path / "ran"


def test_looking_at_a_spec_runs_none_of_its_code(tmp_path: Path, canary: Path) -> None:
    for command in ("validate", "plan"):
        done = CliRunner().invoke(app, [command, str(tmp_path / "evil.yaml")])
        assert done.exit_code == 0, done.output
    assert not canary.exists()
    assert program.run(["plan", "--probe", str(tmp_path / "evil.yaml")]) != 0
    assert canary.exists(), "the same code, asked for"


def test_looking_at_a_run_runs_none_of_its_code(tmp_path: Path, canary: Path) -> None:
    folder = tmp_path / "runs" / "evil"
    (tmp_path / "f.py").write_text("def f(x):\n    return x\n")
    spec = EVIL.replace("name: evil", "name: evil", 1).split("data:")[0] + dedent("""\
        model: {function: "f:f"}
        objective: {metric: score, goal: maximize}
        search_space: {x: {type: int, min: 0, max: 1}}
        budget: {trials: 2}
        """)
    (tmp_path / "ok.yaml").write_text(spec)
    assert program.run(["search", str(tmp_path / "ok.yaml"), "--quiet", "--runs-dir", str(tmp_path / "runs")]) == 0
    (tmp_path / "f.py").write_text((tmp_path / "canary.py").read_text())
    (folder / "f.py").write_text((tmp_path / "canary.py").read_text())
    for command in (["best"], ["trials"], ["runs"], ["compare", "evil", "evil"], ["report"]):
        assert program.run([*command, "--runs-dir", str(tmp_path / "runs")]) == 0
    assert not canary.exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!mine x"])
def test_yaml_is_plain(tmp_path: Path, tag: str) -> None:
    (tmp_path / "a.yaml").write_text(EVIL.replace("seed", "").replace("version: 1", f"version: 1\nseed: {tag}"))
    with pytest.raises(SpecError):
        load(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", ["..", "../a", "/tmp/a", "a/b", ".a", "-a", "", "a\0b", "a\nb", "x" * 65])
def test_no_name_leaves_the_runs_folder(tmp_path: Path, name: str) -> None:
    import json

    text = EVIL.replace("name: evil", f"name: {json.dumps(name)}")
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(SpecError, match="name"):
        load(tmp_path / "a.yaml")


def test_a_pickled_lambda_in_a_keras_file_is_not_run(tmp_path: Path) -> None:
    from types import SimpleNamespace

    import keras

    from hptune.run.rundir import RunPaths
    from hptune.training.export.predictor import load_best

    run, seen = RunPaths(tmp_path / "runs" / "a"), tmp_path / "ran"
    run.best.mkdir(parents=True)
    path = str(seen)
    write = keras.layers.Lambda(lambda x: (Path(path).write_text("ran"), x)[1])
    model = keras.Sequential([keras.layers.Input((2,)), write])
    seen.unlink()
    model.save(run.best_model)
    seen.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="safe_mode"):
        load_best(run, SimpleNamespace(built=None, code={}, folder=""))  # type: ignore[arg-type]
    assert not seen.exists()


# --- what is written, and the network ---------------------------------------------------------------------------------

DIGITS = """\
version: 1
name: digits
data: {source: iris}
model: {sklearn: sklearn.tree.DecisionTreeClassifier, params: {max_depth: $depth}}
search_space: {depth: {type: int, min: 1, max: 3}}
budget: {trials: 2}
"""


def test_temporary_folders_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "a.yaml").write_text(DIGITS)
    runs = ["--runs-dir", str(tmp_path / "runs")]
    assert program.run(["plan", "--probe", str(tmp_path / "a.yaml")]) == 0
    assert program.run(["search", "--quiet", str(tmp_path / "a.yaml"), *runs]) == 0
    assert program.run(["reproduce", "--trial", "0", *runs]) == 0
    assert list((tmp_path / "tmp").iterdir()) == []


PORTS = """\
import os
from pathlib import Path

def inodes(pid):
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:  # closed just now
            continue
        found |= {link[8:-1]} if link.startswith("socket:") else set()
    return found

def f(x):
    table = [line.split() for name in ("tcp", "tcp6", "udp", "udp6") for line in Path("/proc/net", name).open()]
    open_ones = {row[9] for row in table if len(row) > 9}
    mine = inodes(os.getpid()) | inodes(os.getppid())
    unix = {row[6] for row in map(str.split, Path("/proc/net/unix").open()) if len(row) == 7}  # without a name
    return {"ports": len(mine & open_ones), "pairs": len(mine & unix), "others": len(mine - unix - open_ones)}
"""


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux shows who holds which socket")
def test_no_port_is_open_while_workers_train(tmp_path: Path) -> None:
    (tmp_path / "ports.py").write_text(PORTS)
    (tmp_path / "a.yaml").write_text(
        'version: 1\nname: a\nmodel: {function: "ports:f"}\nobjective: {metric: ports, goal: minimize}\n'
        "search_space: {x: {type: int, min: 0, max: 3}}\nbudget: {trials: 4}\nexecution: {workers: 2}\n"
    )
    words = [sys.executable, "-m", "hptune", "search", "a.yaml", "--quiet", "--json"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    text = (tmp_path / "runs" / "a" / "journal.jsonl").read_text()
    assert re.findall(r'"ports":\[([\d.]+)\]', text) == ["0.0"] * 4
    assert all(float(one) >= 1 for one in re.findall(r'"pairs":\[([\d.]+)\]', text)), "the pair, which has no name"
