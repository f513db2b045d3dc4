"""One search under way: next → submit → record. The only writer of a run's journal while it is searched.

Every decision follows from the journal, so that a search that was killed and is begun again goes on as if nothing had
happened; and from the results handed on so far (`turns`), so that it goes the same way on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from hptune.base import interrupts
from hptune.base.stopwatch import counts
from hptune.base.trial import Segment, SegmentFailure, Values
from hptune.executors.executor import Executor, Outcome
from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import full_epochs
from hptune.experiment.space.space import Space
from hptune.run import events as run_events
from hptune.run.checkpoints import KeptStates, drop_untold_weights
from hptune.run.clock import Clock
from hptune.run.events import End, Event
from hptune.run.journal import Journal
from hptune.run.record import Record
from hptune.run.resume import check_same_training, resumed
from hptune.run.rundir import RunPaths
from hptune.run.usable import unusable
from hptune.search.agenda import Agenda
from hptune.search.budget import limits
from hptune.search.finalists import next_finalist
from hptune.search.probing import probe, with_strategys_code
from hptune.search.pruning import unpromising
from hptune.search.recorder import Recorder, catch_up, end_of
from hptune.search.turns import turns_of
from hptune.search.watch import Watch
from hptune.strategies.strategy import Continue, Decision, Start, Strategy, Wait, order_is_free

_PAUSED_LOOKED_AT = 8
"""How many paused trials are checked after each report, so that a report costs the same at 10,000 trials."""

_LOOK_S = 0.1
"""Seconds between two looks at how far training has come, where an idle worker depends on it."""

MakeStrategy: TypeAlias = Callable[[Experiment, Space], Strategy]


@dataclass(frozen=True, slots=True)
class Request:
    """What one call of `hptune search` asks for.

    text: the YAML as given. folder: the YAML file's. command: what resumes the search, to be said after an interrupt.
    meanwhile: called while the probe loads the data and the model, perhaps in another process. strict: a run that was
    begun under other circumstances (code, versions) is not resumed.
    """

    experiment: Experiment
    text: str
    folder: Path
    command: str
    meanwhile: Callable[[], None] = lambda: None
    strict: bool = False


class Loop:
    """One search under way.

    record: the journal so far, replayed. request: with every default of its experiment filled in. probed: whether the
    probe has run; a search with nothing left to train never runs it.
    """

    def __init__(
        self,
        record: Record,
        request: Request,
        *,
        paths: RunPaths,
        executor: Executor,
        journal: Journal,
        events: Iterable[Event],
        probed: bool,
        make_strategy: MakeStrategy,
        watch: Watch,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        """events: those of the journal after its head, which are taken in first."""
        experiment = request.experiment
        self.record = record
        self._experiment = experiment
        self._request = request
        self._paths = paths
        self._executor = executor
        self._probed = probed
        self._make_strategy = make_strategy
        self._watch = watch
        self._asked_to_stop = asked_to_stop
        self._limits = limits(experiment)
        self._free = self._limits.time_s is None and self._limits.target is None and order_is_free(experiment)
        self._free &= experiment.evaluation.stop_after is None
        self._turns = turns_of(record, experiment, free=self._free)
        self._seen = self._turns.history  # what every decision is made from
        self._agenda = Agenda(experiment, self._turns)
        self._kept_states = KeptStates(paths, record.history, keep=experiment.checkpoints.keep)
        followers = (record, self._turns, self._kept_states)
        catch_up(events, *followers)
        self._clock = Clock(paths.clock, record.elapsed_s, below=paths.runs)
        record.spent_s = self._clock.seconds
        self._recorder = Recorder(journal, *followers, clock=self._clock.seconds, on_disk=self._kept_states.tidy)
        self._running = 0
        self._has_noted = False
        self._why: str | None = None  # why nothing new is started

    def run(self) -> None:
        """Search until the budget or the strategy ends it, or until somebody asks to stop (KeyboardInterrupt)."""
        ended = False
        try:
            self._search()
            ended = True
        except KeyboardInterrupt:  # after any other error nothing is deleted: another process may be at the run
            self._recorder.sync()
            raise
        finally:
            self._clock.close(journalled=ended)
            self._watch.ended()
        self._recorder.sync()

    def _search(self) -> None:
        self._kept_states.tidy_all()
        drop_untold_weights(self._paths, self.record)
        for trial in self._seen.trials:
            if trial.state == "paused":
                self._agenda.pause(trial.number)
        self._take_up_pending()
        self._watch.begun(self.record, self._limits)
        finishes = self._experiment.execution.on_interrupt == "finish"
        with interrupts.noticed(finish=True) if finishes else nullcontext(self._asked_to_stop) as self._asked_to_stop:
            self._train_while(self._decide)
            assert self._why is not None, "the strategy waits while nothing runs"
            self._stop_hopeless(self._agenda.paused)
            self._train_while(self._start_finalist)
        if self.record.ended != self._why:
            self._recorder.write({"event": "search_ended", "why": self._why})

    @cached_property
    def _strategy(self) -> Strategy:
        """Made when it is first asked: a search with nothing left to do is not kept waiting."""
        return self._make_strategy(self._experiment, self.record.head.space)

    def _train_while(self, start_more: Callable[[], bool]) -> None:
        """Train what is queued and what `start_more` adds, until nothing is left and every result is taken in.

        Raises KeyboardInterrupt where somebody has asked to stop, once the running segments are done.
        """
        while True:
            decided = self._fill(start_more)
            if (ended := self._turns.next(self._executor.progress, decided=decided)) is not None:
                self._react_to(ended)
            elif self._running:
                outcomes = self._executor.wait(self._patience_s(decided=decided))
                if not outcomes:
                    self._recorder.sync()
                for outcome in outcomes:
                    self._running -= 1
                    self._take_in(outcome)
            elif self._asked_to_stop():
                raise KeyboardInterrupt
            else:
                assert not self._agenda.weights.waiting, "nobody makes the weights that are waited for"
                return

    def _fill(self, start_more: Callable[[], bool]) -> bool:
        """Submit as much as the executor has room for. True: nothing more begins before another result is known."""
        while not self._asked_to_stop():
            segment = self._agenda.next()
            if not self._agenda.has_room(segment, self._free_slots()):
                return True
            if self._free_slots() <= 0:
                return False
            if segment is not None:
                self._agenda.remove(segment)
                self._submit(segment)
            elif not start_more():
                return True
        return False

    def _free_slots(self) -> int:
        """How many segments may be submitted; some to choose from where their order changes no trial."""
        ahead = self._executor.ahead if self._free and self._experiment.execution.on_interrupt != "finish" else 0
        return self._executor.slots + ahead - self._running

    def _patience_s(self, *, decided: bool) -> float:
        """How long to wait for an outcome, in seconds: a worker may be idle for want of knowing how far others are."""
        due_s = self._recorder.look_s()
        idle = decided and self._turns.holds_any and self._free_slots() > 0
        return min(due_s, _LOOK_S) if idle else due_s

    # --- what to train next -------------------------------------------------------------------------------------

    def _decide(self) -> bool:
        """Whether the strategy has a next step, which is then recorded as started and queued."""
        known = self._seen if self.record.ended is None else self.record.history  # which has all that it ended with
        self._why = self._limits.reached(known, self._clock.seconds(), paused=bool(self._agenda.paused))
        if self._why is not None:
            return False
        decision = self._ask()
        if isinstance(decision, Start):
            self._start(
                len(self._seen.trials), decision.values, from_epoch=0, to_epoch=decision.to_epoch, why=decision.why
            )
        elif isinstance(decision, Continue):
            trial = self._seen.trials[decision.trial]
            self._start(
                trial.number, trial.values, from_epoch=trial.epochs, to_epoch=decision.to_epoch, why=decision.why
            )
        elif isinstance(decision, Wait):
            return False
        else:
            self._why = decision.why
            return False
        return True

    @counts("strategy")
    def _ask(self) -> Decision:
        return self._strategy.next(self._seen)

    def _start(self, trial: int, values: Values, *, from_epoch: int, to_epoch: int, why: str | None) -> None:
        """Record a step of a trial as started, a segment for each replica that has more to learn."""
        self._ensure_probed()
        self._agenda.go_on(trial)
        segment = Segment(
            trial,
            values,
            from_epoch,
            to_epoch,
            keep_state=self._kept_states.wants_any or to_epoch < full_epochs(self._experiment, values),
            keep_above=self._kept_states.threshold,
        )
        evaluation = self._experiment.evaluation
        replicas = self._seen.unfinished(trial, evaluation.replicas)
        if len(replicas) > 1 and self._experiment.checkpoints.keep:  # the mean decides, which no replica knows
            segment = segment._replace(keep_state=True)
        begins = len(replicas) == 1 and not self._agenda.weights.must_wait(segment._replace(replica=replicas[0]))
        self._record_decision(run_events.started(segment, replicas, why=why), begins=begins)
        self._agenda.add(segment._replace(replica=replica) for replica in replicas)

    def _start_finalist(self) -> bool:
        """Whether a finalist has repeats to train, which are then recorded as started and queued."""
        finalist = next_finalist(self._experiment, self._seen)
        if finalist is None:
            return False
        self._ensure_probed()
        segment, replicas = finalist
        self._record_decision(run_events.started(segment, replicas))
        self._agenda.add(segment._replace(replica=replica) for replica in replicas)
        return True

    def _take_up_pending(self) -> None:
        """Queue the segments that were started before the search was cut short and have no result."""
        self._agenda.add(self._turns.pending())
        for trial in self._agenda.trials():
            self._drop_failed(trial)
        if self._agenda.trials():
            self._ensure_probed()

    def _ensure_probed(self) -> None:
        if not self._probed:
            check_same_training(self.record.head)
            probed = probe(self._executor, meanwhile=self._request.meanwhile)
            facts = with_strategys_code(probed, self._experiment, self._request.folder)
            event, message = resumed(self.record, facts, strict=self._request.strict)
            event["budget"] = self._experiment.budget.model_dump(mode="json", exclude_none=True)
            self._recorder.write(event)
            if message is not None:
                self._watch.noted(message)
            self._probed = True

    def _submit(self, segment: Segment) -> None:
        """Submit a segment, unless its trial is not worth it any more.

        Where the weights that it starts from are missing, it waits and they are made.
        """
        if not self._turns.has_begun(segment):
            if self._is_spared(segment):
                return
            if self._agenda.weights.must_wait(segment):
                making = self._agenda.weights.hold(segment)
                if making is None:
                    return
                self._record_decision(run_events.started(making), begins=True)
                segment = making
            elif (begun := self._turns.begin(segment)) is not None:
                self._recorder.write(begun, durable=False)
        self._clock.start()
        self._executor.submit(segment)
        self._running += 1

    def _is_spared(self, segment: Segment) -> bool:
        """Whether a fold is not trained, because its trial did badly on others; the trial is then stopped."""
        after = self._experiment.evaluation.stop_after
        if after is None or segment.purpose != "trial":
            return False
        if not unpromising(self._seen, self._seen.trials[segment.trial], stop_after=after):
            return False
        spared = [segment, *self._agenda.take(segment.trial)]
        event = run_events.stopped(segment.trial, [other.replica for other in spared])
        self._record_and_watch(self._turns.marked(event), segment.trial)
        return True

    # --- what came back -----------------------------------------------------------------------------------------

    def _take_in(self, outcome: Outcome) -> None:
        """Record what a segment brought, or why it brought nothing."""
        segment = outcome.segment
        if isinstance(outcome, SegmentFailure) and outcome.lost and self._agenda.may_retry(segment):
            self._recorder.write(run_events.lost(outcome))
            self._agenda.add_first(segment)
            return
        self._recorder.write_made(outcome)
        facts = {} if isinstance(outcome, SegmentFailure) else outcome.facts
        if "retrained" in facts:
            self._watch.noted(f"trial {segment.trial}: {facts['retrained']}")
        if not self._has_noted and (note := facts.get("not_shared") or facts.get("note")) is not None:
            self._has_noted = True
            self._watch.noted(f"trial {segment.trial}: {note}")
        event = self._end_event(outcome)
        self._record_and_watch(event, segment.trial)
        self._turns.came(event)
        if segment.purpose == "finalist":
            self._watch.tested(self.record.history.trials[segment.trial])

    def _record_and_watch(self, event: Event, number: int) -> None:
        """Record an event; where it completes a trial's report, pass that on to the watch."""
        reports = len(self.record.history.reports)
        self._recorder.write(event)
        if len(self.record.history.reports) > reports:
            self._watch.reported(self.record.history.trials[number])

    def _react_to(self, ended: End) -> None:
        """Update the agenda after a segment's end was handed on."""
        number = ended["trial"]
        if ended["purpose"] == "stabilize":
            reason = ended["reason"] if ended["event"] == "segment_failed" else None
            self._after_stabilizing((number, ended["replica"]), reason)
        self._drop_failed(number)
        state = self._seen.trials[number].state
        if ended["purpose"] == "trial" and state != "running":
            if state == "paused":
                self._agenda.pause(number)
            self._stop_hopeless(_PAUSED_LOOKED_AT)

    def _end_event(self, outcome: Outcome) -> End:
        """The event for an outcome; a failure where a trial's result can't be used."""
        segment = outcome.segment
        if isinstance(outcome, SegmentFailure) or segment.purpose == "stabilize":
            return end_of(outcome, complete=True)
        if (reason := unusable(outcome, self._seen.objectives)) is not None:
            return end_of(SegmentFailure(segment, reason, outcome.seconds), complete=True)
        enough = outcome.epochs >= full_epochs(self._experiment, segment.values)
        return end_of(outcome, complete=outcome.ended or enough)

    def _after_stabilizing(self, made_for: tuple[int, int], reason: str | None) -> None:
        """Queue the segments that waited for weights; where these could not be made, fail the one they were made for.

        made_for: its trial and replica.
        """
        for segment in reversed(self._agenda.weights.release()):
            if reason is not None and (segment.trial, segment.replica) == made_for:
                self._give_up(segment, reason)
            else:
                self._agenda.add_first(segment)

    def _drop_failed(self, number: int) -> None:
        """Where a trial has failed, give up its replicas that have not begun."""
        trial = self._seen.trials[number]
        if trial.state == "failed":
            for segment in self._agenda.take_not_begun(number):
                self._give_up(segment, trial.error or "")

    def _give_up(self, segment: Segment, reason: str) -> None:
        """Record that a segment, which has not begun, never will."""
        failure = run_events.failed(SegmentFailure(segment, reason, 0.0))
        self._record_and_watch(self._turns.marked(failure), segment.trial)

    @counts("strategy")
    def _stop_hopeless(self, most: int) -> None:
        """Stop paused trials, of `most` that are looked at in turn, which the strategy will never continue."""
        for trial in self._agenda.take_paused(most):
            if self._strategy.may_continue(trial, self._seen):
                self._agenda.pause(trial.number)
            else:
                self._record_decision(run_events.stopped(trial.number))

    def _record_decision(self, event: Event, *, begins: bool = False) -> None:
        """Record a decision. begins: the segment that it starts begins at once."""
        self._recorder.write(self._turns.marked(event, begins=begins), durable=False)
