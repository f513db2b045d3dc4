"""What an object holds."""

from __future__ import annotations

import contextlib
from typing import Any


def answers(thing: Any) -> bool:
    """Whether it may be asked what it is: some objects raise at every name that they are asked for, `__class__` too."""
    try:
        thing.__class__  # noqa: B018  # it is asked for
    except Exception:  # noqa: BLE001  # whatever such an object raises
        return False
    return True


def attributes(thing: Any) -> dict[str, Any]:
    """What an object holds, in slots too."""
    slots = [
        name
        for kind in type(thing).__mro__
        for name in _listed(vars(kind).get("__slots__", ()))
        if name not in ("__dict__", "__weakref__")
    ]
    held = {name: object.__getattribute__(thing, name) for name in slots if _is_set(thing, name)}
    with contextlib.suppress(AttributeError):
        held |= object.__getattribute__(thing, "__dict__")
    return held


def _is_set(thing: Any, name: str) -> bool:
    try:
        object.__getattribute__(thing, name)
    except AttributeError:  # a slot without a value, or one whose name Python has changed
        return False
    return True


def _listed(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
