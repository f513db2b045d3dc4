"""The random generators that a process has for all: Python's, NumPy's, TensorFlow's, Keras's and PyTorch's.

A library may be loaded before the first trial, or only as the first trial's code runs: no trial may tell that.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from hptune.base.own_files import is_own_file
from hptune.base.seeds import derive


def _numpy(number: int) -> None:
    sys.modules["numpy"].random.seed(number % 2**32)


def _tensorflow(number: int) -> None:
    tensorflow: Any = sys.modules["tensorflow"]
    tensorflow.random.set_seed(number)
    if (generators := sys.modules.get("tensorflow.python.ops.stateful_random_ops")) is not None:
        generators.global_generator = _Drawn(tensorflow, number)  # type: ignore[attr-defined]


class _Drawn:
    """TensorFlow's global `Generator`, made at its first use: making it starts the devices, which code may set up."""

    def __init__(self, tensorflow: Any, number: int) -> None:
        self._tensorflow, self._number, self._made = tensorflow, number, None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._tensorflow.random.Generator.from_seed(self._number)
        return getattr(self._made, name)


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
    """Have all of them begin anew, and in the block those too that are only then loaded.

    number: of at least 0; NumPy and Keras are given it modulo 2**32.
    """
    random.seed(number)
    for name, seed in _LIBRARIES.items():
        if _is_whole(sys.modules.get(name)):
            seed(number)
    watch: Any = _Watch(number)
    sys.meta_path.insert(0, watch)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the code has taken it out
            sys.meta_path.remove(watch)


def _is_whole(module: ModuleType | None) -> bool:
    """Whether it is loaded, and not just being."""
    return module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False)


@contextlib.contextmanager
def _unmoved(name: str) -> Iterator[None]:
    """Have Python's, NumPy's and Keras's generators begin anew by this name in the block, and stand after it where they
    were."""
    before = random.getstate()
    numpy: Any = sys.modules.get("numpy") if _is_whole(sys.modules.get("numpy")) else None
    drawn = numpy.random.get_state() if numpy is not None else None
    keras: Any = (
        sys.modules.get("keras.src.backend.common.global_state") if _is_whole(sys.modules.get("keras")) else None
    )
    held = [keras.get_global_attribute(one) for one in (_SEED_OF_KERAS, _GENERATOR_OF_KERAS)] if keras else []
    number = derive(0, "import", name)
    random.seed(number)
    if numpy is not None:
        numpy.random.seed(number)
    if keras is not None:
        _keras(number)
    try:
        yield
    finally:
        random.setstate(before)
        if drawn is not None:
            numpy.random.set_state(drawn)
        for one, value in zip((_SEED_OF_KERAS, _GENERATOR_OF_KERAS), held, strict=False):
            keras.set_global_attribute(one, value)


class _Watch:
    """Finds modules as Python does. What one draws and seeds as it is loaded is its own, whichever trial loads it; and
    each library is seeded once it is loaded."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._loading = 0

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        seed = _LIBRARIES.get(name)
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return None  # the finders behind this one see to it
        if self._loading and seed is None and not is_own_file(spec.origin or "<"):
            return spec  # a part of a library that is being loaded
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            self._loading += 1
            try:
                with _unmoved(name):
                    load(module)
            finally:
                self._loading -= 1
            if seed is not None:
                seed(self._number)

        with contextlib.suppress(AttributeError):  # a loader may have no place for it
            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
