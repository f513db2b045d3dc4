"""`$name`: a place in the YAML whose value the search space gives.

A field that may hold one is annotated `Searchable[float]` (a float or a `Ref`); `concrete` takes the value out of a
resolved recipe, where no reference is left. `bind` makes references of the text that the user wrote, `spell` text
again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from hptune.base.errors import KeyPath, Problem

T = TypeVar("T")

NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
"""What a parameter may be called."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to the parameter `name` of the search space."""

    name: str

    def __str__(self) -> str:
        return f"${self.name}"


class _OrRef:
    """The annotation that lets a `Ref` stand where a T is asked for, with T's own messages for anything else.

    Where the validation context holds `{"domains": {name: [representative values]}}`, each of them must fit T too, so
    that `batch_size: $b` with fractions for `b` is reported before anything runs.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = [t for t in get_args(source) if t is not Ref]
        union: Any = inner[0]
        for t in inner[1:]:
            union = union | t

        def validate(value: Any, validate_inner: Any, info: core_schema.ValidationInfo) -> Any:
            if not isinstance(value, Ref):
                return validate_inner(value)
            for example in ((info.context or {}).get("domains") or {}).get(value.name, ()):
                validate_inner(example)
            return value

        return core_schema.with_info_wrap_validator_function(
            validate,
            handler.generate_schema(union),
            serialization=core_schema.plain_serializer_function_ser_schema(_serialize),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema["schema"]), REF_SCHEMA]}  # a wrap schema


REF_SCHEMA: JsonSchemaValue = {"type": "string", "pattern": rf"^\${NAME}$", "title": "$name"}

Searchable: TypeAlias = Annotated[T | Ref, _OrRef()]


def _serialize(value: Any) -> Any:
    return str(value) if isinstance(value, Ref) else value


def concrete(value: T | Ref) -> T:
    """The value, in a recipe whose references are resolved.

    >>> concrete(3)
    3
    """
    assert not isinstance(value, Ref), f"{value} was not resolved"
    return value


def bind(value: Any, problems: list[Problem], path: KeyPath = ()) -> Any:
    """`value` with each text `$name` made a `Ref` and each `$$text` plain; other texts after a `$` are `problems`.

    >>> bind({"units": "$units", "price": "$$5"}, [])
    {'units': Ref(name='units'), 'price': '$5'}
    """
    if isinstance(value, dict):
        return {key: bind(item, problems, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [bind(item, problems, (*path, i)) for i, item in enumerate(value)]
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    if value.startswith("$$"):
        return value[1:]
    if re.fullmatch(NAME, value[1:]):
        return Ref(value[1:])
    rule = "after a $ the name of a parameter must stand, of letters, digits, '_', '.' and '-'"
    problems.append(Problem(f"{rule}, got {value!r}. Write ${value} for a plain dollar sign.", path))
    return value


def spell(value: Any) -> Any:
    """The inverse of `bind`: references as `$name`, plain text that begins with a dollar sign as `$$…`."""
    if isinstance(value, dict):
        return {key: spell(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spell(item) for item in value]
    if isinstance(value, Ref):
        return str(value)
    return f"${value}" if isinstance(value, str) and value.startswith("$") else value


@dataclass(frozen=True, slots=True)
class Use:
    """A place where a `$name` stands.

    of_key: as the value of a key, which counts as not given while the name is inactive.
    """

    name: str
    path: KeyPath

    @property
    def of_key(self) -> bool:
        """Whether the place is the value of a key, and not an entry of a list."""
        return isinstance(self.path[-1], str)


def uses(value: Any, path: KeyPath = ()) -> Iterator[Use]:
    """Every reference in `value`, in its order."""
    if isinstance(value, Ref):
        yield Use(value.name, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from uses(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from uses(item, (*path, i))


def texts_in(value: Any, domains: Mapping[str, Any]) -> Iterator[str]:
    """Every text in a value of the YAML, keys included; of a `$name` each text that it may stand for.

    >>> from types import SimpleNamespace
    >>> domains = {"l": SimpleNamespace(values=lambda: ["mse", "mae"])}
    >>> list(texts_in({"a": "msle", "b": [Ref("l"), {"Huber": {"delta": 2}}]}, domains))
    ['a', 'msle', 'b', 'mse', 'mae', 'Huber', 'delta']
    """
    match value:
        case str():
            yield value
        case Ref():
            choices = domains[value.name].values() if value.name in domains else ()
            yield from texts_in(choices if isinstance(choices, list | tuple) else (), domains)
        case Mapping():
            for key, item in value.items():
                yield from texts_in(key, domains)
                yield from texts_in(item, domains)
        case list() | tuple():
            for item in value:
                yield from texts_in(item, domains)
