"""The JSON Schema: the committed file is the program's, the examples fit it, and common faults do not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hptune.experiment.reading.load import load
from hptune.experiment.reading.marks import read
from hptune.experiment.reading.schema import json_schema

CONFIGS = Path(__file__).parents[2] / "configs"
SCHEMA = json_schema()
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": int | float,
    "integer": int,
    "null": type(None),
}


def fits(value: Any, schema: Any) -> bool:
    """Whether `value` fits `schema`, over the keywords that ours uses."""
    if "$ref" in schema:
        return fits(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if kinds and not any(_is(value, kind) for kind in kinds):
        return False
    tests = [
        "enum" not in schema or any(type(v) is type(value) and v == value for v in schema["enum"]),
        "const" not in schema or schema["const"] == value,
        "anyOf" not in schema or any(fits(value, s) for s in schema["anyOf"]),
        "oneOf" not in schema or sum(fits(value, s) for s in schema["oneOf"]) == 1,
    ]
    if isinstance(value, str):
        tests.append(re.search(schema.get("pattern", ""), value) is not None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        tests += [value >= schema.get("minimum", value), value <= schema.get("maximum", value)]
        tests += ["exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"]]
        tests += ["exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"]]
    if isinstance(value, list):
        tests += [len(value) >= schema.get("minItems", 0), all(fits(v, schema.get("items", {})) for v in value)]
    if isinstance(value, dict):
        tests += [_fields(value, schema)]
    return all(tests)


def _is(value: Any, kind: str) -> bool:
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    return isinstance(value, TYPES[kind])


def _fields(value: dict[str, Any], schema: Any) -> bool:
    known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    more = {} if more is True else more
    return (
        set(schema.get("required", [])) <= set(value)
        and schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value))
        and all(fits(key, schema.get("propertyNames", {})) for key in value)
        and all(fits(v, known[k]) if k in known else more is not False and fits(v, more) for k, v in value.items())
    )


def test_the_committed_file_is_the_programs() -> None:
    committed = json.loads((CONFIGS / "schema.json").read_text())
    assert committed == SCHEMA, "run: hptune schema > configs/schema.json"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_fit_and_carry_the_editors_comment(path: Path) -> None:
    text = path.read_text()
    assert fits(read(text).data, SCHEMA)
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("source: digits", "source: digitz"),
        ("source: digits", "source: digits\n  csv: a.csv"),
        ("- Flatten", "- Flaten"),
        ("- Flatten", "- Dense"),
        ("padding: same", "pading: same"),
        ("filters: $filters", "filter: $filters"),
        ("epochs: 12", "epochs: 0"),
        ("epochs: 12", "epochs: $1"),
        ("epochs: 12", "epoch: 12"),
        ("name: $optimizer", "name: adamm"),
        ("patience: 4", "patience: four"),
        ("type: int", "type: integer"),
        ("goal: maximize", "goal: up"),
        ("name: random", "name: randm"),
        ("name: cosine", "name: cosin"),
        ("name: cosine", "name: ramp, epoch: later"),
        ("name: cosine", "name: piecewise, epochs: 3"),
        ("source: digits", "source: digits\n  augment: {flip: up}"),
        ("epochs: 12", "epochs: 12\n  regularization: {label_smoothing: 1}"),
        ("version: 1\n", "version: 1\ninitialization: {stabilize: {method: lottery, draws: 1}}\n"),
        ("version: 1\n", "version: 1\ninitialization: {stabilize: {method: warmup, draws: 3}}\n"),
        ("trials: 12", "trials: 0"),
        ("version: 1\n", ""),
    ],
)
def test_faults_do_not_fit(old: str, new: str) -> None:
    text = (CONFIGS / "digits.yaml").read_text()
    assert old in text
    assert not fits(read(text.replace(old, new, 1)).data, SCHEMA)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: cosine", "name: ramp, epoch: auto"),
        ("name: cosine", "name: piecewise, epochs: [3, $units], factors: [0.5, 0.1]"),
        ("source: digits", "source: digits\n  augment: {flip: both, translate: $dropout}"),
        ("epochs: 12", "epochs: 12\n  regularization: {kernel: {l2: 1e-4}, label_smoothing: 0.1}"),
        ("version: 1\n", "version: 1\ninitialization: {kernel: he_normal, stabilize: {method: lottery, draws: 2}}\n"),
        ("version: 1\n", "version: 1\ninitialization: {stabilize: {method: warmup, start: 1e-4}}\n"),
    ],
)
def test_the_recipe_fits(old: str, new: str) -> None:
    text = (CONFIGS / "digits.yaml").read_text()
    assert old in text
    assert fits(read(text.replace(old, new, 1)).data, SCHEMA)


def test_every_reference_leads_somewhere_and_no_keyword_is_foreign() -> None:
    text = json.dumps(SCHEMA)
    assert {r.removeprefix("#/$defs/") for r in re.findall(r'"\$ref": "([^"]+)"', text)} <= set(SCHEMA["$defs"])
    assert not re.search(r'"(ge|gt|le|lt)":', text)


def test_fields_carry_their_descriptions() -> None:
    """The text below a field in the source; that of a base class too."""
    budget = SCHEMA["$defs"]["Budget"]["properties"]
    assert budget["target"]["description"] == "A score that is good enough."
    assert "scores a trial" in SCHEMA["$defs"]["CsvData"]["properties"]["validation"]["description"]
    assert SCHEMA["properties"]["name"]["description"].startswith("The run's folder")
    assert SCHEMA["properties"]["seed"]["description"].startswith("Everything random")
