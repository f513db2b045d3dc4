"""Something new takes a module and a row (of a section, its class): in a copy, the rest serves it without a change."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class New:
    """What is added: whole modules, and into modules that are there `added[module] = {before this: this comes}`."""

    modules: dict[str, str]
    added: dict[str, dict[str, str]]
    suite: str
    sections: dict[str, Any]
    about: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)


DATA = "hptune/experiment/data.py"
LAYERS = {"layers": ["Flatten", {"Dense": {"units": "$n"}}, "Output"]}

SOURCE = New(
    {
        "hptune/training/data/sources/waves.py": '''
            """Waves of two kinds."""

            import numpy as np

            from hptune.experiment.data import DataOptions
            from hptune.training.data.raw import Raw
            from hptune.training.data.reading import Reading


            def read_waves(spec: DataOptions, how: Reading) -> Raw:
                y = np.arange(spec.waves) % 2
                x = np.sin(np.linspace(0, 6, 5) * (1 + y[:, None]))
                return Raw(x, y, (), ("data", "waves"), ("data", "waves"))
        '''
    },
    {
        DATA: {
            "\nDATA_KINDS: ": '''
                class WavesData(DataOptions):
                    """Waves."""

                    reader: ClassVar[str] = "waves:read_waves"
                    about: ClassVar[Known] = Known("waves", "arrays")

                    waves: Count
                    """How many there are."""
            ''',
            '    "npz": NpzData,\n': '    "waves": WavesData,\n',
        }
    },
    "tests/training/data/test_sources.py",
    {"data": {"waves": 60}, "model": LAYERS},
    {"data": {"waves": 0}},
)

TABLE = New(
    {
        "hptune/training/data/sources/lines_table.py": '''
            """Tables of JSON lines."""

            import json
            from dataclasses import dataclass
            from itertools import batched, chain

            from hptune.training.data.raw import unreadable


            @dataclass
            class LinesSheet:
                file: str
                header: list
                rows: list
                key: str = "lines"
                is_large: bool = False
                is_sparse: bool = False

                def place(self, row):
                    return f"{self.file}:{row + 1}"

                def column(self, name):
                    return [str(row[name]) for row in self.rows]


            def lines_sheets(file, path, names, *, rows=None):
                try:
                    found = [json.loads(line) for line in path.read_text().splitlines()]
                except OSError as error:
                    raise unreadable(file, path, error=error, key="lines") from error
                for start in range(0, len(found), rows or len(found)):
                    yield LinesSheet(file, list(found[0]), found[start : start + (rows or len(found))])
        '''.replace("            from itertools import batched, chain\n", "")
    },
    {
        DATA: {
            "\nDATA_KINDS: ": '''
                class LinesData(TableData):
                    """A table of JSON lines."""

                    about: ClassVar[Known] = Known("a file of lines", "table")
                    sheets: ClassVar[str] = "lines_table:lines_sheets"
                    suffixes: ClassVar[tuple[str, ...]] = (".lines",)

                    lines: str
            ''',
            '    "parquet": ParquetData,\n': '    "lines": LinesData,\n',
        }
    },
    "tests/training/data/test_sources.py",
    {"data": {"lines": "t.lines", "target": "y"}, "model": LAYERS},
    {"model": {"application": "MobileNetV2", "trainable": "$n"}},
    {"t.lines": "\n".join(json.dumps({"a": i, "b": i * i % 7, "y": "yn"[i % 2]}) for i in range(60))},
)

MODEL = New(
    {
        "hptune/training/trainers/constant.py": '''
            """A number that is its own score."""

            from hptune.base.trial import SegmentResult


            class ConstantTrainer:
                def __init__(self, experiment, folder, run, shared):
                    self.by = experiment.model.steady

                def run(self, segment, on_epoch=None):
                    if segment.purpose == "probe":
                        return SegmentResult(segment, 0, {}, 0.0, facts={"task": None, "fingerprint": None})
                    epochs = segment.to_epoch - segment.from_epoch
                    return SegmentResult(segment, epochs, {"score": [segment.values["n"] * self.by] * epochs}, 0.0)
        '''
    },
    {
        "hptune/experiment/model.py": {
            "\nMODEL_KINDS: ": '''
                class ConstantModel(ModelOptions):
                    """A number that is its own score."""

                    trainer: ClassVar[str] = "constant:ConstantTrainer"
                    called: ClassVar[str] = "a constant"
                    keras: ClassVar[bool] = False
                    takes_data: ClassVar[bool] = False

                    steady: Count
            ''',
            '    "sklearn": SklearnModel,\n': '    "steady": ConstantModel,\n',
        }
    },
    "tests/training/test_model_kinds.py",
    {"model": {"steady": 3}, "objective": {"metric": "score", "goal": "maximize"}},
    {"data": {"source": "iris"}},
)

EXECUTOR = New(
    {
        "hptune/executors/elsewhere.py": '''
            """This process, under another name."""

            from hptune.executors.inline import InlineExecutor


            class Elsewhere(InlineExecutor):
                def submit(self, segment):
                    (self._folder / "elsewhere").touch()
                    super().submit(segment)
        '''
    },
    {"hptune/experiment/execution.py": {', "inline": ': ', "elsewhere": "elsewhere:Elsewhere"'}},
    "tests/executors/test_executors.py",
    {"data": {"source": "iris"}, "model": LAYERS, "execution": {"executor": "elsewhere"}},
    {"execution": {"executor": "elsewhre"}},
)

STRATEGY = New(
    {
        "hptune/strategies/samplers/golden.py": '''
            """Points by the golden ratio."""

            from hptune.run.history import History
            from hptune.strategies.sampler import Point, Setup


            class Golden:
                def __init__(self, setup: Setup) -> None:
                    self._space, self._by = setup.space, setup.options.by

                def suggest(self, history: History) -> Point:
                    share = (0.5 + len(history.trials) * self._by) % 1
                    return self._space.choose(lambda _, domain: domain.from_unit(share))
        '''
    },
    {
        "hptune/experiment/sections.py": {
            "\nSTRATEGIES: ": '''
                class Golden(StrategyOptions):
                    """Points by the golden ratio."""

                    name: Literal["golden"]
                    by: float = Field(default=0.618, gt=0, lt=1)
                    """The step."""
            ''',
            '    "python": PythonStrategy,\n': '    "golden": Golden,\n',
        },
        "hptune/strategies/choose.py": {
            '    sections.PythonStrategy: "own:strategy",\n': '    sections.Golden: "samplers.golden:Golden",\n'
        },
    },
    "tests/strategies/test_conformance.py",
    {"data": {"source": "iris"}, "model": LAYERS, "strategy": {"name": "golden", "by": 0.3}},
    {"strategy": {"name": "golden", "by": 2}},
)

TRACKER = New(
    {
        "hptune/trackers/lines.py": '''
            """Each report as a line."""

            from hptune.trackers.csv_files import CsvFiles


            class Lines(CsvFiles):
                def reported(self, trial):
                    with (self._run.root / "lines.txt").open("a") as file:
                        print(trial.number, file=file)
        '''
    },
    {"hptune/experiment/sections.py": {'"csv": "csv_files:CsvFiles"': '"lines": "lines:Lines", '}},
    "tests/trackers/test_trackers.py",
    {"data": {"source": "iris"}, "model": LAYERS, "track": {"lines": True}},
    {"track": {"lines": 3}},
)

NEW = {"strategy": STRATEGY, "tracker": TRACKER, "source": SOURCE, "table": TABLE, "model": MODEL, "executor": EXECUTOR}
WRONG = {
    "strategy": "strategy.by: must be below 1.0, got 2",
    "tracker": "track.lines: must be true, false or its options, got 3",
    "source": "data.waves: must be at least 1, got 0",
    "table": "application is for pictures, and a file of lines is a table",
    "model": "a constant brings its own data. Drop this section.",
    "executor": "must be one of 'local', 'elsewhere' or 'inline', got 'elsewhre'",
}
KEYS = {
    "strategy": "golden",
    "tracker": "lines",
    "source": "waves",
    "table": "lines",
    "model": "steady",
    "executor": "elsewhere",
}
MISSED = {
    "strategy": ["test_every_strategy_is_documented[golden]"],
    "tracker": ["test_every_tracker_of_the_table_is_documented[lines]"],
    "source": ["add a small source of the kind 'waves' to CASES", "docs/experiment.md has no row for data.waves"],
    "table": ["add a small source of the kind 'lines' to CASES", "docs/experiment.md has no row for data.lines"],
    "model": ["add a small model of the kind 'steady' to CASES", "docs/experiment.md has no row for model.steady"],
    "executor": ["test_every_executor_of_the_table_is_documented[elsewhere]"],
}
"""What the suites say of what is new, unasked: that it has no case, and no word in the docs."""


@pytest.fixture(params=[pytest.param(n, marks=[pytest.mark.slow] if n in ("table", "executor") else []) for n in NEW])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def copy(tmp_path: Path, name: str) -> Path:
    """The package with what is new in it, and the suites."""
    new = NEW[name]
    for room in ("hptune", "tests", "docs", "configs"):
        shutil.copytree(ROOT / room, tmp_path / "copy" / room, ignore=shutil.ignore_patterns("__pycache__", "kept"))
    for module, text in new.modules.items():
        (tmp_path / "copy" / module).write_text(dedent(text).lstrip())
    for module, places in new.added.items():
        path = tmp_path / "copy" / module
        text = path.read_text(encoding="utf-8")
        for place, more in places.items():
            assert text.count(place) == 1, place
            text = text.replace(place, f"{dedent(more) if more[0] == chr(10) else more}{place}")
        path.write_text(text, encoding="utf-8")
    for file, text in new.files.items():
        (tmp_path / file).write_text(text)
    return tmp_path / "copy"


def ran(copy: Path, *command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(copy)}
    full = [sys.executable, "-m", *command]
    cwd = copy.parent if folder is None else folder
    return subprocess.run(full, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=600)


def written(copy: Path, sections: dict[str, Any]) -> None:
    space = {"n": {"type": "int", "min": 1, "max": 4}}
    given = {"version": 1, "name": "new", "search_space": space, "budget": {"trials": 2}, "training": {"epochs": 1}}
    given = {**given, "execution": {"executor": "inline"}, **sections}
    (copy.parent / "new.yaml").write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in given.items()))


def test_what_is_new_is_served_by_the_commands_and_missed_by_the_suites(copy: Path, name: str) -> None:
    new = NEW[name]
    written(copy, new.sections)
    done = ran(copy, "hptune", "search", "new.yaml", "--quiet")
    assert done.returncode == 0, done.stderr
    trials = json.loads(ran(copy, "hptune", "trials", "--json").stdout)
    assert [trial["state"] for trial in trials] == ["completed"] * 2

    written(copy, {**new.sections, **new.about})
    done = ran(copy, "hptune", "validate", "new.yaml")
    assert done.returncode == 2
    assert WRONG[name] in done.stderr, done.stderr

    schema = ran(copy, "hptune", "schema").stdout
    committed = (ROOT / "configs" / "schema.json").read_text(encoding="utf-8")
    assert f'"{KEYS[name]}"' in schema
    assert f'"{KEYS[name]}"' not in committed

    suite = ran(copy, "pytest", new.suite, "-q", "-k", KEYS[name], "-p", "no:cacheprovider", folder=copy)
    assert suite.returncode == 1
    for words in MISSED[name]:
        assert words in suite.stdout, suite.stdout[-3000:]
    failed = set(re.findall(r"^FAILED (\S+)", suite.stdout, re.M))
    assert name != "executor" or len(failed) == 1  # what holds for executors holds for it
    if name == "executor":
        assert (copy.parent / "elsewhere").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table"])
def test_a_new_table_is_looked_at_by_init_and_predicted_for(copy: Path, name: str) -> None:
    started = ran(copy, "hptune", "init", "--output", "started.yaml", "--data", "t.lines", "--target", "y")
    assert started.returncode == 0, started.stderr
    assert "lines: t.lines" in (copy.parent / "started.yaml").read_text()
    written(copy, {**TABLE.sections})
    assert ran(copy, "hptune", "search", "new.yaml", "--quiet").returncode == 0
    assert ran(copy, "hptune", "train-best").returncode == 0
    done = ran(copy, "hptune", "predict", "--input", "t.lines")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 61
