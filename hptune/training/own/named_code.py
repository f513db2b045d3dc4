"""The user's modules behind a model that the YAML describes: its own layers, losses, metrics and schedules.

What they hold (a network, a generator, a dict) would go on from trial to trial. Where it is another than it was when
they were loaded, they are loaded anew before the next trial, which then begins as in a process of its own.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

from hptune.base import seeds
from hptune.base.errors import SpecError
from hptune.base.generators import begun
from hptune.base.user_code import load_object
from hptune.training.own.heap import Heap
from hptune.training.own.modules import forget, imported, own_modules
from hptune.training.own.patches import Patches
from hptune.training.runtime import reset_names


class NamedCode:
    """The user's modules among these, and those that they import.

    names: of modules. folder: the YAML file's. seed: the experiment's.
    kept: the names through which they hold what a trial has changed.
    """

    def __init__(self, names: Iterable[str], folder: Path, seed: int) -> None:
        self._names, self._folder, self._seed = sorted(names), folder, seed
        self._load()
        self._seen = self._known()
        self._late: list[tuple[ModuleType, Heap]] = []
        self._patches = Patches() if self._names else None
        self.kept: set[str] = set()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """For a trial to run in: modules that its code is the first to import are held to what they hold then, too."""
        with imported(lambda module: self._late.append((module, Heap([module])))) if self._names else nullcontext():
            yield

    def renewed(self) -> bool:
        """Load the modules anew where they hold something other than at first. Whether they are others than at the last
        call: another fold may have loaded them anew meanwhile.
        """
        now = self._known()
        changed = _HEAPS[_key(now)].changed() if self._names else []
        changed += [name for _, heap in self._late for name in heap.changed()]
        if self._patches is not None and self._patches.any_patched():
            self._patches.undo()
            changed.append("Keras's own code")
        if changed:
            self.kept.update(changed)
            _HEAPS.pop(_key(now))
            forget([*self._modules(), *(module for module, _ in self._late)])
            self._late.clear()
            reset_names()
            self._load()
        before, self._seen = self._seen, self._known()
        return any(one is not other for one, other in zip(before, self._seen, strict=True))

    def _load(self) -> None:
        """Load those that are not loaded; one that can't be fails the trial that needs it."""
        for name in self._names:
            if name not in sys.modules:
                with contextlib.suppress(SpecError), begun(seeds.derive(self._seed, "import", name)):
                    load_object(f"{name}:__name__", self._folder, ())

    def _modules(self) -> list[ModuleType]:
        reached = [module for name in self._names for module in own_modules(name, None)]
        return list({id(module): module for module in reached}.values())

    def _known(self) -> tuple[ModuleType | None, ...]:
        """The named modules as they are loaded now; what they hold is remembered at first."""
        modules = tuple(sys.modules.get(name) for name in self._names)
        if _key(modules) not in _HEAPS:
            _HEAPS[_key(modules)] = Heap(self._modules())
        return modules


def _key(modules: tuple[ModuleType | None, ...]) -> tuple[int, ...]:
    return tuple(map(id, modules))


_HEAPS: dict[tuple[int, ...], Heap] = {}
"""By the identities of the named modules, which a Heap and `NamedCode` keep alive: what all held when first seen."""
