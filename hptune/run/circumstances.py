"""What trials depend on besides YAML and data: versions, Keras's settings, the user's code; and how that has changed.

A search that is resumed under other circumstances says so once, and its journal records them. Code is known by
fingerprints of its modules (`user_code.sources`), which are taken as the model and the data are loaded: modules whose
names code computes as it runs, and what it reads from files, are not among them.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, TypeAlias

from hptune import __version__
from hptune.base.errors import Problem, SpecError, printable
from hptune.base.fingerprints import spelled as of_code
from hptune.base.keras_json import keras_json
from hptune.run.events import HeadEvent, Resumed

Circumstances: TypeAlias = dict[str, dict[str, Any]]
"""`versions` by package, `packages` the same of those that the user's code needs, `keras` (as `keras.json` has it),
`code` and `strategy` (a fingerprint by a module's file, of the code that trials depend on, and of that which chooses
their points): plain data."""

STRATEGY_CODE = "strategy_code"
"""The fact of a run's head that holds the fingerprints of the code that chooses the points."""

PACKAGES = "packages"
"""The fact of a run's head that holds the versions of the installed packages that the user's code needs."""

_PARTS = ("versions", "packages", "keras", "code", "strategy")


_CODE = ("code", "strategy")


def current(facts: Mapping[str, Any]) -> Circumstances:
    """The present circumstances. facts: the probe's."""
    code, strategy, packages = (dict(facts.get(name, {})) for name in ("code", STRATEGY_CODE, PACKAGES))
    return {"versions": versions(), "packages": packages, "keras": keras_json(), "code": code, "strategy": strategy}


def recorded_in(event: HeadEvent | Resumed) -> Circumstances:
    """The circumstances in a journal's event, its head or a `resumed`; parts that older journals lack are empty."""
    parts: dict[str, Any] = {"versions": event.get("versions"), "keras": event.get("keras")}
    if event["event"] == "head":
        facts = event["facts"]
        parts |= {"code": facts.get("code"), "strategy": facts.get(STRATEGY_CODE), "packages": facts.get(PACKAGES)}
    else:
        parts |= {"code": event.get("code"), "strategy": event.get("strategy"), "packages": event.get("packages")}
    return {part: dict(entries) if isinstance(entries, dict) else {} for part, entries in parts.items()}


def changes(then: Circumstances, now: Circumstances) -> Circumstances:
    """What has changed, been added or removed, by part and name, as [then, now].

    A part that was not recorded then is not compared, nor are settings of Keras that only one side knows. Fingerprints
    of code are compared within one version of Python (such as 3.11).

    >>> changes({"versions": {"keras": "3.9"}, "keras": {}, "code": {}}, {"versions": {"keras": "3.10"}, "keras": {},
    ...     "code": {"m.py": "1f"}})
    {'versions': {'keras': ['3.9', '3.10']}}
    """
    changed: Circumstances = {}
    for part in _PARTS:
        old, new = then.get(part, {}), now.get(part, {})
        if part in _CODE and _python(then) != _python(now):
            continue
        names = [name for name in old if name in new] if part == "keras" else [*dict.fromkeys([*old, *new])]
        if part == "packages":
            names = [name for name in names if name not in now["versions"]]
        names = names if old else []
        pairs = {name: [old.get(name), new.get(name)] for name in names if old.get(name) != new.get(name)}
        changed |= {part: pairs} if pairs else {}
    return changed


def _python(circumstances: Circumstances) -> list[str]:
    return str(circumstances["versions"].get("python", "")).split(".")[:2]


def spelled(changed: Circumstances) -> Iterator[str]:
    """Each change in words.

    >>> list(spelled({"keras": {"floatx": ["float32", "float64"]}, "code": {"m.py": ["1f", "2e"]}}))
    ['floatx of keras.json was float32 and is float64 now', 'the code in m.py has changed']
    """
    for part in ("versions", "packages", "keras"):
        for name, (then, now) in changed.get(part, {}).items():
            setting = f"{name} of keras.json" if part == "keras" else name
            yield f"{setting} was {_or_absent(then)} and is {_or_absent(now)} now"
    for part in _CODE:
        for file, (was, is_) in changed.get(part, {}).items():
            yield of_code(file, was, is_)


def _or_absent(value: Any) -> str:
    return "not there" if value is None else str(value)


def resumed(
    first: Circumstances, last: Circumstances, facts: Mapping[str, Any], *, strict: bool
) -> tuple[Resumed, str | None]:
    """The journal's event for a search that is resumed now, and a note for the user if anything has changed.

    first, last: the circumstances when the run began, and those of its last sitting. strict: raise SpecError, with a
    problem for each change since the beginning.
    """
    now = current(facts)
    if strict and (since := list(spelled(changes(first, now)))):
        way_out = (
            "--strict refuses to go on under other circumstances than the run was begun under. Put them back, leave "
            "--strict out (the journal then records the change), or move the old run aside with --fresh."
        )
        raise SpecError(*map(Problem, since), Problem(way_out))
    changed = changes(last, now)
    event: Resumed = {"event": "resumed", **now}  # type: ignore[typeddict-item]  # by its parts
    if not changed:
        return event, None
    event["changed"] = changed
    message = printable(f"since this run was last searched, {'; '.join(spelled(changed))}")
    return event, f"{message}. New trials may not compare with earlier ones; --strict refuses to go on then."


def versions() -> dict[str, str]:
    """The version of every package that a score or a suggestion may depend on; none of them is imported."""
    by_package = {"hptune": __version__, "python": platform.python_version()}
    libraries = (
        "tensorflow",
        "keras",
        "keras-tuner",
        "optuna",
        "cmaes",
        "bayesian-optimization",
        "scikit-learn",
        "numpy",
    )
    for package in libraries:
        try:
            by_package[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # an extra; or tensorflow-cpu, say: the name of a distribution
            continue
    return by_package
