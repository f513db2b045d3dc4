"""Checks the search space: each domain by itself, then its conditions; and the points that the user wrote out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hptune.base.errors import KeyPath, Problem, unknown
from hptune.base.trial import Value
from hptune.experiment.reading.problems import show, unknown_key, validate
from hptune.experiment.space.conditions import Conditions, key, one_of
from hptune.experiment.space.references import NAME
from hptune.experiment.space.space import DOMAINS, ChoiceDomain, Domain, beyond_floats, own_when, unreached

_TYPE_ALIASES = {
    "integer": "int",
    "uniform": "float",
    "double": "float",
    "real": "float",
    "loguniform": "float, with log: true",
    "log_uniform": "float, with log: true",
    "categorical": "choice",
    "bool": "choice, with values: [true, false]",
    "boolean": "choice, with values: [true, false]",
    "fixed": "choice, with one value",
}


def domains(raw: Any, problems: list[Problem], *, any_name: bool = False) -> dict[str, Domain]:
    """The domains that are right, by name, with their conditions; the rest goes to `problems`.

    any_name: names need not be fit for a `$name`, because a model's code asks for them by whatever it calls them.
    """
    path: KeyPath = ("search_space",)
    if not isinstance(raw, dict):
        problems.append(Problem(f"must be a section with one entry for each parameter, got {show(raw)}.", path))
        return {}
    parsed: dict[str, Domain] = {}
    for name, written in raw.items():
        if not any_name and not re.fullmatch(NAME, name):
            rule = "a parameter's name must begin with a letter or '_', then letters, digits, '_', '.' or '-'"
            problems.append(Problem(f"{rule}, got {name!r}.", (*path, name), on_key=True))
        domain = _domain(written, (*path, name), problems)
        if domain is not None:
            parsed[name] = domain
    return _conditions(parsed, raw, problems)


def _domain(raw: Any, path: KeyPath, problems: list[Problem]) -> Domain | None:
    if not isinstance(raw, dict):
        example = "{type: float, min: 0.0, max: 0.5}, {type: int, min: 1, max: 8} or {type: choice, values: [a, b]}"
        problems.append(Problem(f"must be a domain such as {example}, got {show(raw)}.", path))
        return None
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in DOMAINS:
        problems.append(_unknown_type(kind, raw, path))
        return None
    parsed, wrong = validate(DOMAINS[kind], raw, path)
    problems += wrong
    domain: Domain | None = parsed  # type: ignore[assignment]  # the classes of DOMAINS are the members of Domain
    if domain is not None and (beyond := beyond_floats(domain)) is not None:
        problems.append(Problem(beyond, path))
        return None
    return domain


def _unknown_type(kind: Any, raw: Mapping[str, Any], path: KeyPath) -> Problem:
    if "type" not in raw:
        return Problem(
            "type is required and was not given. Add type: float, type: int or type: choice.", (*path, "type")
        )
    if isinstance(kind, str) and kind.lower() in _TYPE_ALIASES:
        return Problem(f"unknown type {kind!r}: write type: {_TYPE_ALIASES[kind.lower()]}.", (*path, "type"))
    return Problem(unknown("type", kind, DOMAINS), (*path, "type"))


# --- conditions ---------------------------------------------------------------------------------------------------


def _conditions(space: dict[str, Domain], raw: Mapping[str, Any], problems: list[Problem]) -> dict[str, Domain]:
    """`space` with the values in each `when` as their parents spell them, without impossible conditions.

    Each default is filled in.
    """
    checked: dict[str, Domain] = {}
    for name, domain in space.items():
        when = {
            parent: values
            for parent, wanted in domain.when.items()
            if (values := _checked_when(name, parent, wanted=wanted, space=space, raw=raw, problems=problems))
            is not None
        }
        checked[name] = domain.model_copy(update={"when": when, "default": domain.default_value()})
    for circle in _circles(checked):
        spelled = " → ".join([*circle, circle[0]])
        message = f"the conditions go round in a circle: {spelled}. Take one of them away."
        problems.append(Problem(message, ("search_space", circle[0], "when")))
        for name in circle:
            checked[name] = checked[name].model_copy(update={"when": {}})
    _report_impossible(checked, problems)
    return checked


def _checked_when(
    name: str, parent: str, *, wanted: Any, space: Mapping[str, Domain], raw: Mapping[str, Any], problems: list[Problem]
) -> Any:
    path: KeyPath = ("search_space", name, "when", parent)
    if parent not in raw:
        others = [other for other in raw if other != name]
        problems.append(Problem(unknown("parameter", parent, others), path, on_key=True))
        return None
    if parent not in space:  # its own problem is reported already
        return None
    domain = space[parent]
    if domain.values() is None:
        rule = f"a condition needs a parent with countable values, and {parent} is continuous"
        problems.append(Problem(f"{rule}. Give {parent} a step, or make it a choice.", path))
        return None
    options = wanted if isinstance(wanted, list) else [wanted]
    if not options:
        problems.append(Problem(f"needs at least one value of {parent}. Give one of {domain}.", path))
        return None
    for i, option in enumerate(options):
        if not domain.contains(option):
            where = (*path, i) if isinstance(wanted, list) else path
            problems.append(
                Problem(f"{show(option)} is no value of {parent}, which can be {domain}. Choose one.", where)
            )
            return None
    return own_when({parent: options if wanted is None else wanted}, space)[parent]


def _circles(space: Mapping[str, Domain]) -> list[list[str]]:
    """The circles of conditions, each once."""
    circles: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            circles.append(trail[trail.index(name) :])
        elif name not in done:
            for parent in space[name].when:
                if parent in space:
                    visit(parent, [*trail, name])
            done.add(name)

    for name in space:
        visit(name, [])
    return circles


def _report_impossible(space: Mapping[str, Domain], problems: list[Problem]) -> None:
    """Names that no setting activates: their conditions exclude each other."""
    conditions = Conditions(space)
    for name, domain in space.items():
        if domain.when and not conditions.together(name, {}):
            message = "the conditions can't all hold at once, those of its parents included. Take one away."
            problems.append(Problem(message, ("search_space", name, "when")))


# --- points -------------------------------------------------------------------------------------------------------


def point(
    raw: Any,
    path: KeyPath,
    *,
    space: Mapping[str, Domain],
    declared: set[str],
    problems: list[Problem],
    complete: bool,
    closed: bool,
) -> dict[str, Value]:
    """One entry of `enqueue` or the `baseline`, its values as their domains spell them.

    complete: what is left out is at its default (the baseline); otherwise it is sampled.
    closed: whether the space holds no other names (a model's code may declare more).
    """
    if not isinstance(raw, dict):
        problems.append(Problem(f"must be a section of `name: value` lines, got {show(raw)}.", path))
        return {}
    values: dict[str, Value] = {}
    for name, value in raw.items():
        domain = space.get(name)
        if name not in declared and closed:
            problems.append(unknown_key(name, declared, (*path, name), noun="parameter"))
        elif domain is None:
            values[name] = value
        elif not domain.contains(value):
            message = f"{show(value)} is not in the domain of {name}: {domain}. Choose a value from it."
            problems.append(Problem(message, (*path, name)))
        else:
            values[name] = domain.own(value)
    problems += [
        _inactive(name, path, parent)
        for name in values
        if (parent := _unmet_condition(name, values, space=space, complete=complete))
    ]
    return values


def _unmet_condition(
    name: str, values: Mapping[str, Value], *, space: Mapping[str, Domain], complete: bool
) -> str | None:
    """The condition that `name` needs and that does not hold among `values`, in words; None where all hold."""
    conditions = Conditions(space)
    for parent, wanted in conditions.needs(name).items():
        default = space[parent].default_value() if complete and parent in space else None
        is_set = parent in values or complete
        if not is_set or key(values.get(parent, default)) not in wanted:
            return f"{parent} is {' or '.join(show(v) for _, v in sorted(wanted, key=str))}"
    return None


def _inactive(name: str, path: KeyPath, condition: str) -> Problem:
    message = f"{name} is active only where {condition}, and that is not so here. Give that too, or drop {name}."
    return Problem(message, (*path, name), on_key=True)


def remarks(space: Mapping[str, Domain]) -> list[Problem]:
    """Remarks on what is allowed but may not be meant."""
    by_name = {name: unreached(domain) for name, domain in space.items()}
    return [Problem(remark, ("search_space", name, "max")) for name, remark in by_name.items() if remark is not None]


def examples(domain: Domain) -> list[Value]:
    """Values that stand for the whole domain: all of a choice, of a range both ends and something in between."""
    if isinstance(domain, ChoiceDomain):
        return list(domain.values())
    return list(dict.fromkeys([domain.min, domain.max, domain.from_unit(0.437), domain.default_value()]))


def needs_of(name: str, value: Value) -> dict[str, frozenset[tuple[str, Value]]]:
    """`name` has `value`, as `Conditions.together` takes it."""
    return {name: one_of([value])}
