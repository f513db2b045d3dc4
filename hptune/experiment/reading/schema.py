"""The JSON Schema of the YAML, for editors: what may stand where, with descriptions, names and Keras's own arguments.

It follows what `load` accepts as far as a schema can; only `hptune validate` checks conditions across sections.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from pydantic.json_schema import models_json_schema

from hptune.base.errors import SpecError
from hptune.base.offered import offered
from hptune.experiment.base import Spec
from hptune.experiment.checks.keras_names import FROM_CODE
from hptune.experiment.data import DATA_KINDS
from hptune.experiment.execution import executor_names
from hptune.experiment.experiment import Experiment
from hptune.experiment.graph import FROM
from hptune.experiment.keras_table import KerasKind, arguments, names, table
from hptune.experiment.model import CODE_NAME, MODEL_KINDS
from hptune.experiment.sections import strategy_options, tracker_names
from hptune.experiment.space.references import REF_SCHEMA

_TEMPLATE = "#/$defs/{model}"
_REF = {"$ref": "#/$defs/Ref"}
_SECTION = {"type": "object"}


def json_schema(noted: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """The schema, draft 2020-12. What other installed packages bring is in it; noted: is told of one that is broken."""
    others = {}
    for name in offered("hptune.strategies"):
        try:
            options = strategy_options(name)
        except SpecError as error:
            noted(f"the strategy {name} is not in the schema: {error}")
            continue
        if options is not None:
            others[name] = options
    models: list[type[Spec]] = [Experiment, *DATA_KINDS.values(), *MODEL_KINDS.values(), *others.values()]
    refs, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template=_TEMPLATE, by_alias=True
    )
    defs: dict[str, Any] = definitions["$defs"]
    _describe(defs, Spec)
    experiment = defs.pop("Experiment")
    properties = experiment["properties"]
    properties["data"] = _one_of_kinds("Where the samples come from.", DATA_KINDS)
    properties["model"] = _one_of_kinds("What is trained.", MODEL_KINDS)
    properties["search_space"]["propertyNames"] = {"minLength": 1}  # a model's code may ask for any name
    properties["name"]["description"] = "The run's folder; the file's name unless given."
    experiment["required"] = ["version", "model"]
    properties["strategy"]["oneOf"] += [refs[options, "validation"] for options in others.values()]
    mapping = {name: refs[options, "validation"]["$ref"] for name, options in others.items()}
    properties["strategy"]["discriminator"]["mapping"] |= mapping
    each_tracker = properties["track"]["additionalProperties"]
    properties["track"] |= {"properties": dict.fromkeys(tracker_names(), each_tracker), "additionalProperties": False}
    defs["Execution"]["properties"]["executor"]["enum"] = executor_names()
    defs["LayersModel"]["properties"]["layers"]["items"] = {"$ref": "#/$defs/Layer"}
    training = defs["Training"]["properties"]
    losses = _named("losses")
    losses["anyOf"] += [{"type": "object", "additionalProperties": _named("losses")}]
    training["loss"] = {**losses, "description": training["loss"].get("description", "")}
    metrics = {"type": "array", "items": _named("metrics")}
    each = {"type": "object", "additionalProperties": metrics}
    training["metrics"]["anyOf"] = [metrics, each, {"type": "null"}]
    defs["Initialization"]["properties"]["kernel"] |= _named("initializers")
    optimizers = [n for n in names("optimizers") if n.islower()]
    defs["Optimizer"]["properties"]["name"] |= {"anyOf": [{"enum": optimizers}, _REF]}
    for stabilize in ("Lottery", "WarmedUp"):
        defs[stabilize]["properties"]["optimizer"] |= {"anyOf": [{"enum": [*optimizers, None]}]}
    defs["Optimizer"]["properties"] |= _optimizer_arguments(defs["Optimizer"]["properties"])
    defs["Optimizer"]["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hptune experiment",
        **_without_titles(experiment),
        "$defs": {**_without_titles(defs), "Ref": {**REF_SCHEMA, "description": _REF_TEXT}, **_layers()},
    }


_REF_TEXT = "The value that the search space gives to the parameter of this name."


def _describe(defs: dict[str, Any], cls: type[Spec]) -> None:
    """The text below each field, as its description, for `cls` and every class made from it."""
    for subclass in cls.__subclasses__():
        _describe(defs, subclass)
    for field, text in _texts(cls).items():
        for inheriting in _family(cls):
            properties = defs.get(inheriting.__name__, {}).get("properties", {})
            for name in {field, field.rstrip("_")} & set(properties):
                properties[name].setdefault("description", text)


def _family(cls: type[Spec]) -> list[type[Spec]]:
    return [cls, *(member for subclass in cls.__subclasses__() for member in _family(subclass))]


def _texts(cls: type[Spec]) -> dict[str, str]:
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in itertools.pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def _one_of_kinds(description: str, kinds: dict[str, Any]) -> dict[str, Any]:
    refs = [{"$ref": _TEMPLATE.format(model=cls.__name__)} for cls in kinds.values()]
    return {"description": description, "oneOf": refs}


def _named(kind: KerasKind) -> dict[str, Any]:
    """A name, `{Name: {arguments}}` or a `$name`."""
    known = names(kind)
    call = {**_SECTION, "propertyNames": {"enum": known}, "minProperties": 1, "maxProperties": 1}
    own = [{"type": "string", "pattern": CODE_NAME}, _own_call()] if kind in FROM_CODE else []
    return {"anyOf": [{"enum": [*known, None]}, call, *own, _REF]}


def _optimizer_arguments(present: Iterable[str]) -> dict[str, Any]:
    every = {key for name in table()["optimizers"] for key in arguments("optimizers", name)}
    return {key: {} for key in sorted(every - set(present))}


def _layers() -> dict[str, Any]:
    """The list entries under `layers`: a bare name, one name with its arguments, or a repeat."""
    known = names("layers")
    calls = {name: _layer_call(name) for name in known}
    repeat = {
        **_SECTION,
        "description": "These layers, several times over.",
        "properties": {
            "times": {"anyOf": [{"type": "integer", "minimum": 0}, _REF]},
            "layers": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Layer"}},
        },
        "required": ["times", "layers"],
        "additionalProperties": False,
    }
    bare = [name for name in known if all("default" in details for details in arguments("layers", name).values())]
    call = {**_SECTION, "minProperties": 1, "maxProperties": 1, "additionalProperties": False}
    call["properties"] = {**calls, "repeat": repeat}
    own = [{"type": "string", "pattern": CODE_NAME}, _own_call()]
    description = "A keras.layers class by its name; Output, as large as the data wants it; or module:Class."
    return {"Layer": {"description": description, "anyOf": [{"enum": bare}, call, *own, _REF]}, "From": _from()}


def _own_call() -> dict[str, Any]:
    """`{module:name: {arguments}}`, of a user's own."""
    return {**_SECTION, "propertyNames": {"pattern": CODE_NAME}, "minProperties": 1, "maxProperties": 1}


def _from() -> dict[str, Any]:
    name = {"type": "string"}
    several = {"anyOf": [name, {"type": "array", "items": name}]}
    by_argument = {"type": "object", "additionalProperties": several}
    description = (
        "The layer, by its name, whose output this one takes; a list of them; or one for each argument of its call."
    )
    return {"description": description, "anyOf": [*several["anyOf"], by_argument]}


def _layer_call(name: str) -> dict[str, Any]:
    known = arguments("layers", name)
    required = [key for key, details in known.items() if "default" not in details]
    shown = {key: {"default": f["default"]} if f.get("default", "...") != "..." else {} for key, f in known.items()}
    needed = {"required": required} if required else {}
    kind = {"type": "object"} if required else {"type": ["object", "null"]}
    return {**kind, "properties": {**shown, FROM: {"$ref": "#/$defs/From"}}, **needed, "additionalProperties": False}


def _without_titles(value: Any) -> Any:
    """Pydantic gives every field a title that says its name again."""
    if isinstance(value, dict):
        return {k: _without_titles(v) for k, v in value.items() if not (k == "title" and isinstance(v, str))}
    return [_without_titles(item) for item in value] if isinstance(value, list) else value
