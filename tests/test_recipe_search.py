"""The recipe in a search with real training: stabilised weights, repeats, finalists, and train-best after them."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from hptune import __main__ as main

SPEC = """\
version: 1
name: recipe
data: {source: iris, validation: 0.3}
model: {layers: [Dense: {units: $units, activation: relu}, Dense: {units: 3, activation: softmax}]}
search_space:
  units: {type: choice, values: [4, 8]}
  rate: {type: choice, values: [1e-2, 3e-2]}
training: {optimizer: {name: adam, learning_rate: $rate}, epochs: 3, batch_size: 16}
initialization: {stabilize: {method: lottery, draws: 3, epochs: 1, steps_per_epoch: 3}}
objective: {metric: val_loss, goal: minimize}
strategy: {name: grid}
evaluation: {repeats: 2, finalists: {top: 2, repeats: 2}}
execution: {executor: inline}
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the search was run."""
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "spec.yaml").write_text(SPEC)
    assert main.run(["search", str(folder / "spec.yaml"), "--quiet", "--runs-dir", str(folder / "runs")]) == 0
    return folder


def told(capsys: pytest.CaptureFixture[str], folder: Path, *command: str) -> Any:
    capsys.readouterr()
    assert main.run([*command, "--json", "--runs-dir", str(folder / "runs")]) == 0
    return json.loads(capsys.readouterr().out)


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs/recipe/journal.jsonl").read_text().splitlines()]


def test_repeats_differ_and_the_score_is_their_mean(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys, searched, "trials")
    assert len(rows) == 4
    for row in rows:
        first, second = row["scores"]
        assert first != second, "another seed, another training"
        assert row["score"] == pytest.approx((first + second) / 2)
        assert row["spread"] == pytest.approx(statistics.stdev(row["scores"]))


def test_weights_are_stabilised_once_for_each_architecture_and_replica(searched: Path) -> None:
    made = [(e["structure"], e["replica"]) for e in events(searched) if e["event"] == "stabilized"]
    assert len(made) == len(set(made))
    assert len({structure for structure, _ in made}) == 2
    assert {replica for _, replica in made} == {0, 1, 2, 3}, "repeats and finalists start from weights of their own"
    losses = [tuple(e["losses"]) for e in events(searched) if e["event"] == "stabilized"]
    assert len(set(losses)) == len(losses)


def test_finalists_have_other_scores_than_the_search_had(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = told(capsys, searched, "best")
    finalists = [row["finalist"] for row in best if "finalist" in row]
    assert [("finalist" in row) for row in best] == [True, True, False, False]
    assert finalists[0]["mean"] <= finalists[1]["mean"]
    for row, finalist in zip(best, finalists, strict=False):
        assert not set(row["scores"]) & set(finalist["scores"])
        low, high = finalist["interval"]
        assert low < finalist["mean"] < high


def test_train_best_takes_the_winner_and_tells_where_its_rate_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC + "schedule: {name: ramp, epoch: auto}\n")
    runs = ["--runs-dir", str(tmp_path / "runs")]
    more = [
        "--set",
        "training.optimizer.learning_rate=0.1",
        "--set",
        "search_space={units: {type: choice, values: [4]}}",
    ]
    assert main.run(["search", str(tmp_path / "spec.yaml"), "--quiet", *runs, *more]) == 0
    result = told(capsys, tmp_path, "train-best")
    (winner,) = told(capsys, tmp_path, "best")
    assert result["search_score"] == winner["score"]
    for side in (result, result["baseline"]):
        assert side["ramp"]["epoch"] <= side["ramp"]["stopped_at"]
    written = json.loads((tmp_path / "runs/recipe/best/result.json").read_text())
    assert written["ramp"] == result["ramp"]
    assert main.run(["train-best", *runs]) == 0
    out = capsys.readouterr().out
    assert "rate dropped at epoch" in out
    assert f"drops the rate at epoch {result['ramp']['epoch']}" in out
