"""Specs put together from the JSON Schema, key by key; what stands in them mostly fits, and is not always right."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st
from mutations import scalars

from hptune.experiment.reading.schema import json_schema

SCHEMA = json_schema()
KEYS = st.sampled_from(["x", "units", "learning_rate", "Dense", "name", "a b", "$x", ""])
TEXTS = st.sampled_from(["x", "val_loss", "digits", "Dense", "adam", "table.csv", "os:system", "random", ""])
ONE_IN = 30
"""How often a value is put where it does not belong."""


@st.composite
def specs(draw: st.DrawFn, base: dict[str, Any]) -> dict[str, Any]:
    """`base` with one to three of its sections as the schema lets them be."""
    made = copy.deepcopy(base)
    sections = SCHEMA["properties"]
    for key in draw(st.lists(st.sampled_from(sorted(sections)), min_size=1, max_size=3, unique=True)):
        made[key] = draw(fitting(sections[key], [f"${name}" for name in base.get("search_space", {})] or ["$x"]))
    return made


@st.composite
def fitting(draw: st.DrawFn, schema: Any, references: list[str]) -> Any:
    """A value that fits `schema` over the keywords that ours uses, but for one in `ONE_IN` of all below it."""
    if not schema or draw(st.integers(1, ONE_IN)) == ONE_IN:
        return draw(scalars)
    if "$ref" in schema:
        return draw(fitting(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], references))
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return draw(fitting(draw(st.sampled_from(schema[several])), references))
    if "enum" in schema or "const" in schema:
        return draw(st.sampled_from(schema.get("enum", [schema.get("const")])))
    kind = schema.get("type")
    if kind == "object":
        return draw(_objects(schema, references))
    if kind == "array":
        fewest = schema.get("minItems", 0)
        return draw(st.lists(fitting(schema.get("items"), references), min_size=fewest, max_size=fewest + 2))
    if kind in ("integer", "number"):
        return draw(_numbers(schema))
    if kind == "boolean":
        return draw(st.booleans())
    if kind == "null":
        return None
    return draw(st.sampled_from(references) if schema.get("pattern", "").startswith("^\\$") else TEXTS)


@st.composite
def _objects(draw: st.DrawFn, schema: dict[str, Any], references: list[str]) -> dict[str, Any]:
    known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    most = schema.get("maxProperties", 3)
    keys = list(schema.get("required", []))
    left = sorted(set(known) - set(keys))
    if left and len(keys) < most:
        keys += draw(st.lists(st.sampled_from(left), max_size=most, unique=True))
    made = {key: draw(fitting(known[key], references)) for key in keys}
    if more is not False and not known:
        names = st.sampled_from(schema.get("propertyNames", {}).get("enum", [])) if _named(schema) else KEYS
        wanted = draw(st.lists(names, min_size=schema.get("minProperties", 0), max_size=most, unique=True))
        made |= {key: draw(fitting({} if more is True else more, references)) for key in wanted}
    return made


def _named(schema: dict[str, Any]) -> bool:
    return "enum" in schema.get("propertyNames", {})


def _numbers(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Small ones mostly, and the bounds."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    bounds = [bound for bound in (low, high) if bound is not None]
    inside: st.SearchStrategy[Any]
    small: st.SearchStrategy[Any]
    if schema["type"] == "integer":
        inside = st.integers(low if low is not None else -3, high if high is not None else 40)
        small = st.integers(low or 0, min(high or 12, (low or 0) + 12))
    else:
        inside = st.floats(low, high, allow_nan=False, allow_infinity=False)
        small = st.sampled_from([0.1, 0.5, 1.0, 1e-3])
    return st.one_of(small, inside, *([st.sampled_from(bounds)] if bounds else []))
