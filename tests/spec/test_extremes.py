"""Every number of the YAML at its extremes: told with its place, or a plan and a search that work; nothing hangs."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
import time
import types
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from hptune import __main__ as program
from hptune.base.errors import SpecError
from hptune.experiment.data import DATA_KINDS
from hptune.experiment.experiment import Experiment
from hptune.experiment.model import MODEL_KINDS
from hptune.experiment.reading.load import load, to_json
from hptune.reports.leaderboard import plain_json
from hptune.reports.plan import plan_data, plan_lines

EXTREMES: list[Any] = [
    0, -1, 10**9, 2**53 + 1, 2**63, 10**400, 5e-324, 1e300, 1e308, -1e308, float("inf"), float("-inf"), float("nan"),
]  # fmt: skip

USUAL = [0, 10**9, 2**63, 10**400, -1e308, float("nan")]
"""Those of every test run."""

SLOWEST_S = 2.0
"""Of this process's time, for one plan or one search of three trials."""

FUNCTION: dict[str, Any] = {
    "version": 1,
    "name": "a",
    "seed": 1,
    "model": {"function": "extreme_scores:f"},
    "objective": {"metric": "score", "goal": "minimize"},
    "search_space": {
        "x": {"type": "float", "min": 0.0, "max": 1.0},
        "y": {"type": "int", "min": 1, "max": 9, "step": 2, "default": 3},
    },
    "budget": {"trials": 3},
    "execution": {"executor": "inline"},
}

STRATEGIES: list[dict[str, Any]] = [
    {"name": "random"},
    {"name": "bayesian", "initial_points": 2, "alpha": 1e-4, "beta": 2.6},
    {"name": "tpe", "initial_points": 2, "candidates": 24},
    {"name": "cmaes", "population": 4},
    {"name": "nsga2", "population": 4, "crossover": 0.9, "mutation": 0.1},
    {"name": "bayes_opt", "initial_points": 2, "iterations": 3, "acquisition": "ucb", "kappa": 2.5},
    {"name": "bayes_opt", "initial_points": 2, "acquisition": "ei", "xi": 0.1},
    {"name": "narrowing", "explore": 2, "exploit": 2, "patience": 2},
    {"name": "hyperband", "max_epochs": 4, "factor": 3, "iterations": 1},
    {"name": "asha", "min_epochs": 1, "max_epochs": 4, "factor": 3, "sampler": {"name": "tpe", "initial_points": 2}},
]

SEARCHES: list[dict[str, Any]] = [
    *({**FUNCTION, "strategy": strategy} for strategy in STRATEGIES),
    {**FUNCTION, "budget": {"trials": 3, "time": 9, "epochs": 9, "target": 0.0, "patience": 3}},
    {**FUNCTION, "evaluation": {"repeats": 2, "finalists": {"top": 1, "repeats": 2}}, "checkpoints": {"keep": 1}},
    {**FUNCTION, "execution": {"executor": "inline", "retries": 1, "trial_timeout": 60, "gpus_per_worker": 1}},
    {**FUNCTION, "execution": {"executor": "inline", "parallel": 2}},
    {**FUNCTION, "training": {"epochs": 2}},
    {**FUNCTION, "enqueue": [{"x": 0.5, "y": 3}], "baseline": {"x": 0.5, "y": 3}},
    *(
        {**FUNCTION, "search_space": {"x": domain}}
        for domain in (
            {"type": "float", "min": 0.001, "max": 1.0, "log": True, "default": 0.1},
            {"type": "float", "min": 0.001, "max": 1.0, "log": "reverse"},
            {"type": "float", "min": 0.0, "max": 1.0, "step": 0.25, "default": 0.5},
            {"type": "int", "min": 1, "max": 100, "log": True},
            {"type": "choice", "values": [1, 2.5, 3], "default": 1},
        )
    ),
]
"""What a function can be searched with: every number in these is tried, and searched with where it is taken."""

LAYERS: dict[str, Any] = {
    **{key: FUNCTION[key] for key in ("version", "name", "seed", "budget")},
    "data": {"source": "digits", "validation": 0.2, "test": 0.2},
    "model": {
        "layers": [{"Conv2D": {"filters": 4, "kernel_size": 3}}, "Flatten", {"Dropout": {"rate": 0.1}}, "Output"]
    },
    "search_space": {"lr": {"type": "float", "min": 1e-4, "max": 0.1, "log": True}},
    "training": {"optimizer": {"name": "adam", "learning_rate": "$lr"}, "epochs": 4, "batch_size": 32},
}

_SCHEDULES: list[dict[str, Any]] = [
    {"name": "constant", "warmup": {"epochs": 1, "start": 0.0}},
    {"name": "linear"},
    {"name": "time_decay", "decay": 0.1},
    {"name": "ramp", "epoch": 2, "factor": 10.0},
    {"name": "piecewise", "epochs": [1, 2], "factors": [0.5, 0.1]},
    {"name": "exponential", "factor": 0.5, "per_epochs": 1.0},
    {"name": "polynomial", "power": 2.0, "end": 0.0},
    {"name": "cosine", "alpha": 0.1},
    {"name": "cosine_restarts", "cycles": 2, "multiply": 2.0, "decay": 0.5, "alpha": 0.1},
    {"name": "one_cycle", "peak_at": 0.3, "start": 1e-5, "end": 1e-6},
    {"name": "plateau", "factor": 0.1, "patience": 3, "min": 0.0},
]
_TRAINING = LAYERS["training"]
_INT = {"output_mode": "int"}
_TWO_HEADS = {
    "layers": ["Flatten", {"Dense": {"units": 2, "name": "a"}}, {"Dense": {"units": 2, "name": "b"}}],
    "outputs": ["a", "b"],
}
_STABILIZE = {"batch_size": 32, "epochs": 3}

PLANS: list[dict[str, Any]] = [
    *({**LAYERS, "schedule": schedule} for schedule in _SCHEDULES),
    {**LAYERS, "training": {"optimizer": {"name": "sgd", "learning_rate": "$lr", "momentum": 0.9, "clipnorm": 1.0}}},
    {**LAYERS, "training": {**_TRAINING, "early_stopping": {"patience": 2, "min_delta": 0.1}}},
    {**LAYERS, "training": {**_TRAINING, "regularization": {"kernel": {"l1": 0.1, "l2": 0.1}, "label_smoothing": 0.1}}},
    {**LAYERS, "initialization": {"stabilize": {"method": "lottery", "draws": 2, "steps_per_epoch": 9, **_STABILIZE}}},
    {
        **LAYERS,
        "initialization": {"stabilize": {"method": "lottery", "learning_rate": 0.1}},
        "strategy": {"name": "guided", "first_batch_size": 32},
    },
    {**LAYERS, "initialization": {"stabilize": {"method": "warmup", "start": 1e-4, "end": 1e-3, **_STABILIZE}}},
    {**LAYERS, "evaluation": {"folds": 3, "stop_after": 1}, "data": {"source": "digits", "limit": 100}},
    {
        **LAYERS,
        "data": {
            "source": "digits",
            "class_weight": {"1": 2.0},
            "augment": {"translate": 0.1, "rotate": 0.1, "zoom": 0.1, "contrast": 0.1, "brightness": 0.1},
        },
    },
    {**LAYERS, "execution": {"workers": 2}},
    {
        **LAYERS,
        "training": {"optimizer": {"name": "adam", "learning_rate": 0.1}, "batch_size": "$b"},
        "search_space": {"b": {"type": "int", "min": 16, "max": 64}},
    },
    {**LAYERS, "model": _TWO_HEADS, "training": {**_TRAINING, "loss_weights": {"a": 1.0, "b": 2.0}}},
    *(
        {**LAYERS, "data": data}
        for data in (
            {"images": "pics", "size": [8, 8]},
            {"keras": "imdb", "num_words": 100, "maxlen": 10},
            {"python": "m:data", "steps_per_epoch": 2, "validation_steps": 2},
            {"csv": "t.csv", "target": "y", "columns": {"t": {"kind": "text", "max_tokens": 9, "length": 3, **_INT}}},
        )
    ),
    *(
        {**LAYERS, "model": model}
        for model in (
            {"preset": "mlp", "depth": 2, "units": 8, "dropout": 0.1},
            {"preset": "cnn", "blocks": 2, "filters": 4},
            {"preset": "resnet", "stages": 2, "blocks": 1, "filters": 4},
            {
                "application": "MobileNetV2",
                "size": [32, 32],
                "trainable": 3,
                "dropout": 0.1,
                "options": {"alpha": 0.35},
            },
        )
    ),
]
"""What is trained by Keras: every number in these is tried, and planned with where it is taken."""


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where numbers stand."""
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from places(value, (*path, key))
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield path


def cases(documents: list[dict[str, Any]]) -> list[tuple[dict[str, Any], tuple[Any, ...]]]:
    """Each place once: of two documents that say the same there, the first."""
    found: dict[Any, tuple[dict[str, Any], tuple[Any, ...]]] = {}
    for document in documents:
        for path in places(document):
            around: Any = document
            for key in path[:-1]:
                around = around[key]
            found.setdefault((path, json.dumps(around)), (document, path))
    return list(found.values())


def put(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed: Any = deepcopy(document)
    around = changed
    for key in path[:-1]:
        around = around[key]
    around[path[-1]] = value
    return changed  # type: ignore[no-any-return]


@contextlib.contextmanager
def soon(what: str) -> Iterator[None]:
    """Interrupted, and told, where it takes too long."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"{what} takes more than {SLOWEST_S:g} s")

    before = signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOWEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def spelled(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)


def taken(folder: Path, document: dict[str, Any]) -> Experiment | None:
    """The experiment, or None where it is refused, each problem with its line and remedy."""
    path = folder / "a.yaml"
    path.write_text(spelled(document))
    try:
        return load(path).experiment
    except SpecError as error:
        for problem in error.problems:
            assert problem.place is not None, problem
            assert problem.place.startswith(f"{path}:"), problem
        return None


def named(case: Any) -> str | None:
    return ".".join(map(str, case[1])) if isinstance(case, tuple) and isinstance(case[1], tuple) else None


@pytest.mark.parametrize("case", cases([*SEARCHES, *PLANS]), ids=named)
def test_a_number_is_told_or_can_be_planned_with(tmp_path: Path, case: Any) -> None:
    document, path = case
    assert taken(tmp_path, document) is not None, "as it stands it is right"
    for value in USUAL:
        with soon(f"{path} {value!r}"):
            experiment = taken(tmp_path, put(document, path, value))
            if experiment is None:
                continue
            with contextlib.suppress(SpecError):  # what only the strategy can tell
                planned = plan_data(experiment)
                json.dumps(plain_json(planned), allow_nan=False)
                plan_lines(planned, None)
            json.dumps(plain_json(to_json(experiment)), allow_nan=False)


@pytest.mark.parametrize("path", ["seed", "budget.trials", "execution.workers", "training.batch_size"])
def test_no_number_of_thousands_of_digits_in_any_spelling(tmp_path: Path, path: str) -> None:
    for number in ("9" * 5000, "0x" + "f" * 5000, "0o" + "7" * 5000, "-" + "9" * 5000, "1e99999", "1_" * 3000 + "1"):
        (tmp_path / "a.yaml").write_text(spelled(FUNCTION))
        with soon(number[:9]), pytest.raises(SpecError) as told:
            load(tmp_path / "a.yaml", [f"{path}={number}"])
        assert path in str(told.value)
        assert len(str(told.value)) < 1000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "extreme_scores.py").write_text("def f(x, y=1, epoch=1):\n    return float(x) + y + 1 / epoch\n")
    yield tmp_path
    sys.modules.pop("extreme_scores", None)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(SEARCHES), ids=named)
def test_what_is_taken_can_be_searched_with(home: Path, case: Any) -> None:
    document, path = case
    for number, value in enumerate(EXTREMES):
        changed = {**put(document, path, value), "name": f"a{number}"}
        if isinstance(changed.get("budget"), dict) and path[0] == "budget":
            changed["budget"] = {**changed["budget"], "time": changed["budget"].get("time", 1)}
        if taken(home, changed) is None or (path[-1] in ("repeats", "iterations") and not 0 < value < 100):
            continue
        wants = changed["budget"].get("trials", 3)
        if (isinstance(wants, int | float) and wants > 100) or path == ("training", "epochs"):
            changed["budget"]["time"] = 0.2  # as many as there is time for
        (home / "a.yaml").write_text(spelled(changed))
        err = io.StringIO()
        began = time.monotonic()
        with soon(f"{path} {value!r}"), contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
            code = program.run(["search", "a.yaml", "--quiet"])
        told = err.getvalue()
        assert code in (0, 1, 2), told
        assert "fault in hptune" not in told, (path, value, told)
        assert "Traceback" not in told, told
        assert code == 0 or told.strip()
        assert time.monotonic() - began < 60


# --- that no number is left out ---------------------------------------------------------------------------------------


def numeric_fields(kind: Any, seen: set[Any]) -> Iterator[str]:
    """`Class.field` of every field below `kind` that may hold a number."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind in seen:
            return
        seen.add(kind)
        for name, field in kind.model_fields.items():
            if _takes_numbers(field.annotation):
                yield f"{kind.__name__}.{field.alias or name}"
            yield from numeric_fields(field.annotation, seen)
    else:
        for part in get_args(kind):
            yield from numeric_fields(part, seen)


def _takes_numbers(kind: Any) -> bool:
    if kind in (int, float):
        return True
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return False
    origin = get_origin(kind)
    if origin is Annotated:
        return _takes_numbers(get_args(kind)[0])
    if origin in (Union, types.UnionType, list, dict, tuple, Mapping) or (origin is not None and origin is not Literal):
        return any(_takes_numbers(part) for part in get_args(kind))
    return False


def given_fields(value: Any) -> Iterator[str]:
    """`Class.field` of every number that an experiment says itself."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            if name in value.model_fields_set and any(True for _ in places(inner)):
                yield f"{type(value).__name__}.{field.alias or name}"
            yield from given_fields(inner)
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from given_fields(inner)


def test_every_numeric_field_is_tried(tmp_path: Path) -> None:
    """A field that is added must be added to the documents above."""
    seen: set[Any] = set()
    wanted = {
        field
        for kind in (Experiment, *DATA_KINDS.values(), *MODEL_KINDS.values())
        for field in numeric_fields(kind, seen)
    }
    tried: set[str] = set()
    for document in [*SEARCHES, *PLANS]:
        experiment = taken(tmp_path, document)
        assert experiment is not None, document
        tried |= set(given_fields(experiment))
    alike = {"validation", "test", "limit", "class_weight"}  # every source of data has these
    left = {field for field in wanted - tried if field.partition(".")[2] not in alike}
    assert left == {field for field in left if field.startswith("PresetModel.")}, "these become layers"
