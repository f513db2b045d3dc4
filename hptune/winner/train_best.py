"""train-best: the winner trained in full and measured on the test part, with the baseline set beside it.

Both are segments like any other, run by the same executor and recorded in the run's journal. What is written of them
goes into a folder beside `best/`, which takes its place when all of it is on disk, and before the journal records it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from hptune.base import files
from hptune.base.errors import Interrupted, RunError
from hptune.base.trial import Purpose, Segment, SegmentFailure, SegmentResult, Trial, Values
from hptune.executors.executor import Executor, run_one
from hptune.experiment.recipe import resolve
from hptune.reports.leaderboard import plain_json, row
from hptune.run.checkpoints import drop_untold_weights
from hptune.run.curves import whole_epochs
from hptune.run.events import started
from hptune.run.history import History, score_of
from hptune.run.journal import Journal
from hptune.run.lock import locked
from hptune.run.ranking import ranked
from hptune.run.record import Head, check_point, replay
from hptune.run.resume import check_same_data, trained_otherwise
from hptune.run.rundir import RunPaths
from hptune.search.probing import probe
from hptune.search.recorder import Recorder, end_of
from hptune.search.watch import Watch
from hptune.winner.formats import export

Result: TypeAlias = dict[str, Any]
"""What `best/result.json` holds: the winner's values, figures and training, and the baseline's."""

_PRINTED = (
    "trial",
    "values",
    "search_score",
    "search_scores",
    "search_means_of",
    "finalist",
    "test",
    "ramp",
    "baseline",
    "model",
    "note",
)
"""Only where there is one: `search_scores` (one a repeat or fold, of which `search_score` is the mean; of several
objectives how many there are, `search_means_of`), `finalist` (by
which the winner was found, as in `best --json`), `ramp` (where its epoch was found), `note` (on the model's file)."""

_OTHERWISE = "the search was run by a version of hptune that trained differently (docs/reliability.md says how)"


def printed(result: Result) -> Result:
    """What `hptune train-best --json` prints of a result; the baseline's `search_score` is of its training here."""
    values, beside = result["baseline"]["values"], result["baseline"]
    rest = {key: value for key, value in beside.items() if key not in ("values", "training")}
    baseline = {"values": values, "search_score": beside["training"]["score"], **rest}
    return {**{key: result[key] for key in _PRINTED if key in result}, "baseline": baseline}


def train_best(
    paths: RunPaths, executor: Executor, head: Head, *, watch: Watch, formats: Sequence[str] = ()
) -> tuple[Result, dict[str, str], list[str]]:
    """Train the run's winner and the baseline; replaces `best/`. The result, and what `formats.export` gives.

    executor: one that writes the winner aside (`RunPaths.aside`). head: the run's, which the executor was made for.
    formats: which the winner is written in too, before `best/` is replaced.

    Raises RunError where no trial has succeeded or the winner can't be trained, SpecError where the data has changed
    since the search, Interrupted after Ctrl-C.
    """
    with locked(paths):
        record = replay(paths)
        trials = ranked(record.history)
        if not trials:
            raise RunError(f"no trial of {paths.name} has succeeded, so there is no winner. See `hptune trials`.")
        trial = trials[0]
        check_point(head.space, trial.values, paths)
        scores = record.history.scores(trial)
        assert scores is not None, "a ranked trial without a score"
        search_score = scores[record.history.objectives[0].metric]
        check_same_data(head, probe(executor))
        baseline_values = head.space.complete(head.experiment.baseline)
        drop_untold_weights(paths, record)
        watch.winner(record)
        try:
            with _aside(paths) as aside, Journal(paths.journal, below=paths.runs) as journal:
                recorder = Recorder(journal, record)
                best = _train(trial.number, trial.values, "best", head=head, executor=executor, recorder=recorder)
                if isinstance(best, SegmentFailure):
                    recorder.write(end_of(best, complete=True))
                    watch.trained(best)
                    raise RunError(f"the winner, trial {trial.number}, could not be trained in full: {best.reason}")
                beside = _train(
                    trial.number, baseline_values, "baseline", head=head, executor=executor, recorder=recorder
                )
                result: Result = plain_json(
                    {
                        "trial": trial.number,
                        "metric": record.history.objectives[0].metric,
                        "search_score": search_score,
                        **_trainings(trial, record.history),
                        **_summary(best, head),
                        "model": _shown(best.facts.get("model"), paths),
                        "baseline": _summary(beside, head),
                    }
                )
                if trained_otherwise(head):
                    result["note"] = "; ".join(filter(None, [result.get("note"), _OTHERWISE]))
                if best.curves:  # a scikit-learn model has no epochs
                    files.write_whole(aside.best_history, history_csv(best), below=paths.runs)
                text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
                files.write_whole(aside.best_result, text, below=paths.runs)
                if formats:
                    executor.close()  # what its workers hold of the device's memory is free for the conversion
                exported, refused = export(aside, formats)
                files.replace_folder(aside.best, paths.best, paths.replaced, below=paths.runs)
                for outcome in (best, beside):
                    recorder.write(end_of(outcome, complete=True))
                    watch.trained(outcome)
        except KeyboardInterrupt as stop:
            raise Interrupted(f"interrupted. Go on with: hptune train-best --run {paths.name}") from stop
        finally:
            watch.ended()
    return result, exported, refused


def _shown(model: str | None, paths: RunPaths) -> str | None:
    """The model's path as the run's is given. model: as the worker, which goes by whole paths, has it."""
    root = paths.root.absolute()
    return str(paths.root / Path(model).relative_to(root)) if model is not None else None


@contextmanager
def _aside(paths: RunPaths) -> Iterator[RunPaths]:
    """The folder beside `best/`, empty; nothing stays of it. Raises RunError, also where `best` is no folder."""
    files.names(paths.best, below=paths.runs)
    files.make_folder(paths.aside.best, below=paths.runs)
    try:
        yield paths.aside
    finally:
        with suppress(RunError):  # a worker may still be writing there: the next command deletes it
            files.remove(paths.aside.best, below=paths.runs)


def _trainings(trial: Trial, history: History) -> dict[str, Any]:
    """Of which trainings the search's figures are means, where they are."""
    trial_row = row(trial, history)
    renamed = {
        "search_scores": trial_row.get("scores"),
        "search_means_of": trial_row.get("means_of"),
        "finalist": trial_row.get("finalist"),
    }
    return {name: value for name, value in renamed.items() if value is not None}


def _train(
    number: int, values: Values, purpose: Purpose, *, head: Head, executor: Executor, recorder: Recorder
) -> SegmentResult | SegmentFailure:
    """Train `values` over the full schedule, from fresh weights, under the seeds of replica 0.

    The journal records the start; the end is recorded once the files are in their place.
    """
    epochs = resolve(head.experiment, values).training.epochs
    assert isinstance(epochs, int), "a resolved recipe holds numbers"
    segment = Segment(number, values, to_epoch=epochs, purpose=purpose)
    recorder.write(started(segment), durable=False)
    outcome = run_one(executor, segment)
    recorder.write_made(outcome)
    return outcome


def _summary(outcome: SegmentResult | SegmentFailure, head: Head) -> dict[str, Any]:
    """The winner or the baseline: its values, its figures on the test part, and what its training took."""
    values = dict(outcome.segment.values)
    training = {"score": None, "epochs": 0, "seconds": round(outcome.seconds, 3), "parameters": None}
    if isinstance(outcome, SegmentFailure):
        return {"values": values, "test": {}, "error": outcome.reason, "training": training}
    curves = whole_epochs(outcome.curves, head.objectives)
    score = score_of(head.objectives[0], curves, facts=outcome.facts, seconds=outcome.seconds)
    training |= {"score": score, "epochs": outcome.epochs, "parameters": outcome.facts.get("parameters")}
    extras = {name: outcome.facts[name] for name in ("ramp", "note") if name in outcome.facts}
    return {"values": values, "test": dict(outcome.facts.get("test", {})), **extras, "training": training}


def history_csv(result: SegmentResult) -> str:
    """One line an epoch: its number from 1, the learning rate at its first step, loss, val_loss, every metric."""
    first = [name for name in ("loss", "val_loss") if name in result.curves]
    columns: dict[str, Any] = {name: result.curves[name] for name in [*first, *sorted(set(result.curves) - set(first))]}
    if "learning_rates" in result.facts:
        columns = {"learning_rate": result.facts["learning_rates"], **columns}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *columns])
    for epoch in range(result.epochs):
        writer.writerow([epoch + 1, *(repr(values[epoch]) for values in columns.values())])
    return text.getvalue()
