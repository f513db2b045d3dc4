"""The runs folder: names, finding a run, the lock, moving a run aside."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from hptune.base.errors import RunError, SpecError
from hptune.base.files import write_whole
from hptune.run.lock import locked, move_aside
from hptune.run.rundir import RunPaths, find_run, list_runs


def _run(runs: Path, name: str, written: float) -> RunPaths:
    paths = RunPaths(runs / name)
    paths.root.mkdir(parents=True)
    paths.journal.write_text("")
    os.utime(paths.journal, (written, written))
    return paths


def test_the_newest_run_is_the_one_whose_journal_was_written_last(tmp_path: Path) -> None:
    _run(tmp_path, "old", 100)
    newest = _run(tmp_path, "new", 300)
    _run(tmp_path, "middle", 200)
    (tmp_path / "no-run").mkdir()
    (tmp_path / "file").write_text("")
    assert [paths.name for paths in list_runs(tmp_path)] == ["new", "middle", "old"]
    assert find_run(tmp_path) == newest
    assert find_run(tmp_path, "old").name == "old"


def test_an_unknown_run_names_the_nearest_and_the_others(tmp_path: Path) -> None:
    _run(tmp_path, "digits", 1)
    _run(tmp_path, "iris", 2)
    with pytest.raises(SpecError, match=r"no run 'digit'.*did you mean 'digits'\? Known, newest first: iris, digits"):
        find_run(tmp_path, "digit")


def test_no_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="hptune search CONFIG"):
        find_run(tmp_path / "runs")


def test_a_second_process_is_refused_with_the_holders_pid(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "a")
    code = f"""
from pathlib import Path
from hptune.run.lock import locked
from hptune.run.rundir import RunPaths
with locked(RunPaths(Path({str(paths.root)!r}))):
    print("held", flush=True)
    input()
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        for _ in range(2):  # being refused takes nothing away from the holder
            with pytest.raises(RunError, match=f"process {holder.pid} on "), locked(paths):
                pass
        paths.journal.write_text("")
        with pytest.raises(RunError, match=str(holder.pid)):
            move_aside(paths)
    finally:
        holder.kill()
        holder.wait()
    with locked(paths):  # free as soon as its holder is gone
        assert str(os.getpid()) in paths.lock.read_text()


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "a")
    with pytest.raises(KeyError), locked(paths):
        raise KeyError
    with locked(paths):
        pass


@pytest.mark.parametrize("times", [1, 1000])
def test_a_lock_whose_folder_is_moved_aside_as_it_is_taken_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    paths, moved, flock = RunPaths(tmp_path / "a"), [0], fcntl.flock

    def moving(fd: int, how: int) -> None:
        if moved[0] < times:  # what `--fresh` of another process does between the opening and the locking
            paths.root.rename(tmp_path / f"a.{moved[0]}")
            moved[0] += 1
        flock(fd, how)

    monkeypatch.setattr("fcntl.flock", moving)
    with pytest.raises(RunError, match="again and again") if times > 1 else nullcontext(), locked(paths):
        assert str(os.getpid()) in paths.lock.read_text()
        assert (tmp_path / "a.0" / "lock").read_text() == ""


def test_a_run_whose_journal_was_deleted_keeps_the_rest(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "runs" / "a")
    with locked(paths):
        paths.spec.write_text("")
        paths.data.mkdir()
    assert paths.lock.exists()
    assert paths.data.exists()


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "runs" / "a")
    with locked(paths):
        pass
    assert list(paths.root.parent.iterdir()) == []
    with locked(paths):
        paths.journal.write_text("")
    assert paths.journal.exists()


def test_moving_aside_never_overwrites(tmp_path: Path) -> None:
    names = []
    for n in range(3):
        paths = _run(tmp_path, "a", n)
        (paths.root / "mark").write_text(str(n))
        aside = move_aside(paths)
        assert aside is not None
        names.append((aside.name, (aside / "mark").read_text()))
    assert names == [("a.1", "0"), ("a.2", "1"), ("a.3", "2")]
    assert move_aside(RunPaths(tmp_path / "a")) is None


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "best" / "result.json"
    write_whole(path, "one")
    write_whole(path, "two\n")
    assert path.read_text() == "two\n"
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RunError, match="can't be written"):
        write_whole(blocked / "x", "text")
