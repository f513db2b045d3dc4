"""The rooms: imports go downward only, and the light commands load nothing heavy."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import hptune

ROOT = Path(hptune.__file__).parent

LAYERS: list[tuple[str, ...]] = [
    ("base",),
    ("experiment",),
    ("run",),
    ("training", "strategies"),
    ("executors",),
    ("search",),
    ("reports",),
    ("winner", "starter", "trackers"),
    ("cli",),
    ("__main__",),
]
"""The rooms from the bottom; a module may import from its own room and from those in the layers below it."""

NEVER = [
    ("strategies", "training"),
    ("strategies", "executors"),
    ("strategies", "run.journal"),
    ("executors", "strategies"),
    ("run.history", "run.journal"),
    ("experiment", "strategies"),
]

HEAVY = {"tensorflow", "keras", "keras_tuner", "optuna", "sklearn", "pandas", "plotly", "ray"}


@cache
def _modules() -> dict[str, Path]:
    """Each module's name, without the package's, and its file."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """What a module imports of hptune, and whether it does so only when a function is called (or for types alone)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING")
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: imports of hptune name it"
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "hptune":
            below = node.module.split(".")[1:]
            for alias in node.names:
                inner = ".".join([*below, alias.name])
                yield inner if inner in _modules() else ".".join(below) or alias.name, id(node) in lazy
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("hptune."):
                    yield alias.name.removeprefix("hptune."), id(node) in lazy


def _layer(module: str) -> int:
    for height, rooms in enumerate(LAYERS):
        if module.split(".")[0] in rooms:
            return height
    raise AssertionError(f"hptune.{module} stands in no layer: add its room to LAYERS where it belongs")


@pytest.mark.parametrize("module", sorted(_modules()))
def test_imports_go_downward_only(module: str) -> None:
    for imported, _ in _imports(_modules()[module]):
        here, there = module.split(".")[0], imported.split(".")[0]
        if imported != "__version__" and here != there:
            assert _layer(imported) < _layer(module), (
                f"hptune.{module} imports hptune.{imported}, which is not below it"
            )


def test_no_modules_need_each_other() -> None:
    """Imports inside functions and for types alone count too: `graphlib` names a circle where there is one."""
    modules = _modules()
    needs = {module: {one for one, _ in _imports(path)} & set(modules) for module, path in modules.items()}
    order = list(TopologicalSorter({module: found - {module} for module, found in needs.items()}).static_order())
    assert len(order) == len(modules)


@pytest.mark.parametrize(("room", "other"), NEVER)
def test_rooms_that_know_nothing_of_each_other(room: str, other: str) -> None:
    for module, path in _modules().items():
        if _is_in(module, room):
            assert not [name for name, _ in _imports(path) if _is_in(name, other)], module


def _is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def test_training_is_reached_lazily_and_by_few() -> None:
    for module, path in _modules().items():
        for imported, lazy in _imports(path):
            if imported.split(".")[0] == "training" and not module.startswith("training"):
                assert module.startswith(("executors", "winner", "starter")), module
                assert lazy, module


def test_every_module_says_what_it_owns_and_stays_a_module_long() -> None:
    for module, path in _modules().items():
        text = path.read_text(encoding="utf-8")
        assert not text or ast.get_docstring(ast.parse(text)), f"hptune.{module} has no docstring"
        assert text.count("\n") <= 450, f"hptune.{module} is longer than a module should be"


SPEC = """\
version: 1
name: light
data: {source: digits}
model: {layers: [Flatten, Dense: {units: $units, activation: relu}, Dense: {units: 10, activation: softmax}]}
search_space: {units: {type: int, min: 8, max: 16}}
"""

FUNCTION = """\
version: 1
name: function
model: {function: "light_function:f"}
search_space: {x: {type: int, min: 0, max: 3}}
objective: {metric: score, goal: maximize}
strategy: {name: grid}
"""


def _loaded(folder: Path, *arguments: str) -> set[str]:
    env = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    command = [sys.executable, "-m", "hptune", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[-1].strip() for line in lines}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("light")
    (folder / "spec.yaml").write_text(SPEC)
    (folder / "function.yaml").write_text(FUNCTION)
    (folder / "light_function.py").write_text("def f(x):\n    return x\n")
    _loaded(folder, "search", "function.yaml")
    return folder


@pytest.mark.parametrize(
    "command",
    ["--help", "--version", "validate spec.yaml", "plan spec.yaml", "schema", "best", "trials", "runs", "report"],
)
def test_light_commands_load_nothing_heavy(folder: Path, command: str) -> None:
    assert not _loaded(folder, *command.split()) & HEAVY


@pytest.mark.parametrize("command", ["--help", "validate spec.yaml", "best", "trials"])
def test_not_even_numpy(folder: Path, command: str) -> None:
    assert "numpy" not in _loaded(folder, *command.split())


def test_a_finished_search_loads_nothing_heavy_again(folder: Path) -> None:
    assert not _loaded(folder, "search", "function.yaml", "--set", "budget.trials=4") & HEAVY
