"""A run's journal, read: its head, its trials, the time spent.

The head is the first event: the experiment with every default filled in, the space that was searched, the facts that
the probe found in the data and the model, and the versions that it was begun with. The code that reads experiments is
imported only where it is needed, so that commands that only list trials start fast.
"""

from __future__ import annotations

import contextlib
import gc
import math
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hptune.base import files
from hptune.base.errors import RunError
from hptune.base.keras_json import keras_json
from hptune.base.trial import Trial, Values
from hptune.experiment.objective import Objective
from hptune.run import circumstances
from hptune.run.event_check import EventCheck
from hptune.run.events import EarlierTrial, Event, Finished, HeadEvent, TakenOver, key_of
from hptune.run.history import History
from hptune.run.journal import read
from hptune.run.rundir import RunPaths

if TYPE_CHECKING:
    from hptune.experiment.experiment import Experiment
    from hptune.experiment.space.space import Domain, Space

TRAINING = 6
"""How trials are trained, a number that rises with each version whose trials have other scores; it stands in the head.

2: penalties in recurrent layers, attention and wrappers, and of depthwise and pointwise kernels; momentum and clipping
searched from 0; averaged weights (`use_ema`) in the winner; own losses, reductions and `ignore_class` beside
standardised targets and smoothing; validation at the trial's batch size where it makes a difference; steps counted as
Keras counts them in stabilising and range tests; layers' own seeds; the last digits of Adam.
3: people's own code in many ways; whole numbers in columns, and pictures, scaled whatever their type; targets far from
0 brought near it; scikit-learn in float64.
4: models from code that get no input shape, built as `fit` builds them; the losses of points that Keras's `fit` trains
beside others; the vocabularies of free text.
5: targets under losses of their own scale, and samples before layers that prepare them; what functions draw of Keras.
6: folds forward in time; brightness and contrast of pictures below 0; accuracy under hinge; imports as a trial
runs; what the modules of layers, losses and metrics that the YAML names keep from trial to trial.
"""

_IN_FULL = ("best", "baseline")
"""The purposes of train-best's segments."""


@dataclass(frozen=True)
class Head:
    """The journal's first event, read."""

    event: HeadEvent

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the probe learnt: `task`, `classes`, `fingerprint`, `rows` and more."""
        return self.event["facts"]

    @property
    def folder(self) -> Path:
        """The YAML file's folder, which relative paths start from."""
        return Path(self.event["folder"])

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the search optimizes, in the order of the YAML; one or several."""
        written = self.event["experiment"]["objective"]
        return tuple(Objective(**objective) for objective in (written if isinstance(written, list) else [written]))

    @property
    def folds(self) -> int | None:
        """Of the cross-validation; None: one split."""
        folds: int | None = self.event["experiment"].get("evaluation", {}).get("folds")
        return folds

    @property
    def parallel(self) -> int | None:
        """The virtual workers; None where the strategy sees results as they come."""
        return self.event.get("parallel")

    @property
    def earlier(self) -> tuple[Trial, ...]:
        """The trials of earlier runs that this one learns from."""
        entries = self.event.get("earlier", ())
        return tuple(_earlier_trial(number - len(entries), trial) for number, trial in enumerate(entries))

    @property
    def warm_start(self) -> Sequence[TakenOver]:
        """How many trials were taken over of each earlier run: `run`, `taken`, `left_out` (reason -> how many).

        `seed`: of the earlier run, where it is another.
        """
        return self.event.get("warm_start", ())

    @cached_property
    def experiment(self) -> Experiment:
        """Every default filled in, those that depend on the data included."""
        from hptune.experiment.reading.load import from_json

        experiment = from_json(self.event["experiment"])
        left_out = self.facts.get(
            "left_out"
        )  # numbers of training that a HyperModel's fit is given only where asked for
        if not isinstance(left_out, list):
            return experiment
        training = experiment.training
        written = {name for name in training.model_fields_set if name not in left_out}
        values = {name: getattr(training, name) for name in type(training).model_fields}
        return experiment.model_copy(update={"training": training.model_construct(_fields_set=written, **values)})

    @cached_property
    def space(self) -> Space:
        """The space that is searched: the YAML's, and what the model's code declares."""
        from hptune.experiment.space.space import Space

        try:
            return Space(_domains(self.event["space"]))
        except (ValueError, TypeError) as error:
            lines = str(error).splitlines()
            message = f"the head of the run's journal.jsonl holds no valid search space: {lines[0]}"
            raise RunError(f"{message}. It was not written by hptune; search anew with --fresh.") from error


def _earlier_trial(number: int, entry: EarlierTrial) -> Trial:
    curves = tuple({metric: tuple(curve) for metric, curve in replica.items()} for replica in entry["curves"])
    return Trial(
        number,
        entry["values"],
        "completed",
        entry["epochs"],
        epochs=entry["epochs"],
        curves=curves,
        seconds=entry["seconds"],
        facts=entry["facts"],
    )


def head_event(
    experiment: Experiment,
    *,
    space: Space,
    facts: Mapping[str, Any],
    folder: Path,
    earlier: Sequence[EarlierTrial] = (),
    taken_over: Sequence[TakenOver] = (),
) -> HeadEvent:
    """The head of a new journal. experiment: with every default filled in. earlier: trials of earlier runs.

    taken_over: as `Head.warm_start`.
    """
    from hptune.experiment.reading.load import to_json

    event: HeadEvent = {
        "event": "head",
        "experiment": to_json(experiment),
        "space": {name: domain.model_dump(mode="json", by_alias=True) for name, domain in space.domains.items()},
        "facts": dict(facts),
        "folder": str(folder.resolve()),
    }
    if earlier:
        event["earlier"] = list(earlier)
    if taken_over:
        event["warm_start"] = list(taken_over)
    event["training"] = TRAINING
    if experiment.execution.order == "virtual":
        event["parallel"] = experiment.execution.parallel
    return {
        **event,
        "versions": circumstances.versions(),
        "keras": keras_json(),
        "platform": platform.platform(),
    }


def filled(experiment: Experiment, facts: Mapping[str, Any]) -> Experiment:
    """The experiment with the defaults that depend on the data. Raises SpecError where one can't be determined."""
    from hptune.experiment.defaults import fill, is_one_hot

    labels = facts.get("classes")
    shape = facts.get("y", {}).get("shape")
    return fill(
        experiment,
        facts.get("task"),
        len(labels) if labels is not None else None,
        outputs=None if shape is None else math.prod(shape),
        one_hot=is_one_hot(facts.get("task"), shape or ()),
        rows=facts.get("rows", {}).get("train"),
        epochs=facts.get("epochs"),
    )


def joined_space(experiment: Experiment, facts: Mapping[str, Any]) -> Space:
    """The YAML's domains and those that the model's code declares; where both declare a name, the YAML's stands."""
    from hptune.experiment.space.space import Space

    return Space({**_domains(facts.get("space", {})), **experiment.search_space})


def _domains(data: Any) -> dict[str, Domain]:
    from pydantic import TypeAdapter

    from hptune.experiment.space.space import Domain

    return TypeAdapter(dict[str, Domain]).validate_python(data)


class Record:
    """A journal, read: its head, and the history that its events make up.

    elapsed_s: seconds spent searching, over all the times the search was resumed, as of the last event. spent_s: the
        same as of now, where the search is under way in this process.
    stabilized: the (architecture, replica) of the stabilised weights that were made.
    sittings: the circumstances of each time it was searched, one after the other.
    trained: train-best's last results, by `best` and `baseline`: the values, and the event of the end.
    """

    def __init__(self, head: HeadEvent) -> None:
        self.head = Head(head)
        self.history = History(self.head.objectives, self.head.earlier, folds=self.head.folds)
        self.elapsed_s = 0.0
        self.spent_s: Callable[[], float] = lambda: self.elapsed_s
        self.ended: str | None = None  # why the last search ended; None where it was cut short
        self.last_time = float(head["time"])
        self.stabilized: set[tuple[str, int]] = set()
        self.sittings = [circumstances.recorded_in(head)]
        self.trained: dict[str, tuple[Values, Finished]] = {}

    def apply(self, event: Event) -> None:
        """Take in the journal's next event: the history, the time spent, the sittings, and what train-best trained."""
        if event["event"] == "segment_finished" and event["purpose"] in _IN_FULL:
            self.trained[event["purpose"]] = (self.history.pending[key_of(event)].values, event)
        self.history.apply(event)
        self.elapsed_s = event.get("elapsed", self.elapsed_s)
        if event["event"] == "search_ended":
            self.ended = event["why"]
        elif event["event"] == "segment_started" and event["purpose"] not in _IN_FULL:
            self.ended = None
        elif event["event"] == "resumed":
            self.sittings.append(circumstances.recorded_in(event))
        elif event["event"] == "stabilized":
            self.stabilized.add((event["structure"], event["replica"]))
        self.last_time = event["time"]


def replay(paths: RunPaths) -> Record:
    """The run, replayed from its journal. Raises RunError where that is damaged or was never begun."""
    events = recorded(paths)
    head = first(events)
    if head is None:
        raise RunError(f"{paths.journal} holds nothing yet. Run `hptune search` on its YAML file again.")
    record = Record(head)
    with _no_collection():
        for event in events:
            record.apply(event)
    return record


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Switch the garbage collector off: nothing is freed here, and it would scan 10,000 trials again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def recorded(paths: RunPaths) -> Iterator[Event]:
    """The events of a run's journal, in order; none where nothing was begun. Raises RunError where one is damaged."""
    began = files.is_file(paths.journal, below=paths.runs)
    if not began:
        return iter(())
    return cast(Iterator[Event], read(paths.journal, EventCheck(), below=paths.runs))


def first(events: Iterator[Event]) -> HeadEvent | None:
    """The head; None for an empty journal."""
    return cast(HeadEvent | None, next(events, None))


def check_point(space: Space, values: Values, paths: RunPaths) -> None:
    """Raises RunError for values of a trial that no search of hptune's would have tried."""
    try:
        space.own(values)
    except (ValueError, TypeError) as error:
        reason = f"{paths.journal} holds a trial that is no point of its search space: {error}"
        raise RunError(f"{reason}. It was not written by hptune; search anew with --fresh.") from error


def check_any_succeeded(record: Record) -> None:
    """Raises RunError, with the reasons counted, where every trial has failed or none was started."""
    trials = record.history.trials
    if any(trial.state != "failed" for trial in trials):
        return
    if not trials:
        raise RunError(f"no trial was started: {record.ended}.")
    reasons = Counter(trial.error or "" for trial in trials).most_common(5)
    listed = "\n".join(f"  {count}× {reason}" for reason, count in reasons)
    raise RunError(
        f"no trial succeeded; all {len(trials)} failed:\n{listed}\nFix the cause and search again with --fresh."
    )
