"""Memory stays flat however much data there is: `make soak-memory`, some minutes, is no part of `make test`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

MOST_MB = 3000

HEAD = """\
version: 1
model:
  layers: [Conv2D: {filters: 8, kernel_size: 3, strides: 2, activation: relu}, GlobalAveragePooling2D,
           Dense: {units: $units, activation: relu}, Dense: {units: 4, activation: softmax}]
search_space: {units: {type: choice, values: [8, 16]}}
training: {epochs: 2, batch_size: 64}
budget: {trials: 2}
execution: {workers: 2}
"""


def peak_mb(command: list[str], folder: Path) -> tuple[float, float]:
    """(the most megabytes that a command and all its children held together, its seconds).

    What several of them share counts once (Linux's proportional set size).
    """
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=folder)
    most = 0.0

    def watch() -> None:
        nonlocal most
        while process.poll() is None:
            most = max(most, sum(map(held_mb, tree(process.pid))))
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.wait() == 0
    watcher.join()
    return most, time.monotonic() - started


def tree(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has just ended
        return []
    return [pid, *(one for child in children for one in tree(child))]


def held_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def searched(folder: Path, data: str) -> None:
    (folder / "spec.yaml").write_text(f"name: big\n{HEAD}data: {data}\n")
    command = [str(Path(sys.executable).with_name("hptune")), "search", "spec.yaml"]
    peak, seconds = peak_mb(command, folder)
    best = json.loads(subprocess.check_output([command[0], "best", "--json"], cwd=folder))
    print(f"{data}: {peak:.0f} MB at most, {seconds:.0f} s, val_accuracy {best[0]['score']:.3f}")
    assert len(best) == 2
    assert peak < MOST_MB


@pytest.mark.slow
@pytest.mark.parametrize("option", ["", ", stream: true"])
def test_twenty_thousand_pictures(tmp_path: Path, option: str) -> None:
    def write(i: int) -> None:
        generator = np.random.default_rng(i)
        pixels = np.clip(generator.normal(50 + 40 * (i % 4), 30, (64, 64, 3)), 0, 255).astype(np.uint8)
        (tmp_path / "pictures" / f"class {i % 4}" / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())

    for kind in range(4):
        (tmp_path / "pictures" / f"class {kind}").mkdir(parents=True)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(write, range(20_000)))
    searched(tmp_path, f"{{images: pictures, size: [64, 64]{option}}}")


@pytest.mark.slow
def test_an_npz_of_two_gigabytes(tmp_path: Path) -> None:
    rows = 160_000  # of 12,288 bytes
    generator = np.random.default_rng(0)
    y = np.arange(rows) % 4
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (rows, 64, 64, 3))
    noise = generator.integers(0, 60, (1000, 64, 64, 3), np.uint8)
    for start in range(0, rows, 1000):
        x[start : start + 1000] = noise + (40 * y[start : start + 1000, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "big.npz", x=x, y=y)
    del x
    (tmp_path / "x.npy").unlink()
    assert (tmp_path / "big.npz").stat().st_size > 1.9e9
    searched(tmp_path, "{npz: big.npz}")
