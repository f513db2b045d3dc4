"""What a function's code shows: the names that it reads, and those whose values it passes on."""

from __future__ import annotations

import dis
import types
from typing import Any

BY_ANY_NAME = frozenset(
    (
        *("getattr", "globals", "locals", "vars", "eval", "exec", "__import__", "import_module", "environ", "getenv"),
        *("open", "read", "read_text", "read_bytes", "read_csv", "read_parquet", "read_pickle", "read_file"),
        *("load", "loads", "loadtxt", "genfromtxt", "fromfile", "memmap", "load_model", "load_weights"),
        *("time", "now", "urandom"),
        *("__subclasses__", "__doc__", "__getattribute__", "get_global_attribute", "get_objects", "inspect"),
    )
)
"""Names of functions that read something which the code that calls them doesn't name."""


def names_read(code: types.CodeType) -> list[str]:
    """The names that the code reads, and the code inside it."""
    inner = (name for one in code.co_consts if isinstance(one, types.CodeType) for name in names_read(one))
    return sorted({*code.co_names, *inner})


def as_data(code: types.CodeType) -> list[Any]:
    """The bytecode, the constants (those of inner functions too) and the names of a function, as JSON data."""
    constants = [as_data(one) if isinstance(one, types.CodeType) else repr(one) for one in code.co_consts]
    return [code.co_code.hex(), constants, list(code.co_names), list(code.co_varnames), list(code.co_freevars)]


def handed_on(code: types.CodeType) -> set[str]:
    """The names whose values the code uses as a whole, not for one attribute: it may pass them on."""
    names: set[str] = set()
    steps = [one for one in dis.get_instructions(code) if one.opname not in ("CACHE", "PRECALL", "PUSH_NULL")]
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        loads = step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF")
        if loads and (after is None or after.opname not in ("LOAD_ATTR", "LOAD_METHOD")):
            names.add(step.argval)
    return names.union(*(handed_on(one) for one in code.co_consts if isinstance(one, types.CodeType)))
