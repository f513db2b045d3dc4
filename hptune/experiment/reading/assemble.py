"""Turns the tree that the user wrote into an Experiment, or into everything that is wrong with it.

Each section is read by itself, so that a fault in one hides nothing in another; then the checks run that look across
sections, over what could be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hptune.base.errors import Problem, SpecError, nearest, unknown
from hptune.base.rows import load_row
from hptune.experiment.base import Spec
from hptune.experiment.checks import built as check_built
from hptune.experiment.checks import evaluation as check_evaluation
from hptune.experiment.checks import recipe as check_recipe
from hptune.experiment.checks import schedule as check_schedule
from hptune.experiment.checks import search as check_search
from hptune.experiment.checks.keras_names import Scope
from hptune.experiment.checks.space import domains, examples, point
from hptune.experiment.data import DATA_KINDS
from hptune.experiment.estimators import with_folds
from hptune.experiment.execution import Execution
from hptune.experiment.experiment import Experiment, ExperimentHeader
from hptune.experiment.model import MODEL_KINDS
from hptune.experiment.objective import Objective
from hptune.experiment.presets import expand
from hptune.experiment.reading.problems import ALIASES, show, unknown_key, validate
from hptune.experiment.sections import (
    STRATEGIES,
    Budget,
    Checkpoints,
    Evaluation,
    Guided,
    strategy_names,
    strategy_options,
    tracker_names,
)
from hptune.experiment.space.conditions import Conditions
from hptune.experiment.space.references import bind
from hptune.experiment.space.roles import miscast
from hptune.experiment.training import Initialization, Schedule, Training

_PLAIN_SECTIONS: dict[str, type[Spec]] = {
    "training": Training,
    "initialization": Initialization,
    "schedule": Schedule,
    "budget": Budget,
    "evaluation": Evaluation,
    "execution": Execution,
    "checkpoints": Checkpoints,
}


def assemble(tree: Any) -> tuple[Experiment | None, list[Problem]]:
    """The experiment that `tree` (plain data as YAML holds it) describes, or None and what is wrong, in any order."""
    if not isinstance(tree, dict):
        got = "an empty file" if tree is None else show(tree)
        needs = "must be a mapping with at least version, data, model and search_space"
        return None, [Problem(f"{needs}, got {got}. `hptune init` writes one to begin with.")]
    problems: list[Problem] = []
    raw: dict[str, Any] = expand(bind(tree, problems), problems)
    sections = _sections(raw, problems)
    if problems:
        return None, _without_echoes(problems)
    experiment = with_folds(Experiment.model_construct(**sections))  # each section was validated by itself
    if isinstance(experiment.strategy, Guided) and not check_search.declares_its_space(raw):
        problems += miscast(experiment, experiment.search_space)
    return (experiment if not problems else None), problems


def _sections(raw: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Every section that is right, by its key; what is wrong goes to `problems`."""
    for key in raw:
        if key not in Experiment.model_fields:
            problems.append(unknown_key(key, Experiment.model_fields, (key,)))
    problems += check_search.misplaced(raw)
    head, wrong = validate(ExperimentHeader, {k: v for k, v in raw.items() if k in ExperimentHeader.model_fields}, ())
    problems += wrong
    sections: dict[str, Any] = head.model_dump() if head is not None else {}
    sections["search_space"] = domains(
        raw.get("search_space", {}), problems, any_name=check_search.declares_its_space(raw)
    )
    values = {name: examples(domain) for name, domain in sections["search_space"].items()}

    sections["model"] = _kind(raw, "model", kinds=MODEL_KINDS, values=values, problems=problems)
    if raw.get("data") is not None:
        sections["data"] = _kind(raw, "data", kinds=DATA_KINDS, values=values, problems=problems)
    for key, cls in _PLAIN_SECTIONS.items():
        if key in raw:
            sections[key] = _read(cls, raw[key], key, values=values, problems=problems)
    if raw.get("objective") is not None:
        sections["objective"] = _objective(raw["objective"], problems)
    if "strategy" in raw:
        sections["strategy"] = _strategy(raw["strategy"], problems)
    if raw.get("track") is not None:
        sections["track"] = _track(raw["track"], problems)
    if raw.get("warm_start") is not None:
        sections["warm_start"] = _run_names(raw["warm_start"], sections.get("name"), problems)
    _points(raw, sections, problems)
    problems += _across(raw, sections)
    return sections


def _track(raw: Any, problems: list[Problem]) -> dict[str, Any]:
    """Trackers by their names, each true, false or a section of its options."""
    if not isinstance(raw, dict):
        problems.append(Problem(f"must be a section such as {{csv: true}}, got {show(raw)}.", ("track",)))
        return {}
    known = tracker_names()
    for name, options in raw.items():
        if name not in known:
            problems.append(unknown_key(name, known, ("track", name)))
        elif not isinstance(options, bool | dict):
            problems.append(Problem(f"must be true, false or its options, got {show(options)}.", ("track", name)))
    return raw


def _read(
    cls: type[Spec], raw: Any, key: str, *, values: Mapping[str, list[Any]], problems: list[Problem]
) -> Spec | None:
    section, wrong = validate(cls, raw, (key,), values)
    problems += wrong
    return section


def _kind(
    raw: Mapping[str, Any],
    section: str,
    *,
    kinds: Mapping[str, type[Spec]],
    values: Mapping[str, list[Any]],
    problems: list[Problem],
) -> Spec | None:
    """A section whose kind is chosen by which key it holds."""
    written = raw.get(section)
    choose = f"{', '.join(kinds)}"
    if written is None:
        problems.append(Problem(f"is required and was not given. Add {section}: with one of {choose}.", (section,)))
        return None
    if not isinstance(written, dict):
        problems.append(Problem(f"must be a section with one of {choose}, got {show(written)}.", (section,)))
        return None
    chosen = [key for key in written if key in kinds]
    if len(chosen) == 1:
        return _read(kinds[chosen[0]], written, section, values=values, problems=problems)
    if len(chosen) > 1:
        message = f"{' and '.join(chosen)} can't stand together: each names a kind of {section}. Keep one."
        problems.append(Problem(message, (section, chosen[1]), on_key=True))
    else:
        known = set(kinds) | {name for cls in kinds.values() for name in cls.model_fields}
        strange = [key for key in written if key not in known]
        problems += [unknown_key(key, kinds, (section, key)) for key in strange]
        if not strange:
            problems.append(Problem(f"must hold one of {choose}, which says what kind of {section} it is.", (section,)))
    return None


def _objective(raw: Any, problems: list[Problem]) -> Objective | list[Objective] | None:
    if not isinstance(raw, list):
        single, wrong = validate(Objective, raw, ("objective",))
        problems += wrong
        return single
    results = [validate(Objective, entry, ("objective", i)) for i, entry in enumerate(raw)]
    problems += [problem for _, wrong in results for problem in wrong]
    objectives = [objective for objective, _ in results if objective is not None]
    for i, objective in enumerate(objectives):
        if objective.metric in (known.metric for known in objectives[:i]):
            message = f"{objective.metric} stands in the list twice. Drop one of them."
            problems.append(Problem(message, ("objective", i)))
    if len(raw) < 2:
        problems.append(Problem("a list must hold at least two objectives. Give one without a list.", ("objective",)))
    return objectives


def _run_names(raw: Any, own: Any, problems: list[Problem]) -> list[str]:
    """The earlier runs to learn from; whether they are there is seen when the search begins."""
    if not isinstance(raw, list):
        problems.append(
            Problem(f"must be a list of runs, such as [digits, digits-2], got {show(raw)}.", ("warm_start",))
        )
        return []
    for i, name in enumerate(raw):
        if not isinstance(name, str):
            problems.append(Problem(f"must be a run's name, got {show(name)}.", ("warm_start", i)))
        elif name == own:
            message = f"{name} is this run itself. Name an earlier one, or give this search another name:."
            problems.append(Problem(message, ("warm_start", i)))
        elif name in raw[:i]:
            problems.append(Problem(f"{name} stands in the list twice. Drop one of them.", ("warm_start", i)))
    return raw


def _strategy(raw: Any, problems: list[Problem]) -> Spec | None:
    if not isinstance(raw, dict):
        problems.append(Problem(f"must be a section such as {{name: random}}, got {show(raw)}.", ("strategy",)))
        return None
    name = raw.get("name", next(iter(STRATEGIES)))
    try:
        options = strategy_options(name)
    except SpecError as error:
        problems += error.problems
        return None
    if options is None:
        problems.append(Problem(unknown("strategy", name, strategy_names()), ("strategy", "name")))
        return None
    strategy, wrong = validate(options, {**raw, "name": name}, ("strategy",))
    problems += wrong
    return strategy


def _points(raw: Mapping[str, Any], sections: dict[str, Any], problems: list[Problem]) -> None:
    """`enqueue` and `baseline`, once the space is known."""
    declared = set(raw.get("search_space") or {}) if isinstance(raw.get("search_space"), dict) else set()
    closed = not check_search.declares_its_space(raw)
    space = sections["search_space"]
    entries = raw.get("enqueue", [])
    if not isinstance(entries, list):
        problems.append(Problem(f"must be a list of sections, each after '- ', got {show(entries)}.", ("enqueue",)))
        entries = []
    sections["enqueue"] = [
        point(entry, ("enqueue", i), space=space, declared=declared, problems=problems, complete=False, closed=closed)
        for i, entry in enumerate(entries)
    ]
    baseline = raw.get("baseline", {})
    sections["baseline"] = point(
        baseline, ("baseline",), space=space, declared=declared, problems=problems, complete=True, closed=closed
    )


def _across(raw: dict[str, Any], sections: Mapping[str, Any]) -> Iterable[Problem]:
    """The checks that look across sections."""
    scope = Scope(sections["search_space"], Conditions(sections["search_space"]))
    kind = check_search.kind_of_model(raw)
    yield from check_search.references(raw, scope)
    yield from check_search.required_sections(raw, _misspelt(raw))
    yield from check_search.strategy(raw, sections)
    yield from check_evaluation.evaluation(raw)
    if kind is not None and kind.checks:
        yield from load_row("hptune.experiment.checks", kind.checks)(raw, scope)
    if kind is not None and sections.get("model") is not None:
        yield from check_built.built(raw, kind)
    yield from check_recipe.optimizer(raw, scope)
    yield from check_recipe.loss_and_metrics(raw, scope)
    yield from check_recipe.regularization(raw, scope)
    yield from check_recipe.initialization(raw, scope)
    yield from check_recipe.augment(raw)
    yield from check_schedule.schedule(raw, scope)


def _misspelt(raw: Mapping[str, Any]) -> set[str]:
    """The sections that an unknown key was most likely meant to be."""
    strange = [key for key in raw if key not in Experiment.model_fields]
    return {str(ALIASES.get(key) or nearest(key, Experiment.model_fields)) for key in strange}


def _without_echoes(problems: list[Problem]) -> list[Problem]:
    """One problem for each place: the first that was found is the closest to what the user wrote."""
    return list({problem.path: problem for problem in reversed(problems)}.values())[::-1]
