"""What a process is set to, and a trial's code may set otherwise: one table of how each is read and set.

Reading all of it takes some 0.03 ms, of which half is spent on names that code may have replaced.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps; makes no enums, and is ten times as fast
import contextlib
import contextvars
import decimal
import gc
import locale
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from operator import eq
from typing import Any, NamedTuple

from hptune.base import libraries
from hptune.base.replaced import modules_now, names_now, put_modules, put_names


class ProcessSetting(NamedTuple):
    """read: what it is now, to be compared. put: sets it. same: whether it is (now, then) as it was."""

    read: Callable[[], Any]
    put: Callable[[Any], Any]
    same: Callable[[Any, Any], bool] = eq


# --- the process ----------------------------------------------------------------------------------------------------


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:  # deleted
        return None


def _to_folder(folder: str | None) -> None:
    if folder is not None:
        with contextlib.suppress(FileNotFoundError):  # deleted: hptune itself goes by whole paths
            os.chdir(folder)


def _same_folder(now: str | None, then: str | None) -> bool:
    return now == then or then is None or not os.path.isdir(then)  # noqa: PTH112  # one that is gone can't be gone to


def _umask() -> int:
    mask = os.umask(0o077)  # it can't be asked for otherwise; meanwhile nobody gets a right too many
    os.umask(mask)
    return mask


def _environ() -> dict[bytes, bytes]:
    return dict(os.environ._data)  # type: ignore[attr-defined]  # thirty times as fast as by its front door


def _to_environ(environ: dict[bytes, bytes]) -> None:
    zone = os.environb.get(b"TZ")
    os.environb.clear()
    os.environb.update(environ)
    if environ.get(b"TZ") != zone:
        time.tzset()


def _zone() -> tuple[Any, ...]:
    return time.tzname, time.timezone


_SIGNALS = tuple(int(number) for number in signal.valid_signals() if number < 32)
"""All but those of real time, for which few have a use."""


def _handlers() -> dict[int, Any]:
    """By signal; of those that Python has not set nothing can be put back."""
    return {number: handler for number in _SIGNALS if (handler := _signal.getsignal(number)) is not None}


def _to_handlers(handlers: dict[int, Any]) -> None:
    if threading.current_thread() is threading.main_thread():  # no other may
        for number, handler in handlers.items():
            if _signal.getsignal(number) is not handler:
                signal.signal(number, handler)


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def _to_finders(finders: tuple[list[Any], list[Any]]) -> None:
    sys.meta_path[:], sys.path_hooks[:] = finders


def _same_importers(now: dict[str, Any], then: dict[str, Any]) -> bool:
    """Whether none that was there is another; more are made as folders are looked into."""
    return all(now.get(folder) is importer for folder, importer in then.items())


def _running_timers() -> tuple[bool, ...]:
    return tuple(signal.getitimer(timer) != (0.0, 0.0) for timer in _TIMERS)


def _stop_timers(running: tuple[bool, ...]) -> None:
    for timer, runs in zip(_TIMERS, running, strict=True):
        if not runs:
            signal.setitimer(timer, 0.0)


_LIMITS = tuple(
    getattr(resource, f"RLIMIT_{name}")
    for name in ("AS", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
    if hasattr(resource, f"RLIMIT_{name}")
)
"""Those that results may depend on. (That of a crash's dump, which code likes to lower for good, is none.)"""


def _limits() -> tuple[int, ...]:
    """Of each the soft one, which counts."""
    return tuple(resource.getrlimit(limit)[0] for limit in _LIMITS)


def _to_limits(limits: tuple[int, ...]) -> None:
    for limit, soft in zip(_LIMITS, limits, strict=True):
        now, most = resource.getrlimit(limit)
        if now != soft:
            with contextlib.suppress(ValueError, OSError):  # the code has lowered it for good
                resource.setrlimit(limit, (soft, most))


def _blocked() -> set[Any]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _to_blocked(signals: set[Any]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, signals)


def _ids() -> tuple[Any, ...]:
    """By whose rights it works: real, effective and saved, of the user and of the group; and the other groups."""
    return os.getresuid(), os.getresgid(), os.getgroups()


def _to_ids(ids: tuple[Any, ...]) -> None:
    user, group, groups = ids
    os.setresuid(*user)  # first of all: the others may need the rights
    os.setresgid(*group)
    if os.getgroups() != groups:
        os.setgroups(groups)


def _locale() -> str:
    return locale.setlocale(locale.LC_ALL)


def _to_locale(name: str) -> None:
    locale.setlocale(locale.LC_ALL, name)


# --- Python ---------------------------------------------------------------------------------------------------------


def _to_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # which also has warnings told once be told again
    warnings.filters[:] = filters  # type: ignore[index]  # a list, whatever its type says


def _collection() -> tuple[Any, ...]:
    return gc.isenabled(), gc.get_threshold(), gc.get_debug(), [*gc.callbacks]


def _to_collection(held: tuple[Any, ...]) -> None:
    on, threshold, debug, gc.callbacks[:] = held
    (gc.enable if on else gc.disable)()
    gc.set_threshold(*threshold)
    gc.set_debug(debug)


def _hooks() -> tuple[Any, ...]:
    return sys.gettrace(), sys.getprofile(), sys.get_asyncgen_hooks(), sys.get_coroutine_origin_tracking_depth()


def _to_hooks(held: tuple[Any, ...]) -> None:
    trace, profile, generators, depth = held
    sys.settrace(trace)
    sys.setprofile(profile)
    sys.set_asyncgen_hooks(*generators)
    sys.set_coroutine_origin_tracking_depth(depth)


_DECIMAL = (decimal.DefaultContext, decimal.BasicContext, decimal.ExtendedContext)
decimal.getcontext()  # there from the start: it could not be taken away again


def _decimal() -> tuple[Any, ...]:
    """The numbers that the contexts hold; which is the thread's own, `_context` tells."""
    return tuple(context.__reduce__()[1] for context in (decimal.getcontext(), *_DECIMAL))


def _to_decimal(held: tuple[Any, ...]) -> None:
    for context, (precision, rounding, least, most, capitals, clamp, flags, traps) in zip(
        (decimal.getcontext(), *_DECIMAL), held, strict=True
    ):
        context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp = (
            *(precision, rounding, least, most),
            *(capitals, clamp),
        )
        for signals, which in ((context.flags, flags), (context.traps, traps)):
            for signal_ in signals:
                signals[signal_] = signal_ in which


def _to_context(held: contextvars.Context) -> None:
    """Set the context's variables, in which NumPy has how it treats errors and prints, and `decimal` its context."""
    nothing = contextvars.Context()
    for variable, value in contextvars.copy_context().items():
        with contextlib.suppress(LookupError):  # it has no default and can't be taken away
            then = held[variable] if variable in held else nothing.run(variable.get)
            if value is not then:
                variable.set(then)


def _same_context(now: contextvars.Context, then: contextvars.Context) -> bool:
    if len(now) == len(then) and now == then:
        return True
    nothing = contextvars.Context()
    for variable, value in now.items():
        with contextlib.suppress(LookupError):
            if value is not (then[variable] if variable in then else nothing.run(variable.get)):
                return False
    return True


SETTINGS = {
    "names": ProcessSetting(names_now, put_names),
    "modules": ProcessSetting(modules_now, put_modules, lambda _, then: len(sys.modules) >= len(then)),
    "group": ProcessSetting(os.getpgrp, lambda group: os.setpgid(0, group)),
    "folder": ProcessSetting(_folder, _to_folder, _same_folder),
    "ids": ProcessSetting(_ids, _to_ids),
    "umask": ProcessSetting(_umask, os.umask),
    "environ": ProcessSetting(_environ, _to_environ),
    "zone": ProcessSetting(_zone, lambda _: time.tzset()),
    "handlers": ProcessSetting(_handlers, _to_handlers),
    "timers": ProcessSetting(_running_timers, _stop_timers),
    "blocked": ProcessSetting(_blocked, _to_blocked),
    "limits": ProcessSetting(_limits, _to_limits),
    "cores": ProcessSetting(lambda: os.sched_getaffinity(0), lambda cores: os.sched_setaffinity(0, cores)),
    "locale": ProcessSetting(_locale, _to_locale),
    "recursion": ProcessSetting(sys.getrecursionlimit, sys.setrecursionlimit),
    "digits": ProcessSetting(sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    "switching": ProcessSetting(sys.getswitchinterval, sys.setswitchinterval),
    "stack": ProcessSetting(threading.stack_size, threading.stack_size),
    "hooks": ProcessSetting(_hooks, _to_hooks),
    "collection": ProcessSetting(_collection, _to_collection),
    "path": ProcessSetting(lambda: [*sys.path], lambda path: sys.path.__setitem__(slice(None), path)),
    "finders": ProcessSetting(lambda: ([*sys.meta_path], [*sys.path_hooks]), _to_finders),
    "importers": ProcessSetting(lambda: dict(sys.path_importer_cache), sys.path_importer_cache.update, _same_importers),
    "arguments": ProcessSetting(lambda: [*sys.argv], lambda words: sys.argv.__setitem__(slice(None), words)),
    "filters": ProcessSetting(lambda: list(warnings.filters), _to_filters),
    "temporary": ProcessSetting(lambda: tempfile.tempdir, lambda folder: setattr(tempfile, "tempdir", folder)),
    "context": ProcessSetting(contextvars.copy_context, _to_context, _same_context),
    "decimal": ProcessSetting(_decimal, _to_decimal),
    **{name: ProcessSetting(*of) for name, of in libraries.SETTINGS.items()},
}
"""In the order in which they are put back: what Python's names stand for comes first.

A tuple has a meaning for each place; a list may become longer and shorter, and a dictionary too.
"""

COUNTED = ("scopes",)
"""Those whose whole numbers count what was made so far."""
