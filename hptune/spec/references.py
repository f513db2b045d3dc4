"""`$name`: a place in the YAML whose value the search space gives.

A field that may hold one is annotated `Searchable[float]` (a float or a `Ref`); `concrete` takes the value out of a
resolved recipe, where no reference is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to the parameter `name` of the search space."""

    name: str

    def __str__(self) -> str:
        return f"${self.name}"


class _OrRef:
    """The annotation that lets a `Ref` stand where a T is asked for, with T's own messages for anything else.

    Where the validation context holds `{"domains": {name: [representative values]}}`, each of them must fit T too, so
    that `batch_size: $b` with fractions for `b` is told before anything runs.
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
        return {"anyOf": [handler(schema["schema"]), REF_SCHEMA]}  # type: ignore[typeddict-item]  # a wrap schema


REF_SCHEMA: JsonSchemaValue = {"type": "string", "pattern": r"^\$[A-Za-z_][A-Za-z0-9_.-]*$", "title": "$name"}

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
