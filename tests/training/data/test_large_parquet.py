"""A Parquet file larger than the memory that is used. Marked slow: `make soak-memory` runs it."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

COLUMNS, GROUP_ROWS, GROUPS = 50, 250_000, 40
LIMIT_MB = 3000

SPEC = """
version: 1
name: big
data: {parquet: big.parquet, target: y}
model: {layers: [Dense: {units: $units, activation: relu}, Dense: {units: 2, activation: softmax}]}
search_space: {units: {type: choice, values: [8]}}
training: {epochs: 1, batch_size: 4096}
execution: {workers: 1}
budget: {trials: 1}
"""


def write(folder: Path) -> int:
    """Ten million rows of 50 float32 columns; its size in bytes."""
    random = np.random.default_rng(0)
    names = [f"c{i}" for i in range(COLUMNS)]
    schema = pa.schema([*((name, pa.float32()) for name in names), ("y", pa.int8())])
    with parquet.ParquetWriter(folder / "big.parquet", schema, use_dictionary=False) as file:
        for _ in range(GROUPS):
            x = random.normal(size=(GROUP_ROWS, COLUMNS)).astype(np.float32)
            y = ((x[:, 0] + x[:, 1]) > 0).astype(np.int8)
            file.write_table(pa.table([*map(pa.array, np.ascontiguousarray(x.T)), pa.array(y)], schema=schema))
    return (folder / "big.parquet").stat().st_size


def resident_mb(root: int) -> float:
    """Of a process and all that it started: memory that is theirs, and pages of files that they hold."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # it has ended
            continue
    family = {root}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    total = 0
    for process in family:
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total / 1024


@pytest.mark.slow
def test_two_gigabytes_train_in_less_than_three(tmp_path: Path) -> None:
    size_mb = write(tmp_path) / 2**20
    (tmp_path / "spec.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "hptune", "search", "spec.yaml", "--quiet"]
    peak, begun = 0.0, time.monotonic()
    with subprocess.Popen(command, cwd=tmp_path) as search:
        while search.poll() is None:
            peak = max(peak, resident_mb(search.pid))
            time.sleep(0.2)
    print(f"{size_mb:.0f} MB of Parquet: peak {peak:.0f} MB in {time.monotonic() - begun:.0f} s")
    assert search.returncode == 0
    assert size_mb > 1900
    assert peak < LIMIT_MB
