"""Trials whose code misbehaves: each fails or completes for itself, and the others' results are what they would be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hptune.base.seeds import derive
from hptune.base.trial import Segment, SegmentFailure, SegmentResult
from hptune.executors.executor import Executor, Outcome
from hptune.executors.inline import InlineExecutor
from hptune.executors.kin import descendants
from hptune.executors.local import LocalExecutor
from hptune.experiment.reading.load import from_json
from hptune.run.record import replay
from hptune.run.rundir import RunPaths

STRANGE = '''\
import builtins, decimal, faulthandler, gc, json, locale, logging, os, random, resource, signal, socket, sys, tempfile
import multiprocessing, threading, time, warnings, zlib
import _thread
import numpy as np

def seen():
    """What a trial may see of its surroundings, as a number."""
    told = [os.getcwd(), sorted(os.environ.items()), locale.setlocale(locale.LC_ALL), np.geterr(), random.random()]
    told += [np.random.rand(), sys.getrecursionlimit(), warnings.filters, tempfile.gettempdir(), gc.isenabled()]
    told += [signal.getsignal(signal.SIGTERM) is handle, signal.getitimer(signal.ITIMER_REAL)[1], sys.path]
    told += [signal.pthread_sigmask(signal.SIG_BLOCK, ()), resource.getrlimit(resource.RLIMIT_FSIZE)]
    told += [type(os.environ), decimal.Decimal(1) / 3, decimal.DefaultContext.prec, np.array([1 / 3]), np.geterrcall()]
    told += [sys.argv, sys.get_int_max_str_digits(), sys.getswitchinterval(), sys.gettrace(), sys.getprofile()]
    told += [gc.get_threshold(), gc.callbacks, faulthandler.is_enabled(), socket.getdefaulttimeout(), time.tzname]
    told += [logging.root.level, len(logging.root.handlers), logging.root.manager.disable, sys.excepthook.__name__]
    told += [threading.current_thread().name, os.getpgrp() == GROUP, sorted(os.sched_getaffinity(0))]
    told += [len(sys.meta_path), len(sys.path_hooks), None in sys.path_importer_cache.values(), [*{"a", "b", "c", "d"}]]
    told += [hasattr(builtins, "mine"), hasattr(os, "mine"), sys.modules.get("json") is json, random.seed.__name__]
    told += [time.time is None, threading.stack_size(), multiprocessing.get_start_method(allow_none=True), numpy_says()]
    told += [os.geteuid(), os.getgroups(), threads()]
    told += [np.random.get_bit_generator().__class__.__name__, time.localtime(0).tm_hour, [*zip([1], enumerate([2]))]]
    mask = os.umask(0)
    os.umask(mask)
    print("this can be printed", flush=True)
    print("and this", file=sys.stderr, flush=True)
    os.fstat(1), os.fstat(2)
    return zlib.crc32(repr([*told, mask]).encode())

def threads():
    import threadpoolctl
    return [one.get_num_threads() for one in threadpoolctl.ThreadpoolController().lib_controllers]

def handle(*_):
    pass

def numpy_says():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        np.float64(1) / 0
    return len(told)

class Silent(Exception):
    def __str__(self): raise ValueError("no")
    __repr__ = __str__

class NoText(Exception):
    def __str__(self): return 5

class Base(BaseException):
    pass

def raised(error):
    raise error

def folder():
    os.chdir(tempfile.mkdtemp())

def folder_gone():
    gone = tempfile.mkdtemp()
    os.chdir(gone)
    os.rmdir(gone)

def streams():
    sys.stdout.close()
    sys.stderr.close()

def descriptors():
    os.close(1)
    os.close(2)

def instead():
    sys.stdout = sys.stderr = None

def flood():
    for _ in range(1000): print("x" * 1000)

def settings():
    os.umask(0o077)
    os.environ["STRANGE"] = "1"
    os.environ.pop("PATH", None)
    locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C")
    random.seed(3)
    np.random.seed(3)
    np.seterr(all="raise")
    sys.setrecursionlimit(5000)
    warnings.simplefilter("error")
    tempfile.tempdir = "/nowhere"
    gc.disable()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    sys.path.insert(0, "/nowhere")

def more_settings():
    decimal.getcontext().prec = 2
    decimal.setcontext(decimal.Context(prec=3))
    decimal.DefaultContext.prec = 4
    np.set_printoptions(precision=2)
    np.seterrcall(print)
    np.random.set_bit_generator(np.random.PCG64())
    sys.argv.append("more")
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.update(dict.fromkeys(sys.path_importer_cache))
    sys.set_int_max_str_digits(1000)
    sys.setswitchinterval(0.5)
    sys.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)
    sys.excepthook = print
    gc.set_threshold(5, 5, 5)
    gc.callbacks.append(lambda *_: None)
    (faulthandler.disable if faulthandler.is_enabled() else faulthandler.enable)()
    socket.setdefaulttimeout(3)
    logging.root.setLevel(1)
    logging.root.addHandler(logging.NullHandler())
    logging.disable(50)
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    threading.stack_size(2**20)
    multiprocessing.set_start_method("spawn", force=True)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import threadpoolctl
    threadpoolctl.threadpool_limits(1)
    if os.getuid() == 0: os.setgroups([5, 6])
    if os.getuid() == 0: os.seteuid(65534)

def replaced():
    os.environ = dict(os.environ, STRANGE="2")
    sys.path = sys.argv = None
    builtins.zip = builtins.enumerate = builtins.getattr = builtins.len = builtins.all = None
    builtins.mine = os.mine = 1
    random.seed = time.time = time.perf_counter = json.dumps = os.getpid = os._exit = lambda *_: None
    sys.modules["json"] = None

def modules_gone():
    sys.modules.clear()

def modules_replaced():
    sys.modules = {}

def another_group():
    os.setpgid(0, os.getpgid(os.getppid()))

def signals():
    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

def fork():
    os.fork()

def forks_and_raises():
    if os.fork() == 0: raise ValueError("in the copy")

WAYS = [
    folder, folder_gone, streams, descriptors, instead, flood, settings, signals, fork, forks_and_raises,
    lambda: raised(Silent()), lambda: raised(NoText()), lambda: raised(ValueError("half \\ud800")),
    lambda: raised(ExceptionGroup("two", [ValueError("inner"), KeyError("k")])), lambda: raised(Base("based")),
    lambda: sys.exit(Silent()), lambda: raised(GeneratorExit()),
    more_settings, replaced, modules_replaced,
]
GROUP = os.getpgrp()

def f(x):
    if x == 100: return {"score": seen()}
    if x == 101: threading.Thread(target=lambda: [(os.chdir("/"), time.sleep(0.001)) for _ in iter(int, 1)]).start()
    elif x == 102: os._exit(3)
    elif x == 103: os.abort()
    elif x == 104: raise KeyboardInterrupt
    elif x == 105: os.closerange(0, 100)
    elif x == 106: return {"score": os.getpid()}
    elif x == 107:
        import multiprocessing
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
        return child.pid
    elif x == 108: _thread.start_new_thread(lambda: [(os.chdir("/"), time.sleep(0.001)) for _ in iter(int, 1)], ())
    elif x == 109: exec("import sched\\nfrom threading import Thread\\n"
        "s = sched.scheduler()\\ns.enter(0.3, 1, os.chdir, '/')\\nThread(target=s.run, daemon=True).start()")
    elif x == 110: another_group()
    elif x == 111: resource.setrlimit(resource.RLIMIT_NOFILE, (900, 900))
    elif x == 112: builtins.float = None
    elif x == 113: modules_gone()
    elif x == 114:
        another_group()
        os.fork()
        time.sleep(600)
    else: WAYS[x]()
    return x
'''

FAILED = {
    10: "Silent: (its message can't be read: its __str__ raises ValueError)",
    11: "NoText: (its message can't be read: its __str__ raises TypeError)",
    12: "ValueError: half \\ud800",
    13: "ExceptionGroup: two (2 sub-exceptions); the first of them: ValueError: inner",
    14: "Base: based",
    15: "the code ended the process: sys.exit(<Silent>)",
    16: "GeneratorExit",
}
COMPLETED = (*range(10), 17)
EITHER = (18, 19)
"""Without what they took away, hptune itself may not get far."""

Make = Callable[..., Executor]


def spec(**sections: Any) -> Any:
    return from_json(
        {
            "version": 1,
            "name": "a",
            "model": {"function": "strange:f"},
            "search_space": {"x": {"type": "int", "min": 0, "max": 199}},
            "objective": {"metric": "score", "goal": "maximize"},
            **sections,
        }
    )


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes executors that are closed after the test, by the number of workers or "inline"."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "strange", raising=False)
    with ExitStack() as stack:

        def made(workers: int | str) -> Executor:
            if not (tmp_path / "strange.py").exists():
                (tmp_path / "strange.py").write_text(STRANGE)
            run = RunPaths(tmp_path / "runs" / "a")
            if workers == "inline":
                executor: Executor = InlineExecutor(spec(), tmp_path, run, lambda *_: None)
            else:
                executor = LocalExecutor(spec(execution={"workers": workers}), tmp_path, run, lambda *_: None)
            return stack.enter_context(closing(executor))

        yield made


def outcome(executor: Executor, x: int) -> Outcome:
    executor.submit(Segment(x, {"x": x}, to_epoch=1))
    (found,) = executor.wait(120.0)
    return found


def score(executor: Executor, x: int) -> float:
    found = outcome(executor, x)
    assert isinstance(found, SegmentResult), found
    return found.curves["score"][0]


def reason(executor: Executor, x: int) -> str:
    found = outcome(executor, x)
    assert isinstance(found, SegmentFailure), found
    return found.reason


@pytest.mark.parametrize("workers", ["inline", 1])
def test_what_a_trial_does_to_the_process_reaches_no_other(
    make: Make, workers: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fd, name in ((1, "stdout"), (2, "stderr")):  # pytest's own must not be closed
        monkeypatch.setattr(sys, name, open(os.dup(fd), "w"))  # noqa: SIM115, PTH123
    executor = make(workers)
    folder, handlers = Path.cwd(), signal.getsignal(signal.SIGTERM)
    untouched = score(executor, 100)
    for x in COMPLETED:
        assert score(executor, x) == x
        assert score(executor, 100) == untouched, f"way {x} is seen by the next trial"
    for x, told in FAILED.items():
        assert reason(executor, x).startswith(told)
        assert score(executor, 100) == untouched
    for x in EITHER:
        assert outcome(executor, x).segment.trial == x
        assert score(executor, 100) == untouched, f"way {x} is seen by the next trial"
    assert (Path.cwd(), signal.getsignal(signal.SIGTERM)) == (folder, handlers)
    print("printed", file=sys.stdout, flush=True)
    print("printed", file=sys.stderr, flush=True)


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(101, id="a thread"),
        pytest.param(108, id="a thread that Python does not count"),
        pytest.param(109, id="a thread that runs the code later, itself made from a text"),
        pytest.param(111, id="a limit that is lowered for good"),
    ],
)
def test_the_next_trial_is_another_workers_where_something_of_the_code_stays(make: Make, x: int) -> None:
    executor = make(1)
    first, untouched = score(executor, 106), score(executor, 100)
    assert score(executor, x) == x, "its own result counts"
    assert score(executor, 100) == untouched
    assert score(executor, 106) != first


def test_a_worker_that_goes_to_another_process_group_is_put_back_and_ended_all_the_same(make: Make) -> None:
    executor = make(1)
    first, untouched = int(score(executor, 106)), score(executor, 100)
    assert score(executor, 110) == 110
    assert score(executor, 100) == untouched
    executor.submit(Segment(1, {"x": 114}, to_epoch=1))  # moves there, begins a process, and hangs
    executor.wait(0.1)
    wait_until(lambda: len(descendants(first)) == 2)  # the watchdog is one
    processes = [first, *descendants(first)]
    executor.close()
    wait_until(lambda: not any(map(is_alive, processes)))


def test_a_worker_in_another_process_group_ends_with_its_driver(tmp_path: Path) -> None:
    search = start(tmp_path, HANGS_ELSEWHERE)
    wait_until(lambda: any(file.stat().st_size for file in tmp_path.glob("worker-*")))
    workers = next(tmp_path.glob("worker-*")).read_text().split()
    search.kill()
    search.communicate()
    wait_until(lambda: not any(is_alive(int(one)) for one in workers))


HANGS_ELSEWHERE = """\
import os, re
def f(x):
    os.setpgid(0, os.getpgid(os.getppid()))
    if child := os.fork():
        with open(f"worker-{x}", "w") as file: file.write(f"{os.getpid()} {child}")
    re.match(r"(a+)+$", "a" * 60 + "b")
"""


def test_what_a_trial_takes_from_python_it_takes_from_itself_alone(make: Make) -> None:
    executor = make(1)
    untouched = score(executor, 100)
    assert "a number is wanted" in reason(executor, 112)
    assert score(executor, 100) == untouched
    executor.submit(Segment(1, {"x": 113}, to_epoch=1))  # nothing can be imported any more: it completes, or fails
    assert len(executor.wait(60.0)) == 1
    assert score(executor, 100) == untouched


def test_inline_no_trial_is_trained_under_what_can_not_be_put_back(tmp_path: Path) -> None:
    code = """\
import resource
def f(x):
    if x == 1: resource.setrlimit(resource.RLIMIT_NOFILE, (900, 900))
    return x
"""
    search = start(tmp_path, code, executor="inline")
    _, err = search.communicate(timeout=60)
    assert search.returncode == 1
    assert "has set what can't be put back in this process (limits)" in err
    states = [trial.state for trial in replay(RunPaths(tmp_path / "runs" / "a")).history.trials]
    assert states[:2] == ["completed", "completed"]


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (102, "the worker ended by itself (exit code 3)"),
        (103, "the worker was killed (SIGABRT)"),
        (105, "the worker ended by itself (exit code 1)"),
        (104, "the code raised KeyboardInterrupt"),
    ],
)
def test_a_trial_that_ends_its_worker_fails_alone(make: Make, x: int, told: str) -> None:
    executor = make(2)
    untouched = score(executor, 100)
    assert reason(executor, x) == told
    assert score(executor, 100) == untouched


@pytest.mark.parametrize("workers", ["inline", 1])
def test_what_a_module_sets_as_it_is_imported_stays(make: Make, tmp_path: Path, workers: int | str) -> None:
    (tmp_path / "strange.py").write_text(
        f"import os\nos.chdir({str(tmp_path)!r})\ndef f(x): return os.getcwd() == {str(tmp_path)!r}\n"
    )
    folder, executor = Path.cwd(), make(workers)
    assert [score(executor, x) for x in (0, 1, 2)] == [1, 1, 1]
    assert Path.cwd() == folder


IMPORTS_AS_IT_RUNS = """\
import os, warnings
def f(x):
    kind, odd = x // 2, x % 2
    if kind == 0:  # a library of one's own that sets something else than the trial has
        if odd: os.environ["MODE"] = "7"
        import sets_theirs
    elif kind == 1:  # imported by some trials alone
        if odd: import sets_mode
    elif kind == 2:  # a library that adds a filter, after the trial has set its own
        if odd: warnings.simplefilter("error")
        import sklearn.linear_model
        warnings.warn("hm")
    return os.environ.get("MODE", 0)
"""


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (1, 0, 3, 2, 5, 4)])
def test_what_a_trial_imports_as_it_runs_shows_in_no_other(make: Make, tmp_path: Path, order: tuple[int, ...]) -> None:
    (tmp_path / "strange.py").write_text(IMPORTS_AS_IT_RUNS)
    (tmp_path / "sets_theirs.py").write_text("import os\nos.environ['THEIRS'] = '1'\n")
    (tmp_path / "sets_mode.py").write_text("import os\nos.environ['MODE'] = '5'\n")
    executor = make(1)
    found = {}
    for x in order:
        got = outcome(executor, x)
        found[x] = got.reason if isinstance(got, SegmentFailure) else got.curves["score"][0]
    assert found == {0: 0, 1: 7, 2: 0, 3: 5, 4: 0, 5: "UserWarning: hm (strange.py:12)"}


def test_a_module_that_is_the_first_to_load_tensorflow_and_seeds_it(make: Make, tmp_path: Path) -> None:
    (tmp_path / "seeds.py").write_text("import tensorflow as tf\ntf.random.set_seed(0)\n")
    (tmp_path / "strange.py").write_text(
        "def f(x):\n    import seeds\n    return seeds.tf.random.uniform(()).numpy()\n"
    )
    executor = make(1)
    assert len({score(executor, 0) for _ in range(3)}) == 1


IN_ODD_WAYS = """\
import importlib.util, os, random, sys, threading
def imported(name):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, os.path.join(os.path.dirname(__file__), name + ".py"))
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
def f(x):
    kind = x % 4 if x < 8 else 9
    if kind == 0:  # while the trial itself goes on
        thread = threading.Thread(target=__import__, args=("slow",))
        thread.start()
        random.seed(5)
        thread.join()
        return random.random()
    if kind == 1:
        imported("sets_mode")
        return os.environ.get("MODE", 0)
    if kind == 2:
        return imported("seeds").random.random()
    if x >= 8:
        if "made" not in sys.modules:
            import types
            made = sys.modules["made"] = types.ModuleType("made")
            os.environ["MADE"] = "2"
        import spaces
        spaces.COUNT = getattr(spaces, "COUNT", 0) + 1
        return spaces.COUNT + int(os.environ.get("MADE", 0))
    os.environ["X"] = str(x)
    import holds
    return holds.X
"""


@pytest.mark.parametrize("workers", ["inline", 1])
@pytest.mark.parametrize("order", [range(1, 10), range(9, 0, -1)])
def test_modules_of_ones_own_are_loaded_anew_for_each_trial(
    make: Make, tmp_path: Path, order: range, workers: int | str
) -> None:
    """As if each trial were alone in its process, whatever way they are loaded; as plain Python has it."""
    (tmp_path / "strange.py").write_text(IN_ODD_WAYS)
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.3)\n")
    (tmp_path / "sets_mode.py").write_text("import os\nos.environ['MODE'] = '5'\n")
    (tmp_path / "seeds.py").write_text("import random\nrandom.seed(0)\n")
    (tmp_path / "holds.py").write_text("import os\nX = float(os.environ['X'])\n")
    (tmp_path / "spaces").mkdir()
    executor = make(workers)
    found = {x: score(executor, x) for x in order if workers == 1 or x != 4}
    if workers == 1:
        assert score(executor, 0) == found[4] == Random(5).random(), "and then another worker takes over"
    assert [found[x] for x in (1, 5)] == [5.0, 5.0]
    assert found[2] == found[6] == Random(0).random()
    assert [found[x] for x in (3, 7)] == [3.0, 7.0]
    assert [found[x] for x in (8, 9)] == [3.0, 3.0]


TAKEN_BACK = """\
import os
from unittest import mock
def f(x):
    with mock.patch.dict(os.environ, {}):
        import sklearn
    return "KMP_INIT_AT_FORK" in os.environ
"""


def test_what_a_trial_takes_back_of_a_librarys_settings_is_not_kept(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scikit-learn sets this variable as it is imported."""
    monkeypatch.delenv("KMP_INIT_AT_FORK", raising=False)
    (tmp_path / "strange.py").write_text(TAKEN_BACK)
    executor = make(1)
    assert [score(executor, x) for x in range(3)] == [0, 0, 0]


SETS_IN_THE_DRIVER = """\
import os, sys
os.environ["MODE"] = "5"
os.umask(0o027)
from hptune.strategies.strategy import Done, Start
class S:
    def __init__(self, experiment, space): pass
    def next(self, history):
        assert os.environ["MODE"] == "5", "its own"
        os.chdir("/")
        number = len(history.trials)
        return Start({"x": number}, 1) if number < 6 else Done("enough")
    def may_continue(self, trial, history): return False
"""


CHOSEN = """\
version: 1
name: a
model: {function: "scored:f"}
search_space: {x: {type: int, min: 0, max: 9}}
objective: {metric: score, goal: minimize}
strategy: {name: python, strategy: "chosen:S"}
execution: {workers: 1}
track: {csv: true}
"""


def searched_by(folder: Path, yaml: str) -> subprocess.CompletedProcess[str]:
    (folder / "a.yaml").write_text(yaml)
    command = [sys.executable, "-m", "hptune", "search", "a.yaml", "--quiet"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_what_a_strategy_sets_shows_in_no_trial_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "chosen.py").write_text(SETS_IN_THE_DRIVER)
    (tmp_path / "odd.py").write_text("X = 1\n")
    (tmp_path / "scored.py").write_text(
        "import os\ndef f(x):\n    if x == 2:\n        import odd\n    here = os.path.exists('scored.py')\n"
        "    return {'score': float(os.environ.get('MODE', 0)), 'here': here}\n"
    )
    ran = searched_by(tmp_path, CHOSEN)
    assert ran.returncode == 0, ran.stderr
    trials = replay(RunPaths(tmp_path / "runs" / "a")).history.trials
    assert [trial.curves[0] for trial in trials] == [{"score": (0.0,), "here": (1.0,)}] * 6
    assert len((tmp_path / "runs" / "a" / "trials.csv").read_text().splitlines()) == 7


def test_a_strategy_that_ends_the_process_is_told(tmp_path: Path) -> None:
    (tmp_path / "chosen.py").write_text(
        SETS_IN_THE_DRIVER.replace("os.chdir", "history.trials and sys.exit(0); os.chdir")
    )
    (tmp_path / "scored.py").write_text("def f(x): return x\n")
    ran = searched_by(tmp_path, CHOSEN)
    assert ran.returncode == 1
    assert "the code that chooses points ended the process: sys.exit(0)" in ran.stderr


@pytest.mark.parametrize(
    "change", ["history.trials.clear()", "history.trials[0].values.update(x=7)", "history.trials[0].values.pop('x')"]
)
def test_a_strategy_that_changes_the_history_is_told(tmp_path: Path, change: str) -> None:
    (tmp_path / "chosen.py").write_text(
        SETS_IN_THE_DRIVER.replace("os.chdir", f"{change} if history.trials else None; os.chdir")
    )
    (tmp_path / "scored.py").write_text("def f(x): return x\n")
    ran = searched_by(tmp_path, CHOSEN)
    assert ran.returncode == 1
    assert "the code that chooses points changed the history that it was given" in ran.stderr


DRAWS = """\
import random
import numpy as np
from hptune.strategies.strategy import Done, Start
class S:
    def __init__(self, experiment, space):
        self.trials, self.first = experiment.budget.trials, random.random()
    def next(self, history):
        if len(history.trials) == self.trials:
            return Done("enough")
        return Start({"x": random.random(), "y": np.random.rand(), "z": self.first}, 1)
    def may_continue(self, trial, history): return False
"""

DRAWN = """\
version: 1
name: a
model: {function: "scored:f"}
search_space: {x: {type: float, min: 0, max: 1}, y: {type: float, min: 0, max: 1}, z: {type: float, min: 0, max: 1}}
objective: {metric: score, goal: minimize}
strategy: {name: python, strategy: "chosen:S"}
"""


def test_what_a_strategy_draws_from_shared_generators_follows_from_the_seed(tmp_path: Path) -> None:
    """Whatever trials draw in the same process, and however often the search was stopped."""
    (tmp_path / "chosen.py").write_text(DRAWS)
    (tmp_path / "scored.py").write_text(
        "import random\ndef f(x, y, z):\n    random.seed(1)\n    return random.random()\n"
    )
    found = []
    for executor, budgets in (("local, workers: 1", [4]), ("inline", [4]), ("inline", [2, 4])):
        for trials in budgets:
            ran = searched_by(tmp_path, f"{DRAWN}execution: {{executor: {executor}}}\nbudget: {{trials: {trials}}}\n")
            assert ran.returncode == 0, ran.stderr
        found.append([dict(trial.values) for trial in replay(RunPaths(tmp_path / "runs" / "a")).history.trials])
        shutil.rmtree(tmp_path / "runs")
    assert found[0] == found[1] == found[2]
    assert len({values["x"] for values in found[0]}) == len({values["y"] for values in found[0]}) == 4


TRAINS = """\
import os
def f(x):
    import keras, numpy as np, tensorflow as tf
    from sklearn.linear_model import Ridge
    Ridge().fit(np.eye(3), np.ones(3))
    @tf.function
    def g(a): return a * 2 if tf.reduce_sum(a) > 0 else a
    g(tf.constant([1.0]))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 2)), np.ones(8), verbose=0)
    return os.getpid()
"""


def test_libraries_that_trials_load_end_no_worker(make: Make, tmp_path: Path) -> None:
    (tmp_path / "strange.py").write_text(TRAINS)
    executor = make(1)
    assert len({score(executor, x) for x in range(3)}) == 1


def test_what_the_yaml_names_under_some_values_sets_what_it_sets_for_all_trials(tmp_path: Path) -> None:
    loss = (
        "import os\nfrom keras.losses import mean_squared_error\n"
        "def l(y, p): return mean_squared_error(y, p) + float(os.environ.get('MODE', 0))\n"
    )
    (tmp_path / "plain.py").write_text(loss)
    (tmp_path / "sets.py").write_text(loss + "os.environ['MODE'] = '5'\n")
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{n},{n * 0.5}\n" for n in range(40)))
    (tmp_path / "a.yaml").write_text(
        "version: 1\nname: a\ndata: {csv: t.csv, target: y}\nmodel: {layers: [Dense: {units: $n}, Output]}\n"
        "search_space: {l: {type: choice, values: ['plain:l', 'sets:l']}, n: {type: choice, values: [1, 2]}}\n"
        "training: {epochs: 1, loss: $l}\nobjective: {metric: val_loss}\nstrategy: {name: grid}\n"
        "execution: {workers: 1}\n"
    )
    command = [sys.executable, "-m", "hptune", "search", "a.yaml", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    trials = replay(RunPaths(tmp_path / "runs" / "a")).history.trials
    assert [trial.curves[0]["val_loss"][0] > 5 for trial in trials] == [True] * 4, "as if it were imported at the top"


def test_an_estimators_own_module_is_loaded_once(tmp_path: Path) -> None:
    """It is named in the YAML, and so for all trials."""
    (tmp_path / "counted.py").write_text(
        "import os\nfrom sklearn.linear_model import Ridge\n"
        "with open(os.path.join(os.path.dirname(__file__), 'loads'), 'a') as file: file.write(f'{os.getpid()} ')\n"
        "class Own(Ridge): pass\n"
    )
    (tmp_path / "a.yaml").write_text(
        "version: 1\nname: a\ndata: {source: diabetes}\nmodel: {sklearn: 'counted:Own', params: {alpha: $a}}\n"
        "search_space: {a: {type: float, min: 0.1, max: 1}}\nbudget: {trials: 4}\nexecution: {workers: 1}\n"
    )
    command = [sys.executable, "-m", "hptune", "search", "a.yaml", "--quiet"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert len((tmp_path / "loads").read_text().split()) <= 2, "a worker, and perhaps the driver"


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_modules_of_one_loader_draw_what_is_theirs(make: Make, tmp_path: Path, order: tuple[str, ...]) -> None:
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        for name in ("one", "two"):
            archive.writestr(f"zipped_{name}.py", "import random\nDRAWN = random.random()\n")
    names = [f"zipped_{name}" for name in order]
    (tmp_path / "strange.py").write_text(
        f"import sys, random\nsys.path.append({str(tmp_path / 'both.zip')!r})\n"
        f"def f(x):\n    for name in {names}: __import__(name)\n    return sys.modules['zipped_one'].DRAWN\n"
    )
    assert score(make(1), 0) == Random(derive(0, "import", "zipped_one")).random()


@pytest.mark.parametrize("workers", ["inline", 1])
def test_children_that_a_trial_leaves_behind_end_with_the_executor(make: Make, workers: int | str) -> None:
    executor = make(workers)
    child = int(score(executor, 107))
    assert is_alive(child)
    executor.close()
    wait_until(lambda: not is_alive(child))


def is_alive(process: int) -> bool:
    """Whether it runs; one that has ended and that nobody has asked for does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


YAML = """\
version: 1
name: a
model: {function: "code:f"}
search_space: {x: {type: int, min: 0, max: 5}}
objective: {metric: score, goal: minimize}
strategy: {name: grid}
execution: {executor: EXECUTOR, workers: WORKERS}
"""


def start(folder: Path, code: str, *, executor: str = "local", workers: int = 1) -> subprocess.Popen[str]:
    (folder / "code.py").write_text(code)
    (folder / "a.yaml").write_text(YAML.replace("EXECUTOR", executor).replace("WORKERS", str(workers)))
    command = [sys.executable, "-m", "hptune", "search", "a.yaml", "--quiet"]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def searched(folder: Path, code: str, **options: Any) -> dict[str, Any]:
    """The states and errors of the trials of a search that ends well, by x."""
    search = start(folder, code, **options)
    _, err = search.communicate(timeout=120)
    assert search.returncode == 0, err
    return {str(t.values["x"]): t.error or t.state for t in replay(RunPaths(folder / "runs" / "a")).history.trials}


HOLDS_THE_GIL = """\
import os, re, time
def f(x):
    if os.fork() == 0: time.sleep(600)
    with open(f"worker-{x}", "w") as file: file.write(str(os.getpid()))
    re.match(r"(a+)+$", "a" * 60 + "b")  # years, in one call that lets no other thread run
"""


def test_a_worker_that_lets_no_thread_run_ends_with_its_driver_and_so_do_its_children(tmp_path: Path) -> None:
    search = start(tmp_path, HOLDS_THE_GIL, workers=2)
    wait_until(lambda: sum(file.stat().st_size > 0 for file in tmp_path.glob("worker-*")) == 2)
    workers = {int(file.read_text()) for file in tmp_path.glob("worker-*")}
    groups = [
        p
        for p in map(int, filter(str.isdecimal, (entry.name for entry in Path("/proc").iterdir())))
        if group(p) in workers
    ]
    assert len(groups) == 6, "each worker has a watchdog and a child"
    search.kill()
    search.communicate()
    wait_until(lambda: not any(map(is_alive, groups)))


def test_what_stops_a_driver_stops_its_workers(tmp_path: Path) -> None:
    code = "import os\ndef f(x):\n    open(f'worker-{os.getpid()}', 'w').close()\n    while True: pass\n"
    search = start(tmp_path, code)
    try:
        wait_until(lambda: bool(list(tmp_path.glob("worker-*"))))
        worker = int(next(tmp_path.glob("worker-*")).name.partition("-")[2])
        search.send_signal(signal.SIGTSTP)
        wait_until(lambda: state(worker) == state(search.pid) == "T")
        search.send_signal(signal.SIGCONT)
        wait_until(lambda: "T" not in (state(worker), state(search.pid)))
    finally:
        search.kill()
        search.communicate()


def state(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def group(process: int) -> int:
    try:
        return os.getpgid(process)
    except ProcessLookupError:
        return 0


@pytest.mark.parametrize(("executor", "workers"), [pytest.param("inline", 1, marks=pytest.mark.slow), ("local", 2)])
def test_a_forked_copy_of_a_trial_tells_and_writes_nothing(tmp_path: Path, executor: str, workers: int) -> None:
    code = "import os, time\ndef f(x):\n    if x == 2 and os.fork(): time.sleep(1)\n    return x\n"
    assert searched(tmp_path, code, executor=executor, workers=workers) == dict.fromkeys("012345", "completed")


def test_a_search_ends_though_inline_code_has_left_threads_and_children(tmp_path: Path) -> None:
    code = """\
import multiprocessing, threading, time
def f(x):
    if x == 1: threading.Thread(target=lambda: time.sleep(600)).start()
    if x == 2: multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)).start()
    return x
"""
    assert searched(tmp_path, code, executor="inline") == dict.fromkeys("012345", "completed")


BUILD = """\
import os, tempfile
def build(hp):
    import keras
    os.chdir(tempfile.mkdtemp())
    if os.fork() == 0:
        raise RuntimeError("in the copy")
    keras.config.set_floatx("float64") if hp.Int("units", 1, 4) == 2 else None
    model = keras.Sequential([keras.layers.Dense(hp.get("units")),
                              keras.layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
def data():
    os.chdir(tempfile.mkdtemp())
    os.fork()
    import keras, numpy as np
    keras.config.set_floatx("float16")
    np.random.seed(0)
    return np.random.rand(40, 4).astype("float32"), np.arange(40) % 3
"""


@pytest.mark.slow
def test_what_a_builder_and_a_data_source_change_moves_no_file_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BUILD)
    (tmp_path / "b.yaml").write_text(
        'version: 1\nname: b\ndata: {python: "mine:data"}\nmodel: {python: "mine:build"}\ntraining: {epochs: 2}\n'
        "strategy: {name: grid}\nexecution: {workers: 1}\n"
    )
    for words in (["search", "b.yaml", "--quiet"], ["train-best"]):
        done = command(tmp_path, *words)
        assert done.returncode == 0, done.stderr
    assert "model: runs/b/best/model.keras" in done.stdout
    record = replay(RunPaths(tmp_path / "runs" / "b"))
    assert {trial.state for trial in record.history.trials} == {"completed"}
    assert len(record.history.trials) == 4
    assert (tmp_path / "runs" / "b" / "best" / "model.keras").is_file()
    assert list((tmp_path / "runs" / "b" / "trials").rglob("state-*"))


ESTIMATOR = """\
import os, tempfile
import numpy as np
from sklearn.tree import DecisionTreeClassifier
class Strange(DecisionTreeClassifier):
    def fit(self, x, y):
        os.chdir(tempfile.mkdtemp())
        os.fork()
        if self.max_depth == 2: raise BaseException("two is too much")
        rows = np.random.permutation(len(y))[:100]
        np.random.seed(0)
        return super().fit(x[rows], y[rows])
"""


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "local"])
def test_an_estimator_moves_no_file_and_draws_alike_in_any_company(tmp_path: Path, executor: str) -> None:
    (tmp_path / "mine.py").write_text(ESTIMATOR)
    text = (
        "version: 1\nname: NAME\ndata: {source: iris}\n"
        'model: {sklearn: "mine:Strange", params: {max_depth: $depth}}\n'
        "search_space: {depth: {type: choice, values: CHOICE}}\nstrategy: {name: grid}\nevaluation: {folds: 2}\n"
        f"execution: {{executor: {executor}, workers: 1}}\n"
    )
    for name, choice in (("a", "[1, 2, 3]"), ("b", "[3, 4]")):
        (tmp_path / f"{name}.yaml").write_text(text.replace("NAME", name).replace("CHOICE", choice))
        assert command(tmp_path, "search", f"{name}.yaml", "--quiet").returncode == 0
    found = {
        name: {t.values["depth"]: t for t in replay(RunPaths(tmp_path / "runs" / name)).history.trials} for name in "ab"
    }
    assert {depth: t.state for depth, t in found["a"].items()} == {1: "completed", 2: "failed", 3: "completed"}
    assert (found["a"][2].error or "").startswith("BaseException: two is too much")
    assert found["a"][3].curves == found["b"][3].curves, "whatever was fitted before"
    done = command(tmp_path, "train-best", "--run", "a")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "a" / "best" / "model.skops").is_file()


HYPERMODEL = """\
import os, tempfile
import keras, keras_tuner
class Mine(keras_tuner.HyperModel):
    def build(self, hp):
        model = keras.Sequential([keras.layers.Dense(hp.Choice("units", [3, 4])), keras.layers.Softmax()])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model
    def fit(self, hp, model, *args, **kwargs):
        os.chdir(tempfile.mkdtemp())
        told = model.fit(*args, **kwargs)
        os.fork()
        if hp.get("units") == 4: raise KeyError("four")
        return told
"""


@pytest.mark.slow
def test_a_fit_of_ones_own_moves_no_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HYPERMODEL)
    (tmp_path / "c.yaml").write_text(
        'version: 1\nname: c\ndata: {source: iris, limit: 60}\nmodel: {python: "mine:Mine"}\n'
        "training: {epochs: 1}\nstrategy: {name: grid}\nexecution: {workers: 1}\n"
    )
    done = command(tmp_path, "search", "c.yaml", "--quiet")
    assert done.returncode == 0, done.stderr
    trials = replay(RunPaths(tmp_path / "runs" / "c")).history.trials
    assert {t.values["units"]: t.state for t in trials} == {3: "completed", 4: "failed"}
    assert sorted(t.error for t in trials if t.error) == ["KeyError: 'four' (mine.py:12)"]
    assert list((tmp_path / "runs" / "c").rglob("error.txt"))


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hptune", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_what_a_trial_writes_to_stdout_is_no_result(tmp_path: Path, executor: str) -> None:
    """Below Python's streams too, and by a program that it starts."""
    (tmp_path / "says.py").write_text(
        "import os, subprocess\ndef f(x):\n    os.write(1, b'RAW')\n    subprocess.run(['echo', 'SUB'])\n"
        "    print('PRINT')\n    return x\n"
    )
    (tmp_path / "a.yaml").write_text(
        'version: 1\nname: a\nmodel: {function: "says:f"}\nsearch_space: {x: {type: int, min: 0, max: 5}}\n'
        "objective: {metric: score, goal: minimize}\nbudget: {trials: 2}\n"
        f"execution: {{executor: {executor}}}\n"
    )
    for words in (["search", "a.yaml", "--json"], ["train-best", "--json"]):
        command = [sys.executable, "-m", "hptune", *words]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert isinstance(json.loads(ran.stdout), dict)
