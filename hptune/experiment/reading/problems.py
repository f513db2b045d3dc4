"""From pydantic's errors to problems in the user's words: the rule, what was received and the remedy, at a key path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hptune.base.errors import KeyPath, Problem, unknown
from hptune.experiment.base import Spec
from hptune.experiment.space.references import Ref

S = TypeVar("S", bound=Spec)

ALIASES = {
    "low": "min",
    "lower": "min",
    "min_value": "min",
    "minimum": "min",
    "high": "max",
    "upper": "max",
    "max_value": "max",
    "maximum": "max",
    "choices": "values",
    "options": "values",
    "categories": "values",
    "sampling": "log: true",
    "scale": "log: true",
    "distribution": "type",
    "parameters": "search_space",
    "hyperparameters": "search_space",
    "space": "search_space",
    "direction": "goal",
    "mode": "goal",
    "max_trials": "trials",
    "n_trials": "trials",
}
"""What users of other tuners type -> the word here. Refused with the right word, where the right word is known."""

_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list, each entry after '- ' or in [ ]",
    "dict_type": "a section of `key: value` lines",
    "model_type": "a section of `key: value` lines",
    "model_attributes_type": "a section of `key: value` lines",
    "none_required": "null",
}
_BOUNDS = {"greater_than": ("gt", "above"), "greater_than_equal": ("ge", "at least"), "less_than": ("lt", "below")}
_BOUNDS |= {"less_than_equal": ("le", "at most")}


def validate(
    cls: type[S], raw: Any, path: KeyPath, domains: Mapping[str, list[Any]] | None = None
) -> tuple[S | None, list[Problem]]:
    """`raw` as a `cls`, or everything that is wrong with it. `domains`: representative values of each parameter."""
    try:
        return cls.model_validate(raw, context={"domains": domains or {}}), []
    except ValidationError as error:
        return None, list(_problems(error, cls, raw, path))


def unknown_key(key: str, known: Iterable[str], path: KeyPath, *, noun: str = "key") -> Problem:
    """The problem with a key that is none of `known`; `path` ends in the key."""
    known = list(known)
    right = ALIASES.get(key)
    if right is not None and right.split(":")[0] in known:
        return Problem(f"unknown {noun} {key!r}: write {right!r} instead.", path, on_key=True)
    return Problem(unknown(noun, key, known, show=20), path, on_key=True)


def show(value: Any) -> str:
    """A value as users wrote it, cut short."""
    text = str(value) if isinstance(value, Ref) else "null" if value is None else repr(value)
    text = str(value).lower() if isinstance(value, bool) else text
    return text if len(text) <= 60 else text[:57] + "..."


def _problems(error: ValidationError, cls: type[Spec], raw: Any, path: KeyPath) -> Iterable[Problem]:
    aliased = {ALIASES[key] for key in raw if key in ALIASES} if isinstance(raw, dict) else set()
    rules: dict[tuple[KeyPath, str], list[str]] = {}  # one line a place, though a union tells of each of its members
    for details in error.errors(include_url=False):
        kind, inside = details["type"], _inside(details, raw)
        if kind == "extra_forbidden":
            known = _keys(_section_at(cls, inside[:-1], raw))
            yield unknown_key(str(inside[-1]), known, (*path, *inside))
        elif kind == "missing":
            if inside[-1] not in aliased:
                yield Problem("is required and was not given. Add it.", (*path, *inside))
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            yield _which_member(details, (*path, *inside))
        elif _rule(details) is None:
            yield Problem(details["msg"], (*path, *inside))
        else:
            got = _got(details["input"], raw, inside)
            rules.setdefault(((*path, *inside), got), []).append(str(_rule(details)))
    for (where, got), expected in rules.items():
        yield Problem(f"must be {' or '.join(dict.fromkeys(expected))}, got {got}.", where)


def _which_member(details: ErrorDetails, path: KeyPath) -> Problem:
    """A section whose kind is said by one of its keys, and is not said or is unknown."""
    ctx = details["ctx"]
    path = (*path, ctx["discriminator"].strip("'"))
    if "expected_tags" not in ctx:
        return Problem("is required and was not given. Add it.", path)
    return Problem(f"must be one of {ctx['expected_tags']}, got {show(ctx['tag'])}.", path)


def _rule(details: ErrorDetails) -> str | None:
    """What the value must be, as the end of a sentence; None where the message says it all."""
    kind, ctx = details["type"], details.get("ctx", {})
    if kind in _TYPES:
        return _TYPES[kind]
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {ctx[key]}"
    if kind == "literal_error":
        return f"one of {ctx['expected']}"
    if kind == "string_pattern_mismatch":
        return f"text of the form {_FORMS.get(ctx['pattern'], ctx['pattern'])}"
    if kind == "too_short":
        return f"a list of at least {ctx['min_length']}"
    return None


_FORMS = {
    r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$": "module:name",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": "letters, digits, '.', '_' and '-', at most 64, a letter or digit first",
}


def _got(received: Any, tree: Any, inside: KeyPath) -> str:
    """What stands there; for a `$name`, the value in its domain that does not fit."""
    there = tree
    for part in inside:
        there = there[part] if isinstance(there, dict) or isinstance(part, int) else there
    if isinstance(there, Ref) and not isinstance(received, Ref):
        return f"{there}, which can be {show(received)}"
    if isinstance(received, list | dict) and len(received) == 0:
        return "an empty one"
    return show(received)


def _inside(details: ErrorDetails, tree: Any) -> KeyPath:
    """The error's path as far as it follows the user's keys: pydantic puts the members of a union in between."""
    path: list[str | int] = []
    raw: Any = tree
    for part in details["loc"]:
        in_list = isinstance(raw, list) and isinstance(part, int) and part < len(raw)
        if in_list or (isinstance(raw, dict) and part in raw):
            path.append(part)
            raw = raw[part]
    if details["type"] == "missing":
        path.append(details["loc"][-1])
    return tuple(path)


def _keys(cls: type[Spec]) -> list[str]:
    return [field.alias or name for name, field in cls.model_fields.items()]


def _section_at(cls: type[Spec], path: KeyPath, raw: Any) -> type[Spec]:
    """The class of the section at `path` in `raw`; of several, the one whose constant key is as it stands there."""
    for part in path:
        raw = raw[part] if isinstance(raw, dict) or isinstance(part, int) else None
        for name, field in cls.model_fields.items():
            inner = _specs_in(field.annotation) if (field.alias or name) == part else []
            cls = next((spec for spec in inner if _is_said(spec, raw)), inner[0] if inner else cls)
    return cls


def _specs_in(annotation: Any) -> list[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [annotation]
    return [spec for arg in get_args(annotation) for spec in _specs_in(arg)]


def _is_said(spec: type[Spec], raw: Any) -> bool:
    constants = {name: get_args(f.annotation) for name, f in spec.model_fields.items() if f.is_required()}
    return isinstance(raw, dict) and all(raw.get(name) in values for name, values in constants.items() if values)
