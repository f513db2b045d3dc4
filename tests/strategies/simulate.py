"""Drives a Strategy as the tuner does, without training: closed-form curves, and workers that finish in any order.

Used by the conformance tests, and fit for benchmarks: `simulate(experiment, curve)` is a whole search in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from hptune.base.trial import Segment, SegmentFailure, SegmentResult, Values
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import full_epochs
from hptune.experiment.space.space import Space
from hptune.run import events
from hptune.run.events import Event
from hptune.run.history import History
from hptune.strategies.choose import choose
from hptune.strategies.strategy import Continue, Decision, Done, Start, Strategy, Wait

Curve = Callable[[Values, int], float | Mapping[str, float] | None]
"""(values, epoch from 1) -> the metric `score` after that epoch, or several by name; None: the training fails there."""


@dataclass
class Simulation:
    """A search that has been driven: its history, the events that made it, and every decision taken."""

    history: History
    events: list[Event] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def done(self) -> Done | None:
        last = self.decisions[-1] if self.decisions else None
        return last if isinstance(last, Done) else None

    @property
    def points(self) -> list[dict[str, Any]]:
        return [dict(trial.values) for trial in self.history.trials]

    def apply(self, event: Event) -> None:
        self.events.append(event)
        self.history.apply(event)


def make_experiment(**sections: Any) -> Experiment:
    """An experiment of a function with the metric `score`, minimised unless said otherwise."""
    given: dict[str, Any] = {
        "version": 1,
        "name": "simulated",
        "model": {"function": "nowhere:f"},
        "objective": {"metric": "score", "goal": "minimize"},
        "training": {"epochs": 3},
    }
    return Experiment.model_validate({**given, **sections})


FOLDER = Path(__file__).parent
"""Where the Oracle classes of the tests are looked for, as if a YAML file lay here."""


def strategy_of(experiment: Experiment) -> Strategy:
    return choose(experiment, space_of(experiment), folder=FOLDER)


def space_of(experiment: Experiment) -> Space:
    return Space(experiment.search_space)


def simulate(
    experiment: Experiment,
    curve: Curve,
    *,
    workers: int = 1,
    order: int = 0,
    most: int = 10_000,
    ends_at: Callable[[Values], int | None] = lambda _: None,
    strategy: Strategy | None = None,
    start_from: Sequence[Event] = (),
    fresh_each_time: bool = False,
) -> Simulation:
    """Search until Done or `most` decisions.

    order: the seed of the order in which the workers finish. ends_at: the epoch at which early stopping ends a trial.
    start_from: the events of a search that this one resumes; what was under way is trained again. fresh_each_time: ask
    a new strategy object each time, as if the process had been killed after every decision.
    """
    run = Simulation(History(experiment.objectives))
    for event in start_from:
        run.apply(event)
    running = list(run.history.pending.values())
    pick = Random(order)
    strategy = strategy or strategy_of(experiment)
    while len(run.decisions) < most:
        if fresh_each_time:
            strategy = strategy_of(experiment)
        decision = strategy.next(run.history) if len(running) < workers else None
        if decision is not None:
            run.decisions.append(decision)
        if isinstance(decision, Start | Continue):
            segment = _segment(decision, run.history)
            run.apply(events.started(segment))
            running.append(segment)
        elif running:
            segment = running.pop(pick.randrange(len(running)))
            run.apply(_outcome(segment, experiment, curve, ends_at(segment.values)))
            _stop_hopeless(strategy, run)
        else:
            assert not isinstance(decision, Wait), "waits while nothing runs"
            break
    return run


def _segment(decision: Start | Continue, history: History) -> Segment:
    if isinstance(decision, Start):
        return Segment(len(history.trials), decision.values, 0, decision.to_epoch)
    trial = history.trials[decision.trial]
    assert trial.state == "paused", f"continues trial {trial.number}, which is {trial.state}"
    assert decision.to_epoch > trial.epochs, "continues to where it is"
    return Segment(trial.number, trial.values, trial.epochs, decision.to_epoch)


def _outcome(segment: Segment, experiment: Experiment, curve: Curve, ends_at: int | None) -> Event:
    last = min(segment.to_epoch, ends_at) if ends_at is not None else segment.to_epoch
    values = [curve(segment.values, epoch) for epoch in range(segment.from_epoch + 1, last + 1)]
    known = [v if isinstance(v, Mapping) else {"score": v} for v in values if v is not None]
    if len(known) < len(values):
        return events.failed(SegmentFailure(segment, "boom", 0.1))
    curves = {name: tuple(float(metrics[name]) for metrics in known) for name in (known[0] if known else {})}
    ended = ends_at is not None and last >= ends_at
    result = SegmentResult(segment, last, curves, 0.1, ended=ended)
    return events.finished(result, complete=ended or last >= full_epochs(experiment, segment.values))


def _stop_hopeless(strategy: Strategy, run: Simulation) -> None:
    for trial in list(run.history.trials):
        if trial.state == "paused" and not strategy.may_continue(trial, run.history):
            run.apply(events.stopped(trial.number))


def prefix_histories(run: Simulation, experiment: Experiment) -> list[History]:
    """The history after each event of a search, the empty one first."""
    found = []
    for length in range(len(run.events) + 1):
        history = History(experiment.objectives)
        for event in run.events[:length]:
            history.apply(event)
        found.append(history)
    return found


def by_trial(run: Simulation) -> Mapping[int, int]:
    """How far each trial was trained."""
    return {trial.number: trial.epochs for trial in run.history.trials}
