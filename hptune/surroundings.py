"""What a process is set to, and a trial's code may set otherwise: its folder, streams, environment, signals and more.

All of it is put back when a piece of the user's code has ended, so that whatever one trial does, the next begins as if
it had been the first. What modules set as they are imported stays: it is meant for all trials.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps; makes no enums, and is ten times as fast
import contextlib
import gc
import locale
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

from hptune.keras_json import keras_json
from hptune.own_files import is_own_file

Snapshot: TypeAlias = dict[str, Any]
"""By the name of a setting, what it is."""


class _Setting(NamedTuple):
    """read: what it is now, to be compared. put: sets it."""

    read: Callable[[], Any]
    put: Callable[[Any], None]


def now() -> Snapshot:
    return {name: setting.read() for name, setting in _SETTINGS.items()}


def put(snapshot: Snapshot) -> None:
    """Set what is not as the snapshot, or a part of one, has it."""
    for name, value in snapshot.items():
        setting = _SETTINGS[name]
        if setting.read() != value:
            setting.put(value)


@contextlib.contextmanager
def kept(*, from_imports: bool = False) -> Iterator[None]:
    """Put everything back after the block, however that ends.

    from_imports: what modules have set as they were imported is put back too.

    A copy of the process that the code in the block has forked, and that comes back from it, ends here: what follows
    is for the process itself to do.
    """
    snapshot = now()
    if not from_imports:
        _OPEN.append(snapshot)
    try:
        with _streams_kept(), only_this_process():
            yield
    finally:
        if not from_imports:
            _OPEN.pop()
        put(snapshot)


@contextlib.contextmanager
def only_this_process() -> Iterator[None]:
    """End a copy of the process that was forked in the block, as soon as it leaves it."""
    process = os.getpid()
    try:
        yield
    finally:
        end_copy_of(process)


def end_copy_of(process: int) -> None:
    """End this process at once, without a word, if it is another than that one: a forked copy of it."""
    if os.getpid() != process:
        os._exit(0)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """What modules set in the block stays set: it is not put back by the blocks of `kept` around it."""
    before = now()
    try:
        yield
    finally:
        for name, value in now().items():
            if value != before[name]:
                for snapshot in _OPEN:
                    snapshot[name] = value


_OPEN: list[Snapshot] = []
"""What the blocks of `kept` will put back, the outermost first."""


def seed(number: int) -> None:
    """Let the generators that a process has for all, Python's and NumPy's, begin anew."""
    random.seed(number)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(number % 2**32)


# --- threads --------------------------------------------------------------------------------------------------------

_GRACE_S = 0.2
"""How long threads that have not ended with the code that began them are waited for."""


def busy_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    """The threads that are not among those `before` and run the user's code; a pool that waits for work does not."""
    until = time.monotonic() + _GRACE_S
    left = [thread for thread in set(threading.enumerate()) - before if _is_busy(thread)]
    for thread in left:
        thread.join(max(until - time.monotonic(), 0.0))
    return [thread for thread in left if thread.is_alive()]


def _is_busy(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    files = [one.f_code.co_filename for one, _ in traceback.walk_stack(frame)] if frame is not None else []
    later = isinstance(thread, threading.Timer)  # it waits in Python's own code, and will run the user's
    return thread.is_alive() and (later or any(map(is_own_file, files)))


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


# --- settings -------------------------------------------------------------------------------------------------------


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:  # deleted
        return None


def _to_folder(folder: str | None) -> None:
    if folder is not None:
        with contextlib.suppress(FileNotFoundError):  # deleted: hptune itself goes by whole paths
            os.chdir(folder)


def _umask() -> int:
    mask = os.umask(0o077)  # it can't be asked for otherwise; meanwhile nobody gets a right too many
    os.umask(mask)
    return mask


def _environ() -> dict[bytes, bytes]:
    return dict(os.environ._data)  # type: ignore[attr-defined]  # thirty times as fast as by its front door


def _to_environ(environ: dict[bytes, bytes]) -> None:
    os.environb.clear()
    os.environb.update(environ)


_SIGNALS = tuple(int(number) for number in signal.valid_signals() if number < 32)
"""All but those of real time, for which few have a use."""


def _handlers() -> dict[int, Any]:
    """By signal; of those that Python has not set nothing can be put back."""
    return {number: handler for number in _SIGNALS if (handler := _signal.getsignal(number)) is not None}


def _to_handlers(handlers: dict[int, Any]) -> None:
    if threading.current_thread() is threading.main_thread():  # no other may
        for number, handler in handlers.items():
            if _signal.getsignal(number) != handler:
                signal.signal(number, handler)


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def _running_timers() -> list[bool]:
    return [signal.getitimer(timer) != (0.0, 0.0) for timer in _TIMERS]


def _stop_timers(running: list[bool]) -> None:
    for timer, runs in zip(_TIMERS, running, strict=True):
        if not runs:
            signal.setitimer(timer, 0.0)


_LIMITS = tuple(getattr(resource, name) for name in sorted(vars(resource)) if name.startswith("RLIMIT_"))


def _limits() -> list[tuple[int, int]]:
    return [resource.getrlimit(limit) for limit in _LIMITS]


def _to_limits(limits: list[tuple[int, int]]) -> None:
    for limit, (soft, _) in zip(_LIMITS, limits, strict=True):
        now, most = resource.getrlimit(limit)
        if now != soft:
            with contextlib.suppress(ValueError, OSError):  # the code has lowered it for good
                resource.setrlimit(limit, (soft, most))


def _blocked() -> set[Any]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _to_blocked(signals: set[Any]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, signals)


def _locale() -> str:
    return locale.setlocale(locale.LC_ALL)


def _to_locale(name: str) -> None:
    locale.setlocale(locale.LC_ALL, name)


def _to_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # which also has warnings told once be told again
    warnings.filters[:] = filters  # type: ignore[index]  # a list, whatever its type says


def _numpy_errors() -> Any:
    numpy = sys.modules.get("numpy")
    return None if numpy is None else numpy.geterr()


def _to_numpy_errors(errors: Any) -> None:
    if errors is not None:
        sys.modules["numpy"].seterr(**errors)


def _keras_config() -> Any:
    """What `keras.config` holds; None where Keras is not loaded (a part of it, perhaps: it is just being imported)."""
    config = getattr(sys.modules.get("keras"), "config", None)
    if config is None or not hasattr(config, "dtype_policy"):
        return None
    return config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy()


def _to_keras_config(held: Any) -> None:
    if (config := getattr(sys.modules.get("keras"), "config", None)) is not None:
        usual = keras_json()  # for code that was the first to load Keras
        fallback = (usual["floatx"], usual["epsilon"], usual["image_data_format"], usual["floatx"])
        floatx, epsilon, image_data_format, policy = held or fallback
        config.set_floatx(floatx)
        config.set_epsilon(epsilon)
        config.set_image_data_format(image_data_format)
        config.set_dtype_policy(policy)


_SETTINGS = {
    "folder": _Setting(_folder, _to_folder),
    "umask": _Setting(_umask, os.umask),  # type: ignore[arg-type]  # the old one is of no use
    "environ": _Setting(_environ, _to_environ),
    "handlers": _Setting(_handlers, _to_handlers),
    "timers": _Setting(_running_timers, _stop_timers),
    "blocked": _Setting(_blocked, _to_blocked),
    "limits": _Setting(_limits, _to_limits),
    "locale": _Setting(_locale, _to_locale),
    "recursion": _Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    "collects": _Setting(gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    "path": _Setting(lambda: list(sys.path), lambda path: sys.path.__setitem__(slice(None), path)),
    "filters": _Setting(lambda: list(warnings.filters), _to_filters),
    "temporary": _Setting(lambda: tempfile.tempdir, lambda folder: setattr(tempfile, "tempdir", folder)),
    "numpy": _Setting(_numpy_errors, _to_numpy_errors),
    "keras": _Setting(_keras_config, _to_keras_config),
}
