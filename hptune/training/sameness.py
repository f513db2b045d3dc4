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
import sys
import sysconfig
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from hptune.training.runtime import keras

_UNPROVED = itertools.count()

_NOT_SHOWN = "not shown to be the same as any other"

_INSTALLED = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
"""Where Python's own code lies, and that of installed packages: it is told by its names."""


def described(thing: Any) -> Any:
    """Plain data that is the same of two things only where all that they hold is the same."""
    return _described(thing, ())


def unproved(description: Any) -> list[str]:
    """The classes of all in a description that was not shown to be the same as any other."""
    if isinstance(description, Mapping):
        description = list(description.values())
    if not isinstance(description, list):
        return []
    if description[:1] == [_NOT_SHOWN]:
        return [description[1]]
    return list(dict.fromkeys(name for one in description for name in unproved(one)))


def of_own_parts(model: Any) -> list[Any]:
    """What a model's config does not tell: the code and state of what in it is not Keras's own; [] where all is."""
    found: list[Any] = []
    for layer in model._flatten_layers(include_self=False):
        if _is_known(type(layer)):
            held = {name: value for name, value in vars(layer).items() if _is_own_part(value)}
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
    if type(thing) in (list, tuple) or _is_tracked(thing, list):
        return [_described(one, inside) for one in thing]
    if type(thing) in (dict, types.MappingProxyType) or _is_tracked(thing, dict):
        if all(isinstance(key, str) for key in thing):
            return {key: _described(value, inside) for key, value in thing.items()}
        return ["a dict", [[_described(key, inside), _described(value, inside)] for key, value in thing.items()]]
    if type(thing) in (set, frozenset) or _is_tracked(thing, set):
        return sorted((_described(one, inside) for one in thing), key=repr)
    if isinstance(thing, list | tuple | Mapping | set | frozenset) and not hasattr(thing, "get_config"):
        plain = list(thing.items()) if isinstance(thing, Mapping) else list(thing)
        return [
            _class(type(thing), inside),
            _described(plain, inside),
            _described(getattr(thing, "__dict__", {}), inside),
        ]
    if isinstance(thing, keras().Variable):
        return ["a variable", _described(thing.numpy(), inside)]
    if isinstance(thing, np.ndarray | np.generic):
        array = np.ascontiguousarray(thing)
        if array.dtype != object:
            return ["array", str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(thing, functools.partial):
        return [_described(one, inside) for one in (thing.func, thing.args, thing.keywords)]
    if isinstance(thing, types.MethodType):
        return [_described(thing.__func__, inside), _described(thing.__self__, inside)]
    if isinstance(thing, types.ModuleType):
        return thing.__name__  # what code reads of one of the user's is told beside the code
    if inspect.isclass(thing):
        return _class(thing, inside)
    if isinstance(thing, types.BuiltinMethodType) and not isinstance(thing.__self__, types.ModuleType | type | None):
        return [thing.__name__, _described(thing.__self__, inside)]
    if inspect.isroutine(thing):
        return _named(thing) if _is_known(thing) else _function(thing, inside)
    if isinstance(thing, keras().layers.Layer):  # one that code holds: what it has learnt counts
        values = [variable.numpy() for variable in thing.variables]
        own = [one for one in thing._flatten_layers() if not _is_known(type(one))]
        parts = [[_class(type(one), inside), _held(one, inside)] for one in own] + [of_own_parts(thing)]
        return [_config(thing, inside), parts, _described(values, inside)]
    if hasattr(thing, "get_config"):
        return _configured(thing, inside)
    if hasattr(thing, "__dict__") and not hasattr(thing, "__slots__") and not _is_known(type(thing)):
        return [_described(type(thing), inside), _held(thing, inside)]
    return [_NOT_SHOWN, _named(type(thing)), next(_UNPROVED)]


def _is_known(thing: Any) -> bool:
    """Whether it is told by its name: Python's own, or an installed package's, and not made inside a function."""
    if inspect.isroutine(thing) and not isinstance(thing, types.FunctionType):
        return True  # written in C
    module = sys.modules.get(getattr(thing, "__module__", None) or "builtins")
    return module is not None and _is_installed(module) and "<locals>" not in getattr(thing, "__qualname__", "")


def _is_installed(module: types.ModuleType) -> bool:
    origin = getattr(getattr(module, "__spec__", None), "origin", None) or getattr(module, "__file__", None) or ""
    return origin in ("built-in", "frozen") or origin.startswith(_INSTALLED)


def _named(thing: Any) -> str:
    return f"{getattr(thing, '__module__', None)}.{getattr(thing, '__qualname__', repr(thing))}"


def _class(kind: type, inside: tuple[int, ...]) -> Any:
    name = _named(kind)
    if _is_known(kind):
        return name
    bases = [_described(base, inside) for base in kind.__bases__]
    parts = {key: value for key, value in vars(kind).items() if not _is_machinery(key)}
    return [name, bases, {key: _described(_plain(value), inside) for key, value in parts.items()}]


def _is_machinery(name: str) -> bool:
    """Whether Python keeps it for a class; some of it depends on where the class stands, or on its comments."""
    return name in (
        *("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__qualname__", "__slots__"),
        *("__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl"),
    )


def _plain(member: Any) -> Any:
    """The function of a class or static method, the three of a property."""
    if isinstance(member, classmethod | staticmethod):
        return member.__func__
    if isinstance(member, property):
        return [member.fget, member.fset, member.fdel]
    return member


def _function(function: Any, inside: tuple[int, ...]) -> Any:
    """A Python function: its code, what it closes over, its defaults, and the globals that it reads."""
    code = function.__code__
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    names = _names(code)
    read = {name: function.__globals__[name] for name in names if name in function.__globals__}
    modules = _own_modules([*read.values(), *cells], names)
    of_modules = [
        [module.__name__, name, getattr(module, name)] for module in modules for name in names if hasattr(module, name)
    ]
    if _BY_ANY_NAME & set(names):
        of_modules.append([_NOT_SHOWN, _named(function), next(_UNPROVED)])
    more = {name: value for name, value in vars(function).items() if name != "__wrapped__"}
    return [
        _named(function),
        _code(code),
        _described([cells, function.__defaults__, function.__kwdefaults__, more], inside),
        _described([read, of_modules], inside),
    ]


_BY_ANY_NAME = frozenset(
    ("getattr", "globals", "locals", "vars", "eval", "exec", "__import__", "import_module", "environ", "getenv", "open")
)
"""What code that calls these reads can't be told from its own text."""


def _own_modules(things: list[Any], names: list[str]) -> list[types.ModuleType]:
    """The user's modules among the things, and those that are read off them by any of the names."""
    found: dict[str, types.ModuleType] = {}
    waiting = [one for one in things if isinstance(one, types.ModuleType) and not _is_installed(one)]
    while waiting:
        module = waiting.pop()
        if module.__name__ not in found:
            found[module.__name__] = module
            inner = (getattr(module, name, None) for name in names)
            waiting += [one for one in inner if isinstance(one, types.ModuleType) and not _is_installed(one)]
    return list(found.values())


def _is_tracked(thing: Any, kind: type) -> bool:
    """Whether it is a container of Keras's or TensorFlow's, put in the place of one that a layer is given."""
    return isinstance(thing, kind) and type(thing).__module__.startswith(("keras.", "tensorflow."))


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
        held = {name: value for name, value in vars(thing).items() if _is_plain(value) or _is_of_user(value)}
        rate = getattr(thing, "_learning_rate", None)  # of an optimizer: a schedule, or a function, may be the user's
        more = [] if rate is None or isinstance(rate, keras().Variable) or _is_known(type(rate)) else [rate]
        if inspect.isroutine(rate):
            more = [rate]
        return [_class(kind, inside), _config(thing, inside), _described(held, inside), _described(more, inside)]
    return [_class(kind, inside), _held(thing, inside)]


def _is_of_user(value: Any) -> bool:
    """Whether it is code, or an object with code of the user's, that Keras was given."""
    return isinstance(value, functools.partial | types.MethodType) or not _is_known(type(value))


def _config(thing: Any, inside: tuple[int, ...]) -> Any:
    """Its config; where a part of it has none, the parts are described by themselves."""
    try:
        return _described(thing.get_config(), inside)
    except Exception:  # noqa: BLE001  # code of the user's, asked through Keras, may raise anything
        return "no config"


def _is_plain(value: Any) -> bool:
    """Whether it is data or code, not a part of Keras's own machinery (variables, trackers)."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, str | int | float | bool | np.ndarray) or inspect.isroutine(value)


def _held(thing: Any, inside: tuple[int, ...]) -> dict[str, Any]:
    """All that an object of the user's holds, but for what Keras's classes keep in every layer."""
    layers = keras().layers
    machinery = _kept_by_keras(thing)
    kept: dict[str, Any] = {}
    for name, value in vars(thing).items():
        own = bool(machinery) and isinstance(value, layers.Layer | keras().Variable)
        if name in machinery or own:
            continue  # layers are described by themselves; the values of a layer's variables are the trial's
        kept[name] = _described(value, inside)
    return kept


def _kept_by_keras(thing: Any) -> frozenset[str]:
    """The attributes that Keras keeps for itself in an object of one of its classes."""
    kinds = (keras().layers.Layer, keras().metrics.Metric, keras().optimizers.Optimizer)
    return next((_bare(kind) for kind in kinds if isinstance(thing, kind)), frozenset())


@functools.cache
def _bare(kind: type) -> frozenset[str]:
    """The attributes of such an object before the user's code has added any; of a layer that was built and called."""
    parent: Any = kind

    class Bare(parent):  # type: ignore[misc]  # Keras has no types
        def call(self, x: Any) -> Any:
            return x

    if kind is keras().optimizers.Optimizer:
        numbers = {"_learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema"}
        more = {"ema_momentum", "ema_overwrite_frequency", "gradient_accumulation_steps", "loss_scale_factor"}
        return frozenset(vars(Bare(0.1))) - numbers - more
    bare = Bare()
    if kind is keras().layers.Layer:
        bare(np.zeros((1, 1), np.float32))
        keras().Sequential([keras().Input((1,)), bare])
    return frozenset(vars(bare)) - ({"_dtype_policy", "dtype"} if kind is keras().metrics.Metric else set())
