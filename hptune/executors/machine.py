"""The resources of this machine: cores, memory, GPUs. Nothing here loads TensorFlow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_LOAD = Path("/proc/loadavg")
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")


def cores() -> int:
    """Physical cores that this process may use, at least 1; no more than a container's share.

    Training is arithmetic, and two threads on one core do no more of it than one.
    """
    logical = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    usable = len({_siblings(cpu) for cpu in logical})
    if _QUOTA.exists():  # cgroup 2: "200000 100000" or "max 100000", microseconds a period
        quota, period = _QUOTA.read_text().split()
        if quota != "max":
            usable = min(usable, int(quota) // int(period))
    return max(usable, 1)


def idle_cores() -> int:
    """Those of `cores` that nothing else uses at this moment; all of them where the system does not tell."""
    if not _LOAD.exists():
        return cores()
    running = int(_LOAD.read_text().split()[3].split("/")[0])  # "0.20 0.18 0.12 1/80 11206": this process is one
    return max(cores() - max(running - 1, 0), 0)


def memory_bytes() -> int:
    """The memory that this machine, or this container, has."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _MEMORY_LIMIT.read_text().strip() if _MEMORY_LIMIT.exists() else "max"
    return total if limit == "max" else min(total, int(limit))


def resident_bytes() -> int:
    """The memory that this process holds now; where the system does not tell, the most that it ever held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def gpus() -> list[str]:
    """The NVIDIA GPUs that may be used, as CUDA_VISIBLE_DEVICES spells them; none where there is no driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return [str(number) for number, _ in enumerate(_gpu_lines(listed.stdout))]


def _gpu_lines(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if line.startswith("GPU "))


def share_gpus(all_gpus: list[str], per_worker: float) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each worker that the GPUs have room for; a share below 1 puts several on one GPU.

    >>> share_gpus(["0", "1"], 0.5)
    ['0', '0', '1', '1']
    >>> share_gpus(["0", "1", "2", "3"], 2)
    ['0,1', '2,3']
    """
    if per_worker < 1:
        return [gpu for gpu in all_gpus for _ in range(int(1 / per_worker + 1e-9))]
    size = int(per_worker)
    return [",".join(all_gpus[at : at + size]) for at in range(0, len(all_gpus) - size + 1, size)]


def _siblings(cpu: int) -> str:
    """The threads of the core that `cpu` is one of; itself where the system does not tell."""
    path = _CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list"
    return path.read_text().strip() if path.exists() else str(cpu)
