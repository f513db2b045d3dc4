"""Checks `model: {application: …}`: that there is such a network, and that it takes its options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.base.errors import Problem, unknown
from hptune.experiment.checks.keras_names import Scope, argument
from hptune.experiment.checks.recipe import section
from hptune.experiment.keras_table import applications
from hptune.experiment.reading.problems import show, unknown_key
from hptune.experiment.space.references import Ref


def application(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """Every problem of the network that can be found without Keras."""
    model = section(raw, "model")
    name = model["application"]
    known = applications()
    choices = [value for value in scope.values(name) if isinstance(value, str)]
    for choice in choices:
        if choice not in known:
            message = unknown("application", choice, known)
            path = ("model", "application")
            yield Problem(f"{name} can be {show(choice)}: {message}" if isinstance(name, Ref) else message, path)
            return
    options = model.get("options")
    for key, value in options.items() if isinstance(options, dict) else ():
        for choice in choices:
            if key not in known[choice]:
                yield unknown_key(key, known[choice], ("model", "options", key), noun=f"option of {choice}")
                break
        else:
            for choice in choices[:1]:
                yield from argument(known[choice], key, value, path=("model", "options", key), scope=scope)
