"""Which types a `model.skops` holds, and which of them are made without the user's consent.

Nothing is trusted by its module's name: numpy and scikit-learn hold functions that run any text as Python. Known are
the types that files of scikit-learn's own estimators hold, a list (`known_types.txt`) that `scripts/known_types.py`
writes. Neither the file nor anything beside it can add to that: only the user who runs the command can.
"""

from __future__ import annotations

import importlib
import json
import shlex
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from types import MethodType, ModuleType
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from hptune.base.errors import RunError, spec_error

DAMAGED = (
    OSError,
    MemoryError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    RecursionError,
    BadZipFile,
)
"""What skops and scikit-learn raise for a file that they can't read."""

_SHOWN = 12


@cache
def known_types() -> frozenset[str]:
    """The types that files of scikit-learn's own estimators hold."""
    return frozenset((files("hptune.training.export") / "known_types.txt").read_text(encoding="utf-8").split())


def types_in(path: Path) -> frozenset[str]:
    """Everything that loading the file would make or call, as `module.name`. Nothing is imported.

    Raises one of DAMAGED for a file that skops did not write.
    """
    from skops import io

    named = {f"{node['__module__']}.{node['__class__']}" for node in _nodes(path) if node.get("__module__")}
    return frozenset(named | set(io.get_untrusted_types(file=path)))


def strange_types(path: Path, named: Sequence[str] = ()) -> list[str]:
    """The types in the file that are neither known nor among `named` (`module.Class`), sorted."""
    return sorted(types_in(path) - known_types() - set(named))


def load_known(path: Path, named: Sequence[str], *, run: str) -> Any:
    """The estimator in the file. named: types that the user trusts, as `module:Class`. run: the run's name.

    Raises RunError for a file that is damaged or holds a type that is neither known nor named, SpecError for one of
    `named` that can't be imported.
    """
    from skops import io

    named = [one if ":" in one else _reference(one) for one in named]
    for one in named:
        if not one.partition(":")[0]:
            raise spec_error(f"--trust: must be module:Class, got {one.removeprefix(':')!r}.")
    dotted = [one.replace(":", ".") for one in named]
    try:
        strange = strange_types(path, dotted)
        if strange:
            raise RunError(_refusal(path, strange, run))
        _import(named)
        made = io.load(path, trusted=[*known_types(), *dotted])
        if (oddity := _oddity(made)) is not None:
            raise RunError(f"{path} {oddity}. Write it anew without: hptune train-best --run {run}")
        return made
    except DAMAGED as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{path} can't be loaded: {why}") from error


def trust_note(strange: Sequence[str]) -> str | None:
    """A note for the user whose model holds these types; None where there are none."""
    if not strange:
        return None
    return f"it holds types that hptune does not know; to predict, name them: {_command(strange)}"


def _refusal(path: Path, strange: Sequence[str], run: str) -> str:
    shown = ", ".join(map(_reference, strange[:_SHOWN]))
    more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
    return (
        f"{path} holds {shown}{more}, which hptune does not know: loading it may run any code. "
        f"Where you know who wrote it and trust it: {_command(strange[:_SHOWN], '--run', run)}"
    )


def _command(strange: Iterable[str], *more: str) -> str:
    return shlex.join(["hptune", "predict", *more, *(w for one in strange for w in ("--trust", _reference(one)))])


def _reference(name: str) -> str:
    return ":".join(name.rpartition(".")[::2])


def _import(named: Sequence[str]) -> None:
    """Import the modules of named types: installed ones first, else those in the folder that the command runs in.

    Never from a folder that the run names: the user did not name it.
    """
    here = str(Path.cwd())
    if named and here not in sys.path:
        sys.path.append(here)
    for reference in named:
        module = reference.partition(":")[0]
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            problem = f"no module {error.name!r} among the installed packages or in {here}"
            raise spec_error(f"--trust {reference}: {problem}. Run it where {error.name}.py lies.") from error
        except Exception as error:  # a module may raise anything while it is imported
            problem = f"importing {module!r} failed: {type(error).__name__}: {error}"
            raise spec_error(f"--trust {reference}: {problem}. Fix the module.") from error


def _nodes(path: Path) -> Iterator[dict[str, Any]]:
    """Every object in the file's schema."""
    with ZipFile(path) as archive:
        left: list[Any] = [json.loads(archive.read("schema.json"))]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            if "__loader__" in node:
                yield node
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)


_METHODS = frozenset({"predict", "predict_proba", "decision_function", "predict_log_proba", "auto"})
_NAMES_METHODS = frozenset({"stack_method_", "chain_method_", "response_method", "_response_method"})
"""The attributes that name the methods which stacks, chains, thresholds and scorers call on their parts."""


def _oddity(made: Any) -> str | None:
    """What no estimator of scikit-learn's has; None where nothing is seen.

    That is a `memory`, its own or (in a grid) another's: a folder that joblib loads pickles from; and methods other
    than those that predict, which stacks and chains would call on their parts. The loaded object is checked, since a
    file's text can say one thing and make another. (`guarded` stops what this misses.)
    """
    left, seen = [made], dict[int, Any]()
    while left:
        obj = left.pop()
        if id(obj) in seen or isinstance(obj, type | str | bytes | int | float | ModuleType):
            continue
        seen[id(obj)] = obj
        items = {**obj} if isinstance(obj, dict) else {}
        held = getattr(obj, "__dict__", {})
        for key, value in [*items.items(), *(held.items() if isinstance(held, dict) else ())]:
            if isinstance(key, str) and key.rpartition("__")[2] == "memory" and value is not None:
                return "names a folder of pickles (`memory`), which fitting would load"
            names = value if isinstance(value, list | tuple) else [value]
            if key in _NAMES_METHODS and not all(isinstance(n, str | None) and n in {*_METHODS, None} for n in names):
                return f"would call other methods than those that predict ({key})"
            left += [key, value]
        if isinstance(obj, list | tuple | set | frozenset | deque):
            left += obj
        elif isinstance(obj, np.ndarray) and obj.dtype.hasobject:
            left += obj.ravel().tolist()
        elif isinstance(obj, partial):
            left += [obj.func, obj.args, obj.keywords]
        elif isinstance(obj, MethodType):
            left.append(obj.__self__)
    return None
