"""Descriptions of what a model is made of and compiled with: equal only where it is shown that all of it is the same.

Keras's own objects are told by their config and by what they hold (their configs leave arguments out). Of the user's,
a name says little: a closure, a lambda or a class made inside a builder is another one under each setting. They are
told by their code, by what it closes over and what it reads, and by all that an object holds. What can't be looked into
is equal to nothing, so that a program is never shared on its account.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import itertools
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hptune.base.own_files import INSTALLED
from hptune.training.own.attributes import attributes
from hptune.training.own.code_text import BY_ANY_NAME, as_data, handed_on, names_read
from hptune.training.runtime import keras

_UNPROVED = itertools.count()

_NOT_SHOWN = "not shown to be the same as any other"

_ROUTINES = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
)
"""What runs when it is called and is told by its code or its name; other things that can be called are objects."""


def described(thing: Any) -> Any:
    """Plain data that is the same of two things only where all that they hold is the same."""
    return _described(thing, ())


@contextlib.contextmanager
def visited() -> Iterator[list[Any]]:
    """All that is looked into as things are described meanwhile, classes and functions too."""
    global _VISITED  # one description at a time
    before, _VISITED = _VISITED, []
    try:
        yield _VISITED
    finally:
        _VISITED = before


_VISITED: list[Any] | None = None


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
        if is_known(type(layer)):
            held = own_in_stock(layer)
            found += [[layer.name, described(held)]] if held else []
        else:
            found.append([layer.name, _described(type(layer), ()), _held(layer, ())])
    return found


def own_in_stock(layer: Any) -> dict[str, Any]:
    """The code of the user's that a stock layer was given, or had put in the place of its own, by attribute."""
    return {name: value for name, value in vars(layer).items() if _is_own_part(name, value)}


def _is_own_part(name: str, value: Any) -> bool:
    if isinstance(value, _ROUTINES):
        return not (is_known(value) or _by_keras(name, value))
    holds = isinstance(value, keras().regularizers.Regularizer | keras().initializers.Initializer)
    holds = holds or isinstance(value, keras().constraints.Constraint)
    return (holds or (callable(value) and not isinstance(value, keras().Layer))) and not is_known(type(value))


def _by_keras(name: str, value: Any) -> bool:
    """Whether it is what Keras itself puts into each layer: its `build`, wrapped."""
    usual = getattr(_bare_layer(), name, None)
    return getattr(usual, "__code__", None) is getattr(value, "__code__", value)


def _described(thing: Any, inside: tuple[int, ...]) -> Any:
    """inside: what is being described already, by identity: code may name itself."""
    if type(thing) in (str, int, float, bool, type(None)):
        return thing
    if isinstance(thing, str | int | float | bytes):
        return "itself" if id(thing) in inside else _plain_value(thing, inside)
    if _VISITED is not None:
        _VISITED.append(thing)
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
    if isinstance(thing, list | tuple | Mapping | set | frozenset) and not _has_config(thing):
        plain = list(thing.items()) if isinstance(thing, Mapping) else list(thing)
        return [
            _class(type(thing), inside),
            _described(plain, inside),
            _described(getattr(thing, "__dict__", {}), inside),
            _described([getattr(thing, name, None) for name in ("default_factory", "maxlen")], inside),
        ]
    if isinstance(thing, re.Pattern):
        return ["a pattern", thing.pattern, thing.flags]
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
        return _module(thing, inside)
    if inspect.isclass(thing):
        return _class(thing, inside)
    bound = isinstance(thing, types.BuiltinMethodType | types.MethodWrapperType)
    if bound and not isinstance(thing.__self__, types.ModuleType | type | None):
        return [thing.__name__, _described(thing.__self__, inside)]
    if isinstance(thing, _ROUTINES):
        return _named(thing) if is_known(thing) else _function(thing, inside)
    if isinstance(thing, functools._lru_cache_wrapper):
        held = [_NOT_SHOWN, _named(thing), next(_UNPROVED)] if thing.cache_info().currsize else None
        return ["cached", _described(thing.__wrapped__, inside), held]
    if is_graph_function(thing):
        options = [getattr(thing, name, None) for name in ("_jit_compile", "_input_signature", "_autograph")]
        return ["a tf.function", _described(thing.python_function, inside), repr(options)]
    if isinstance(thing, keras().layers.Layer):  # one that code holds: what it has learnt counts
        values = [variable.numpy() for variable in thing.variables]
        own = [one for one in thing._flatten_layers() if not is_known(type(one))]
        parts = [[_class(type(one), inside), _held(one, inside)] for one in own] + [of_own_parts(thing)]
        return [_config(thing, inside), parts, _described(values, inside)]
    if _has_config(thing):
        return _configured(thing, inside)
    if not is_known(type(thing)) and _holds_all(type(thing)):
        return [_described(type(thing), inside), _held(thing, inside)]
    return [_NOT_SHOWN, _named(type(thing)), next(_UNPROVED)]


def _plain_value(thing: Any, inside: tuple[int, ...]) -> Any:
    """A number or a text; with its class and what it holds beside, where that is the user's."""
    base = next(kind for kind in (str, bytes, int, float) if isinstance(thing, kind))
    plain = thing.hex() if base is bytes else base(thing)
    if is_known(type(thing)):
        return plain
    inside = (*inside, id(thing))
    return [_described(type(thing), inside), plain, _described(attributes(thing), inside)]


def is_known(thing: Any) -> bool:
    """Whether it is told by its name: Python's own, or an installed package's, and not made inside a function.

    A decorator may give a function, or a class, the name and module of another: what stands there must be it.
    """
    if isinstance(thing, types.MethodType):
        return is_known(thing.__func__)
    if isinstance(thing, types.FunctionType):
        code = thing.__code__
        if code.co_filename.startswith((*INSTALLED, "<frozen")) and "<locals>" not in code.co_qualname:
            return True
    elif isinstance(thing, _ROUTINES):
        return True  # written in C
    module = sys.modules.get(getattr(thing, "__module__", None) or "builtins")
    if module is None or not is_installed(module) or "<locals>" in getattr(thing, "__qualname__", ""):
        return False
    return inspect.isclass(thing) or _stands_at(module, thing)


def _stands_at(module: types.ModuleType, thing: Any) -> bool:
    found: Any = module
    for part in getattr(thing, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found is thing


def is_graph_function(thing: Any) -> bool:
    """Whether it is what `tf.function` makes."""
    import tensorflow as tf

    return isinstance(thing, tf.types.experimental.PolymorphicFunction) and hasattr(thing, "python_function")


def _has_config(thing: Any) -> bool:
    """Asked of the class: an object may answer to any name."""
    return callable(inspect.getattr_static(type(thing), "get_config", None)) or "get_config" in attributes(thing)


def _holds_all(kind: type) -> bool:
    """Whether what an object of the class holds can be looked into: no base of it but `object` is written in C."""
    return all(one is object or one.__flags__ & _MADE_IN_PYTHON for one in kind.__mro__)


_MADE_IN_PYTHON = 1 << 9
"""CPython's flag for a class that a `class` statement has made (Py_TPFLAGS_HEAPTYPE)."""


def is_installed(module: types.ModuleType) -> bool:
    """Whether the module is Python's or an installed package's, and not the user's own file."""
    origin = getattr(getattr(module, "__spec__", None), "origin", None) or getattr(module, "__file__", None) or ""
    return origin in ("built-in", "frozen") or origin.startswith(INSTALLED)


def _named(thing: Any) -> str:
    return f"{getattr(thing, '__module__', None)}.{getattr(thing, '__qualname__', repr(thing))}"


def _class(kind: type, inside: tuple[int, ...]) -> Any:
    name = _named(kind)
    if is_known(kind):
        return name
    bases = [_described(base, inside) for base in kind.__bases__]
    if not is_known(type(kind)):
        bases.append(_described(type(kind), inside))  # a metaclass may answer for it
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
    by_name = [one.__name__ if isinstance(one, types.ModuleType) else one for one in cells]
    names = names_read(code)
    read = {name: function.__globals__[name] for name in names if name in function.__globals__}
    modules = _own_modules([*read.values(), *cells], names)
    given_on = handed_on(code)
    handed = [
        _module(one, inside) for name, one in read.items() if isinstance(one, types.ModuleType) and name in given_on
    ]
    of_modules = [
        [module.__name__, name, getattr(module, name)] for module in modules for name in names if hasattr(module, name)
    ]
    if BY_ANY_NAME & set(names):
        of_modules.append([_NOT_SHOWN, _named(function), next(_UNPROVED)])
    more = {name: value for name, value in vars(function).items() if name not in _OF_DECORATORS}
    return [
        _named(function),
        as_data(code),
        _described([by_name, function.__defaults__, function.__kwdefaults__, more], inside),
        _described([_modules_by_name(read), _modules_by_name(of_modules)], inside),
        handed,
    ]


def _modules_by_name(read: Any) -> Any:
    """What code reads, the user's modules in it by their names: what it reads of them is told beside it."""
    if isinstance(read, dict):
        return {name: one.__name__ if isinstance(one, types.ModuleType) else one for name, one in read.items()}
    return [
        [one.__name__ if isinstance(one, types.ModuleType) else one for one in row] if isinstance(row, list) else row
        for row in read
    ]


def _module(module: types.ModuleType, inside: tuple[int, ...]) -> Any:
    """One that is handed on as a value: of the user's all that it holds, since anything may be read off it."""
    if is_installed(module) or module.__name__.partition(".")[0] == "hptune":
        return module.__name__
    held = {name: one for name, one in vars(module).items() if not name.startswith("__")}
    return [module.__name__, {name: _described(one, inside) for name, one in _modules_by_name(held).items()}]


_OF_DECORATORS = ("__wrapped__", "_tf_decorator", "__signature__")
"""What decorators leave on a function beside what they close over."""


def _own_modules(things: list[Any], names: list[str]) -> list[types.ModuleType]:
    """The user's modules among the things, and those that are read off them by any of the names."""
    found: dict[str, types.ModuleType] = {}
    waiting = [one for one in things if isinstance(one, types.ModuleType) and not is_installed(one)]
    while waiting:
        module = waiting.pop()
        if module.__name__ not in found:
            found[module.__name__] = module
            inner = (getattr(module, name, None) for name in names)
            waiting += [one for one in inner if isinstance(one, types.ModuleType) and not is_installed(one)]
    return list(found.values())


def _is_tracked(thing: Any, kind: type) -> bool:
    """Whether it is a container of Keras's or TensorFlow's, put in the place of one that a layer is given."""
    return isinstance(thing, kind) and type(thing).__module__.startswith(("keras.", "tensorflow."))


def _configured(thing: Any, inside: tuple[int, ...]) -> Any:
    """A Keras object, or a user's of a Keras class."""
    kind = type(thing)
    if is_known(kind):
        held = {name: value for name, value in vars(thing).items() if _is_plain(value) or _is_of_user(value)}
        rate = getattr(thing, "_learning_rate", None)  # of an optimizer: a schedule, or a function, may be the user's
        told = rate is None or isinstance(rate, keras().Variable) or (is_known(type(rate)) and _has_config(rate))
        more = [] if told else [rate]
        return [_class(kind, inside), _config(thing, inside), _described(held, inside), _described(more, inside)]
    return [_class(kind, inside), _held(thing, inside)]


def _is_of_user(value: Any) -> bool:
    """Whether it is code, or an object with code of the user's, that Keras was given."""
    if isinstance(value, list | tuple | Mapping):
        return any(map(_is_of_user, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, functools.partial | types.MethodType) or not is_known(type(value))


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
    return value is None or isinstance(value, (str, int, float, bool, np.ndarray, *_ROUTINES))


def _held(thing: Any, inside: tuple[int, ...]) -> dict[str, Any]:
    """All that an object of the user's holds, but for what Keras's classes keep in every layer."""
    layers, machinery = keras().layers, _kept_by_keras(thing)
    kept: dict[str, Any] = {}
    for name, value in attributes(thing).items():
        # Layers are described by themselves, and the values of a layer's variables are the trial's; so is a rate.
        own = isinstance(value, layers.Layer) or name == "_learning_rate" or isinstance(thing, layers.Layer)
        if name in machinery or (bool(machinery) and own and isinstance(value, layers.Layer | keras().Variable)):
            if _VISITED is not None and name not in machinery:
                _VISITED.append(value)
            continue
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
    if kind is keras().layers.Layer:
        return frozenset(vars(_bare_layer()))
    return frozenset(vars(Bare())) - ({"_dtype_policy", "dtype"} if kind is keras().metrics.Metric else set())


def kept_in_each_layer() -> frozenset[str]:
    """The attributes that every layer of Keras's has."""
    return frozenset(vars(_bare_layer()))


@functools.cache
def _bare_layer() -> Any:
    """A layer of nobody's, that was built and called."""

    class Bare(keras().layers.Layer):  # type: ignore[misc]  # Keras has no types
        def call(self, x: Any) -> Any:
            return x

    bare = Bare()
    bare(np.zeros((1, 1), np.float32))
    keras().Sequential([keras().Input((1,)), bare])
    return bare
