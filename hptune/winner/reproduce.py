"""`hptune reproduce`: trains a trial of a run again, from nothing and elsewhere, and compares it with the journal."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from typing import Any, TypeAlias

from hptune.base.errors import spec_error
from hptune.base.trial import Curves, Segment, SegmentFailure, Trial
from hptune.executors.executor import Executor, run_one
from hptune.run import circumstances
from hptune.run.curves import length
from hptune.run.record import TRAINING, Head, Record
from hptune.run.resume import training_of
from hptune.search.probing import probe

Reproduction: TypeAlias = dict[str, Any]
"""`trial`; `alone`: whether each replica had a process of its own; `equal`: to the bit; `within`: the tolerance;
`differences`: by metric, the largest absolute difference, None where a curve is missing or of another length; `epochs`
compared, over all replicas; `environment`: what differs from the journal's head, {"data", "platform", "training" (the
revision of how hptune trains), a package's name, "floatx of keras.json", "the code in mine.py": [then, now]}; `error`:
[then, now] where either failed.
"""


def chosen_trial(trial: int | None, alone: int | None) -> int:
    """The trial that the command's two options name. Raises SpecError unless exactly one of them is given."""
    if trial is not None and alone is not None:
        raise spec_error("--trial and --alone can't stand together: each names the trial to train again. Drop one.")
    number = trial if trial is not None else alone
    if number is None:
        raise spec_error("--trial N or --alone N must say which trial to train again. `hptune trials` lists them.")
    return number


def reproduce(
    record: Record, number: int, executor: Executor, *, tolerance: float, alone: bool = False
) -> Reproduction:
    """Train trial `number` again, each replica in one piece from its first epoch to its last, under the same seeds.

    executor: of the experiment in the record's head, with a run's folder that is thrown away. tolerance: the largest
    absolute difference of any metric that counts as equal. alone: that the executor is an `AloneExecutor`. Raises
    SpecError where there is no such trial, or nothing of it to compare.
    """
    trial = _trial(record, number, "--alone" if alone else "--trial")
    facts = probe(executor)
    again: list[Curves] = []
    failure: str | None = None
    for replica, curves in enumerate(trial.curves or ({},)):
        if trial.curves and not curves:
            again.append({})  # it was never trained
            continue
        epochs = trial.to_epoch if trial.error is not None else length(curves)
        outcome = run_one(executor, Segment(number, trial.values, to_epoch=epochs, replica=replica))
        if isinstance(outcome, SegmentFailure):
            failure = outcome.reason
            break
        again.append(outcome.curves)
    result = {"trial": number, "alone": alone, **compare(trial.curves, again, tolerance=tolerance)}
    if trial.error is not None or failure is not None:
        result |= {"error": [trial.error, failure], "within": trial.error == failure}
        result["equal"] = result["within"]
    return {**result, "environment": environment(record.head, facts)}


def compare(then: tuple[Curves, ...], now: list[Curves], *, tolerance: float) -> Reproduction:
    """The largest difference of each metric between two trainings, with a list of curves a repeat or fold.

    tolerance: the largest absolute difference that is `within`. A difference is None where the two can't be compared.

    >>> compare(({"loss": (0.5, 0.25)},), [{"loss": (0.5, 0.375)}], tolerance=0.0)
    {'equal': False, 'within': False, 'epochs': 2, 'differences': {'loss': 0.125}}
    """
    differences: dict[str, float | None] = {}
    epochs = 0
    for replica, curves in enumerate(then):
        other = now[replica] if replica < len(now) else {}
        epochs += length(curves)
        for metric in dict.fromkeys([*curves, *other]):
            gap = _largest_gap(curves.get(metric, ()), other.get(metric, ()))
            before = differences.get(metric, 0.0)
            differences[metric] = None if gap is None or before is None else max(before, gap)
    gaps = list(differences.values())
    return {
        "equal": all(gap == 0.0 for gap in gaps),
        "within": all(gap is not None and gap <= tolerance for gap in gaps),
        "epochs": epochs,
        "differences": differences,
    }


def environment(head: Head, facts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What a trial's curve may depend on besides the experiment and differs from the head, as [then, now]."""
    now = {"training": TRAINING, "platform": platform.platform(), "data": facts.get("fingerprint")}
    then = {"training": training_of(head), "platform": head.event.get("platform")}
    then |= {"data": head.facts.get("fingerprint")}
    changed = circumstances.changes(circumstances.recorded_in(head.event), circumstances.current(facts))
    others = {f"{name} of keras.json": pair for name, pair in changed.get("keras", {}).items()}
    others |= {f"the code in {file}": pair for file, pair in changed.get("code", {}).items()}
    pairs = {
        **changed.get("versions", {}),
        **changed.get("packages", {}),
        **{name: [then[name], now[name]] for name in now},
        **others,
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def result_lines(result: Reproduction) -> list[str]:
    """The result, as lines for people."""
    how = "trained alone, in a process of its own: " if result["alone"] else ""
    lines = [f"trial {result['trial']}: {how}{_verdict(result)}"]
    if not result["equal"]:
        lines += [f"  {metric}: {_spelled(gap)}" for metric, gap in result["differences"].items()]
    for name, (then, now) in result["environment"].items():
        name = "hptune's training revision" if name == "training" else name
        lines.append(f"  {name} was {then or 'not there'} then and is {now or 'not there'} now")
    return lines


def _verdict(result: Reproduction) -> str:
    if "error" in result:
        then, now = result["error"]
        return (
            f"failed again, alike: {now}" if result["equal"] else f"then {then or 'no error'}, now {now or 'no error'}"
        )
    epochs = f"{result['epochs']} epoch{'s' if result['epochs'] != 1 else ''}"
    if result["equal"]:
        return f"identical to the bit over {epochs}"
    return f"over {epochs} the largest differences are {'within' if result['within'] else 'beyond'} the tolerance:"


def _spelled(gap: float | None) -> str:
    return "not there, or of another length" if gap is None else f"{gap:.3g}"


def _trial(record: Record, number: int, option: str) -> Trial:
    trials = record.history.trials
    if not 0 <= number < len(trials):
        known = f"0 to {len(trials) - 1}" if trials else "none"
        raise spec_error(f"{option}: the run has no trial {number}. Known: {known}.")
    trial = trials[number]
    if not trial.curves and trial.error is None:
        raise spec_error(f"{option}: trial {number} has reported nothing yet, so there is nothing to compare with.")
    return trial


def _largest_gap(then: tuple[float, ...], now: tuple[float, ...]) -> float | None:
    """The largest absolute difference; two NaN are equal. None where they can't be compared."""
    if len(then) != len(now):
        return None
    gaps = [0.0 if a == b or (math.isnan(a) and math.isnan(b)) else abs(a - b) for a, b in zip(then, now, strict=True)]
    return None if any(math.isnan(gap) for gap in gaps) else max(gaps, default=0.0)
