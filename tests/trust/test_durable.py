"""What was told is there after a power cut at any moment, and whichever call to the disk fails.

A search with its winner, its report and a second sitting is run with `disk.c` before the C library. From its log all is
made that a power cut may leave (`crashes.py`); then each call that it makes on the disk is made to fail once. The slow
tests take every state and every call, the others some of them.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from crashes import Log, put_down, states

HERE = Path(__file__).parent
COMPILER = shutil.which("cc")

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs a C compiler, `cc`"),
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD as Linux has it"),
]

SPEC = """\
version: 1
name: a
data: {source: iris}
model: {sklearn: sklearn.naive_bayes.GaussianNB, params: {var_smoothing: $s}}
search_space: {s: {type: float, min: 0.001, max: 1.0, log: true}}
strategy: {name: random}
budget: {trials: 2}
execution: {executor: inline}
"""

SEARCH_ON = ["search", "a.yaml", "--quiet", "--set", "budget.trials=3"]
TRIALS = ["trials", "--run", "a", "--json"]
TRAIN = ["train-best", "--run", "a", "--json"]
PREDICT = ["predict", "--run", "a", "--input", "x.npy"]
COMMANDS = [["search", "a.yaml", "--quiet"], TRAIN, ["report", "--run", "a"], SEARCH_ON, TRAIN]
SEARCHED, TRAINED, REPORTED, SEARCHED_ON, TRAINED_AGAIN = range(1, len(COMMANDS) + 1)
FILES = ["best", "journal.jsonl", "lock", "report.html", "spec.yaml"]


class Runner:
    """`disk_runner.py`, with `disk.c` loaded before it."""

    def __init__(self, library: Path, home: Path) -> None:
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG") if key in os.environ}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        paths = os.pathsep.join(map(str, (HERE.parents[1], HERE)))
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "disk_runner.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=home,
            env={**kept, **threads, "LD_PRELOAD": str(library), "PYTHONPATH": paths},
        )
        self.home = home

    def __call__(self, folder: Path, *commands: list[str], **how: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        job = {"folder": str(folder), "commands": commands, **how}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "died" not in answer, job
        return answer

    def watched(self, folder: Path, *commands: list[str], **how: Any) -> dict[str, Any]:
        return self(folder, *commands, root=str(folder / "runs"), **how)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "disk.so"
    assert COMPILER is not None
    compiled = [COMPILER, "-shared", "-fPIC", "-o", str(path), str(HERE / "disk.c"), "-ldl", "-lpthread"]
    subprocess.run(compiled, check=True)
    return path


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[Runner]:
    home = tmp_path_factory.mktemp("disk")
    one = Runner(library, home)
    one(begun(home / "warm"), *COMMANDS, PREDICT, TRIALS, here=True)
    yield one
    one.process.kill()
    one.process.wait()


def begun(folder: Path) -> Path:
    (folder / "runs").mkdir(parents=True)
    (folder / "a.yaml").write_text(SPEC)
    np.save(folder / "x.npy", np.array([[5.1, 3.5, 1.4, 0.2], [6.0, 2.9, 4.5, 1.5], [7.1, 3.0, 5.9, 2.1]]))
    return folder


@pytest.fixture(scope="module")
def calm(runner: Runner) -> dict[str, Any]:
    """What all looks like where nothing happens: trials and predictions after each command, and the log of all."""
    folder = begun(runner.home / "calm")
    told: dict[str, Any] = {"trials": [[]], "predictions": [None]}
    for command in COMMANDS:
        shutil.copytree(folder, runner.home / f"before-{len(told['trials']) - 1}")
        (answer,) = runner(folder, command)["answers"]
        assert answer["code"] == 0, answer
        trials, predictions = runner(folder, TRIALS, PREDICT)["answers"]
        told["trials"].append(rows(trials))
        told["predictions"].append(predictions["out"] if predictions["code"] == 0 else None)
    told["journal"] = (folder / "runs" / "a" / "journal.jsonl").read_bytes()
    logged, log = begun(runner.home / "logged"), runner.home / "log"
    answer = runner.watched(logged, *COMMANDS, log=str(log))
    assert [one["code"] for one in answer["answers"]] == [0] * len(COMMANDS)
    told["log"] = Log(log.read_bytes(), str(logged / "runs"))
    return told


def rows(answer: dict[str, Any]) -> list[Any]:
    if answer["code"] != 0:
        return []
    return [(row["trial"], row["values"], row["score"], row["state"]) for row in json.loads(answer["out"])]


def calmly(answer: dict[str, Any]) -> None:
    """Whatever happened, it was told as users are told."""
    assert answer["code"] in (0, 1, 2), answer
    assert "Traceback" not in answer["err"], answer["err"]
    assert "fault in hptune" not in answer["err"], answer["err"]
    assert answer["code"] == 0 or answer["err"], "it says why"


# --- power cuts -------------------------------------------------------------------------------------------------------


def test_the_log_tells_all_that_was_done(calm: dict[str, Any], runner: Runner) -> None:
    root = runner.home / "logged" / "runs"
    there = {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in sorted(root.rglob("*"))}
    ends = [left for told, left in states(calm["log"], 0, at_random=0) if told == len(COMMANDS)]
    assert there in ends


def test_what_was_told_is_there_after_a_power_cut(runner: Runner, calm: dict[str, Any], tmp_path: Path) -> None:
    found = list(states(calm["log"], seed=0))
    for told, left in Random(0).sample(found, 24):
        _after_a_cut(runner, calm, tmp_path, told, left)


@pytest.mark.slow
def test_what_was_told_is_there_after_every_power_cut(
    runner: Runner, calm: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = list(states(calm["log"], seed=1))
    for told, left in found:
        _after_a_cut(runner, calm, tmp_path, told, left)
    with capsys.disabled():
        print(f"\n{len(calm['log'].steps)} steps, {len(found)} states: {sorted(Counter(t for t, _ in found).items())}")


def _after_a_cut(runner: Runner, calm: dict[str, Any], folder: Path, told: int, left: dict[str, bytes | None]) -> None:
    here = folder / "here"
    shutil.rmtree(here, ignore_errors=True)
    begun(here)
    put_down(left, here / "runs")
    page = here / "runs" / "a" / "report.html"
    assert told < REPORTED or page.read_text().endswith("</html>\n")
    commands = (TRIALS, PREDICT, SEARCH_ON, TRIALS, TRAIN, PREDICT, ["report", "--run", "a"])
    first, winner, *again, trained, after, _ = answers = runner(here, *commands)["answers"]
    for answer in answers:
        calmly(answer)
    assert rows(first)[: len(calm["trials"][told])] == calm["trials"][told], "no trial that was told of is lost"
    assert all(row in calm["trials"][-1] for row in rows(first) if row[-1] == "completed")
    if told >= TRAINED or "a/best" in left:
        assert winner["code"] == 0, winner["err"]
        assert winner["out"] in calm["predictions"], "the winner is whole: the old one or the new one"
    assert [one["code"] for one in (*again, trained, after)] == [0] * 4, answers
    assert rows(again[1]) == calm["trials"][-1], "the same trials"
    assert after["out"] == calm["predictions"][-1]
    assert sorted(path.name for path in (here / "runs" / "a").iterdir()) == FILES, "no rubbish"


# --- calls that fail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_a_call_that_fails_loses_nothing(runner: Runner, calm: dict[str, Any], tmp_path: Path, number: int) -> None:
    calls = _calls(runner, tmp_path, number)
    for call in Random(number).sample(range(1, calls + 1), min(calls, 8)):
        _with_a_failure(runner, calm, tmp_path, number, call, (errno.EIO, errno.ENOSPC)[call % 2])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_every_call_that_fails_loses_nothing(
    runner: Runner, calm: dict[str, Any], tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = _calls(runner, tmp_path, number)
    codes: Counter[int] = Counter()
    for call in range(1, calls + 1):
        for error in (errno.EIO, errno.ENOSPC):
            codes[_with_a_failure(runner, calm, tmp_path, number, call, error)] += 1
    with capsys.disabled():
        print(f"\n{COMMANDS[number][0]}: {calls} calls; exit codes {dict(codes)}")


def _calls(runner: Runner, folder: Path, number: int) -> int:
    """How many calls a command makes on the disk."""
    shutil.copytree(runner.home / f"before-{number}", folder / "counted")
    calls: int = runner.watched(folder / "counted", COMMANDS[number])["calls"]
    assert calls > 10
    return calls


def _with_a_failure(runner: Runner, calm: dict[str, Any], folder: Path, number: int, call: int, error: int) -> int:
    """The exit code of the command whose call fails."""
    here = folder / "here"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(runner.home / f"before-{number}", here)
    (failed,) = runner.watched(here, COMMANDS[number], fail_at=call, errno=error)["answers"]
    calmly(failed)
    journal, root = here / "runs" / "a" / "journal.jsonl", here / "runs" / "a"
    before, had_winner = whole_lines(journal), (root / "best").exists()
    commands = (PREDICT, COMMANDS[number], TRIALS, PREDICT, ["report", "--run", "a"])
    winner, again, trials, after, _ = answers = runner(here, *commands)["answers"]
    if had_winner or number >= TRAINED:
        assert winner["code"] == 0, (call, winner["err"])
        assert winner["out"] in calm["predictions"], "the winner is whole: the old one or the new one"
    assert again["code"] == 0, (call, failed, again["err"])
    assert whole_lines(journal)[: len(before)] == before, "what was written stays"
    assert rows(trials) == calm["trials"][number + 1], (call, answers)
    assert after["out"] == (calm["predictions"][number + 1] or ""), call
    assert {path.name for path in root.iterdir()} <= {*FILES, "trials"}, (call, "no rubbish")
    kept = {path.name for path in (root / "trials").rglob("*") if path.is_file()}
    assert kept <= {"error.txt"}, "the traceback of a winner that could not be written"
    code: int = failed["code"]
    return code


def whole_lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


KERAS = """\
version: 1
name: a
data: {source: iris}
model: {layers: [{Dense: {units: 8, activation: relu}}, {Dense: {units: 3, activation: softmax}}]}
training: {epochs: 2, optimizer: {learning_rate: $rate}}
search_space: {rate: {type: float, min: 0.001, max: 1.0, log: true}}
strategy: {name: asha, max_epochs: 2}
budget: {trials: 3}
execution: {workers: 1}
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["search", "train-best"])
def test_a_call_that_fails_in_any_process_of_a_keras_search_loses_nothing(
    library: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The driver's calls and each worker's fail at the same number, in the one or the other first."""

    def hptune(folder: Path, *arguments: str, **disk: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "LD_PRELOAD": str(library), **disk} if disk else dict(os.environ)
        argv = [sys.executable, "-m", "hptune", *arguments]
        return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=300)

    def trials(folder: Path) -> list[Any]:
        told = hptune(folder, *TRIALS)
        return rows({"code": told.returncode, "out": told.stdout})

    before = tmp_path / "before"
    before.mkdir()
    (before / "a.yaml").write_text(KERAS)
    calm = tmp_path / "calm"
    shutil.copytree(before, calm)
    assert hptune(calm, "search", "a.yaml", "--quiet").returncode == 0
    if command == "train-best":
        shutil.rmtree(before)
        shutil.copytree(calm, before)
    winner = json.loads(hptune(calm, *TRAIN).stdout)
    arguments = ["search", "a.yaml", "--quiet"] if command == "search" else TRAIN
    codes: Counter[int] = Counter()
    for number, call in enumerate([3, 8, 17, 30, 47, 68, 10_000]):
        here = tmp_path / "here"
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(before, here)
        error = (errno.EIO, errno.ENOSPC)[number % 2]
        disk = {"DISK_ROOT": str(here / "runs"), "DISK_FAIL_AT": str(call), "DISK_ERRNO": str(error)}
        failed = hptune(here, *arguments, **disk)
        codes[failed.returncode] += 1
        calmly({"code": failed.returncode, "err": failed.stderr})
        written = whole_lines(here / "runs" / "a" / "journal.jsonl")
        again = hptune(here, "search", "a.yaml", "--quiet")
        assert again.returncode == 0, (call, failed.stderr, again.stderr)
        assert whole_lines(here / "runs" / "a" / "journal.jsonl")[: len(written)] == written, call
        assert trials(here) == trials(calm), (call, failed.stderr)
        told = json.loads(hptune(here, *TRAIN).stdout)
        assert {one: told[one] for one in ("trial", "test", "baseline")} == {
            one: winner[one] for one in ("trial", "test", "baseline")
        }
    assert set(codes) == {0, 1}, "the last number is never reached"
    with capsys.disabled():
        print(f"\n{command}: exit codes {dict(codes)}")


# --- caches of data ---------------------------------------------------------------------------------------------------


def test_a_cache_is_whole_or_made_again(runner: Runner, tmp_path: Path) -> None:
    folder, log = begun(tmp_path / "kept"), tmp_path / "log"
    assert runner.watched(folder, ["keep"], log=str(log))["answers"][0]["code"] == 0
    cuts = list(states(Log(log.read_bytes(), str(folder / "runs")), 0, at_random=10))
    assert len(cuts) > 20
    path = folder / "runs" / "a" / "data" / "images-1.u8"
    data = path.read_bytes()
    for _, left in cuts:
        put_down(left, folder / "runs")
        assert runner(folder, ["keep"])["answers"][0] == {"code": 0, "out": "", "err": ""}
        assert path.read_bytes() == data
    for call in range(1, 200):
        shutil.rmtree(folder / "runs" / "a", ignore_errors=True)
        answer = runner.watched(folder, ["keep"], fail_at=call, errno=errno.ENOSPC)
        calmly(answer["answers"][0])
        assert runner(folder, ["keep"])["answers"][0]["code"] == 0
        assert path.read_bytes() == data
        if answer["calls"] < call:
            return
    raise AssertionError("it makes no end of calls")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "marker"])
def test_a_damaged_cache_is_made_again(runner: Runner, tmp_path: Path, damage: str) -> None:
    folder = begun(tmp_path / "kept")
    assert runner(folder, ["keep"])["answers"][0]["code"] == 0
    path = folder / "runs" / "a" / "data" / "images-1.u8"
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "flipped":
        path.write_bytes(data[:5000] + b"\0" + data[5001:])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.with_name(f"{path.name}.json").write_text("{")
    assert runner(folder, ["keep"])["answers"][0] == {"code": 0, "out": "", "err": ""}
    assert path.read_bytes() == data
