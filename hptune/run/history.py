"""What a Strategy may see: every trial and what was learnt of it, built from the journal's events and cheap to extend.

`History.apply` costs the same whether there are ten trials or ten thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from hptune.base.trial import Curves, Segment, Spent, Trial
from hptune.experiment.objective import Objective
from hptune.run.curves import extended, length, whole_epochs
from hptune.run.events import Event, Failed, Finished, SegmentKey, Started, Stopped, key_of, segment_key


class HistoryChanged(Exception):
    """Code that was shown a history has changed it."""


class History:
    """The trials in the order of their numbers, and the order in which they reported.

    trials: by number, from 0. A number is given once and never again.
    earlier: complete trials of earlier runs (`warm_start`), numbered up to -1; a strategy may learn from them.
    reports: the trial's number each time all replicas of a step (a Start or a Continue) have finished or one failed;
        append-only, so that a strategy can keep a cache and read on from where it was.
    reports_before: by trial, how many reports had come when it was started: with `reports`, the journal's order.
    pending: the segments that were started and have not finished; on resume they are submitted again.
    epochs_trained: over all trials and replicas; `epochs_of_finalists` are beside these, and in no budget.
    stabilized: the segments that have seen to an architecture's stabilised weights; append-only.
    finals: by trial that is a finalist, by replica, the score; None where that training failed.
    finals_failed: by such a trial, why its repeats failed.
    folds: of the cross-validation; a finalist's repeat is the whole of it, so many replicas in a row. None: one split.
    """

    def __init__(
        self, objectives: Sequence[Objective], earlier: Sequence[Trial] = (), *, folds: int | None = None
    ) -> None:
        self.objectives: tuple[Objective, ...] = tuple(objectives)
        self.folds = folds
        self.earlier: tuple[Trial, ...] = tuple(earlier)
        self.trials: list[Trial] = []
        self.reports: list[int] = []
        self.reports_before: list[int] = []
        self.pending: dict[SegmentKey, Segment] = {}
        self.epochs_trained = self.epochs_of_finalists = 0
        self.stabilized: list[Segment] = []
        self.finals: dict[int, dict[int, float | None]] = {}
        self.finals_failed: dict[int, list[str]] = {}
        self._waiting: dict[int, int] = {}  # trial -> how many of its replicas are under way
        self._complete: dict[int, set[int]] = {}  # trial -> the replicas that need no more epochs
        self._short: set[int] = set()  # trials that were stopped before all their replicas were trained
        self._scored: dict[int, tuple[Trial, float | None]] = {}  # by number: of this trial, this score
        self.best: Trial | None = None  # by score, over one objective; the first of equals
        self.best_report = -1  # the index in `reports` at which the best was found
        self._best_score = math.nan

    # --- what a strategy asks -----------------------------------------------------------------------------------

    @property
    def objective(self) -> Objective:
        """The only objective, for strategies that know one."""
        assert len(self.objectives) == 1, "asked for the objective of a search with several"
        return self.objectives[0]

    def score(self, trial: Trial, epochs: int | None = None) -> float | None:
        """The objective at the best of the first `epochs` epochs (None: of all), the mean over replicas.

        None where the trial has failed, has not got that far or was stopped before all its folds. For several
        objectives use `scores`.
        """
        if epochs is not None:
            return self._score(trial, self.objective, epochs=epochs)
        known = self._scored.get(trial.number)
        if known is None or known[0] is not trial:
            known = self._scored[trial.number] = (trial, self._score(trial, self.objective, epochs=None))
        return known[1]

    def scores(self, trial: Trial, epochs: int | None = None) -> dict[str, float] | None:
        """Every objective's score by metric, or None where one is missing.

        All are of one epoch, the one that is best by the first objective that has a value each epoch: what one model
        attains, and the one that train-best gives out. Epochs in which an objective has no value don't count.
        """
        lead = next((o for o in self.objectives if any(o.metric in curves for curves in trial.curves)), None)
        by_metric = {o.metric: self._score(trial, o, epochs=epochs, lead=lead) for o in self.objectives}
        return None if None in by_metric.values() else by_metric  # type: ignore[return-value]  # no None is left

    def replica_scores(
        self, trial: Trial, objective: Objective, *, epochs: int | None = None, lead: Objective | None = None
    ) -> list[float]:
        """One score a replica, of those that reported: what means and spreads are of."""
        scores = []
        for replica, curves in enumerate(trial.curves):
            whole = curves if lead is None else whole_epochs(curves, self.objectives)
            took = None
            if objective.metric == "seconds" and replica < len(trial.spent):
                took = time_of(trial.spent[replica], epochs)
            score = score_of(objective, whole, facts=trial.facts, seconds=took, epochs=epochs, lead=lead)
            if score is not None:
                scores.append(score)
        return scores

    def final_scores(self, trial: int) -> list[float] | None:
        """A finalist's scores, one a repeat; None where it is none, has repeats to train, or has failed at one."""
        scores = self.final_repeats(trial)
        under_way = any(purpose == "finalist" and number == trial for purpose, number, _ in self.pending)
        too_few = len(scores) < (2 if self.folds else 1)  # in a run that trained some folds alone
        if under_way or too_few or None in self.finals[trial].values():
            return None
        return [score for score in scores if score is not None]

    def final_repeats(self, trial: int) -> list[float | None]:
        """The score of each repeat of a finalist that is whole: the mean over its folds; None where one failed."""
        each = self.folds or 1
        repeats: dict[int, list[float | None]] = {}
        for replica, score in self.finals.get(trial, {}).items():
            repeats.setdefault(replica // each, []).append(score)
        whole = [scores for scores in repeats.values() if len(scores) == each]
        return [None if None in scores else math.fsum(s for s in scores if s is not None) / each for scores in whole]

    def running(self) -> Iterator[Trial]:
        """The trials with a segment under way."""
        for number in sorted(self._waiting):
            yield self.trials[number]

    def unfinished(self, trial: int, replicas: int) -> list[int]:
        """Which of a trial's `replicas` replicas can be trained on (early stopping ends each by itself)."""
        return [replica for replica in range(replicas) if replica not in self._complete.get(trial, ())]

    def _score(
        self, trial: Trial, objective: Objective, *, epochs: int | None, lead: Objective | None = None
    ) -> float | None:
        if trial.number in self._short:
            return None
        if trial.state == "failed" or (epochs is not None and trial.epochs < epochs and trial.state != "completed"):
            return None
        if epochs is None and trial.state == "running":
            epochs = trial.epochs  # what the step under way has brought so far is not the trial's score yet
        if objective.metric == "seconds" and trial.curves and not trial.spent:
            return trial.seconds  # of an earlier run
        scores = self.replica_scores(trial, objective, epochs=epochs, lead=lead)
        return math.fsum(scores) / len(scores) if scores and len(scores) == len(trial.curves) else None

    # --- how it grows -------------------------------------------------------------------------------------------

    @contextmanager
    def unchanged(self, *, curves: bool = False) -> Iterator[None]:
        """For code of the user's to run in: which trials there are, and their values, are put back.

        curves: their curves too. Raises HistoryChanged where they were others.
        """

        def held(trial: Trial) -> list[dict[str, Any]]:
            return cast("list[dict[str, Any]]", [trial.values, *(trial.curves if curves else ())])

        trials = [*self.trials]
        before = [(one, dict(one)) for trial in (*trials, *self.earlier) for one in held(trial)]
        try:
            yield
        finally:
            changed = self.trials != trials or any(one != copy for one, copy in before)
            self.trials[:] = trials
            for one, copy in before if changed else ():
                one.clear()
                one.update(copy)
        if changed:
            told = "changed the history that it was given: its trials, or their values"
            raise HistoryChanged(f"{told}. Let it change copies")

    def apply(self, event: Event) -> None:
        """Take in one event of the journal; events that belong to no segment are skipped."""
        if event["event"] == "segment_started":
            self._start(event)
        elif event["event"] == "segment_finished":
            self._finish(event)
        elif event["event"] == "segment_failed":
            self._fail(event)
        elif event["event"] == "trial_stopped":
            self._stop(event)
        elif event["event"] == "segment_lost" and event["purpose"] == "trial":
            trial = self.trials[event["trial"]]
            self._update(trial.number, lost_s=trial.lost_s + event.get("seconds", 0.0))

    def _start(self, event: Started) -> None:
        segment = Segment(
            event["trial"],
            event["values"],
            event["from_epoch"],
            event["to_epoch"],
            event["replica"],
            event["purpose"],
            event.get("keep_state", False),
            event.get("keep_above"),
        )
        replicas = event.get("replicas", (segment.replica,))
        for replica in replicas:
            started = segment if replica == segment.replica else segment._replace(replica=replica)
            self.pending[segment_key(started)] = started
        if segment.purpose != "trial":
            return
        self._waiting[segment.trial] = len(replicas)
        if segment.trial == len(self.trials):
            self.trials.append(Trial(segment.trial, segment.values, "running", segment.to_epoch, why=event.get("why")))
            self.reports_before.append(len(self.reports))
        else:
            self._update(segment.trial, state="running", to_epoch=segment.to_epoch, why=event.get("why"))

    def _finish(self, event: Finished) -> None:
        segment = self._take_pending(key_of(event))
        if segment.purpose == "stabilize":
            self.stabilized.append(segment)
        if segment.purpose == "finalist":
            curves = {metric: tuple(values) for metric, values in event["curves"].items()}
            score = score_of(self.objective, curves, facts=event.get("facts", {}), seconds=event["seconds"])
            self._set_final(segment, score)
            self.epochs_of_finalists += event["epochs"]
        if segment.purpose != "trial":
            return
        number = segment.trial
        trial = self.trials[number]
        self.epochs_trained += event["epochs"] - segment.from_epoch
        all_curves = [*trial.curves, *[{}] * (segment.replica + 1 - len(trial.curves))]
        all_curves[segment.replica] = extended(all_curves[segment.replica], event["curves"], segment.from_epoch)
        facts = {**event.get("facts", {}), **({"ended": True} if event["ended"] else {})}
        spent = _with_seconds(trial.spent, segment, event["seconds"])
        if event["complete"]:
            self._complete.setdefault(number, set()).add(segment.replica)
        state, epochs = trial.state, trial.epochs
        reports = number not in self._waiting and state != "failed"
        if reports:
            going = [length(all_curves[replica]) for replica in self.unfinished(number, len(all_curves))]
            epochs = min(going) if going else max(map(length, all_curves))
            state = "stopped" if number in self._short else "paused" if going else "completed"
        self.trials[number] = Trial(
            number,
            trial.values,
            state,
            trial.to_epoch,
            epochs,
            tuple(all_curves),
            mean_time(spent),
            trial.error,
            {**trial.facts, **facts} if facts else trial.facts,
            trial.why,
            spent,
            trial.lost_s,
        )
        if reports:
            self._report(number)

    def _stop(self, event: Stopped) -> None:
        number, replicas = event["trial"], event.get("replicas", ())
        for replica in replicas:
            self._take_pending(("trial", number, replica))
            self._short.add(number)
            self._scored.pop(number, None)
        if number not in self._waiting:  # else one of its replicas is still being trained
            epochs = max((length(curves) for curves in self.trials[number].curves), default=0)
            self._update(number, state="stopped", **({"epochs": epochs} if replicas else {}))
            if replicas:
                self._report(number)

    def _fail(self, event: Failed) -> None:
        segment = self._take_pending(key_of(event))
        if segment.purpose == "finalist":
            self._set_final(segment, None)
            self.finals_failed.setdefault(segment.trial, []).append(event["reason"])
        if segment.purpose != "trial":
            return
        trial = self.trials[segment.trial]
        if event["seconds"] > 0:  # else it was never begun
            spent = _with_seconds(trial.spent, segment, event["seconds"])
            self._update(trial.number, spent=spent, seconds=mean_time(spent))
        if trial.state != "failed":
            self._update(trial.number, state="failed", error=event["reason"])
            self._report(trial.number)

    def _set_final(self, repeat: Segment, score: float | None) -> None:
        known = {**self.finals.get(repeat.trial, {}), repeat.replica: score}
        self.finals[repeat.trial] = dict(sorted(known.items()))

    def _take_pending(self, key: SegmentKey) -> Segment:
        segment = self.pending.pop(key)
        if segment.purpose == "trial":
            self._waiting[segment.trial] -= 1
            if not self._waiting[segment.trial]:
                del self._waiting[segment.trial]
        return segment

    def _report(self, number: int) -> None:
        self.reports.append(number)
        if len(self.objectives) > 1:
            return
        trial = self.trials[number]
        if self.best is None or self.best.number != number:
            self._challenge(trial, len(self.reports) - 1)
        elif trial.state == "failed":
            self.best, self.best_report = None, -1
            for at, reported in enumerate(self.reports):
                self._challenge(self.trials[reported], at)
        elif not self._challenge(trial, len(self.reports) - 1):  # further trained, no better: the report stands
            score = self.score(trial)
            self.best, self._best_score = trial, math.nan if score is None else score

    def _challenge(self, trial: Trial, report: int) -> bool:
        """Whether the trial is better than the best, and so is the best from now on."""
        score = self.score(trial)
        if score is None or not (self.best is None or self.objective.better(score, self._best_score)):
            return False
        self.best, self.best_report, self._best_score = trial, report, score
        return True

    def _update(self, number: int, **changes: Any) -> None:
        self.trials[number] = self.trials[number]._replace(**changes)


def score_of(
    objective: Objective,
    curves: Curves,
    *,
    facts: Mapping[str, Any],
    seconds: float | None,
    epochs: int | None = None,
    lead: Objective | None = None,
) -> float | None:
    """What one training scores by an objective, whoever asks: of a trial's replica, a finalist's repeat, train-best.

    It is the value at the best of the first `epochs` epochs (None: of all), the best by `lead` (None: by itself); or a
    fact of the training; or its seconds. None where there is no value.
    """
    if objective.metric == "seconds":
        return seconds
    if objective.metric in facts:
        return float(facts[objective.metric])
    if lead is None or lead is objective:
        return best_of(curves, objective, epochs)
    return _at_best_of(lead, curves, objective=objective, epochs=epochs)


def time_of(spent: Spent, epochs: int | None = None) -> float | None:
    """Seconds that one replica took: all its segments together, those that began before `epochs` (None: all).

    >>> time_of(((0, 2.0), (3, 1.5))), time_of(((0, 2.0), (3, 1.5)), 3)
    (3.5, 2.0)
    """
    counted = [took for began, took in spent if epochs is None or began < epochs]
    return math.fsum(counted) if counted else None


def mean_time(spent: Sequence[Spent]) -> float:
    """A trial's seconds: the mean over the replicas that were trained, one at least.

    >>> mean_time([((0, 2.0), (3, 1.5)), (), ((0, 2.5),)])
    3.0
    """
    if len(spent) == len(spent[0]) == 1:  # as in most searches
        return spent[0][0][1]
    each = [took for replica in spent if (took := time_of(replica)) is not None]
    return math.fsum(each) / len(each)


def _with_seconds(spent: tuple[Spent, ...], segment: Segment, seconds: float) -> tuple[Spent, ...]:
    """The seconds of one more segment counted as its replica's."""
    entry = (segment.from_epoch, seconds)
    if not spent and not segment.replica:
        return ((entry,),)
    filled = [*spent, *[()] * (segment.replica + 1 - len(spent))]
    filled[segment.replica] = (*filled[segment.replica], entry)
    return tuple(filled)


def best_of(curves: Curves, objective: Objective, epochs: int | None = None) -> float | None:
    """The objective's best value in the first `epochs` epochs of one replica, or None where it has no value."""
    curve = curves.get(objective.metric, ())[:epochs]
    best = objective.best(curve) if curve else math.nan
    return best if best == best else None


def best_epoch(curves: Curves, lead: Objective) -> int:
    """The epoch, from 1, that is best by `lead`: the first of equals, or the last where it has no value in any.

    >>> best_epoch({"score": (0.5, 0.9, 0.9, 0.7)}, Objective(metric="score", goal="maximize"))
    2
    """
    curve = curves.get(lead.metric, ())
    best = lead.best(curve) if curve else math.nan
    return curve.index(best) + 1 if best == best else length(curves)


def _at_best_of(lead: Objective, curves: Curves, *, objective: Objective, epochs: int | None) -> float | None:
    """The objective's value at the epoch that is best by another, `lead`."""
    cut = {metric: curves.get(metric, ())[:epochs] for metric in (lead.metric, objective.metric)}
    curve, at = cut[objective.metric], best_epoch(cut, lead) - 1
    return curve[at] if 0 <= at < len(curve) and curve[at] == curve[at] else None
