"""The attributes of any object."""

from __future__ import annotations

import contextlib
from typing import Any


def answers(obj: Any) -> bool:
    """Whether the object can be inspected: some raise for every attribute, even `__class__`."""
    try:
        obj.__class__  # noqa: B018  # the access is the test
    except Exception:  # noqa: BLE001  # such an object may raise anything
        return False
    return True


def attributes(obj: Any) -> dict[str, Any]:
    """The attributes that an object holds, in slots too, by name."""
    slots = [
        name
        for kind in type(obj).__mro__
        for name in _listed(vars(kind).get("__slots__", ()))
        if name not in ("__dict__", "__weakref__")
    ]
    held = {name: object.__getattribute__(obj, name) for name in slots if _is_set(obj, name)}
    with contextlib.suppress(AttributeError):
        held |= object.__getattribute__(obj, "__dict__")
    return held


def _is_set(obj: Any, name: str) -> bool:
    try:
        object.__getattribute__(obj, name)
    except AttributeError:  # a slot without a value, or one whose name Python has changed
        return False
    return True


def _listed(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
