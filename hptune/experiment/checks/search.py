"""Checks what the search needs: the sections that must be there, `$name` against the search space, the strategy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from hptune.base.errors import Problem, SpecError, unknown
from hptune.experiment.checks.keras_names import Scope
from hptune.experiment.checks.recipe import section
from hptune.experiment.experiment import Experiment
from hptune.experiment.model import MODEL_KINDS, ModelOptions
from hptune.experiment.sections import STRATEGIES, StrategyOptions, strategy_options
from hptune.experiment.space.references import Ref, uses
from hptune.experiment.space.space import ChoiceDomain, Domain, FloatDomain, beyond_floats
from hptune.experiment.training import Training

SEARCHABLE = ("model", "training", "initialization", "schedule", "data")
"""The sections in which a `$name` may stand."""

HALVING = tuple(name for name, options in STRATEGIES.items() if options.halves)
"""The strategies that train trials in part, up to one number of epochs for all."""

LEARNING = tuple(name for name, options in STRATEGIES.items() if options.learns)
"""The strategies that learn from the trials of earlier runs too; of those that halve, their samplers."""

SEVERAL = tuple(name for name, options in STRATEGIES.items() if options.several)
"""The strategies that serve several objectives."""


def kind_of_model(raw: Mapping[str, Any]) -> type[ModelOptions] | None:
    """What kind of model it is, or None where that can't be known."""
    model = raw.get("model")
    kinds = [key for key in model if key in MODEL_KINDS] if isinstance(model, dict) else []
    return MODEL_KINDS[kinds[0]] if len(kinds) == 1 else None


def declares_its_space(raw: Mapping[str, Any]) -> bool:
    """Whether the model's code may declare parameters beside those of the YAML."""
    kind = kind_of_model(raw)
    return kind is None or kind.declares


def required_sections(raw: Mapping[str, Any], misspelt: Collection[str]) -> Iterator[Problem]:
    """The sections that this kind of model needs; `misspelt` ones stand under another name, which is reported."""
    kind = kind_of_model(raw) or ModelOptions
    if kind.takes_data and raw.get("data") is None and "data" not in misspelt:
        yield Problem("is required and was not given. Add data: {source: digits}, or npz: or csv:.", ("data",))
    if not kind.takes_data and raw.get("data") is not None:
        yield Problem(f"{kind.called} brings its own data. Drop this section.", ("data",), on_key=True)
    if not kind.takes_data:
        yield from _of_no_effect(raw, kind.called)
    if not kind.takes_data and raw.get("objective") is None and "objective" not in misspelt:
        message = f"is required for {kind.called}. Add objective: {{metric: score, goal: minimize}} (or maximize)."
        yield Problem(message, ("objective",))
    if not kind.declares and not raw.get("search_space") and "search_space" not in misspelt:
        yield Problem(
            "is required and was not given. Add search_space: with at least one parameter.", ("search_space",)
        )


def _of_no_effect(raw: Mapping[str, Any], called: str) -> Iterator[Problem]:
    """What a model that brings its own data has no use for: it trains as it likes, and may take the `epoch`."""
    training = raw.get("training")
    keys = [("training", key) for key in training if key != "epochs"] if isinstance(training, Mapping) else []
    for path in [*keys, *((key,) for key in ("schedule", "initialization") if raw.get(key))]:
        yield Problem(f"has no effect on {called}, which trains as it likes. Drop it.", path, on_key=True)


def idle_workers(experiment: Experiment) -> list[Problem]:
    """A remark where a strategy that learns leaves some of the workers that were asked for without work."""
    execution, name = experiment.execution, experiment.strategy.name
    asked = execution.workers
    if asked == "auto" or asked <= execution.parallel or execution.order == "free" or experiment.strategy.fixed:
        return []
    message = f"{name} has {execution.parallel} trials under way at a time, so that {asked - execution.parallel} of"
    message = f"{message} {asked} workers stay idle. Say execution.parallel: {asked}, or order: free"
    return [Problem(f"{message} (the trials are then others).", ("execution", "workers"))]


# --- references ---------------------------------------------------------------------------------------------------


def misplaced(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Every `$name` in a section that takes none."""
    for use in uses(dict(raw)):
        if use.path[0] not in SEARCHABLE:
            reason = f"${use.name} can't stand here, only under {', '.join(SEARCHABLE)}. Write a plain value"
            yield Problem(f"{reason}, or $${use.name} if the dollar sign is meant.", use.path)
        elif use.path[:2] == ("initialization", "stabilize"):
            reason = f"${use.name} can't stand here: stabilised weights depend on the architecture alone"
            yield Problem(f"{reason}, so that all its trials share them. Write a plain value.", use.path)


def references(raw: Mapping[str, Any], scope: Scope) -> Iterator[Problem]:
    """Every `$name` is declared, a conditional one is the value of a key, and every declared name is used."""
    space = raw.get("search_space")
    declared = list(space) if isinstance(space, dict) else []
    used: set[str] = set()
    for use in uses({key: raw.get(key) for key in SEARCHABLE}):
        used.add(use.name)
        if (
            declared and use.name not in declared and not declares_its_space(raw)
        ):  # else: no space at all, reported once
            yield Problem(_undeclared(use.name, declared), use.path)
        elif use.name in scope.domains and not use.of_key and not scope.always(Ref(use.name)):
            reason = f"${use.name} is active only under its condition, so it may stand only as the value of a key"
            yield Problem(f"{reason}. Take its when: away, or give it a key of its own.", use.path)
    kind = kind_of_model(raw)
    if kind is None or kind.declares or not kind.takes_data:  # code receives every name
        return
    used |= {parent for name in declared for parent in section(raw, "search_space", name, "when")}
    for name in declared:
        if name not in used:
            reason = f"{name} is declared and never used. Write ${name} where its value belongs, or drop it."
            yield Problem(reason, ("search_space", name), on_key=True)


def _undeclared(name: str, declared: list[str]) -> str:
    return f"{unknown('parameter', name, declared)} Declare it in search_space, or correct the name."


# --- strategy -----------------------------------------------------------------------------------------------------


def strategy(raw: Mapping[str, Any], parsed: Mapping[str, Any]) -> Iterator[Problem]:
    """Check the strategy against the training, the schedule, the objectives, the warm start and the search space.

    parsed: the sections parsed so far; `search_space` has the domains by name.
    """
    options = section(raw, "strategy")
    name, max_epochs = options.get("name", "tpe"), options.get("max_epochs")
    epochs = section(raw, "training").get("epochs", Training().epochs)
    if name in HALVING and isinstance(epochs, Ref) and max_epochs is None:
        reason = f"{name} needs one number of epochs, and {epochs} changes from trial to trial"
        yield Problem(f"{reason}. Give strategy.max_epochs, or a number here.", ("training", "epochs"))
    schedule = section(raw, "schedule")
    scheduled = schedule.get("name", "constant") != "constant" or schedule.get("python") is not None
    numbers = isinstance(epochs, int | float) and isinstance(max_epochs, int | float)
    if name in HALVING and scheduled and numbers and max_epochs > epochs:
        reason = f"must be at most training.epochs ({epochs}), which the schedule is laid over, got {max_epochs}"
        yield Problem(f"{reason}. Raise training.epochs, or lower it.", ("strategy", "max_epochs"))
    first, last = options.get("min_epochs", 1), epochs if max_epochs is None else max_epochs
    if name == "asha" and isinstance(first, int | float) and isinstance(last, int | float) and first > last:
        reason = f"must be at most the epochs of the last rung ({last}), got {first}"
        yield Problem(f"{reason}. Lower it, or raise max_epochs or training.epochs.", ("strategy", "min_epochs"))
    yield from _several_objectives(raw, name)
    yield from _warm_start(raw, name)
    # What code declares beside the YAML may bring numbers, and a grid must be listed either way.
    if name == "grid" or not declares_its_space(raw):
        yield from unserved(name, parsed["search_space"])


def _options(name: Any) -> type[StrategyOptions] | None:
    """The options of the strategy of that name; None where there is none."""
    try:
        return strategy_options(name)
    except SpecError:  # reported already
        return None


def _several_objectives(raw: Mapping[str, Any], name: str) -> Iterator[Problem]:
    """What goes by one score, where the objectives are several."""
    if not isinstance(raw.get("objective"), list):
        return
    options = _options(name)
    if options is not None and not options.several:
        reason = f"{name} optimises one objective, and {len(raw['objective'])} are given. Use {' or '.join(SEVERAL)}"
        yield Problem(
            f"{reason}, or give one objective.", ("strategy", "name") if "strategy" in raw else ("objective",)
        )
    for path in (("budget", "target"), ("budget", "patience"), ("evaluation", "finalists")):
        if section(raw, *path[:-1]).get(path[-1]) is not None:
            reason = "goes by the best trial, and with several objectives there is none, but a Pareto front"
            yield Problem(f"{reason}. Drop it, or give one objective.", path, on_key=True)


def _warm_start(raw: Mapping[str, Any], name: str) -> Iterator[Problem]:
    """Check that the strategy learns from trials at all."""
    sampler = section(raw, "strategy").get("sampler", "random")
    source = sampler.get("name") if isinstance(sampler, dict) else sampler
    options = _options(source if name in HALVING else name)
    if raw.get("warm_start") and not (options is not None and options.learns):
        learner = f"{name} with the sampler {source}" if name in HALVING else name
        remedy = f"Use {', '.join(LEARNING)} or a sampler: tpe, or drop this"
        yield Problem(f"{learner} learns nothing from earlier trials. {remedy}.", ("warm_start",), on_key=True)


def unserved(name: str, domains: Mapping[str, Domain]) -> Iterator[Problem]:
    """What keeps the strategy called `name` from serving a space of these domains."""
    for parameter, domain in domains.items():
        if (beyond := beyond_floats(domain)) is not None:
            yield Problem(beyond, ("search_space", parameter))
    if name == "grid":
        for parameter, domain in domains.items():
            if domain.values() is None:
                yield Problem(_continuous(parameter, domain), ("search_space", parameter))
    if name == "bayes_opt" and find_spec("bayes_opt") is None:
        reason = "bayes_opt needs the package bayesian-optimization, which is not installed"
        yield Problem(f"{reason}. Run: pip install 'hptune[bayes-opt]'.", ("strategy", "name"))
    if name == "cmaes" and domains and not any(map(_is_number, domains.values())):
        reason = "cmaes needs a parameter that is a number, and the search space has choices without an order alone"
        yield Problem(f"{reason}. Use tpe or random, or give one type: float or int.", ("strategy", "name"))


def _is_number(domain: Domain) -> bool:
    values = domain.values()
    if values is not None and len(values) < 2:
        return False
    return not isinstance(domain, ChoiceDomain) or domain.ordered


def _continuous(name: str, domain: Domain) -> str:
    """Why grid can't try it, with five values of it that can be pasted."""
    assert isinstance(domain, FloatDomain), "whole numbers and choices are listed"
    listed = ", ".join(f"{domain.from_unit(i / 4):.3g}" for i in range(5))
    reason = f"grid tries every value, and {name} is continuous ({domain})"
    step = "" if domain.log else f"Give it a step (step: {(domain.max - domain.min) / 10:.3g} makes 11 values), or "
    return f"{reason}. {step}{'list' if step else 'List'} its values: {{type: choice, values: [{listed}]}} makes 5."
