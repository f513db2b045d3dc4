"""Data that is handed over: read once, the same to the byte, and not kept where it can't be."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.experiment.data import SourceData
from hptune.training.data import Data, load_data
from hptune.training.data.store.shared import SharedData


@pytest.fixture
def fd() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def digits() -> Data:
    return load_data(SourceData(source="digits"), folder=Path(), seed=0)


def never() -> Data:
    raise AssertionError("read a second time")


def test_the_second_has_what_the_first_read(fd: int) -> None:
    first = SharedData(fd).get(digits)
    second = SharedData(fd).get(never)
    for one, other in ((first.train, second.train), (first.validation, second.validation)):
        for a, b in ((one.x, other.x), (one.y, other.y)):
            assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes())
            assert b.flags.c_contiguous
            assert b.ctypes.data % 64 == 0
            assert not b.flags.writeable, "a worker must not change what the others see"
    assert (second.labels, second.fingerprint, second.rows) == (first.labels, first.fingerprint, first.rows)


def test_several_arrays_and_a_part_without_samples(fd: int) -> None:
    data = digits()
    x = {"a": np.arange(7, dtype=np.float32).reshape(7, 1), "b": np.zeros((0, 3), np.int32)}
    given = replace(data, train=replace(data.train, x=x))
    SharedData(fd).get(lambda: given)
    found = SharedData(fd).get(never).train.x
    assert found["a"].tolist() == x["a"].tolist()
    assert found["b"].shape == (0, 3)


def test_what_is_no_plain_data_is_read_by_each(fd: int) -> None:
    calls: list[int] = []

    def stream() -> Any:
        calls.append(1)
        return (sample for sample in range(3))

    for _ in range(2):
        assert list(SharedData(fd).get(stream)) == [0, 1, 2]
    assert len(calls) == 2


def test_a_reader_that_fails_leaves_it_to_the_next(fd: int) -> None:
    with pytest.raises(AssertionError, match="a second time"):
        SharedData(fd).get(never)
    assert SharedData(fd).get(digits).fingerprint == digits().fingerprint


READER = """\
import sys
from pathlib import Path
from hptune.experiment.data import SourceData
from hptune.training.data import load_data
from hptune.training.data.store.shared import SharedData
def read():
    print("read")
    return load_data(SourceData(source="digits"), folder=Path(), seed=0)
SharedData(int(sys.argv[1])).get(read)
"""


def test_processes_that_come_at_the_same_time_read_once(fd: int) -> None:
    command = [sys.executable, "-c", READER, str(fd)]
    readers = [subprocess.Popen(command, pass_fds=(fd,), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert "".join(reader.communicate(timeout=120)[0] for reader in readers) == "read\n"
    assert all(reader.returncode == 0 for reader in readers)


LEAVES = """
import os
import numpy as np
from sklearn.base import ClassifierMixin, BaseEstimator

FIRST = 0

def data():
    global FIRST
    FIRST = 1
    os.environ["LEFT_BY_DATA"] = "1"
    x = np.arange(40.0).reshape(40, 1)
    return x, (x[:, 0] % 2).astype(int)

class Guess(ClassifierMixin, BaseEstimator):
    def __init__(self, a=0.0):
        self.a = a
    def fit(self, x, y):
        assert FIRST == 1 and os.environ["LEFT_BY_DATA"] == "1", "what the data's function leaves is not there"
        self.classes_ = np.unique(y)
        return self
    def predict(self, x):
        return (x[:, 0] > self.a).astype(int)
"""


def test_what_the_function_leaves_behind_is_there_in_every_worker(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text(LEAVES)
    (tmp_path / "a.yaml").write_text(
        "version: 1\nname: a\ndata: {python: 'leaves:data'}\nmodel: {sklearn: 'leaves:Guess', params: {a: $a}}\n"
        "search_space: {a: {type: float, min: 0.0, max: 40.0}}\nstrategy: {name: random}\nbudget: {trials: 8}\n"
        "execution: {workers: 2}\n"
    )
    command = [sys.executable, "-m", "hptune", "search", "a.yaml"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    journal = (tmp_path / "runs" / "a" / "journal.jsonl").read_text()
    assert "segment_failed" not in journal
