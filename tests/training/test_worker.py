"""What a worker tells of a trial that fails."""

from __future__ import annotations

import os
from pathlib import Path

from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.worker import Worker

YAML = """\
version: 1
name: a
data: {source: iris}
model: {layers: [Dense: {units: $units}]}
search_space: {units: {type: int, min: 1, max: 3}}
"""


def test_a_place_in_the_yaml_is_told_whatever_stands_beside_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")  # nobody writes into it: it must not be waited for
    (tmp_path / "b.yaml").write_bytes(b"\xff")
    (tmp_path / "c.yaml").write_text(YAML)
    paths = RunPaths(tmp_path / "runs" / "a")
    paths.root.mkdir(parents=True)
    paths.spec.write_text(YAML)
    worker = Worker(load(tmp_path / "c.yaml").experiment, tmp_path, paths)
    assert worker._in_yaml(("model", "layers", 0)).endswith("(c.yaml:4)")
