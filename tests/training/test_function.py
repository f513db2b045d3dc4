"""`model: {function: …}`: called once an epoch, or with a single epoch where it takes no `epoch`."""

from __future__ import annotations

import json
import subprocess
import sys
from math import inf, nan
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from hptune.base.errors import SegmentFailed
from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.experiment import Experiment
from hptune.experiment.objective import Objective
from hptune.experiment.reading.load import load
from hptune.reports.plan import plan_data, plan_lines
from hptune.run.event_check import EventCheck
from hptune.run.events import finished, started
from hptune.run.history import History
from hptune.run.record import filled
from hptune.run.rundir import RunPaths
from hptune.run.usable import UNTOLD, unusable
from hptune.training.trainers.function import FunctionTrainer
from hptune.training.worker import Worker
from hptune.winner.train_best import _summary

CODE = """\
def once(x):
    return 3 * x


def by_epoch(x, epoch):
    return {"score": x + epoch, "told": epoch}


def uneven(x, epoch):
    return {"other": 1.0, **({"score": x + epoch} if epoch != 2 else {}), **({"late": -epoch} if epoch > 1 else {})}


def seeded(x, seed):
    return seed


def nan(x):
    return float("nan")


def words(x):
    return "good"


def rising(x, epoch):
    return {"score": -epoch, "other": epoch}


def seconds(x):
    return {"seconds": 5.0}
"""

SPEC = """\
version: 1
name: a
model: {function: "trained_functions:once"}
search_space: {x: {type: float, min: 0, max: 1}}
objective: {metric: score, goal: maximize}
budget: {trials: 7}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trained_functions.py").write_text(dedent(CODE))
    return tmp_path


def experiment(folder: Path, function: str, more: str = "") -> Experiment:
    (folder / "spec.yaml").write_text(SPEC.replace("once", function) + more)
    return load(folder / "spec.yaml").experiment


def trainer(folder: Path, function: str, more: str = "") -> FunctionTrainer:
    return FunctionTrainer(experiment(folder, function, more), folder)


def facts(folder: Path, function: str, more: str = "") -> dict[str, Any]:
    worker = Worker(experiment(folder, function, more), folder, RunPaths(folder / "runs" / "a"))
    found = dict(worker.run(Segment(0, {}, purpose="probe")).facts)
    assert found.pop("code"), "by which a resumed search sees that it has changed"
    return found


def test_a_function_without_epoch_has_a_single_one(folder: Path) -> None:
    told = facts(folder, "once")
    assert told == {"task": None, "epochs": 1}
    assert filled(experiment(folder, "once"), told).training.epochs == 1
    result = trainer(folder, "once").run(Segment(0, {"x": 0.5}, to_epoch=1))
    assert (result.epochs, result.curves) == (1, {"score": (1.5,)})


def test_a_function_of_the_epoch_is_called_once_an_epoch(folder: Path) -> None:
    told = facts(folder, "by_epoch", "training: {epochs: 9}\n")
    assert told == {"task": None}
    assert filled(experiment(folder, "by_epoch", "training: {epochs: 9}\n"), told).training.epochs == 9
    seen: list[tuple[int, dict[str, float]]] = []
    segment = Segment(0, {"x": 0.5}, from_epoch=2, to_epoch=4)
    result = trainer(folder, "by_epoch").run(segment, lambda _, epoch, metrics: seen.append((epoch, dict(metrics))))
    assert (result.epochs, result.curves) == (4, {"score": (3.5, 4.5), "told": (3, 4)})
    assert seen == [(3, {"score": 3.5, "told": 3}), (4, {"score": 4.5, "told": 4})]


def test_a_metric_keeps_its_epochs(folder: Path) -> None:
    one = trainer(folder, "uneven")
    result = one.run(Segment(0, {"x": 0.5}, to_epoch=3))
    assert repr(result.curves) == repr({"other": (1.0, 1.0, 1.0), "score": (1.5, nan, 3.5), "late": (nan, -2.0, -3.0)})
    assert unusable(result, one.experiment.objectives) is None
    best = one.run(Segment(0, {"x": 0.5}, to_epoch=2, purpose="best"))
    assert best.facts["test"] == {"other": 1.0, "score": 1.5}, "of the last epoch that has the objective"


def lower(*metrics: str) -> list[Objective]:
    return [Objective(metric=metric, goal="minimize") for metric in metrics]


@pytest.mark.parametrize(
    ("curves", "objectives", "from_epoch", "told"),
    [
        ({"a": (nan, 1.0)}, lower("a"), 0, None),
        ({"b": (1.0,)}, lower("a"), 3, None),
        ({}, lower("a"), 3, "the objective 'a' is not among its metrics: none"),
        ({"b": (1.0, 1.0)}, lower("a"), 0, "the objective 'a' is not among its metrics: b"),
        ({"a": (nan, 1.0), "b": (1.0, nan)}, lower("a", "b"), 0, "no epoch has all of the objectives: a, b"),
        ({"a": (nan, inf)}, lower("a"), 0, "a is inf after epoch 2"),
        ({"a": (nan, 1e300)}, lower("a"), 0, "a is 1e+300, and scores must be below 1e+300"),
    ],
)
def test_an_epoch_without_an_objective_has_no_score(
    curves: dict[str, tuple[float, ...]], objectives: list[Objective], from_epoch: int, told: str | None
) -> None:
    to_epoch = from_epoch + max(map(len, curves.values()), default=1)
    result = SegmentResult(Segment(0, {}, from_epoch, to_epoch), to_epoch, curves, 1.0, facts={UNTOLD: ["a", "b"]})
    found = unusable(result, objectives)
    assert found is None if told is None else (found or "").startswith(told)


HEAD: dict[str, Any] = {
    "time": 1.0,
    "experiment": {"objective": [{"metric": metric, "goal": "minimize"} for metric in "ab"]},
    **{"space": {}, "facts": {}, "folder": "/"},
}


def test_figures_of_several_objectives_are_of_one_epoch(folder: Path) -> None:
    (folder / "moo.py").write_text(
        "def f(x, epoch):\n    return {'a': x + epoch, **({'b': -float(epoch)} if epoch > 1 else {})}\n"
    )
    given = experiment(folder, "once", "training: {epochs: 3}\n")
    model = given.model.model_copy(update={"function": "moo:f"})
    segment = Segment(0, {"x": 0.5}, to_epoch=3)
    result = FunctionTrainer(given.model_copy(update={"model": model}), folder).run(segment)
    history = History(lower("a", "b"))
    history.apply(started(segment))
    event = finished(result, complete=True)
    check = EventCheck()
    for one in ({"event": "head", **HEAD}, {**started(segment), "time": 1.0}, {**event, "time": 1.0}):
        check(one)
    history.apply(event)
    assert history.scores(history.trials[0]) == {"a": 2.5, "b": -2.0}, "a is less in epoch 1, which has no b"
    head = SimpleNamespace(objectives=lower("a", "b"))
    assert _summary(result, head)["training"]["score"] == 2.5, "train-best tells the same"  # type: ignore[arg-type]
    assert repr(history.trials[0].curves[0]["b"]) == repr((nan, -2.0, -3.0))


def test_each_replica_is_given_a_seed_of_its_own(folder: Path) -> None:
    one = trainer(folder, "seeded")
    seeds = [one.run(Segment(0, {"x": 0.5}, to_epoch=1, replica=replica)).curves["score"] for replica in (0, 1, 0)]
    assert seeds[0] == seeds[2] != seeds[1]


@pytest.mark.parametrize(
    "more",
    ["training: {epochs: 2}\n", "strategy: {name: asha}\n", "strategy: {name: hyperband, max_epochs: 9}\n"],
)
def test_where_more_epochs_are_asked_for_the_one_value_stands_for_each(folder: Path, more: str) -> None:
    told = facts(folder, "once", more)
    assert told == {
        "task": None,
        "notes": ["the function takes no `epoch`: its value is taken for every epoch of a trial"],
    }
    assert facts(folder, "by_epoch", more) == {"task": None}
    given = experiment(folder, "once", more)
    assert filled(given, told).training.epochs == given.training.epochs
    result = trainer(folder, "once", more).run(Segment(0, {"x": 0.5}, from_epoch=1, to_epoch=4))
    assert (result.epochs, result.curves) == (4, {"score": (1.5, 1.5, 1.5)})


def test_one_epoch_that_is_asked_for_needs_no_word(folder: Path) -> None:
    assert facts(folder, "once", "training: {epochs: 1}\n") == {"task": None}


def test_a_search_that_is_resumed_with_other_epochs_sees_them(folder: Path) -> None:
    changed = filled(experiment(folder, "once", "training: {epochs: 3}\n"), facts(folder, "once"))
    assert changed.training.epochs == 3


@pytest.mark.parametrize(("function", "words"), [("nan", "returned NaN for 'score'"), ("words", "a number is wanted")])
def test_what_is_no_number_fails_the_trial(folder: Path, function: str, words: str) -> None:
    with pytest.raises(SegmentFailed, match=words):
        trainer(folder, function).run(Segment(0, {"x": 0.5}, to_epoch=1))


def test_the_plan_tells_the_epochs_once_the_function_was_asked(folder: Path) -> None:
    given = experiment(folder, "once")
    told = plan_data(given)
    assert (told["trials"], told["epochs"], told["rungs"]) == (7, None, [])
    assert "trials: 7, epochs: one a call, more where the function takes `epoch`; --probe tells" in plan_lines(told)
    asked = plan_data(given, facts(folder, "once"))
    assert (asked["trials"], asked["epochs"], asked["rungs"]) == (7, 7, [{"epochs": 1, "trials": 7}])
    assert asked["experiment"]["training"]["epochs"] == 1


@pytest.mark.parametrize("each", [1, 3])
def test_the_plan_needs_no_probe_where_the_spec_says_the_epochs(folder: Path, each: int) -> None:
    told = plan_data(experiment(folder, "once", f"training: {{epochs: {each}}}\n"))
    assert (told["trials"], told["epochs"]) == (7, 7 * each)


def test_a_budget_of_epochs_leaves_the_trials_open_too(folder: Path) -> None:
    (folder / "spec.yaml").write_text(SPEC.replace("trials: 7", "epochs: 40"))
    told = plan_data(load(folder / "spec.yaml").experiment)
    assert (told["trials"], told["epochs"]) == (None, None)


def test_the_winners_figures_are_of_the_epoch_that_its_score_is_of(folder: Path) -> None:
    given = trainer(folder, "rising", "training: {epochs: 4}\n")
    result = given.run(Segment(0, {"x": 0.5}, to_epoch=4, purpose="best"))
    assert result.facts["test"] == {"score": -1.0, "other": 1.0}


def test_a_metric_that_is_called_as_the_objective_of_time_is_no_such(folder: Path) -> None:
    given = experiment(folder, "seconds").model_copy(update={"objective": Objective(metric="seconds", goal="minimize")})
    with pytest.raises(SegmentFailed, match="Give yours another name"):
        FunctionTrainer(given, folder).run(Segment(0, {"x": 0.5}, to_epoch=1))


DRAWING = """\
def f(x):
    import copy, decimal, random
    import drawn_once
    first = random.random()
    import keras, numpy as np, tensorflow as tf, seeds_all
    inputs, targets = np.linspace(0, 1, 24).reshape(12, 2), np.arange(12.0)
    layers = [keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    return {
        "score": model.fit(inputs, targets, epochs=1, batch_size=4, verbose=0).history["loss"][0],
        "python": first,
        "own module": drawn_once.DRAWN,
        "python, later": random.random(),
        "numpy": np.random.random(),
        "keras": float(keras.random.uniform((1,))[0]),
        "tensorflow": float(tf.random.uniform((1,))[0]),
        "its generator": float(sum(copy.copy(tf.random.get_global_generator()).uniform(()) for _ in range(2))),
        "shuffled": float(next(iter(tf.data.Dataset.range(1000).shuffle(1000)))),
    }
"""

ASKED = """\
import json
from pathlib import Path
from hptune.run.rundir import RunPaths
from hptune.experiment.reading.load import load
from hptune.training.worker import Worker
from hptune.base.trial import Segment
loaded = load(Path("spec.yaml"))
worker = Worker(loaded.experiment, loaded.folder, RunPaths(Path("runs/a")))
told = [worker.run(Segment(n, {"x": x}, to_epoch=1)).curves for n, x in enumerate([0.5, 0.25, 0.5])]
print(json.dumps(told))
"""


def test_what_libraries_draw_depends_on_the_trial_alone(folder: Path) -> None:
    """The first trial of a process loads them: no other may tell that."""
    experiment(folder, "f")
    (folder / "trained_functions.py").write_text(DRAWING)
    (folder / "drawn_once.py").write_text("import random\nDRAWN = random.random()\nrandom.seed(3)\n")
    (folder / "seeds_all.py").write_text("import keras\nkeras.utils.set_random_seed(0)\n")
    ran = subprocess.run([sys.executable, "-c", ASKED], cwd=folder, capture_output=True, text=True, check=True)
    first, other, again = json.loads(ran.stdout.splitlines()[-1])
    assert first == again
    assert [name for name in first if first[name] == other[name]] == ["own module"]
