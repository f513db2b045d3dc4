"""Run folders that come from strangers, from other machines, or from processes that are gone."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from journals import sealed

from hptune import __main__ as program
from hptune.base.errors import RunError
from hptune.base.files import whole_file, write_whole
from hptune.run.event_check import EventCheck
from hptune.run.lock import Holder, locked, this_process
from hptune.run.rundir import RunPaths, size_bytes

HEAD = {
    "event": "head", "time": 1.0, "experiment": {"objective": {"metric": "score", "goal": "maximize"}}, "space": {},
    "facts": {}, "folder": "/",
}  # fmt: skip
STARTED = {
    "event": "segment_started", "time": 1.0, "purpose": "trial", "trial": 0, "replica": 0, "values": {"x": 1},
    "from_epoch": 0, "to_epoch": 2,
}  # fmt: skip
FINISHED = {
    "event": "segment_finished", "time": 1.0, "purpose": "trial", "trial": 0, "replica": 0, "epochs": 2,
    "curves": {"score": [0.1, 0.2]}, "seconds": 1.0, "ended": False, "complete": False,
}  # fmt: skip
STOPPED = {"event": "trial_stopped", "time": 1.0, "trial": 0}


def check(*events: Mapping[str, Any]) -> None:
    one = EventCheck()
    for event in events:
        one(event)


# --- journals ---------------------------------------------------------------------------------------------------------


def test_what_a_search_writes_passes() -> None:
    more = {**STARTED, "from_epoch": 2, "to_epoch": 4}
    check(HEAD, STARTED, FINISHED, more, {**FINISHED, "epochs": 4}, STOPPED, {"event": "of a later version", "time": 2})


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([STARTED], "begins with one head"),
        ([HEAD, HEAD], "begins with one head"),
        ([{**HEAD, "experiment": {}}], "experiment.objective"),
        ([{**HEAD, "experiment": {"objective": []}}], "is empty"),
        ([{**HEAD, "facts": None}], "facts: "),
        ([{**HEAD, "time": 1e300}], "time: "),
        ([{"event": "head"}], "time: "),
        ([HEAD, {**STARTED, "trial": 1}], "0 is the next"),
        ([HEAD, {**STARTED, "trial": -1}], "trial: "),
        ([HEAD, {**STARTED, "trial": True}], "trial: "),
        ([HEAD, {**STARTED, "from_epoch": 1}], "not trained as far as epoch 1"),
        ([HEAD, {**STARTED, "replicas": [0, 10**9]}], "replicas.1: "),
        ([HEAD, {**STARTED, "replicas": [0, 0]}], "started twice"),
        ([HEAD, {**STARTED, "replicas": []}], "replicas: "),
        ([HEAD, {**STARTED, "values": {"x": [1]}}], "values.x"),
        ([HEAD, {**STARTED, "purpose": "finalist"}], "was never started"),
        ([HEAD, STARTED, STARTED], "started twice"),
        ([HEAD, FINISHED], "ends and was never started"),
        ([HEAD, STARTED, {**FINISHED, "curves": {"score": [1.0] * 3}}], "it holds 3 epochs"),
        ([HEAD, STARTED, {**FINISHED, "curves": {"score": ["1", 2]}}], "curves.score.0"),
        ([HEAD, STARTED, {**FINISHED, "curves": {"score": [float("nan"), 1.0]}}], "score must be finite"),
        ([HEAD, STARTED, {**FINISHED, "curves": {"score": [1e301, 1.0]}}], "score must be finite"),
        ([HEAD, STARTED, {**FINISHED, "curves": {"score": [0.5, -1e301]}}], "score must be finite"),
        ([HEAD, STARTED, {**FINISHED, "curves": {"score": [1e301, -1e301]}}], "score must be finite"),
        ([HEAD, STARTED, {**FINISHED, "curves": {"score": [0.5, 10**400]}}], "curves.score.1: "),
        ([HEAD, STARTED, {**FINISHED, "facts": {"score": "high"}}], "score must be a number"),
        ([HEAD, STARTED, {**FINISHED, "seconds": -1.0}], "seconds: "),
        ([HEAD, STARTED, {**FINISHED, "elapsed": "long"}], "elapsed: "),
        ([HEAD, STARTED, {**FINISHED, "epochs": 10**12}], "epochs: "),
        ([HEAD, STARTED, FINISHED, FINISHED], "ends and was never started"),
        ([HEAD, STOPPED], "was never started"),
    ],
)
def test_what_can_not_be_replayed_is_told(events: list[Mapping[str, Any]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check(*events)


def test_a_terminal_is_shown_names_and_obeys_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    paths = RunPaths(tmp_path / "runs" / "a")
    paths.root.mkdir(parents=True)
    evil = "\x1b]0;owned\x07\x1b[2J\u202e[bold red]"
    head = {**HEAD, "experiment": {"objective": {"metric": evil, "goal": "maximize"}}}
    start = {**STARTED, "values": {evil: evil}}
    done = {**FINISHED, "curves": {evil: [0.1, 0.2]}}
    failed = {**FINISHED, "event": "segment_failed", "trial": 1, "reason": evil}
    events = [head, start, done, {**STARTED, "trial": 1}, failed]
    paths.journal.write_bytes(sealed(events))
    for command in ("best", "trials", "runs"):
        assert program.run([command, "--runs-dir", str(tmp_path / "runs")]) == 0
        out, err = capsys.readouterr()
        assert not {"\x1b", "\x07", "\u202e"} & set(out + err)
        assert "\\x1b[2J\\u202e[bold red]" in out
    assert program.run(["best", "--runs-dir", str(tmp_path / "runs"), "--run", evil]) == 2
    assert "\x1b" not in capsys.readouterr().err


# --- locks ------------------------------------------------------------------------------------------------------------


def leave(paths: RunPaths, holder: Holder | str) -> None:
    paths.root.mkdir(parents=True, exist_ok=True)
    paths.journal.touch()
    paths.lock.write_text(holder if isinstance(holder, str) else json.dumps(asdict(holder)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pid": 2**22 + 1, "began": "7"}, "which was killed"),
        ({"pid": os.getppid(), "began": "7"}, "which was killed"),  # another process has its number now
        ({"boot": "another"}, "before this machine was started anew"),
        ({"host": "elsewhere", "pid": 77}, "process 77 on elsewhere .* another machine"),
    ],
)
def test_a_lock_that_was_left_behind_is_taken_over_and_told(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    paths = RunPaths(tmp_path / "a")
    leave(paths, replace(this_process(), **change))
    with locked(paths) as left:
        assert left is not None
        assert re.search(words, left), left
    assert paths.lock.read_text() == "", "given back"
    with locked(paths) as left:
        assert left is None


def test_a_process_that_is_alive_keeps_its_lock_where_the_file_system_has_none(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "a")
    parent = os.getppid()
    began = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    leave(paths, replace(this_process(), pid=parent, began=began))
    with pytest.raises(RunError, match=f"in use by process {parent} on"), locked(paths):
        pass


@pytest.mark.parametrize("text", ["garbage", "[1]", '{"pid": "x", "host": 1}', "{}", "[" * 5000])
def test_a_lock_file_that_says_nothing_holds_nobody_up(tmp_path: Path, text: str) -> None:
    paths = RunPaths(tmp_path / "a")
    leave(paths, text)
    with locked(paths) as left:
        assert left is None


# --- files ------------------------------------------------------------------------------------------------------------


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside, paths = tmp_path / "outside", RunPaths(tmp_path / "a")
    outside.write_text("mine")
    paths.root.mkdir()
    for path in (paths.report, paths.lock):
        path.symlink_to(outside)
    write_whole(paths.report, "a report")
    assert not paths.report.is_symlink()
    with pytest.raises(RunError, match="can't be used: it is a symbolic link"), locked(paths):
        pass
    assert outside.read_text() == "mine"


def test_a_file_that_could_not_be_written_leaves_the_old_one_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")

    def half() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_what_a_run_takes_up(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "a")
    assert size_bytes(paths) == 0
    write_whole(paths.best_result, "x" * 10_000)
    (paths.root / "link").symlink_to("/usr/bin/env")
    assert 10_000 <= size_bytes(paths) < 30_000
