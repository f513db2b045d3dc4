"""The loop: next → submit → record. The only writer of a run's journal while it is searched.

Nothing is decided here but from what the journal tells, so a search that was killed and is begun again goes on as if
nothing had happened. Imports nothing heavy: what trains is behind the Executor.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from hptune import files, interrupts
from hptune import history as tell
from hptune.budget import limits
from hptune.checkpoints import Checkpoints, drop_untold_weights
from hptune.clock import Clock
from hptune.errors import Interrupted, RunError
from hptune.executors.executor import Executor, Outcome
from hptune.finalists import next_finalist
from hptune.history import Event, SegmentKey, segment_key, unusable
from hptune.journal import Journal
from hptune.lock import locked
from hptune.pruning import unpromising
from hptune.record import (
    Head,
    Record,
    check_any_succeeded,
    check_same_data,
    check_same_spec,
    check_same_training,
    filled,
    first,
    head_event,
    joined_space,
    recorded,
    versions,
)
from hptune.rundir import RunPaths
from hptune.spec.experiment import Experiment
from hptune.spec.recipe import full_epochs
from hptune.spec.space import Space
from hptune.stabilizing import Stabilizing
from hptune.stopwatch import counts
from hptune.strategies.strategy import Continue, Decision, Start, Strategy, Wait, order_is_free
from hptune.trial import Segment, SegmentFailure, Values
from hptune.warm_start import earlier_trials
from hptune.watch import Watch

_PAUSED_LOOKED_AT = 8
"""How many paused trials are looked at after each report, so that a report costs the same at 10,000 trials."""

MakeStrategy: TypeAlias = Callable[[Experiment, Space], Strategy]


@dataclass(frozen=True, slots=True)
class Request:
    """What one call of `hptune search` asks for.

    text: the YAML as given. folder: the YAML file's. command: what resumes the search, to be said after an interrupt.
    meanwhile: called while the probe loads the data and the model, perhaps in another process.
    """

    experiment: Experiment
    text: str
    folder: Path
    command: str
    meanwhile: Callable[[], None] = lambda: None


def search(
    request: Request, paths: RunPaths, executor: Executor, *, make_strategy: MakeStrategy, watch: Watch
) -> Record:
    """Run a search, resume it, or continue it under a raised budget; the record as it then stands.

    Raises SpecError where the spec or the data can't be used or has changed since the run was begun, RunError where
    the run can't go on or no trial succeeded, Interrupted after Ctrl-C.
    """
    with locked(paths) as left_behind:
        if left_behind is not None:
            watch.noted(left_behind)
        try:
            with interrupts.noticed(finish=False) as asked:
                events = recorded(paths)
                head = first(events)
                if head is not None:
                    loop = _resume(request, Head(head), paths, executor)
                else:
                    loop = _begin(request, paths, executor)
                with Journal(paths.journal, below=paths.runs) as journal:
                    loop.run(journal, events, make_strategy=make_strategy, watch=watch, asked_to_stop=asked)
        except KeyboardInterrupt as stop:
            told = f"interrupted. What was finished is kept in {paths.root}. Go on with: {request.command}"
            raise Interrupted(told) from stop
    check_any_succeeded(loop.record)
    return loop.record


def probe(executor: Executor, *, epochs: int = 0, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """What the worker finds in the data and the model: the probe's facts. Raises SpecError, or RunError.

    epochs: above 0, it may train a little, to tell what training costs. meanwhile: called before the facts are waited
    for.
    """
    executor.submit(Segment(trial=0, values={}, to_epoch=epochs, purpose="probe"))
    meanwhile()
    (outcome,) = executor.wait()
    if isinstance(outcome, SegmentFailure):
        raise RunError(f"the data or the model can't be loaded: {outcome.reason}")
    return dict(outcome.facts)


def _begin(request: Request, paths: RunPaths, executor: Executor) -> _Loop:
    facts = probe(executor, meanwhile=request.meanwhile)
    experiment = filled(request.experiment, facts)
    space = joined_space(experiment, facts)
    earlier, told = earlier_trials(experiment, space, paths.root.parent, fingerprint=facts.get("fingerprint"))
    files.write_whole(paths.spec, request.text, below=paths.runs)
    with Journal(paths.journal, below=paths.runs) as journal:
        event = head_event(experiment, space=space, facts=facts, folder=request.folder, earlier=earlier, told=told)
        head = journal.append(event)
    return _Loop(Record(head), experiment, paths, executor, probed=True, meanwhile=request.meanwhile)


def _resume(request: Request, head: Head, paths: RunPaths, executor: Executor) -> _Loop:
    experiment = filled(request.experiment, head.facts)
    check_same_spec(head, experiment)
    text = request.text.encode("utf-8", "surrogateescape")
    if files.is_file(paths.spec, below=paths.runs) and files.read_bytes(paths.spec, below=paths.runs) != text:
        files.write_whole(paths.spec, request.text, below=paths.runs)
    return _Loop(Record(head.event), experiment, paths, executor, probed=False, meanwhile=request.meanwhile)


class _Loop:
    """One search under way.

    probed: whether the executor has been asked for its facts; a search with nothing left to train never asks.
    """

    def __init__(
        self,
        record: Record,
        experiment: Experiment,
        paths: RunPaths,
        executor: Executor,
        *,
        probed: bool,
        meanwhile: Callable[[], None],
    ) -> None:
        self.record = record
        self._history = record.history
        self._experiment = experiment
        self._executor = executor
        self._probed = probed
        self._meanwhile = meanwhile
        self._limits = limits(experiment)
        self._free = self._limits.time_s is None and self._limits.target is None and order_is_free(experiment)
        self._free &= experiment.evaluation.stop_after is None
        self._paths = paths
        self._checkpoints = Checkpoints(paths, self._history, keep=experiment.checkpoints.keep)
        self._replicas = experiment.evaluation.folds or experiment.evaluation.repeats
        self._queue: deque[Segment] = deque()  # recorded as started, not yet submitted
        self._stabilizing = Stabilizing(experiment, self._history)
        self._running = 0
        self._paused: dict[int, None] = {}  # in the order in which they are looked at
        self._lost: Counter[SegmentKey] = Counter()
        self._has_noted = False
        self._why: str | None = None  # why nothing new is started
        self._finishes = experiment.execution.on_interrupt == "finish"
        self._asked_to_stop: Callable[[], bool] = lambda: False

    def run(
        self,
        journal: Journal,
        events: Iterator[Event],
        *,
        make_strategy: MakeStrategy,
        watch: Watch,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        """Take in `events`, then search until the budget or the strategy ends it, or until `asked_to_stop`."""
        for event in events:
            self._apply(event)
        self._journal, self._watch, self._make_strategy = journal, watch, make_strategy
        self._clock = Clock(self._paths.clock, self.record.elapsed_s, below=self._paths.runs)
        self.record.spent_s = self._clock.seconds
        self._paused = {trial.number: None for trial in self._history.trials if trial.state == "paused"}
        ended = False
        try:
            self._search(asked_to_stop)
            ended = True
        except KeyboardInterrupt:  # after any other error nothing is deleted: another process may be at the run
            self._sync()
            raise
        finally:
            self._clock.close(told=ended)
        self._sync()

    def _search(self, asked_to_stop: Callable[[], bool]) -> None:
        self._checkpoints.tidy_all()
        drop_untold_weights(self._paths, self.record)
        self._take_up_pending()
        self._watch.begun(self.record, self._limits)
        with interrupts.noticed(finish=True) if self._finishes else nullcontext(asked_to_stop) as self._asked_to_stop:
            self._train_while(self._decide)
            assert self._why is not None, "the strategy waits while nothing runs"
            self._stop_hopeless(len(self._paused))
            self._train_while(self._start_finalist)
        if self.record.ended != self._why:
            self._write({"event": "search_ended", "why": self._why})

    @cached_property
    def _strategy(self) -> Strategy:
        """Made when it is first asked: a search with nothing left to do is not kept waiting."""
        return self._make_strategy(self._experiment, self.record.head.space)

    def _train_while(self, start_more: Callable[[], bool]) -> None:
        """Train what is queued, and what `start_more` queues, until it has nothing and all is taken in.

        Raises KeyboardInterrupt where somebody has asked to stop, and what was being trained is done.
        """
        while True:
            while self._has_room() and (self._queue or start_more()):
                self._submit(self._queue.popleft())
            if not self._running:
                if self._asked_to_stop():
                    raise KeyboardInterrupt
                assert not self._stabilizing.waiting, "nobody makes the weights that are waited for"
                return
            outcomes = self._executor.wait(self._journal.due_s())
            if not outcomes:
                self._sync()
            for outcome in outcomes:
                self._running -= 1
                self._take_in(outcome)

    def _has_room(self) -> bool:
        """Whether the executor is given another segment; some to choose from where that changes no trial."""
        ahead = self._executor.ahead if self._free and not self._finishes else 0
        return not self._asked_to_stop() and self._running + self._stabilizing.idle < self._executor.slots + ahead

    # --- what to train next -------------------------------------------------------------------------------------

    def _decide(self) -> bool:
        """Whether the strategy has a next step, which is then recorded as started and queued."""
        self._why = self._limits.reached(self._history, self._clock.seconds(), paused=bool(self._paused))
        if self._why is not None:
            return False
        decision = self._ask()
        if isinstance(decision, Start):
            self._start(len(self._history.trials), decision.values, 0, decision.to_epoch, decision.why)
        elif isinstance(decision, Continue):
            trial = self._history.trials[decision.trial]
            self._start(trial.number, trial.values, trial.epochs, decision.to_epoch, decision.why)
        elif isinstance(decision, Wait):
            return False
        else:
            self._why = decision.why
            return False
        return True

    @counts("strategy")
    def _ask(self) -> Decision:
        return self._strategy.next(self._history)

    def _start(self, trial: int, values: Values, from_epoch: int, to_epoch: int, why: str | None) -> None:
        """Record a step of a trial as started, a segment for each replica that has more to learn."""
        self._ensure_probed()
        self._paused.pop(trial, None)
        segment = Segment(
            trial,
            values,
            from_epoch,
            to_epoch,
            keep_state=self._checkpoints.wants_any or to_epoch < full_epochs(self._experiment, values),
            keep_above=self._checkpoints.threshold,
        )
        replicas = self._history.unfinished(trial, self._replicas)
        if len(replicas) > 1 and self._experiment.checkpoints.keep:  # the mean decides, which no replica knows
            segment = segment._replace(keep_state=True)
        because = {"why": why} if why is not None else {}
        self._write({**tell.started(segment, replicas), **because}, durable=False)
        self._queue.extend(segment._replace(replica=replica) for replica in replicas)

    def _start_finalist(self) -> bool:
        """Whether a finalist has repeats to train, which are then recorded as started and queued."""
        found = next_finalist(self._experiment, self._history)
        if found is None:
            return False
        self._ensure_probed()
        segment, replicas = found
        self._write(tell.started(segment, replicas), durable=False)
        self._queue.extend(segment._replace(replica=replica) for replica in replicas)
        return True

    def _take_up_pending(self) -> None:
        """What was started before the search was cut short is trained now, the weights that others wait for first."""
        for purposes in (("stabilize",), ("trial", "finalist")):
            self._queue.extend(s for s in self._history.pending.values() if s.purpose in purposes)
        for trial in {segment.trial for segment in self._queue}:
            self._drop_failed(trial)
        if self._queue:
            self._ensure_probed()

    def _ensure_probed(self) -> None:
        if not self._probed:
            check_same_training(self.record.head)
            check_same_data(self.record.head, probe(self._executor, meanwhile=self._meanwhile))
            budget = self._experiment.budget.model_dump(mode="json", exclude_none=True)
            self._write({"event": "resumed", "versions": versions(), "budget": budget})
            self._probed = True

    def _submit(self, segment: Segment) -> None:
        """Submit a segment, unless its trial is not worth it any more.

        Where the weights that it starts from are missing, it waits and they are made.
        """
        if self._is_spared(segment):
            return
        if self._stabilizing.must_wait(segment):
            making = self._stabilizing.hold(segment)
            if making is None:
                return
            self._write(tell.started(making), durable=False)
            segment = making
        self._clock.start()
        self._executor.submit(segment)
        self._running += 1

    def _is_spared(self, segment: Segment) -> bool:
        """Whether a fold is not trained, because its trial did badly on others; the trial is then stopped."""
        after = self._experiment.evaluation.stop_after
        if after is None or segment.purpose != "trial":
            return False
        if not unpromising(self._history, self._history.trials[segment.trial], stop_after=after):
            return False
        spared = [segment, *(other for other in self._queue if other.trial == segment.trial)]
        for other in spared[1:]:
            self._queue.remove(other)
        reports = len(self._history.reports)
        self._write(tell.stopped(segment.trial, [other.replica for other in spared]))
        if len(self._history.reports) > reports:
            self._watch.reported(self._history.trials[segment.trial])
        return True

    # --- what came back -----------------------------------------------------------------------------------------

    def _take_in(self, outcome: Outcome) -> None:
        """Record what a segment brought, or why it brought nothing."""
        segment = outcome.segment
        if isinstance(outcome, SegmentFailure):
            if outcome.lost and self._try_again(outcome):
                return
        elif (made := tell.stabilized(outcome)) is not None:
            self._write(made)
        elif "retrained" in outcome.facts:
            self._watch.noted(f"trial {segment.trial}: {outcome.facts['retrained']}")
        facts = {} if isinstance(outcome, SegmentFailure) else outcome.facts
        if not self._has_noted and (told := facts.get("not_shared") or facts.get("note")) is not None:
            self._has_noted = True
            self._watch.noted(f"trial {segment.trial}: {told}")
        reports = len(self._history.reports)
        event = self._told(outcome)
        self._write(event)
        if segment.purpose == "finalist":
            self._watch.tested(self._history.trials[segment.trial])
        if segment.purpose == "stabilize":
            self._after_stabilizing(segment, event.get("reason"))
        self._drop_failed(segment.trial)
        if len(self._history.reports) > reports:
            trial = self._history.trials[segment.trial]
            if trial.state == "paused":
                self._paused[trial.number] = None
            self._stop_hopeless(_PAUSED_LOOKED_AT)
            self._watch.reported(self._history.trials[segment.trial])

    def _told(self, outcome: Outcome) -> dict[str, Any]:
        """The event that tells of an outcome."""
        if isinstance(outcome, SegmentFailure):
            return tell.failed(outcome)
        segment = outcome.segment
        if segment.purpose == "stabilize":
            return tell.finished(outcome, complete=True)
        if (reason := unusable(outcome, self._history.objectives)) is not None:
            return tell.failed(SegmentFailure(segment, reason, outcome.seconds))
        enough = outcome.epochs >= full_epochs(self._experiment, segment.values)
        return tell.finished(outcome, complete=outcome.ended or enough)

    def _after_stabilizing(self, making: Segment, reason: str | None) -> None:
        """Let go on who waited for weights; where they could not be made, the segment they were made for has failed."""
        for segment in reversed(self._stabilizing.release()):
            if reason is not None and (segment.trial, segment.replica) == (making.trial, making.replica):
                self._write(tell.failed(SegmentFailure(segment, reason, 0.0)))
            else:
                self._queue.appendleft(segment)

    def _try_again(self, failure: SegmentFailure) -> bool:
        """Whether a lost segment is given another try."""
        key = segment_key(failure.segment)
        self._lost[key] += 1
        if self._lost[key] > self._experiment.execution.retries:
            return False
        self._write(tell.lost(failure))
        self._queue.appendleft(failure.segment)
        return True

    def _drop_failed(self, number: int) -> None:
        """Where a trial has failed, its replicas that have not begun are not trained."""
        trial = self._history.trials[number]
        if trial.state != "failed":
            return
        for waiting in (self._queue, self._stabilizing.waiting):
            dropped = [segment for segment in waiting if segment.trial == number and segment.purpose == "trial"]
            for segment in dropped:
                waiting.remove(segment)
                self._write(tell.failed(SegmentFailure(segment, trial.error or "", 0.0)))

    @counts("strategy")
    def _stop_hopeless(self, most: int) -> None:
        """Stop paused trials, of `most` that are looked at in turn, which the strategy will never continue."""
        for number in list(islice(self._paused, most)):
            del self._paused[number]
            if self._strategy.may_continue(self._history.trials[number], self._history):
                self._paused[number] = None  # at the end of the queue
            else:
                self._write(tell.stopped(number), durable=False)
                self._checkpoints.stopped(number)

    # --- the record ---------------------------------------------------------------------------------------------

    def _write(self, event: Event, *, durable: bool = True) -> None:
        """Record an event, and the time so far. The states that it makes needless go when it is on the disk."""
        self._apply(self._journal.append({**event, "elapsed": self._clock.seconds()}, durable=durable))
        if self._journal.due_s() is None:
            self._checkpoints.tidy()

    def _sync(self) -> None:
        self._journal.sync()
        self._checkpoints.tidy()

    def _apply(self, event: Event) -> None:
        reports = len(self._history.reports)
        self.record.apply(event)
        if len(self._history.reports) > reports:
            self._checkpoints.reported(self._history.reports[-1])
