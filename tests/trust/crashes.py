"""What a power cut may leave of a folder: made of the log of all that was done in it (`disk.c`).

The model is stricter than any file system in use. What was written to a file is there for certain only after an fsync
of that file, and a name (made, renamed, removed) only after one of its folder; until then each write and each name may
be there or not, whatever came before it. Appended bytes alone (the journal) are there up to some byte.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

HEAD = struct.Struct("<cqqII")


@dataclass
class Tree:
    """Folders and files by number: what each holds. The folder 0 is the root."""

    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {}})
    files: dict[int, bytearray] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One thing done. told: so many commands had ended before. names: (folder, name, what it stands for then).

    file: whose bytes are changed, at `at`; data: None: it is cut to `at` bytes. synced: of what all is there from then.
    """

    told: int
    names: tuple[tuple[int, str, int | None], ...] = ()
    file: int | None = None
    at: int = 0
    data: bytes | None = None
    synced: int | None = None


class Log:
    """A log, read: every step, by the numbers of files and folders instead of their paths."""

    def __init__(self, log: bytes, root: str) -> None:
        self._root, self._next = root, 1
        self._tree = Tree()
        self.folders = {0}
        self.told: list[int] = []
        """The exit codes of the commands that ended."""
        self.steps = list(self._read(log))

    def _read(self, log: bytes) -> Iterator[Step]:
        at = 0
        while at < len(log):
            op, one, two, size, more = HEAD.unpack_from(log, at)
            at += HEAD.size
            path, data = log[at : at + size].decode(), log[at + size : at + size + more]
            at += size + more
            if op == b"T":
                self.told.append(two)
            elif (step := self._step(op.decode(), one, path, data)) is not None:
                yield step

    def _step(self, op: str, number: int, path: str, data: bytes) -> Step | None:
        told = len(self.told)
        if op in "wts":
            found = self._number(path)
            if found is None:  # deleted, and still open
                return None
            if op == "s":
                return Step(told, synced=found)
            return Step(told, file=found, at=number, data=data if op == "w" else None)
        if op == "r":
            return self._named(told, self._renamed(path, data.decode(), exchanged=bool(number)))
        folder, name = self._place(path)
        if op in "ux":
            return self._named(told, ((folder, name, None),))
        made, self._next = self._next, self._next + 1
        if op == "d":
            self._tree.folders[made] = {}
            self.folders.add(made)
        return self._named(told, ((folder, name, made),))

    def _renamed(self, path: str, other: str, *, exchanged: bool) -> tuple[tuple[int, str, int | None], ...]:
        (old, name), (new, newer) = self._place(path), self._place(other)
        back = self._tree.folders[new][newer] if exchanged else None
        return ((old, name, back), (new, newer, self._tree.folders[old][name]))

    def _named(self, told: int, names: tuple[tuple[int, str, int | None], ...]) -> Step:
        for folder, name, number in names:
            name_it(self._tree, folder, name, number)
        return Step(told, names=names)

    def _place(self, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        number = self._number(folder)
        assert number is not None, path
        return number, name

    def _number(self, path: str) -> int | None:
        found: int | None = 0
        for name in path.removeprefix(self._root).strip("/").split("/"):
            if name:
                found = self._tree.folders.get(found, {}).get(name) if found is not None else None
        return found


def name_it(tree: Tree, folder: int, name: str, number: int | None) -> None:
    if number is None:
        tree.folders[folder].pop(name, None)
    else:
        tree.folders[folder][name] = number


def left(log: Log, end: int, keep: Callable[[int], bool], cut: Callable[[int], int]) -> Tree:
    """What is left after the first `end` steps. keep: whether a step that was not synced has reached the disk.

    cut: how many of so many appended bytes have.
    """
    certain: dict[int, int] = {}  # by number: up to which step all is there
    for index, step in enumerate(log.steps[:end]):
        if step.synced is not None:
            certain[step.synced] = index
    tree = Tree()
    tree.folders |= {number: {} for number in log.folders}
    ended: set[int] = set()  # files whose appended bytes end here
    for index, step in enumerate(log.steps[:end]):
        of = {folder for folder, _, _ in step.names} if step.names else {step.file}
        there = all(certain.get(number, -1) > index for number in of if number is not None)
        if step.names and (there or keep(index)):
            for folder, name, number in step.names:
                name_it(tree, folder, name, number)
        if step.file is None or step.file in ended:
            continue
        data = tree.files.setdefault(step.file, bytearray())
        appended = step.data is not None and step.at == len(data)
        if there or keep(index):
            _change(data, step.at, step.data)
        elif appended:
            ended.add(step.file)
            _change(data, step.at, (step.data or b"")[: cut(len(step.data or b""))])
    return tree


def _change(data: bytearray, at: int, new: bytes | None) -> None:
    if new is None:
        data[:] = data[:at].ljust(at, b"\0")
        return
    if len(data) < at:
        data.extend(bytes(at - len(data)))
    data[at : at + len(new)] = new


def paths(tree: Tree, folder: int = 0, before: str = "") -> dict[str, bytes | None]:
    """Every path below the root; a folder's stands for None."""
    found: dict[str, bytes | None] = {}
    for name, number in sorted(tree.folders[folder].items()):
        if number in tree.folders:
            found[f"{before}{name}"] = None
            found |= paths(tree, number, f"{before}{name}/")
        else:
            found[f"{before}{name}"] = bytes(tree.files.get(number, b""))
    return found


def states(log: Log, seed: int, *, at_random: int = 2) -> Iterator[tuple[int, dict[str, bytes | None]]]:
    """(how many commands had ended, what is left) for a power cut after each step, each state once.

    For each: nothing that was not synced is there; all of it; the names alone; the bytes alone; and some at random.
    """
    seen: set[int] = set()
    for end in range(len(log.steps) + 1):
        told = log.steps[end - 1].told if end else 0
        told = len(log.told) if end == len(log.steps) else log.steps[end].told if end else told
        ways: list[tuple[Callable[[int], bool], Callable[[int], int]]] = [
            (lambda _: False, lambda _: 0),
            (lambda _: True, lambda size: size),
            (lambda index: bool(log.steps[index].names), lambda _: 0),
            (lambda index: not log.steps[index].names, lambda size: size),
        ]
        for number in range(at_random):
            random = Random(f"{seed} {end} {number}")
            ways.append((lambda _, r=random: r.random() < 0.5, lambda size, r=random: r.randrange(size + 1)))  # type: ignore[misc]
        for keep, cut in ways:
            found = paths(left(log, end, keep, cut))
            key = hash((told, tuple(found.items())))
            if key not in seen:
                seen.add(key)
                yield told, found


def put_down(found: dict[str, bytes | None], root: Path) -> None:
    """Make a folder of what is left."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for path, data in found.items():
        if data is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(data)
