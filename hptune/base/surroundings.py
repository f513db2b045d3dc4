"""What a process is set to is put back when a piece of the user's code has ended, whatever it was set to meanwhile.

So whatever one trial does, the next begins as if it had been the first. What can be put back is one table (`settings`).
What modules set as they are imported stays: it is meant for all trials. Where something can't be put back, the process
is not fit for another trial (`unmended`).
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

from hptune.base.libraries import ABSENT
from hptune.base.own_files import is_own_file
from hptune.base.replaced import put_names
from hptune.base.settings import COUNTED, SETTINGS

Snapshot: TypeAlias = dict[str, Any]
"""By the name of a setting, what it is; what can't be told is left out."""

_own_process = os.getpid  # whatever code puts in its place
_end_process = os._exit


def now() -> Snapshot:
    found = {}
    for name, setting in SETTINGS.items():
        try:
            found[name] = setting.read()
        except Exception:  # noqa: BLE001  # code may have put anything there
            continue
    return found


def put(snapshot: Snapshot) -> list[str]:
    """Set what is not as the snapshot, or a part of one, has it; the names of what can't be set."""
    left = []
    for name, value in snapshot.items():
        if _is(name, value):
            continue
        with contextlib.suppress(Exception):
            SETTINGS[name].put(value)
        if value is not ABSENT and not _is(name, value):
            left.append(name)
    return left


def _is(name: str, value: Any) -> bool:
    """Whether a setting is as this."""
    try:
        return bool(SETTINGS[name].same(SETTINGS[name].read(), value))
    except Exception:  # noqa: BLE001  # the user's objects may not let themselves be compared
        return False


def differing(now: Snapshot, then: Snapshot) -> Snapshot:
    """Of what is now, all that was another then."""
    return {name: value for name, value in now.items() if name not in then or not _same(name, value, then[name])}


def _same(name: str, now: Any, then: Any) -> bool:
    try:
        return now is then or bool(SETTINGS[name].same(now, then))
    except Exception:  # noqa: BLE001  # as above
        return False


@contextlib.contextmanager
def kept(*, from_imports: bool = False) -> Iterator[None]:
    """Put everything back after the block, however that ends.

    from_imports: what modules have set as they were imported is put back too, but not which modules are loaded.

    A copy of the process that the code in the block has forked, and that comes back from it, ends here: what follows
    is for the process itself to do.
    """
    snapshot = now()
    if from_imports:
        snapshot.pop("modules", None)
    else:
        _OPEN.append(snapshot)
    try:
        with _streams_kept(), only_this_process():
            try:
                yield
            finally:
                put_names(snapshot.pop("names"))  # first of all: what follows uses them
    finally:
        if not from_imports:
            _OPEN.pop()
        _unmended.extend(put(snapshot))


_unmended: list[str] = []


def unmended() -> list[str]:
    """What the user's code has set in this process and nothing could put back, ever since it began."""
    return [*_unmended]


@contextlib.contextmanager
def only_this_process() -> Iterator[None]:
    """End a copy of the process that was forked in the block, as soon as it leaves it."""
    process = _own_process()
    try:
        yield
    finally:
        end_copy_of(process)


def end_copy_of(process: int) -> None:
    """End this process at once, without a word, if it is another than that one: a forked copy of it."""
    if _own_process() != process:
        _end_process(0)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """What modules set in the block stays set: it is not put back by the blocks of `kept` around it."""
    before, loaded = now(), set(sys.modules)
    try:
        yield
    finally:
        after = now()
        _FOR_ALL.update(set(sys.modules) - loaded)
        for name in differing(after, before):
            for snapshot in _OPEN:
                held, was = snapshot.get(name, ABSENT), before.get(name, ABSENT)
                snapshot[name] = with_changes(held, was, after[name], counted=name in COUNTED)


@contextlib.contextmanager
def imports_of_one_trial() -> Iterator[None]:
    """Modules of the user's that the block is the first to load, by whatever way, end the process with its trial.

    Python loads a module once: what it sets, draws and holds would be there for later trials otherwise than for this.
    """
    count, before = len(sys.modules), set(sys.modules)
    try:
        yield
    finally:
        if len(sys.modules) != count:
            for name in set(sys.modules) - before - _FOR_ALL:
                if is_own_file(getattr(sys.modules.get(name), "__file__", None) or "<"):
                    end_with_trial(f"{name}, which the trial imports")


def end_with_trial(why: str) -> None:
    """The process is not fit for another trial than this. why: what `unmended` tells."""
    _unmended.append(why)


def with_changes(held: Any, before: Any, after: Any, *, counted: bool = False) -> Any:
    """`held`, a setting as it was some time ago, with the changes that make `after` of `before`, and no others.

    Dictionaries are changed by their keys, lists by the entries that came and went, tuples by their places.
    counted: whole numbers go on by as much.

    >>> with_changes({"a": 1}, {"a": 1, "mine": 2}, {"a": 1, "mine": 2, "theirs": 3})
    {'a': 1, 'theirs': 3}
    >>> with_changes(["c", "a"], ["mine", "c", "a"], ["new", "mine", "c"])
    ['new', 'c']
    >>> with_changes(({}, 1), ({}, 5), ({"n": 4}, 5))
    ({'n': 4}, 1)
    """
    if not type(held) is type(before) is type(after):
        return after
    if isinstance(after, dict):
        changed = {
            key: with_changes(held[key], before[key], value, counted=counted)
            if key in held and key in before
            else value
            for key, value in after.items()
            if key not in before or not _alike(value, before[key])
        }
        return {key: value for key, value in {**held, **changed}.items() if key in after or key not in before}
    if isinstance(after, contextvars.Context):
        return _context_with_changes(held, before, after)
    if isinstance(after, list):
        new = [one for one in after if not any(_alike(one, other) for other in before)]
        gone = [one for one in before if not any(_alike(one, other) for other in after)]
        stays = [one for one in held if not any(_alike(one, other) for other in gone)]
        first = bool(new) and _alike(after[0], new[0])
        return [*new, *stays] if first else [*stays, *new]
    if isinstance(after, tuple) and len(held) == len(before) == len(after):
        return tuple(with_changes(*three, counted=counted) for three in zip(held, before, after, strict=True))
    if counted and isinstance(after, int):
        return held + after - before
    return held if _alike(before, after) else after


def _context_with_changes(
    held: contextvars.Context, before: contextvars.Context, after: contextvars.Context
) -> contextvars.Context:
    changed = held.copy()
    for variable, value in after.items():
        if variable not in before or before[variable] is not value:
            changed.run(variable.set, value)
    return changed


def _alike(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # noqa: BLE001  # the user's objects may not let themselves be compared
        return False


_FOR_ALL: set[str] = set()
"""The modules that were loaded for all trials, by what is `importing`."""

_OPEN: list[Snapshot] = []
"""What the blocks of `kept` will put back, the outermost first."""


# --- streams --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _streams_kept() -> Iterator[None]:
    """Have file descriptors 0 to 2, and Python's streams over them, after the block as they were before it.

    A stream that was closed meanwhile is opened anew.
    """
    streams = (sys.stdin, sys.stdout, sys.stderr)
    held = [_duplicate(fd) for fd in range(3)]
    try:
        yield
    finally:
        for fd, copy in enumerate(held):
            if copy is not None:
                with contextlib.suppress(OSError):  # the code has closed every descriptor there is
                    if not _is_same_file(fd, copy):
                        os.dup2(copy, fd)
                    os.close(copy)
        sys.stdin, sys.stdout, sys.stderr = (
            stream if stream is None or not getattr(stream, "closed", False) else _opened(fd)
            for fd, stream in enumerate(streams)
        )


def _duplicate(fd: int) -> int | None:
    try:
        return os.dup(fd)
    except OSError:  # it was closed before hptune was started
        return None


def _is_same_file(fd: int, copy: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.fstat(copy))
    except OSError:
        return False


def _opened(fd: int) -> Any:
    try:
        return open(fd, "r" if fd == 0 else "w", errors="backslashreplace", closefd=False)
    except OSError:
        return None
