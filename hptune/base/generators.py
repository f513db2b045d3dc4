"""The global random generators of a process: Python's, NumPy's, TensorFlow's, Keras's and PyTorch's.

A library may be loaded before the first trial, or only as the first trial's code runs: no trial may notice which.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from hptune.base import surroundings
from hptune.base.finders import Load, behind, first, loading
from hptune.base.own_files import is_own_file
from hptune.base.seeds import derive


def _numpy(number: int) -> None:
    sys.modules["numpy"].random.seed(number % 2**32)


def _tensorflow(number: int) -> None:
    """Its global `Generator` begins at its first use: making one starts the devices, which code may set up before."""
    tensorflow: Any = sys.modules["tensorflow"]
    tensorflow.random.set_seed(number)
    generators: Any = sys.modules.get("tensorflow.python.ops.stateful_random_ops")
    if generators is None:
        return
    kind = generators.Generator
    usual = _USUAL.setdefault("generator", vars(kind)[_MAKING]).__get__(None, kind)
    generators.global_generator = None

    def begin(alg: Any = None) -> Any:
        asked = sys._getframe(1).f_code.co_name == "get_global_generator"
        return kind.from_seed(number, alg) if asked else usual(alg)

    setattr(kind, _MAKING, begin)


_MAKING = "from_non_deterministic_state"
_USUAL: dict[str, Any] = {}
"""TensorFlow's own way to make its generator, while another stands in its place."""


def _take_back() -> None:
    if "generator" in _USUAL:
        kind: Any = sys.modules["tensorflow"].random.Generator
        setattr(kind, _MAKING, _USUAL.pop("generator"))


def _keras(number: int) -> None:
    """As `keras.utils.set_random_seed` does, which sets the seeds of others too."""
    state: Any = sys.modules["keras.src.backend.common.global_state"]
    state.set_global_attribute(_SEED_OF_KERAS, number % 2**32)
    state.set_global_attribute(_GENERATOR_OF_KERAS, None)


_SEED_OF_KERAS, _GENERATOR_OF_KERAS = "global_random_seed", "global_seed_generator"


def _torch(number: int) -> None:
    torch: Any = sys.modules["torch"]
    torch.manual_seed(number)


_LIBRARIES: dict[str, Callable[[int], None]] = {
    "numpy": _numpy,
    "tensorflow": _tensorflow,
    "keras": _keras,
    "torch": _torch,
}


@contextlib.contextmanager
def begun(number: int) -> Iterator[None]:
    """Seed all of them, and each library that is loaded only inside the block once it is loaded.

    number: at least 0; NumPy and Keras get it modulo 2**32.
    """
    before = _USUAL.get("generator")  # of a block around this one
    _seed_all(number)
    try:
        with first(_SeedingFinder(number)), surroundings.imports_of_one_trial():
            yield
    finally:
        if before is None:
            _take_back()


def _is_whole(module: ModuleType | None) -> bool:
    """Whether it is loaded completely."""
    return module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False)


@contextlib.contextmanager
def _unmoved(name: str) -> Iterator[None]:
    """Seed all of them by this name in the block, and put them back after it."""
    held = _held()
    _seed_all(derive(0, "import", name))
    try:
        yield
    finally:
        for put_back in held:
            put_back()


def _held() -> list[Callable[[], None]]:
    """Functions that put each generator back into its present state."""
    return [keep() for keep in (_of_python, _of_numpy, _of_keras, _of_tensorflow)]


def _seed_all(number: int) -> None:
    """Seed those that are loaded."""
    random.seed(number)
    for name in _loaded():
        _LIBRARIES[name](number)


def _loaded() -> set[str]:
    """Which of the libraries are loaded as a whole."""
    return {name for name in _LIBRARIES if _is_whole(sys.modules.get(name))}


def _of_python() -> Callable[[], None]:
    return partial(random.setstate, random.getstate())


def _of_numpy() -> Callable[[], None]:
    numpy: Any = sys.modules.get("numpy")
    return partial(numpy.random.set_state, numpy.random.get_state()) if _is_whole(numpy) else _nothing


def _of_keras() -> Callable[[], None]:
    keras: Any = sys.modules.get("keras.src.backend.common.global_state")
    if not _is_whole(sys.modules.get("keras")) or keras is None:
        return _nothing
    names = (_SEED_OF_KERAS, _GENERATOR_OF_KERAS)
    before = [keras.get_global_attribute(name) for name in names]

    def put_back() -> None:
        for name, value in zip(names, before, strict=True):
            keras.set_global_attribute(name, value)

    return put_back


def _of_tensorflow() -> Callable[[], None]:
    """Its seed, the numbers that follow from it for each operation, and its `Generator`."""
    context: Any = sys.modules.get("tensorflow.python.eager.context")
    generators: Any = sys.modules.get("tensorflow.python.ops.stateful_random_ops")
    if not _is_whole(sys.modules.get("tensorflow")) or context is None or generators is None:
        return _nothing
    now = context.context()
    held = {name: getattr(now, name) for name in ("_seed", "_rng") if hasattr(now, name)}
    generator, begin = generators.global_generator, vars(generators.Generator)[_MAKING]

    def put_back() -> None:
        vars(now).update(held)
        generators.global_generator = generator
        setattr(generators.Generator, _MAKING, begin)

    return put_back


def _nothing() -> None:
    pass


class _SeedingFinder:
    """Finds modules as Python does. What a module draws or seeds while it is loaded is the same whichever trial loads
    it; and each library is seeded once it is loaded.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._loading = 0

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = behind(self, name, path, target)
        if spec is None:
            return None
        own = is_own_file(spec.origin or "<")
        if self._loading and name not in _LIBRARIES and not own:
            return spec  # a part of a library that is being loaded

        def around(load: Load, module: ModuleType) -> None:
            before = _loaded()
            if threading.current_thread() is not threading.main_thread():  # beside which the trial goes on
                surroundings.end_with_trial(f"{name}, which a thread imports")
                load(module)
            elif own:
                with _unmoved(name):
                    load(module)
            else:
                self._loading += 1
                try:
                    with surroundings.importing(), _unmoved(name):
                        load(module)
                finally:
                    self._loading -= 1
            for library in _loaded() - before:  # what the module seeds of it is the module's own
                _LIBRARIES[library](self._number)

        return loading(spec, around)
