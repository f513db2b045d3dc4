"""What else goes wrong while a search runs: signals, gigabytes of output, full disks, folders that can't be written."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hptune.base.errors import RunError
from hptune.base.files import write_whole
from hptune.reports import leaderboard
from hptune.run.journal import Journal
from hptune.run.lock import locked
from hptune.run.record import replay
from hptune.run.rundir import RunPaths

SPEC = """\
version: 1
name: a
model: {function: "trial_code:f"}
search_space: {x: {type: int, min: 0, max: 99}}
objective: {metric: score, goal: maximize}
strategy: {name: tpe}
execution: {workers: 1}
"""

SLOW = """\
import time
calls = 0
def f(x):
    global calls
    calls += 1
    open(f"began-{calls}", "w").close()
    time.sleep(0.1 if calls < 3 else 600)
    return x
"""
"""The third trial would take ten minutes."""

FINISHED = SLOW.replace("600", "2")


@pytest.fixture
def searches() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for search in started:
        search.kill()
        search.wait()


def start(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hptune", *arguments]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def rows(folder: Path) -> list[dict[str, Any]]:
    return leaderboard.rows(replay(RunPaths(folder / "runs" / "a")).history)


def states(folder: Path) -> dict[str, int]:
    return Counter(row["state"] for row in rows(folder))


def write(folder: Path, code: str, spec: str = SPEC) -> None:
    (folder / "trial_code.py").write_text(code)
    (folder / "spec.yaml").write_text(spec)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"{path} never came"
        time.sleep(0.02)


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", [pytest.param("inline", marks=pytest.mark.slow), "local"])
def test_what_a_kill_cuts_off_counts_and_start_up_does_not(
    tmp_path: Path, searches: list[subprocess.Popen[str]], executor: str
) -> None:
    """A sitting of about 3 s is killed in its first trial; one of 4 s in all has a second left, of which none loads."""
    (tmp_path / "trial_code.py").write_text(
        "import pathlib, time\n"
        "time.sleep(2)  # start-up\n"
        "def f(x):\n"
        "    began = pathlib.Path('began')\n"
        "    if not began.exists():\n"
        "        began.touch()\n"
        "        time.sleep(600)\n"
        "    time.sleep(0.2)\n"
        "    return x\n"
    )
    (tmp_path / "a.yaml").write_text(SPEC.replace("tpe", "random").replace("workers: 1", f"executor: {executor}"))
    search = start(tmp_path, "search", "a.yaml", "--set", "budget.time=4s")
    searches.append(search)
    wait_for(tmp_path / "began")
    time.sleep(3.0)
    os.killpg(search.pid, signal.SIGKILL)
    search.wait()
    again = start(tmp_path, "search", "a.yaml", "--set", "budget.time=4s")
    searches.append(again)
    assert again.wait(60) == 0
    told = replay(RunPaths(tmp_path / "runs" / "a"))
    assert 3 <= len(told.history.trials) <= 9, "1 to 1.5 s of 0.2 s each, and what was loaded in none of it"
    assert 4.0 <= told.elapsed_s < 4.6


@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_one_signal_keeps_what_is_finished_and_says_how_to_go_on(
    tmp_path: Path, searches: list[subprocess.Popen[str]], number: int, to_all: bool
) -> None:
    write(tmp_path, SLOW)
    searches.append(search := start(tmp_path, "search", "spec.yaml"))
    wait_for(tmp_path / "began-3")
    (os.killpg if to_all else os.kill)(search.pid, number)
    _, err = search.communicate(timeout=30)
    assert search.returncode == 130
    assert "Go on with: hptune search spec.yaml" in err
    assert "Traceback" not in err
    assert states(tmp_path) == {"completed": 2, "running": len(rows(tmp_path)) - 2}


@pytest.mark.parametrize(("number", "executor"), [(signal.SIGINT, "inline"), (signal.SIGTERM, "local")])
def test_what_is_trained_is_finished_where_that_is_asked_for(
    tmp_path: Path, searches: list[subprocess.Popen[str]], number: int, executor: str
) -> None:
    write(tmp_path, FINISHED, SPEC.replace("workers: 1", f"workers: 1, on_interrupt: finish, executor: {executor}"))
    searches.append(search := start(tmp_path, "search", "spec.yaml"))
    wait_for(tmp_path / "began-3")
    os.killpg(search.pid, number)
    _, err = search.communicate(timeout=30)
    assert search.returncode == 130
    assert "as soon as what is being trained is done" in err
    assert "Go on with: hptune search spec.yaml" in err
    assert states(tmp_path) == {"completed": 3}


def test_a_second_signal_stops_at_once(tmp_path: Path, searches: list[subprocess.Popen[str]]) -> None:
    write(tmp_path, SLOW, SPEC.replace("workers: 1", "workers: 1, on_interrupt: finish"))
    searches.append(search := start(tmp_path, "search", "spec.yaml"))
    wait_for(tmp_path / "began-3")
    os.killpg(search.pid, signal.SIGINT)
    assert search.stderr is not None
    while "once more stops now" not in (line := search.stderr.readline()):
        assert line, "it never said that it finishes what it trains"
    os.killpg(search.pid, signal.SIGINT)
    _, err = search.communicate(timeout=30)
    assert search.returncode == 130
    assert "Go on with: hptune search spec.yaml" in err
    assert states(tmp_path) == {"completed": 2, "running": len(rows(tmp_path)) - 2}


# --- what trials do ---------------------------------------------------------------------------------------------------


def test_a_trial_that_prints_without_end_fills_no_log(tmp_path: Path) -> None:
    code = "import sys\nchunk = 'x' * 2**20\ndef f(x):\n    for _ in range(64): print(chunk)\n    return x\n"
    write(tmp_path, code, SPEC.replace("max: 99", "max: 1"))
    search = start(tmp_path, "search", "spec.yaml", "--quiet")
    _, err = search.communicate(timeout=120)
    assert search.returncode == 0, err[-500:]
    assert 2 * 2**16 <= len(err) < 2 * 2**16 + 10_000
    assert "what trial 1 prints after 65,536 bytes is not shown" in err


def test_a_worker_without_memory_costs_its_trial(tmp_path: Path) -> None:
    code = """\
import resource
def f(x):
    if x == 1:
        resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))
        bytearray(2**30)
    return x
"""
    write(tmp_path, code, SPEC.replace("max: 99", "max: 3"))
    search = start(tmp_path, "search", "spec.yaml")
    _, err = search.communicate(timeout=60)
    assert search.returncode == 0, err
    by_x = {row["values"]["x"]: row for row in rows(tmp_path)}
    assert {x: row["state"] for x, row in by_x.items()} == {**dict.fromkeys((0, 2, 3), "completed"), 1: "failed"}
    assert "MemoryError" in by_x[1]["error"]


# --- the disk ---------------------------------------------------------------------------------------------------------

EPOCHS = """\
version: 1
name: a
data: {source: iris}
model: {layers: [Dense: {units: 8192, activation: relu}, Dense: {units: 3, activation: softmax}]}
search_space: {rate: {type: float, min: 1e-3, max: 1e-1}}
training: {optimizer: {learning_rate: $rate}, epochs: 4}
strategy: {name: asha, max_epochs: 4, factor: 2}
budget: {trials: 3}
execution: {workers: 1}
"""


def _files_of(size: int) -> dict[str, Any]:
    """Options for a process whose files may grow to `size` bytes, as if the disk were full behind them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # writes too
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)), "env": environment}


@pytest.mark.parametrize("size", [0, 1500, 3000])
def test_a_full_disk_ends_the_search(tmp_path: Path, size: int) -> None:
    """At 0 bytes no file can be begun, at 1500 the head is torn, at 3000 a line behind it."""
    write(tmp_path, "def f(x): return x\n", SPEC.replace("max: 99", "max: 9").replace("workers: 1", "executor: inline"))
    search = start(tmp_path, "search", "spec.yaml", **_files_of(size))
    _, err = search.communicate(timeout=60)
    assert search.returncode == 1, err
    assert "Traceback" not in err
    assert "this is a fault" not in err
    assert "can't be written: " in err
    again = start(tmp_path, "search", "spec.yaml")
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert states(tmp_path) == {"completed": 10}


@pytest.mark.slow
def test_a_state_that_finds_no_room_costs_no_trial(tmp_path: Path) -> None:
    write(tmp_path, "", EPOCHS)
    search = start(tmp_path, "search", "spec.yaml", **_files_of(100_000))
    _, err = search.communicate(timeout=120)
    assert search.returncode == 1, err
    assert ".npz can't be written: File too large. Make room" in err
    assert states(tmp_path) == {"running": 1}
    again = start(tmp_path, "search", "spec.yaml")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert "failed" not in states(tmp_path)
    left = sum(path.name.endswith(".part") for path in tmp_path.glob("runs/**/*"))
    assert left == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who has no rights, and root again")
def test_a_folder_without_the_right_to_write_is_told(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "runs" / "a")
    paths.root.mkdir(parents=True)
    tmp_path.parent.parent.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    tmp_path.chmod(0o755)
    os.seteuid(65534)
    try:
        with (
            pytest.raises(RunError, match=r"a can't be written: Permission denied\. Name another folder"),
            locked(paths),
        ):
            pass
        with pytest.raises(RunError, match="Permission denied"):
            Journal(paths.journal)
        with pytest.raises(RunError, match="Permission denied"):
            write_whole(paths.best_result, "x")
    finally:
        os.seteuid(0)
    assert list(paths.root.iterdir()) == []
