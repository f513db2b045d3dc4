"""Whatever stands in a file, a command ends: in success or with a message, soon, and writing nothing anywhere else.

HPTUNE_FUZZ is the number of cases, over all kinds of file together: 250 unless given; `make fuzz` has 20,000.
HPTUNE_FUZZ_ROUND, any number, chooses others than the usual ones. What fails is shown as simple as it can be made, with
the line that repeats it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from journals import resealed
from mutations import as_yaml, bombs, garbled, mutated
from specs import specs

from hptune import __main__ as program
from hptune.base.errors import HptuneError
from hptune.cli import app
from hptune.run.journal import Journal
from hptune.training.core import state as states
from hptune.training.core.state import Damaged, State

CASES = int(os.environ.get("HPTUNE_FUZZ", "250"))
ROUND = int(os.environ.get("HPTUNE_FUZZ_ROUND", CASES))
SMALLEST = b"version: 1\ndata: {source: digits}\nmodel: {preset: mlp}\n"
EXAMPLES = [path.read_bytes() for path in sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))]
SLOWEST_S = 2.0
"""Of processor time: what else the machine does is nobody's fault here."""


def fuzz(share: float, **cases: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """A test that is given such `cases`; so many of all."""
    most = max(1, round(CASES * share))
    quick = settings(max_examples=most, database=None, print_blob=True, suppress_health_check=list(HealthCheck))
    return lambda test: seed(ROUND)(quick(given(**cases)(test)))


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


@st.composite
def spec_files(draw: st.DrawFn) -> bytes:
    """A spec with sections as the schema has them; one with things wrong in it, as data or as text; or a bomb."""
    text = draw(st.sampled_from([SMALLEST, *EXAMPLES]))
    kind = draw(st.sampled_from([*["composed"] * 6, *["mutated"] * 6, *["garbled"] * 7, "bomb"]))
    if kind == "bomb":
        return (draw(bombs()) + "version: 1\nmodel: *a5\n").encode()
    if kind == "garbled":
        garbage = draw(garbled(text))
        encoding = draw(st.sampled_from(["utf-8"] * 27 + ["utf-16", "latin-1", "utf-32"]))
        return garbage if encoding == "utf-8" else garbage.decode("utf-8", "replace").encode(encoding, "replace")
    changed = draw((mutated if kind == "mutated" else specs)(yaml.safe_load(text)))
    return as_yaml(changed, in_one_line=draw(st.booleans()))


@fuzz(0.45, text=spec_files(), as_json=st.booleans(), planned=st.integers(0, 2))
def test_specs(home: Path, text: bytes, as_json: bool, planned: int) -> None:
    path = home / "spec.yaml"
    path.write_bytes(text)
    before = everything(home)
    assert command("validate", "spec.yaml", *(["--json"] if as_json else [])) in (0, 2)
    if planned == 0:
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


@st.composite
def damaged(draw: st.DrawFn, journal: bytes) -> bytes:
    """A journal with something wrong in it; mostly one whose checksums fit all the same."""
    changed = draw(_changed(journal))
    return resealed(changed) if draw(st.integers(0, 4)) < 4 else changed


@st.composite
def _changed(draw: st.DrawFn, journal: bytes) -> bytes:
    lines = journal.splitlines(keepends=True)
    at = draw(st.integers(0, len(lines) - 1))
    kind = draw(st.sampled_from([*["mutated"] * 6, "shuffled", "repeated", "lost", "garbled"]))
    if kind == "mutated":
        event = draw(mutated(json.loads(lines[at])))
        lines[at] = json.dumps(event).encode("utf-8", "surrogatepass") + b"\n"
    elif kind == "shuffled":
        lines = draw(st.permutations(lines))
    elif kind == "repeated":
        lines[at:at] = [draw(st.sampled_from(lines))] * draw(st.sampled_from([1, 3]))
    elif kind == "lost":
        del lines[at]
    else:
        return draw(garbled(journal))
    return b"".join(lines)


@fuzz(0.25, data=st.data(), as_json=st.booleans(), compared=st.integers(0, 4), reported=st.integers(0, 3))
def test_journals(home: Path, journal: bytes, data: st.DataObject, as_json: bool, compared: int, reported: int) -> None:
    path = home / "runs" / "a" / "journal.jsonl"
    path.write_bytes(data.draw(damaged(journal)))
    before = everything(home)
    codes = {command(*words) for words in (["best"], ["trials", "--json"] if as_json else ["trials"])}
    assert len(codes) == 1, "one command reads what another does not"
    assert command("runs") == 0
    if compared == 0:
        command("compare", "a", "a")
    assert everything(home) == before
    if reported == 0:
        report = home / "runs" / "a" / "report.html"
        if command("report") == 0:
            page = report.read_text(encoding="utf-8")
            report.unlink()
            assert not re.search(r"<script|<img|javascript:|\x1b", page)


@fuzz(0.02, data=st.data())
def test_a_damaged_run_is_searched_on_or_refused(home: Path, journal: bytes, data: st.DataObject) -> None:
    path = home / "runs" / "a" / "journal.jsonl"
    path.write_bytes(data.draw(damaged(journal)))
    command("search", "function.yaml", "--quiet")
    outside = {name for name in everything(home) if not name.startswith(("runs", "__pycache__"))}
    assert outside <= {"fuzzed_function.py", "function.yaml", "spec.yaml", "table.csv"}


# --- states -----------------------------------------------------------------------------------------------------------


HEADS = [b"(4, 6)", b"(99999999999999, 6)", b"(-4, -6)", b"'<f4'", b"'|O'", b"'<f8'", b"True", b"__import__('os')"]


def whole_state() -> bytes:
    arrays = (np.arange(24, dtype=np.float32).reshape(4, 6), np.zeros((), np.int64))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state-r0-e002.npz"
        states.save(path, State(arrays, arrays), {"loss": (1.0, 0.5)})
        return path.read_bytes()


@st.composite
def damaged_states(draw: st.DrawFn) -> bytes:
    """An archive with some of its bytes changed, or with one array's, and its checksum made to fit."""
    whole = whole_state()
    if draw(st.booleans()):
        return draw(garbled(whole))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(files)))
    if draw(st.integers(0, 4)) < 3:
        files[name] = files[name].replace(draw(st.sampled_from(HEADS)), draw(st.sampled_from(HEADS)))
    else:
        files[name] = draw(garbled(files[name]))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for file, content in files.items():
            archive.writestr(f"../../{file}" if draw(st.integers(0, 19)) == 19 else file, content)
    return written.getvalue()


@fuzz(0.2, content=damaged_states())
def test_states(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "state-r0-e002.npz"
    path.write_bytes(content)
    with soon("a state"), contextlib.suppress(Damaged):
        state, curves = states.load(path)
        assert all(
            isinstance(array, np.ndarray) and array.dtype != object for array in (*state.model, *state.optimizer)
        )
        assert all(isinstance(value, int | float | bool | str | bytes | list) for c in curves.values() for value in c)


# --- tables -----------------------------------------------------------------------------------------------------------

TABLE = "area,rooms,district,when,rent\n" + "".join(
    f"{20 + n},{n % 5},{['north', 'süd', 'harbour'][n % 3]},2024-01-{n % 28 + 1:02d},{400 + 7 * n}\n" for n in range(60)
)


TARGETS = ["rent", "district", "area", "nowhere"]


@fuzz(
    0.08,
    table=st.sampled_from([1, 2, 8]).flatmap(lambda most: garbled(TABLE.encode(), most)),
    target=st.sampled_from(TARGETS),
)
def test_tables(home: Path, table: bytes, target: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from hptune.experiment.data import CsvData
    from hptune.training.data.load import load_data

    (home / "table.csv").write_bytes(table)
    before = everything(home)
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
        assert command("best", "--run", "a") == 1
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
    assert command("best", "--run", "a") == 1
    path.unlink()
    path.write_bytes(journal)
    outside.unlink()
