"""Whatever stands in a place of a run's folder (a link, a pipe, a device): nothing outside the folder is touched."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hptune import __main__ as program
from hptune.base.errors import RunError
from hptune.base.files import (
    is_file,
    make_folder,
    move,
    names,
    open_file,
    remove,
    replace_folder,
    restore_folder,
    whole_file,
)

SPEC = """\
version: 1
name: a
data: {images: pics, size: [2, 2], validation: 0.4, test: 0}
model: {layers: [Flatten, Dense: {units: 2, activation: softmax}]}
search_space: {rate: {type: float, min: 0.001, max: 0.1}}
training: {epochs: 1, batch_size: 4, optimizer: {learning_rate: $rate}}
initialization: {stabilize: {method: warmup, epochs: 1, start: 0.001, end: 0.01}}
strategy: {name: random}
budget: {trials: 2}
execution: {executor: inline}
checkpoints: {keep: 2}
"""

COMMANDS = ("search", "train-best", "report", "best", "predict", "fresh")

WRITING = ("search", "train-best")
"""The commands that have most to do in a run's folder: tried on every link, the others where they refuse it."""

FOLDERS = {
    "": "search train-best report best predict fresh",
    "stabilized": "search train-best",
    "trials": "search",
    "trials/0000": "search",
    "data": "search train-best fresh",
    "best": "train-best predict",
    "tmp-best": "search train-best fresh",
    "tmp-replaced": "search train-best fresh",
}
"""Each folder of a run, and the commands that refuse it where it is a link. The others have no business there."""

FILES = {
    "journal.jsonl": "search train-best report best predict fresh",
    "lock": "search train-best fresh",
    "clock": "search",
    "spec.yaml": "search",
    "report.html": "report",
    "trials/0000/state-r0-e001.npz": "search",
    "stabilized/*.npz": "search train-best",
    "data/images-*.u8": "search train-best",
    "data/images-*.u8.json": "search train-best",
    "best/signature.json": "predict",
    "best/model.keras": "predict",
    "best/model.skops": "predict",
    "best/model.weights.h5": "predict",
    "best/result.json": "",
    "best/history.csv": "",
}
"""Each file of a run, and the commands that refuse a pipe in its place."""


def run(command: str, folder: Path) -> int:
    arguments = {
        "search": ["search", "a.yaml", "--quiet", "--set", "budget.trials=3"],
        "fresh": ["search", "a.yaml", "--quiet", "--fresh"],
        "predict": ["predict", "--run", "a", "--input", "pics/x"],
        "report": ["report", "--run", "a"],
        "best": ["best", "--run", "a"],
        "train-best": ["train-best", "--run", "a"],
    }
    os.chdir(folder)
    return program.run(arguments[command])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run with everything that a run may have."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("home")
    for number in range(12):
        picture = folder / "pics" / "xy"[number % 2] / f"{number}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((2, 2, 3), 20 * number, np.uint8)
        picture.write_bytes(tf.io.encode_png(pixels).numpy())
    (folder / "a.yaml").write_text(SPEC)
    before = Path.cwd()
    os.chdir(folder)
    assert program.run(["search", "a.yaml", "--quiet"]) == 0
    assert run("train-best", folder) == 0
    yield folder
    os.chdir(before)


@pytest.fixture
def copy(home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(home, folder)
    (folder / "pics").rename(folder / "unused")
    (folder / "pics").symlink_to(home / "pics")  # the same files, of which the cache was made
    return folder


def precious(folder: Path) -> Path:
    """A folder of which nothing may change; things in it are called as things in a run are."""
    made = folder / "precious"
    names = [
        "thesis.txt",
        "sub/more.txt",
        "lock",
        "state-r0-e001.npz",
        "0000/state-r0-e001.npz",
        "9999/state-r0-e001.npz",
    ]
    for name in [*names, "images-1.u8.part", "old-r0.npz", "model.keras", "best/model.keras", "data/x", "a.part"]:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"the only copy of {name}")
    return made


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            status.st_mode,
            status.st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted([folder, *folder.rglob("*")])
        for status in [path.lstat()]
    }


def put(folder: Path, place: str, make: Callable[[Path], None]) -> None:
    """Put something else in a place of the run."""
    root = folder / "runs" / "a"
    found = sorted(root.glob(place)) if "*" in place else [root / place]
    assert len(found) >= 1, place
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        make(path)


@contextmanager
def soon() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(300)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("place", FOLDERS)
def test_a_linked_folder_is_refused_and_what_it_points_to_is_left(
    copy: Path, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    outside = precious(copy)
    if (real := copy / "runs" / "a" / place).exists():  # so that all is as it should be behind the link
        shutil.copytree(real, outside, dirs_exist_ok=True)
    before = everything(outside)
    put(copy, place, lambda path: path.symlink_to(outside))
    _try(copy, place, FOLDERS[place], capfd, "it is a symbolic link", also=WRITING)
    assert everything(outside) == before


@pytest.mark.parametrize("place", FILES)
def test_a_linked_file_is_left(copy: Path, place: str, capfd: pytest.CaptureFixture[str]) -> None:
    outside = precious(copy)
    before = everything(outside)
    put(copy, place, lambda path: path.symlink_to(outside / "thesis.txt"))
    refused = FILES[place] if place != "report.html" else ""  # a link in a file's place is replaced by the file
    _try(
        copy, place, refused, capfd, "it is a symbolic link", also=WRITING if place.startswith("best") else ("report",)
    )
    assert everything(outside) == before


@pytest.mark.parametrize("place", FILES)
def test_a_pipe_is_refused_and_never_waited_for(copy: Path, place: str, capfd: pytest.CaptureFixture[str]) -> None:
    put(copy, place, os.mkfifo)
    _try(copy, place, FILES[place], capfd, "it is a pipe")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
@pytest.mark.parametrize("place", ["journal.jsonl", "lock", "clock", "best/model.keras"])
def test_a_device_is_refused(copy: Path, place: str, capfd: pytest.CaptureFixture[str]) -> None:
    zero = Path("/dev/zero").stat().st_rdev
    put(copy, place, lambda path: os.mknod(path, 0o600 | 0o020000, zero))
    _try(copy, place, FILES[place], capfd, "it is a device")


@pytest.mark.parametrize("place", FILES)
def test_a_file_with_another_name_is_not_changed_by_that_name(
    copy: Path, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A hard link, as `cp -l` makes it: what is written whole becomes a file of its own, the others are refused."""
    root = copy / "runs" / "a"
    (content,) = {path.read_bytes() for path in root.glob(place)} or {b"precious"}
    outside = copy / "outside"
    for command in WRITING:
        kept = copy.with_name(f"copy-{command}")
        shutil.copytree(copy, kept, symlinks=True)
        outside.write_bytes(content)
        put(kept, place, lambda path: path.hardlink_to(outside))
        capfd.readouterr()
        code = run(command, kept)
        told = capfd.readouterr().err
        assert outside.read_bytes() == content, command
        if place in ("journal.jsonl", "lock"):
            assert code == 1, told
            assert "has another name too (a hard link" in told
        else:
            assert code == 0, told


@pytest.mark.slow
@pytest.mark.parametrize("place", [*FOLDERS, *FILES])
def test_no_command_touches_what_is_outside(copy: Path, place: str, capfd: pytest.CaptureFixture[str]) -> None:
    outside = precious(copy)
    before = everything(outside)
    refused = FOLDERS.get(place) or FILES.get(place, "")
    put(copy, place, lambda path: path.symlink_to(outside / ("thesis.txt" if place in FILES else ".")))
    if place not in ("", "report.html"):
        _try(copy, place, refused, capfd, "it is a symbolic link", also=COMMANDS)
    assert everything(outside) == before


def _try(
    folder: Path,
    place: str,
    refused: str,
    capfd: pytest.CaptureFixture[str],
    words: str,
    *,
    also: tuple[str, ...] = (),
) -> None:
    """The commands that refuse, and others, each on a run as it was; those that refuse say what is in the way."""
    capfd.readouterr()
    for command in dict.fromkeys([*refused.split(), *also]):
        kept = folder.with_name(f"copy-{command}")
        shutil.copytree(folder / "runs", kept / "runs", symlinks=True, copy_function=_copied, dirs_exist_ok=True)
        for name in ("a.yaml", "pics"):
            (kept / name).symlink_to(folder / name)
        with soon():
            code = run(command, kept)
        told = capfd.readouterr().err
        assert "fault in hptune" not in told, told
        if command in refused.split():
            assert code == 1, (command, told)
            assert words in told, (command, told)
            assert "Move it away" in told
        else:
            assert code == 0, (command, told)


def _copied(source: str, target: str) -> str:
    status = os.lstat(source)
    if status.st_mode & 0o170000 in (0o010000, 0o020000):
        os.mknod(target, status.st_mode, status.st_rdev)
        return target
    return shutil.copy2(source, target, follow_symlinks=False)


# --- the functions themselves -----------------------------------------------------------------------------------------


def test_a_link_on_the_way_is_refused_by_each_function(tmp_path: Path) -> None:
    outside, root = precious(tmp_path), tmp_path / "runs" / "a"
    root.mkdir(parents=True)
    (root / "best").symlink_to(outside)
    (root / "new").mkdir()
    (root / "file").write_text("x")
    before, below = everything(outside), tmp_path / "runs"
    inside = root / "best" / "sub"
    tried: list[Callable[[], object]] = [
        lambda: names(root / "best", below=below),
        lambda: is_file(inside / "more.txt", below=below),
        lambda: open_file(inside / "more.txt", below=below),
        lambda: remove(root / "best", below=below),
        lambda: remove(inside / "more.txt", below=below),
        lambda: remove(inside, below=below),
        lambda: make_folder(inside / "new", below=below),
        lambda: move(root / "file", inside / "more.txt", below=below),
        lambda: move(inside / "more.txt", root / "file", below=below),
        lambda: replace_folder(root / "new", root / "best", root / "aside", below=below),
        lambda: replace_folder(inside, root / "other", root / "aside", below=below),
        lambda: whole_file(inside / "more.txt", below=below).__enter__(),
    ]
    for one in tried:
        with pytest.raises(RunError, match="best can't be used: it is a symbolic link"):
            one()
    assert everything(outside) == before


def test_links_inside_a_folder_are_not_followed_when_it_is_deleted(tmp_path: Path) -> None:
    outside = precious(tmp_path)
    before = everything(outside)
    old = tmp_path / "runs" / "a" / "tmp-best"
    old.mkdir(parents=True)
    (old / "savedmodel").symlink_to(outside)
    (old / "model.keras").symlink_to(outside / "thesis.txt")
    remove(old, below=tmp_path / "runs")
    assert not old.exists()
    assert everything(outside) == before


def test_the_runs_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    with whole_file(tmp_path / "runs" / "a" / "file", below=tmp_path / "runs") as file:
        file.write(b"text")
    assert (tmp_path / "disk" / "a" / "file").read_bytes() == b"text"


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_takes_the_place_of_another_whole(
    tmp_path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr("hptune.base.files._exchanged", lambda *_: False)
    old, new, aside = (tmp_path / name for name in ("best", "tmp-best", "tmp-replaced"))
    for folder in (old, new):
        (folder / "inside").mkdir(parents=True)
        (folder / "inside" / folder.name).write_text("x")
    replace_folder(new, old, aside, below=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert [path.name for path in (old / "inside").iterdir()] == ["tmp-best"]


def test_an_old_folder_that_was_put_aside_comes_back(tmp_path: Path) -> None:
    old, aside = tmp_path / "best", tmp_path / "tmp-replaced"
    aside.mkdir()
    restore_folder(old, aside, below=tmp_path)
    assert old.exists()
    aside.mkdir()
    restore_folder(old, aside, below=tmp_path)
    assert aside.exists(), "the new one is there: the old one is not needed"
