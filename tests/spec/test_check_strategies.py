"""What is told of a strategy that can't be meant: its options, the space it should serve, several objectives."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptune.base.errors import SpecError
from hptune.experiment.reading.load import load

SPEC = """\
version: 1
name: checked
model: {function: "nowhere:f"}
search_space: {space}
objective: {objective}
strategy: {strategy}
{more}
"""
LINE = "{x: {type: float, min: 0.0, max: 1.0}}"
ONE = "{metric: score, goal: minimize}"
TWO = "[{metric: score, goal: minimize}, {metric: seconds}]"


@pytest.mark.parametrize(
    ("strategy", "space", "objective", "more", "place", "words"),
    [
        ("{name: tpe, initial_points: 0}", LINE, ONE, "", "6:39", ["at least 1", "got 0"]),
        ("{name: nsga2, mutation: 2}", LINE, ONE, "", "6:35", ["at most 1", "got 2"]),
        ("{name: cmaes, population: 2}", LINE, ONE, "", "6:37", ["at least 3"]),
        ("{name: qmc, sequence: sobel}", LINE, ONE, "", "6:33", ["'sobol'", "'halton'"]),
        ("{name: asha, factor: 1}", LINE, ONE, "", "6:32", ["at least 2"]),
        ("{name: asha, min_epochs: 30}", LINE, ONE, "", "6:36", ["at most the epochs of the last rung (20)"]),
        ("{name: asha, sampler: cmaes}", LINE, ONE, "", "6:24", ["'random'", "'tpe'"]),
        ("{name: asha, sampler: {name: tpe, initial_points: 0}}", LINE, ONE, "", "6:61", ["at least 1"]),
        ("{name: narrowing, patience: 0}", LINE, ONE, "", "6:39", ["at least 1"]),
        ("{name: bayes_opt, xi: 0.1}", LINE, ONE, "", "6:", ["xi does not belong to acquisition: ucb"]),
        ("{name: narowing}", LINE, ONE, "", "6:18", ["did you mean 'narrowing'"]),
        ("{name: tpe, startup: 3}", LINE, ONE, "", "6:23", ["startup", "initial_points"]),
        (
            "{name: cmaes}",
            "{k: {type: choice, values: [a, b]}}",
            ONE,
            "",
            "6:18",
            ["needs a parameter that is a number"],
        ),
        ("{name: cmaes}", "{k: {type: choice, values: [true, false]}}", ONE, "", "6:18", ["Use tpe or random"]),
        ("{name: grid}", LINE, ONE, "", "4:19", ["x is continuous", "step: 0.1 makes 11 values", "makes 5"]),
        (
            "{name: grid}",
            "{x: {type: float, min: 0.001, max: 1.0, log: true}}",
            ONE,
            "",
            "4:19",
            ["values: [0.001, 0.00562, 0.0316, 0.178, 1]"],
        ),
        ("{name: guided}", LINE, ONE, "", "6:18", ["found no parameter to turn"]),
        ("{name: guided, learning_rate: y}", LINE, ONE, "", "6:41", ["unknown parameter 'y'"]),
        ("{name: hyperband}", LINE, TWO, "", "6:18", ["hyperband optimises one objective, and 2 are given"]),
        ("{name: nsga2}", LINE, TWO, "budget: {target: 0.1}", "7:10", ["Pareto front"]),
        ("{name: nsga2}", LINE, TWO, "budget: {patience: 3}", "7:10", ["Pareto front"]),
        ("{name: nsga2}", LINE, "[{metric: score, goal: minimize}]", "", "5:12", ["at least two objectives"]),
        ("{name: nsga2}", LINE, "[{metric: seconds}, {metric: seconds}]", "", "5:32", ["stands in the list twice"]),
        ("{name: nsga2}", LINE, "[{metric: seconds}, {metric: profit}]", "", "5:32", ["goal is required"]),
        ("{name: tpe}", LINE, ONE, "budget: {patience: 0}", "7:20", ["at least 1"]),
        ("{name: grid}", LINE.replace("}}", ", step: 0.5}}"), ONE, "warm_start: [a]", "7:1", ["learns nothing"]),
    ],
)
def test_what_can_not_be_meant_is_told_at_its_place(
    tmp_path: Path, strategy: str, space: str, objective: str, more: str, place: str, words: list[str]
) -> None:
    text = SPEC
    for key, value in {"space": space, "objective": objective, "strategy": strategy, "more": more}.items():
        text = text.replace(f"{{{key}}}", value)
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert f"spec.yaml:{place}" in str(problem)
    assert all(word in problem.message for word in words), problem.message


@pytest.mark.parametrize("strategy", ["{name: tpe}", "{name: nsga2}", "{name: random}", "{name: qmc}"])
def test_several_objectives_load(tmp_path: Path, strategy: str) -> None:
    path = tmp_path / "spec.yaml"
    given = {"space": LINE, "objective": TWO, "strategy": strategy, "more": ""}
    text = SPEC
    for key, value in given.items():
        text = text.replace(f"{{{key}}}", value)
    path.write_text(text)
    experiment = load(path).experiment
    assert [(o.metric, o.goal) for o in experiment.objectives] == [("score", "minimize"), ("seconds", "minimize")]
