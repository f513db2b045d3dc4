"""Follows the History in the order of the journal, for strategies and samplers that cache what they learn from it.

For another History the cache is begun anew, so that they depend on the History alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hptune.base.trial import Trial
from hptune.run.history import History

Begin: TypeAlias = Callable[[History | None], None]
"""Forgets everything, and takes in the trials of earlier runs. None: nothing is followed yet."""


class Follower:
    """Calls back once for each start and each report, in their order.

    begin: is called at once, and for each other History. started: with a trial's number. reported: with a trial as it
    stands now.
    """

    def __init__(
        self,
        begin: Begin,
        *,
        started: Callable[[int, History], None] = lambda *_: None,
        reported: Callable[[Trial, History], None] = lambda *_: None,
    ) -> None:
        self._begin, self._on_start, self._on_report = begin, started, reported
        self.restart(None)

    def restart(self, history: History | None) -> None:
        """Forget everything, and follow this one from its beginning."""
        self._history = history
        self._started = self._reported = 0  # how far it was followed
        self._begin(history)

    def follow(self, history: History) -> None:
        """Take in what has happened since."""
        if history is not self._history:
            self.restart(history)
        while True:
            number = self._started
            if number < len(history.trials) and history.reports_before[number] <= self._reported:
                self._on_start(number, history)
                self._started += 1
            elif self._reported < len(history.reports):
                self._on_report(history.trials[history.reports[self._reported]], history)
                self._reported += 1
            else:
                return
