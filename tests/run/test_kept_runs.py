"""Runs that an earlier hptune began, and that were killed: shown, and gone on with to the same trials.

They are under `kept/made`, each with what `trials --json` told once the same hptune had finished it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KEPT = Path(__file__).parent / "kept"
NAMES = sorted(one.name for one in (KEPT / "made").iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(KEPT, tmp_path / "kept")
    (tmp_path / "kept" / "made").rename(tmp_path / "kept" / "runs")
    return tmp_path / "kept"


def told(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "hptune", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_they_are_shown(folder: Path) -> None:
    assert {one["run"] for one in json.loads(told(folder, "runs", "--json"))} == set(NAMES)
    for name in NAMES:
        assert json.loads(told(folder, "best", "--run", name, "--json"))
        told(folder, "report", "--run", name)
        assert (folder / "runs" / name / "report.html").stat().st_size > 5000


@pytest.mark.parametrize("name", NAMES)
def test_they_are_gone_on_with_to_the_same_trials(folder: Path, name: str) -> None:
    before = len(json.loads(told(folder, "trials", "--run", name, "--json")))
    told(folder, "search", f"{name}.yaml", "--quiet")
    trials = json.loads(told(folder, "trials", "--run", name, "--json"))
    wanted: list[dict[str, Any]] = json.loads((KEPT / f"{name}.trials.json").read_text(encoding="utf-8"))
    assert before <= len(trials) == len(wanted)
    for one, other in zip(trials, wanted, strict=True):
        assert {k: one[k] for k in ("trial", "values", "epochs", "state")} == {
            k: other[k] for k in ("trial", "values", "epochs", "state")
        }
        assert one["score"] == pytest.approx(other["score"], rel=1e-4), "another machine's last digits may be others"


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n == "network" else []) for n in NAMES])
def test_they_are_reproduced(folder: Path, name: str) -> None:
    told(folder, "reproduce", "--run", name, "--trial", "0", "--tolerance", "1e-4")
