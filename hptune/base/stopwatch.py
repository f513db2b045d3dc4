"""Where the time of a search goes, part by part: what `hptune search --profile` shows.

The functions that do a part are marked where they stand (`@counts("journal")`); a part inside another counts for itself
alone, so that the parts add up. Marking costs a microsecond a call, so that it is always there.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

Part: TypeAlias = Literal[
    "start",
    "data",
    "build",
    "trace",
    "compile",
    "set up",
    "train",
    "validate",
    "checkpoint",
    "rest",
    "strategy",
    "journal",
    "profile",
]
"""In the order in which they are shown. `start`: loading TensorFlow in a worker. `set up`: turning the dials and
putting the variables in place. `rest`: what else a worker does for a segment. `profile`: what was done for the profile
alone."""


@dataclass
class Stopwatch:
    """One process's, and what its workers have sent.

    asked: somebody wants to know, so that what takes time of its own may be measured too. spent: seconds by part; those
    of workers that ran at the same time are added up. notes: advice that was measured on the way.
    """

    asked: bool = False
    spent: defaultdict[Part, float] = field(default_factory=lambda: defaultdict(float))
    notes: list[str] = field(default_factory=list)
    _inside: list[Part] = field(default_factory=list)
    _aside: bool = False
    _since: float = 0.0

    def begin(self, part: Part) -> None:
        """Count the time from now on as `part`, inside the part that was counted before."""
        self._charge()
        self._inside.append(part)

    def end(self) -> None:
        """End the innermost part; time counts as the part around it again."""
        self._charge()
        self._inside.pop()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What is done in the block counts as `profile`, whatever part it is."""
        self._charge()
        self._aside = True
        try:
            yield
        finally:
            self._charge()
            self._aside = False

    def move(self, source: Part, target: Part, seconds: float) -> None:
        """Some of what was counted as one part was another."""
        if self._aside:
            return
        seconds = min(seconds, self.spent[source])
        self.spent[source] -= seconds
        self.spent[target] += seconds

    def take(self) -> tuple[Mapping[Part, float], list[str]]:
        """What was counted and noted since this was last called."""
        taken = dict(self.spent), list(self.notes)
        self.spent.clear()
        self.notes.clear()
        return taken

    def add(self, spent: Mapping[Part, float], notes: list[str]) -> None:
        """What another process took."""
        for part, seconds in spent.items():
            self.spent[part] += seconds
        self.notes += [note for note in notes if note not in self.notes]

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._inside:
            part: Part = "profile" if self._aside else self._inside[-1]
            self.spent[part] += now - self._since
        self._since = now


WATCH = Stopwatch()
"""This process's."""


def counts(part: Part) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function: its time, but for the parts inside it, counts as `part`."""

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            WATCH.begin(part)
            try:
                return function(*args, **kwargs)
            finally:
                WATCH.end()

        return counted

    return mark
