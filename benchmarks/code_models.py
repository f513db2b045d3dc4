"""What proof that a program may be shared costs, and how often it is found, for people's own code.

The points of every builder of `tests/equal/people.py` are trained twice over, two epochs each. Told are the medians
and the most of what each part of the proof took in a trial, beside whole trials in the same run; and which builders
share no program between values that differ in numbers alone.

    python -m benchmarks.code_models [--builders NAME …]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.worker import Worker

PARTS = {
    "the description of the code and of all that its objects hold": ("blueprint", "of_own_parts", "described"),
    "whether Keras's own `fit` must train it": ("hypermodel", "why_by_fit"),
    "what the builder's calls share: looked for and put back": ("untouched", "Untouched.before", "Untouched.after"),
    "the look before a point: prediction, loss and penalty of 16 samples in both models": ("programs", "apart"),
}
"""What is told -> the module of hptune.training and its functions that do it."""


KNOWN = "a trial of a known structure"
NEW = "a trial with a program of its own, which is traced and compiled"


class Clock:
    """Milliseconds by part, one entry for each trial; the outermost call counts."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._inside = 0

    def watch(self, part: str, owner: Any, name: str) -> None:
        plain: Callable[..., Any] = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            began, self._inside = time.perf_counter(), self._inside + 1
            try:
                return plain(*given, **named)
            finally:
                self._inside -= 1
                if not self._inside:
                    self.spent[part] += 1000 * (time.perf_counter() - began)

        setattr(owner, name, timed)


def watched() -> Clock:
    import importlib

    clock = Clock()
    for part, (module, *names) in PARTS.items():
        owner = importlib.import_module(f"hptune.training.{module}")
        for name in names:
            *holder, last = name.split(".")
            clock.watch(part, getattr(owner, holder[0]) if holder else owner, last)
    return clock


def one_builder(
    folder: Path, name: str, points: list[dict[str, Any]], clock: Clock
) -> tuple[str, list[dict[str, Any]]]:
    """Why the builder's values share no programs ("": they do), and what each trial has cost."""
    loaded = load(folder / f"{name}.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / name))
    notes = worker.run(Segment(0, {}, to_epoch=0, purpose="probe")).facts.get("notes", ())
    why = next((note for note in notes if "no reuse" in note), "")
    trainer: Any = worker.trainer()
    made, compile_ = [0], trainer.loaded.programs.compile

    def counted(*given: Any, **named: Any) -> Any:
        made[0] += 1
        return compile_(*given, **named)

    trainer.loaded.programs.compile = counted
    found = []
    for number, values in enumerate([*points, *points]):
        clock.spent.clear()
        began, before = time.perf_counter(), made[0]
        worker.run(Segment(number, values, to_epoch=2))
        whole = NEW if made[0] > before else KNOWN
        found.append({**clock.spent, whole: 1000 * (time.perf_counter() - began)})
    return why, found


def main() -> None:
    from tests.equal import people

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--builders", nargs="*", default=list(people.POINTS))
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    people.write(folder)
    sys.path.insert(0, str(folder))
    clock, alone, costs = watched(), {}, defaultdict[str, list[float]](list)
    for name in asked.builders:
        why, trials = one_builder(folder, name, [dict(point) for point in people.POINTS[name]], clock)
        if why:
            alone[name] = why
        for spent in trials:
            for part, cost in spent.items():
                costs[part].append(cost)
        print(f"{name}: {why or 'shared'}", flush=True)
    for part in (*PARTS, KNOWN, NEW):
        if values := costs[part]:
            print(f"| {part} | {len(values)} | {statistics.median(values):.1f} ms | {max(values):.0f} ms |")
    print(
        f"{len(asked.builders) - len(alone)} of {len(asked.builders)} builders share; these do not: {', '.join(alone)}"
    )


if __name__ == "__main__":
    main()
