"""What stabilised weights are worth: against plain ones on digits, over several seeds, everything else the same.

For each seed one trial with the same values is trained from plain, from lottery and from warmed-up weights; the seed
decides the split, the weights and the order of the samples, so that the differences are paired. Told are the mean of
the validation accuracy and loss after the last epoch, and their mean difference to plain weights with its 95 % interval
(Student's t). A negative difference of the loss is better. Stabilising trains too, which a comparison at the same
number of epochs hides: `longer` is plain weights, given the epochs that the warm-up takes on top.

    python benchmarks/recipe.py [--seeds 10]
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.worker import Worker

SPEC = """\
version: 1
seed: {seed}
data: {{source: digits}}
model:
  layers: {layers}
search_space: {{learning_rate: {{type: float, min: 1e-6, max: 1}}}}
training:
  optimizer: {{name: {optimizer}, learning_rate: $learning_rate}}
  epochs: {epochs}
initialization: {{kernel: he_normal, stabilize: {stabilize}}}
"""

DENSE = "[Flatten, Dense: {units: 128, activation: relu}, Dense: {units: 10, activation: softmax}]"
DEEP = (
    "[Flatten, repeat: {times: 8, layers: [Dense: {units: 64, activation: relu}]}, "
    "Dense: {units: 10, activation: softmax}]"
)
CNN = (
    "[Conv2D: {filters: 16, kernel_size: 3, activation: relu}, "
    "Conv2D: {filters: 32, kernel_size: 3, activation: relu}, Flatten, Dense: {units: 10, activation: softmax}]"
)

CASES = {
    "dense, adam 1e-3, 5 epochs": (DENSE, "adam", 1e-3, 5),
    "dense, adam 1e-2, 5 epochs": (DENSE, "adam", 1e-2, 5),
    "8 dense layers, adam 1e-2, 5 epochs": (DEEP, "adam", 1e-2, 5),
    "cnn, adam 1e-3, 5 epochs": (CNN, "adam", 1e-3, 5),
    "cnn, sgd 1e-1, 5 epochs": (CNN, "sgd", 1e-1, 5),
}

WEIGHTS = {
    "plain": ("null", 0),
    "lottery": ("{method: lottery}", 0),
    "warmup": ("{method: warmup, epochs: 4}", 0),
    "longer": ("null", 4),
}
"""What `stabilize` is, and how many epochs of training are added."""

T_95 = {5: 2.571, 9: 2.262, 19: 2.093, 29: 2.045}
"""Student's t at 97.5 %, by degrees of freedom."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, choices=[n + 1 for n in T_95])
    seeds = parser.parse_args().seeds
    for case, (layers, optimizer, rate, epochs) in CASES.items():
        sys.stdout.write(f"{case}\n")
        plain: list[dict[str, float]] = []
        for weights, (stabilize, more) in WEIGHTS.items():
            given = {"layers": layers, "optimizer": optimizer, "epochs": epochs + more, "stabilize": stabilize}
            runs = [trained(SPEC.format(seed=seed, **given), rate, epochs + more) for seed in range(seeds)]
            plain = plain or runs
            told = [compared(name, runs, plain) for name in ("val_accuracy", "val_loss")]
            seconds = statistics.median(run["seconds"] for run in runs)
            sys.stdout.write(f"  {weights:8} {'; '.join(told)}; {seconds:.1f} s\n")
            sys.stdout.flush()


def trained(text: str, rate: float, epochs: int) -> dict[str, float]:
    """The last epoch's metrics of one trial, and the seconds that it took, its stabilisation included."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text)
        experiment = load(path, []).experiment
        worker = Worker(experiment, path.parent, RunPaths(path.parent / "run"))
        started = time.perf_counter()
        result = worker.run(Segment(0, {"learning_rate": rate}, to_epoch=epochs))
        last = {name: values[-1] for name, values in result.curves.items()}
        return {**last, "seconds": time.perf_counter() - started}


def compared(metric: str, runs: Sequence[dict[str, Any]], plain: Sequence[dict[str, Any]]) -> str:
    mean = statistics.fmean(run[metric] for run in runs)
    if runs is plain:
        return f"{metric} {mean:.4f}"
    differences = [run[metric] - other[metric] for run, other in zip(runs, plain, strict=True)]
    half = T_95[len(runs) - 1] * statistics.stdev(differences) / math.sqrt(len(runs))
    return f"{metric} {mean:.4f}, difference {statistics.fmean(differences):+.4f} ± {half:.4f}"


if __name__ == "__main__":
    main()
