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
from typing import Any, Final, NamedTuple

from hptune.keras_json import keras_json
from hptune.replaced import modules_now, names_now, put_modules, put_names

ABSENT: Final = "not loaded"
"""What a library is set to that is not loaded; put back, it is what the library begins with."""


class Setting(NamedTuple):
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


def _to_finders(finders: list[list[Any]]) -> None:
    sys.meta_path[:], sys.path_hooks[:] = finders


def _same_importers(now: dict[str, Any], then: dict[str, Any]) -> bool:
    """Whether none that was there is another; more are made as folders are looked into."""
    return all(now.get(folder) is importer for folder, importer in then.items())


def _running_timers() -> list[bool]:
    return [signal.getitimer(timer) != (0.0, 0.0) for timer in _TIMERS]


def _stop_timers(running: list[bool]) -> None:
    for timer, runs in zip(_TIMERS, running, strict=True):
        if not runs:
            signal.setitimer(timer, 0.0)


_LIMITS = tuple(
    getattr(resource, f"RLIMIT_{name}")
    for name in ("AS", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
    if hasattr(resource, f"RLIMIT_{name}")
)
"""Those that results may depend on. (That of a crash's dump, which code likes to lower for good, is none.)"""


def _limits() -> list[int]:
    """Of each the soft one, which counts."""
    return [resource.getrlimit(limit)[0] for limit in _LIMITS]


def _to_limits(limits: list[int]) -> None:
    for limit, soft in zip(_LIMITS, limits, strict=True):
        now, most = resource.getrlimit(limit)
        if now != soft:
            with contextlib.suppress(ValueError, OSError):  # the code has lowered it for good
                resource.setrlimit(limit, (soft, most))


def _blocked() -> set[Any]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _to_blocked(signals: set[Any]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, signals)


def _ids() -> list[Any]:
    """By whose rights it works: real, effective and saved, of the user and of the group; and the other groups."""
    return [os.getresuid(), os.getresgid(), os.getgroups()]


def _to_ids(ids: list[Any]) -> None:
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


def _decimal() -> list[Any]:
    """The numbers that the contexts hold; which is the thread's own, `_context` tells."""
    return [one.__reduce__()[1] for one in (decimal.getcontext(), *_DECIMAL)]


def _to_decimal(held: list[Any]) -> None:
    for one, (precision, rounding, least, most, capitals, clamp, flags, traps) in zip(
        (decimal.getcontext(), *_DECIMAL), held, strict=True
    ):
        one.prec, one.rounding, one.Emin, one.Emax, one.capitals, one.clamp = (
            *(precision, rounding, least, most),
            *(capitals, clamp),
        )
        for signals, which in ((one.flags, flags), (one.traps, traps)):
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


# --- libraries ------------------------------------------------------------------------------------------------------


def _logging() -> Any:
    root = getattr(sys.modules.get("logging"), "root", None)
    if root is None:
        return ABSENT
    return root.level, root.disabled, [*root.handlers], [*root.filters], root.manager.disable


def _to_logging(held: Any) -> None:
    root = sys.modules["logging"].root
    level, root.disabled, root.handlers[:], root.filters[:], root.manager.disable = (
        (30, False, [], [], 0) if held is ABSENT else held
    )
    root.setLevel(level)  # it also forgets what loggers have found to be enabled


def _timeout() -> Any:
    """Of new sockets."""
    socket = sys.modules.get("_socket")
    return ABSENT if socket is None else socket.getdefaulttimeout()


def _to_timeout(held: Any) -> None:
    sys.modules["_socket"].setdefaulttimeout(None if held is ABSENT else held)


def _start_method() -> Any:
    """Of child processes; once it is set, Python refuses to have it set again."""
    module = sys.modules.get("multiprocessing")
    return ABSENT if module is None else module.get_start_method(allow_none=True)


def _to_start_method(held: Any) -> None:
    sys.modules["multiprocessing"].set_start_method(None if held is ABSENT else held, force=True)


def _tells_faults() -> Any:
    module = sys.modules.get("faulthandler")
    return module is not None and module.is_enabled()


def _to_telling_faults(on: bool) -> None:
    module = sys.modules["faulthandler"]
    (module.enable if on else module.disable)()


def _numpy() -> Any:
    """How it prints (part of the context from NumPy 2.2 on), and what its own functions draw from."""
    random = sys.modules.get("numpy.random")
    if random is None or not hasattr(random, "get_bit_generator"):  # it is just being imported
        return ABSENT
    return sys.modules["numpy"].get_printoptions(), random.get_bit_generator()


def _to_numpy(held: Any) -> None:
    if held is ABSENT:
        sys.modules["numpy.random"].set_bit_generator(sys.modules["numpy.random"].MT19937())
    else:
        options, generator = held
        sys.modules["numpy"].set_printoptions(**options)
        sys.modules["numpy.random"].set_bit_generator(generator)


def _sklearn() -> Any:
    config = getattr(sys.modules.get("sklearn"), "get_config", None)
    return ABSENT if config is None else config()


def _to_sklearn(held: Any) -> None:
    usual = getattr(sys.modules.get("sklearn._config"), "_global_config", {})
    sys.modules["sklearn"].set_config(**(usual if held is ABSENT else held))


_POOLS: list[Any] = []
"""The libraries that hold pools of threads, and how many modules were loaded when they were looked for."""


def _pools() -> Any:
    """How many threads NumPy and scikit-learn use, on which sums depend. They are looked for as modules load."""
    if "numpy" not in sys.modules:
        return ABSENT
    try:
        import threadpoolctl  # type: ignore[import-untyped]
    except ImportError:  # scikit-learn has it
        return ABSENT
    if not _POOLS or _POOLS[0] != len(sys.modules):
        _POOLS[:] = [len(sys.modules), threadpoolctl.ThreadpoolController().lib_controllers]
    return {one.filepath: one.get_num_threads() for one in _POOLS[1]}


def _to_pools(held: Any) -> None:
    for one in _POOLS[1]:
        if one.filepath in held:
            one.set_num_threads(held[one.filepath])


def _same_pools(now: Any, then: Any) -> bool:
    return then is ABSENT or (now is not ABSENT and all(now.get(path) == threads for path, threads in then.items()))


_SWITCHES = ("interactive_logging", "traceback_filtering", "flash_attention")
_LIMITS_OF_FIT = ("max_epochs", "max_steps_per_epoch")


def _keras_config() -> Any:
    """What `keras.config` holds; ABSENT also where a part of Keras is loaded: it is just being imported."""
    config = getattr(sys.modules.get("keras"), "config", None)
    if config is None or not hasattr(config, "dtype_policy"):
        return ABSENT
    held = config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy()
    switches = [getattr(config, f"is_{name}_enabled", bool)() for name in _SWITCHES]
    return *held, switches, [getattr(config, name, int)() for name in _LIMITS_OF_FIT]


def _to_keras_config(held: Any) -> None:
    config: Any = sys.modules["keras"].config
    usual = keras_json()  # for code that was the first to load Keras
    fallback = (usual["floatx"], usual["epsilon"], usual["image_data_format"], usual["floatx"], _USUAL, (None, None))
    floatx, epsilon, image_data_format, policy, switches, limits = fallback if held is ABSENT else held
    config.set_floatx(floatx)
    config.set_epsilon(epsilon)
    config.set_image_data_format(image_data_format)
    config.set_dtype_policy(policy)
    for name, on in zip(_SWITCHES, switches, strict=True):
        if on is not None and getattr(config, f"is_{name}_enabled", bool)() != on:
            getattr(config, f"{'enable' if on else 'disable'}_{name}")()
    for name, most in zip(_LIMITS_OF_FIT, limits, strict=True):
        if getattr(config, name, int)() != most and hasattr(config, f"set_{name}"):
            getattr(config, f"set_{name}")(most)


_USUAL = (True, True, None)
"""The switches of Keras as it begins; None: what the machine can."""


def _eager() -> Any:
    config = getattr(sys.modules.get("tensorflow"), "config", None)
    if config is None or not hasattr(config, "functions_run_eagerly"):
        return ABSENT
    return config.functions_run_eagerly()


def _to_eager(held: Any) -> None:
    sys.modules["tensorflow"].config.run_functions_eagerly(held is True)


SETTINGS = {
    "names": Setting(names_now, put_names),
    "modules": Setting(modules_now, put_modules, lambda _, then: len(sys.modules) >= len(then)),
    "group": Setting(os.getpgrp, lambda group: os.setpgid(0, group)),
    "folder": Setting(_folder, _to_folder, _same_folder),
    "ids": Setting(_ids, _to_ids),
    "umask": Setting(_umask, os.umask),
    "environ": Setting(_environ, _to_environ),
    "zone": Setting(_zone, lambda _: time.tzset()),
    "handlers": Setting(_handlers, _to_handlers),
    "timers": Setting(_running_timers, _stop_timers),
    "blocked": Setting(_blocked, _to_blocked),
    "limits": Setting(_limits, _to_limits),
    "cores": Setting(lambda: os.sched_getaffinity(0), lambda cores: os.sched_setaffinity(0, cores)),
    "locale": Setting(_locale, _to_locale),
    "recursion": Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    "digits": Setting(sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    "switching": Setting(sys.getswitchinterval, sys.setswitchinterval),
    "stack": Setting(threading.stack_size, threading.stack_size),
    "hooks": Setting(_hooks, _to_hooks),
    "collection": Setting(_collection, _to_collection),
    "path": Setting(lambda: [*sys.path], lambda path: sys.path.__setitem__(slice(None), path)),
    "finders": Setting(lambda: [[*sys.meta_path], [*sys.path_hooks]], _to_finders),
    "importers": Setting(lambda: dict(sys.path_importer_cache), sys.path_importer_cache.update, _same_importers),
    "arguments": Setting(lambda: [*sys.argv], lambda words: sys.argv.__setitem__(slice(None), words)),
    "filters": Setting(lambda: list(warnings.filters), _to_filters),
    "temporary": Setting(lambda: tempfile.tempdir, lambda folder: setattr(tempfile, "tempdir", folder)),
    "context": Setting(contextvars.copy_context, _to_context, _same_context),
    "decimal": Setting(_decimal, _to_decimal),
    "logging": Setting(_logging, _to_logging),
    "timeout": Setting(_timeout, _to_timeout),
    "start method": Setting(_start_method, _to_start_method),
    "faults": Setting(_tells_faults, _to_telling_faults),
    "numpy": Setting(_numpy, _to_numpy),
    "pools": Setting(_pools, _to_pools, _same_pools),
    "sklearn": Setting(_sklearn, _to_sklearn),
    "keras": Setting(_keras_config, _to_keras_config),
    "eager": Setting(_eager, _to_eager),
}
"""In the order in which they are put back: what Python's names stand for comes first."""
