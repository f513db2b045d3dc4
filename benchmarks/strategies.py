"""The strategies on closed-form functions: how far from the optimum they end, and what a suggestion costs.

    python -m benchmarks.strategies [--seeds 20] [--part single|tpe|parallel|processes|multi|cost] [--write]

Told are medians over the seeds. `--write` puts the tables into benchmarks/README.md and the curves into strategies.png
beside it; a part that was not run keeps its old table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "strategies"))  # the driver that the tests use

from simulate import make_experiment, simulate, space_of, strategy_of  # noqa: E402  # found by the line above

from benchmarks.functions import FIDELITIES, MAX_EPOCHS, PROBLEMS, Fidelities, Problem  # noqa: E402
from hptune.base.seeds import derive  # noqa: E402
from hptune.base.trial import Segment, SegmentResult, Trial, Values  # noqa: E402
from hptune.run import events  # noqa: E402
from hptune.run.history import History  # noqa: E402
from hptune.strategies.strategy import Done, Strategy  # noqa: E402

Curve: TypeAlias = list[float]
"""The regret of what is best by then, after each trial, or after each epoch."""

TRIALS, EPOCHS = 100, 3000


# --- one fidelity: regret over trials -------------------------------------------------------------------------------


def searched(options: dict[str, Any], problem: Problem, seed: int, trials: int, parallel: int = 1) -> Curve:
    """parallel: how many trials are under way as each point is chosen, that one included."""
    experiment = make_experiment(
        search_space=problem.space, strategy=options, budget={"trials": trials}, training={"epochs": 1}, seed=seed
    )
    run = simulate(experiment, lambda values, _: problem.seen(values), workers=parallel, order=seed)
    return best_so_far(problem, (trial.values for trial in run.history.trials))


def optuna_itself(kind: str, problem: Problem, seed: int, trials: int) -> Curve:
    """Optuna used as its users do: one sampler that lives as long as the study."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers: dict[str, Callable[[], Any]] = {
        "TPE": lambda: optuna.samplers.TPESampler(seed=seed),
        "CMA-ES": lambda: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
        "QMC": lambda: optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False),
    }
    seen: list[Values] = []

    def objective(trial: optuna.Trial) -> float:
        values = space_of(make_experiment(search_space=problem.space)).choose(
            lambda name, domain: suggested(trial, name, domain)
        )
        seen.append(values)
        return problem.seen(values)

    optuna.create_study(sampler=samplers[kind]()).optimize(objective, n_trials=trials)
    return best_so_far(problem, seen)


def suggested(trial: Any, name: str, domain: Any) -> Any:
    if domain.type == "choice":
        return trial.suggest_categorical(name, list(domain.values()))
    if domain.type == "int":
        return trial.suggest_int(name, domain.min, domain.max, step=domain.step or 1, log=domain.log)
    return trial.suggest_float(name, domain.min, domain.max, step=domain.step, log=domain.log)


def best_so_far(problem: Problem, points: Iterable[Values]) -> Curve:
    """The true regret of the point that looked best by then."""
    curve: Curve = []
    best, regret = float("inf"), float("inf")
    for values in points:
        if (seen := problem.seen(values)) < best:
            best, regret = seen, problem.regret(values)
        curve.append(regret)
    return curve


SINGLE: dict[str, Callable[[Problem, int], Curve]] = {
    "random": lambda problem, seed: searched({"name": "random"}, problem, seed, TRIALS),
    "random, twice the trials": lambda problem, seed: searched({"name": "random"}, problem, seed, 2 * TRIALS),
    "qmc": lambda problem, seed: searched({"name": "qmc"}, problem, seed, TRIALS),
    "tpe": lambda problem, seed: searched({"name": "tpe"}, problem, seed, TRIALS),
    "cmaes": lambda problem, seed: searched({"name": "cmaes"}, problem, seed, TRIALS),
    "narrowing": lambda problem, seed: searched({"name": "narrowing"}, problem, seed, TRIALS),
    "Optuna itself: TPE": lambda problem, seed: optuna_itself("TPE", problem, seed, TRIALS),
    "Optuna itself: CMA-ES": lambda problem, seed: optuna_itself("CMA-ES", problem, seed, TRIALS),
    "Optuna itself: QMC": lambda problem, seed: optuna_itself("QMC", problem, seed, TRIALS),
}

PROCESSES: dict[str, Callable[[Problem, int], Curve]] = {
    "random, twice the trials": lambda problem, seed: searched({"name": "random"}, problem, seed, 100),
    "tpe": lambda problem, seed: searched({"name": "tpe"}, problem, seed, 50),
    "bayesian": lambda problem, seed: searched({"name": "bayesian"}, problem, seed, 50),
    "bayes_opt": lambda problem, seed: searched({"name": "bayes_opt"}, problem, seed, 50),
}
"""Gaussian processes, whose questions take most of a second: half the trials, a quarter of the seeds."""


# --- many fidelities: regret over epochs ----------------------------------------------------------------------------


@dataclass
class Spending:
    """A strategy until `epochs` epochs are trained, which the loop of a search sees to."""

    made: Strategy
    epochs: int

    def next(self, history: History) -> Any:
        return Done("spent") if history.epochs_trained >= self.epochs else self.made.next(history)

    def may_continue(self, trial: Trial, history: History) -> bool:
        return self.made.may_continue(trial, history)


def halved(options: dict[str, Any], problem: Fidelities, seed: int) -> Curve:
    experiment = make_experiment(
        search_space=problem.space,
        strategy=options,
        budget={"epochs": EPOCHS},
        training={"epochs": MAX_EPOCHS},
        seed=seed,
    )
    run = simulate(experiment, problem.seen, strategy=Spending(strategy_of(experiment), EPOCHS), most=10**6)
    return winners(problem, ((event["epochs"], run.history.trials[event["trial"]].values) for event in done(run)))


def done(run: Any) -> list[Any]:
    return [event for event in run.events if event["event"] == "segment_finished"]


def then_in_full(first: int, problem: Fidelities, seed: int, top: int = 3) -> Curve:
    """Random points for `first` epochs each, and the `top` best in full: the baseline that wins or collapses."""
    rng = Random(derive(seed, "then in full"))
    count = (EPOCHS - top * (MAX_EPOCHS - first)) // first
    points = [{name: rng.random() for name in problem.space} for _ in range(count)]
    best = sorted(points, key=lambda values: problem.seen(values, first))[:top]
    return winners(problem, [(first, point) for point in points] + [(MAX_EPOCHS, point) for point in best])


def winners(problem: Fidelities, steps: Iterable[tuple[int, Values]]) -> Curve:
    """After each epoch that is spent, the regret of the point that has the best score so far, in full.

    steps: (trained up to this epoch, point), in the order in which they ended.
    """
    curve: Curve = []
    spent: dict[tuple[Any, ...], int] = {}
    best, regret = float("inf"), float("inf")
    for epochs, values in steps:
        key = tuple(values.values())
        curve += [regret] * (epochs - spent.get(key, 0))
        spent[key] = epochs
        if (seen := problem.seen(values, epochs)) < best:
            best, regret = seen, problem.regret(values)
        curve[-1] = regret
    return curve[:EPOCHS]


MULTI: dict[str, Callable[[Fidelities, int], Curve]] = {
    "random": lambda problem, seed: halved({"name": "random"}, problem, seed),
    "hyperband": lambda problem, seed: halved({"name": "hyperband"}, problem, seed),
    "hyperband, tpe": lambda problem, seed: halved({"name": "hyperband", "sampler": "tpe"}, problem, seed),
    "asha": lambda problem, seed: halved({"name": "asha"}, problem, seed),
    "asha, tpe": lambda problem, seed: halved({"name": "asha", "sampler": "tpe"}, problem, seed),
    "one epoch, then the top 3": lambda problem, seed: then_in_full(1, problem, seed),
    "10 epochs, then the top 3": lambda problem, seed: then_in_full(10, problem, seed),
}

YARDSTICKS = {name: PROBLEMS[name] for name in ("Branin", "Hartmann6", "Levy4", "Ackley5")}

TPES: dict[str, Callable[[Problem, int], Curve]] = {
    "tpe": SINGLE["tpe"],
    "tpe, candidates: 24": lambda problem, seed: searched({"name": "tpe", "candidates": 24}, problem, seed, TRIALS),
    "Optuna itself: TPE": SINGLE["Optuna itself: TPE"],
}
"""Medians of 20 seeds are off by a third by luck; these are of five times as many."""

PARALLEL: dict[str, Callable[[Problem, int], Curve]] = {
    f"{name}, parallel: {parallel}": lambda problem, seed, name=name, parallel=parallel: searched(  # type: ignore[misc]
        {"name": name}, problem, seed, TRIALS, parallel
    )
    for name in ("tpe", "cmaes", "narrowing")
    for parallel in (1, 4, 8)
}
"""What it costs that a point is chosen while others are under way."""

PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "single": (SINGLE, dict(PROBLEMS)),
    "tpe": (TPES, dict(YARDSTICKS)),
    "parallel": (PARALLEL, dict(YARDSTICKS)),
    "processes": (PROCESSES, dict(YARDSTICKS)),
    "multi": (MULTI, dict(FIDELITIES)),
}

SEEDS = {"tpe": 5.0, "processes": 0.25}
"""How many seeds a part has, against the others."""


def run_one(task: tuple[str, str, str, int]) -> tuple[tuple[str, str, str, int], Curve]:
    part, who, problem, seed = task
    contenders, problems = PARTS[part]
    return task, contenders[who](problems[problem], seed)


def measure(part: str, seeds: int, workers: int) -> dict[tuple[str, str], list[Curve]]:
    """(contender, problem) -> a curve for each seed."""
    contenders, problems = PARTS[part]
    tasks = [(part, who, problem, seed) for problem in problems for who in contenders for seed in range(seeds)]
    curves: dict[tuple[str, str], list[Curve]] = {}
    with ProcessPoolExecutor(workers) as pool:
        for (_, who, problem, _seed), curve in pool.map(run_one, tasks):
            curves.setdefault((who, problem), []).append(curve)
            if len(curves[who, problem]) == seeds:
                final = statistics.median(curve[-1] for curve in curves[who, problem])
                sys.stderr.write(f"{part}: {problem}: {who}: {final:.3g}\n")
    return curves


# --- what a suggestion costs ----------------------------------------------------------------------------------------

COSTS: Sequence[tuple[str, dict[str, Any], int]] = (
    ("random", {"name": "random"}, 10_000),
    ("grid", {"name": "grid"}, 10_000),
    ("qmc", {"name": "qmc"}, 10_000),
    ("asha", {"name": "asha", "max_epochs": 9}, 10_000),
    ("narrowing", {"name": "narrowing"}, 10_000),
    ("tpe", {"name": "tpe"}, 2_000),
    ("tpe", {"name": "tpe"}, 10_000),
    ("asha, tpe", {"name": "asha", "max_epochs": 9, "sampler": "tpe"}, 10_000),
    ("cmaes", {"name": "cmaes"}, 2_000),
    ("nsga2", {"name": "nsga2"}, 2_000),
)


def cost_ms(options: dict[str, Any], trials: int) -> tuple[float, float]:
    """Milliseconds of a suggestion after `trials` finished trials in six dimensions: median of 50; and the first."""
    kind = (
        {"type": "int", "min": 0, "max": 9} if options["name"] == "grid" else {"type": "float", "min": 0.0, "max": 1.0}
    )
    experiment = make_experiment(
        search_space=dict.fromkeys("abcdef", kind), strategy=options, budget={"trials": 10**6}, training={"epochs": 9}
    )
    history, strategy = History(experiment.objectives), strategy_of(experiment)
    points, space, rng = strategy_of(experiment), space_of(experiment), Random(0)
    times = []
    for number in range(trials + 50):
        if number >= trials:
            begun = time.perf_counter()
            strategy.next(history)
            times.append((time.perf_counter() - begun) * 1000)
        known = options["name"] == "grid"  # which goes by what it tried last
        values = points.next(history).values if known else space.choose(lambda _, d: d.from_unit(rng.random()))  # type: ignore[union-attr]
        segment = Segment(number, values, 0, 1 if options["name"] == "asha" and number % 3 else 9)
        history.apply(events.started(segment))
        result = SegmentResult(segment, segment.to_epoch, {"score": (rng.random(),) * segment.to_epoch}, 0.1)
        history.apply(events.finished(result, complete=segment.to_epoch == 9))
    return statistics.median(times[1:]), times[0]


# --- telling --------------------------------------------------------------------------------------------------------


def table(head: str, rows: Iterable[str], columns: Iterable[str], cell: Callable[[str, str], str]) -> str:
    columns = list(columns)
    lines = [f"| {head} | {' | '.join(columns)} |", "|-|" + "-:|" * len(columns)]
    return "\n".join(lines + [f"| {row} | {' | '.join(cell(row, column) for column in columns)} |" for row in rows])


def told(part: str, curves: dict[tuple[str, str], list[Curve]]) -> str:
    contenders, problems = PARTS[part]
    return table(
        "",
        contenders,
        problems,
        lambda who, problem: f"{statistics.median(curve[-1] for curve in curves[who, problem]):.3g}",
    )


def costs() -> str:
    found = [(name, trials, *cost_ms(options, trials)) for name, options, trials in COSTS]
    rows = [f"| {name} | {trials:,} | {ms:.2f} | {first / 1000:.2f} |" for name, trials, ms, first in found]
    return "\n".join(["| | finished trials | ms a suggestion | s after a resume |", "|-|-:|-:|-:|", *rows])


def draw(curves: dict[str, dict[tuple[str, str], list[Curve]]], path: Path) -> None:
    """The medians over trials, and over epochs, a panel a problem."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = [(part, problem) for part in ("single", "multi") if part in curves for problem in PARTS[part][1]]
    figure, axes = plt.subplots(-(-len(panels) // 4), 4, figsize=(18, 3.6 * -(-len(panels) // 4)), squeeze=False)
    for axis, (part, problem) in zip(axes.flat, panels, strict=False):
        for who in PARTS[part][0]:
            known = curves[part][who, problem]
            steps = range(min(map(len, known)))
            medians = [statistics.median(curve[i] for curve in known) for i in steps]
            axis.plot([i + 1 for i in steps], medians, label=who, linewidth=1.2)
        axis.set(title=problem, xlabel="trials" if part == "single" else "epochs", ylabel="regret", yscale="log")
        axis.legend(fontsize=6)
    for axis in list(axes.flat)[len(panels) :]:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def put(readme: Path, part: str, text: str) -> None:
    """Replace what stands between the part's marks."""
    begin, end = f"<!-- strategies {part}: begin -->", f"<!-- strategies {part}: end -->"
    before, rest = readme.read_text(encoding="utf-8").split(begin)
    readme.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--part", choices=[*PARTS, "cost"], action="append")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    curves: dict[str, dict[tuple[str, str], list[Curve]]] = {}
    for part in given.part or [*PARTS, "cost"]:
        if part == "cost":
            text = costs()
        else:
            curves[part] = measure(part, max(round(given.seeds * SEEDS.get(part, 1)), 1), given.workers)
            text = told(part, curves[part])
        sys.stdout.write(f"\n{part}\n\n{text}\n")
        if given.write:
            put(HERE / "README.md", part, text)
    if given.write and {"single", "multi"} <= curves.keys():
        draw(curves, HERE / "strategies.png")


if __name__ == "__main__":
    main()
