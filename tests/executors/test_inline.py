"""The inline executor: runs segments in this process, one at a time, and keeps stdout for the command."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from hptune.errors import SpecError
from hptune.executors.inline import InlineExecutor
from hptune.rundir import RunPaths
from hptune.spec.load import from_json
from hptune.trial import Segment, SegmentFailure, SegmentResult

CODE = """\
import sys

def f(x):
    print("said by user code")
    if x == 1:
        raise ValueError("not one")
    if x == 2:
        sys.exit("enough")
    return {"score": x, "twice": 2 * x}
"""


@pytest.fixture
def executor(tmp_path: Path) -> InlineExecutor:
    (tmp_path / "inline_code.py").write_text(CODE)
    return make(tmp_path, "inline_code:f")


def make(folder: Path, function: str) -> InlineExecutor:
    experiment = from_json(
        {
            "version": 1,
            "name": "a",
            "model": {"function": function},
            "search_space": {"x": {"type": "int", "min": 0, "max": 9}},
            "objective": {"metric": "score", "goal": "maximize"},
        }
    )
    return InlineExecutor(experiment, folder, RunPaths(folder / "runs" / "a"), lambda *_: None)


def test_segments_run_in_the_order_in_which_they_were_submitted(executor: InlineExecutor) -> None:
    for trial, x in enumerate((5, 3)):
        executor.submit(Segment(trial, {"x": x}, to_epoch=1))
    outcomes = [outcome for _ in range(2) for outcome in executor.wait()]
    assert [(outcome.segment.trial, outcome.segment.values) for outcome in outcomes] == [(0, {"x": 5}), (1, {"x": 3})]
    assert all(isinstance(outcome, SegmentResult) for outcome in outcomes)
    assert executor.wait() == []
    assert pickle.loads(pickle.dumps(outcomes)) == outcomes


@pytest.mark.parametrize(
    ("x", "reason"), [(1, "ValueError: not one"), (2, "the code ended the process: sys.exit('enough')")]
)
def test_what_user_code_raises_is_that_segments_failure(executor: InlineExecutor, x: int, reason: str) -> None:
    executor.submit(Segment(0, {"x": x}, to_epoch=1))
    (outcome,) = executor.wait()
    assert isinstance(outcome, SegmentFailure)
    assert (outcome.reason, outcome.lost) == (reason, False)


def test_what_user_code_prints_goes_to_stderr(executor: InlineExecutor, capsys: pytest.CaptureFixture[str]) -> None:
    executor.submit(Segment(0, {"x": 3}, to_epoch=1))
    executor.wait()
    out, err = capsys.readouterr()
    assert out == ""
    assert "said by user code" in err


def test_a_probe_that_finds_nothing_to_run_is_a_spec_error(tmp_path: Path) -> None:
    executor = make(tmp_path, "no_such_module:f")
    executor.submit(Segment(0, {}, purpose="probe"))
    with pytest.raises(SpecError, match="no_such_module"):
        executor.wait()


def test_closing_drops_what_waits(executor: InlineExecutor) -> None:
    executor.submit(Segment(0, {"x": 3}, to_epoch=1))
    executor.close()
    assert executor.wait() == []
