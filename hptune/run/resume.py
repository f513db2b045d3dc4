"""Whether a search may go on from a run, or learn from its trials: the same spec, data, code and way of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hptune.base.errors import KeyPath, Problem, SpecError
from hptune.experiment.experiment import Experiment
from hptune.experiment.reading.load import to_json
from hptune.run import circumstances
from hptune.run.differences import differences, or_absent
from hptune.run.events import Resumed
from hptune.run.record import TRAINING, Head, Record

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


def check_same_spec(head: Head, experiment: Experiment) -> None:
    """Raises SpecError, a problem for each difference, where the trials of this run would not compare with new ones.

    experiment: the one asked for now, its defaults filled in by the same facts.
    """
    old, new = to_json(head.experiment), to_json(experiment)
    changes = [
        Problem(f"{or_absent(before)} → {or_absent(after)}", path)
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
        message = (
            "the run was begun by a version of hptune that trained differently (docs/reliability.md says what has "
            f"changed: training {training_of(head)} then, {TRAINING} now), so its trials would not compare with new "
            "ones. Give this search another `name:`, move the old run aside with --fresh, or use that version."
        )
        raise SpecError(Problem(message))


def check_same_data(head: Head, facts: Mapping[str, Any]) -> None:
    """Raises SpecError where the data, or the space that the model's code declares, is not what the run began with."""
    way_out = "Put the old one back, give this search another `name:`, or move the old run aside with --fresh."
    if facts.get("fingerprint") != head.facts.get("fingerprint"):
        raise SpecError(Problem(f"the data has changed since the run was begun. {way_out}", ("data",)))
    if _unordered(facts.get("space")) != _unordered(head.facts.get("space")):
        raise SpecError(
            Problem(f"the model's code declares another space than when the run began. {way_out}", ("model",))
        )


def resumed(record: Record, facts: Mapping[str, Any], *, strict: bool) -> tuple[Resumed, str | None]:
    """The event for a search that continues, and a note on the circumstances if they have changed.

    facts: of a fresh probe. strict: changes raise SpecError. Other data always does.
    """
    check_same_data(record.head, facts)
    first = circumstances.recorded_in(record.head.event)
    return circumstances.resumed(first, record.sittings[-1], facts, strict=strict)


def _unordered(space: Mapping[str, Any] | None) -> Any:
    """A declared space without the order of its conditions' values, which depended on the build in earlier versions."""
    return {
        name: {**domain, "when": {parent: sorted(map(repr, v)) for parent, v in domain.get("when", {}).items()}}
        for name, domain in (space or {}).items()
    }
