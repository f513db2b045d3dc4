"""The errors of hptune, sorted by what happens next; exceptions never print.

- `SpecError`: what the user wrote can't be run. Exit 2, before anything ran.
- `SegmentFailed`: one piece of training failed. Recorded; the search goes on.
- `RunError`: the run can't go on. Exit 1; what is recorded stays.
- `Interrupted`: the user stopped it. Exit 130; what is recorded stays.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]


def spell_path(path: KeyPath) -> str:
    """A key path as users read it.

    >>> spell_path(("model", "layers", 1, "Dense", "units"))
    'model.layers[1].Dense.units'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def printable(text: str, *, keep: str = "") -> str:
    r"""A text that is safe for a terminal: what would move its cursor or change its colours is escaped.

    keep: control characters that stay.

    >>> printable("a\x1b[31mb\u202ec")
    'a\\x1b[31mb\\u202ec'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


def message_of(error: BaseException) -> str:
    r"""An exception's message, also where its `__str__` raises; any file and terminal can take it.

    >>> message_of(ValueError("half a pair: \ud800"))
    'half a pair: \\ud800'
    """
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as fault:  # noqa: BLE001  # code of the user's
        return f"(its message can't be read: its __str__ raises {type(fault).__name__})"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that the user most likely meant, or None where nothing is close.

    >>> nearest("hyperbnd", ["random", "hyperband"])
    'hyperband'
    """
    known = list(known)
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def unknown(noun: str, name: object, known: Iterable[str], *, show: int = 12) -> str:
    """One sentence for an unknown name: the nearest known one, and the known ones.

    >>> unknown("strategy", "randm", ["grid", "random"])
    "unknown strategy 'randm'; did you mean 'random'? Known: grid, random."
    """
    known = list(known)
    text = f"unknown {noun} {name!r}"
    close = nearest(str(name), known)
    if close is not None:
        text += f"; did you mean {close!r}?"
    else:
        text += "."
    if len(known) <= show:
        text += f" Known: {', '.join(known)}."
    return text


def plain_text(text: str) -> str:
    """A text as YAML has it: in quotes where it would read as a number, a boolean, null, or as nothing.

    >>> plain_text("relu"), plain_text("1e-4"), plain_text("true"), plain_text("")
    ('relu', '"1e-4"', '"true"', '""')
    """
    return f'"{text}"' if _reads_as_another(text) else text


def _reads_as_another(text: str) -> bool:
    if text.strip() != text or text.lower() in ("", "true", "false", "null", "none", "~", "–") or text[0] in "\"'":
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what the user gave.

    message: what is wrong, the rule, what was received and the remedy, as sentences.
    path: the key path in the YAML it is about; () for the whole file.
    place: `FILE:LINE:COLUMN` or `FILE:LINE`, once known.
    on_key: the mark is the key itself (an unknown key), not its value.
    """

    message: str
    path: KeyPath = ()
    place: str | None = None
    on_key: bool = False

    def __str__(self) -> str:
        parts = [part for part in (self.place, spell_path(self.path)) if part]
        return ": ".join([*parts, self.message])


class HptuneError(Exception):
    """Base of every error that hptune raises on purpose. `exit_code` is what the command ends with."""

    exit_code = 1


class SpecError(HptuneError):
    """What the user wrote (YAML, options or data) can't be run. Holds every problem found, at least one."""

    exit_code = 2

    def __init__(self, *problems: Problem) -> None:
        assert problems, "a SpecError without a problem"
        super().__init__(*problems)  # the arguments are the problems, so that it pickles
        self.problems: tuple[Problem, ...] = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def spec_error(message: str, *path: str | int, place: str | None = None) -> SpecError:
    """A `SpecError` with one problem."""
    return SpecError(Problem(message, path, place))


class RunError(HptuneError):
    """The run can't go on (the journal can't be written, it is damaged, no trial succeeded)."""


class Interrupted(HptuneError):
    """The user ended the command (Ctrl-C); the message says how to go on."""

    exit_code = 130


class SegmentFailed(HptuneError):
    """One segment could not be trained; the trial is marked as failed with this reason and the search goes on."""
