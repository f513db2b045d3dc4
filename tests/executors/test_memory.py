"""A worker does not grow: `make soak-memory`, a minute or two, is no part of `make test`."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from hptune.base.trial import Segment, SegmentResult
from hptune.executors import local as local_executor
from hptune.executors.local import LocalExecutor
from hptune.experiment.reading.load import from_json
from hptune.run.rundir import RunPaths


@pytest.mark.slow
def test_a_thousand_trials_in_one_worker_hold_no_more_than_a_hundred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_executor, "_LEAST_GROWTH", 2**40)  # it must not be replaced
    layers = ["Flatten", {"Dense": {"units": "$units"}}, {"Dropout": {"rate": "$dropout"}}, {"Dense": {"units": 10}}]
    given = {
        "version": 1,
        "name": "a",
        "data": {"source": "digits"},
        "model": {"layers": layers},
        "search_space": {
            "units": {"type": "int", "min": 32, "max": 96, "step": 32},
            "dropout": {"type": "float", "min": 0.0, "max": 0.5},
            "batch_size": {"type": "choice", "values": [32, 64, 128]},
        },
        "training": {"batch_size": "$batch_size"},
        "execution": {"workers": 1},
    }
    draw = random.Random(0)
    with closing(LocalExecutor(from_json(given), tmp_path, RunPaths(tmp_path / "a"), lambda *_: None)) as executor:
        held: list[int] = []
        for number in range(1000):
            values = {"units": 32 * draw.randint(1, 3), "dropout": draw.random() / 2}
            batch_size = draw.choice([32, 64, 128])  # 9 structures, more than are kept
            executor.submit(Segment(number, {**values, "batch_size": batch_size}, to_epoch=2))
            (outcome,) = executor.wait()
            assert isinstance(outcome, SegmentResult), outcome
            pid = executor._processes[0]._process.pid
            held.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096)
    grown = (max(held) - held[99]) / 2**20
    print(f"{held[99] / 2**20:.0f} MiB after 100 trials, {max(held) / 2**20:.0f} MiB at most")
    assert grown < 200, f"grown by {grown:.0f} MiB"
