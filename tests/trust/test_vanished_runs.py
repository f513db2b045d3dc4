"""A run's folder or journal that goes while it is searched: told, exit code 1, and nothing made in its place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hptune.base.errors import RunError
from hptune.run.journal import Journal
from hptune.run.rundir import RunPaths

SPEC = """\
version: 1
name: a
model: {function: "trial_code:f"}
search_space: {x: {type: int, min: 0, max: 99}}
objective: {metric: score, goal: maximize}
strategy: {name: tpe}
execution: {workers: WORKERS, executor: EXECUTOR}
"""

CODE = """\
import os, time
calls = 0
def f(x):
    global calls
    calls += 1
    open(f"process-{os.getpid()}", "w").close()
    if calls == 3:
        open("third", "w").close()
        time.sleep(SECONDS)
    return x
"""


def delete(run: Path) -> None:
    shutil.rmtree(run)


def move(run: Path) -> None:
    run.rename(run.with_name("moved"))


def replace(run: Path) -> None:
    move(run)
    run.mkdir()
    (run / "journal.jsonl").write_text("another's\n")
    (run / "lock").write_text("another's")


def delete_journal(run: Path) -> None:
    (run / "journal.jsonl").unlink()


def replace_journal(run: Path) -> None:
    text = (run / "journal.jsonl").read_bytes()
    (run / "new").write_bytes(text)
    (run / "new").rename(run / "journal.jsonl")


def cut(run: Path) -> None:
    with (run / "journal.jsonl").open("r+b") as file:
        file.truncate(100)


WAYS: dict[Callable[[Path], None], str] = {
    delete: "is gone: it, or the run's folder, was deleted",
    move: "is gone: it, or the run's folder, was deleted",
    replace: "is another file now",
    delete_journal: "is gone",
    replace_journal: "is another file now",
    cut: "was cut short",
}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("way", "executor", "seconds"),
    [*((way, "local", 600) for way in WAYS), (delete, "inline", 1), (cut, "inline", 1)],
)
def test_a_run_that_goes_while_it_is_searched_is_told(
    tmp_path: Path, way: Callable[[Path], None], executor: str, seconds: int
) -> None:
    (tmp_path / "trial_code.py").write_text(CODE.replace("SECONDS", str(seconds)))
    (tmp_path / "spec.yaml").write_text(SPEC.replace("EXECUTOR", executor).replace("WORKERS", "1"))
    command = [sys.executable, "-m", "hptune", "search", "spec.yaml", "--quiet"]
    search = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for((tmp_path / "third").exists)
        way(tmp_path / "runs" / "a")
        before = files(tmp_path / "runs")
        out, err = search.communicate(timeout=60)
    finally:
        search.kill()
    assert (search.returncode, out) == (1, "")
    assert err.startswith("runs/a/journal.jsonl ")
    assert WAYS[way] in err
    assert "Traceback" not in err
    after = files(tmp_path / "runs")
    for volatile in ("a/lock", "a/clock", "moved/lock", "moved/clock"):
        if way is not replace or volatile.startswith("moved"):
            before.pop(volatile, None)
            after.pop(volatile, None)
    assert after == before, "nothing is made in its place, and what is there stays"
    workers = [int(file.name.partition("-")[2]) for file in tmp_path.glob("process-*")]
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_worker_makes_no_folder_in_the_place_of_one_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    run = RunPaths(tmp_path / "a").anchored()
    assert run.state(0, 0, 1).parent == tmp_path / "a" / "trials" / "0000"
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").mkdir()
    paths: list[Callable[[], Path]] = [
        lambda: run.state(0, 0, 1),
        lambda: run.best_model,
        lambda: run.stabilized("x", 0),
        lambda: run.data,
    ]
    for path in paths:
        with pytest.raises(RunError, match="was deleted, moved or replaced"):
            path()


def test_a_path_goes_on_naming_the_same_folder_where_the_process_changes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    run = RunPaths(Path("runs")).anchored()
    with Journal(run.journal.relative_to(tmp_path)) as journal:
        os.chdir("/")
        journal.append({"event": "x"})
    assert run.best == tmp_path / "runs" / "best"
