"""A program run to its end or to a limit of wall time, with the memory that it and its children held; and the machine.

Linux alone: all of it is read from /proc.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LOOK_S = 0.2
"""How often, in seconds, the memory is looked at."""

_LIBRARIES = ("tensorflow", "keras", "keras-tuner", "optuna", "ray")


@dataclass(frozen=True, slots=True)
class Measured:
    """started: seconds since 1970. peak_mb: the most memory that its processes held together, in MB. cut: whether
    it was ended at its limit."""

    started: float
    peak_mb: float
    cut: bool


def measured(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], limit_s: float) -> Measured:
    """Run `command`, with all that it starts, for `limit_s` seconds at most; what is still there then is killed.

    Raises RuntimeError, with what it said last, where it ends by itself and badly.
    """
    with (cwd / "said.txt").open("w+", encoding="utf-8", errors="replace") as said:
        started, clock = time.time(), time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        peak = 0.0
        try:
            while process.poll() is None and (now := time.monotonic() - clock) < limit_s:
                peak = max(peak, _held_mb(_session(process.pid)))
                time.sleep(min(_LOOK_S, limit_s - now))
            cut = process.poll() is None
        finally:
            _end(process)
        if not cut and process.returncode != 0:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said.read()[-3000:]}")
    return Measured(started, peak, cut)


def machine() -> str:
    """The processor, its cores, the memory, and what runs on it; no names of hosts."""
    cpus = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    model = next((value.strip() for key, value in cpus.items() if key.strip() == "model name"), platform.machine())
    cores, memory = len(os.sched_getaffinity(0)), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = [f"{name} {found}" for name in _LIBRARIES if (found := _version(name)) is not None]
    python = f"Python {platform.python_version()}"
    return f"{model}, {cores} cores, {memory:.0f} GB of memory; {', '.join([python, *libraries])}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _session(leader: int) -> list[int]:
    """The processes of the session that `leader` began; those that have ended and wait to be taken note of left out."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                stat = (folder / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):  # it has ended
                continue
            state, _, _, session = stat.rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(int(folder.name))
    return found


def _held_mb(pids: Sequence[int]) -> float:
    """What the processes hold together: each one's own memory, and of the mapped files (libraries, most of all, which
    they share) the most that one of them has. PSS would depend on what else runs on the machine."""
    own, files = [0.0], [0.0]
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            held = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
            own.append(held.get("RssAnon", 0.0))
            files.append(held.get("RssFile", 0.0) + held.get("RssShmem", 0.0))
    return sum(own) + max(files)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process's session, and wait for it to be gone."""
    while left := _session(process.pid):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    process.wait()
