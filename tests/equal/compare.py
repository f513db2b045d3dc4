"""Trains a case by hptune and by the plain program, and says how far they lie apart.

The one place that drives hptune: an experiment as YAML, a `Worker` for it, a `Segment` a trial, the state's file.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hptune.base import seeds
from hptune.base.errors import HptuneError, SegmentFailed, SpecError
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.core import state as states
from hptune.training.core.state import State
from hptune.training.worker import Worker

from . import plain, samples
from .case import EPOCHS, Case, Missing, names_in, with_values

SEED = 3
"""Of every experiment."""


@dataclass(frozen=True, slots=True)
class Result:
    """One trial against the plain program.

    way: `first` in a fresh program, `after others`, or `backwards` (after the others in the other order).
    status: equal; differs; `refused by both`; `refused by validate` (Keras trains); `fails` (Keras trains);
    `trains` (Keras refuses); `no input known`; `not comparable` (Keras itself does not repeat it).
    difference: the largest, relative to max(1, the size); where: which curve or variable it is.
    """

    area: str
    name: str
    option: str
    value: str
    way: str
    status: str
    difference: float = 0.0
    where: str = ""
    message: str = ""
    plain_way: str = ""
    seconds: float = 0.0

    @property
    def key(self) -> str:
        return f"{self.area}/{self.name}/{self.option}"

    @property
    def silent(self) -> bool:
        """Whether a user would be misled."""
        return self.status in ("differs", "trains")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trial:
    """What hptune made of a point: the state before and after with the curves, or why it failed."""

    before: State | None = None
    after: State | None = None
    curves: Mapping[str, Sequence[float]] | None = None
    error: str = ""
    note: str = ""
    test: Mapping[str, float] | None = None
    epochs: int = EPOCHS
    data: Mapping[str, Any] | None = None


# --- hptune's side --------------------------------------------------------------------------------------------------


def text(case: Case, folder: Path, points: Sequence[Mapping[str, Any]]) -> str:
    """The experiment's YAML (which JSON is)."""
    module = samples.write(folder, case.x, case.y, weighted=case.weighted)
    data = {"python": f"{module}:{'flows' if case.flow else 'arrays'}", "scale": "none", **case.data}
    tree = json.loads(json.dumps(case.experiment).replace("OWN:", f"{module}:"))
    space = {
        name: {"type": "choice", "values": list(dict.fromkeys(_key(point[name]) for point in points if name in point))}
        for name in sorted(set(names_in(tree)))
    }
    for domain in space.values():
        domain["values"] = [json.loads(value) for value in domain["values"]]
    head = {"version": 1, "name": "equal", "seed": SEED, "data": data}
    rest = {"search_space": space, "objective": {"metric": "val_loss", "goal": "minimize"}}
    return json.dumps({**head, **rest, **tree})


def _key(value: Any) -> str:
    return json.dumps(value)


def worker(case: Case, folder: Path, run: str, points: Sequence[Mapping[str, Any]]) -> tuple[Worker, RunPaths]:
    """A worker of its own for the case. Raises SpecError where the experiment is refused."""
    file = folder / f"{run}.yaml"
    file.write_text(text(case, folder, points))
    loaded = load(file)
    paths = RunPaths(folder / "runs" / run)
    return Worker(loaded.experiment, loaded.folder, paths), paths


def trained(case: Case, of: Worker, paths: RunPaths, number: int, values: Mapping[str, Any]) -> Trial:
    """A trial of it; the state before training is that of a segment of no epochs."""
    segment = Segment(number, values, to_epoch=0, keep_state=True, replica=case.replica)
    before: State | None = None
    try:
        of.run(segment)
        before = states.load(paths.state(number, case.replica, 0))[0]
        if case.winner:
            result = of.run(segment._replace(to_epoch=EPOCHS, purpose="best", keep_state=False))
            facts = result.facts
            return Trial(before, test=facts["test"], epochs=facts["best_epoch"], data=_parts_of(case, of))
        result = of.run(segment._replace(to_epoch=EPOCHS))
        after = states.load(paths.state(number, case.replica, result.epochs))[0]
    except (SpecError, SegmentFailed, HptuneError) as error:
        return Trial(before=before, error=_line(error))
    note = str(result.facts.get("plain") or result.facts.get("note") or "")
    return Trial(before, after, result.curves, note=note, data=_parts_of(case, of))


def _parts_of(case: Case, of: Worker) -> Mapping[str, Any]:
    """The parts as hptune has dealt them: it shuffles the training rows once, and deals folds itself.

    Raises AssertionError where they are other rows than were given.
    """
    trainer: Any = of.trainer()
    if case.experiment.get("evaluation", {}).get("folds"):
        trainer = trainer._trainers[case.replica]
    dealt = {name: _arrays(getattr(trainer.loaded.data, name)) for name in ("train", "validation")}
    if case.winner:
        dealt["test"] = _arrays(trainer.loaded._samples.test())
    given = samples.parts(case.x, case.y, weighted=case.weighted)
    if trainer is of.trainer():
        _check_rows(dealt, given, scaled=case.data.get("scale", "none") != "none")
    return dealt


def _check_rows(dealt: Mapping[str, Any], given: Mapping[str, Any], *, scaled: bool) -> None:
    """That the parts hold the rows that were given; the inputs standardised on the training part, where asked for."""
    x = given["train"][0].astype(np.float64)
    mean, deviation = (x.mean(0), x.std(0)) if scaled else (0.0, 1.0)
    for name, part in dealt.items():
        theirs = given[name]
        inputs = _sorted((theirs[0] - mean) / deviation)
        assert np.allclose(_sorted(part[0]), inputs, rtol=1e-5, atol=1e-5), f"{name}: other inputs than were given"
        assert len(part) == len(theirs), f"{name}: the weights are lost"
        for mine, other in zip(part[1:], theirs[1:], strict=True):
            assert np.array_equal(_sorted(mine), _sorted(other)), f"{name}: other targets than were given"


def _sorted(array: Any) -> Any:
    rows = np.asarray(array).reshape(len(array), -1)
    return rows[np.lexsort(rows.T)]


def _arrays(part: Any) -> tuple[Any, ...]:
    x = part.x[:]
    return (x, part.y) if part.sample_weight is None else (x, part.y, part.sample_weight)


def _line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


# --- both sides -----------------------------------------------------------------------------------------------------


def compared(case: Case | Missing, folder: Path, *, quick: bool = False) -> Iterator[Result]:
    """Every point of the case forwards and backwards, each against the plain program.

    Where every point had a program of its own, backwards asks for the initial states alone: no trial was another's
    second. quick: forwards alone; of a case without an option of its own the first point.
    """
    if isinstance(case, Missing):
        yield Result(case.area, case.name, case.option, "", "", case.status, message=case.why)
        return
    points = list(case.points[:1] if quick and case.repeats else case.points)
    refused = dict(_refused(case, folder, points))
    for number, told in refused.items():
        yield _refusal(case, points[number], told)
    kept = [point for number, point in enumerate(points) if number not in refused]
    if not kept:
        return
    plains: dict[str, plain.Told | Exception] = {}
    starts: dict[str, State] = {}
    shared = True
    for way, order in (("forwards", kept), ("backwards", kept[::-1])):
        if way == "backwards" and (quick or len(kept) == 1):
            break
        run = f"{_safe(case.key)}-{way}"
        of, paths = worker(case, folder, run, kept)
        for number, values in enumerate(order):
            if not shared:
                yield from _other_start(case, of, paths, number, values, starts)
                continue
            began = time.perf_counter()
            trial = trained(case, of, paths, number, values)
            name = _key(values)
            if name not in plains:
                plains[name] = _plainly(case, values, trial)
            place = "first" if number == 0 else "after others" if way == "forwards" else "backwards"
            result = replace(_judged(case, values, trial, plains[name]), way=place)
            if trial.before is not None and result.status == "equal":
                other = starts.setdefault(name, trial.before)
                if not _same(other, trial.before):
                    result = replace(result, status="differs", where=OTHER_START, difference=np.inf)
            if result.status == "refused by both" and case.option == "(defaults)":
                result = replace(result, status="no input known")
            yield replace(result, seconds=time.perf_counter() - began)
        shared = _programs(case, of) < len(kept)


def _programs(case: Case, of: Worker) -> int:
    """How many programs its trials were served by."""
    trainer: Any = of.trainer()
    if case.experiment.get("evaluation", {}).get("folds"):
        trainer = trainer._trainers[case.replica]
    return len(trainer.loaded.programs._programs)


OTHER_START = "initial state in the other order"


def _same(a: State, b: State) -> bool:
    return all(np.array_equal(mine, other) for mine, other in zip(a.model, b.model, strict=True))


def _other_start(
    case: Case, of: Worker, paths: RunPaths, number: int, values: Mapping[str, Any], starts: Mapping[str, State]
) -> Iterator[Result]:
    """A result where the trial begins otherwise in the other order; none where it does not, or was not equal before."""
    name = _key(values)
    if name not in starts:
        return
    of.run(Segment(number, values, to_epoch=0, keep_state=True, replica=case.replica))
    if not _same(starts[name], states.load(paths.state(number, case.replica, 0))[0]):
        yield replace(_result(case, values, "differs", difference=np.inf, where=OTHER_START), way="backwards")


def _safe(key: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in key)


def _refused(case: Case, folder: Path, points: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
    """The numbers of the points that `validate` refuses, each with its words."""
    try:
        worker(case, folder, _safe(case.key), points)
    except SpecError:
        for number, point in enumerate(points):
            try:
                worker(case, folder, _safe(case.key), [point])
            except SpecError as error:
                yield number, _line(error)


def _refusal(case: Case, values: Mapping[str, Any], told: str) -> Result:
    result = _result(case, values, "refused by both", message=told)
    theirs = _plainly(case, values, Trial())
    return result if isinstance(theirs, Exception) else replace(result, status="refused by validate")


def _plainly(case: Case, values: Mapping[str, Any], trial: Trial) -> plain.Told | Exception:
    tree = with_values(json.loads(json.dumps(case.experiment)), values)
    tree["data"] = {"scale": "none", **case.data}
    given = samples.parts(case.x, case.y, weighted=case.weighted)
    parts = trial.data or {name: given[name] for name in ("train", "validation")}
    order = None if case.flow else seeds.derive(SEED, "samples", dict(values), case.replica)  # a flow has its own
    own = _own_functions()
    initial = trial.before.model if trial.before is not None and not case.seeded else None
    try:
        return plain.train(tree, parts, initial=initial, order_seed=order, epochs=trial.epochs, own=own)
    except Exception as error:  # noqa: BLE001  # whatever Keras raises is its refusal
        return error


def _own_functions() -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(samples.OWN, found)  # the very text of the user's module
    return {name: thing for name, thing in found.items() if callable(thing)}


def _result(case: Case, values: Mapping[str, Any], status: str, **more: Any) -> Result:
    value = next(iter(values.values())) if len(values) == 1 else dict(values)
    return Result(case.area, case.name, case.option, json.dumps(value), "", status, **more)


def _judged(case: Case, values: Mapping[str, Any], trial: Trial, theirs: plain.Told | Exception) -> Result:
    if isinstance(theirs, plain.OtherVariables):
        return _result(case, values, "differs", difference=np.inf, where="variables", message=str(theirs)[:300])
    if isinstance(theirs, Exception):
        message = f"Keras: {type(theirs).__name__}: {_line(theirs)}; hptune: {trial.error or 'trains'}"
        return _result(case, values, "refused by both" if trial.error else "trains", message=message)
    finite = all(np.isfinite(v).all() for name, v in theirs.curves.items() if name in ("loss", "val_loss"))
    if trial.error:
        if not finite and "training diverged" in trial.error:
            return _result(case, values, "equal", message="both diverge")
        return _result(case, values, "fails", message=trial.error)
    difference, where = _tests_apart(trial, theirs) if case.winner else apart(case, trial, theirs)
    status = "equal" if difference <= case.tolerance else "differs"
    return _result(case, values, status, difference=difference, where=where, plain_way=trial.note)


def apart(case: Case, trial: Trial, theirs: plain.Told) -> tuple[float, str]:
    """The largest difference over curves, variables and slots, and where it is."""
    assert trial.after is not None
    assert trial.curves is not None
    ours = dict(trial.curves)
    if set(ours) - {"penalty"} != set(theirs.curves) - {"penalty"}:
        return np.inf, f"curves {sorted(ours)} for {sorted(theirs.curves)}"
    found: list[tuple[float, str]] = [(0.0, "")]
    for name, values in theirs.curves.items():
        found.append((_gap(ours.get(name, [np.inf]), values), f"curve {name}"))
    if "penalty" in ours and "penalty" not in theirs.curves:
        found.append((_gap(ours["penalty"], [0.0] * len(ours["penalty"])), "curve penalty"))
    try:
        at_end = plain.aligned(trial.after.model, theirs.variables)
    except plain.OtherVariables as error:
        return np.inf, str(error)[:300]
    for number, (mine, (seed, value)) in enumerate(zip(at_end, theirs.variables, strict=True)):
        found.append((_gap(mine, value), f"{'seed' if seed else 'variable'} {number} {list(value.shape)}"))
    shapes = [a.shape for a in trial.after.optimizer], [a.shape for a in theirs.slots]
    if shapes[0] == shapes[1]:  # a program that is shared may have slots that one trial alone would not need
        slots = zip(trial.after.optimizer, theirs.slots, strict=True)
        found += [(_gap(mine, value), f"slot {n} {list(value.shape)}") for n, (mine, value) in enumerate(slots)]
    return max(found, key=lambda one: one[0])


def _tests_apart(trial: Trial, theirs: plain.Told) -> tuple[float, str]:
    """The same of the test part's metrics."""
    ours = trial.test or {}
    if set(ours) != set(theirs.test):
        return np.inf, f"test {sorted(ours)} for {sorted(theirs.test)}"
    return max(
        (_gap(ours[name], value), f"test {name} after {trial.epochs} epochs") for name, value in theirs.test.items()
    )


def _gap(ours: Any, theirs: Any) -> float:
    """The largest difference relative to max(1, the size); not-a-number equals not-a-number."""
    with contextlib.suppress(TypeError, ValueError):
        a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if a.shape != b.shape:
            return float("inf")
        if not a.size:
            return 0.0
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            gaps = np.where(same, 0.0, np.abs(a - b) / np.maximum(1.0, np.abs(b)))
        return float(np.nan_to_num(gaps, nan=np.inf).max())
    return float("inf")
