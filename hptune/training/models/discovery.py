"""The search space that a model's code declares: found by building, before the first trial.

What is found is joined with the YAML's space. A condition (`when`) is added only where the builds show it; in doubt
there is none: a parameter that is active and never asked for costs little, but one that is asked for and has no value
makes a wrong model (`hypermodel.check_whole` fails its trial).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from hptune.base.errors import HptuneError, SegmentFailed, SpecError, spec_error
from hptune.base.seeds import derive
from hptune.base.trial import Value, Values
from hptune.experiment.reading.problems import show, validate
from hptune.experiment.space.conditions import key
from hptune.experiment.space.space import (
    DOMAINS,
    ChoiceDomain,
    Domain,
    FloatDomain,
    IntDomain,
    beyond_floats,
    point_key,
)
from hptune.training.models.hypermodel import Builder, as_yaml, flow
from hptune.training.reasons import is_fatal, reason
from hptune.training.trainers.points import within_reach

MOST_BUILDS = 200
"""Where a model's code keeps asking for something new, discovery ends after this many builds."""

MOST_VALUES = 64
"""An Int of more values is a size: only its two ends are tried, and no condition names its values."""

COMBINATIONS = 6
"""Builds in which parameters are changed together: code may ask under two conditions at once."""

ANYWHERE = 8
"""Builds at random points where no other build has succeeded."""

Ask: TypeAlias = Callable[[Any, Any], None]


@dataclass(frozen=True, slots=True)
class Explored:
    """space: name -> the domain as the YAML would spell it. built: settings that made a model, in the order tried."""

    space: dict[str, dict[str, Any]]
    built: Sequence[Values] = ()


def discover(builder: Builder, declared: Mapping[str, Domain], ask: Ask | None = None) -> dict[str, dict[str, Any]]:
    """The space that `explore` finds, alone."""
    return explore(builder, declared, ask).space


def explore(
    builder: Builder, declared: Mapping[str, Domain], ask: Ask | None = None, *, folder: Path | None = None
) -> Explored:
    """The parameters that the builder asks for and the YAML does not declare.

    Builds with the defaults, then with every Boolean and choice flipped and every Int at both ends (at each of its few
    values, where something came or went between the ends), until nothing new appears; then with all Floats at their
    ends, and with parameters changed together. A name that is asked for only under some values of another parameter
    gets the condition (`when`) that was seen. A builder without branches is built once.

    A build that fails shows what it had asked for until then, and nothing about conditions. ask: called after each
    build as `ask(hp, model)`, for code that asks for more later on. folder: the YAML file's, for places in messages.
    Raises SpecError where nothing that was tried builds. KerasTuner's FatalError passes through for the defaults, which
    KerasTuner builds first too; elsewhere it is left to the trial that meets it.
    """
    exploration = _Exploration(builder, declared, ask=ask, folder=folder)
    exploration.run()
    return exploration.result()


@dataclass(frozen=True, slots=True, eq=False)
class _Build:
    """One build: its setting, and the names that the code asked for.

    origin: the build that it differs from in one parameter, `turned`. failure: why it made no model.
    """

    setting: Values
    asked: frozenset[str]
    origin: _Build | None
    turned: str | None
    failure: str | None


class _Exploration:
    """One search for parameters; the domains it knows are the YAML's, then those asked for, in that order."""

    def __init__(
        self, builder: Builder, declared: Mapping[str, Domain], *, ask: Ask | None, folder: Path | None
    ) -> None:
        self._builder, self._declared, self._ask, self._folder = builder, declared, ask, folder
        self._domains: dict[str, Domain] = dict(declared)
        self._spelled: dict[str, dict[str, Any]] = {}
        self._asked_as: dict[str, dict[str, Any]] = {}
        self._builds: list[_Build] = []
        self._waiting: deque[tuple[Values, _Build | None, str | None]] = deque()

    def run(self) -> None:
        more = self._more()
        self._waiting.append(({name: domain.default_value() for name, domain in self._declared.items()}, None, None))
        while len(self._builds) < MOST_BUILDS:
            if not self._waiting:
                values = next(more, None)
                if values is None:
                    break
                self._waiting.append((values, None, None))
            setting, origin, turned = self._waiting.popleft()
            if not self._tried(setting, origin, turned):
                self._try(setting, origin, turned)

    def result(self) -> Explored:
        built = [{n: b.setting[n] for n in b.setting if n in b.asked} for b in self._good]
        if not built:
            first = self._builds[0]
            values = ", ".join(f"{name}={show(value)}" for name, value in first.setting.items())
            problem = f"no model is built by any of the {len(self._builds)} settings that were tried"
            failure = str(first.failure).rstrip(".") + (f" (with {values})" if values else "")
            remedy = "Fix the code, or narrow the search space"
            raise spec_error(f"{problem}. The first: {failure}. {remedy}.", *self._builder.path)
        return Explored({name: {**d, **self._condition(name)} for name, d in self._spelled.items()}, built)

    def _tried(self, setting: Values, origin: _Build | None, turned: str | None) -> bool:
        if turned is not None:
            return any(key(build.setting[turned]) == key(setting[turned]) for build in self._row(origin, turned))
        return any(point_key(build.setting) == point_key(setting) for build in self._builds)

    @property
    def _good(self) -> list[_Build]:
        return [build for build in self._builds if build.failure is None]

    # --- what to build ------------------------------------------------------------------------------------------

    def _more(self) -> Iterator[Values]:
        """Settings to try once no parameter by itself brings anything new."""
        known = -1
        while self._builder.branches and len(self._domains) > known:
            known = len(self._domains)
            yield from self._floats_at_ends()
            yield from self._combined()
        rng = Random(derive(0, "anywhere"))
        for _ in range(ANYWHERE if self._domains else 0):
            if not self._good:
                yield {name: within_reach(domain).from_unit(rng.random()) for name, domain in self._domains.items()}

    def _floats_at_ends(self) -> list[Values]:
        """All Floats at one end together, then at the other: no condition can name a Float, so none is tried alone."""
        floats = {name: domain for name, domain in self._domains.items() if isinstance(domain, FloatDomain)}
        base = self._base()
        ends = [{name: domain.from_unit(u) for name, domain in floats.items()} for u in (0.0, 1.0)]
        return [{**base, **end} for end in ends if any(base[name] != value for name, value in end.items())]

    def _combined(self) -> list[Values]:
        """Parameters that may decide on branches, changed together: all away from where they were, then at random."""
        turning = {name: domain for name, domain in self._domains.items() if not _is_size(domain)}
        base, rng = self._base(), Random(derive(0, "combined"))
        if len(turning) < 2:
            return []
        away = {
            name: next((v for v in _far(d) if key(v) != key(base[name])), base[name]) for name, d in turning.items()
        }
        drawn = [
            {name: domain.from_unit(rng.random()) for name, domain in turning.items()} for _ in range(COMBINATIONS - 1)
        ]
        return [{**base, **setting} for setting in (away, *drawn)]

    def _base(self) -> dict[str, Value]:
        """A value for every known parameter: of the first setting that built, else the default."""
        first = next(iter(self._good), self._builds[0])
        return {name: first.setting.get(name, domain.default_value()) for name, domain in self._domains.items()}

    def _row(self, origin: _Build | None, turned: str | None) -> list[_Build]:
        """The builds that differ from `origin` in one parameter."""
        return [b for b in self._builds if origin is not None and b.origin is origin and b.turned == turned]

    # --- a build ------------------------------------------------------------------------------------------------

    def _try(self, setting: Values, origin: _Build | None, turned: str | None) -> None:
        first_good = not self._good
        hp = self._builder.asking(setting)
        failure = self._failure(hp)
        asked = {p.name: p for p in hp.space if hp.is_active(p) and type(p).__name__ != "Fixed"}
        whole = {**setting, **{name: hp.values[name] for name in asked}}
        build = _Build(whole, frozenset(asked) | frozenset(self._declared), origin, turned, failure)
        self._builds.append(build)
        self._check_alike(hp)
        new = [name for name in asked if name not in self._domains]
        for name in new:
            self._spelled[name] = as_yaml(asked[name])
            self._domains[name] = self._checked(name, self._spelled[name])
        if not self._builder.branches:
            return
        every = len(self._builds) == 1 or (
            first_good and failure is None
        )  # the first build that succeeds is varied too
        for name in [n for n in self._domains if n in build.asked] if every else new:
            self._turn(build, name, _ends(self._domains[name]))
        if origin is None and new and not every:  # several changed at once: which of them brought it?
            base = self._base()
            for name in [n for n in self._domains if n in build.asked and _is_countable(self._domains[n])]:
                self._turn(build, name, [base[name]])
        if turned is not None and origin is not None and self._matters(origin, turned):
            self._turn(origin, turned, list(self._domains[turned].values() or ()))

    def _failure(self, hp: Any) -> str | None:
        """Build a model; why there is none, or None."""
        try:
            model = self._builder.build_with(hp)
            if self._ask is not None:
                self._ask(hp, model)
        except SegmentFailed as error:
            return str(error)
        except HptuneError:
            raise
        except (Exception, SystemExit) as error:  # users' code raises anything
            if is_fatal(error) and not self._builds:
                raise
            return reason(error, self._folder)
        return None

    def _check_alike(self, hp: Any) -> None:
        """Check that each name stands for one domain. Raises SpecError where the code asks for it with several."""
        for parameter in hp.space:
            name = parameter.name
            spelled = as_yaml(parameter) if name not in self._declared and type(parameter).__name__ != "Fixed" else None
            known = spelled and self._asked_as.setdefault(name, spelled)
            if known and {**known, "default": None} != {**(spelled or {}), "default": None}:
                problem = f"the code asks for {name} as {flow(known)} and elsewhere as {flow(spelled)}"
                remedy = f"Give each a name of its own, or declare {name} in the YAML, which then holds everywhere"
                raise spec_error(
                    f"{problem}, and a name can stand for one of them only. {remedy}.", *self._builder.path
                )

    def _checked(self, name: str, spelled: Mapping[str, Any]) -> Domain:
        domain, problems = validate(DOMAINS[spelled["type"]], spelled, ("search_space", name))
        if domain is None:
            wrong = "; ".join(str(problem).removeprefix(f"search_space.{name}").lstrip(".: ") for problem in problems)
            raise self._unsearchable(name, wrong)
        checked: Domain = domain  # type: ignore[assignment]  # the classes of DOMAINS are the members of Domain
        if (beyond := beyond_floats(checked)) is not None:
            raise self._unsearchable(name, beyond)
        return checked

    def _unsearchable(self, name: str, wrong: str) -> SpecError:
        return spec_error(f"what the code asks for as {name} can't be searched: {wrong}", *self._builder.path)

    def _turn(self, origin: _Build, name: str, values: Sequence[Value]) -> None:
        current = key(origin.setting[name])
        self._waiting += [({**origin.setting, name: v}, origin, name) for v in values if key(v) != current]

    # --- conditions ---------------------------------------------------------------------------------------------

    def _matters(self, origin: _Build, turned: str) -> bool:
        """Whether a parameter of few values, changed by itself, made another come or go."""
        if not _is_countable(self._domains[turned]):
            return False
        return len({b.asked for b in [origin, *self._row(origin, turned)] if b.failure is None}) > 1

    def _condition(self, name: str) -> dict[str, Any]:
        """{"when": …}: each parameter whose change alone made the name come or go, as every build agrees; else {}."""
        asking = [build for build in self._builds if name in build.asked]
        when: dict[str, list[Value]] = {}
        for parent, domain in self._domains.items():
            if parent == name:  # a condition names what was asked for before
                break
            values = domain.values()
            if not _is_countable(domain) or values is None or not all(parent in build.asked for build in asking):
                continue
            without = {key(value) for row in self._rows(parent) for value in _missing(name, parent, row)}
            allowed = [v for v in values if key(v) not in without or any(_has(b, parent, v) for b in asking)]
            if len(allowed) < len(values):
                when[parent] = allowed
        return {"when": when} if when else {}

    def _rows(self, parent: str) -> Iterator[list[_Build]]:
        """Groups of builds that differ in this parameter alone, and made models."""
        origins = {id(b.origin): b.origin for b in self._builds if b.turned == parent and b.origin is not None}
        for origin in origins.values():
            yield [b for b in [origin, *self._row(origin, parent)] if b.failure is None]


def _missing(name: str, parent: str, row: Sequence[_Build]) -> list[Value]:
    """The values of `parent` under which `name` was not asked for, where it was asked for under others."""
    without = [build.setting[parent] for build in row if name not in build.asked]
    return without if len(without) < len(row) else []


def _has(build: _Build, name: str, value: Value) -> bool:
    return key(build.setting[name]) == key(value)


def _is_size(domain: Domain) -> bool:
    """Whether it is a whole number of many values."""
    return isinstance(domain, IntDomain) and not _is_countable(domain)


def _is_countable(domain: Domain) -> bool:
    """Whether it has few enough values to try each, so that a condition can name some of them."""
    values = domain.values()
    return isinstance(domain, ChoiceDomain) or (values is not None and len(values) <= MOST_VALUES)


def _far(domain: Domain) -> list[Value]:
    """Its ends, the last first."""
    return [domain.from_unit(1.0), domain.from_unit(0.0)]


def _ends(domain: Domain) -> list[Value]:
    """Every choice; both ends of an Int, within reach; none of a Float, as Floats are changed together."""
    if isinstance(domain, ChoiceDomain):
        return list(domain.values())
    if isinstance(domain, FloatDomain):
        return []
    near = within_reach(domain)
    return [near.from_unit(0.0), near.from_unit(1.0)]
