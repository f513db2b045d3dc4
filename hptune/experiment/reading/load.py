"""Loads an experiment from its YAML file; reports every problem at once, each with its line and column.

Also the experiment as JSON data and back, as the journal's head holds it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hptune.base.errors import Problem, SpecError, unknown
from hptune.experiment.base import Spec
from hptune.experiment.checks.search import idle_workers
from hptune.experiment.checks.sklearn_model import OF_KERAS
from hptune.experiment.checks.space import remarks
from hptune.experiment.experiment import Experiment
from hptune.experiment.reading.assemble import assemble
from hptune.experiment.reading.marks import Document, Spot, read
from hptune.experiment.reading.overrides import Overrides
from hptune.experiment.space.references import bind, spell
from hptune.experiment.thresholds import halves_of_logits

MOST_BYTES = 1_000_000
"""An experiment is a page or two; a larger file is something else."""


@dataclass(frozen=True, slots=True)
class LoadedExperiment:
    """An experiment and the file it came from.

    text: the YAML as given. folder: what relative paths in it are relative to.
    """

    experiment: Experiment
    source: Path
    text: str
    _places: _Places

    @property
    def folder(self) -> Path:
        """The folder of the YAML file."""
        return self.source.parent

    @property
    def remarks(self) -> list[str]:
        """What is not wrong and may not be meant, each with its place."""
        problems = [
            *remarks(self.experiment.search_space),
            *idle_workers(self.experiment),
            *halves_of_logits(self.experiment),
        ]
        return [str(self.locate(problem)) for problem in problems]

    def locate(self, problem: Problem) -> Problem:
        """`problem` with its place filled in from its key path: the deepest part of the path that the file holds."""
        return self._places.locate(problem)


@dataclass(frozen=True, slots=True)
class _Places:
    source: str
    document: Document
    overrides: Overrides

    def spot(self, problem: Problem) -> Spot:
        return self.document.spot(problem.path, on_key=problem.on_key)

    def locate(self, problem: Problem) -> Problem:
        if problem.place is not None:
            return problem
        line, column = self.spot(problem)
        return replace(problem, place=self.overrides.place(problem.path) or f"{self.source}:{line}:{column}")


def load(path: Path, overrides: Sequence[str] = ()) -> LoadedExperiment:
    """The experiment in the YAML file at `path`.

    overrides: `path.to.key=value`, the value read as YAML; missing sections are made, `enqueue.0.units` is a place in
    a list. Raises `SpecError` with every problem found, in the order of the lines.
    """
    text = _text(path)
    document = read(text)
    edits = Overrides()
    places = _Places(str(path), document, edits)
    if document.data is None and document.problems:
        raise _error(places, [], document)
    tree = document.data
    problems: list[Problem] = []
    for override in overrides:
        tree = edits.apply(tree, override, problems)
    tree = _named(tree, path, problems)
    experiment, wrong = assemble(tree)
    problems += wrong
    if problems or document.problems or experiment is None:
        raise _error(places, problems, document)
    return LoadedExperiment(experiment, path, text, places)


def _error(places: _Places, problems: list[Problem], document: Document) -> SpecError:
    """All problems, those of the file in the order of their lines; what follows from a fault in the YAML left out."""
    faulty = {problem.path for problem, _ in document.problems}
    spotted = [(spot, replace(p, place=f"{places.source}:{spot[0]}:{spot[1]}")) for p, spot in document.problems]
    spotted += [(places.spot(p), places.locate(p)) for p in problems if p.path not in faulty]
    return SpecError(*(problem for _, problem in sorted(spotted, key=lambda pair: pair[0])))


def _text(path: Path) -> str:
    place = str(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        near = unknown("file", path.name, sorted(p.name for p in _beside(path)), show=0)
        message = f"there is no such file{near.removeprefix(f'unknown file {path.name!r}')}"
        raise SpecError(
            Problem(f"{message.rstrip('.')}. `hptune init` writes one to begin with.", place=place)
        ) from None
    except IsADirectoryError:
        raise SpecError(Problem("is a folder. Give the YAML file in it.", place=place)) from None
    except OSError as error:
        raise SpecError(
            Problem(f"can't be read: {error.strerror}. Check the path and its permissions.", place=place)
        ) from None
    if len(raw) > MOST_BYTES:
        message = f"holds {len(raw):,} bytes; an experiment has at most {MOST_BYTES:,}. Is it another file?"
        raise SpecError(Problem(message, place=place))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        message = f"is not UTF-8: byte 0x{raw[error.start]:02x}. Save the file as UTF-8."
        raise SpecError(Problem(message, place=f"{place}:{line}:{column}")) from None


def _beside(path: Path) -> list[Path]:
    folder = path.parent
    return [p for pattern in ("*.yaml", "*.yml") for p in folder.glob(pattern)] if folder.is_dir() else []


def _named(tree: Any, path: Path, problems: list[Problem]) -> Any:
    """`tree` with the run's name, from the file's name where it was left out."""
    if not isinstance(tree, dict) or tree.get("name") is not None:
        return tree
    fitted = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-")[:64]
    if not fitted:
        message = f"is required: none can be made of the file's name ({path.name}). Add name: my-experiment."
        problems.append(Problem(message, ("name",)))
        fitted = "unnamed"  # only so that the other checks see a whole experiment; the problem above ends it
    return {**tree, "name": fitted}


# --- the experiment as JSON data ------------------------------------------------------------------------------------


def to_json(experiment: Experiment) -> dict[str, Any]:
    """The experiment as JSON data, every default filled in; `from_json` gives the same experiment back."""
    data: dict[str, Any] = spell(_plain(experiment))
    if experiment.model.declares:
        # What a builder compiled stands unless the YAML names its own, so what was left out must stay left out.
        training = data["training"]
        for key in ("optimizer", "loss", "metrics"):
            if key not in experiment.training.model_fields_set:
                del training[key]
    if experiment.model.epochs is False:
        for key in OF_KERAS:
            del data[key]
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        fields = {field.alias or name: _plain(getattr(value, name)) for name, field in type(value).model_fields.items()}
        return {**fields, **{key: _plain(item) for key, item in (value.model_extra or {}).items()}}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def from_json(data: dict[str, Any]) -> Experiment:
    """The experiment that `to_json` wrote. Raises `SpecError` where another version wrote something else."""
    problems: list[Problem] = []
    try:
        experiment = Experiment.model_validate(bind(data, problems))
    except ValueError as error:
        raise SpecError(Problem(f"not an experiment of this version of hptune: {error}")) from error
    if problems:
        raise SpecError(*problems)
    return experiment
