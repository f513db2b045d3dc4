"""What a search takes over from earlier runs, and that its own journal then holds it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hptune.base.errors import SpecError
from hptune.cli import app
from hptune.run import record

SPEC = """\
version: 1
name: {name}
model: {{function: "warm_function:f"}}
search_space: {{x: {{type: float, min: 0, max: {top}}}}}
objective: {{metric: score, goal: minimize}}
strategy: {strategy}
budget: {{trials: {trials}}}
execution: {{executor: inline}}
{more}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "warm_function.py").write_text("def f(x):\n    return (x - 0.7) ** 2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def search(name: str, *, trials: int = 12, top: float = 1, strategy: str = "{name: tpe}", more: str = "") -> Any:
    Path("spec.yaml").write_text(SPEC.format(name=name, top=top, strategy=strategy, trials=trials, more=more))
    done = CliRunner().invoke(app, ["search", "spec.yaml", "--quiet", "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    told = CliRunner().invoke(app, ["trials", "--run", name, "--json"])
    return json.loads(told.stdout)


def test_a_search_learns_from_an_earlier_one(folder: Path) -> None:
    search("first", trials=25)
    cold = search("cold", trials=3)
    warm = search("warm", trials=3, more="warm_start: [first]")
    assert [t["trial"] for t in warm] == [0, 1, 2]
    assert all(a["values"] != b["values"] for a, b in zip(cold, warm, strict=True)), "the first points are random still"


def test_the_journal_alone_holds_it(folder: Path) -> None:
    search("first")
    warm = search("warm", trials=4, more="warm_start: [first]")
    shutil.rmtree("runs/first")
    assert search("warm", trials=6, more="warm_start: [first]")[:4] == warm
    head = json.loads(Path("runs/warm/journal.jsonl").read_text().splitlines()[0])
    assert [(told["run"], told["trial"]) for told in head["earlier"]] == [("first", n) for n in range(12)]


def test_only_what_fits_is_taken_over(folder: Path) -> None:
    search("first", top=2)
    search("warm", trials=1, more="warm_start: [first]")
    head = json.loads(Path("runs/warm/journal.jsonl").read_text().splitlines()[0])
    assert 0 < len(head["earlier"]) < 12
    assert all(told["values"]["x"] <= 1 for told in head["earlier"])


@pytest.mark.parametrize(
    ("more", "strategy", "words"),
    [
        ("warm_start: [nowhere]", "{name: tpe}", ["warm_start[0]", "no run 'nowhere'", "first"]),
        ("warm_start: [warm]", "{name: tpe}", ["this run itself"]),
        ("warm_start: first", "{name: tpe}", ["must be a list"]),
        ("warm_start: [first, first]", "{name: tpe}", ["warm_start[1]", "stands in the list twice"]),
        ("warm_start: [first]", "{name: random}", ["random learns nothing", "tpe"]),
        ("warm_start: [first]", "{name: asha}", ["asha with the sampler random learns nothing"]),
    ],
)
def test_what_can_not_be_taken_over_is_told(folder: Path, more: str, strategy: str, words: list[str]) -> None:
    search("first", trials=2)
    with pytest.raises(SpecError) as caught:
        search("warm", strategy=strategy, more=more)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "spec.yaml:9:" in str(caught.value)


def test_another_objective_does_not_fit(folder: Path) -> None:
    search("first", trials=2)
    Path("warm_function.py").write_text("def f(x):\n    return {'score': x, 'other': x}\n")
    spec = SPEC.format(name="warm", top=1, strategy="{name: tpe}", trials=2, more="warm_start: [first]")
    Path("spec.yaml").write_text(spec.replace("metric: score", "metric: other"))
    done = CliRunner().invoke(app, ["search", "spec.yaml", "--quiet"])
    assert "none of the 2 trials of 'first'" in str(done.exception)


def told(name: str, spec: str) -> str:
    """What a search tells on stderr as it begins."""
    Path("spec.yaml").write_text(spec.replace("name: first", f"name: {name}"))
    done = CliRunner().invoke(app, ["search", "spec.yaml"])
    if done.exception is not None:
        raise done.exception
    return done.stderr


def head_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"runs/{name}/journal.jsonl").read_text().splitlines()[0])
    return found


def test_how_many_are_taken_over_and_why_others_are_not_is_told(folder: Path) -> None:
    """Of the values 0 to 5 the function fails at 5; 3 and 4 are outside the second space."""
    Path("warm_fails.py").write_text("def f(x):\n    if x == 5:\n        raise ValueError(x)\n    return x\n")
    spec = SPEC.format(name="first", top=5, strategy="{name: grid}", trials=6, more="").replace("float", "int")
    spec = spec.replace("warm_function", "warm_fails")
    told("first", spec)
    more = spec.replace("max: 5", "max: 2").replace("grid", "tpe") + "warm_start: [first]\n"
    line = "warm_start: 3 of the 6 trials of first are taken over; left out: 2 (x is not one of 0 to 2), 1 (failed)"
    assert f"note: {line}" in told("warm", more)
    head = head_of("warm")
    assert [one["values"] for one in head["earlier"]] == [{"x": 0}, {"x": 1}, {"x": 2}]
    reasons = {"x is not one of 0 to 2": 2, "failed": 1}
    assert head["warm_start"] == [{"run": "first", "taken": 3, "left_out": reasons}]
    assert CliRunner().invoke(app, ["report", "--run", "warm"]).exit_code == 0
    assert line.removeprefix("warm_start: ") in Path("runs/warm/report.html").read_text()


@pytest.mark.parametrize(
    ("before", "now", "values"),
    [
        ("{type: int, min: 0, max: 3}", "{type: float, min: 0, max: 3, step: 1}", [0.0, 1.0, 2.0, 3.0]),
        ("{type: float, min: 0, max: 3, step: 1}", "{type: int, min: 0, max: 3}", [0, 1, 2, 3]),
        ("{type: float, min: 0, max: 3, step: 1}", "{type: choice, values: [3, 2, 1, 0]}", [0, 1, 2, 3]),
        ("{type: choice, values: [0, 1, 2, 3]}", "{type: float, min: 0, max: 9}", [0.0, 1.0, 2.0, 3.0]),
    ],
)
def test_a_number_of_another_type_fits_and_meets_conditions(
    folder: Path, before: str, now: str, values: list[Any]
) -> None:
    """`deep` depends on x, so that an x which were still of its old type would make every trial misfit."""
    Path("warm_deep.py").write_text("def f(x, deep=0):\n    return x + deep\n")
    spec = SPEC.format(name="first", top=1, strategy="{name: grid}", trials=20, more="")
    spec = spec.replace("warm_function", "warm_deep")
    plain = "search_space: {x: {type: float, min: 0, max: 1}}"
    condition = "" if "max: 9" in now else ", deep: {type: int, min: 5, max: 5, when: {x: [1, 2]}}"
    told("first", spec.replace(plain, f"search_space: {{x: {before}{condition}}}"))
    warm = spec.replace(plain, f"search_space: {{x: {now}{condition}}}").replace("grid", "tpe").replace("20", "1")
    assert "warm_start: 4 of the 4 trials of first are taken over" in told("warm", warm + "warm_start: [first]\n")
    earlier = [one["values"] for one in head_of("warm")["earlier"]]
    assert sorted(one["x"] for one in earlier) == values
    assert {type(one["x"]) for one in earlier} == {type(values[0])}
    assert sum("deep" in one for one in earlier) == (2 if condition else 0)


RIDGE = """\
version: 1
name: first
data: {csv: a.csv, target: y}
model: {sklearn: sklearn.linear_model.Ridge, params: {alpha: $alpha}}
search_space: {alpha: {type: float, min: 0.01, max: 9, log: true}}
budget: {trials: 3}
execution: {executor: inline}
"""


def test_scikit_learn_tells_1_from_1_0(folder: Path) -> None:
    Path("a.csv").write_text("x,z,y\n" + "".join(f"{i},{i % 7},{i * 0.37}\n" for i in range(60)))
    tree = RIDGE.replace("linear_model.Ridge", "tree.DecisionTreeRegressor").replace(
        "alpha: $alpha", "max_features: $f"
    )
    spec = tree.replace("alpha: {type: float, min: 0.01, max: 9, log: true}", "f: {type: choice, values: [0.5, 1.0]}")
    told("first", spec)
    whole = spec.replace("[0.5, 1.0]", "[1, 2]") + "warm_start: [first]\n"
    with pytest.raises(SpecError, match=r"f is 1\.0 there and 1 here, which scikit-learn tells apart"):
        told("warm", whole)
    assert "1 of the 2 trials" in told("again", spec.replace("0.5, 1.0", "1.0, 2") + "warm_start: [first]\n")


def test_scores_of_other_data_are_not_taken_over(folder: Path) -> None:
    def data(more: float) -> None:
        rows = "".join(f"{n},{n * n % 7},{n + more}\n" for n in range(40))
        Path("a.csv").write_text("a,b,y\n" + rows)

    data(0.0)
    told("first", RIDGE)
    assert "warm_start: 3 of the 3 trials" in told("same", RIDGE + "warm_start: [first]\n")
    data(0.5)
    with pytest.raises(SpecError, match=r"none of the 3 trials of 'first' can be taken over: 3 \(trained on other da"):
        told("other", RIDGE + "warm_start: [first]\n")
    assert not Path("runs/other/journal.jsonl").exists() or not Path("runs/other/journal.jsonl").read_text()


KERAS = """\
version: 1
name: first
data: {source: diabetes}
model: {layers: [Output]}
search_space: {lr: {type: float, min: 0.001, max: 0.1, log: true}}
training: {optimizer: {learning_rate: $lr}, epochs: 1}
objective: {metric: val_loss}
budget: {trials: 1}
execution: {executor: inline}
"""
CLASSES = KERAS.replace("diabetes", "wine")
FUNCTION = SPEC.format(name="first", top=1, strategy="{name: tpe}", trials=1, more="")


BUILT = """\
version: 1
name: first
data: {source: diabetes}
model: {python: "warm_build:one"}
training: {epochs: 1}
budget: {trials: 1}
execution: {executor: inline}
"""

BUILDER = """\
import keras


def made(hp, loss):
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(UNITS), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(hp.Float("lr", 0.001, 0.1)), loss=loss, metrics=["mae"])
    return model


def one(hp):
    return made(hp, "mae")


def two(hp):
    return made(hp, "mse")
"""

MEASURED = (
    KERAS.replace("epochs: 1", "epochs: 1, metrics: [BinaryAccuracy: {threshold: 0.5}]")
    .replace("diabetes", "breast_cancer")
    .replace("[Output]", "[Dense: {units: 1, activation: sigmoid}]")
    .replace("val_loss", "val_binary_accuracy")
)


@pytest.mark.parametrize(
    ("first", "before", "now", "why"),
    [
        (KERAS, "diabetes}", "diabetes, scale: none}", "a loss of a target that is scaled otherwise"),
        (KERAS, "epochs: 1", "epochs: 1, loss: mae", "another training.loss"),
        (KERAS, "version: 1", "version: 1\nevaluation: {folds: 3}", "other evaluation.folds"),
        (RIDGE, "Ridge", "Lasso", "another scikit-learn estimator"),
        (RIDGE, "version: 1", "version: 1\nevaluation: {folds: 3}", "other evaluation.folds"),
        (RIDGE, "budget", "objective: {metric: neg_max_error}\nbudget", "not scored by neg_max_error"),
        (FUNCTION.replace("warm_function", "warm_two"), ":f", ":g", "another function"),
    ],
)
def test_scores_that_do_not_compare_are_not_taken_over(
    folder: Path, first: str, before: str, now: str, why: str
) -> None:
    Path("warm_two.py").write_text("def f(x):\n    return x\n\n\ndef g(x):\n    return x + 1000\n")
    Path("a.csv").write_text("a,b,y\n" + "".join(f"{n},{n * n % 7},{n}\n" for n in range(40)))
    first = first.replace("trials: 3", "trials: 1")
    told("first", first)
    with pytest.raises(SpecError) as caught:
        told("other", first.replace(before, now) + "warm_start: [first]\n")
    assert f"none of the 1 trials of 'first' can be taken over: 1 ({why}). Drop it." in str(caught.value)
    assert "spec.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("first", "before", "now", "why"),
    [
        (MEASURED, "threshold: 0.5", "threshold: 0.99", "val_binary_accuracy with other arguments"),
        (
            MEASURED.replace("threshold: 0.5", "name: binary_accuracy"),
            "metrics: [BinaryAccuracy: {name: binary_accuracy}]}",
            "metrics: [BinaryAccuracy: {name: binary_accuracy}], loss: {BinaryCrossentropy: {from_logits: true}}}\n"
            "# LINEAR",
            "val_binary_accuracy under a loss that tells classes apart elsewhere",
        ),
        (BUILT, "warm_build:one", "warm_build:two", "val_loss as other code has it"),
        (BUILT, "epochs: 1", "epochs: 1, loss: mae", "val_loss as other code has it"),
        (
            BUILT.replace("epochs: 1", "epochs: 1, loss: mae"),
            '{python: "warm_build:one"}',
            "{layers: [{Dense: {units: $n}}, Output]}\nsearch_space: {n: {type: int, min: 1, max: 3}}",
            "a loss of a target that is scaled otherwise",
        ),
    ],
)
def test_scores_by_another_metric_or_loss_of_the_same_name_are_not_taken_over(
    folder: Path, first: str, before: str, now: str, why: str
) -> None:
    Path("warm_build.py").write_text(BUILDER.replace("UNITS", "1"))
    told("first", first)
    other = first.replace(before, now) + "warm_start: [first]\n"
    with pytest.raises(SpecError) as caught:
        told("other", other.replace(", activation: sigmoid", "") if "# LINEAR" in other else other)
    assert f"1 ({why}). Drop it." in str(caught.value)


def test_scores_by_code_that_has_changed_are_not_taken_over(folder: Path) -> None:
    """Of a function all of it counts; of a builder what it compiles, unless the YAML does; comments never do."""
    Path("warm_build.py").write_text(BUILDER.replace("UNITS", "1"))
    named = BUILT.replace("epochs: 1", "epochs: 1, loss: mae, metrics: [mae]")
    told("first", FUNCTION)
    told("built", BUILT)
    told("named", named)
    Path("warm_function.py").write_text("# said\ndef f(x):\n    return (x - 0.7) ** 2\n")
    assert "1 of the 1 trials of first" in told("same", FUNCTION + "warm_start: [first]\n")
    Path("warm_function.py").write_text("def f(x):\n    return 1000 + (x - 0.9) ** 2\n")
    Path("warm_build.py").write_text(BUILDER.replace("UNITS", "7"))
    for name, spec, file in (("first", FUNCTION, "warm_function.py"), ("built", BUILT, "warm_build.py")):
        with pytest.raises(SpecError, match=rf"1 \(scored by code that has changed since: .*{file}"):
            told("other", spec + f"warm_start: [{name}]\n")
    assert "1 of the 1 trials of named are taken over" in told("more", named + "warm_start: [named]\n")


def test_a_run_whose_code_changed_while_it_was_searched_has_scores_of_both(folder: Path) -> None:
    told("first", FUNCTION)
    Path("warm_function.py").write_text("def f(x):\n    return x\n")
    told("first", FUNCTION.replace("trials: 1", "trials: 2"))
    with pytest.raises(SpecError, match=r"2 \(scored by code that has changed since: warm_function.py\)"):
        told("other", FUNCTION + "warm_start: [first]\n")


def test_trials_of_a_version_that_trained_differently_are_not_taken_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(record, "TRAINING", record.TRAINING - 1)
        told("first", KERAS)
    with pytest.raises(SpecError, match=r"1 \(trained by a version of hptune that trained differently\)"):
        told("other", KERAS + "warm_start: [first]\n")


@pytest.mark.parametrize(
    ("first", "before", "now"),
    [
        (KERAS, "[Output]", "[Dense: {units: 4}, Output]"),
        (KERAS, "epochs: 1", "epochs: 2, batch_size: 64, loss: mse"),
        (KERAS, "diabetes}", "diabetes, scale: standardize}"),
        (KERAS.replace("val_loss", "val_mae"), "diabetes}", "diabetes, scale: none}"),
        (CLASSES, "wine}", "wine, scale: none}"),
        (MEASURED, "[BinaryAccuracy: {threshold: 0.5}]", "[BinaryAccuracy: {}, mae]"),
    ],
)
def test_scores_of_the_same_thing_are_taken_over(folder: Path, first: str, before: str, now: str) -> None:
    told("first", first)
    line = "warm_start: 1 of the 1 trials of first are taken over\n"
    assert line in told("other", first.replace(before, now) + "warm_start: [first]\n")


def test_another_seed_is_told(folder: Path) -> None:
    told("first", CLASSES + "seed: 7\n")
    line = "warm_start: 1 of the 1 trials of first are taken over (of another seed: 7)"
    assert f"note: {line}\n" in told("other", CLASSES + "warm_start: [first]\n")
    assert head_of("other")["warm_start"] == [{"run": "first", "taken": 1, "left_out": {}, "seed": 7}]
    assert CliRunner().invoke(app, ["report", "--run", "other"]).exit_code == 0
    assert line.removeprefix("warm_start: ") in Path("runs/other/report.html").read_text()
