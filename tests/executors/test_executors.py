"""What every executor must do, run over each of them; and what only worker processes can."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from hptune.base.errors import RunError, SpecError
from hptune.base.trial import Segment, SegmentFailure, SegmentResult
from hptune.executors import local as local_executor
from hptune.executors import machine
from hptune.executors.alone import AloneExecutor
from hptune.executors.choose import executor_for
from hptune.executors.executor import Executor, Outcome
from hptune.executors.local import LocalExecutor
from hptune.executors.worker_process import shape_of
from hptune.experiment.execution import EXECUTORS
from hptune.experiment.reading.load import from_json
from hptune.run.rundir import RunPaths

CODE = """\
import os, sys, time
from pathlib import Path

def f(x, epoch=1):
    print("said by user code")
    if x == 1: raise ValueError("not one")
    if x == 2: sys.exit("enough")
    if x == 3: raise MemoryError("too big")
    if x == 4: os.kill(os.getpid(), 9)
    if x == 5: time.sleep(600)
    if x == 6: return {"score": os.getpid()}
    if x == 7:
        Path("told.pid").write_text(str(os.getpid()))
        time.sleep(600)
    if x == 8:
        globals().setdefault("held", []).append(bytearray(os.urandom(2 ** 20) * 64))
        return os.getpid()
    if x == 9: time.sleep(0.15)
    return {"score": x, "epoch": epoch}
"""

WAIT_S = 120.0
"""Far longer than anything here takes: a test that hangs ends."""

Make = Callable[..., Executor]


def experiment(**sections: Any) -> Any:
    return from_json(
        {
            "version": 1,
            "name": "a",
            "model": {"function": "executed:f"},
            "search_space": {"x": {"type": "int", "min": 0, "max": 99}},
            "objective": {"metric": "score", "goal": "maximize"},
            **sections,
        }
    )


def local(folder: Path, on_epoch: Any, *, trials: int | None = None, **execution: Any) -> LocalExecutor:
    given = experiment(execution=execution)
    return LocalExecutor(given, folder, RunPaths(folder / "runs" / "a"), on_epoch, trials=trials)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])  # inline leaves the folder in it, and the module loaded
    monkeypatch.delitem(sys.modules, "executed", raising=False)
    (tmp_path / "executed.py").write_text(CODE)
    return tmp_path


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    """Makes executors that are closed after the test: by a name of the table, "alone", or the number of workers."""
    with ExitStack() as stack:

        def made(workers: int | str, on_epoch: Any = lambda *_: None, **options: Any) -> Executor:
            executor: Executor
            if workers == "alone":
                executor = AloneExecutor(experiment(), folder, RunPaths(folder / "runs" / "a"), on_epoch)
            elif isinstance(workers, str) and workers != "auto":
                given = experiment(execution={"executor": workers})
                executor = executor_for(given, folder, RunPaths(folder / "runs" / "a"), on_epoch, trials=None)
            else:
                executor = local(folder, on_epoch, workers=workers, **options)
            return stack.enter_context(closing(executor))

        yield made


@pytest.fixture(params=[*EXECUTORS, "alone", 1, 3])
def executor(make: Make, request: pytest.FixtureRequest) -> Executor:
    return make(request.param)


@pytest.fixture(params=[1, 3])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def outcomes(executor: Executor, count: int) -> list[Outcome]:
    """The next `count` outcomes."""
    found: list[Outcome] = []
    until = time.monotonic() + WAIT_S
    while len(found) < count:
        assert time.monotonic() < until, f"only {found} came"
        found += executor.wait(1.0)
    assert len(found) == count
    return found


def run(executor: Executor, *xs: int) -> dict[int, Outcome]:
    """Submit one segment for each x, and wait for all; by x."""
    for trial, x in enumerate(xs):
        executor.submit(Segment(trial, {"x": x}, to_epoch=1))
    return {int(outcome.segment.values["x"] or 0): outcome for outcome in outcomes(executor, len(xs))}


def reasons(found: Mapping[int, Outcome]) -> dict[int, tuple[str, bool]]:
    return {x: (o.reason, o.lost) for x, o in found.items() if isinstance(o, SegmentFailure)}


def score(outcome: Outcome) -> float:
    assert isinstance(outcome, SegmentResult), outcome
    return outcome.curves["score"][0]


# --- all of them ------------------------------------------------------------------------------------------------------


def test_every_segment_comes_back_with_what_it_learnt(executor: Executor) -> None:
    found = run(executor, 10, 11, 12, 13, 14)
    assert sorted(found) == [10, 11, 12, 13, 14]
    assert all(score(outcome) == x for x, outcome in found.items())
    assert executor.wait(0.0) == []


@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_of_the_table_is_documented(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "experiment.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `executor` \|.*$", page, re.M)
    assert f"`{name}`" in row


@pytest.mark.parametrize("one_slot", ["inline", 1])
def test_one_slot_keeps_the_order(make: Make, one_slot: int | str) -> None:
    executor = make(one_slot)
    assert executor.slots == 1
    for trial in range(5):
        executor.submit(Segment(trial, {"x": 20 - trial}, to_epoch=1))
    assert [outcome.segment.trial for outcome in outcomes(executor, 5)] == [0, 1, 2, 3, 4]


def test_what_training_raises_is_that_segments_failure(executor: Executor) -> None:
    assert reasons(run(executor, 10, 1, 2, 3, 11)) == {
        1: ("ValueError: not one (executed.py:6)", False),
        2: ("the code ended the process: sys.exit('enough')", False),
        3: ("MemoryError: too big (executed.py:8)", False),
    }


def test_a_probe_that_finds_nothing_to_run_is_a_spec_error(folder: Path, executor: Executor) -> None:
    (folder / "executed.py").unlink()
    executor.submit(Segment(0, {}, purpose="probe"))
    with pytest.raises(SpecError, match="executed"):
        outcomes(executor, 1)


def test_nothing_submitted_nothing_waited_for(executor: Executor) -> None:
    assert executor.wait() == []


def test_closing_drops_what_waits(executor: Executor) -> None:
    for trial in range(3):
        executor.submit(Segment(trial, {"x": 10}, to_epoch=1))
    executor.close()
    assert executor.wait() == []


def test_what_user_code_prints_never_reaches_stdout(executor: Executor, capfd: pytest.CaptureFixture[str]) -> None:
    run(executor, 10)
    executor.close()  # what a worker prints comes by another way than its results, and may come later
    out, err = capfd.readouterr()
    assert out == ""
    assert "said by user code" in err


def test_the_epochs_are_told(make: Make) -> None:
    for workers in ("inline", 1):
        told: list[tuple[int, int, float]] = []
        executor = make(workers, lambda s, epoch, metrics, told=told: told.append((s.trial, epoch, metrics["epoch"])))
        executor.submit(Segment(7, {"x": 9}, to_epoch=3))
        outcomes(executor, 1)
        assert told == [(7, 1, 1.0), (7, 2, 2.0), (7, 3, 3.0)]


# --- worker processes -------------------------------------------------------------------------------------------------


def test_a_killed_worker_costs_its_segment_alone(make: Make, workers: int) -> None:
    found = run(make(workers), 10, 4, 11, 12, 13)
    assert reasons(found) == {4: ("the worker was killed (SIGKILL), as the system does where memory runs out", True)}
    assert [score(found[x]) for x in (10, 11, 12, 13)] == [10, 11, 12, 13]


def test_a_worker_that_is_killed_while_it_waits_costs_nothing(make: Make, workers: int) -> None:
    executor = make(workers)
    os.kill(int(score(run(executor, 6)[6])), signal.SIGKILL)
    found = run(executor, 10, 11)
    assert {x: type(o) for x, o in found.items()} in (
        {10: SegmentResult, 11: SegmentResult},
        {10: SegmentFailure, 11: SegmentResult},  # given to it before its end was known: lost, to be tried again
    )
    assert all(lost for _, lost in reasons(found).values())


def test_a_segment_that_hangs_is_ended_at_its_timeout(make: Make, workers: int) -> None:
    found = run(make(workers, trial_timeout=3), 10, 5, 11)
    assert reasons(found) == {5: ("timeout: the segment took longer than execution.trial_timeout (3 s)", True)}
    assert isinstance(found[5], SegmentFailure)
    assert 3 <= found[5].seconds < WAIT_S


def test_starting_does_not_count_for_the_timeout(folder: Path, make: Make) -> None:
    (folder / "executed.py").write_text("import time\ntime.sleep(1.5)\ndef f(x):\n    return x\n")
    assert reasons(run(make(1, trial_timeout=1), 10, 11)) == {}


def test_the_final_training_has_no_timeout(folder: Path, make: Make) -> None:
    (folder / "executed.py").write_text("import time\ndef f(x):\n    time.sleep(1.5)\n    return x\n")
    executor = make(1, trial_timeout=1)
    executor.submit(Segment(0, {"x": 1}, to_epoch=1, purpose="best"))
    assert isinstance(outcomes(executor, 1)[0], SegmentResult)


@pytest.mark.parametrize(("xla", "same"), [(False, True), (True, False)])
def test_a_batch_size_makes_another_structure_for_xla_alone(xla: bool, same: bool) -> None:
    given = from_json(
        {
            "version": 1,
            "name": "a",
            "data": {"source": "digits"},
            "model": {"layers": [{"Dense": {"units": "$units"}}]},
            "search_space": {name: {"type": "int", "min": 1, "max": 99} for name in ("units", "batch")},
            "training": {"batch_size": "$batch"},
            "execution": {"xla": xla},
        }
    )
    shapes = [shape_of(Segment(0, values), given) for values in ({"units": 8, "batch": 16}, {"units": 8, "batch": 32})]
    assert (shapes[0] == shapes[1]) is same
    assert shape_of(Segment(0, {"units": 9, "batch": 16}), given) != shapes[0]


def test_workers_stay(make: Make, workers: int) -> None:
    executor = make(workers)
    pids = {score(run(executor, 6)[6]) for _ in range(20)}
    assert len(pids) <= workers
    assert os.getpid() not in pids


def test_a_worker_that_grows_is_replaced_after_its_segment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_executor, "_LEAST_GROWTH", 100 * 2**20)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 2**20)
    executor = make(1)
    pids = [score(run(executor, 8)[8]) for _ in range(6)]  # 64 MiB each, kept
    assert pids[0] == pids[1] == pids[2]
    assert pids[3] == pids[4] == pids[5] != pids[2]


def test_closing_ends_the_workers_at_once(folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    executor = make(1)
    executor.submit(Segment(0, {"x": 7}, to_epoch=1))
    pid = _told_pid(folder / "told.pid", lambda: executor.wait(0.05))
    executor.close()
    assert not _alive(pid)
    assert executor.wait() == []


DRIVER = """\
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_executors import local
from hptune.base.trial import Segment
executor = local(Path.cwd(), lambda *_: None, workers=1)
executor.submit(Segment(0, {"x": 7}, to_epoch=1))
executor.wait()
"""


def test_workers_follow_their_killed_driver(folder: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(Path(__file__).parent)], cwd=folder)
    pid = _told_pid(folder / "told.pid", lambda: time.sleep(0.05))
    driver.kill()
    driver.wait()
    until = time.monotonic() + 15
    while _alive(pid):
        assert time.monotonic() < until, "the worker outlived its driver"
        time.sleep(0.05)


SPEC = """\
version: 1
name: a
model: {function: "executed:f"}
search_space: {x: {type: choice, values: [10, 11, 7]}}
objective: {metric: score, goal: maximize}
strategy: {name: grid}
execution: {workers: 2}
"""


def test_an_interrupt_ends_all_quietly(folder: Path) -> None:
    (folder / "spec.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "hptune", "search", "spec.yaml"]
    search = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)
    pid = _told_pid(folder / "told.pid", lambda: time.sleep(0.05))
    os.killpg(search.pid, signal.SIGINT)
    _, err = search.communicate(timeout=WAIT_S)
    assert search.returncode == 130
    assert "Traceback" not in err
    assert not _alive(pid)


def test_auto_adds_workers_while_trials_are_long(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hptune.executors.staffing.machine.cores", lambda: 2)
    monkeypatch.setattr("hptune.executors.staffing.PAYS", 0.0)
    executor = make("auto", trials=100)
    assert executor.slots == 1
    run(executor, 10)
    until = time.monotonic() + WAIT_S
    while executor.slots == 1:
        assert time.monotonic() < until
        run(executor, 9)
    assert executor.slots == 2


def _told_pid(path: Path, meanwhile: Callable[[], object]) -> int:
    until = time.monotonic() + WAIT_S
    while not path.exists() or not path.read_text():
        assert time.monotonic() < until, "the segment never began"
        meanwhile()
    return int(path.read_text())


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_alone_each_segment_has_a_process_of_its_own(make: Make) -> None:
    executor = make("alone")
    for trial in range(3):
        executor.submit(Segment(trial, {"x": 6}, to_epoch=1))
    pids = {int(score(outcome)) for outcome in outcomes(executor, 3)}
    assert len(pids) == 3
    assert os.getpid() not in pids
    assert executor.wait() == []


def test_what_was_finished_is_told_before_what_ends_the_search(folder: Path) -> None:
    """Both come in one go where one worker has ended and another refuses."""
    with closing(local(folder, lambda *_: None, workers=1)) as executor:
        done = SegmentFailure(Segment(0, {"x": 1}), "not one", 0.0)
        executor._outcomes.append(done)
        executor._refused = RunError("the code has ended the run")
        assert executor.wait() == [done]
        with pytest.raises(RunError, match="ended the run"):
            executor.wait()
