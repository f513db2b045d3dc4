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
from types import ModuleType
from typing import Any, TypeAlias

from hptune.base.libraries import ABSENT
from hptune.base.own_files import is_own_module
from hptune.base.replaced import put_names
from hptune.base.settings import COUNTED, SETTINGS

Snapshot: TypeAlias = dict[str, Any]
"""The value of each setting, by its name; what can't be read is left out."""

_own_process = os.getpid  # whatever code puts in its place
_end_process = os._exit


def now() -> Snapshot:
    """What the process is set to now. A setting that raises when it is read is left out."""
    snapshot = {}
    for name, setting in SETTINGS.items():
        try:
            snapshot[name] = setting.read()
        except Exception:  # noqa: BLE001  # code may have put anything there
            continue
    return snapshot


def put(snapshot: Snapshot) -> list[str]:
    """Set what is not as the snapshot, or a part of one, has it; the names of what can't be set."""
    left = []
    for name, value in snapshot.items():
        if _is_set_to(name, value):
            continue
        with contextlib.suppress(Exception):
            SETTINGS[name].put(value)
        if value is not ABSENT and not _is_set_to(name, value):
            left.append(name)
    return left


def _is_set_to(name: str, value: Any) -> bool:
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
    snapshot, imported = now(), list[Changes]()
    if from_imports:
        snapshot.pop("modules", None)
    else:
        _OPEN.append((snapshot, imported))
    try:
        with _streams_kept(), only_this_process():
            try:
                yield
            finally:
                names, at_end = snapshot.pop("names"), _names() if imported else None
                put_names(names)  # first of all: what follows uses them
    finally:
        if not from_imports:
            _OPEN.pop()
            _take_in(imported, {"names": names, **snapshot}, into=snapshot, names=at_end)
        _unmended.extend(put(snapshot))


def _names() -> Any:
    """As `SETTINGS` has them; None where code has replaced what it takes to look."""
    try:
        return SETTINGS["names"].read()
    except Exception:  # noqa: BLE001  # as `now`
        return None


def _take_in(imported: list[Changes], held: Snapshot, *, into: Snapshot, names: Any) -> None:
    """Have a snapshot, `into`, hold what imports have set since, in their order. names: as the block has left them."""
    is_now = {**now(), "names": names} if imported else {}
    for changes in imported:
        for name, (before, after) in changes.items():
            if name == "names" and names is None:
                continue
            four = (held.get(name, ABSENT), before, after, is_now.get(name, ABSENT))
            held[name] = into[name] = with_changes(*four, counted=name in COUNTED)


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
    """What modules set in the block stays set: it is not put back by the blocks of `kept` around it, unless the code
    takes it back itself.
    """
    before, loaded = now(), set(sys.modules)
    try:
        yield
    finally:
        after = now()
        _FOR_ALL.update(set(sys.modules) - loaded)
        changes = {name: (before.get(name, ABSENT), value) for name, value in differing(after, before).items()}
        for _, imported in _OPEN:
            imported.append(changes)


@contextlib.contextmanager
def imports_of_one_trial() -> Iterator[None]:
    """Modules of the user's that the block is the first to load, by whatever way, are loaded anew by the next one.

    Python loads a module once: what it sets, draws and holds would be there for later trials otherwise than for this.
    Where a module can't be loaded anew, the process ends with its trial. Blocks within a block are part of it.
    """
    before = set(sys.modules)
    outermost = not _INSIDE
    _INSIDE.append(True)
    try:
        yield
    finally:
        _INSIDE.pop()
        if outermost:
            for name in set(sys.modules) - before - _FOR_ALL:
                if is_own_module(sys.modules.get(name)):
                    _forget(name)


_INSIDE: list[bool] = []


def _forget(name: str) -> None:
    """Have a module loaded anew by who imports it next; where that can't be, the process ends with its trial."""
    file = getattr(unload(name), "__file__", None)
    if isinstance(file, str) and not file.endswith((".py", ".pyc")):
        end_with_trial(f"{name}, which is no Python text and can't be loaded anew")


def unload(name: str) -> ModuleType:
    """Take a module out of those that are loaded, and out of what it is a part of."""
    module = sys.modules.pop(name)
    package, _, own = name.rpartition(".")
    if package in sys.modules and getattr(sys.modules[package], own, None) is module:
        delattr(sys.modules[package], own)
    return module


def end_with_trial(why: str) -> None:
    """Mark the process as unfit for another trial than this. why: what `unmended` returns."""
    _unmended.append(why)


def with_changes(held: Any, before: Any, after: Any, now: Any, *, counted: bool = False) -> Any:
    """`held`, a setting as it was some time ago, with the changes that make `after` of `before`, as far as they hold
    `now`, and no others.

    Dictionaries are changed by their keys, lists by the entries that came and went, tuples by their places.
    counted: whole numbers go on by as much.

    >>> with_changes({"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 1, "b": 2, "c": 3})
    {'a': 1, 'c': 3}
    >>> with_changes(["c", "a"], ["mine", "c", "a"], ["new", "mine", "c"], ["new", "mine", "c"])
    ['new', 'c']
    >>> with_changes(({}, 1), ({}, 5), ({"n": 4}, 5), ({"n": 4}, 6))
    ({'n': 4}, 1)
    """
    if not type(held) is type(before) is type(after) is type(now):
        return after
    if isinstance(after, dict):
        changed = dict(held)
        for key in [*before, *(key for key in after if key not in before)]:
            if key not in after:
                if key not in now:
                    changed.pop(key, None)
            elif key not in before or key not in held or key not in now:
                if (
                    key in now
                    and _alike(now[key], after[key])
                    and not (key in before and _alike(before[key], after[key]))
                ):
                    changed[key] = after[key]
            else:
                changed[key] = with_changes(held[key], before[key], after[key], now[key], counted=counted)
        return changed
    if isinstance(after, contextvars.Context):
        return _context_with_changes(held, before=before, after=after, now=now)
    if isinstance(after, list):
        new = [entry for entry in after if not _among(entry, before) and _among(entry, now)]
        stays = [entry for entry in held if not _among(entry, before) or _among(entry, after) or _among(entry, now)]
        first = bool(new) and _alike(after[0], new[0])
        return [*new, *stays] if first else [*stays, *new]
    if isinstance(after, tuple) and len(held) == len(before) == len(after) == len(now):
        fours = zip(held, before, after, now, strict=True)
        return tuple(with_changes(*four, counted=counted) for four in fours)
    if counted and isinstance(after, int):
        return held + after - before
    return after if not _alike(before, after) and _alike(now, after) else held


def _context_with_changes(
    held: contextvars.Context, *, before: contextvars.Context, after: contextvars.Context, now: contextvars.Context
) -> contextvars.Context:
    changed = held.copy()
    for variable, value in after.items():
        is_new = variable not in before or before[variable] is not value
        if is_new and variable in now and now[variable] is value:
            changed.run(variable.set, value)
    return changed


def _among(entry: Any, others: list[Any]) -> bool:
    return any(_alike(entry, other) for other in others)


def _alike(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # noqa: BLE001  # the user's objects may not let themselves be compared
        return False


_FOR_ALL: set[str] = set()
"""The modules that were loaded for all trials, by what is `importing`."""

Changes: TypeAlias = dict[str, tuple[Any, Any]]
"""By the name of a setting, what it was before an import and after it."""

_OPEN: list[tuple[Snapshot, list[Changes]]] = []
"""What the blocks of `kept` will put back, the outermost first, and what was imported in each."""


class Apart:
    """Code that works beside the trials: what it sets is set while it works, and shows nowhere else."""

    def __init__(self) -> None:
        self._own: Snapshot = {}

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """The code works in the block. Everything is then as it was before, but for the modules that are loaded."""
        with kept(from_imports=True):
            before = now()
            put(self._own)
            try:
                yield
            finally:
                self._own = differing(now(), before)


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
