"""Which parameters have the roles that an expert tunes by hand: given, or found from where their `$name` stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from hptune.base.errors import Problem, unknown
from hptune.experiment.experiment import Experiment
from hptune.experiment.sections import Guided
from hptune.experiment.space.references import Ref
from hptune.experiment.space.space import ChoiceDomain, Domain

Role: TypeAlias = Literal["learning_rate", "batch_size", "schedule", "ramp_epoch"]


def roles(experiment: Experiment) -> dict[Role, str]:
    """Role -> parameter, for the roles that a parameter plays."""
    options = experiment.strategy
    assert isinstance(options, Guided), "only guided has roles"
    training, schedule = experiment.training, experiment.schedule
    stands: dict[Role, Any] = {
        "learning_rate": training.optimizer.learning_rate,
        "batch_size": training.batch_size,
        "schedule": schedule.name,
        "ramp_epoch": schedule.epoch,
    }
    cast: dict[Role, str] = {}
    for role, value in stands.items():
        named = getattr(options, role)
        if named is not None:
            cast[role] = named
        elif isinstance(value, Ref):
            cast[role] = value.name
    return cast


def miscast(experiment: Experiment, domains: Mapping[str, Domain]) -> Iterator[Problem]:
    """What is wrong with the roles, given the whole space."""
    cast = roles(experiment)
    for role, name in cast.items():
        domain = domains.get(name)
        if domain is None:
            yield Problem(f"{unknown('parameter', name, domains)} Name one of the search space.", ("strategy", role))
        elif role == "schedule" and not isinstance(domain, ChoiceDomain):
            message = (
                f"{name} must be a choice of schedules such as [constant, cosine, ramp], and is {domain}. Make it one."
            )
            yield Problem(message, ("search_space", name))
        elif role != "schedule" and not _positive(domain):
            yield Problem(
                f"{name} must be numbers above 0 for guided to turn it as {role}, and is {domain}. Raise its min.",
                ("search_space", name),
            )
        elif role == "batch_size" and domain.values() is None:
            yield Problem(
                f"{name} must be whole numbers for guided, and is {domain}. Make it an int.", ("search_space", name)
            )
    if not cast.keys() - {"ramp_epoch"}:
        places = "training.optimizer.learning_rate, training.batch_size or schedule.name"
        message = f"guided found no parameter to turn. Write $name at {places}"
        yield Problem(f"{message}, or name it: {{name: guided, learning_rate: my_rate}}.", ("strategy", "name"))


def _positive(domain: Domain) -> bool:
    values = domain.values()
    if values is None:
        return not isinstance(domain, ChoiceDomain) and domain.min > 0
    return all(
        isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in (values[0], values[-1], *values[:50])
    )
