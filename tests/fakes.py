"""Stand-ins for the tests of the loop: small, deterministic implementations of the protocols it drives."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hptune.base import seeds
from hptune.base.trial import Segment, SegmentFailure, SegmentResult, Trial, Value
from hptune.executors.executor import Outcome
from hptune.run.history import History
from hptune.run.rundir import RunPaths
from hptune.strategies.strategy import Continue, Decision, Done, Start, Wait

Learn = Callable[[Mapping[str, Value], int, int], float]
"""(values, epoch from 1, replica) -> the score after that epoch."""


def rising(values: Mapping[str, Value], epoch: int, replica: int) -> float:
    """Better with x, with every epoch, and a little with the replica."""
    return float(values["x"] or 0) + 0.1 * epoch + 0.01 * replica


SPEC: dict[str, Any] = {
    "version": 1,
    "name": "a",
    "model": {"function": "m:f"},
    "search_space": {"x": {"type": "float", "min": 0.0, "max": 100.0}},
    "training": {"epochs": 9},
    "objective": {"metric": "score", "goal": "maximize"},
}
"""What the fakes are for: a function of x, of nine epochs."""


@dataclass
class FakeExecutor:
    """Scores segments by a closed form; checks that it is asked for nothing that the protocol forbids.

    structure: the architecture of values, whose stabilised weights it makes where asked for.
    ends: trains no further than so many epochs, as early stopping would. order: which waiting segment finishes next.
    """

    paths: RunPaths
    learn: Learn = rising
    slots: int = 1
    ahead: int = 0
    facts: Mapping[str, Any] = field(default_factory=lambda: {"task": None, "fingerprint": "f"})
    structure: Callable[[Mapping[str, Value]], str] = lambda _: "one"
    ends: Callable[[Segment], int | None] = lambda _: None
    fails: Callable[[Segment], str | None] = lambda _: None
    lost: Callable[[Segment], bool] = lambda _: False
    order: Callable[[int], int] = lambda _: 0
    trained: list[Segment] = field(default_factory=list)
    probes: int = 0
    waiting: deque[Segment] = field(default_factory=deque)

    def submit(self, segment: Segment) -> None:
        assert len(self.waiting) < self.slots + self.ahead, "more segments than slots"
        self.waiting.append(segment)

    def wait(self, timeout_s: float | None = None) -> list[Outcome]:
        at = self.order(len(self.waiting)) % len(self.waiting)
        segment = self.waiting[at]
        del self.waiting[at]
        if segment.purpose == "probe":
            self.probes += 1
            return [SegmentResult(segment, 0, {}, 0.0, facts=self.facts)]
        self.trained.append(segment)
        if self.lost(segment):
            return [SegmentFailure(segment, "the worker died", 0.25, lost=True)]
        reason = self.fails(segment)
        if reason is not None:
            return [SegmentFailure(segment, reason, 0.5)]
        return [self._stabilize(segment) if segment.purpose == "stabilize" else self._train(segment)]

    def _stabilize(self, segment: Segment) -> SegmentResult:
        """As the worker does: weights that are there are left alone, and only their maker tells of them."""
        structure = self.structure(segment.values)
        weights = self.paths.stabilized(structure, segment.replica)
        facts: dict[str, Any] = {"architecture": structure}
        if not weights.exists():
            weights.parent.mkdir(parents=True, exist_ok=True)
            weights.write_text("weights")
            made = {"structure": structure, "replica": segment.replica, "method": "lottery", "losses": [2.0, 1.0]}
            facts["stabilized"] = {**made, "chosen": 1}
        return SegmentResult(segment, 0, {}, 0.25, facts=facts)

    def _train(self, segment: Segment) -> SegmentResult:
        if segment.from_epoch and segment.purpose == "trial":
            assert self.paths.state(segment.trial, segment.replica, segment.from_epoch).exists(), (
                "nothing to go on from"
            )
        end = self.ends(segment)
        to_epoch = segment.to_epoch if end is None else min(end, segment.to_epoch)
        curve = tuple(
            self.learn(segment.values, epoch, segment.replica) for epoch in range(segment.from_epoch + 1, to_epoch + 1)
        )
        better = segment.keep_above is not None and max(curve, default=0.0) > segment.keep_above
        if segment.keep_state or better:
            state = self.paths.state(segment.trial, segment.replica, to_epoch)
            state.parent.mkdir(parents=True, exist_ok=True)
            state.write_text("weights")
        kept = segment.keep_state or better
        facts = {"test": {"score": curve[-1]}, "parameters": 7} if segment.purpose in ("best", "baseline") else {}
        return SegmentResult(segment, to_epoch, {"score": curve}, 1.0, kept, end is not None and end <= to_epoch, facts)

    def progress(self, segment: Segment) -> int:
        return 0

    def close(self) -> None:
        self.waiting.clear()


@dataclass
class Halving:
    """Trains `trials` points for an epoch, the best half of them to 3 epochs, the best of those to 9."""

    trials: int = 6
    seed: int = 0

    def next(self, history: History) -> Decision:
        if len(history.trials) < self.trials:
            number = len(history.trials)
            return Start({"x": seeds.derive(self.seed, "suggest", number) % 1000 / 1000}, 1, why="to begin with")
        for epochs, before, most in ((3, 1, self.trials // 2), (9, 3, 1)):
            promoted = [t for t in history.trials if t.to_epoch >= epochs]
            able = sorted(
                (t for t in history.trials if t.state == "paused" and t.epochs == before),
                key=lambda trial: -(history.score(trial) or 0.0),
            )
            if any(t.state == "running" and t.to_epoch == before for t in history.trials):
                return Wait()
            if len(promoted) < most and able:
                return Continue(able[0].number, epochs)
        return Wait() if next(history.running(), None) is not None else Done("all halved")

    def may_continue(self, trial: Trial, history: History) -> bool:
        if len(history.trials) < self.trials or next(history.running(), None) is not None:
            return True
        decision = self.next(history)
        return isinstance(decision, Continue)


@dataclass
class InTurn:
    """x = 0, 1, 2, … up to `trials` points, each trained in full at once. also: further values by number."""

    trials: int
    epochs: int = 9
    also: Callable[[int], dict[str, Value]] = lambda _: {}

    def next(self, history: History) -> Decision:
        number = len(history.trials)
        if number >= self.trials:
            return Done("every point was tried")
        return Start({"x": number, **self.also(number)}, self.epochs)

    def may_continue(self, trial: Trial, history: History) -> bool:
        return False


class Watcher:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.reports: list[Trial] = []
        self.tests: list[Trial] = []
        self.notes: list[str] = []

    def begun(self, record: object, limits: object) -> None:
        pass

    def reported(self, trial: Trial) -> None:
        self.reports.append(trial)

    def tested(self, finalist: Trial) -> None:
        self.tests.append(finalist)

    def epoch(self, segment: Segment, epochs: int, metrics: Mapping[str, float]) -> None:
        pass

    def winner(self, record: object) -> None:
        pass

    def trained(self, outcome: object) -> None:
        pass

    def ended(self) -> None:
        pass

    def noted(self, note: str) -> None:
        self.notes.append(note)
