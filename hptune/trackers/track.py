"""The trackers that the YAML's `track` asks for: they follow a search beside the screen.

A new tracker takes a module here and a row in `TRACKERS`, whose name is a key of the `track` section. Those
of other packages are found by their entry points of `hptune.trackers`, whose names are keys of `track` too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hptune.base.errors import SpecError, message_of, spec_error
from hptune.base.offered import load_offered
from hptune.base.quiet import off_stdout
from hptune.base.rows import load_row
from hptune.base.surroundings import Apart
from hptune.base.trial import Segment, SegmentFailure, SegmentResult, Trial
from hptune.executors.executor import Outcome
from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import TRACKERS
from hptune.run.history import History
from hptune.run.record import Record
from hptune.run.rundir import RunPaths
from hptune.search.budget import Limits
from hptune.search.watch import Watch


def trackers(experiment: Experiment, run: RunPaths) -> dict[str, Watch]:
    """The trackers that are asked for, by their keys. Raises SpecError for one that is not known or can't be made."""
    by_key: dict[str, Watch] = {}
    for key, options in experiment.track.items():
        if options is False:
            continue
        try:
            with off_stdout():
                by_key[key] = _class(key)(run, **(options if isinstance(options, dict) else {}))
        except (SpecError, KeyboardInterrupt):
            raise
        except BaseException as error:  # another package's may raise anything
            reason = f"{key} can't be begun: {type(error).__name__}: {message_of(error)}. Fix its options, or drop it."
            raise spec_error(reason, "track", key) from error
    return by_key


def _class(key: str) -> Callable[..., Watch]:
    own = TRACKERS.get(key)
    package = "hptune.trackers"
    made: Callable[..., Watch] = load_row(package, own) if own else load_offered(package, key, ("track", key))
    return made


class Watches:
    """Several watches as one. A tracker that raises is reported once and then left out; it never ends a search.

    first: the screen, which is no tracker.
    """

    def __init__(self, first: Watch, trackers: Mapping[str, Watch]) -> None:
        self._first = first
        self._trackers = dict(trackers)
        self._record: Record | None = None
        self._apart: dict[str, Apart] = {}
        self.left_out: list[str] = []
        """What was noted of trackers that raised."""

    def begun(self, record: Record, limits: Limits) -> None:
        """As in `Watch`: the screen first, then each tracker."""
        self._record = record
        self._first.begun(record, limits)
        self._tell("begun", record, limits)

    def reported(self, trial: Trial) -> None:
        """As in `Watch`: the screen first, then each tracker."""
        self._first.reported(trial)
        self._tell("reported", trial)

    def tested(self, finalist: Trial) -> None:
        """As in `Watch`: the screen first, then each tracker."""
        self._first.tested(finalist)
        self._tell("tested", finalist)

    def noted(self, note: str) -> None:
        """As in `Watch`: the screen first, then each tracker."""
        self._first.noted(note)
        self._tell("noted", note)

    def epoch(self, segment: Segment, epochs: int, metrics: Mapping[str, float]) -> None:
        """As in `Watch`: the screen first, then each tracker."""
        self._first.epoch(segment, epochs, metrics)
        self._tell("epoch", segment, epochs, metrics)

    def winner(self, record: Record) -> None:
        """As in `Watch`: the screen first, then each tracker."""
        self._record = record
        self._first.winner(record)
        self._tell("winner", record)

    def trained(self, outcome: Outcome) -> None:
        """As in `Watch`: the screen first, then each tracker."""
        self._first.trained(outcome)
        self._tell("trained", outcome)

    def ended(self) -> None:
        """As in `Watch`: the screen first, then each tracker."""
        self._first.ended()
        self._tell("ended")

    def _tell(self, method: str, *arguments: Any) -> None:
        for key, tracker in list(self._trackers.items()):
            try:
                if key in TRACKERS:
                    getattr(tracker, method)(*arguments)
                else:
                    self._tell_anybody(key, method, arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  # a search is worth more than its tracker
                del self._trackers[key]
                reason = f"{type(error).__name__}: {message_of(error)}".rstrip(": ")
                self.left_out.append(f"track.{key} is left out from here on: {reason}")
                self._first.noted(self.left_out[-1])

    def _tell_anybody(self, key: str, method: str, arguments: tuple[Any, ...]) -> None:
        """Tell another package's tracker: what it sets, prints and changes shows nowhere in the search."""
        history = self._record.history if self._record is not None else History(())
        apart = self._apart.setdefault(key, Apart())
        with apart.at_work(), off_stdout(), history.unchanged(curves=True):
            getattr(self._trackers[key], method)(*map(_copied, arguments))


def _copied(shown: Any) -> Any:
    """What a tracker may write into as it likes; a Record is the search's own."""
    match shown:
        case Segment():
            return shown._replace(values=dict(shown.values))
        case Trial():
            curves = tuple(map(dict, shown.curves))
            return shown._replace(values=dict(shown.values), curves=curves, facts=copy.deepcopy(dict(shown.facts)))
        case SegmentResult():
            facts = copy.deepcopy(dict(shown.facts))
            return replace(shown, segment=_copied(shown.segment), curves=dict(shown.curves), facts=facts)
        case SegmentFailure():
            return replace(shown, segment=_copied(shown.segment))
        case Mapping():
            return dict(shown)
    return shown
