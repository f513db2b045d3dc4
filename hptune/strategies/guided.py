"""What an expert does by hand: the learning rate, the batch size, the learning rate again, then the schedule.

The procedure is written down once, as a generator of rounds: each is a few points that may be trained side by side, and
goes on once all of them have reported. Every question plays it again over what the history holds, so that nothing is
remembered between questions and a point that was tried already is not tried again.

The lowest validation loss decides, of equals the better objective; the objective alone where there is no such loss.

References: F. Ferlitsch, Deep Learning Patterns and Practices (2021), chapter 10.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from hptune.base.trial import Trial, Value
from hptune.experiment.experiment import Experiment
from hptune.experiment.objective import Objective
from hptune.experiment.sections import Guided
from hptune.experiment.space.roles import roles
from hptune.experiment.space.space import Domain, Space, point_key
from hptune.run.history import History, best_of
from hptune.strategies.sampler import Point, Setup
from hptune.strategies.strategy import Done, Wait

_LOSS = Objective(metric="val_loss", goal="minimize")


@dataclass(frozen=True, slots=True)
class Round:
    """Points to be tried side by side, and the decision that led to them."""

    points: Sequence[Point]
    why: str


@dataclass(frozen=True, slots=True, order=True)
class PointResult:
    """How a point did; less is better. Infinite where its trial has failed.

    loss: the lowest validation loss, 0 where it is not known. cost: the objective's. Neither of the others decides:
    score is the objective as it was measured, plateau the epoch after which the validation loss fell no more, from 1.
    """

    loss: float
    cost: float
    score: float = field(default=math.nan, compare=False)
    plateau: int = field(default=1, compare=False)
    has_loss: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        if math.isinf(self.cost):
            return "failed"
        return f"val_loss {self.loss:.4g}" if self.has_loss else f"{self.score:.4g}"

    def against(self, other: PointResult) -> tuple[str, str]:
        """Both in words that tell them apart: where they read alike in more digits, or with the objective."""
        pair = str(self), str(other)
        if pair[0] != pair[1] or self == other:
            return pair
        if not self.has_loss or self.loss != other.loss:
            now, then = (self.loss, other.loss) if self.has_loss else (self.score, other.score)
            named = "val_loss " if self.has_loss else ""
            return f"{named}{now!r}", f"{named}{then!r}"
        return f"{pair[0]}, objective {self.score!r}", f"{pair[1]}, objective {other.score!r}"


Procedure: TypeAlias = Generator[Round, Sequence[PointResult], str]
"""Yields rounds, is sent their results, and returns what it came to."""


class GuidedSampler:
    """The next point of the procedure; `Wait` while a round is under way.

    Raises `SpecError` where no parameter plays a role in it.
    """

    def __init__(self, experiment: Experiment, space: Space) -> None:
        assert isinstance(experiment.strategy, Guided)
        self._options = experiment.strategy
        self._space = space
        self._roles = {role: name for role, name in roles(experiment).items() if name in space.domains}

    def suggest(self, history: History) -> Point | Wait | Done:
        """The next point of the round under way; `Wait` until the round has reported, `Done` after the last."""
        return self._play(history)[0]

    def why(self, history: History) -> str:
        """The reason for the next point."""
        return self._play(history)[1]

    def _play(self, history: History) -> tuple[Point | Wait | Done, str]:
        """The procedure over what is known: what it asks for now, and why."""
        trials = {point_key(trial.values): trial for trial in history.trials}
        procedure = self._procedure()
        try:
            asked = next(procedure)
            while True:
                known = [trials.get(point_key(point)) for point in asked.points]
                for point, trial in zip(asked.points, known, strict=True):
                    if trial is None:
                        return point, asked.why
                if any(trial is not None and trial.state == "running" for trial in known):
                    return Wait(), asked.why
                asked = procedure.send([result(trial, history) for trial in known if trial is not None])
        except StopIteration as end:
            return Done(end.value), end.value

    # --- the procedure ------------------------------------------------------------------------------------------

    def _procedure(self) -> Procedure:
        settings = self._first_settings()
        decided = ""
        if "learning_rate" in self._roles:
            decided = yield from self._rate(settings, 10.0, step="coarse")
        if "batch_size" in self._roles:
            decided = yield from self._batch_size(settings, decided)
            if "learning_rate" in self._roles:
                decided = yield from self._rate(settings, 2.0, step="fine", decided=decided)
        if "schedule" in self._roles:
            decided = yield from self._schedule(settings, decided)
        chosen = ", ".join(f"{name} {value}" for name, value in settings.items() if name in self._point(settings))
        return f"{decided}. Found: {chosen}"

    def _rate(self, settings: dict[str, Value], factor: float, *, step: str, decided: str = "") -> Procedure:
        """The learning rate: centre and a factor either way; where a neighbour wins, between it and the centre."""
        name = self._roles["learning_rate"]
        domain = self._space.domains[name]
        centre = settings[name]
        tried: dict[Value, PointResult] = {}
        way = "an order of magnitude" if factor == 10 else f"a factor of {factor:g}"
        why = _after(decided, f"{step} learning rate: {_show(centre)} and {way} either way")
        while True:
            rates = [centre, *(_at(domain, _number(centre) * by) for by in (1 / factor, factor))]
            rates = list(dict.fromkeys(rates))
            results = yield Round([self._point({**settings, name: rate}) for rate in rates], why)
            tried |= zip(rates, results, strict=True)
            winner = min(rates, key=lambda rate: tried[rate])  # of equals the centre, which stands first
            between = _at(domain, _between(_number(centre), _number(winner), digits=1 if factor == 10 else 2))
            if winner == centre or between in tried:
                break
            won, lost = tried[winner].against(tried[centre])
            why = f"{step} learning rate: {_show(winner)} ({won}) beat {_show(centre)} ({lost}), so "
            why += f"the next centre lies between them: {_show(between)}"
            centre = between
        settings[name] = best = min(tried, key=lambda rate: tried[rate])
        return f"{step} learning rate: {_show(best)} won ({tried[best]})"

    def _batch_size(self, settings: dict[str, Value], decided: str) -> Procedure:
        """The batch size, doubled while that helps."""
        name = self._roles["batch_size"]
        sizes = sorted(map(_number, self._space.domains[name].values() or ()))
        while True:
            size = settings[name]
            larger = next((_at(self._space.domains[name], n) for n in sizes if n >= 2 * _number(size)), None)
            if larger is None:
                yield Round([self._point(settings)], _after(decided, f"batch size: {_show(size)}"))
                return _after(decided, f"batch size {_show(size)} stays: there is no larger one")
            pair = [self._point({**settings, name: candidate}) for candidate in (size, larger)]
            now, doubled = yield Round(pair, _after(decided, f"batch size: {_show(larger)} against {_show(size)}"))
            has, would = now.against(doubled)
            if not doubled < now:
                return f"batch size {_show(size)} stays: it has {has}, {_show(larger)} has {would}"
            settings[name] = larger
            decided = f"batch size {_show(larger)} ({would}) beat {_show(size)} ({has})"

    def _schedule(self, settings: dict[str, Value], decided: str) -> Procedure:
        """Cosine where it helps; else a ramp, one epoch before the validation loss stops falling."""
        name = self._roles["schedule"]
        known = self._space.domains[name].values() or ()
        plain = settings[name]
        for other in (schedule for schedule in ("cosine", "ramp") if schedule in known and schedule != plain):
            tried = {**settings, name: other}
            asked = [self._point(settings), self._point(tried)]
            about = f"schedule: {other} against {plain}"
            if other == "ramp" and "ramp_epoch" in self._roles:
                (now,) = yield Round(asked[:1], _after(decided, about))
                epoch = self._roles["ramp_epoch"]
                tried[epoch] = _at(self._space.domains[epoch], max(now.plateau - 1, 1))
                asked[1] = self._point(tried)
                about += f", from epoch {tried[epoch]} on, one before its validation loss stopped falling"
            now, then = yield Round(asked, _after(decided, about))
            has, would = now.against(then)
            if then < now:
                settings |= tried
                return f"schedule {other} ({would}) beat {plain} ({has})"
            decided = f"schedule {plain} ({has}) stays: {other} has {would}"
        return decided or f"schedule {plain} stays: there is no other"

    # --- points -------------------------------------------------------------------------------------------------

    def _first_settings(self) -> dict[str, Value]:
        """Where the roles begin: the rate at its default, the smallest batch that is not too small, no schedule."""
        settings = {name: self._space.domains[name].default_value() for role, name in self._roles.items()}
        settings.pop(self._roles.get("ramp_epoch", ""), None)
        if "batch_size" in self._roles:
            domain = self._space.domains[self._roles["batch_size"]]
            assert self._options.first_batch_size is not None, "filled in once the data is known"
            sizes = sorted(map(_number, domain.values() or ()))
            first = next((n for n in sizes if n >= self._options.first_batch_size), sizes[-1])
            settings[self._roles["batch_size"]] = _at(domain, first)
        if "schedule" in self._roles and "constant" in (self._space.domains[self._roles["schedule"]].values() or ()):
            settings[self._roles["schedule"]] = "constant"
        return settings

    def _point(self, settings: Mapping[str, Value]) -> Point:
        return self._space.complete(settings)


def result(trial: Trial, history: History) -> PointResult:
    """How a trial that has ended did."""
    score = history.score(trial)
    if score is None:
        return PointResult(math.inf, math.inf)
    losses = [best_of(curves, _LOSS) for curves in trial.curves]
    cost = history.objective.cost(score)
    if None in losses:
        return PointResult(0.0, cost, score)
    curve = trial.curves[0]["val_loss"]
    lowest = min((loss for loss in curve if loss == loss), default=math.inf)
    plateau = 1 + curve.index(lowest) if lowest in curve else 1
    return PointResult(math.fsum(loss for loss in losses if loss is not None) / len(losses), cost, score, plateau, True)


def _at(domain: Domain, number: float) -> Value:
    """The value of `domain` that is nearest to `number` (by ratio), free of a float's last bits."""
    number = float(f"{number:.12g}")
    values = domain.values()
    if values is None:
        return min(max(number, domain.min), domain.max)  # type: ignore[union-attr]  # a choice has a list
    return min(values, key=lambda value: abs(math.log(_number(value) / number)))


def _between(a: float, b: float, *, digits: int) -> float:
    """The middle of two numbers, cut to so many digits, as people would say it.

    >>> _between(0.001, 0.01, digits=1), _between(0.001, 0.002, digits=2)
    (0.005, 0.0015)
    """
    middle = (a + b) / 2
    unit = 10.0 ** (math.floor(math.log10(middle)) - digits + 1)
    return float(f"{math.floor(middle / unit + 1e-9) * unit:.12g}")


def _number(value: Value) -> float:
    return float(value)  # type: ignore[arg-type]  # the roles' domains hold positive numbers


def _show(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _after(decided: str, more: str) -> str:
    """What was decided, then what is asked next."""
    return f"{decided}; {more}" if decided else more


def sampler(setup: Setup) -> GuidedSampler:
    """`strategy: guided`."""
    return GuidedSampler(setup.experiment, setup.space)
