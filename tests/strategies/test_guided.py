"""The expert's procedure on losses with a known best point: what is tried, what is decided, and what is said of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from simulate import Simulation, make_experiment, prefix_histories, simulate, space_of, strategy_of

from hptune.base.errors import SpecError
from hptune.base.trial import Values
from hptune.experiment.defaults import fill
from hptune.experiment.reading.load import load
from hptune.experiment.space.references import Ref
from hptune.experiment.space.roles import roles
from hptune.reports.plan import plan_data
from hptune.strategies.strategy import Done, Start, Wait, check

SPACE = {
    "rate": {"type": "float", "min": 1e-6, "max": 1.0, "log": True, "default": 1e-3},
    "batch": {"type": "choice", "values": [16, 32, 64, 128, 256]},
    "plan": {"type": "choice", "values": ["constant", "cosine", "ramp"]},
    "drop_at": {"type": "int", "min": 1, "max": 19, "when": {"plan": "ramp"}},
    "width": {"type": "int", "min": 8, "max": 64, "default": 24},
}


def experiment(space: Any = SPACE, *, rows: int = 1000, **sections: Any) -> Any:
    names = set(space)
    made = make_experiment(
        search_space=space,
        training={
            "epochs": 20,
            **({"optimizer": {"learning_rate": Ref("rate")}} if "rate" in names else {}),
            **({"batch_size": Ref("batch")} if "batch" in names else {}),
        },
        schedule={
            **({"name": Ref("plan")} if "plan" in names else {}),
            **({"epoch": Ref("drop_at")} if "drop_at" in names else {}),
        },
        **{"strategy": {"name": "guided"}, **sections},
    )
    return fill(made, None if rows == 0 else "classes", 10, rows=rows)


def loss(best_rate: float, best_batch: int, *, best_plan: str = "constant", stops_at: int = 12) -> Any:
    """A loss that falls until epoch `stops_at` to how far the values are from the best ones."""

    def curve(values: Values, epoch: int) -> dict[str, float]:
        rate, batch = float(values.get("rate", best_rate) or 0), float(values.get("batch", best_batch) or 0)
        off = abs(math.log10(rate / best_rate)) + abs(math.log2(batch / best_batch)) / 4
        off += 0.05 * (values.get("plan", best_plan) != best_plan)
        lost = 1 + off + 0.01 * abs(epoch - stops_at)
        return {"score": lost, "val_loss": lost}

    return curve


def search(curve: Any, space: Any = SPACE, **options: Any) -> Simulation:
    workers = options.pop("workers", 1)
    return simulate(experiment(space, **options), curve, workers=workers)


def tried(run: Simulation, name: str) -> list[Any]:
    return [point.get(name) for point in run.points]


def reasons(run: Simulation) -> list[str]:
    return [str(decision.why) for decision in run.decisions if isinstance(decision, Start)]


def test_the_centre_moves_between_it_and_the_winner_until_it_wins() -> None:
    run = search(loss(0.02, 64), {"rate": SPACE["rate"]})
    assert tried(run, "rate")[:3] == [0.001, 0.0001, 0.01]
    assert tried(run, "rate")[3:6] == [0.005, 0.0005, 0.05]
    told = reasons(run)
    assert told[0] == "coarse learning rate: 0.001 and an order of magnitude either way"
    assert told[3].startswith("coarse learning rate: 0.01 (val_loss ")
    assert "beat 0.001 (val_loss" in told[3]
    assert told[3].endswith("the next centre lies between them: 0.005")
    assert isinstance(run.done, Done)
    assert run.done.why == "coarse learning rate: 0.02 won (val_loss 1). Found: rate 0.02"


def test_the_whole_procedure_finds_the_best_point_and_says_each_step() -> None:
    run = search(loss(0.003, 128, best_plan="cosine"))
    assert run.history.best is not None
    assert run.history.best.values["batch"] == 128
    assert run.history.best.values["plan"] == "cosine"
    assert 0.002 <= float(run.history.best.values["rate"] or 0) <= 0.005
    assert set(tried(run, "width")) == {24}, "what plays no role stays at its default"
    told = reasons(run)
    words = ("coarse", "batch size: 64", "fine learning rate", "schedule: cosine")
    steps = [next(i for i, why in enumerate(told) if word in why) for word in words]
    assert steps == sorted(steps)
    assert any("batch size 64 (val_loss" in why and "beat 32" in why for why in told)
    assert "schedule cosine" in str(run.done)
    assert "Found: rate" in str(run.done)


def test_where_cosine_does_not_help_a_ramp_stands_one_epoch_before_the_loss_stops_falling() -> None:
    run = search(loss(0.001, 32, best_plan="ramp", stops_at=9))
    assert run.points[-1]["plan"] == "ramp"
    assert run.points[-1]["drop_at"] == 8
    assert "schedule ramp" in str(run.done)


def test_doubling_begins_where_the_data_says() -> None:
    small, large = (search(loss(0.001, 256), {"batch": SPACE["batch"]}, rows=rows) for rows in (50_000, 50_001))
    assert tried(small, "batch") == [32, 64, 128, 256]
    assert tried(large, "batch") == [256]
    assert tried(search(loss(0.001, 32), {"batch": SPACE["batch"]}), "batch") == [32, 64]


@pytest.mark.parametrize("workers", [2, 8])
def test_rounds_are_trained_side_by_side_and_find_the_same(workers: int) -> None:
    alone, together = search(loss(0.02, 64)), search(loss(0.02, 64), workers=workers)
    assert together.points == alone.points
    assert str(together.done) == str(alone.done)
    assert any(isinstance(decision, Wait) for decision in together.decisions)


def test_the_lower_loss_decides_and_then_the_objective() -> None:
    def curve(values: Values, epoch: int) -> dict[str, float]:
        return {"val_loss": 1.0, "score": abs(float(values["rate"] or 0) - 0.01)}

    run = search(curve, {"rate": SPACE["rate"]})
    assert "rate 0.01" in str(run.done)

    def against(values: Values, epoch: int) -> dict[str, float]:
        return {"val_loss": abs(float(values["rate"] or 0) - 0.0001), "score": abs(float(values["rate"] or 0) - 0.01)}

    assert "rate 0.0001" in str(search(against, {"rate": SPACE["rate"]}).done)


def test_without_a_validation_loss_the_objective_decides() -> None:
    run = search(lambda v, e: abs(math.log10(float(v["rate"]) / 0.01)), {"rate": SPACE["rate"]}, rows=0)
    assert "rate 0.01" in str(run.done)


def test_failures_lose() -> None:
    def curve(values: Values, epoch: int) -> Any:
        return None if float(values["rate"] or 0) > 0.002 else loss(0.02, 32)(values, epoch)

    assert "rate 0.002" in str(search(curve, {"rate": SPACE["rate"], "batch": SPACE["batch"]}).done)
    assert search(lambda v, e: None).done is not None


def test_ends_of_the_range_are_kept_to() -> None:
    space = {"rate": {"type": "float", "min": 1e-3, "max": 2e-2, "log": True, "default": 1e-2}}
    run = search(loss(1.0, 32), space)
    assert all(1e-3 <= rate <= 2e-2 for rate in tried(run, "rate"))
    assert "rate 0.02" in str(run.done)
    choices = {"rate": {"type": "choice", "values": [0.1, 0.01, 0.001], "default": 0.01}}
    assert tried(search(loss(1e-5, 32), choices), "rate") == [0.01, 0.001, 0.1]


def test_a_budget_and_enqueued_points() -> None:
    run = search(loss(0.02, 64), budget={"trials": 4}, enqueue=[{"rate": 0.01, "batch": 32, "plan": "constant"}])
    assert len(run.points) == 4
    assert run.points[0]["rate"] == 0.01
    again = search(loss(0.02, 64), enqueue=[{"rate": 0.01, "batch": 32, "plan": "constant", "width": 24}])
    assert tried(again, "rate")[:3] == [0.01, 0.001, 0.0001], "what was enqueued is not tried twice"


def test_roles_are_found_or_given() -> None:
    assert roles(experiment()) == {
        "learning_rate": "rate",
        "batch_size": "batch",
        "schedule": "plan",
        "ramp_epoch": "drop_at",
    }
    given = make_experiment(search_space={"r": SPACE["rate"]}, strategy={"name": "guided", "learning_rate": "r"})
    assert roles(given) == {"learning_rate": "r"}


@pytest.mark.parametrize(
    ("space", "strategy", "path", "words"),
    [
        ({"width": SPACE["width"]}, {}, ("strategy", "name"), "found no parameter to turn"),
        ({"rate": SPACE["rate"]}, {"batch_size": "bach"}, ("strategy", "batch_size"), "unknown parameter 'bach'"),
        ({"rate": {"type": "float", "min": 0.0, "max": 1.0}}, {}, ("search_space", "rate"), "above 0"),
        ({"plan": {"type": "int", "min": 0, "max": 1}}, {}, ("search_space", "plan"), "choice of schedules"),
        ({"batch": {"type": "float", "min": 1.0, "max": 9.0}}, {}, ("search_space", "batch"), "whole numbers"),
    ],
)
def test_a_space_that_it_can_not_serve(space: Any, strategy: Any, path: Any, words: str) -> None:
    asked = experiment(space, strategy={"name": "guided", **strategy})
    with pytest.raises(SpecError) as caught:
        check(asked, space_of(asked))
    (problem,) = caught.value.problems
    assert problem.path == path
    assert words in problem.message


def test_roles_that_code_declares_are_told_of_once_the_space_is_known(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        "version: 1\ndata: {source: digits}\nmodel: {python: 'nowhere:build'}\n"
        "strategy: {name: guided, learning_rate: rate}\n"
    )
    experiment = load(tmp_path / "spec.yaml").experiment
    assert plan_data(experiment)["trials"] is None
    with pytest.raises(SpecError, match="unknown parameter 'rate'"):
        check(experiment, space_of(experiment))


def test_a_fresh_object_and_one_that_is_kept_answer_the_same() -> None:
    asked, curve = experiment(), loss(0.02, 64)
    kept = simulate(asked, curve, workers=3, order=2)
    assert simulate(asked, curve, workers=3, order=2, fresh_each_time=True).decisions == kept.decisions
    strategy = strategy_of(asked)
    histories = prefix_histories(kept, asked)
    assert [strategy.next(h) for h in histories] == [strategy.next(h) for h in reversed(histories)][::-1]
    half = simulate(asked, curve, start_from=kept.events[: len(kept.events) // 2])
    assert half.points == simulate(asked, curve).points


def batches(score: Any, **sections: Any) -> Simulation:
    return search(score, {"batch": SPACE["batch"]}, **sections)


def test_a_larger_batch_does_not_win_a_tie() -> None:
    """Both losses fall to .5, the larger batch's two epochs earlier, which is no better."""

    def curve(values: Values, epoch: int) -> dict[str, float]:
        lowest = 6 if values["batch"] == 32 else 4
        return {"val_loss": 0.5 + 0.1 * abs(epoch - lowest), "score": 1.0}

    run = batches(curve)
    assert tried(run, "batch") == [32, 64]
    assert str(run.done and run.done.why).endswith("Found: batch 32")


def test_when_the_loss_stops_falling_breaks_no_tie_of_rates() -> None:
    def curve(values: Values, epoch: int) -> dict[str, float]:
        lowest = 9 if values["rate"] == 0.001 else 2
        return {"val_loss": 0.5 + 0.1 * abs(epoch - lowest), "score": 1.0}

    run = search(curve, {"rate": SPACE["rate"]})
    assert "coarse learning rate: 0.001 won" in str(run.done)


@pytest.mark.parametrize(
    ("goal", "now", "doubled", "told"),
    [
        ("maximize", 0.75, 0.5, "batch size 32 stays: it has 0.75, 64 has 0.5"),
        ("maximize", -0.25, -0.5, "batch size 32 stays: it has -0.25, 64 has -0.5"),
        ("minimize", -0.75, -0.5, "batch size 32 stays: it has -0.75, 64 has -0.5"),
        ("maximize", 0.90001, 0.90002, "batch size 64 (0.90002) beat 32 (0.90001)"),
    ],
)
def test_scores_are_told_with_their_sign_and_apart(goal: str, now: float, doubled: float, told: str) -> None:
    objective = {"metric": "score", "goal": goal}
    run = batches(lambda v, e: now if v["batch"] == 32 else doubled, rows=0, objective=objective)
    assert any(why.startswith(told) for why in [*reasons(run), str(run.done and run.done.why)]), reasons(run)


def test_losses_of_nought_and_equal_ones_are_told_as_what_they_are() -> None:
    nought = batches(lambda v, e: {"val_loss": 0.0 if v["batch"] == 32 else 0.25, "score": 3.0})
    assert "it has val_loss 0, 64 has val_loss 0.25" in str(nought.done)
    equal = batches(lambda v, e: {"val_loss": 0.5, "score": 3.0 if v["batch"] == 32 else 4.0})
    assert "it has val_loss 0.5, objective 3.0, 64 has val_loss 0.5, objective 4.0" in str(equal.done)
