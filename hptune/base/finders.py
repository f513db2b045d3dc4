"""A finder before Python's own: sees which modules are loaded, and leaves the loading to the finders behind it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeAlias

Load: TypeAlias = Callable[[ModuleType], None]


def behind(finder: Any, name: str, path: Any, target: Any) -> ModuleSpec | None:
    """The spec that the finders behind this one give, the user's among them; None where they find nothing."""
    every = list(sys.meta_path)
    places = [place for place, entry in enumerate(every) if entry is finder]
    for other in every[places[0] + 1 if places else 0 :]:
        find = getattr(other, "find_spec", None)
        spec: ModuleSpec | None = find(name, path, target) if find is not None else None
        if spec is not None:
            return spec
    return None


def loading(spec: ModuleSpec, around: Callable[[Load, ModuleType], None]) -> ModuleSpec:
    """The spec, with `around` called in place of its loader's `exec_module`, which `around` is given."""
    if hasattr(spec.loader, "exec_module"):
        spec.loader = _Loader(spec.loader, around)  # type: ignore[assignment]  # by all that it is asked for
    return spec


class _Loader:
    """Replaces a loader until its module is loaded: several modules may share one loader."""

    def __init__(self, usual: Any, around: Callable[[Load, ModuleType], None]) -> None:
        self._usual, self._around = usual, around

    def __getattr__(self, name: str) -> Any:
        return getattr(self._usual, name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None and module.__spec__.loader is self:  # type: ignore[comparison-overlap]
            module.__spec__.loader = self._usual
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._usual
        self._around(self._usual.exec_module, module)


@contextlib.contextmanager
def first(finder: Any) -> Iterator[None]:
    """Have the finder asked before all others in the block."""
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the code has taken it out
            sys.meta_path.remove(finder)
