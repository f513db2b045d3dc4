"""Descriptions of what a model is made of and compiled with: equal only where all of it is shown to be the same.

Keras's own objects are described by their config and by what they hold (configs leave arguments out). A name says
little of the user's objects: a closure, a lambda or a class made inside a builder differs under each setting. They are
described by their code, what it closes over and reads, and all that an object holds. What can't be looked into equals
nothing, so that a program is never shared on its account.
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

from hptune.base import own_files
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
"""What runs when it is called and is described by its code or its name; other callables are objects."""


def described(obj: Any) -> Any:
    """Plain data, the same for two objects only where all that they hold is the same."""
    return _described(obj, ())


@contextlib.contextmanager
def visited() -> Iterator[list[Any]]:
    """The list of all that is looked into while objects are described in the block, classes and functions too."""
    global _VISITED  # one description at a time
    before, _VISITED = _VISITED, []
    try:
        yield _VISITED
    finally:
        _VISITED = before


_VISITED: list[Any] | None = None


def unproved(description: Any) -> list[str]:
    """The classes of all objects in a description that were not shown to equal any other."""
    if isinstance(description, Mapping):
        description = list(description.values())
    if not isinstance(description, list):
        return []
    if description[:1] == [_NOT_SHOWN]:
        return [description[1]]
    return list(dict.fromkeys(name for one in description for name in unproved(one)))


def of_own_parts(model: Any) -> list[Any]:
    """What a model's config lacks: the code and state of what is not Keras's own in it; [] where all is Keras's."""
    parts: list[Any] = []
    for layer in model._flatten_layers(include_self=False):
        if is_known(type(layer)):
            held = own_in_stock(layer)
            parts += [[layer.name, described(held)]] if held else []
        else:
            parts.append([layer.name, _described(type(layer), ()), _held(layer, ())])
    return parts


def own_in_stock(layer: Any) -> dict[str, Any]:
    """The user's code in a stock layer, as an argument or in place of its own methods, by attribute."""
    return {name: value for name, value in vars(layer).items() if _is_own_part(name, value)}


def _is_own_part(name: str, value: Any) -> bool:
    if isinstance(value, _ROUTINES):
        return not (is_known(value) or _by_keras(name, value))
    holds = isinstance(value, keras().regularizers.Regularizer | keras().initializers.Initializer)
    holds = holds or isinstance(value, keras().constraints.Constraint)
    return (holds or (callable(value) and not isinstance(value, keras().Layer))) and not is_known(type(value))


def _by_keras(name: str, value: Any) -> bool:
    """Whether Keras itself puts it into each layer: its `build`, wrapped."""
    usual = getattr(_bare_layer(), name, None)
    return getattr(usual, "__code__", None) is getattr(value, "__code__", value)


def _described(obj: Any, inside: tuple[int, ...]) -> Any:
    """inside: the identities of what is being described already: code may name itself."""
    if type(obj) in (str, int, float, bool, type(None)):
        return obj
    if isinstance(obj, str | int | float | bytes):
        return "itself" if id(obj) in inside else _plain_value(obj, inside)
    if _VISITED is not None:
        _VISITED.append(obj)
    if id(obj) in inside:
        return "itself"
    inside = (*inside, id(obj))
    if type(obj) in (list, tuple) or _is_tracked(obj, list):
        return [_described(one, inside) for one in obj]
    if type(obj) in (dict, types.MappingProxyType) or _is_tracked(obj, dict):
        if all(isinstance(key, str) for key in obj):
            return {key: _described(value, inside) for key, value in obj.items()}
        return ["a dict", [[_described(key, inside), _described(value, inside)] for key, value in obj.items()]]
    if type(obj) in (set, frozenset) or _is_tracked(obj, set):
        return sorted((_described(one, inside) for one in obj), key=repr)
    if isinstance(obj, list | tuple | Mapping | set | frozenset) and not _has_config(obj):
        plain = list(obj.items()) if isinstance(obj, Mapping) else list(obj)
        return [
            _class(type(obj), inside),
            _described(plain, inside),
            _described(getattr(obj, "__dict__", {}), inside),
            _described([getattr(obj, name, None) for name in ("default_factory", "maxlen")], inside),
        ]
    if isinstance(obj, re.Pattern):
        return ["a pattern", obj.pattern, obj.flags]
    if isinstance(obj, keras().Variable):
        return ["a variable", _described(obj.numpy(), inside)]
    if isinstance(obj, np.ndarray | np.generic):
        array = np.ascontiguousarray(obj)
        if array.dtype != object:
            return ["array", str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(obj, functools.partial):
        return [_described(one, inside) for one in (obj.func, obj.args, obj.keywords)]
    if isinstance(obj, types.MethodType):
        return [_described(obj.__func__, inside), _described(obj.__self__, inside)]
    if isinstance(obj, types.ModuleType):
        return _module(obj, inside)
    if inspect.isclass(obj):
        return _class(obj, inside)
    bound = isinstance(obj, types.BuiltinMethodType | types.MethodWrapperType)
    if bound and not isinstance(obj.__self__, types.ModuleType | type | None):
        return [obj.__name__, _described(obj.__self__, inside)]
    if isinstance(obj, _ROUTINES):
        return _named(obj) if is_known(obj) else _function(obj, inside)
    if isinstance(obj, functools._lru_cache_wrapper):
        held = [_NOT_SHOWN, _named(obj), next(_UNPROVED)] if obj.cache_info().currsize else None
        return ["cached", _described(obj.__wrapped__, inside), held]
    if is_graph_function(obj):
        options = [getattr(obj, name, None) for name in ("_jit_compile", "_input_signature", "_autograph")]
        return ["a tf.function", _described(obj.python_function, inside), repr(options)]
    if isinstance(obj, keras().layers.Layer):  # a layer that code holds: its weights count
        values = [variable.numpy() for variable in obj.variables]
        own = [one for one in obj._flatten_layers() if not is_known(type(one))]
        parts = [[_class(type(one), inside), _held(one, inside)] for one in own] + [of_own_parts(obj)]
        return [_config(obj, inside), parts, _described(values, inside)]
    if _has_config(obj):
        return _configured(obj, inside)
    if not is_known(type(obj)) and _holds_all(type(obj)):
        return [_described(type(obj), inside), _held(obj, inside)]
    return [_NOT_SHOWN, _named(type(obj)), next(_UNPROVED)]


def _plain_value(obj: Any, inside: tuple[int, ...]) -> Any:
    """A number or a text; with its class and attributes where the class is the user's."""
    base = next(kind for kind in (str, bytes, int, float) if isinstance(obj, kind))
    plain = obj.hex() if base is bytes else base(obj)
    if is_known(type(obj)):
        return plain
    inside = (*inside, id(obj))
    return [_described(type(obj), inside), plain, _described(attributes(obj), inside)]


def is_known(obj: Any) -> bool:
    """Whether its name identifies it: it is Python's own, or an installed package's, and not made inside a function.

    A decorator may give a function, or a class, the name and module of another: what is found by that name must be it.
    """
    if isinstance(obj, types.MethodType):
        return is_known(obj.__func__)
    if isinstance(obj, types.FunctionType):
        code = obj.__code__
        if (
            own_files.is_installed(code.co_filename) or code.co_filename.startswith("<frozen")
        ) and "<locals>" not in code.co_qualname:
            return True
    elif isinstance(obj, _ROUTINES):
        return True  # written in C
    module = sys.modules.get(getattr(obj, "__module__", None) or "builtins")
    if module is None or not is_installed(module) or "<locals>" in getattr(obj, "__qualname__", ""):
        return False
    return inspect.isclass(obj) or _stands_at(module, obj)


def _stands_at(module: types.ModuleType, obj: Any) -> bool:
    current: Any = module
    for part in getattr(obj, "__qualname__", "").split("."):
        current = getattr(current, part, None)
    return current is obj


def is_graph_function(obj: Any) -> bool:
    """Whether `tf.function` made it."""
    import tensorflow as tf

    return isinstance(obj, tf.types.experimental.PolymorphicFunction) and hasattr(obj, "python_function")


def _has_config(obj: Any) -> bool:
    """Whether its class has a `get_config`; an object may answer to any name."""
    return callable(inspect.getattr_static(type(obj), "get_config", None)) or "get_config" in attributes(obj)


def _holds_all(kind: type) -> bool:
    """Whether all that an object of the class holds can be seen: no base class but `object` is written in C."""
    return all(one is object or one.__flags__ & _MADE_IN_PYTHON for one in kind.__mro__)


_MADE_IN_PYTHON = 1 << 9
"""CPython's flag for a class that a `class` statement has made (Py_TPFLAGS_HEAPTYPE)."""


def is_installed(module: types.ModuleType) -> bool:
    """Whether the module is Python's or an installed package's, and not the user's own file."""
    origin = getattr(getattr(module, "__spec__", None), "origin", None) or getattr(module, "__file__", None) or ""
    return origin in ("built-in", "frozen") or own_files.is_installed(origin)


def _named(obj: Any) -> str:
    return f"{getattr(obj, '__module__', None)}.{getattr(obj, '__qualname__', repr(obj))}"


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
    """Whether Python itself keeps it in a class; some of it depends on the class's place, or on its docstring."""
    return name in (
        *("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__qualname__", "__slots__"),
        *("__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl"),
    )


def _plain(member: Any) -> Any:
    """The function of a class or static method, the three functions of a property, any other member itself."""
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
    handed_names = handed_on(code)
    handed = [
        _module(one, inside) for name, one in read.items() if isinstance(one, types.ModuleType) and name in handed_names
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
    """What code reads, with modules by their names: what it reads off them is described separately."""
    if isinstance(read, dict):
        return {name: one.__name__ if isinstance(one, types.ModuleType) else one for name, one in read.items()}
    return [
        [one.__name__ if isinstance(one, types.ModuleType) else one for one in row] if isinstance(row, list) else row
        for row in read
    ]


def _module(module: types.ModuleType, inside: tuple[int, ...]) -> Any:
    """A module that is passed on as a value; for the user's, all that it holds, since anything may be read off it."""
    if is_installed(module) or module.__name__.partition(".")[0] == "hptune":
        return module.__name__
    held = {name: one for name, one in vars(module).items() if not name.startswith("__")}
    return [module.__name__, {name: _described(one, inside) for name, one in _modules_by_name(held).items()}]


_OF_DECORATORS = ("__wrapped__", "_tf_decorator", "__signature__")
"""Attributes that decorators leave on a function, beside what they close over."""


def _own_modules(objects: list[Any], names: list[str]) -> list[types.ModuleType]:
    """The user's modules among the objects, and those that are read off them by any of the names."""
    modules: dict[str, types.ModuleType] = {}
    waiting = [one for one in objects if isinstance(one, types.ModuleType) and not is_installed(one)]
    while waiting:
        module = waiting.pop()
        if module.__name__ not in modules:
            modules[module.__name__] = module
            inner = (getattr(module, name, None) for name in names)
            waiting += [one for one in inner if isinstance(one, types.ModuleType) and not is_installed(one)]
    return list(modules.values())


def _is_tracked(obj: Any, kind: type) -> bool:
    """Whether it is a container of Keras or TensorFlow that replaces one given to a layer."""
    return isinstance(obj, kind) and type(obj).__module__.startswith(("keras.", "tensorflow."))


def _configured(obj: Any, inside: tuple[int, ...]) -> Any:
    """The description of a Keras object, or of a user's object of a Keras class."""
    kind = type(obj)
    if is_known(kind):
        held = {name: value for name, value in vars(obj).items() if _is_plain(value) or _is_of_user(value)}
        rate = getattr(obj, "_learning_rate", None)  # of an optimizer: a schedule, or a function, may be the user's
        in_config = rate is None or isinstance(rate, keras().Variable) or (is_known(type(rate)) and _has_config(rate))
        more = [] if in_config else [rate]
        return [_class(kind, inside), _config(obj, inside), _described(held, inside), _described(more, inside)]
    return [_class(kind, inside), _held(obj, inside)]


def _is_of_user(value: Any) -> bool:
    """Whether it is the user's code, or an object with such code, that Keras was given."""
    if isinstance(value, list | tuple | Mapping):
        return any(map(_is_of_user, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, functools.partial | types.MethodType) or not is_known(type(value))


def _config(obj: Any, inside: tuple[int, ...]) -> Any:
    """Its config; "no config" where a part has none: the parts are then described by themselves."""
    try:
        return _described(obj.get_config(), inside)
    except Exception:  # noqa: BLE001  # code of the user's, asked through Keras, may raise anything
        return "no config"


def _is_plain(value: Any) -> bool:
    """Whether it is data or code, and not part of Keras's own machinery (variables, trackers)."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, (str, int, float, bool, np.ndarray, *_ROUTINES))


def _held(obj: Any, inside: tuple[int, ...]) -> dict[str, Any]:
    """All that a user's object holds, except what Keras's classes keep in every layer."""
    layers, machinery = keras().layers, _kept_by_keras(obj)
    kept: dict[str, Any] = {}
    for name, value in attributes(obj).items():
        # Layers are described by themselves, and the values of a layer's variables are the trial's; so is a rate.
        own = isinstance(value, layers.Layer) or name == "_learning_rate" or isinstance(obj, layers.Layer)
        if name in machinery or (bool(machinery) and own and isinstance(value, layers.Layer | keras().Variable)):
            if _VISITED is not None and name not in machinery:
                _VISITED.append(value)
            continue
        kept[name] = _described(value, inside)
    return kept


def _kept_by_keras(obj: Any) -> frozenset[str]:
    """The attributes that Keras keeps for itself in an object of one of its classes."""
    kinds = (keras().layers.Layer, keras().metrics.Metric, keras().optimizers.Optimizer)
    return next((_bare(kind) for kind in kinds if isinstance(obj, kind)), frozenset())


@functools.cache
def _bare(kind: type) -> frozenset[str]:
    """The attributes of such an object before the user's code adds any; for a layer, once it is built and called."""
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
    """A layer without any code of its own, built and called."""

    class Bare(keras().layers.Layer):  # type: ignore[misc]  # Keras has no types
        def call(self, x: Any) -> Any:
            return x

    bare = Bare()
    bare(np.zeros((1, 1), np.float32))
    keras().Sequential([keras().Input((1,)), bare])
    return bare
