"""How Optuna's samplers are driven: what they are shown, what they learn from, and that it leaves no trace."""

from __future__ import annotations

import statistics
import warnings
from typing import Any

import optuna
import pytest
from simulate import make_experiment, simulate, space_of, strategy_of

from hptune.base.seeds import derive
from hptune.base.trial import Values
from hptune.experiment.space.space import point_key
from hptune.run.history import History
from hptune.strategies.strategy import Start

LINE = {"x": {"type": "float", "min": 0.0, "max": 1.0}}
PLANE = {name: {"type": "float", "min": -1.0, "max": 1.0} for name in "xyz"}
NAMES = ("tpe", "cmaes", "qmc", "nsga2")


def away(values: Values, epoch: int) -> float:
    x = values["x"]
    assert isinstance(x, float)
    return (x - 0.7) ** 2


def bowl(values: Values, epoch: int) -> float:
    return sum((float(v or 0) - 0.3) ** 2 for v in values.values())


def test_tpe_is_the_default() -> None:
    assert make_experiment(search_space=LINE).strategy.name == "tpe"


@pytest.mark.parametrize(
    ("strategy", "times"), [({"name": "tpe"}, 3), ({"name": "cmaes"}, 3), ({"name": "nsga2", "population": 8}, 1.4)]
)
def test_it_learns(strategy: dict[str, Any], times: float) -> None:
    """The last points are better than the first, which are random, over a few seeds."""
    firsts, lasts = [], []
    for seed in range(3):
        run = simulate(make_experiment(search_space=PLANE, strategy=strategy, budget={"trials": 60}, seed=seed), bowl)
        firsts += [bowl(point, 1) for point in run.points[:8]]
        lasts += [bowl(point, 1) for point in run.points[-8:]]
    assert statistics.median(lasts) < statistics.median(firsts) / times


def test_it_maximises_what_is_to_be_maximised() -> None:
    goal = {"metric": "score", "goal": "maximize"}
    run = simulate(make_experiment(search_space=PLANE, objective=goal, budget={"trials": 60}), lambda v, e: -bowl(v, e))
    assert statistics.median(bowl(p, 1) for p in run.points[-8:]) < statistics.median(
        bowl(p, 1) for p in run.points[:8]
    )


def test_the_points_are_those_that_optuna_itself_suggests() -> None:
    """An Optuna study whose sampler is made anew for each trial, from the same seeds, goes the same way."""
    strategy = {"name": "tpe", "candidates": 24}
    run = simulate(make_experiment(search_space=PLANE, strategy=strategy, budget={"trials": 40}), bowl)
    study = optuna.create_study()
    for number in range(40):
        study.sampler = optuna.samplers.TPESampler(seed=derive(0, "suggest", number))
        trial = study.ask()
        study.tell(trial, bowl({name: trial.suggest_float(name, -1.0, 1.0) for name in PLANE}, 1))
    assert [dict(trial.params) for trial in study.trials] == run.points


def test_qmc_fills_a_space_evenly() -> None:
    run = simulate(make_experiment(search_space=PLANE, strategy={"name": "qmc"}, budget={"trials": 64}), bowl)
    for name in PLANE:
        values = sorted((float(point[name]) + 1) / 2 for point in run.points)
        assert all(i / 64 <= value < (i + 1) / 64 for i, value in enumerate(values)), "one in each of 64 equal parts"


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_value_comes_out_as_it_is(name: str) -> None:
    space = {
        "mixed": {"type": "choice", "values": [True, 1, 1.0, "1", None]},
        "stepped": {"type": "float", "min": 0.0, "max": 1.0, "step": 0.1},
        "one": {"type": "int", "min": 4, "max": 4},
        "wide": {"type": "int", "min": 1, "max": 10**6, "log": True},
    }
    strategy = {"name": name, **({"population": 4} if name in ("cmaes", "nsga2") else {})}
    run = simulate(make_experiment(search_space=space, strategy=strategy, budget={"trials": 60}), lambda v, e: 0.0)
    kinds = {point_key({"mixed": point["mixed"]}) for point in run.points}
    assert len(kinds) == 5, "True, 1 and 1.0 are three values"
    assert {point["stepped"] for point in run.points} <= {i / 10 for i in range(11)}
    assert {point["one"] for point in run.points} == {4}
    wide = [point["wide"] for point in run.points]
    assert all(type(value) is int for value in wide)
    assert statistics.median(wide) < 100_000, "a logarithmic scale"


def test_conditional_parameters_are_learnt_in_their_groups() -> None:
    space = {
        "kind": {"type": "choice", "values": ["a", "b"]},
        "x": {"type": "float", "min": 0.0, "max": 1.0, "when": {"kind": "a"}},
        "y": {"type": "float", "min": 0.0, "max": 1.0, "when": {"kind": "b"}},
    }

    def curve(values: Values, epoch: int) -> float:
        return abs(float(values["x"]) - 0.8) if values["kind"] == "a" else 1.0 + float(values["y"])  # type: ignore[arg-type]

    run = simulate(make_experiment(search_space=space, budget={"trials": 60}), curve)
    late = run.points[30:]
    assert sum(point["kind"] == "a" for point in late) > 20
    assert statistics.median(curve(point, 1) for point in late) < 0.15


def test_a_failure_is_worse_than_any_score() -> None:
    """Where most of the space fails, the search keeps out of it."""

    def curve(values: Values, epoch: int) -> float | None:
        return None if float(values["x"]) > -0.5 else 5.0  # type: ignore[arg-type]

    run = simulate(make_experiment(search_space=PLANE, budget={"trials": 60}), curve)
    failed = [trial.state == "failed" for trial in run.history.trials]
    assert sum(failed[-20:]) < 10 < sum(failed[:20])


def test_running_trials_are_kept_away_from() -> None:
    """Eight workers that ask at once are told eight points, not eight times the same neighbourhood."""
    experiment = make_experiment(search_space=LINE, budget={"trials": 60})
    done = simulate(experiment, away, most=60)
    together = simulate(
        make_experiment(search_space=LINE, budget={"trials": 100}), away, workers=8, start_from=done.events, most=8
    )
    running = [trial.values["x"] for trial in together.history.running()]
    assert len(set(running)) == len(running)


@pytest.mark.parametrize("name", ["cmaes", "nsga2"])
def test_books_that_a_sampler_keeps_come_out_of_the_history(name: str) -> None:
    """Generations depend on what had finished when each trial started; a fresh object finds the same ones."""
    strategy = {"name": name, "population": 4}
    experiment = make_experiment(search_space=PLANE, strategy=strategy, budget={"trials": 40})
    run = simulate(experiment, bowl, workers=5, order=7)
    again = simulate(experiment, bowl, workers=5, order=7, fresh_each_time=True)
    assert run.points == again.points
    other = simulate(experiment, bowl, workers=5, order=8)
    assert other.points != run.points, "another order brings other generations"


@pytest.mark.parametrize("strategy", [{"name": "tpe"}, {"name": "cmaes"}, {"name": "nsga2", "population": 8}])
def test_trials_of_earlier_runs_are_learnt_from(strategy: dict[str, Any]) -> None:
    experiment = make_experiment(search_space=PLANE, strategy=strategy, budget={"trials": 40})
    before = simulate(experiment, bowl).history.trials
    earlier = [trial._replace(number=trial.number - len(before)) for trial in before]

    def first(seed: int, known: Any) -> float:
        asked = experiment.model_copy(update={"seed": seed})
        decision = strategy_of(asked).next(History(experiment.objectives, known))
        assert isinstance(decision, Start)
        return bowl(decision.values, 1)

    warm = [first(seed, earlier) for seed in range(20)]
    cold = [first(seed, ()) for seed in range(20)]
    assert statistics.median(warm) < statistics.median(cold) * 0.9


def two_goals(values: Values, epoch: int) -> dict[str, float]:
    """Both want y and z at 0.3; x = 0.3 serves the one, x = 0 the other."""
    return {"score": bowl(values, epoch), "other": -(float(values["x"] or 0) ** 2)}


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_several_objectives(name: str) -> None:
    goals = [{"metric": "score", "goal": "minimize"}, {"metric": "other", "goal": "maximize"}]
    strategy = {"name": name, **({"population": 6} if name == "nsga2" else {})}
    experiment = make_experiment(
        search_space=PLANE, objective=goals, strategy=strategy, budget={"trials": 60}, training={"epochs": 1}
    )
    runs = [simulate(experiment.model_copy(update={"seed": seed}), two_goals) for seed in range(3)]
    assert all(len(run.points) == 60 for run in runs)
    late = [abs(float(p["y"]) - 0.3) + abs(float(p["z"]) - 0.3) for run in runs for p in run.points[-20:]]
    assert statistics.median(late) < 0.75, "random points are 1.0 away"
    assert simulate(experiment, two_goals, most=40, fresh_each_time=True).points == runs[0].points[:40]


def test_it_says_nothing_and_changes_no_setting(capfd: pytest.CaptureFixture[str]) -> None:
    verbosity = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in NAMES:
            experiment = make_experiment(search_space={**PLANE}, strategy={"name": name}, budget={"trials": 15})
            simulate(experiment, bowl)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == verbosity


def test_the_defaults_are_tried_first_where_they_say_something() -> None:
    given = {"x": {"type": "float", "min": 0.0, "max": 1.0, "default": 0.125}, "y": LINE["x"]}
    for name, first in (("tpe", True), ("cmaes", True), ("random", False), ("qmc", False)):
        run = simulate(make_experiment(search_space=given, strategy={"name": name}, budget={"trials": 3}), away)
        assert (run.points[0] == {"x": 0.125, "y": 0.5}) is first, name
    run = simulate(make_experiment(search_space=PLANE, budget={"trials": 3}), bowl)
    assert run.points[0] != space_of(make_experiment(search_space=PLANE)).defaults()
    enqueued = make_experiment(search_space=given, enqueue=[{"x": 0.5}], budget={"trials": 3})
    assert [point["x"] for point in simulate(enqueued, away).points[:2]] == [0.5, 0.125]
