"""What is made once of the data is what it was, or is made again."""

from pathlib import Path
from typing import Any

import pytest

from hptune.training.data.store.kept import Output, kept

SAID = {"bad": [19], "rows": 3, "of": None}


class Maker:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self, file: Output) -> Any:
        self.times += 1
        file.write(b"\x00\x01" * 5)
        return SAID


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "pictures"


def test_it_is_made_once(path: Path) -> None:
    make = Maker()
    assert [kept(path, make), kept(path, make)] == [SAID, SAID]
    assert (make.times, path.read_bytes()) == (1, b"\x00\x01" * 5)


@pytest.mark.parametrize("which", ["pictures", "pictures.json"])
def test_whichever_bit_turns_it_is_made_again(path: Path, which: str) -> None:
    make = Maker()
    kept(path, make)
    file = path.with_name(which)
    whole = file.read_bytes()
    for place in range(len(whole)):
        before = make.times
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x04]) + whole[place + 1 :])
        assert kept(path, make) == SAID
        assert file.read_bytes() == whole
        assert make.times == before + 1, whole[max(place - 9, 0) : place + 9]
