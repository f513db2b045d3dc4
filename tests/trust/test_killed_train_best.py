"""`train-best` killed at any moment leaves the winner of the time before whole, and begins anew to the same end."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hptune.training.export.skops_types import load_known

SPEC = """\
version: 1
name: a
data: {source: iris}
model: {sklearn: sklearn.linear_model.LogisticRegression, params: {C: $c}}
search_space: {c: {type: float, min: 0.01, max: 100, log: true}}
strategy: {name: random}
budget: {trials: 3}
"""


def hptune(folder: Path, *command: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "hptune", *command]
    return subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(folder: Path, *command: str) -> str:
    process = hptune(folder, *command)
    told, errors = process.communicate()
    assert process.returncode == 0, errors
    return told


def digests(best: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in best.iterdir() if path.is_file()}


def told(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("values", "trial", "search_score", "test")}


def test_a_killed_train_best_leaves_the_old_winner_whole_and_ends_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SPEC)
    ended(tmp_path, "search", "a.yaml", "--quiet")
    started = time.monotonic()
    first = json.loads(ended(tmp_path, "train-best", "--run", "a", "--json"))
    took = time.monotonic() - started
    best = tmp_path / "runs" / "a" / "best"
    old = digests(best)
    killed = 0
    for share in (0.5, 0.8, 0.95):
        process = hptune(tmp_path, "train-best", "--run", "a", "--json")
        time.sleep(share * took)
        process.kill()
        process.communicate()
        if process.returncode != 0:
            killed += 1
            if digests(best) != old:  # by then the new winner stood there, whole
                assert told(json.loads((best / "result.json").read_text())) == told(first)
                load_known(best / "model.skops", [], run="a")
                old = digests(best)
    assert killed, "none was killed in time"
    assert told(json.loads(ended(tmp_path, "train-best", "--run", "a", "--json"))) == told(first)
    assert not [path.name for path in best.parent.iterdir() if path.name.startswith("tmp-")]


KERAS = """\
version: 1
name: a
data: {source: iris}
model: {layers: [Dense: {units: 3, activation: softmax}]}
search_space: {rate: {type: float, min: 0.001, max: 0.1}}
training: {epochs: 1, optimizer: {learning_rate: $rate}}
budget: {trials: 1}
execution: {workers: 1}
"""


def test_one_killed_as_it_converts_leaves_the_old_winner_whole_its_other_formats_too(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(KERAS)
    ended(tmp_path, "search", "a.yaml", "--quiet")
    exporting = ("train-best", "--run", "a", "--export", "savedmodel", "--json")
    assert json.loads(ended(tmp_path, *exporting))["exported"] == {"savedmodel": "runs/a/best/savedmodel"}
    best = tmp_path / "runs" / "a" / "best"
    aside = best.with_name("tmp-best") / "savedmodel"
    old = {path: path.read_bytes() for path in best.rglob("*") if path.is_file()}
    process = hptune(tmp_path, *exporting)
    while not aside.exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode != 0, "it was killed"
    assert {path: path.read_bytes() for path in best.rglob("*") if path.is_file()} == old
    ended(tmp_path, *exporting)
    assert {path.name for path in best.iterdir()} == {
        *("model.keras", "savedmodel", "signature.json", "result.json", "history.csv")
    }
    assert not [path.name for path in best.parent.iterdir() if path.name.startswith("tmp-")]
