"""What `hptune report` shows of a run, as plain data: read out of its journal alone, whoever wrote that.

Everything in a journal that was not checked when it was read (the experiment, the facts, the values of the
hyperparameters) is treated as text, or as a number where it is a finite one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hptune.base.trial import Trial, TrialState, Value, Values
from hptune.experiment.objective import Objective
from hptune.experiment.space.domains import as_float
from hptune.reports.compare import summary
from hptune.reports.leaderboard import Row, objective_name, row
from hptune.reports.spelling import identity
from hptune.run.curves import whole_epochs
from hptune.run.history import History, score_of
from hptune.run.ranking import ranked
from hptune.run.record import Record
from hptune.run.warm_start import taken_over

MOST_DOTS = 1_500
"""More trials than this are thinned out in the charts; the best are always there."""

MOST_CURVES = 120
MOST_ROWS = 300
_HUGE = 1e300


@dataclass(frozen=True, slots=True)
class Dot:
    """One trial in a chart. x: its number, or one hyperparameter's value. y: its score."""

    trial: int
    x: Value
    y: float
    state: TrialState


@dataclass(frozen=True, slots=True)
class Curve:
    """The objective after each epoch from the first, of one training; None where it was not finite.

    replica: the repeat or fold, from 0; None where the trial has one alone.
    """

    trial: int
    values: tuple[float | None, ...]
    replica: int | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyperparameter against the score. log: it was searched on a logarithmic scale."""

    name: str
    log: bool
    dots: tuple[Dot, ...]

    @property
    def is_number(self) -> bool:
        """Whether every value is a finite number."""
        return all(as_number(dot.x) is not None for dot in self.dots)


@dataclass(frozen=True, slots=True)
class TrainedInFull:
    """What train-best came to: the values, the figures on the test part, the curves by metric."""

    trial: int
    values: Values
    test: Mapping[str, float]
    curves: Mapping[str, tuple[float | None, ...]]
    score: float | None


@dataclass(frozen=True)
class Report:
    """All that is shown. objective: the first, which the charts show; with more than one, `pair` holds the first two.

    rows: the best first, then those without a score; at most MOST_ROWS. trials, scored: how many there are in all.
    best_so_far: (trial, score) each time a trial was better. front: (trial, score by the one, by the other of the pair,
    whether it is on the Pareto front). failures: (reason, how many). spec: (setting, value).
    """

    name: str
    objective: Objective
    metric: str
    summary: Mapping[str, Any]
    size_bytes: int
    rows: Sequence[Row]
    trials: int
    scored: int
    progress: Sequence[Dot]
    best_so_far: Sequence[tuple[int, float]]
    pair: tuple[Objective, Objective] | None
    front: Sequence[tuple[int, float, float, bool]]
    curves: Sequence[Curve]
    parameters: Sequence[Parameter]
    failures: Sequence[tuple[str, int]]
    winner: TrainedInFull | None
    baseline: TrainedInFull | None
    spec: Sequence[tuple[str, Any]]
    origin: Sequence[tuple[str, Any]]


def make_report(record: Record, *, name: str, size_bytes: int) -> Report:
    """The report of a run as its journal stands; it may still be searched."""
    history = record.history
    objective = history.objectives[0]
    order = ranked(history)
    best = {trial.number for trial in order}
    scores = {t.number: s for t in history.trials if (s := _score(t, history)) is not None}
    shown = _thinned([t for t in history.trials if t.number in scores], order)
    without = [t for t in history.trials if t.number not in best]
    return Report(
        name=name,
        objective=objective,
        metric=objective_name(history),
        summary=summary(record),
        size_bytes=size_bytes,
        rows=[row(t, history) for t in [*order, *without][:MOST_ROWS]],
        trials=len(history.trials),
        scored=len(scores),
        progress=[Dot(t.number, t.number, scores[t.number], t.state) for t in shown],
        best_so_far=_records(scores, objective),
        pair=(history.objectives[0], history.objectives[1]) if len(history.objectives) > 1 else None,
        front=_front(shown, history, best),
        curves=_curves(shown, order, objective),
        parameters=_parameters(shown, scores, record.head.event["space"]),
        failures=_failures(history).most_common(20),
        winner=_trained(record, "best", objective),
        baseline=_trained(record, "baseline", objective),
        spec=list(_leaves(record.head.event["experiment"])),
        origin=list(_origin(record)),
    )


def _failures(history: History) -> Counter[str]:
    """How many trials failed, and repeats of finalists, by the reason."""
    of_finalists = (f"as a finalist: {reason}" for failed in history.finals_failed.values() for reason in failed)
    return Counter(t.error or "" for t in history.trials if t.state == "failed") + Counter(of_finalists)


def as_number(value: object) -> float | None:
    """A value as a number that can be drawn; None where it is none, or too large to draw.

    >>> as_number(3), as_number(True), as_number(float("inf")), as_number(10**400)
    (3.0, None, None, None)
    """
    number = as_float(value)
    return number if number is not None and abs(number) < _HUGE else None


def _score(trial: Trial, history: History) -> float | None:
    """A trial's score by the first objective."""
    if len(history.objectives) == 1:
        return history.score(trial)
    by_metric = history.scores(trial)
    return None if by_metric is None else by_metric[history.objectives[0].metric]


def _thinned(trials: Sequence[Trial], order: Sequence[Trial]) -> list[Trial]:
    """At most MOST_DOTS of the trials, in their order: the best among them, and an even selection of the others."""
    if len(trials) <= MOST_DOTS:
        return list(trials)
    kept = {trial.number for trial in order[: MOST_DOTS // 3]}
    others = [trial for trial in trials if trial.number not in kept]
    step = len(others) / (MOST_DOTS - len(kept))
    kept |= {others[int(n * step)].number for n in range(MOST_DOTS - len(kept))}
    return [trial for trial in trials if trial.number in kept]


def _records(scores: Mapping[int, float], objective: Objective) -> list[tuple[int, float]]:
    records: list[tuple[int, float]] = []
    for number, score in scores.items():
        if not records or objective.better(score, records[-1][1]):
            records.append((number, score))
    return records


def _front(trials: Iterable[Trial], history: History, best: set[int]) -> list[tuple[int, float, float, bool]]:
    """(trial, first score, second score, whether it is on the Pareto front)."""
    if len(history.objectives) < 2:
        return []
    first, second = (objective.metric for objective in history.objectives[:2])
    pairs = [(t.number, history.scores(t)) for t in trials]
    return [(number, s[first], s[second], number in best) for number, s in pairs if s is not None]


def _curves(trials: Sequence[Trial], order: Sequence[Trial], objective: Objective) -> list[Curve]:
    """The best trials' curves first, one a replica, of whole trials; none where no training has more than one epoch."""
    known = {trial.number for trial in trials}
    best = [trial for trial in order if trial.number in known]
    first = {trial.number for trial in best}
    chosen = [*best, *(trial for trial in trials if trial.number not in first)][:MOST_CURVES]
    drawn: list[Curve] = []
    for trial in chosen:
        curves = [_finite(replica.get(objective.metric, ())) for replica in trial.curves]
        if drawn and len(drawn) + len(curves) > MOST_CURVES:
            break
        names = range(len(curves)) if len(curves) > 1 else [None]
        drawn += [Curve(trial.number, *pair) for pair in zip(curves[:MOST_CURVES], names, strict=False)]
    return drawn if any(len(curve.values) > 1 for curve in drawn) else []


def _finite(values: Iterable[float]) -> tuple[float | None, ...]:
    return tuple(as_number(value) for value in values)


def _parameters(trials: Sequence[Trial], scores: Mapping[int, float], space: Mapping[str, Any]) -> list[Parameter]:
    """Those that were given more than one value."""
    varied = []
    for name in dict.fromkeys(name for trial in trials for name in trial.values):
        having = [t for t in trials if name in t.values]
        dots = tuple(Dot(t.number, t.values[name], scores[t.number], t.state) for t in having)
        if len({identity(dot.x) for dot in dots}) > 1:
            varied.append(Parameter(name, _is_log(space.get(name), dots), dots))
    return varied


def _is_log(domain: object, dots: Iterable[Dot]) -> bool:
    asked = isinstance(domain, dict) and domain.get("log") is True
    return asked and all((as_number(dot.x) or 0.0) > 0 for dot in dots)


def _trained(record: Record, purpose: str, objective: Objective) -> TrainedInFull | None:
    if purpose not in record.trained:
        return None
    values, event = record.trained[purpose]
    facts = event.get("facts", {})
    test = facts.get("test")
    figures = {str(k): n for k, v in test.items() if (n := as_number(v)) is not None} if isinstance(test, dict) else {}
    curves = {metric: _finite(curve) for metric, curve in event["curves"].items()}
    known = {name: n for name, value in facts.items() if (n := as_number(value)) is not None}
    raw = {metric: tuple(curve) for metric, curve in event["curves"].items()}
    whole = whole_epochs(raw, record.head.objectives)
    score = as_number(score_of(objective, whole, facts=known, seconds=event["seconds"]))
    return TrainedInFull(event["trial"], values, figures, curves, score)


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """Every setting that is not left out, by its key path, in the order of the YAML."""
    if isinstance(value, dict) and value and len(path) < 200:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif value is not None and value not in ({}, []):
        yield path, value


def _origin(record: Record) -> Iterable[tuple[str, Any]]:
    """Where the figures come from: versions, platform, data."""
    event, facts = record.head.event, record.head.facts
    yield from (("warm start", taken_over(entry).removeprefix("warm_start: ")) for entry in record.head.warm_start)
    yield from sorted(event.get("versions", {}).items())
    yield "platform", event.get("platform", "")
    for fact in ("task", "fingerprint"):
        if facts.get(fact) is not None:
            yield ("data" if fact == "fingerprint" else fact), facts[fact]
    yield from (("note", note) for kind in ("warnings", "notes") for note in facts.get(kind, ()))
    rows = facts.get("rows")
    if isinstance(rows, dict):
        of = " of the first fold" if record.history.folds else ""
        yield f"rows{of}", ", ".join(f"{part} {count}" for part, count in rows.items())
