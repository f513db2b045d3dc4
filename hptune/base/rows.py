"""What a table's row names, imported when it is asked for: a library that serves it may take seconds to load."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load_row(package: str, row: str) -> Any:
    """What `row`, `module:name`, names in a package of hptune's.

    >>> load_row("hptune.base", "rows:load_row").__name__
    'load_row'
    """
    module, _, name = row.partition(":")
    return getattr(import_module(f"{package}.{module}"), name)
