"""Searches under random faults: kills, stops, full disks, damaged files. After each, what must hold is checked.

    make soak                          # ten minutes
    make soak MINUTES=30 SEED=7        # as long, and from where, you like

Each round takes an experiment, runs it once undisturbed (kept for the rounds to come), then again from nothing while
faults happen to it, each followed by the same command. At every step: nothing that was finished is lost or has another
score, nothing has been told twice, and the journal can be read. At the end: the trials, their values, scores and states
are those of the undisturbed run, to the bit; and no more states are on the disk than `checkpoints.keep` allows. Then
`train-best` is killed a few times: what stands in `best/` is the old winner whole or the new one, nothing lies beside
it after the next command, and the winner is the undisturbed run's. Exit code 1, and the round's seed, at the first
that does not hold.

As many rounds run at a time as there are cores. Where mounting is allowed (as root), every other round's runs folder is
a small tmpfs of its own, which is then really full; in the others no file may grow any further.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from hptune.reports.leaderboard import rows
from hptune.run.record import recorded, replay
from hptune.run.rundir import RunPaths, size_bytes

FUNCTION = """\
version: 1
name: soak
model: {function: "soaked:f"}
search_space: {x: {type: float, min: 0.0, max: 1.0}, n: {type: int, min: 1, max: 50}}
training: {epochs: 9}
objective: {metric: score, goal: maximize}
"""

DIGITS = """\
version: 1
name: soak
data: {source: digits}
model:
  layers:
    [Flatten, Dense: {units: $units, activation: relu}, Dropout: {rate: 0.1}, Dense: {units: 10, activation: softmax}]
search_space: {units: {type: choice, values: [16, 32]}, rate: {type: float, min: 1e-4, max: 1e-1, log: true}}
training: {optimizer: {learning_rate: $rate}, epochs: 4}
"""

CODE = """\
import time
def f(x, n, epoch, seed):
    time.sleep(0.01)
    if n == 13: raise ValueError("unlucky")
    return x * n + epoch / 10 + seed % 1000 / 1e4
"""

ONE, TWO = "execution: {workers: 1}\n", "execution: {workers: 2}\n"

EXPERIMENTS: dict[str, str] = {
    "function, tpe": f"{FUNCTION}{ONE}strategy: {{name: tpe}}\nbudget: {{trials: 60}}\n",
    "function, tpe, two workers": f"{FUNCTION}{TWO}strategy: {{name: tpe}}\nbudget: {{trials: 60}}\n",
    "function, asha": f"{FUNCTION}{TWO}strategy: {{name: asha, max_epochs: 9, sampler: tpe}}\nbudget: {{trials: 50}}\n",
    "function, hyperband": f"{FUNCTION}{ONE}strategy: {{name: hyperband, max_epochs: 9}}\nevaluation: {{repeats: 2}}\n",
    "digits, asha": f"{DIGITS}{ONE}strategy: {{name: asha, max_epochs: 4, factor: 2}}\nbudget: {{trials: 24}}\n",
    "digits, hyperband, finalists": (
        f"{DIGITS}{ONE}strategy: {{name: hyperband, max_epochs: 4, factor: 2}}\ncheckpoints: {{keep: 2}}\n"
        "evaluation: {finalists: {top: 2, repeats: 2}}\n"
    ),
}
"""The order in which trials end is the machine's where there are two workers, and what is tried is not."""

KEPT = {"digits, hyperband, finalists": 2}
HPTUNE = [sys.executable, "-m", "hptune"]
SMALL_BYTES = 16 * 2**20
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}


class Broken(Exception):
    """Something that must hold does not."""


@dataclass
class Search:
    """One `hptune search` in a folder of its own, begun again after each fault.

    small: the runs folder is a small file system of its own. limit_bytes: no file may grow beyond.
    """

    folder: Path
    small: bool = False
    limit_bytes: int | None = None
    kills: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.folder / "runs" / "soak")

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """command: unless given, the search."""
        limit = self.limit_bytes

        def full() -> None:
            assert limit is not None
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        self.process = subprocess.Popen(
            [*HPTUNE, *(command or ("search", "spec.yaml", "--quiet"))],
            cwd=self.folder,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "err").open("wb"),
            start_new_session=True,
            preexec_fn=full if limit is not None else None,
        )
        return self.process

    def told(self) -> str:
        return (self.folder / "err").read_text(errors="replace")[-800:]

    def lines(self) -> int:
        return self.paths.journal.read_bytes().count(b"\n") if self.paths.journal.exists() else 0

    def wait(self, *, allow: tuple[int, ...] = (0,)) -> None:
        assert self.process is not None
        code = self.process.wait(timeout=900)
        if code not in allow:
            raise Broken(f"exit code {code}: {self.told()}")
        if "Traceback" in self.told():
            raise Broken(self.told())


def workers(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes of its session, but for itself."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == process.pid != int(entry.name):  # its session
                found.append(int(entry.name))
    return found


# --- faults: each is given the search under way, and leaves it ended or going on ------------------------------------


def kill_all(search: Search, _: Random) -> None:
    assert search.process is not None
    os.killpg(search.process.pid, signal.SIGKILL)
    search.process.wait()
    search.kills += 1


def kill_driver(search: Search, _: Random) -> None:
    assert search.process is not None
    left = workers(search.process)
    search.process.kill()
    search.process.wait()
    search.kills += 1
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in left):
        if time.monotonic() > until:
            raise Broken("workers outlive their killed driver by 20 s")
        time.sleep(0.05)


def kill_worker(search: Search, random: Random) -> None:
    """Its segment is tried again (`retries: 1`): the search goes on by itself. Then all are killed."""
    assert search.process is not None
    found = workers(search.process)
    if found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(random.choice(found), signal.SIGKILL)
            search.kills += 1
    time.sleep(random.uniform(0, 1))
    kill_all(search, random)


def stop_a_while(search: Search, random: Random) -> None:
    assert search.process is not None
    targets = [search.process.pid, *workers(search.process)]
    some = random.sample(targets, random.randint(1, len(targets)))
    for pid in some:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    time.sleep(random.uniform(0.2, 3))
    for pid in some:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    time.sleep(random.uniform(0, 0.5))
    kill_all(search, random)


def interrupt(search: Search, random: Random) -> None:
    assert search.process is not None
    os.killpg(search.process.pid, random.choice([signal.SIGINT, signal.SIGTERM]))
    search.wait(allow=(0, 130, -signal.SIGTERM, -signal.SIGINT, 1))  # the last: before Python has set its handlers


def tear_the_journal(search: Search, random: Random) -> None:
    """A power cut: the last line is torn."""
    kill_all(search, random)
    journal = search.paths.journal
    if journal.exists() and (whole := journal.read_bytes()).count(b"\n") > 1:
        last = whole.rstrip(b"\n").rfind(b"\n") + 1
        journal.write_bytes(whole[: random.randint(last, len(whole))])


def damage_a_state(search: Search, random: Random) -> None:
    kill_all(search, random)
    found = sorted(search.paths.trials.glob("*/state-*")) if search.paths.trials.exists() else []
    if not found:
        return
    path = random.choice(found)
    whole = bytearray(path.read_bytes())
    kind = random.randrange(3)
    if kind == 0 or not whole:
        path.unlink()
    elif kind == 1:
        path.write_bytes(whole[: random.randrange(len(whole))])
    else:
        whole[random.randrange(len(whole))] ^= 1 << random.randrange(8)
        path.write_bytes(whole)


def turn_a_bit(search: Search, random: Random) -> None:
    """A bit of the journal turns on the disk: every command must tell the line. Then it is turned back."""
    kill_all(search, random)
    journal = search.paths.journal
    whole = journal.read_bytes() if journal.exists() else b""
    end = whole.rfind(b"\n")
    if end < 1:
        return
    at = random.randrange(end)
    turned = whole[at] ^ 1 << random.randrange(8)
    journal.write_bytes(whole[:at] + bytes([turned]) + whole[at + 1 :])
    for command in (["trials"], ["search", "spec.yaml", "--quiet"]):
        done = subprocess.run([*HPTUNE, *command], cwd=search.folder, env=ENVIRONMENT, capture_output=True, text=True)
        line = whole[:at].count(b"\n") + 1
        if done.returncode != 1 or f"journal.jsonl:{line}: " not in done.stderr or "Traceback" in done.stderr:
            raise Broken(
                f"line {line} is damaged, and {command[0]} says (exit {done.returncode}): {done.stderr[-800:]}"
            )
    journal.write_bytes(whole)


def fill_the_disk(search: Search, random: Random) -> None:
    """What has no room ends the search, and it goes on where there is some."""
    kill_all(search, random)
    room = random.choice([0, 200, 3000, 20_000])
    if search.small:
        ballast = search.folder / "runs" / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.truncate(ballast, max(ballast.stat().st_size - room, 0))
        full = Search(search.folder)
    else:
        ballast = None
        size = search.paths.journal.stat().st_size if search.paths.journal.exists() else 0
        full = Search(search.folder, limit_bytes=size + room)
    full.start()
    full.wait(allow=(0, 1))
    if ballast is not None:
        ballast.unlink()


FAULTS: list[Callable[[Search, Random], None]] = [
    kill_all, kill_driver, kill_worker, stop_a_while, interrupt, tear_the_journal, turn_a_bit, damage_a_state,
    fill_the_disk,
]  # fmt: skip
WEIGHTS = [5, 5, 3, 2, 1, 2, 1, 2, 1]


# --- what must hold -------------------------------------------------------------------------------------------------


def trials(paths: RunPaths) -> list[tuple[Any, ...]]:
    keys = ("trial", "values", "score", "epochs", "state", "error")
    return [tuple(json.dumps(row.get(key)) for key in keys) for row in rows(replay(paths).history)]


Reports = Mapping[str, Any]
"""By purpose, trial, replica and epochs: what the journal tells of a segment that has ended, but for its time."""


def finished(paths: RunPaths) -> dict[str, Any]:
    """The reports that stand in the journal."""
    found: dict[str, Any] = {}
    for event in recorded(paths):
        if event["event"] in ("segment_finished", "segment_failed"):
            what = json.dumps([event["purpose"], event["trial"], event["replica"], event.get("epochs")])
            if what in found:
                raise Broken(f"told twice: {what}")
            found[what] = [event.get("curves"), event.get("reason")]
    return found


def check_nothing_lost(search: Search, before: Reports, *, torn: bool) -> Reports:
    if not search.paths.journal.exists():
        if before:
            raise Broken("the journal is gone")
        return before
    now = finished(search.paths)
    if len(lost := before.keys() - now.keys()) > int(torn):  # a torn line may be one that told of a result
        raise Broken(f"finished, and lost: {lost}")
    if changed := [what for what in before if what in now and repr(now[what]) != repr(before[what])]:
        raise Broken(f"finished, and now another result: {changed}")
    return now


def check_disk(search: Search, keep: int) -> None:
    with_state = [n for n in search.paths.trial_numbers() if search.paths.states(n)]
    if len(with_state) > keep:
        raise Broken(f"checkpoints.keep is {keep}, and the trials {with_state} have states")
    if parts := list(search.paths.root.rglob("*.part")):
        raise Broken(f"left behind: {parts}")


# --- rounds -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def fresh(spec: str, *, small: bool = False) -> Iterator[Search]:
    with tempfile.TemporaryDirectory(prefix="hptune-soak-") as folder, contextlib.ExitStack() as undo:
        (Path(folder) / "spec.yaml").write_text(spec)
        (Path(folder) / "soaked.py").write_text(CODE)
        runs = Path(folder) / "runs"
        runs.mkdir()
        if small:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "soak", runs], check=True)
            undo.callback(subprocess.run, ["umount", "--lazy", runs], check=True)
        yield Search(Path(folder), small)


@dataclass(frozen=True)
class Calm:
    """The run that nothing happens to: its trials, the lines of its journal, the bytes that it leaves, its winner and
    the seconds that train-best takes."""

    trials: list[tuple[Any, ...]]
    lines: int
    size: int
    winner: dict[str, Any]
    seconds: float


def calm(spec: str) -> Calm:
    with fresh(spec) as search:
        search.start()
        search.wait()
        found, lines, size = trials(search.paths), search.lines(), size_bytes(search.paths)
        began = time.monotonic()
        search.start("train-best")
        search.wait()
        return Calm(found, lines, size, winner(search.paths), time.monotonic() - began)


def winner(paths: RunPaths) -> dict[str, Any]:
    """What best/ tells, but for the times."""

    def timeless(told: Any) -> Any:
        inner = {key: timeless(value) for key, value in told.items()} if isinstance(told, dict) else told
        return {k: v for k, v in inner.items() if "seconds" not in k} if isinstance(inner, dict) else inner

    return dict(timeless(json.loads(paths.best_result.read_text())))


def kill_train_best(search: Search, expected: Calm, random: Random, counts: Counter[str]) -> None:
    """Killed at any moment, by all or by its driver alone; each time best/ is whole."""
    for _ in range(random.randint(1, 3)):
        stood = search.paths.best.exists()
        search.start("train-best")
        time.sleep(random.uniform(0, expected.seconds))
        random.choice([kill_all, kill_driver])(search, random)
        counts["kill_train_best"] += 1
        counts["kills"] += 1
        if search.paths.best.exists() and winner(search.paths) != expected.winner:
            raise Broken("best/ holds neither the old winner nor the new one")
        if stood and not search.paths.best.exists():
            raise Broken("best/ is gone")
    search.start("train-best")
    search.wait()
    if winner(search.paths) != expected.winner:
        raise Broken(f"the winner is another: {winner(search.paths)} for {expected.winner}")
    if left := [path.name for path in search.paths.root.iterdir() if path.name.startswith("tmp-")]:
        raise Broken(f"left behind: {left}")


def disturbed(name: str, expected: Calm, random: Random, counts: Counter[str], *, small: bool) -> None:
    """One search, faults happening to it until it has ended all the same; then everything that must hold."""
    wanted, lines = expected.trials, expected.lines
    with fresh(EXPERIMENTS[name], small=small) as search:
        reports: Reports = {}
        for _ in range(random.randint(3, 9)):
            until = search.lines() + random.randint(0, max(2, lines // 8))
            process = search.start()
            waited = time.monotonic()
            while search.lines() < until and process.poll() is None and time.monotonic() - waited < 120:
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.2))
            if process.poll() is not None:
                search.wait()
                break
            (fault,) = random.choices(FAULTS, WEIGHTS)
            before = search.kills
            fault(search, random)
            counts[fault.__name__] += 1
            counts["kills"] += search.kills - before
            reports = check_nothing_lost(search, reports, torn=fault is tear_the_journal)
        search.start()
        search.wait()
        check_nothing_lost(search, reports, torn=False)
        if (found := trials(search.paths)) != wanted:
            different = [(a, b) for a, b in zip(wanted, found, strict=False) if a != b][:2]
            raise Broken(
                f"{len(wanted)} trials undisturbed, {len(found)} disturbed; the first that differ: {different}"
            )
        check_disk(search, KEPT.get(name, 1))
        kill_train_best(search, expected, random, counts)


def can_mount() -> bool:
    with contextlib.suppress(OSError, subprocess.CalledProcessError), fresh("", small=True):
        return True
    return False


@dataclass
class Soak:
    """Rounds, each from a seed of its own, and what came of them."""

    mounts: bool
    counts: Counter[str] = field(default_factory=Counter)
    rounds: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    known: dict[str, Calm] = field(default_factory=dict)
    _making: threading.Lock = field(default_factory=threading.Lock)

    def round(self, seed: int) -> None:
        random = Random(seed)
        name = random.choice(list(EXPERIMENTS))
        with self._making:
            if name not in self.known:
                self.known[name] = calm(EXPERIMENTS[name])
        try:
            disturbed(name, self.known[name], random, self.counts, small=self.mounts and seed % 2 == 0)
        except Broken as broken:
            raise Broken(f"seed {seed} ({name}): {broken}") from broken
        self.rounds[name] += 1
        self.compared += len(self.known[name].trials)
        print(f"seed {seed}: {name}: {len(self.known[name].trials)} trials equal to the bit", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run searches under random faults.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="rounds at a time")
    arguments = parser.parse_args()
    began = time.monotonic()
    soak, seed = Soak(can_mount()), arguments.seed
    with ThreadPoolExecutor(arguments.jobs) as pool:
        under_way: set[Future[None]] = set()
        while under_way or time.monotonic() < began + 60 * arguments.minutes:
            while len(under_way) < arguments.jobs and time.monotonic() < began + 60 * arguments.minutes:
                under_way.add(pool.submit(soak.round, seed))
                seed += 1
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for one in done:
                if (error := one.exception()) is not None:
                    print(error, file=sys.stderr, flush=True)
                    return 1
    minutes, kills = (time.monotonic() - began) / 60, soak.counts["kills"]
    rounds = sum(soak.rounds.values())
    print(f"\n{minutes:.0f} minutes, {rounds} rounds, {kills} kills, {soak.compared:,} trials compared: no difference")
    print("\n| fault | times |\n|---|---|")
    for fault in [*FAULTS, kill_train_best]:
        print(f"| {fault.__name__.replace('_', ' ')} | {soak.counts[fault.__name__]} |")
    print("\n| experiment | rounds | trials | bytes left |\n|---|---|---|---|")
    for name, known in soak.known.items():
        print(f"| {name} | {soak.rounds[name]} | {len(known.trials)} | {known.size:,} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
