"""What a run's journal tells: its head, its trials, the time spent; and whether a search may go on from it.

The head is the first event: the experiment with every default filled in, the space that was searched, the facts that
the probe found in the data and the model, and the versions that it was begun with. What reads experiments is imported
where one is read: who only looks at the trials of a run is not kept waiting for it.
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
from typing import TYPE_CHECKING, Any

from hptune.base import files
from hptune.base.errors import KeyPath, Problem, RunError, SpecError, plain_text
from hptune.base.keras_json import keras_json
from hptune.base.trial import Trial, Values
from hptune.experiment.objective import Objective
from hptune.run import circumstances
from hptune.run.event_check import EventCheck
from hptune.run.history import Event, History
from hptune.run.journal import read
from hptune.run.rundir import RunPaths

if TYPE_CHECKING:
    from hptune.experiment.experiment import Experiment
    from hptune.experiment.space.space import Domain, Space

_FREE: tuple[KeyPath, ...] = (
    ("budget",),
    ("checkpoints",),
    ("track",),
    ("evaluation", "finalists"),
    ("execution", "executor"),
    ("execution", "workers"),
    ("execution", "trial_timeout"),
    ("execution", "retries"),
    ("execution", "gpus_per_worker"),
    ("execution", "on_interrupt"),
)
"""What may change from one search to the next without changing what any trial scores."""

TRAINING = 5
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
"""

_IN_FULL = ("best", "baseline")
"""What train-best trains."""

_NOTHING = object()


@dataclass(frozen=True)
class Head:
    """The journal's first event, read."""

    event: Event

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the probe learnt: `task`, `classes`, `fingerprint`, `rows`, …"""
        facts: Mapping[str, Any] = self.event["facts"]
        return facts

    @property
    def folder(self) -> Path:
        """The YAML file's folder, which relative paths start from."""
        return Path(self.event["folder"])

    @property
    def objectives(self) -> tuple[Objective, ...]:
        told = self.event["experiment"]["objective"]
        return tuple(Objective(**objective) for objective in (told if isinstance(told, list) else [told]))

    @property
    def folds(self) -> int | None:
        """Of the cross-validation; None: one split."""
        found: int | None = self.event["experiment"].get("evaluation", {}).get("folds")
        return found

    @property
    def parallel(self) -> int | None:
        """The virtual workers; None where the strategy is told of results as they come."""
        found: int | None = self.event.get("parallel")
        return found

    @property
    def earlier(self) -> tuple[Trial, ...]:
        """The trials of earlier runs that this one learns from."""
        told = self.event.get("earlier", ())
        return tuple(_earlier_trial(number - len(told), trial) for number, trial in enumerate(told))

    @property
    def warm_start(self) -> Sequence[Mapping[str, Any]]:
        """How many trials were taken over of each earlier run: `run`, `taken`, `left_out` (reason -> how many).

        `seed`: of the earlier run, where it is another.
        """
        told: Sequence[Mapping[str, Any]] = self.event.get("warm_start", ())
        return told

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
        given = {name for name in training.model_fields_set if name not in left_out}
        values = {name: getattr(training, name) for name in type(training).model_fields}
        return experiment.model_copy(update={"training": training.model_construct(_fields_set=given, **values)})

    @cached_property
    def space(self) -> Space:
        """The space that is searched: the YAML's, and what the model's code declares."""
        from hptune.experiment.space.space import Space

        try:
            return Space(_domains(self.event["space"]))
        except (ValueError, TypeError) as error:
            lines = str(error).splitlines()
            told = f"the head of the run's journal.jsonl tells of a search space that is none: {lines[0]}"
            raise RunError(f"{told}. It was not written by hptune; search anew with --fresh.") from error


def _earlier_trial(number: int, told: Mapping[str, Any]) -> Trial:
    curves = tuple({metric: tuple(curve) for metric, curve in replica.items()} for replica in told["curves"])
    return Trial(
        number,
        told["values"],
        "completed",
        told["epochs"],
        epochs=told["epochs"],
        curves=curves,
        seconds=told["seconds"],
        facts=told["facts"],
    )


def head_event(
    experiment: Experiment,
    *,
    space: Space,
    facts: Mapping[str, Any],
    folder: Path,
    earlier: Sequence[Mapping[str, Any]] = (),
    told: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The head of a new journal. experiment: with every default filled in. earlier: trials of earlier runs.

    told: as `Head.warm_start`.
    """
    from hptune.experiment.reading.load import to_json

    return {
        "event": "head",
        "experiment": to_json(experiment),
        "space": {name: domain.model_dump(mode="json", by_alias=True) for name, domain in space.domains.items()},
        "facts": dict(facts),
        "folder": str(folder.resolve()),
        **({"earlier": list(earlier)} if earlier else {}),
        **({"warm_start": list(told)} if told else {}),
        "training": TRAINING,
        **({"parallel": experiment.execution.parallel} if experiment.execution.order == "virtual" else {}),
        "versions": circumstances.versions(),
        "keras": keras_json(),
        "platform": platform.platform(),
    }


def taken_over(told: Mapping[str, Any]) -> str:
    """One entry of `Head.warm_start` in words.

    >>> taken_over({"run": "first", "taken": 9, "left_out": {"failed": 2, "x has no value": 1}})
    'warm_start: 9 of the 12 trials of first are taken over; left out: 2 (failed), 1 (x has no value)'
    >>> taken_over({"run": "first", "taken": 9, "left_out": {}, "seed": 7})
    'warm_start: 9 of the 9 trials of first are taken over (of another seed: 7)'
    """
    left_out = told["left_out"]
    all_trials = told["taken"] + sum(left_out.values())
    line = f"warm_start: {told['taken']} of the {all_trials} trials of {told['run']} are taken over"
    line += f" (of another seed: {told['seed']})" if "seed" in told else ""
    return f"{line}; left out: {counted(left_out)}" if left_out else line


def counted(reasons: Mapping[str, int]) -> str:
    """How many trials each reason left out, the most frequent first."""
    often = sorted(reasons.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{count} ({reason})" for reason, count in often)


def filled(experiment: Experiment, facts: Mapping[str, Any]) -> Experiment:
    """The experiment with the defaults that depend on the data. Raises SpecError where one can't be told."""
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


def _domains(told: Any) -> dict[str, Domain]:
    from pydantic import TypeAdapter

    from hptune.experiment.space.space import Domain

    return TypeAdapter(dict[str, Domain]).validate_python(told)


class Record:
    """A journal, read: its head, and the history that its events tell.

    elapsed_s: seconds spent searching, over all the times the search was resumed, as of the last event. spent_s: the
        same as of now, where the search is under way in this process.
    stabilized: the (architecture, replica) of the stabilised weights that were made.
    sittings: the circumstances of each time it was searched, one after the other.
    trained: what train-best came to last, by `best` and `baseline`: the values, and the event that tells of the end.
    """

    def __init__(self, head: Event) -> None:
        self.head = Head(head)
        self.history = History(self.head.objectives, self.head.earlier, folds=self.head.folds)
        self.elapsed_s = 0.0
        self.spent_s: Callable[[], float] = lambda: self.elapsed_s
        self.ended: str | None = None  # why the last search ended; None where it was cut short
        self.last_time = float(head["time"])
        self.stabilized: set[tuple[str, int]] = set()
        self.sittings = [circumstances.told_by(head)]
        self.trained: dict[str, tuple[Values, Event]] = {}

    def apply(self, event: Event) -> None:
        kind, purpose = event["event"], event.get("purpose")
        if kind == "segment_finished" and purpose in _IN_FULL:
            pending = self.history.pending[(purpose, event["trial"], event["replica"])]
            self.trained[purpose] = (pending.values, event)
        self.history.apply(event)
        self.elapsed_s = event.get("elapsed", self.elapsed_s)
        if kind == "search_ended":
            self.ended = event["why"]
        elif kind == "segment_started" and purpose not in _IN_FULL:
            self.ended = None
        elif kind == "resumed":
            self.sittings.append(circumstances.told_by(event))
        elif kind == "stabilized":
            self.stabilized.add((event["structure"], event["replica"]))
        self.last_time = event["time"]


def replay(paths: RunPaths) -> Record:
    """The run as its journal tells it. Raises RunError where it is damaged or was never begun."""
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
    """Don't look for garbage in what is only growing: 10,000 trials would be looked through again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def recorded(paths: RunPaths) -> Iterator[dict[str, Any]]:
    """The events of a run's journal, in order; none where nothing was begun. Raises RunError where one is damaged."""
    began = files.is_file(paths.journal, below=paths.runs)
    return read(paths.journal, EventCheck(), below=paths.runs) if began else iter(())


def first(events: Iterator[dict[str, Any]]) -> Event | None:
    """The head; None for an empty journal."""
    return next(events, None)


def check_point(space: Space, values: Values, paths: RunPaths) -> None:
    """Raises RunError for values of a trial that no search of hptune's would have tried."""
    try:
        space.own(values)
    except (ValueError, TypeError) as error:
        told = f"{paths.journal} holds a trial that is no point of its search space: {error}"
        raise RunError(f"{told}. It was not written by hptune; search anew with --fresh.") from error


def check_same_spec(head: Head, experiment: Experiment) -> None:
    """Raises SpecError, a problem for each difference, where the trials of this run would not compare with new ones.

    experiment: the one asked for now, its defaults filled in by the same facts.
    """
    from hptune.experiment.reading.load import to_json

    old, new = to_json(head.experiment), to_json(experiment)
    changes = [
        Problem(f"{_or_absent(before)} → {_or_absent(after)}", path)
        for path, before, after in differences(old, new)
        if not any(path[: len(free)] == free for free in _FREE)
    ]
    if changes:
        raise SpecError(
            *changes,
            Problem(
                f"the run {experiment.name!r} was begun with another spec, so its trials would not compare. "
                "Give the new one another `name:`, or move the old run aside with --fresh."
            ),
        )


def training_of(head: Head) -> int:
    """How the run's trials were trained: `TRAINING` of the version that began it."""
    return int(head.event.get("training", 1))


def trained_otherwise(head: Head) -> bool:
    """Whether the version that began the run trains otherwise than this one."""
    return training_of(head) != TRAINING


def check_same_training(head: Head) -> None:
    """Raises SpecError where this version trains otherwise than the one that began the run."""
    if trained_otherwise(head):
        told = (
            "the run was begun by a version of hptune that trained differently (docs/reliability.md says what has "
            f"changed: training {training_of(head)} then, {TRAINING} now), so its trials would not compare with new "
            "ones. Give this search another `name:`, move the old run aside with --fresh, or use that version."
        )
        raise SpecError(Problem(told))


def check_same_data(head: Head, facts: Mapping[str, Any]) -> None:
    """Raises SpecError where the data, or the space that the model's code declares, is not what the run began with."""
    way_out = "Put the old one back, give this search another `name:`, or move the old run aside with --fresh."
    if facts.get("fingerprint") != head.facts.get("fingerprint"):
        raise SpecError(Problem(f"the data has changed since the run was begun. {way_out}", ("data",)))
    if _unordered(facts.get("space")) != _unordered(head.facts.get("space")):
        raise SpecError(
            Problem(f"the model's code declares another space than when the run began. {way_out}", ("model",))
        )


def resumed(record: Record, facts: Mapping[str, Any], *, strict: bool) -> tuple[dict[str, Any], str | None]:
    """The event for a search that goes on from here, and what to tell of the circumstances, if they have changed.

    facts: of a probe that was made just now. strict: changes are a SpecError. Raises it for other data too.
    """
    check_same_data(record.head, facts)
    first = circumstances.told_by(record.head.event)
    return circumstances.resumed(first, record.sittings[-1], facts, strict=strict)


def _unordered(space: Mapping[str, Any] | None) -> Any:
    """A declared space where a condition's values have no order: earlier versions had them in that of their builds."""
    return {
        name: {**domain, "when": {parent: sorted(map(repr, v)) for parent, v in domain.get("when", {}).items()}}
        for name, domain in (space or {}).items()
    }


def check_any_succeeded(record: Record) -> None:
    """Raises RunError, with the reasons counted, where every trial has failed or none was started."""
    trials = record.history.trials
    if any(trial.state != "failed" for trial in trials):
        return
    if not trials:
        raise RunError(f"no trial was started: {record.ended}.")
    reasons = Counter(trial.error or "" for trial in trials).most_common(5)
    told = "\n".join(f"  {count}× {reason}" for reason, count in reasons)
    raise RunError(
        f"no trial succeeded; all {len(trials)} failed:\n{told}\nMend the cause and search again with --fresh."
    )


def differences(old: Any, new: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any, Any]]:
    """Where two pieces of JSON data differ, as deep as they can be told apart by a key.

    >>> list(differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}))
    [(('a', 'c'), 2, 3)]
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key, _NOTHING), new.get(key, _NOTHING), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, (*path, at))
    elif old != new or type(old) is not type(new):
        yield path, old, new


def spell_json(value: Any) -> str:
    """JSON data on one line, as YAML spells it.

    >>> spell_json({"when": None, "values": [1, True, "a", "1"]})
    '{when: null, values: [1, true, a, "1"]}'
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {spell_json(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(spell_json, value)) + "]"
    return plain_text(value) if isinstance(value, str) else str(value)


def _or_absent(value: Any) -> str:
    return "(not there)" if value is _NOTHING else spell_json(value)
