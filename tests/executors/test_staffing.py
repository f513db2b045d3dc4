"""How many workers there are, and what each sees: from figures alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptune.base.trial import Segment
from hptune.executors import machine
from hptune.executors.machine import share_gpus
from hptune.executors.staffing import Staffing
from hptune.experiment.execution import Execution


@pytest.fixture(autouse=True)
def machine_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.setattr(machine, "idle_cores", lambda: 4)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 64 * 2**30)
    monkeypatch.setattr(machine, "gpus", list)


def staffing(trials: int | None, start_s: float = 4.0, **execution: object) -> Staffing:
    return Staffing(Execution.model_validate(execution), trials, start_s=start_s)


def train(staff: Staffing, *seconds: float, at: float = 0.0) -> Staffing:
    """Trials that took so long, one after the other from `at`."""
    for number, one in enumerate(seconds):
        staff.given(Segment(number, {}), at)
        staff.ended(one)
        at += one
    return staff


@pytest.mark.parametrize(
    ("trials", "seconds", "pays"),
    [
        (20, [1.2, 0.03, 0.03, 0.03], False),  # the first compiles, which says nothing about the rest
        (420, [1.2, 0.03, 0.03, 0.03], True),
        (10, [1.0, 0.2, 0.2], False),
        (110, [1.0, 0.2, 0.2], True),
        (4, [60.0, 60.0, 60.0], True),  # the last is still to come, and is long
        (3, [60.0, 60.0, 60.0], False),  # none is left
    ],
)
def test_another_worker_comes_where_what_is_left_takes_longer_than_its_start(
    trials: int, seconds: list[float], pays: bool
) -> None:
    assert train(staffing(trials), *seconds).pays(1, now=1000.0) is pays


def test_the_more_workers_the_less_is_left_for_each() -> None:
    staff = train(staffing(104), 0.2, 0.2, 0.2, 0.2)  # 100 are left: 20 s of work
    assert [staff.pays(workers, now=1.0) for workers in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize(("now", "pays"), [(7.0, False), (9.0, True)])
def test_an_end_that_nobody_knows_is_as_far_as_the_beginning(now: float, pays: bool) -> None:
    assert train(staffing(None), 0.1, 0.1, 0.1).pays(1, now=now) is pays


@pytest.mark.parametrize(
    ("workers", "trials", "expected"),
    [("auto", 10, 1), ("auto", 100, 2), ("auto", None, 1), (3, 100, 3), (3, 2, 2), (3, None, 3), (3, 0, 1)],
)
def test_workers_that_pay_in_any_case_start_together(workers: object, trials: int | None, expected: int) -> None:
    assert staffing(trials, workers=workers).at_once == expected


def test_there_may_be_no_room_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 1)
    assert staffing(1000).at_once == 1


def test_a_busy_machine_starts_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "idle_cores", lambda: 1)
    assert staffing(1000).at_once == 1
    assert staffing(1000, workers=3).at_once == 3, "it was told how many"


@pytest.mark.parametrize(("running", "idle"), [(1, 4), (0, 4), (3, 2), (9, 0)])
def test_what_runs_beside_us_is_not_idle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, running: int, idle: int
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.setattr(machine, "_LOAD", tmp_path / "loadavg")
    assert machine.idle_cores() == 4, "nobody tells"
    (tmp_path / "loadavg").write_text(f"0.20 0.18 0.12 {running}/80 11206\n")
    assert machine.idle_cores() == idle


def test_a_long_first_trial_is_not_waited_for() -> None:
    staff = staffing(10)
    staff.given(Segment(0, {}), 0.0)
    assert not staff.pays(1, now=7.0)
    assert staff.pays(1, now=9.0)


def test_a_resumed_search_counts_from_where_it_was() -> None:
    staff = staffing(1000)
    for number in (997, 998, 999):
        staff.given(Segment(number, {}), 0.0)
        staff.ended(30.0)
    assert not staff.pays(1, now=100.0)


def test_nothing_is_added_before_the_first_worker_has_shown_what_a_start_takes() -> None:
    staff = Staffing(Execution(), 100)
    staff.given(Segment(0, {}), 0.0)
    assert not staff.pays(1, now=1000.0)


def test_never_more_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert staffing(None).most == 4
    assert staffing(None, workers=9).most == 9
    monkeypatch.setattr(machine, "memory_bytes", lambda: 3 * 2**30)
    assert staffing(None).most == 2
    monkeypatch.setattr(machine, "memory_bytes", lambda: 2**30)
    assert staffing(None).most == 1
    assert not train(staffing(None), 1.0, 1.0, 1.0).pays(1, now=1000.0)


def test_without_a_gpu_no_worker_sees_a_setting_for_one() -> None:
    assert staffing(None).environments == [{}]


@pytest.mark.parametrize(
    ("share", "expected"), [(1, ["0", "1", "2"]), (0.5, ["0", "0", "1", "1", "2", "2"]), (2, ["0,1"]), (3, ["0,1,2"])]
)
def test_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch, share: float, expected: list[str]) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ["0", "1", "2"])
    staff = staffing(None, gpus_per_worker=share)
    assert staff.environments == [{"CUDA_VISIBLE_DEVICES": seen} for seen in expected]
    assert staff.most == len(expected)


def test_a_third_of_a_gpu_is_a_third() -> None:
    assert share_gpus(["0"], 1 / 3) == ["0", "0", "0"]


@pytest.mark.parametrize(("given", "expected"), [("2,3", ["2", "3"]), ("", []), ("-1", []), ("GPU-ab", ["GPU-ab"])])
def test_the_user_s_choice_of_gpus_stands(monkeypatch: pytest.MonkeyPatch, given: str, expected: list[str]) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert machine.gpus() == expected


def test_a_share_that_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 1 or a whole number, got 1\.5"):
        Execution(gpus_per_worker=1.5)
