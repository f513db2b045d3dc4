"""hptune against its peers: the same work, each tool in a process of its own for the same wall time, turn by turn.

A round is one seed of one workload: every tool runs in it once, the first of them another one each round, so that what
the machine does beside meets all of them alike; told are the medians over the rounds. The seed decides the split too,
which is the same for all tools of a round. Beside them runs a reference, hptune's random search, which only helps to
know the best score that there is. hptune is called as a user does, by its command with a YAML file; its journal tells
when each score was known. Time is counted from the start of the process.

    python -m benchmarks.peers [--quick] [--workload NAME] [--tool NAME] [--seeds N] [--time-budget S] [--output DIR]

Written are peers.json (the figures), peers.png and the peers' part of README.md. A run of some workloads replaces
theirs and leaves the others. `--quick`: two short trials a tool, to see that all of it works; nothing is written
unless --output says where.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.figures import Report, Run, summarised
from benchmarks.measure import Measured, machine, measured
from benchmarks.peer_searches import Job
from benchmarks.peers_report import table, write_report
from benchmarks.workloads import IMAGES, WORKLOADS, Workload, structure_of, write_images

HERE = Path(__file__).parent

HPTUNE: dict[str, dict[str, Any]] = {
    "hptune": {"name": "tpe"},
    "hptune-hyperband": {"name": "hyperband"},
    "reference": {"name": "random"},
}
"""Our tools and their strategies; the first is the default of the YAML."""

PEERS = {"kerastuner": "keras_tuner", "optuna-tpe": "optuna", "optuna-hyperband": "optuna", "ray-asha": "ray"}
"""The peers, and what must be installed."""

UNBOUNDED = 100_000
"""Trials; time ends the search."""

QUICK_TRIALS = 2
QUICK_LIMIT_S = 300.0

ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "NO_COLOR": "1"}
"""The CPU alone, for all of them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run. trials, limit_s: of one search, whichever comes first. epochs: None: the workload's."""

    workloads: Sequence[Workload]
    tools: Sequence[str]
    seeds: int | None
    limit_s: float | None
    trials: int = UNBOUNDED
    epochs: int | None = None

    def rounds(self, workload: Workload) -> int:
        return self.seeds if self.seeds is not None else workload.seeds

    def limit(self, workload: Workload) -> float:
        return self.limit_s if self.limit_s is not None else workload.budget_s


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    found = [tool for tool in [*HPTUNE, *PEERS] if tool not in PEERS or find_spec(PEERS[tool]) is not None]
    skipped = [tool for tool in PEERS if tool not in found]
    for tool in skipped:
        _say(f"{tool}: skipped, {PEERS[tool]} is not installed")
    plan = Plan(
        [one for one in WORKLOADS if given.workload in (None, one.name)],
        [tool for tool in found if not given.tool or tool in given.tool],
        given.seeds,
        given.time_budget,
    )
    if given.quick:
        seeds, limit_s = plan.seeds or 1, plan.limit_s or QUICK_LIMIT_S
        plan = replace(plan, seeds=seeds, limit_s=limit_s, trials=QUICK_TRIALS, epochs=2)
    output = Path(given.output) if given.output else None if given.quick else HERE
    _say(f"at most {_seconds(plan) / 60:.0f} minutes")
    for workload in plan.workloads:
        load = os.getloadavg()[0]
        arithmetic = yardstick(workload, plan)
        summary = summarised(compared(workload, plan), limit_s=plan.limit(workload), arithmetic=arithmetic)
        summary |= {"title": workload.title, "epochs": plan.epochs or workload.epochs}
        summary |= {"machine": machine(), "load": load, "skipped": skipped}
        sys.stdout.write(f"\n{workload.name}: {workload.title}\n{table(summary)}\n")
        if output is not None:
            write_report(output, workload.name, summary)


def compared(workload: Workload, plan: Plan) -> list[Run]:
    """Every tool's runs, round by round."""
    runs = []
    for seed in range(plan.rounds(workload)):
        first = seed % len(plan.tools)
        for tool in [*plan.tools[first:], *plan.tools[:first]]:
            with _place(workload, seed, plan, HPTUNE.get(tool, HPTUNE["hptune"])) as (folder, job):
                search = _run_hptune if tool in HPTUNE else _run_peer
                runs.append(run := search(tool, folder, job, plan.limit(workload)))
            _say(
                f"{workload.name} {seed} {tool}: {len(run.reports)} reports, best {run.best:.4f}, {run.peak_mb:.0f} MB"
            )
    return runs


def yardstick(workload: Workload, plan: Plan) -> dict[str, float]:
    """By structure, the seconds that one epoch takes where nothing but the graph runs."""
    with _place(workload, 0, plan, HPTUNE["hptune"]) as (folder, job):
        measured(_child("arithmetic", folder), cwd=folder, environment=_ours(), limit_s=math.inf)
        return {line["structure"]: line["epoch_s"] for line in _lines(Path(job.told)) if "epoch_s" in line}


@contextlib.contextmanager
def _place(workload: Workload, seed: int, plan: Plan, strategy: Mapping[str, Any]) -> Iterator[tuple[Path, Job]]:
    """A folder with all that any tool needs of a round, thrown away after it."""
    import yaml

    epochs = plan.epochs or workload.epochs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = folder / "spec.yaml"
        experiment = workload.experiment(seed=seed, strategy=strategy, trials=plan.trials, epochs=epochs)
        spec.write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
        if workload.data.get("npz") == IMAGES:
            write_images(folder)
        parts = _write_parts(spec)
        job = Job(workload.name, seed, plan.trials, epochs, str(parts), str(folder / "told.jsonl"), str(spec))
        job.write(folder / "job.json")
        yield folder, job


def _write_parts(spec: Path) -> Path:
    """The arrays as hptune splits and scales them, for those who read no YAML."""
    import numpy as np

    from hptune.experiment.reading.load import load
    from hptune.training.data import load_data

    experiment = load(spec, []).experiment
    assert experiment.data is not None, "every workload has data"
    data = load_data(experiment.data, folder=spec.parent, seed=experiment.seed)
    path = spec.parent / "parts.npz"
    train, validation = data.train, data.validation
    np.savez(path, x_train=train.x, y_train=train.y, x_val=validation.x, y_val=validation.y)
    return path


# --- one run --------------------------------------------------------------------------------------------------------


def _run_hptune(tool: str, folder: Path, job: Job, limit_s: float) -> Run:
    command = [sys.executable, "-m", "hptune", "search", "spec.yaml", "--quiet"]
    took = measured(command, cwd=folder, environment=_ours(), limit_s=limit_s)
    reports, begun, values = [], math.inf, {}
    for event in _lines(folder / "runs" / job.workload / "journal.jsonl"):
        at = event["time"] - took.started
        if event["event"] == "segment_started":
            begun = min(at, begun)
            values[event["trial"]] = event["values"]
        elif event["event"] == "segment_finished":
            curve, structure = event["curves"]["val_accuracy"], structure_of(values[event["trial"]])
            reports.append(Report(at, event["trial"], len(curve), max(curve), structure))
        elif event["event"] == "segment_failed":
            raise RuntimeError(f"{tool}: trial {event['trial']} failed: {event['reason']}")
    return _run(tool, job, took, begun, reports)


def _run_peer(tool: str, folder: Path, job: Job, limit_s: float) -> Run:
    took = measured(_child(tool, folder), cwd=folder, environment=_ours(), limit_s=limit_s)
    reports, begun = [], math.inf
    for line in _lines(Path(job.told)):
        at = line["time"] - took.started
        if "begun" in line:
            begun = at
        else:
            reports.append(Report(at, line["trial"], line["epochs"], line["score"], line["structure"]))
    return _run(tool, job, took, begun, reports)


def _run(tool: str, job: Job, took: Measured, begun: float, reports: list[Report]) -> Run:
    if not reports and not took.cut:
        raise RuntimeError(f"{tool} ended by itself and told of no trial: look at its search in peer_searches.py.")
    return Run(tool, job.seed, begun, tuple(reports), took.peak_mb)


def _child(tool: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peer_searches", tool, str(folder / "job.json")]


def _ours() -> dict[str, str]:
    """The environment of a run, in which this package is found."""
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**ENVIRONMENT, "PYTHONPATH": path}


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that may not be there yet, and whose writer may have been killed."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _seconds(plan: Plan) -> float:
    """What all searches take at most; the yardstick comes on top."""
    return sum(plan.rounds(one) * plan.limit(one) * len(plan.tools) for one in plan.workloads)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two short trials a tool")
    parser.add_argument("--workload", choices=[one.name for one in WORKLOADS], help="this one alone")
    parser.add_argument("--tool", action="append", choices=[*HPTUNE, *PEERS], help="these alone; may be repeated")
    parser.add_argument("--seeds", type=int, help="rounds; the workload's own number unless given")
    parser.add_argument("--time-budget", type=float, metavar="S", help="seconds a tool; the workload's unless given")
    parser.add_argument("--output", metavar="DIR", help="where to write; benchmarks/ unless given")
    return parser


if __name__ == "__main__":
    main()
