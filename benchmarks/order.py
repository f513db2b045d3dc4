"""What the virtual order gives and costs: `python -m benchmarks.order` prints both tables of docs/reliability.md.

The first: each strategy, searched three times with 1, 2 and 4 worker processes each, over a function whose trials take
a random time; the trials must be the same in all nine. The second: searches whose trials' times vary by a factor, with
a result told at its turn and as soon as it comes; the ratio of the times from the first trial's start to the last one's
end, of two seeds. Trials sleep, so that the machine's cores don't matter.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CODE = """\
import math, os, random, time


def data():
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)).astype("float32")
    y = (x[:, :1] * x[:, 1:2] + 0.1 * rng.normal(size=(120, 1))).astype("float32")
    return (x[:80], y[:80]), (x[80:], y[80:])


def build(hp):
    import keras

    time.sleep(random.Random(os.urandom(8)).uniform(0, 0.3))
    layers = [keras.layers.Dense(8, "relu"), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((4,)), *layers])


def scored(x, n, c="a", epoch=1):
    time.sleep(random.Random(os.urandom(8)).uniform(0, 0.03))
    return (x - 0.3) ** 2 + 0.01 * n + {"a": 0.1, "b": 0.0}[c] + 1 / epoch


def long(x, factor=%r, mean=0.3):
    share = random.Random(repr(x)).random()
    time.sleep(mean * math.log(factor) / (factor - 1) * factor**share)
    return (x - 0.3) ** 2
"""

SPACE = "{x: {type: float, min: 0.0, max: 1.0}, n: {type: int, min: 1, max: 9}, c: {type: choice, values: [a, b]}}"
STEPPED = "{x: {type: float, min: 0.0, max: 1.0, step: 0.25}, n: {type: int, min: 1, max: 3}}"
STRATEGIES: dict[str, dict[str, str]] = {
    **{name: {} for name in ("tpe", "random", "bayesian", "qmc", "narrowing")},
    "grid": {"search_space": STEPPED},
    "cmaes": {"search_space": "{x: {type: float, min: 0.0, max: 1.0}, n: {type: int, min: 1, max: 9}}"},
    "nsga2": {"strategy": "{name: nsga2, population: 6}"},
    "bayes_opt": {"search_space": "{x: {type: float, min: 0.0, max: 1.0}, n: {type: int, min: 1, max: 9}}"},
    "hyperband": {"strategy": "{name: hyperband, max_epochs: 9}", "training": "{epochs: 9}"},
    "guided": {
        "data": '{python: "timed:data", scale: none}',
        "model": '{python: "timed:build"}',
        "search_space": "{rate: {type: float, min: 0.001, max: 1.0, log: true}, size: {type: choice, values: [8, 40]}}",
        "training": "{optimizer: {name: sgd, learning_rate: $rate}, loss: mse, batch_size: $size, epochs: 2}",
        "objective": "{metric: val_loss, goal: minimize}",
    },
    "asha": {"strategy": "{name: asha, max_epochs: 9, sampler: {name: tpe}}", "training": "{epochs: 9}"},
}
"""What each strategy needs beside the usual: 24 trials over three parameters."""

WORKERS, RUNS = (1, 2, 4), 3
FACTORS, PARALLEL, SEEDS = (3, 30), (None, 4, 8), (0, 1)


def searched(folder: Path, sections: dict[str, Any], code: str) -> list[dict[str, Any]]:
    """The journal of a search in a folder of its own."""
    (folder / "timed.py").write_text(code)
    lines = [f"{key}: {value}" for key, value in {"version": 1, "name": "o", **sections}.items()]
    (folder / "a.yaml").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "hptune", "search", "a.yaml", "--quiet"]
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if told.returncode:
        raise SystemExit(told.stderr)
    return [json.loads(line) for line in (folder / "runs" / "o" / "journal.jsonl").read_text().splitlines()]


def trials_of(journal: list[dict[str, Any]]) -> list[Any]:
    """The steps in their order, and every curve by its trial."""
    steps = [(e["trial"], e["values"], e["to_epoch"]) for e in journal if e["event"] == "segment_started"]
    ends = [(e["trial"], e["epochs"], e["curves"]) for e in journal if e["event"] == "segment_finished"]
    return [steps, sorted(ends, key=lambda end: end[:2])]


def same(names: Sequence[str] = tuple(STRATEGIES)) -> Iterator[str]:
    """A line for each strategy."""
    yield "| strategy | trials | steps | 1, 2 and 4 workers, three runs each |"
    yield "|---|---:|---:|---|"
    for name in names:
        sections = {
            "model": '{function: "timed:scored"}',
            "search_space": SPACE,
            "objective": "{metric: score, goal: minimize}",
            "strategy": f"{{name: {name}}}",
            "budget": "{trials: 24}",
            **STRATEGIES[name],
        }
        found = []
        for workers in [workers for workers in WORKERS for _ in range(RUNS)]:
            with tempfile.TemporaryDirectory() as folder:
                told = searched(Path(folder), {**sections, "execution": f"{{workers: {workers}}}"}, CODE % 1)
                found.append(trials_of(told))
        others = sum(one != found[0] for one in found[1:])
        steps = found[0][0]
        verdict = "the same" if not others else f"{others} of {len(found)} are others"
        yield f"| `{name}` | {len({step[0] for step in steps})} | {len(steps)} | {verdict} |"


def lasted(factor: int, workers: int, seed: int, execution: str) -> float:
    """Seconds from the first trial's start to the last one's end, of sixty trials."""
    sections = {
        "seed": seed,
        "model": '{function: "timed:long"}',
        "search_space": "{x: {type: float, min: 0.0, max: 1.0}}",
        "objective": "{metric: score, goal: minimize}",
        "strategy": "{name: random}",
        "budget": "{trials: 60, patience: 1000}",  # so that the order counts
        "execution": f"{{workers: {workers}, {execution}}}",
    }
    with tempfile.TemporaryDirectory() as folder:
        journal = searched(Path(folder), sections, CODE % factor)
    ends = [event["time"] for event in journal if event["event"] == "segment_finished"]
    return float(max(ends) - min(event["time"] for event in journal if event["event"] == "segment_started"))


def waiting() -> Iterator[str]:
    """A line for each factor and number of workers."""
    yield "| trials' times vary by | workers | as many virtual ones | `parallel: 4` | `parallel: 8` |"
    yield "|---:|---:|---:|---:|---:|"
    for factor in FACTORS:
        for workers in (2, 4):
            free = [lasted(factor, workers, seed, "order: free") for seed in SEEDS]
            ratios = []
            for parallel in PARALLEL:
                ours = [lasted(factor, workers, seed, f"parallel: {parallel or workers}") for seed in SEEDS]
                ratios.append(statistics.mean(one / other for one, other in zip(ours, free, strict=True)))
            yield f"| {factor}× | {workers} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", choices=list(STRATEGIES), help="the line of one strategy alone")
    if (one := asked.parse_args().only) is not None:
        print("\n".join(same([one])))
        return
    for table in (same(), waiting()):
        for line in table:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
