"""Descriptions of what a model is made of and compiled with: equal only where it is shown that all of it is the same.

Keras's own objects are told by their config and by what they hold (their configs leave arguments out). Of the user's,
a name says little: a closure, a lambda or a class made inside a builder is another one under each setting. They are
told by their code, by what it closes over and what it reads, and by all that an object holds. What can't be looked into
is equal to nothing, so that a program is never shared on its account.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from hptune.training.runtime import keras

_UNPROVED = itertools.count()

_KNOWN = ("keras", "keras_tuner", "tensorflow", "numpy", "math", "builtins", "typing", "functools", "operator")
"""Packages whose functions and classes are told by their names."""


def described(thing: Any) -> Any:
    """Plain data that is the same of two things only where all that they hold is the same."""
    return _described(thing, ())


def of_own_parts(model: Any) -> list[Any]:
    """What a model's config does not tell: the code and state of what in it is not Keras's own."""
    found: list[Any] = []
    for layer in model._flatten_layers(include_self=False):
        if _is_known(type(layer)):
            held = [value for value in vars(layer).values() if _is_own_part(value)]
            found += [[layer.name, described(held)]] if held else []
        else:
            found.append([layer.name, _described(type(layer), ()), _held(layer, ())])
    return found


def _is_own_part(value: Any) -> bool:
    if inspect.isroutine(value):
        return not _is_known(value)
    holds = isinstance(value, keras().regularizers.Regularizer | keras().initializers.Initializer)
    return (holds or isinstance(value, keras().constraints.Constraint)) and not _is_known(type(value))


def _described(thing: Any, inside: tuple[int, ...]) -> Any:
    """inside: what is being described already, by identity: code may name itself."""
    if thing is None or isinstance(thing, str | int | float | bool | bytes):
        return thing if not isinstance(thing, bytes) else thing.hex()
    if id(thing) in inside:
        return "itself"
    inside = (*inside, id(thing))
    if isinstance(thing, list | tuple):
        return [_described(one, inside) for one in thing]
    if isinstance(thing, Mapping):
        return {str(key): _described(value, inside) for key, value in thing.items()}
    if isinstance(thing, set | frozenset):
        return sorted((_described(one, inside) for one in thing), key=repr)
    if isinstance(thing, np.ndarray | np.generic):
        array = np.ascontiguousarray(thing)
        if array.dtype != object:
            return ["array", str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(thing, functools.partial):
        return [_described(one, inside) for one in (thing.func, thing.args, thing.keywords)]
    if isinstance(thing, types.MethodType):
        return [_described(thing.__func__, inside), _described(thing.__self__, inside)]
    if isinstance(thing, types.ModuleType):
        return thing.__name__
    if inspect.isclass(thing):
        return _class(thing, inside)
    if inspect.isroutine(thing):
        return f"{thing.__module__}.{thing.__qualname__}" if _is_known(thing) else _function(thing, inside)
    if hasattr(thing, "get_config"):
        return _configured(thing, inside)
    if hasattr(thing, "__dict__") and not hasattr(thing, "__slots__") and not _is_known(type(thing)):
        return [_described(type(thing), inside), _held(thing, inside)]
    return ["not shown to be the same as any other", next(_UNPROVED)]


def _is_known(thing: Any) -> bool:
    return (getattr(thing, "__module__", None) or "builtins").split(".")[0] in _KNOWN


def _class(kind: type, inside: tuple[int, ...]) -> Any:
    name = f"{kind.__module__}.{kind.__qualname__}"
    if _is_known(kind):
        return name
    bases = [_described(base, inside) for base in kind.__bases__]
    parts = {key: value for key, value in vars(kind).items() if not _is_machinery(key)}
    return [name, bases, {key: _described(_plain(value), inside) for key, value in parts.items()}]


def _is_machinery(name: str) -> bool:
    return name in ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__qualname__") or (
        name.startswith("_") and not name.startswith("__")
    )


def _plain(member: Any) -> Any:
    """The function of a class or static method, the three of a property."""
    if isinstance(member, classmethod | staticmethod):
        return member.__func__
    if isinstance(member, property):
        return [member.fget, member.fset, member.fdel]
    return member


def _function(function: Any, inside: tuple[int, ...]) -> Any:
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return ["not shown to be the same as any other", next(_UNPROVED)]
    function = inspect.unwrap(function)
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    read = {name: function.__globals__[name] for name in _names(code) if name in function.__globals__}
    return [
        f"{function.__module__}.{function.__qualname__}",
        _code(code),
        _described([cells, function.__defaults__, function.__kwdefaults__], inside),
        _described(read, inside),
    ]


def _names(code: types.CodeType) -> list[str]:
    """The names that the code, and the code inside it, reads."""
    inner = (name for one in code.co_consts if isinstance(one, types.CodeType) for name in _names(one))
    return sorted({*code.co_names, *inner})


def _code(code: types.CodeType) -> list[Any]:
    constants = [_code(one) if isinstance(one, types.CodeType) else repr(one) for one in code.co_consts]
    return [code.co_code.hex(), constants, list(code.co_names), list(code.co_varnames), list(code.co_freevars)]


def _configured(thing: Any, inside: tuple[int, ...]) -> Any:
    """A Keras object, or a user's of a Keras class."""
    kind = type(thing)
    if _is_known(kind):
        held = {name: value for name, value in vars(thing).items() if _is_plain(value)}
        return [_class(kind, inside), _described(thing.get_config(), inside), _described(held, inside)]
    return [_class(kind, inside), _held(thing, inside)]


def _is_plain(value: Any) -> bool:
    """Whether it is data or code, not a part of Keras's own machinery (variables, trackers)."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, str | int | float | bool | np.ndarray) or inspect.isroutine(value)


def _held(thing: Any, inside: tuple[int, ...]) -> dict[str, Any]:
    """All that an object of the user's holds, but for what Keras's classes put there and keep for themselves."""
    layers = keras().layers
    base = vars(layers.Layer()).keys() if isinstance(thing, layers.Layer) else ()
    kept: dict[str, Any] = {}
    for name, value in vars(thing).items():
        if name in base or (name.startswith("_") and isinstance(thing, layers.Layer)):
            continue
        if isinstance(value, layers.Layer | keras().Variable):  # described by themselves; their state is the trial's
            continue
        kept[name] = _described(value, inside)
    return kept
