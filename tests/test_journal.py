"""The journal: exact, append-only, and whole however it was cut."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hptune.base.errors import RunError
from hptune.run.journal import Journal, checksum, decode, encode, read

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # halves of surrogate pairs too
_SCALARS |= _ANY_TEXT
_NAMES = st.text() | _ANY_TEXT | st.sampled_from(["$float", "$$float", "$$$float", "$floats"])
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3), max_leaves=10
)


def _same(a: object, b: object) -> bool:
    """Equal to the bit: NaN equals NaN, 0.0 is not -0.0, 1 is not True."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return type(a) is type(b) and a == b


@given(_JSON)
def test_what_is_written_comes_back_to_the_bit(value: object) -> None:
    event = {"event": "x", "value": value}
    line = encode(event)
    assert _same(decode(line), event)
    assert line.count(b"\n") == 1


@given(st.lists(st.floats(), max_size=4))
def test_every_line_is_plain_json(values: list[float]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads(encode({"event": "x", "values": values}), parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, 0.5], "[1,0.5]"),
        ([1, -math.inf], '[1,{"$float":"-inf"}]'),
        (["naïve"], '["naïve"]'),
        (["naïve", math.nan], '["naïve",{"$float":"nan"}]'),
    ],
    ids=["numbers", "infinite", "letters", "both"],
)
def test_a_line_is_short_and_keeps_its_letters(value: object, text: str) -> None:
    assert encode({"event": "x", "value": value}).decode().startswith(f'{{"event":"x","value":{text},"crc":"')


@pytest.mark.parametrize("value", ["nan", "inf", [1.0], 1.0, {"$float": "nan"}, math.nan, {"$float": math.inf}])
def test_a_name_like_the_tag_of_a_number_is_a_name(value: object) -> None:
    event = {"event": "x", "curves": {"$float": value}, "$float": 1}
    assert _same(decode(encode(event)), event)


def test_names_that_are_no_unicode_come_back_too() -> None:
    event = {"event": "x", "path": os.fsdecode(b"caf\xe9.csv")}
    assert decode(encode(event)) == event


def test_events_have_a_time_and_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        returned = [journal.append({"event": "a", "n": n}, durable=n == 1) for n in range(3)]
    assert list(read(path)) == returned
    assert all({"event", "time"} <= set(event) for event in returned)


def test_cut_at_every_byte_it_is_read_and_written_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        events = [journal.append({"event": "naïve", "n": n, "loss": [0.1 * n, math.inf]}) for n in range(4)]
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        left = events[: sum(end <= cut for end in ends)]
        assert list(read(path)) == left
        with Journal(path) as journal:
            more = journal.append({"event": "more"})
        assert list(read(path)) == [*left, more]


@pytest.mark.parametrize("damage", [b"\xff\x00garbage\n", b"[1]\n", b"\n", b'{"event": 1}\n', b'{"time": 2}\n', b"{\n"])
def test_damage_is_told_with_its_line_and_the_way_out(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for n in range(3):
            journal.append({"event": "a", "n": n})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:1], damage, *lines[1:]]))
    with pytest.raises(RunError, match=r"journal\.jsonl:2: .*Remove this line.*--fresh"):
        list(read(path))


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for n in range(4):
            journal.append({"event": "a", "n": n, "loss": [0.25, -1e-3]})
    return path.read_bytes().splitlines(keepends=True)


def test_every_flipped_bit_is_told_with_its_line(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "journal.jsonl"
    second = lines[1]
    for at in range(len(second) - 1):
        for bit in range(8):
            turned = bytes([second[at] ^ 1 << bit])
            path.write_bytes(b"".join([lines[0], second[:at], turned, second[at + 1 :], *lines[2:]]))
            with pytest.raises(RunError, match=r"journal\.jsonl:2: the journal is damaged here"):
                list(read(path))


@pytest.mark.parametrize(
    ("order", "first_wrong"), [((1, 2, 3), 1), ((0, 2, 3), 2), ((0, 1, 1, 2), 3), ((0, 2, 1, 3), 2), ((0, 1, 3), 3)]
)
def test_a_line_that_is_lost_or_doubled_or_elsewhere_is_noticed(
    tmp_path: Path, lines: list[bytes], order: tuple[int, ...], first_wrong: int
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(lines[n] for n in order))
    with pytest.raises(RunError, match=rf"journal\.jsonl:{first_wrong}: .*its checksum does not fit"):
        list(read(path))


def test_a_last_line_without_its_checksum_is_not_written_on(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(lines[0] + b'{"event":"a","time":1.0}\n')
    with pytest.raises(RunError, match=r"journal\.jsonl:2: .*it has no checksum"), Journal(path):
        pass


def test_a_full_disk_ends_the_run_and_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path) as journal:
        first = journal.append({"event": "a"})
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
        try:
            with pytest.raises(RunError, match=r"journal\.jsonl can't be written: File too large\."):
                journal.append({"event": "b", "text": "x" * 100})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(read(path)) == [first]
    with Journal(path) as journal:
        second = journal.append({"event": "c"})
    assert list(read(path)) == [first, second]


class Disk:
    """What of a journal is on the disk, and a clock that is set by hand."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.lines = 100.0, -1
        monkeypatch.setattr("hptune.run.journal.time.monotonic", lambda: self.now)
        monkeypatch.setattr(
            "hptune.run.journal.os.fsync", lambda _: setattr(self, "lines", path.read_bytes().count(b"\n"))
        )


def test_a_power_cut_costs_a_tenth_of_a_second_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append({"event": "head"})
    disk = Disk(path, monkeypatch)
    with Journal(path) as journal:
        assert disk.lines == 1, "what a killed process wrote is on the disk before anything follows from it"
        disk.now += 0.06
        journal.append({"event": "a"})
        assert disk.lines == 1
        disk.now += 0.06
        journal.append({"event": "b"}, durable=False)
        assert disk.lines == 1
        journal.append({"event": "c"})
        assert disk.lines == 4
        journal.append({"event": "d"})
    assert disk.lines == 5


def test_what_is_owed_to_the_disk_has_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    disk = Disk(path, monkeypatch)
    with Journal(path) as journal:
        assert journal.due_s() is None
        disk.now += 0.03
        journal.append({"event": "a"}, durable=False)
        assert journal.due_s() is None, "it would be written again"
        journal.append({"event": "b"})
        journal.append({"event": "c"}, durable=False)
        assert journal.due_s() == pytest.approx(0.07)
        disk.now += 5
        assert journal.due_s() == 0.0
        assert disk.lines == 0
        journal.sync()
        assert (disk.lines, journal.due_s()) == (3, None)


def test_a_disk_that_fails_is_told_and_the_file_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    before = len(list(Path("/dev/fd").iterdir()))
    journal = Journal(tmp_path / "journal.jsonl")
    monkeypatch.setattr("hptune.run.journal.os.fsync", fail)
    with pytest.raises(RunError, match=r"journal\.jsonl can't be written: Input/output error\."):
        journal.close()
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_the_name_of_a_new_journal_and_of_its_folder_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("hptune.base.files.sync_folder", synced.append)
    for times in (1, 2):  # whoever made it may have been killed before it was there for good
        with Journal(tmp_path / "journal.jsonl"):
            assert synced == [tmp_path, tmp_path.parent] * times


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file"):
        Journal(tmp_path / "nowhere" / "journal.jsonl")
    with pytest.raises(RunError, match="can't be read"):
        list(read(tmp_path / "journal.jsonl"))


def test_a_second_writer_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append({"event": "a"})
        with path.open("ab") as other:
            other.write(encode({"event": "b"}))
        before = path.read_bytes()
        with pytest.raises(RunError, match="written by another process"):
            journal.append({"event": "c"})
        assert path.read_bytes() == before


def test_a_journal_is_a_file_of_its_own(tmp_path: Path) -> None:
    path, link = tmp_path / "elsewhere", tmp_path / "journal.jsonl"
    path.write_bytes(encode({"event": "a"}))
    link.symlink_to(path)
    with pytest.raises(RunError, match="can't be used: it is a symbolic link"):
        list(read(link))
    with pytest.raises(RunError, match="can't be used: it is a symbolic link"), Journal(link):
        pass
    link.unlink()
    os.mkfifo(link)
    with pytest.raises(RunError, match="can't be used: it is a pipe"):
        list(read(link))


def test_the_file_can_be_read_with_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        told: Any = journal.append({"event": "naïve"})
    assert "naïve" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o111 == 0
    assert told["time"] == round(told["time"], 3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"event":1}', "no event"),
        (b'{"time":2}', "no event"),
        (b'{"event"}', "it is no JSON"),
        (b'{"event":"\xff"}', "it is no JSON"),
        (b'{"event":"\\}', "it is no JSON"),
        (b'{"event":"x","a":' + b"9" * 5000 + b"}", "integer string conversion"),
        (b'{"event":"x","a":' + b"[" * 100_000 + b"}", "recursion"),
    ],
    ids=["number", "nothing", "no value", "no text", "no end", "long", "deep"],
)
def test_lines_whose_checksum_fits_may_be_damage_still(tmp_path: Path, text: bytes, why: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(text[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(text[:-1]))
    with pytest.raises(RunError, match=rf"journal\.jsonl:1: .* \(.*{why}.*\)\. Remove"):
        list(read(path))


def test_what_a_check_refuses_is_told_with_its_line(tmp_path: Path) -> None:
    def refuse(event: Mapping[str, Any]) -> None:
        if event["event"] == "b":
            raise ValueError("b is not wanted")

    path = tmp_path / "journal.jsonl"
    path.write_bytes(encode({"event": "a"}) + encode({"event": "b"}, checksum(encode({"event": "a"}))))
    with pytest.raises(RunError, match=r"journal\.jsonl:2: .*\(b is not wanted\)"):
        list(read(path, refuse))


@pytest.mark.parametrize("told", [[], {}, None, 1.5, "1.5", "infinity", ""])
def test_a_number_is_spelt_in_three_ways_alone(tmp_path: Path, told: object) -> None:
    path = tmp_path / "journal.jsonl"
    text = json.dumps({"event": "a", "loss": [{"$float": told}]}).encode()[:-1]
    path.write_bytes(text + b',"crc":"%08x"}\n' % zlib.crc32(text))
    with pytest.raises(RunError, match=r"journal\.jsonl:1: .*must be one of nan, inf, -inf"):
        list(read(path))
