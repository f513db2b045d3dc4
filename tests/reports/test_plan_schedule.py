"""The learning rate in `hptune plan`: drawn where it is known, and where it is not, why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hptune.experiment.experiment import Experiment
from hptune.experiment.reading.assemble import assemble
from hptune.reports.plan import plan_data, plan_lines


def experiment(schedule: dict[str, Any], data: dict[str, Any] | None = None) -> Experiment:
    made, problems = assemble(
        {
            "version": 1,
            "name": "planned",
            "data": data or {"source": "digits"},
            "model": {"layers": ["Flatten", {"Dense": {"units": "$units", "activation": "softmax"}}]},
            "search_space": {"units": {"type": "choice", "values": [10, 20]}},
            "training": {"epochs": 4, "batch_size": 100, "optimizer": {"learning_rate": 0.1}},
            "schedule": schedule,
        }
    )
    assert made is not None, [str(problem) for problem in problems]
    return made


def planned(schedule: dict[str, Any], data: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    told: dict[str, Any] = plan_data(experiment(schedule, data), **more)["schedule"]
    return told


BY_STEP = {"name": "time_decay", "decay": 0.1}
TABLE = {"csv": "a.csv", "target": "y"}


@pytest.mark.parametrize(
    ("data", "steps"),
    [
        ({"source": "digits"}, 11),  # 1079 rows
        ({"source": "digits", "validation": 0.5, "test": 0}, 9),  # 899
        ({"source": "digits", "limit": 200}, 2),  # 120
        ({"source": "diabetes", "limit": 9999}, 3),  # 266
    ],
)
def test_what_counts_steps_knows_the_epochs_of_a_built_in_source(data: dict[str, Any], steps: int) -> None:
    told = planned(BY_STEP, data)
    assert told["learning_rate_by_epoch"] == [pytest.approx(0.1 / (1 + 0.1 * steps * e)) for e in range(4)]
    assert told["note"] is None


def test_what_counts_steps_waits_for_other_data() -> None:
    told = planned(BY_STEP, TABLE)
    assert told["learning_rate_by_epoch"] is None
    assert "--probe" in told["note"]
    lines = list(plan_lines(plan_data(experiment(BY_STEP, TABLE))))
    assert any(line.startswith("learning rate: not known yet; it counts steps") for line in lines)
    facts = {"task": "classes", "classes": [0, 1], "rows": {"train": 300, "validation": 100, "test": 100}}
    assert planned(BY_STEP, TABLE, facts=facts)["learning_rate_by_epoch"][1] == pytest.approx(0.1 / 1.3)


def test_code_is_called_under_probe_alone(tmp_path: Path) -> None:
    (tmp_path / "planned_rates.py").write_text("def halve(epoch, lr):\n    return lr / 2 if epoch else lr\n")
    schedule = {"python": "planned_rates:halve", "per": "epoch"}
    told = planned(schedule, folder=tmp_path)
    assert told["learning_rate_by_epoch"] is None
    assert "planned_rates:halve is not called without --probe" in told["note"]
    facts = {"task": "classes", "classes": list(range(10)), "rows": {"train": 1079}}
    assert planned(schedule, facts=facts, folder=tmp_path)["learning_rate_by_epoch"] == [0.1, 0.05, 0.025, 0.0125]


def test_what_follows_from_the_training_is_said() -> None:
    plateau = planned({"name": "plateau", "factor": 0.2})
    assert plateau["learning_rate_by_epoch"] == [0.1] * 4
    assert plateau["note"] == "multiplied by 0.2 whenever val_loss stops improving"
    assert "train-best finds" in planned({"name": "ramp", "epoch": "auto"})["note"]
    drawn = list(plan_lines(plan_data(experiment({"name": "plateau"}))))
    assert any("whenever val_loss stops improving" in line for line in drawn)
    assert planned({"name": "ramp", "epoch": 2}) == {"learning_rate_by_epoch": [0.1, 0.1, 0.01, 0.01], "note": None}
