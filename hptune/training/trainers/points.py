"""The points at which a model is tried before the first trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from hptune.base.seeds import derive
from hptune.base.trial import Values
from hptune.experiment.space.space import Domain, IntDomain, Space, point_key

LARGEST = 4096
"""Before the first trial no Int is set above this, or above 16 times its default where that is more."""

BY_CHANCE = 8
"""Random points that are tried where no other has made a model."""


def points(space: Space, *, seed: int, built: Sequence[Values] = ()) -> Iterator[Values]:
    """The defaults, both ends, points built before, and random points: each once, none with huge whole numbers."""
    tried = set()
    for values in _candidates(space, seed, built):
        if point_key(values) not in tried:
            tried.add(point_key(values))
            yield values


def within_reach(domain: Domain) -> Domain:
    """The part of a domain that is tried before the first trial: of an Int up to 10**9 the smaller values."""
    if not isinstance(domain, IntDomain):
        return domain
    most = max(LARGEST, 16 * domain.default_value())
    if domain.max <= most:
        return domain
    values = domain.values()
    return domain.model_copy(update={"max": values[max(0, (most - domain.min) // (domain.step or 1))]})


def _candidates(space: Space, seed: int, built: Sequence[Values]) -> Iterator[Values]:
    near = {name: within_reach(domain) for name, domain in space.domains.items()}
    yield space.defaults()
    for u in (0.0, 1.0):
        yield space.choose(lambda name, _, u=u: near[name].from_unit(u))
    yield from map(space.complete, built)
    for n in range(BY_CHANCE):
        rng = Random(derive(seed, "probe", n))
        yield space.choose(lambda name, _, rng=rng: near[name].from_unit(rng.random()))
