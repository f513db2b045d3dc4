"""Whatever stands in a file, a command ends: in success or with a message, soon, and writing nothing anywhere else.

HPTUNE_FUZZ is the number of cases, over all kinds of file together: 250 unless given; `make fuzz` has 20,000.
HPTUNE_FUZZ_ROUND, any number, chooses others than the usual ones. What fails tells its seed:
HPTUNE_FUZZ_SEED=… pytest … -k … tries that one alone.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from journals import resealed
from mutations import as_yaml, bomb, garbled, mutated

from hptune import __main__ as program
from hptune.base.errors import HptuneError
from hptune.cli import app
from hptune.run.journal import Journal
from hptune.training.core import state as states
from hptune.training.core.state import Damaged, State

CASES = int(os.environ.get("HPTUNE_FUZZ", "250"))
ROUND = int(os.environ.get("HPTUNE_FUZZ_ROUND", CASES))
ONE = os.environ.get("HPTUNE_FUZZ_SEED")
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
SLOWEST_S = 2.0
"""Of processor time: what else the machine does is nobody's fault here."""


def fuzz(share: float) -> Callable[[Any], Any]:
    """A test that takes a `number`, which everything random in it derives from; so many of all cases."""
    if ONE is not None:
        return pytest.mark.parametrize("number", [int(ONE)])
    cases = max(1, round(CASES * share))
    unshrunk = (Phase.explicit, Phase.generate)  # a smaller number is no simpler case
    quick = settings(max_examples=cases, database=None, phases=unshrunk, suppress_health_check=list(HealthCheck))
    return lambda test: seed(ROUND)(quick(given(number=st.integers(0, 2**48))(test)))


@contextlib.contextmanager
def soon(what: str) -> Iterator[None]:
    began = time.process_time()
    yield
    took = time.process_time() - began
    assert took < SLOWEST_S, f"{what} took {took:.1f} s"


def command(*arguments: str) -> int:
    """Run a command in this process; it must end as users are promised."""
    out, err = io.StringIO(), io.StringIO()
    with soon(" ".join(arguments)), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = program.run(list(arguments))
    told = err.getvalue()
    assert code in (0, 1, 2), code
    assert "fault in hptune" not in told, told
    assert "Traceback" not in told, told
    assert code == 0 or told.strip(), "it failed and said nothing"
    assert "\x1b" not in told + out.getvalue(), "an escape sequence has reached the terminal"
    return code


def everything(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.lstat().st_size for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that commands are run in."""
    folder = tmp_path_factory.mktemp("fuzz")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr("hptune.cli.app", typer.main.get_command(app))  # else made anew for every command
        yield folder


# --- specs ------------------------------------------------------------------------------------------------------------


@fuzz(0.45)
def test_specs(home: Path, number: int) -> None:
    random = Random(number)
    text = random.choice(CONFIGS).read_bytes()
    kind = random.randrange(40)
    if kind < 20:
        text = as_yaml(mutated(yaml.safe_load(text), random), random)
    elif kind < 39:
        text = garbled(text, random)
        if random.random() < 0.1:
            text = text.decode("utf-8", "replace").encode(random.choice(["utf-16", "latin-1", "utf-32"]), "replace")
    else:
        text = (bomb(random) + "version: 1\nmodel: *a5\n").encode()
    path = home / "spec.yaml"
    path.write_bytes(text)
    before = everything(home)
    valid = command("validate", "spec.yaml", *(["--json"] if number % 2 else []))
    assert valid in (0, 2)
    if number % 3 == 0:
        assert command("plan", "spec.yaml") in (0, 2)
    assert everything(home) == before


# --- run folders of strangers -----------------------------------------------------------------------------------------

FUNCTION = """\
version: 1
name: a
model: {function: "fuzzed_function:f"}
search_space: {x: {type: int, min: 0, max: 5}, kind: {type: choice, values: [one, two]}}
training: {epochs: 4}
objective: {metric: score, goal: maximize}
strategy: {name: asha, max_epochs: 4, factor: 2}
evaluation: {repeats: 2, finalists: {top: 2, repeats: 2}}
budget: {trials: 6}
execution: {executor: inline}
"""


@pytest.fixture(scope="module")
def journal(home: Path) -> bytes:
    """A journal with everything in it."""
    code = "def f(x, kind, epoch, seed):\n    if x == 3: raise ValueError('no')\n    return x + epoch + seed % 7 / 10\n"
    (home / "fuzzed_function.py").write_text(code)
    (home / "function.yaml").write_text(FUNCTION)
    assert program.run(["search", "function.yaml", "--quiet"]) == 0
    whole = (home / "runs" / "a" / "journal.jsonl").read_bytes()
    assert all(kind in whole for kind in (b'"segment_failed"', b'"finalist"', b'"trial_stopped"'))
    assert resealed(whole) == whole, "what is changed is refused for what was changed, not for its checksum"
    return whole


def _damaged(journal: bytes, random: Random) -> bytes:
    """A journal with something wrong in it; mostly one whose checksums fit all the same."""
    damaged = _changed(journal, random)
    return resealed(damaged) if random.random() < 0.8 else damaged


def _changed(journal: bytes, random: Random) -> bytes:
    lines = journal.splitlines(keepends=True)
    kind = random.randrange(10)
    at = random.randrange(len(lines))
    if kind < 6:
        event = mutated(json.loads(lines[at]), random)
        lines[at] = json.dumps(event).encode("utf-8", "surrogatepass") + b"\n"
    elif kind == 6:
        random.shuffle(lines)
    elif kind == 7:
        lines[at:at] = [lines[random.randrange(len(lines))]] * random.choice([1, 3])
    elif kind == 8:
        del lines[at]
    else:
        return garbled(journal, random)
    return b"".join(lines)


@fuzz(0.25)
def test_journals(home: Path, journal: bytes, number: int) -> None:
    random = Random(number)
    path = home / "runs" / "a" / "journal.jsonl"
    path.write_bytes(_damaged(journal, random))
    before = everything(home)
    codes = {command(*words) for words in (["best"], ["trials", "--json"] if number % 2 else ["trials"])}
    assert len(codes) == 1, "one command reads what another does not"
    assert command("runs") == 0
    if number % 5 == 0:
        command("compare", "a", "a")
    assert everything(home) == before
    if number % 4 == 0:
        report = home / "runs" / "a" / "report.html"
        if command("report") == 0:
            page = report.read_text(encoding="utf-8")
            report.unlink()
            assert not re.search(r"<script|<img|javascript:|\x1b", page)


@fuzz(0.02)
def test_a_damaged_run_is_searched_on_or_refused(home: Path, journal: bytes, number: int) -> None:
    path = home / "runs" / "a" / "journal.jsonl"
    path.write_bytes(_damaged(journal, Random(number)))
    command("search", "function.yaml", "--quiet")
    outside = {name for name in everything(home) if not name.startswith(("runs", "__pycache__"))}
    assert outside <= {"fuzzed_function.py", "function.yaml", "spec.yaml", "table.csv"}


# --- states -----------------------------------------------------------------------------------------------------------


@fuzz(0.2)
def test_states(tmp_path_factory: pytest.TempPathFactory, number: int) -> None:
    random = Random(number)
    path = tmp_path_factory.getbasetemp() / "state-r0-e002.npz"
    arrays = (np.arange(24, dtype=np.float32).reshape(4, 6), np.zeros((), np.int64))
    states.save(path, State(arrays, arrays), {"loss": (1.0, 0.5)})
    path.write_bytes(_resealed(path, random) if random.random() < 0.5 else garbled(path.read_bytes(), random))
    with soon("a state"), contextlib.suppress(Damaged):
        state, curves = states.load(path)
        assert all(
            isinstance(array, np.ndarray) and array.dtype != object for array in (*state.model, *state.optimizer)
        )
        assert all(isinstance(value, int | float | bool | str | bytes | list) for c in curves.values() for value in c)


def _resealed(path: Path, random: Random) -> bytes:
    """The archive with one array's bytes changed and its checksum made to fit."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(list(files))
    head = [b"(4, 6)", b"(99999999999999, 6)", b"(-4, -6)", b"'<f4'", b"'|O'", b"'<f8'", b"True", b"__import__('os')"]
    files[name] = (
        files[name].replace(random.choice(head), random.choice(head))
        if random.random() < 0.6
        else garbled(files[name], random)
    )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for file, content in files.items():
            archive.writestr(file if random.random() < 0.95 else f"../../{file}", content)
    return written.getvalue()


# --- tables -----------------------------------------------------------------------------------------------------------

TABLE = "area,rooms,district,when,rent\n" + "".join(
    f"{20 + n},{n % 5},{['north', 'süd', 'harbour'][n % 3]},2024-01-{n % 28 + 1:02d},{400 + 7 * n}\n" for n in range(60)
)


@fuzz(0.08)
def test_tables(home: Path, number: int) -> None:
    from pydantic import TypeAdapter, ValidationError

    from hptune.experiment.data import CsvData
    from hptune.training.data.load import load_data

    random = Random(number)
    text = TABLE.encode()
    (home / "table.csv").write_bytes(garbled(text, random, most=random.choice([1, 2, 8])))
    before = everything(home)
    target = random.choice(["rent", "district", "area", "nowhere"])
    with soon("a table"), contextlib.suppress(HptuneError, ValidationError):
        load_data(TypeAdapter(CsvData).validate_python({"csv": "table.csv", "target": target}), folder=home, seed=0)
    assert everything(home) == before


def test_a_link_is_no_journal_and_nothing_is_written_through_one(home: Path, journal: bytes) -> None:
    outside = home / "elsewhere.jsonl"
    outside.write_bytes(journal)
    path = home / "runs" / "a" / "journal.jsonl"
    path.unlink()
    path.symlink_to(outside)
    try:
        assert command("best", "--run", "a") == 2
        assert command("search", "function.yaml") in (1, 2)
        with pytest.raises(HptuneError, match="symbolic link"), Journal(path):
            pass
    finally:
        path.unlink()
        path.write_bytes(journal)
    assert outside.read_bytes() == journal
    os.mkfifo(home / "runs" / "a" / "pipe")
    path.unlink()
    (home / "runs" / "a" / "pipe").rename(path)
    assert command("best", "--run", "a") == 2
    path.unlink()
    path.write_bytes(journal)
    outside.unlink()
